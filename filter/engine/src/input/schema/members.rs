//! The members of one schema, with every mistake reported.

use portcullis_pattern::Pattern;
use serde_json::{Map, Value};

use super::compile::Written;
use super::format::{FORMATS, HINTS};
use super::keywords::{self, CARRIED_OUT};
use super::{Format, NumberRules, StringRules, types};
use crate::config::Problems;
use crate::config::document::{kind, member_path};
use crate::config::suggest;
use crate::input::json::{Document, JsonLimits};
use crate::input::number::{Divisor, Number};

/// The dialect that is read.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";
/// OpenAPI's, of which the rest are annotations.
const DIALECT_OF_OPENAPI: &str = "https://spec.openapis.org/oas/3.1/dialect/base";

/// A number. Envoy makes text of those that its YAML has no other form for: fractions, and what is beyond 32 bits.
pub(super) fn number(value: &Value) -> Option<Number> {
    match value {
        Value::Number(number) => Number::parse(number.to_string().as_bytes()),
        Value::String(text) => Number::parse(text.as_bytes()),
        _ => None,
    }
}

/// The bytes that only equal values share.
fn canonical(value: &Value) -> Vec<u8> {
    let text = value.to_string();
    let mut bytes = Vec::new();
    if let Ok(document) = Document::read(text.as_bytes(), &JsonLimits::NONE) {
        document.write(0, &mut bytes);
    }
    bytes
}

pub(super) fn pattern(source: &str, at: &str, problems: &mut Problems) -> Option<Pattern> {
    match Pattern::of_text(source) {
        Ok(pattern) => Some(pattern),
        Err(error) => {
            let hint = "patterns are those of ECMA-262 without look-around, back-references and `\\p{...}`";
            problems.add_with_hint(at, format!("is no pattern that can be used: {error}"), hint);
            None
        }
    }
}

pub(super) fn words<'a>(value: &'a Value, at: &str, problems: &mut Problems) -> Vec<&'a str> {
    let found = value.as_array().and_then(|list| list.iter().map(Value::as_str).collect::<Option<Vec<_>>>());
    if found.is_none() {
        problems.add(at, "is no list of names");
    }
    found.unwrap_or_default()
}

/// The members of one schema.
pub(super) struct Keywords<'a, 'w> {
    pub members: &'a Map<String, Value>,
    pub written: &'w Written<'a>,
}

