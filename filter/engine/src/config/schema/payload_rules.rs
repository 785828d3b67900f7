//! Payload rules that the operator writes.

use portcullis_payload::own::Transformation;

use crate::{reads_words, section, words};

section! {
    /// A payload rule of the operator: one condition, or several under `all`. It is asked wherever payload rules are.
    pub struct OwnRuleSection {
        /// The points it adds to its family, once for a request; as many as the `threshold` unless said otherwise.
        weight: Option<u64>,
        /// The family whose points it adds to, and that exceptions name.
        family: String = "own",
        /// What the log says about it.
        message: Option<String>,
        /// Words for the log.
        tags: Vec<String>,
        /// Conditions that must all hold for the request, each for some value of its own.
        all: Vec<OwnConditionSection>,
        ..only: OwnConditionSection
    }
}

section! {
    /// Holds if some value of the targets, transformed, is what the operator asks for. It has one operator.
    pub struct OwnConditionSection {
        /// Which values are looked at: `args`, `query`, `form`, `json`, `header:NAME`, `cookies`, `path`, `method` and so on.
        targets: Vec<String>,
        /// Which of them are left out, such as `query:q`.
        except_targets: Vec<String>,
        /// What is done to each value first, in this order.
        transform: Vec<Transformation>,
        /// A regular expression matches somewhere in it. It is about bytes, in linear time: without look-around and back-references.
        regex: Option<String>,
        /// One of these texts stands in it.
        contains: Vec<String>,
        /// It is one of these texts.
        equals: Vec<String>,
        /// It begins with one of these texts.
        begins_with: Vec<String>,
        /// It ends with one of these texts.
        ends_with: Vec<String>,
        /// It stands in this text.
        within: Option<String>,
        /// One of these phrases stands in it, in capitals or not.
        phrases: Vec<String>,
        /// The built-in rules find such an attack in it.
        detect: Option<DetectWord>,
        /// Some value is looked for that the operator does not hold for.
        not: bool = false,
    }
}

words! {
    /// What the built-in rules are asked for.
    pub enum DetectWord {
        /// SQL injection.
        Sqli = "sqli",
        /// Cross-site scripting.
        Xss = "xss",
    }
}

reads_words!(Transformation);
