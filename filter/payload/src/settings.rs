//! What a policy says about the payload rules.

use std::rc::Rc;

use crate::own::OwnRules;
use crate::rules::{Family, RuleId};
use crate::verdict::Source;

/// How strictly requests are judged.
#[derive(Debug, Clone)]
pub struct Settings {
    /// 1 is for everyone; 2 and 3 add rules that need exclusions where users write freely.
    pub level: u8,
    /// A family whose evidence reaches this many points makes the request an attack.
    pub threshold: u16,
    /// Families that are not judged.
    pub without: Vec<Family>,
    /// Rules that are not asked.
    pub without_rules: Vec<RuleId>,
    /// Parameters in which something is not looked for.
    pub except: Vec<Exception>,
    /// Judge the head of the request too: methods, content types, framing.
    pub protocol: bool,
    /// Rules that an operator wrote.
    pub own: Rc<OwnRules>,
    /// Those of them that are not asked, by their place.
    pub without_own: Vec<u16>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            level: 1,
            threshold: 5,
            without: Vec::new(),
            without_rules: Vec::new(),
            except: Vec::new(),
            protocol: true,
            own: Rc::default(),
            without_own: Vec::new(),
        }
    }
}

/// A parameter in which something is not looked for.
#[derive(Debug, Clone)]
pub struct Exception {
    /// Its name.
    pub name: Vec<u8>,
    /// Whether every name that begins so is meant.
    pub is_prefix: bool,
    /// The families that are not looked for; empty: every one.
    pub families: Vec<Family>,
}

impl Settings {
    /// Whether a rule is not asked about a value from `source`.
    #[must_use]
    pub(crate) fn excludes(&self, rule: RuleId, source: Source<'_>) -> bool {
        let family = rule.family();
        rule.level() > self.level
            || self.without.contains(&family)
            || self.without_rules.contains(&rule)
            || self.except.iter().any(|exception| exception.takes(family, source.name))
    }
}

impl Exception {
    /// Whether a family is not looked for in the parameter of this name.
    pub(crate) fn takes(&self, family: Family, name: &[u8]) -> bool {
        let is_meant = match self.is_prefix {
            true => name.starts_with(&self.name),
            false => name == self.name,
        };
        is_meant && (self.families.is_empty() || self.families.contains(&family))
    }
}
