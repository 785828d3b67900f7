//! Input validation: what requests of a rule may look like.

use serde_json::Value;

use super::Mode;
use crate::config::document::{Node, Problems};
use crate::config::section::{Definitions, OneOrMany, Read};
use crate::config::units::Size;
use crate::{section, words};

section! {
    /// What requests may look like: sizes and counts, content types, JSON, forms, parameters. What is not set has the value that is given here.
    pub struct InputSection {
        /// Whether requests are checked at all. `off` at a rule lifts the checks of `defaults`.
        checks: bool = true,
        /// `monitor` counts and logs what they would refuse.
        mode: Option<Mode>,
        /// Content types that a body may have, such as `application/json`, `image/*` or `*/*+json`: 415 otherwise. Every one unless said otherwise; JSON where there is a `schema`, forms where there is a `form`.
        content_types: Option<OneOrMany<String>>,
        /// The longest head: names and values of all header lines, method and target included. 431.
        max_head: Size = "32KiB",
        /// The longest name and value of one header line together. 431.
        max_header: Size = "8KiB",
        /// The most header lines. 431.
        max_headers: u64 = 100,
        /// The most cookies. 431.
        max_cookies: u64 = 100,
        /// The longest path. 414.
        max_path: Size = "4KiB",
        /// The longest query. 414.
        max_query: Size = "4KiB",
        /// The most parameters of a query, and the most fields of a form. 400.
        max_arguments: u64 = 256,
        /// The longest body: 413. It is held back only where it has to be read: for JSON, for a form, for `require_body`, and where its length is not announced.
        max_body: Size = "128KiB",
        /// The most that a compressed body may become. 413.
        max_inflated: Size = "1MiB",
        /// Whether a request without a body is refused. 400.
        require_body: bool = false,
        /// Limits of JSON bodies.
        json: InputJsonSection = {},
        /// The JSON Schema (draft 2020-12) that a JSON body must meet: 422 otherwise. A schema, or the name of one in `schemas`.
        schema: Option<Value>,
        /// What a form must meet, be it `application/x-www-form-urlencoded` or `multipart/form-data`.
        form: Option<FormSection>,
        /// Parameters of path, query, headers and cookies.
        parameters: Vec<ParameterSection>,
        /// Whether a query may have parameters that `parameters` does not declare. 400 otherwise.
        unknown_parameters: UnknownParameters = "allow",
    }
}

section! {
    /// Limits of JSON bodies. A body that is declared as JSON and is none is refused with 400, one beyond a limit with 422.
    pub struct InputJsonSection {
        /// Whether bodies that are declared as JSON are read at all. A `schema` needs it.
        checks: bool = true,
        /// Objects and arrays inside each other, the outermost included; at most 64.
        max_depth: u64 = 32,
        /// Members of all objects together.
        max_keys: u64 = 10000,
        /// The longest name of a member.
        max_key: Size = "256B",
        /// The longest string.
        max_string: Size = "64KiB",
        /// Elements of one array.
        max_elements: u64 = 10000,
        /// Whether an object may name a member twice: readers differ about which one counts. 400 otherwise.
        duplicate_keys: bool = false,
        /// Which numbers are taken.
        numbers: NumberRange = "double",
    }
}

words! {
    /// Which numbers of JSON are taken.
    pub enum NumberRange {
        /// Whole numbers that every reader holds exactly, of at most 2^53 - 1 (RFC 7493, 2.2), and fractions in the range of a double.
        Safe = "safe",
        /// Numbers below 10^308: a double is near.
        Double = "double",
        /// Every number.
        Any = "any",
    }
}

section! {
    /// The fields of a form, each with a type. A form that readers could take for several ones is refused with 400: one that is no UTF-8, or whose parts have no strict reading (RFC 7578).
    pub struct FormSection {
        /// The fields.
        fields: Vec<FieldSection>,
        /// Whether a form may have fields that `fields` does not declare. 400 otherwise.
        unknown_fields: UnknownParameters = "allow",
    }
}

section! {
    /// A field of a form, and what it must be: 400 otherwise. As with parameters, payload rules skip what its schema leaves no room for an attack in.
    pub struct FieldSection {
        /// Its name.
        name: String,
        /// Whether a form without it is refused.
        required: bool = false,
        /// The JSON Schema (draft 2020-12) of its value, or the name of one in `schemas`. Text unless it says otherwise; where it takes numbers or booleans, a value that reads as one is one. An `array` is given by repetition.
        schema: Option<Value>,
        /// Whether the elements of an `array` stand in one value, with commas between.
        commas: bool = false,
        /// Whether the value is a JSON document, within the limits of `json`, that `schema` is about.
        json: bool = false,
        /// That it is a file, in `multipart/form-data`. A field without it takes none.
        file: Option<FileSection>,
    }
}

section! {
    /// What a file in a form may be.
    pub struct FileSection {
        /// Content types that its part may declare, such as `image/*`: 415 otherwise. Every one, or none, unless said otherwise.
        content_types: Option<OneOrMany<String>>,
        /// The largest file: 413. As large as the body may be, unless said otherwise.
        max_size: Option<Size>,
        /// The most files in this field. 400.
        max_count: u64 = 1,
    }
}

words! {
    /// Whether there may be parameters or fields that are not declared.
    pub enum UnknownParameters {
        /// There may.
        Allow = "allow",
        /// 400.
        Deny = "deny",
    }
}

section! {
    /// A parameter, and what it must be: 400 otherwise. A number, a boolean, an `enum`, a `const` and a format such as `uuid` or `date` leave no room for an attack: payload rules skip them, outside of the path.
    pub struct ParameterSection {
        /// Where it stands.
        r#in: ParameterPlace,
        /// Its name. Of a header in any case.
        name: String,
        /// Whether a request without it is refused. In the path it always is.
        required: bool = false,
        /// The JSON Schema (draft 2020-12) of its value, or the name of one in `schemas`. Text unless it says otherwise; where it takes numbers or booleans, a value that reads as one is one. An `array` is given by repetition.
        schema: Option<Value>,
        /// Whether the elements of an `array` stand in one value, with commas between.
        commas: bool = false,
    }
}

words! {
    /// Where a parameter stands.
    pub enum ParameterPlace {
        /// A variable of `match.path`.
        Path = "path",
        /// The query.
        Query = "query",
        /// A header.
        Header = "header",
        /// A cookie.
        Cookie = "cookie",
    }
}

/// Something that knows where it is written, however many rules inherit it.
#[derive(Debug, Clone, PartialEq)]
pub struct Placed<T> {
    /// Its path.
    pub at: String,
    /// What is written there.
    pub section: T,
}

impl<T: Read> Read for Placed<T> {
    fn read(node: &Node<'_>, problems: &mut Problems) -> Option<Self> {
        T::read(node, problems).map(|section| Self { at: node.path.clone(), section })
    }

    fn schema(definitions: &mut Definitions) -> Value {
        T::schema(definitions)
    }
}
