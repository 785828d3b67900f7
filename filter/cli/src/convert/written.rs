//! Rules as they will be written.

use serde_json::{Map, Value, json};

use super::condition::Condition;

/// What a rule allows: `None`, nobody.
pub type Asked = Option<Map<String, Value>>;

/// A rule with the words above it.
#[derive(Debug, Clone)]
pub struct Written {
    /// What to know about it.
    pub comments: Vec<String>,
    /// The rule.
    pub rule: Value,
    /// What it matches.
    pub condition: Condition,
}

/// Rules, without those that an earlier one leaves nothing to.
#[derive(Debug, Default)]
pub struct Rules(pub Vec<Written>);

impl Rules {
    /// Adds a rule, unless another one has left nothing to it.
    pub fn push(&mut self, written: Written) {
        if !self.take(&written.condition) {
            self.0.push(written);
        }
    }

    /// Whether a rule that is there takes all requests of this condition.
    pub fn take(&self, condition: &Condition) -> bool {
        self.0.iter().any(|rule| rule.condition.covers(condition))
    }
}

/// A rule that asks for this.
pub fn rule(condition: &Condition, asked: Asked, comments: Vec<String>) -> Written {
    let Some(asked) = asked else { return nobody(condition, comments) };
    let mut rule = Map::new();
    rule.insert("match".to_owned(), condition.to_match());
    rule.extend(asked);
    Written { comments, rule: Value::Object(rule), condition: condition.clone() }
}

/// A rule by which nobody passes.
pub fn nobody(condition: &Condition, comments: Vec<String>) -> Written {
    let rule = json!({"match": condition.to_match(), "allow": "nobody"});
    Written { comments, rule, condition: condition.clone() }
}
