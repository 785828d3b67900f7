//! What is asked about a value.

use crate::bytes::{contains, find, part};
use crate::rules::Family;
use crate::scanner::{Scanner, Scratch};
use crate::settings::Settings;
use crate::verdict::{Place, Source};

use super::pattern::Pattern;

/// What the built-in rules can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attack {
    /// SQL injection.
    Sqli,
    /// Cross-site scripting.
    Xss,
}

/// What is asked about a value.
#[derive(Debug, Clone)]
pub enum Operator {
    /// The expression matches somewhere.
    Regex(Box<Pattern>),
    /// One of these texts stands in it.
    Contains(Vec<Vec<u8>>),
    /// It is one of these texts.
    Equals(Vec<Vec<u8>>),
    /// It begins with one of these texts.
    BeginsWith(Vec<Vec<u8>>),
    /// It ends with one of these texts.
    EndsWith(Vec<Vec<u8>>),
    /// It stands in this text.
    Within(Vec<u8>),
    /// One of these phrases stands in it, in capitals or not.
    Phrases(Vec<Vec<u8>>),
    /// The built-in rules of a family find an attack in it.
    Detect(Attack),
}

impl Operator {
    /// Lower-case texts one of which is in every value that the operator holds for; `None` where none is known.
    pub(super) fn literals(&self) -> Option<Vec<Vec<u8>>> {
        let lower = |texts: &[Vec<u8>]| -> Option<Vec<Vec<u8>>> {
            texts.iter().map(|text| (!text.is_empty()).then(|| text.to_ascii_lowercase())).collect()
        };
        match self {
            Self::Regex(pattern) => pattern.literals(),
            Self::Contains(texts) | Self::Equals(texts) | Self::BeginsWith(texts) | Self::EndsWith(texts) => {
                lower(texts)
            }
            Self::Phrases(phrases) => lower(phrases),
            Self::Within(_) | Self::Detect(_) => None,
        }
    }

    /// The steps that a value of this many bytes costs.
    pub(super) fn cost(&self, bytes: usize) -> u64 {
        let bytes = bytes as u64 + 16;
        match self {
            Self::Regex(pattern) => bytes.saturating_mul(pattern.cost()),
            Self::Contains(texts) | Self::Phrases(texts) => bytes.saturating_mul(texts.len() as u64),
            Self::Equals(texts) | Self::BeginsWith(texts) | Self::EndsWith(texts) => 16 + texts.len() as u64,
            Self::Within(text) => 16 + text.len() as u64,
            Self::Detect(_) => bytes.saturating_mul(32),
        }
    }

    /// Whether it holds for a value. Where nobody asks by what, an expression is spared the search for it.
    pub(super) fn is_met(&self, value: &[u8], tools: &mut Tools<'_>) -> bool {
        match self {
            Self::Regex(pattern) => pattern.is_match(value),
            _ => self.holds(value, tools).is_some(),
        }
    }

    /// Whether it holds for a value, and what of it shows that.
    pub(super) fn holds(&self, value: &[u8], tools: &mut Tools<'_>) -> Option<Vec<u8>> {
        let start = |range: &[u8]| part(range, 0, 64).to_vec();
        match self {
            Self::Regex(pattern) => pattern.find(value),
            Self::Contains(texts) => {
                texts.iter().find(|text| text.is_empty() || contains(value, text)).map(|text| start(text))
            }
            Self::Equals(texts) => texts.iter().any(|text| text == value).then(|| start(value)),
            Self::BeginsWith(texts) => texts.iter().find(|text| value.starts_with(text)).map(|text| start(text)),
            Self::EndsWith(texts) => texts.iter().find(|text| value.ends_with(text)).map(|text| start(text)),
            Self::Within(text) => (value.is_empty() || contains(text, value)).then(|| start(value)),
            Self::Phrases(phrases) => {
                let lower = value.to_ascii_lowercase();
                phrases.iter().find(|phrase| find(&lower, &phrase.to_ascii_lowercase(), 0).is_some()).map(|p| start(p))
            }
            Self::Detect(attack) => {
                let mut inspection = tools.scanner.begin(tools.settings, tools.scratch);
                let source = Source { place: Place::Query, name: b"" };
                match tools.apart {
                    Some(values) => inspection.together(source, values, &[value]),
                    None => inspection.value(source, value),
                }
                let family = match attack {
                    Attack::Sqli => Family::Sqli,
                    Attack::Xss => Family::Xss,
                };
                let verdict = inspection.finish();
                tools.is_exhausted |= verdict.limit().is_some();
                let is_found = verdict.score(family) >= tools.settings.threshold;
                let found = verdict.findings().iter().find(|finding| finding.by.family() == family);
                is_found.then(|| found.map(|finding| finding.excerpt.clone()).unwrap_or_default())
            }
        }
    }
}

/// What operators work with.
pub(super) struct Tools<'a> {
    pub scanner: &'a Scanner,
    pub scratch: &'a mut Scratch,
    /// Those of the built-in rules, as a rule of an operator asks for them: all of level 1.
    pub settings: &'a Settings,
    /// The values that the one at hand is joined of.
    pub apart: Option<&'a [Vec<u8>]>,
    /// Whether the built-in rules could not look at all of a value.
    pub is_exhausted: bool,
}
