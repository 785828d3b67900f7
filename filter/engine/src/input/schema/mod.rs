//! JSON Schema (draft 2020-12) for what clients send: compiled once, applied to a tree that was read within limits.
//!
//! Every keyword of the core, applicator and validation vocabularies but `unevaluated*` and the dynamic references. What is not
//! carried out is a mistake of the configuration, never ignored. A document takes time that grows with its length: what a
//! `$ref` leads to is asked once for each value, however many ways lead there.

mod compile;
mod format;
mod keywords;
mod members;
mod validate;

#[cfg(test)]
mod tests;

use std::fmt;

use portcullis_pattern::Pattern;

use super::json::Document;
use super::number::{Divisor, Number};

pub use compile::Compiler;
pub use format::Format;
pub use keywords::is_annotation;

/// Whether a format is one that is checked, or a hint that says nothing about which values there are.
pub fn is_format(name: &str) -> bool {
    format::FORMATS.iter().any(|(known, _)| *known == name) || format::HINTS.contains(&name)
}

/// Whether a keyword is carried out.
pub fn is_keyword(name: &str) -> bool {
    keywords::CARRIED_OUT.contains(&name)
}

/// Whether a pattern can be used.
pub fn is_pattern(source: &str) -> bool {
    Pattern::of_text(source).is_ok()
}

/// A schema, as its place in a [`SchemaSet`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SchemaId(u32);

/// All schemas of a configuration.
#[derive(Debug, Default)]
pub struct SchemaSet {
    schemas: Vec<Schema>,
    /// The names of members that schemas speak about, sorted: they may stand in logs.
    names: Vec<Box<str>>,
}

/// The types of JSON as bits; a number that is an integer has both bits.
mod types {
    pub const NULL: u8 = 1;
    pub const BOOLEAN: u8 = 2;
    pub const NUMBER: u8 = 4;
    pub const INTEGER: u8 = 8;
    pub const STRING: u8 = 16;
    pub const ARRAY: u8 = 32;
    pub const OBJECT: u8 = 64;
    pub const ANY: u8 = 127;
}

/// What one schema asks. All of it must hold.
#[derive(Debug, Default)]
struct Schema {
    /// `false`, the schema that takes nothing.
    is_never: bool,
    /// The types that it takes; 0 for every one.
    types: u8,
    /// `enum`: the bytes of each choice, sorted.
    choices: Option<Vec<Vec<u8>>>,
    /// `const`.
    constant: Option<Vec<u8>>,
    number: Option<Box<NumberRules>>,
    string: Option<Box<StringRules>>,
    array: Option<Box<ArrayRules>>,
    object: Option<Box<ObjectRules>>,
    all: Vec<SchemaId>,
    any: Option<Vec<SchemaId>>,
    one: Option<Vec<SchemaId>>,
    not: Option<SchemaId>,
    condition: Option<Condition>,
    reference: Option<SchemaId>,
    /// Reached by `$ref`: perhaps on several ways.
    is_target: bool,
}

#[derive(Debug, Default)]
struct NumberRules {
    minimum: Option<Number>,
    exclusive_minimum: Option<Number>,
    maximum: Option<Number>,
    exclusive_maximum: Option<Number>,
    multiple_of: Option<Divisor>,
    format: Option<Format>,
}

#[derive(Debug, Default)]
struct StringRules {
    /// In characters.
    min: usize,
    max: Option<usize>,
    pattern: Option<Pattern>,
    format: Option<Format>,
}

#[derive(Debug, Default)]
struct ArrayRules {
    min: usize,
    max: Option<usize>,
    is_unique: bool,
    prefix: Vec<SchemaId>,
    items: Option<SchemaId>,
    contains: Option<Contains>,
}

#[derive(Debug)]
struct Contains {
    schema: SchemaId,
    min: usize,
    max: Option<usize>,
}

#[derive(Debug, Default)]
struct ObjectRules {
    min: usize,
    max: Option<usize>,
    /// `properties` and `required`, sorted by name.
    names: Vec<(Box<str>, Name)>,
    /// How many of them are required.
    required: usize,
    patterns: Vec<(Pattern, SchemaId)>,
    additional: Option<SchemaId>,
    property_names: Option<SchemaId>,
    dependent_required: Vec<(Box<str>, Vec<Box<str>>)>,
    dependent_schemas: Vec<(Box<str>, SchemaId)>,
}

