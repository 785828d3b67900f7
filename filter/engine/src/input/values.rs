//! What the values of one name must be, wherever they stand: how many there are, and of what type.

use std::fmt;

use super::Refusal;
use super::json::{Document, Node, Scalar};
use super::number::Number;
use super::schema::{ScalarTypes, SchemaId, SchemaSet};
use crate::answer::Reason;

/// What the values of one name must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// Whether there must be one.
    pub required: bool,
    /// What it must be.
    pub schema: Option<SchemaId>,
    /// Whether it is one value, or a list.
    pub shape: Shape,
    /// What a single value can be.
    pub types: ScalarTypes,
}

/// How many values a name has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// One.
    One,
    /// As many as it is repeated.
    Repeated,
    /// Those between commas.
    Commas,
    /// Those between commas, on any number of lines (RFC 9110, 5.3).
    Lines,
}

/// What a refusal is about, for the log: `query parameter "page"`.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// Where it stands.
    pub place: &'a str,
    /// What it is called there.
    pub word: &'a str,
    /// Its name in the configuration.
    pub name: &'a str,
}

impl fmt::Display for Subject<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {:?}", self.place, self.word, self.name)
    }
}

impl Subject<'_> {
    /// The refusal of a value that is not what it must be.
    pub fn mismatch(self, why: impl fmt::Display) -> Refusal {
        Refusal::new(Reason::InputParameterMismatch, format!("{self}: {why}"))
    }

    /// The refusal of a name that some services take for this one a second time.
    pub fn repeated(self, why: &str) -> Refusal {
        Refusal::new(Reason::InputParameterRepeated, format!("{self}: {why}"))
    }
}

impl Expected {
    /// Checks the values of a name; gives whether they are of a type that leaves no room for an attack.
    ///
    /// # Errors
    /// [`Refusal`]
    pub fn check<V: AsRef<[u8]>>(
        &self,
        schemas: &SchemaSet,
        subject: Subject<'_>,
        values: &[V],
    ) -> Result<bool, Refusal> {
        self.check_count(subject, values.len())?;
        let Some(schema) = self.schema.filter(|_| !values.is_empty()) else { return Ok(false) };
        let texts: Result<Vec<&str>, _> = values.iter().map(|value| std::str::from_utf8(value.as_ref())).collect();
        let Ok(texts) = texts else { return Err(subject.mismatch("no UTF-8")) };
        let pieces: Vec<&str> = match self.shape {
            Shape::Commas | Shape::Lines => texts.iter().flat_map(|text| text.split(',')).map(str::trim).collect(),
            Shape::One | Shape::Repeated => texts,
        };
        let scalars = pieces.iter().map(|text| self.scalar(text));
        let document = Document::of_values(scalars, self.shape != Shape::One);
        let known = schemas.check(schema, &document).map_err(|mismatch| subject.mismatch(mismatch))?;
        let is_typed = |node: u32| match document.node(node) {
            Node::String(_) => known.binary_search(&node).is_ok(),
            _ => true,
        };
        Ok(match self.shape {
            Shape::One => is_typed(0),
            Shape::Repeated | Shape::Commas | Shape::Lines => document.elements(0).all(is_typed),
        })
    }

    /// Whether there may be so many values.
    ///
    /// # Errors
    /// [`Refusal`]
    pub fn check_count(&self, subject: Subject<'_>, count: usize) -> Result<(), Refusal> {
        match count {
            0 if self.required => Err(Refusal::new(Reason::InputParameterMissing, subject.to_string())),
            0 | 1 => Ok(()),
            // Of two values, gateway and service could each take another one.
            _ if matches!(self.shape, Shape::One | Shape::Commas) => {
                Err(Refusal::new(Reason::InputParameterRepeated, subject.to_string()))
            }
            _ => Ok(()),
        }
    }

    /// What a text stands for: a number or a boolean where the schema takes one.
    fn scalar<'t>(&self, text: &'t str) -> Scalar<'t> {
        match text {
            "true" | "false" if self.types.takes_booleans() => Scalar::Bool(text == "true"),
            text => match Number::parse(text.as_bytes()).filter(|_| self.types.takes_numbers()) {
                Some(number) => Scalar::Number(number),
                None => Scalar::Text(text),
            },
        }
    }
}
