//! What a policy says about the payload rules.

use std::rc::Rc;

use crate::bytes::part;
use crate::own::OwnRules;
use crate::rules::{Family, RuleId};
use crate::verdict::{LONGEST_NAME, Place, Source};

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

/// Where something is not looked for.
#[derive(Debug, Clone)]
pub struct Exception {
    /// In this place alone; in all of them, if there is none.
    pub place: Option<Place>,
    /// In the parameter of this name; if there is none, in what has no name there (the path, a text, an item that no key leads to), or one
    /// that begins as none does: see [`plain_name`].
    pub name: Option<Vec<u8>>,
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
            || self.except.iter().any(|exception| exception.takes(family, source))
    }
}

impl Exception {
    /// Whether a family is not looked for in a value from `source`.
    pub(crate) fn takes(&self, family: Family, source: Source<'_>) -> bool {
        let is_meant = match (&self.name, self.is_prefix) {
            (Some(name), true) => source.name.starts_with(name),
            (Some(name), false) => source.name == name,
            // A name has none of its own.
            (None, _) => source.place == Place::Name || plain_name(source.name).is_empty(),
        };
        is_meant
            && self.place.is_none_or(|place| place == source.place)
            && (self.families.is_empty() || self.families.contains(&family))
    }
}

/// As much of a parameter's name as looks like one, at most [`LONGEST_NAME`] bytes: what somebody has called something, not what somebody
/// has typed.
#[must_use]
pub fn plain_name(name: &[u8]) -> &str {
    let start = part(name, 0, LONGEST_NAME);
    let text = match std::str::from_utf8(start) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(part(start, 0, error.valid_up_to())).unwrap_or_default(),
    };
    let is_of_name = |place: usize, character: char| {
        character.is_alphanumeric() || "_-.:[]$/".contains(character) || (character == '@' && place == 0)
    };
    let end = text.char_indices().find(|&(place, character)| !is_of_name(place, character));
    end.map_or(text, |(end, _)| text.get(..end).unwrap_or_default())
}