#[derive(Debug, Default)]
struct Name {
    schema: Option<SchemaId>,
    is_required: bool,
}

#[derive(Debug, Default)]
struct Condition {
    when: Option<SchemaId>,
    then: Option<SchemaId>,
    otherwise: Option<SchemaId>,
}

/// Where a document is not what its schema says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// A JSON pointer; `*` for names that no schema has, which could be anything.
    pub pointer: String,
    /// The keyword that does not hold.
    pub keyword: &'static str,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pointer = if self.pointer.is_empty() { "the document" } else { self.pointer.as_str() };
        write!(f, "{pointer} does not meet `{}`", self.keyword)
    }
}

impl SchemaSet {
    /// Checks a document.
    ///
    /// Gives the strings, as nodes in ascending order, that were found to be of a type that leaves no room for anything else:
    /// `enum`, `const`, or a format such as `uuid` or `date`.
    ///
    /// # Errors
    /// [`Mismatch`]
    pub fn check(&self, schema: SchemaId, document: &Document<'_>) -> Result<Vec<u32>, Mismatch> {
        validate::check(self, schema, document)
    }

    fn get(&self, id: SchemaId) -> Option<&Schema> {
        self.schemas.get(id.0 as usize)
    }

    /// Which types a schema takes: those that it names, or those of its choices. One that says nothing is about text.
    ///
    /// `None` where it says something about numbers, arrays or objects, and text would pass by all of it.
    pub fn scalar_types(&self, id: SchemaId) -> Option<ScalarTypes> {
        match self.types_of(id, 0) {
            types::ANY => {
                let schema = self.get(id)?;
                let is_about_text = schema.number.is_none() && schema.array.is_none() && schema.object.is_none();
                is_about_text.then_some(ScalarTypes(types::STRING))
            }
            bits => Some(ScalarTypes(bits)),
        }
    }

    /// The schema of an array's elements.
    pub fn items(&self, id: SchemaId) -> Option<SchemaId> {
        let mut id = id;
        // Longer chains are refused.
        for _ in 0..64 {
            let schema = self.get(id)?;
            if let Some(items) = schema.array.as_ref().and_then(|array| array.items) {
                return Some(items);
            }
            id = schema.reference?;
        }
        None
    }

    fn types_of(&self, id: SchemaId, depth: usize) -> u8 {
        let Some(schema) = self.get(id).filter(|_| depth < 8) else { return types::ANY };
        if schema.types != 0 {
            return schema.types;
        }
        // The first byte of a value says its type.
        let of_choice = |choice: &Vec<u8>| match choice.first() {
            Some(b't' | b'f') => types::BOOLEAN,
            Some(b'n') => types::NUMBER,
            Some(b'0') => types::NULL,
            Some(b'a') => types::ARRAY,
            Some(b'o') => types::OBJECT,
            _ => types::STRING,
        };
        let choices = schema.choices.iter().flatten().chain(&schema.constant);
        let of_choices = choices.map(of_choice).fold(0, |all, one| all | one);
        if of_choices != 0 {
            return of_choices;
        }
        let further = schema.reference.iter().chain(&schema.all);
        let both = further.map(|id| self.types_of(*id, depth + 1)).fold(types::ANY, |all, one| all & one);
        match (&schema.any, &schema.one) {
            (Some(some), _) | (None, Some(some)) => {
                both & some.iter().map(|id| self.types_of(*id, depth + 1)).fold(0, |all, one| all | one)
            }
            (None, None) => both,
        }
    }
}

/// Which types of values a schema takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ScalarTypes(u8);

impl ScalarTypes {
    /// Numbers.
    pub fn takes_numbers(self) -> bool {
        self.0 & (types::NUMBER | types::INTEGER) != 0
    }

    /// `true` and `false`.
    pub fn takes_booleans(self) -> bool {
        self.0 & types::BOOLEAN != 0
    }

    /// Arrays, and no single values.
    pub fn is_list(self) -> bool {
        self.0 & types::ARRAY != 0 && self.0 & (types::STRING | types::NUMBER | types::INTEGER | types::BOOLEAN) == 0
    }

    /// Nothing but objects.
    pub fn is_object(self) -> bool {
        self.0 == types::OBJECT
    }
}