impl<'a> Keywords<'a, '_> {
    fn at(&self, keyword: &str) -> String {
        member_path(&self.written.at, keyword)
    }

    /// What nobody carries out is a mistake: a schema that is half checked looks like one that is.
    pub fn check_known(&self, problems: &mut Problems) {
        for (keyword, value) in self.members {
            if keyword == "$schema" {
                if !matches!(value.as_str().map(|uri| uri.trim_end_matches('#')), Some(DIALECT | DIALECT_OF_OPENAPI)) {
                    let problem = format!("{value} is another dialect");
                    problems.add_with_hint(self.at(keyword), problem, format!("schemas are those of {DIALECT}"));
                }
            } else if let Some(hint) = keywords::instead(keyword) {
                problems.add_with_hint(self.at(keyword), format!("the keyword {keyword:?} is not carried out"), hint);
            } else if !CARRIED_OUT.contains(&keyword.as_str()) && !keywords::is_annotation(keyword) {
                let hint = match suggest::nearest(keyword, CARRIED_OUT.iter().copied()) {
                    Some(near) => format!("did you mean {near:?}?"),
                    None => "a note has a name that begins with `x-`".to_owned(),
                };
                problems.add_with_hint(self.at(keyword), format!("no keyword {keyword:?}"), hint);
            }
        }
    }

    pub fn types(&self, problems: &mut Problems) -> u8 {
        let Some(value) = self.members.get("type") else { return 0 };
        let list = match value {
            Value::Array(list) if !list.is_empty() => list.as_slice(),
            one => std::slice::from_ref(one),
        };
        let mut found = 0;
        for word in list {
            found |= match word.as_str() {
                // YAML without quotes.
                None if word.is_null() => types::NULL,
                Some("null") => types::NULL,
                Some("boolean") => types::BOOLEAN,
                Some("number") => types::NUMBER,
                Some("integer") => types::INTEGER,
                Some("string") => types::STRING,
                Some("array") => types::ARRAY,
                Some("object") => types::OBJECT,
                _ => {
                    let hint =
                        "one of \"null\", \"boolean\", \"integer\", \"number\", \"string\", \"array\", \"object\"";
                    problems.add_with_hint(self.at("type"), format!("{word} is no type"), hint);
                    types::ANY
                }
            };
        }
        found
    }

    pub fn choices(&self, problems: &mut Problems) -> Option<Vec<Vec<u8>>> {
        let value = self.members.get("enum")?;
        match value.as_array() {
            Some(list) if !list.is_empty() => {
                let types = self.types(&mut Problems::default());
                let mut choices: Vec<Vec<u8>> = list.iter().map(|value| self.choice(value, types)).collect();
                choices.sort_unstable();
                Some(choices)
            }
            _ => {
                problems.add(self.at("enum"), "is no list of one value or more");
                None
            }
        }
    }

    /// A value of `enum` or `const`: where only numbers are taken, a text that reads as one is one.
    pub fn choice(&self, value: &Value, types: u8) -> Vec<u8> {
        let takes_numbers = types & (types::NUMBER | types::INTEGER) != 0 && types & types::STRING == 0;
        match number(value).filter(|_| takes_numbers) {
            Some(number) => {
                let mut bytes = vec![b'n'];
                number.write(&mut bytes);
                bytes
            }
            None => canonical(value),
        }
    }

    pub fn number(&self, problems: &mut Problems) -> Option<NumberRules> {
        let multiple_of = self.number_of("multipleOf", problems).and_then(|number| {
            let divisor = Divisor::new(&number);
            if divisor.is_none() {
                problems.add(self.at("multipleOf"), "is no number above 0 of at most 19 digits");
            }
            divisor
        });
        let format = self.format(problems).filter(|format| matches!(format, Format::Int32 | Format::Int64));
        let rules = NumberRules {
            minimum: self.number_of("minimum", problems),
            exclusive_minimum: self.number_of("exclusiveMinimum", problems),
            maximum: self.number_of("maximum", problems),
            exclusive_maximum: self.number_of("exclusiveMaximum", problems),
            multiple_of,
            format,
        };
        if let (Some(least), Some(most)) = (rules.minimum, rules.maximum)
            && least > most
        {
            problems.add(self.at("minimum"), "is above `maximum`: no number fits");
        }
        let bounds = [rules.minimum, rules.exclusive_minimum, rules.maximum, rules.exclusive_maximum];
        let says_something =
            bounds.iter().any(Option::is_some) || rules.multiple_of.is_some() || rules.format.is_some();
        says_something.then_some(rules)
    }

    pub fn string(&self, problems: &mut Problems) -> Option<StringRules> {
        let source = self.members.get("pattern");
        let pattern = source.and_then(|value| match value.as_str() {
            Some(source) => pattern(source, &self.at("pattern"), problems),
            None => {
                problems.add(self.at("pattern"), format!("expected text, found {}", kind(value)));
                None
            }
        });
        let format = self.format(&mut Problems::default());
        let rules = StringRules {
            min: self.count("minLength", problems).unwrap_or(0),
            max: self.count("maxLength", problems),
            pattern,
            format: format.filter(|format| !matches!(format, Format::Int32 | Format::Int64)),
        };
        self.in_order("minLength", "maxLength", problems);
        let says_something = rules.min > 0 || rules.max.is_some() || rules.pattern.is_some() || rules.format.is_some();
        says_something.then_some(rules)
    }

    fn format(&self, problems: &mut Problems) -> Option<Format> {
        let value = self.members.get("format")?;
        let name = value.as_str().unwrap_or_default();
        let found = FORMATS.iter().find(|(known, _)| *known == name).map(|(_, format)| *format);
        if found.is_none() && !HINTS.contains(&name) {
            let known: Vec<&str> = FORMATS.iter().map(|(known, _)| *known).collect();
            let hint = match suggest::nearest(name, known.iter().copied()) {
                Some(near) => format!("did you mean {near:?}?"),
                None => format!("write `pattern`; formats are {}", suggest::listed(&known)),
            };
            problems.add_with_hint(self.at("format"), format!("the format {value} is not checked here"), hint);
        }
        found
    }

    pub fn object(&self, keyword: &str, problems: &mut Problems) -> Option<&'a Map<String, Value>> {
        let value = self.members.get(keyword)?;
        if value.as_object().is_none() {
            problems.add(self.at(keyword), format!("expected an object, found {}", kind(value)));
        }
        value.as_object()
    }

    pub fn words(&self, keyword: &str, problems: &mut Problems) -> Vec<&'a str> {
        self.members.get(keyword).map(|value| words(value, &self.at(keyword), problems)).unwrap_or_default()
    }

    pub fn flag(&self, keyword: &str, problems: &mut Problems) -> bool {
        let Some(value) = self.members.get(keyword) else { return false };
        if value.as_bool().is_none() {
            problems.add(self.at(keyword), format!("expected true or false, found {}", kind(value)));
        }
        value.as_bool().unwrap_or(false)
    }

    fn number_of(&self, keyword: &str, problems: &mut Problems) -> Option<Number> {
        let value = self.members.get(keyword)?;
        let number = number(value);
        if number.is_none() {
            problems.add(self.at(keyword), format!("expected a number, found {}", kind(value)));
        }
        number
    }

    pub fn count(&self, keyword: &str, problems: &mut Problems) -> Option<usize> {
        let value = self.members.get(keyword)?;
        // A Struct turns numbers into doubles, and large ones of YAML into text.
        let as_double = value.as_f64().or_else(|| value.as_str()?.parse().ok());
        let is_count = |number: &f64| *number >= 0.0 && number.fract() == 0.0 && *number <= f64::from(u32::MAX);
        let count = as_double.filter(is_count).map(|number| number as usize);
        if count.is_none() {
            problems.add(self.at(keyword), format!("{value} is no whole number of 0 or more"));
        }
        count
    }

    pub fn in_order(&self, min: &str, max: &str, problems: &mut Problems) {
        let bound = |keyword: &str| self.members.get(keyword).and_then(number);
        if let (Some(least), Some(most)) = (bound(min), bound(max))
            && least > most
        {
            problems.add(self.at(min), format!("is above `{max}`: nothing fits"));
        }
    }
}
