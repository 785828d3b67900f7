//! The fields of a form, each with a type: of `application/x-www-form-urlencoded` and of `multipart/form-data` alike.

use std::borrow::Cow;

use portcullis_payload::Place;
use portcullis_payload::arguments::each_pair;

use super::Refusal;
use super::content_type::{ContentType, MediaRange};
use super::json::{Document, JsonLimits};
use super::multipart::{self, PartsError};
use super::parameters::{Typed, count};
use super::schema::SchemaSet;
use super::spellings::{IN_ANOTHER_SPELLING, Spellings};
use super::values::{Expected, Subject};
use crate::answer::Reason;

/// What a form may hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormRules {
    fields: Vec<Field>,
    denies_unknown: bool,
    json: JsonLimits,
    spellings: Spellings,
}

/// A field, and what it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// What its values must be.
    pub expected: Expected,
    /// What stands in it.
    pub kind: FieldKind,
}

/// What stands in a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldKind {
    /// A text.
    Text,
    /// A JSON document.
    Json,
    /// A file.
    File(FileRules),
}

/// What the files of a field may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRules {
    /// Their types; `None`: every one.
    pub content_types: Option<Vec<MediaRange>>,
    /// The size of each in bytes.
    pub max_size: usize,
    /// How many there may be.
    pub max_count: usize,
}

/// A value as it was sent.
struct Sent<'b> {
    name: Cow<'b, [u8]>,
    value: Cow<'b, [u8]>,
    /// The name of its file; `None`: it is none.
    file: Option<&'b [u8]>,
    content_type: Option<&'b [u8]>,
}

impl AsRef<[u8]> for &Sent<'_> {
    fn as_ref(&self) -> &[u8] {
        &self.value
    }
}

impl FormRules {
    /// The fields that are declared; `denies_unknown` says that there may be no other ones, `json` what those that are JSON may hold.
    pub fn new(fields: Vec<Field>, denies_unknown: bool, json: JsonLimits) -> Self {
        let spellings = Spellings::of(fields.iter().map(|field| field.name.as_str()));
        Self { fields, denies_unknown, json, spellings }
    }

    /// Checks a body with at most so many fields; `line` is its content type. One without any bytes is a form without fields.
    ///
    /// # Errors
    /// [`Refusal`], the first one.
    pub fn check(&self, schemas: &SchemaSet, line: &[u8], body: &[u8], most: usize) -> Result<Vec<Typed>, Refusal> {
        let is_multipart = !ContentType::parse(line).is_form();
        let sent = match is_multipart {
            _ if body.is_empty() => Vec::new(),
            true => parts(line, body, most)?,
            false => pairs(body, most)?,
        };
        let mut found: Vec<Vec<&Sent<'_>>> = vec![Vec::new(); self.fields.len()];
        for value in &sent {
            let number = self.fields.iter().position(|field| field.name.as_bytes() == &*value.name);
            match number.and_then(|number| found.get_mut(number)) {
                Some(values) => values.push(value),
                None if self.denies_unknown => {
                    return Err(Refusal::new(Reason::InputParameterUnknown, "in the form"));
                }
                None => self.refuse(self.spellings.number(&value.name), IN_ANOTHER_SPELLING)?,
            }
        }
        if !is_multipart {
            self.refuse(self.spellings.behind_semicolon(body), IN_ANOTHER_SPELLING)?;
        }
        let place = if is_multipart { Place::Multipart } else { Place::Form };
        let mut typed = Vec::new();
        for (field, values) in self.fields.iter().zip(&found) {
            if field.check(schemas, &self.json, values)? {
                typed.push((place, field.name.clone().into_bytes()));
            }
        }
        Ok(typed)
    }

    /// Refuses a field of the form that stands in the query too, in whatever spelling: some services take that one. One that is
    /// declared there as well has its type there.
    ///
    /// # Errors
    /// [`Refusal`]
    pub fn check_query(&self, query: &[u8], is_declared: impl Fn(&[u8]) -> bool) -> Result<(), Refusal> {
        if query.is_empty() {
            return Ok(());
        }
        let mut found = None;
        each_pair(query, b'&', true, |name, _| {
            if found.is_none() && !is_declared(name) {
                found = self.spellings.number(name);
            }
        });
        self.refuse(found.or_else(|| self.spellings.behind_semicolon(query)), "in the query too")
    }

    fn refuse(&self, number: Option<usize>, why: &str) -> Result<(), Refusal> {
        match number.and_then(|number| self.fields.get(number)) {
            Some(field) => Err(field.subject().repeated(why)),
            None => Ok(()),
        }
    }
}

