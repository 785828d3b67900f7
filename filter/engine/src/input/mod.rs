//! Input validation: what requests of a rule may look like, from sizes to a JSON Schema. A policy's `input` section.

mod content_type;
mod forms;
pub mod json;
mod multipart;
pub mod number;
mod parameters;
pub mod schema;
mod spellings;
mod values;

use std::borrow::Cow;

use crate::answer::{Denial, Reason};
use crate::config::schema::Mode;
use crate::http::RequestHead;
use crate::payload::{self, EncodingError, Extent};

pub use content_type::{ContentType, FORM, MULTIPART_FORM, MediaRange};
pub use forms::{Field, FieldKind, FileRules, FormRules};
pub use json::JsonLimits;
pub use parameters::{Parameter, Parameters, Typed};
pub use schema::{SchemaId, SchemaSet};
pub use values::{Expected, Shape};

/// What a rule says about requests. Sizes are in bytes.
#[derive(Debug, Clone)]
pub struct InputRules {
    /// Whether refusals are carried out.
    pub mode: Mode,
    /// Types that a body may have; `None`: every one.
    pub content_types: Option<Vec<MediaRange>>,
    /// Of all header lines together.
    pub max_head: usize,
    /// Of one header line.
    pub max_header: usize,
    /// How many header lines.
    pub max_headers: usize,
    /// How many cookies.
    pub max_cookies: usize,
    /// Of the path.
    pub max_path: usize,
    /// Of the query.
    pub max_query: usize,
    /// How many parameters in the query, and how many fields in a form.
    pub max_arguments: usize,
    /// Of the body as it comes.
    pub max_body: usize,
    /// Of the body once it is decompressed.
    pub max_inflated: usize,
    /// Whether a body must be there.
    pub requires_body: bool,
    /// Limits of JSON; `None`: JSON is not read.
    pub json: Option<JsonLimits>,
    /// What JSON must meet.
    pub schema: Option<SchemaId>,
    /// What forms must meet.
    pub form: Option<FormRules>,
    /// Parameters of path, query, headers and cookies.
    pub parameters: Parameters,
}

/// Two of the same place in the configuration are the same.
impl PartialEq for InputRules {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

/// What of a body was found to be of a type that leaves no room for an attack.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TypedBody {
    /// The bytes of its JSON where such strings begin, in ascending order.
    pub strings: Vec<usize>,
    /// The fields of its form.
    pub fields: Vec<Typed>,
}

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The reason.
    pub reason: Reason,
    /// For the log: never what the client sent.
    pub detail: String,
}

impl Refusal {
    fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }

    fn over(reason: Reason, seen: usize, most: usize) -> Self {
        Self::new(reason, format!("{seen} instead of at most {most}"))
    }
}

impl From<Refusal> for Denial {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.reason, refusal.detail)
    }
}

impl InputRules {
    /// Sizes and counts of the head: every one that is too much.
    pub fn oversized<'a>(&'a self, head: &'a RequestHead) -> impl Iterator<Item = Refusal> + 'a {
        let lines = || head.headers().iter().map(|(name, value)| (name, name.len() + value.len()));
        let target = head.target().split(|byte| *byte == b'#').next().unwrap_or_default();
        let path = target.split(|byte| *byte == b'?').next().unwrap_or_default();
        let query = head.query().unwrap_or_default();
        let ours = || lines().filter(|(name, _)| !name.starts_with(b":"));
        [
            (Reason::InputPathTooLong, path.len(), self.max_path),
            (Reason::InputQueryTooLong, query.len(), self.max_query),
            (Reason::InputArgumentsTooMany, parameters::count(query), self.max_arguments),
            (Reason::InputHeadersTooMany, ours().count(), self.max_headers),
            (Reason::InputHeaderTooLarge, ours().map(|(_, size)| size).max().unwrap_or(0), self.max_header),
            (Reason::InputCookiesTooMany, parameters::count_cookies(head), self.max_cookies),
            (Reason::InputHeadTooLarge, lines().map(|(_, size)| size).sum(), self.max_head),
        ]
        .into_iter()
        .filter(|(_, seen, most)| seen > most)
        .map(|(reason, seen, most)| Refusal::over(reason, seen, most))
    }

    /// What the head says about the body: whether it has to be read before the request may go on.
    ///
    /// # Errors
    /// [`Refusal`] where the head says enough.
    pub fn needs_body(&self, head: &RequestHead) -> Result<bool, Refusal> {
        let content_type = ContentType::of(head);
        self.check_reading(&content_type)?;
        if payload::is_upgrade_with_body(head) {
            return Err(Refusal::new(Reason::InputUpgradeRefused, "what follows has no end"));
        }
        if !payload::has_end(head) {
            // Of a stream, only the kind can be judged.
            if content_type != ContentType::Missing {
                self.check_type(&content_type)?;
            }
            return match self.requires_body && head.headers().get_all("upgrade").next().is_some() {
                true => Err(Refusal::new(Reason::InputBodyMissing, "an upgrade has none")),
                false => Ok(false),
            };
        }
        let announced = head.headers().text("content-length").ok().flatten().and_then(|length| length.parse().ok());
        let comes = announced.is_some_and(|length: usize| length > 0)
            || head.headers().get_all("transfer-encoding").next().is_some();
        if comes {
            self.check_type(&content_type)?;
        }
        if let Some(length) = announced.filter(|length| *length > self.max_body) {
            return Err(Refusal::over(Reason::InputBodyTooLarge, length, self.max_body));
        }
        let is_read = self.requires_body
            || content_type.is_form()
            || self.form_for(&content_type).is_some()
            || (content_type.is_json() && self.json.is_some());
        Ok(is_read || announced.is_none())
    }

