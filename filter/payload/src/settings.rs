//! What a policy says about the payload rules.

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
            || self.except.iter().any(|exception| {
                let is_meant = match exception.is_prefix {
                    true => source.name.starts_with(&exception.name),
                    false => source.name == exception.name,
                };
                is_meant && (exception.families.is_empty() || exception.families.contains(&family))
            })
    }
}