impl Field {
    fn subject(&self) -> Subject<'_> {
        Subject { place: "form", word: "field", name: &self.name }
    }

    /// Checks the values of this field; gives whether they are of a type that leaves no room for an attack.
    fn check(&self, schemas: &SchemaSet, json: &JsonLimits, values: &[&Sent<'_>]) -> Result<bool, Refusal> {
        let subject = self.subject();
        if let FieldKind::File(rules) = &self.kind {
            return self.check_files(rules, subject, values).map(|()| false);
        }
        if values.iter().any(|value| value.file.is_some()) {
            return Err(subject.mismatch("a file"));
        }
        for line in values.iter().filter_map(|value| value.content_type) {
            // Some readers take bytes for a file, others look for parts inside.
            let kind = ContentType::parse(line);
            let takes = match &kind {
                ContentType::Media { name, .. } if self.kind == FieldKind::Json => {
                    matches!(name.as_str(), "text/plain" | "application/json")
                }
                ContentType::Media { name, .. } => name == "text/plain",
                ContentType::Missing | ContentType::Unreadable => false,
            };
            if !takes {
                return Err(subject.mismatch("its content type"));
            }
            if kind.has_other_charset() {
                return Err(subject.mismatch("its character set"));
            }
        }
        if self.kind == FieldKind::Text {
            return self.expected.check(schemas, subject, values);
        }
        self.expected.check_count(subject, values.len())?;
        for value in values {
            let document = Document::read(&value.value, json).map_err(|error| subject.mismatch(error))?;
            if let Some(schema) = self.expected.schema {
                schemas.check(schema, &document).map_err(|mismatch| subject.mismatch(mismatch))?;
            }
        }
        Ok(false)
    }

    fn check_files(&self, rules: &FileRules, subject: Subject<'_>, values: &[&Sent<'_>]) -> Result<(), Refusal> {
        // What a browser sends for a file that nobody chose.
        let is_none = |value: &&&Sent<'_>| value.file == Some(b"") && value.value.is_empty();
        let files: Vec<_> = values.iter().filter(|value| !is_none(value)).collect();
        self.expected.check_count(subject, files.len())?;
        if files.len() > rules.max_count {
            return Err(subject.mismatch(format_args!("{} files instead of at most {}", files.len(), rules.max_count)));
        }
        for file in files {
            if file.file.is_none_or(<[u8]>::is_empty) {
                return Err(subject.mismatch("no file"));
            }
            let size = file.value.len();
            if size > rules.max_size {
                let detail = format!("{subject}: {size} instead of at most {}", rules.max_size);
                return Err(Refusal::new(Reason::InputBodyTooLarge, detail));
            }
            let Some(ranges) = &rules.content_types else { continue };
            let kind = file.content_type.map_or(ContentType::Missing, ContentType::parse);
            if !matches!(kind, ContentType::Media { name, .. } if ranges.iter().any(|range| range.takes(&name))) {
                let detail = format!("{subject}: its type is not among `content_types`");
                return Err(Refusal::new(Reason::InputTypeRefused, detail));
            }
        }
        Ok(())
    }
}

fn pairs(body: &[u8], most: usize) -> Result<Vec<Sent<'_>>, Refusal> {
    let fields = count(body);
    if fields > most {
        return Err(Refusal::over(Reason::InputArgumentsTooMany, fields, most));
    }
    // Zeros and a byte order mark make it UTF-16 or another text to some readers.
    if body.contains(&0) || body.starts_with(b"\xef\xbb\xbf") || std::str::from_utf8(body).is_err() {
        return Err(Refusal::new(Reason::InputBodyMalformed, "a form is UTF-8"));
    }
    let mut sent = Vec::new();
    each_pair(body, b'&', true, |name, value| {
        let (name, value) = (Cow::Owned(name.to_vec()), Cow::Owned(value.to_vec()));
        sent.push(Sent { name, value, file: None, content_type: None });
    });
    Ok(sent)
}

fn parts<'b>(line: &[u8], body: &'b [u8], most: usize) -> Result<Vec<Sent<'b>>, Refusal> {
    let parts = multipart::boundary(line).and_then(|boundary| multipart::read(boundary, body, most));
    let parts = parts.map_err(|error| match error {
        PartsError::Malformed(why) => Refusal::new(Reason::InputBodyMalformed, why),
        PartsError::TooMany => Refusal::new(Reason::InputArgumentsTooMany, format!("more than {most}")),
    })?;
    Ok(parts
        .into_iter()
        .map(|part| Sent {
            name: Cow::Borrowed(part.name),
            value: Cow::Borrowed(part.content),
            file: part.file,
            content_type: part.content_type,
        })
        .collect())
}