    /// Checks a body; of one that is longer than `max_body`, any part that is longer.
    ///
    /// # Errors
    /// [`Refusal`]
    pub fn check_body(
        &self,
        schemas: &SchemaSet,
        head: &RequestHead,
        body: &[u8],
        is_whole: bool,
    ) -> Result<TypedBody, Refusal> {
        if body.len() > self.max_body || !is_whole {
            return Err(Refusal::new(Reason::InputBodyTooLarge, format!("more than {}", self.max_body)));
        }
        if body.is_empty() && self.requires_body {
            return Err(Refusal::new(Reason::InputBodyMissing, ""));
        }
        let content_type = ContentType::of(head);
        let form = self.form_for(&content_type);
        if body.is_empty() && form.is_none() {
            return Ok(TypedBody::default());
        }
        self.check_type(&content_type)?;
        if let Some(form) = form {
            form.check_query(head.query().unwrap_or_default(), |name| self.parameters.declares_in_query(name))?;
            let line = head.headers().get_all("content-type").next().unwrap_or_default();
            let fields = form.check(schemas, line, &self.decoded(head, body)?, self.max_arguments)?;
            return Ok(TypedBody { fields, ..TypedBody::default() });
        }
        match &self.json {
            Some(limits) if content_type.is_json() => {
                let strings = self.check_json(limits, schemas, &self.decoded(head, body)?)?;
                Ok(TypedBody { strings, ..TypedBody::default() })
            }
            _ if content_type.is_form() => {
                let fields = parameters::count(&self.decoded(head, body)?);
                match fields > self.max_arguments {
                    true => Err(Refusal::over(Reason::InputArgumentsTooMany, fields, self.max_arguments)),
                    false => Ok(TypedBody::default()),
                }
            }
            _ => Ok(TypedBody::default()),
        }
    }

    /// What a body of this type must meet as a form.
    fn form_for(&self, content_type: &ContentType) -> Option<&FormRules> {
        self.form.as_ref().filter(|_| content_type.is_form() || content_type.is_multipart_form())
    }

    fn check_json(&self, limits: &JsonLimits, schemas: &SchemaSet, text: &[u8]) -> Result<Vec<usize>, Refusal> {
        let document = json::Document::read(text, limits)
            .map_err(|error| Refusal::new(error.problem.reason(), error.to_string()))?;
        let Some(schema) = self.schema else { return Ok(Vec::new()) };
        let known = schemas
            .check(schema, &document)
            .map_err(|mismatch| Refusal::new(Reason::InputSchemaMismatch, mismatch.to_string()))?;
        Ok(known.into_iter().filter_map(|node| document.quote(node)).map(|quote| quote as usize).collect())
    }

    /// Whether the content type has one reading, with a body or without.
    fn check_reading(&self, content_type: &ContentType) -> Result<(), Refusal> {
        let refused = |why: &str| Err(Refusal::new(Reason::InputTypeRefused, why));
        match content_type {
            ContentType::Unreadable => refused("it cannot be read"),
            kind if self.json.is_some() && kind.is_json() && kind.has_other_charset() => refused("JSON is UTF-8"),
            kind if self.form_for(kind).is_some() && kind.has_other_charset() => refused("a form is UTF-8"),
            _ => Ok(()),
        }
    }

    /// Whether the rule takes bodies of this type.
    fn check_type(&self, content_type: &ContentType) -> Result<(), Refusal> {
        let refused = |why: &str| Err(Refusal::new(Reason::InputTypeRefused, why));
        match (content_type, &self.content_types) {
            (_, None) => Ok(()),
            (ContentType::Unreadable, Some(_)) => refused("it cannot be read"),
            (ContentType::Missing, Some(_)) => refused("there is none"),
            (ContentType::Media { name, .. }, Some(ranges)) => match ranges.iter().any(|range| range.takes(name)) {
                true => Ok(()),
                false => refused("it is not among `content_types`"),
            },
        }
    }

    fn decoded<'b>(&self, head: &RequestHead, body: &'b [u8]) -> Result<Cow<'b, [u8]>, Refusal> {
        let codings: Vec<&[u8]> = head.headers().get_all("content-encoding").collect();
        payload::decoded(&codings, body, self.max_inflated, Extent::Whole).map_err(|error| match error {
            EncodingError::Unsupported => Refusal::new(Reason::InputEncodingRefused, "it cannot be read"),
            EncodingError::Damaged => {
                Refusal::new(Reason::InputBodyMalformed, "it is not what its content-encoding says")
            }
            EncodingError::TooLong => Refusal::new(
                Reason::InputBodyTooLarge,
                format!("more than {} once it is decompressed", self.max_inflated),
            ),
        })
    }
}
