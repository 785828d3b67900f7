//! What was found, where, and what it adds up to.

use std::rc::Rc;

use crate::own::Label;
use crate::rules::{FAMILIES, Family, RuleId};

/// Where in the request a value stood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Place {
    /// A query parameter.
    Query,
    /// A field of a form.
    Form,
    /// A leaf of a JSON document.
    Json,
    /// A cookie.
    Cookie,
    /// A header that has no place of its own.
    Header,
    /// The path.
    Path,
    /// A text part of a multipart body.
    Multipart,
    /// Text or an attribute of an XML document, or the document itself.
    Xml,
    /// A body of another type, as one value.
    Text,
    /// The name of a parameter, key, cookie or part.
    Name,
    /// The `User-Agent` header.
    UserAgent,
    /// The `Referer` header.
    Referer,
    /// The file name of an upload.
    Upload,
}

impl Place {
    /// The bit that rules are limited with.
    #[must_use]
    pub fn bit(self) -> u16 {
        1 << (self as u8)
    }

    /// The word for logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Form => "form",
            Self::Json => "json",
            Self::Cookie => "cookie",
            Self::Header => "header",
            Self::Path => "path",
            Self::Multipart => "multipart",
            Self::Xml => "xml",
            Self::Text => "text",
            Self::Name => "name",
            Self::UserAgent => "user-agent",
            Self::Referer => "referer",
            Self::Upload => "upload",
        }
    }
}

/// A place, and the parameter's name.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// Where.
    pub place: Place,
    /// The name of the parameter, of the header, or the path of keys.
    pub name: &'a [u8],
}

/// The rule that made a finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FoundBy {
    /// One of ours.
    BuiltIn(RuleId),
    /// One of an operator.
    Own(Rc<Label>),
}

impl FoundBy {
    /// The rule's name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::BuiltIn(rule) => rule.as_str(),
            Self::Own(label) => &label.name,
        }
    }

    /// The family it gives evidence of.
    #[must_use]
    pub fn family(&self) -> Family {
        match self {
            Self::BuiltIn(rule) => rule.family(),
            Self::Own(label) => label.family,
        }
    }
}

/// One piece of evidence.
#[derive(Debug, Clone)]
pub struct Finding {
    /// The rule that found it.
    pub by: FoundBy,
    /// Where it stood.
    pub place: Place,
    /// The name of the parameter, cut to 64 bytes.
    pub name: Vec<u8>,
    /// What matched, normalised, cut to 64 bytes. It can hold what a user typed: redact it before it is logged.
    pub excerpt: Vec<u8>,
    /// The points it adds.
    pub weight: u16,
}

/// What an inspection found.
#[derive(Debug, Clone, Default)]
pub struct Verdict {
    pub(crate) scores: [u16; FAMILIES],
    pub(crate) findings: Vec<Finding>,
    /// How many rounds of decoding the most deeply encoded value took.
    pub depth: u8,
}

/// Findings that are kept; more only count.
const KEPT: usize = 32;

impl Verdict {
    /// Adds a finding that stands on its own.
    pub(crate) fn add(&mut self, rule: RuleId, source: Source<'_>, excerpt: &[u8], weight: u8) {
        if let Some(score) = self.scores.get_mut(rule.family() as usize) {
            *score = score.saturating_add(u16::from(weight));
        }
        self.note(FoundBy::BuiltIn(rule), source, excerpt, u16::from(weight));
    }

    /// Adds points to a family.
    pub(crate) fn score_more(&mut self, family: Family, points: u16) {
        if let Some(score) = self.scores.get_mut(family as usize) {
            *score = score.saturating_add(points);
        }
    }

    /// Keeps a finding, without its points.
    pub(crate) fn note(&mut self, by: FoundBy, source: Source<'_>, excerpt: &[u8], weight: u16) {
        if self.findings.len() < KEPT {
            let cut = |text: &[u8]| text.get(..64).unwrap_or(text).to_vec();
            self.findings.push(Finding {
                by,
                place: source.place,
                name: cut(source.name),
                excerpt: cut(excerpt),
                weight,
            });
        }
    }

    /// Takes over the points of one value: a family's score is that of its worst value, so that many harmless values never
    /// add up to an attack.
    pub(crate) fn raise(&mut self, scores: &[u16; FAMILIES]) {
        for (mine, theirs) in self.scores.iter_mut().zip(scores) {
            *mine = (*mine).max(*theirs);
        }
    }

    /// True if nothing at all was found.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.scores.iter().all(|&score| score == 0)
    }

    /// The points of a family.
    #[must_use]
    pub fn score(&self, family: Family) -> u16 {
        self.scores.get(family as usize).copied().unwrap_or(0)
    }

    /// The family with the most points, and its points.
    #[must_use]
    pub fn worst(&self) -> Option<(Family, u16)> {
        Family::ALL.iter().map(|&family| (family, self.score(family))).filter(|&(_, s)| s > 0).max_by_key(|&(_, s)| s)
    }

    /// The evidence, in the order in which it was found.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }
}
