//! One declaration makes a section's struct, its reader and its JSON Schema, so that the three cannot drift apart.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::document::{Node, Problems, kind};

/// A value that the configuration can hold.
pub trait Read: Sized {
    /// Reads the value at `node`. `None` means that at least one problem was added.
    fn read(node: &Node<'_>, problems: &mut Problems) -> Option<Self>;

    /// What an absent field means: `None` makes the field required.
    fn when_absent() -> Option<Self> {
        None
    }

    /// The JSON Schema of the value; named sections go into `definitions` and are referred to.
    fn schema(definitions: &mut Definitions) -> Value;
}

/// The named sections of a JSON Schema (`$defs`).
#[derive(Debug, Default)]
pub struct Definitions(pub Map<String, Value>);

impl Definitions {
    /// A reference to the section `name`, which `make` describes the first time it is met.
    pub fn refer(&mut self, name: &str, make: impl FnOnce(&mut Definitions) -> Value) -> Value {
        if !self.0.contains_key(name) {
            // A placeholder first: a section may contain itself.
            self.0.insert(name.to_owned(), Value::Null);
            let made = make(self);
            self.0.insert(name.to_owned(), made);
        }
        json!({"$ref": format!("#/$defs/{name}")})
    }
}

/// The field's name in the configuration: `r#use` in Rust is `use` there.
pub fn field_name(rust_name: &'static str) -> &'static str {
    rust_name.strip_prefix("r#").unwrap_or(rust_name)
}

/// A doc comment as one line of text.
pub fn doc_text(lines: &[&str]) -> String {
    lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ").trim().to_owned()
}

/// Declares a section of the configuration.
///
/// A field without a default is required, unless its type says otherwise (`Option`, `Vec` and maps may be absent).
/// A default is written as the operator would write it, and read by the same reader. `..name: Type` at the end takes
/// the fields of another section into the same object.
#[macro_export]
macro_rules! section {
    (
        $(#[doc = $doc:literal])*
        pub struct $name:ident {
            $( $(#[doc = $field_doc:literal])* $field:ident : $type:ty $(= $default:tt)? , )*
            $( .. $rest:ident : $rest_type:ty )?
        }
    ) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name {
            $( $(#[doc = $field_doc])* pub $field: $type, )*
            $(
                /// The fields that this section shares with another one.
                pub $rest: $rest_type,
            )?
        }

        impl $name {
            /// Reads this section's fields from an object that may hold others too.
            pub fn read_fields(
                object: &mut $crate::config::document::Object<'_>,
                problems: &mut $crate::config::Problems,
            ) -> Option<Self> {
                $(
                    #[allow(unused_mut, unused_assignments)]
                    let $field: Option<$type> = {
                        let mut default: Option<serde_json::Value> = None;
                        $( default = Some(serde_json::json!($default)); )?
                        object.field($crate::config::section::field_name(stringify!($field)), default, problems)
                    };
                )*
                $( let $rest = <$rest_type>::read_fields(object, problems); )?
                Some(Self { $( $field: $field?, )* $( $rest: $rest?, )? })
            }

            /// The section's fields as JSON Schema properties, and the names of the required ones.
            pub fn schema_fields(
                definitions: &mut $crate::config::section::Definitions,
                properties: &mut serde_json::Map<String, serde_json::Value>,
                required: &mut Vec<serde_json::Value>,
            ) {
                $( {
                    let name = $crate::config::section::field_name(stringify!($field));
                    #[allow(unused_mut, unused_assignments)]
                    let mut default: Option<serde_json::Value> = None;
                    $( default = Some(serde_json::json!($default)); )?
                    let mut schema = <$type as $crate::config::Read>::schema(definitions);
                    if let Some(members) = schema.as_object_mut() {
                        let doc = $crate::config::section::doc_text(&[$($field_doc),*]);
                        members.insert("description".to_owned(), doc.into());
                        if let Some(default) = default.clone() {
                            members.insert("default".to_owned(), default);
                        }
                    }
                    if default.is_none() && <$type as $crate::config::Read>::when_absent().is_none() {
                        required.push(name.into());
                    }
                    properties.insert(name.to_owned(), schema);
                } )*
                $( <$rest_type>::schema_fields(definitions, properties, required); )?
            }
        }

        impl $crate::config::Read for $name {
            fn read(
                node: &$crate::config::Node<'_>,
                problems: &mut $crate::config::Problems,
            ) -> Option<Self> {
                let mut object = node.object(problems)?;
                let read = Self::read_fields(&mut object, problems);
                object.refuse_unknown(problems);
                read
            }

            fn schema(definitions: &mut $crate::config::section::Definitions) -> serde_json::Value {
                definitions.refer(stringify!($name), |definitions| {
                    let mut properties = serde_json::Map::new();
                    let mut required = Vec::new();
                    Self::schema_fields(definitions, &mut properties, &mut required);
                    serde_json::json!({
                        "type": "object",
                        "description": $crate::config::section::doc_text(&[$($doc),*]),
                        "properties": properties,
                        "required": required,
                        "additionalProperties": false,
                    })
                })
            }
        }
    };
}

/// Declares a choice of fixed words.
#[macro_export]
macro_rules! words {
    (
        $(#[doc = $doc:literal])*
        pub enum $name:ident { $( $(#[doc = $word_doc:literal])* $variant:ident = $word:literal, )* }
    ) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $( $(#[doc = $word_doc])* $variant, )* }

        impl $name {
            /// The words, in the order of their declaration.
            pub const WORDS: &'static [&'static str] = &[$($word),*];

            /// The word as it is written.
            pub fn as_str(self) -> &'static str {
                match self { $( Self::$variant => $word, )* }
            }

            /// The choice that `word` names.
            pub fn from_word(word: &str) -> Option<Self> {
                match word { $( $word => Some(Self::$variant), )* _ => None }
            }
        }

        $crate::reads_words!($name);
    };
}

/// Reads a type that has `WORDS` and `from_word` as one of these words.
#[macro_export]
macro_rules! reads_words {
    ($name:ty) => {
        impl $crate::config::Read for $name {
            fn read(
                node: &$crate::config::Node<'_>,
                problems: &mut $crate::config::Problems,
            ) -> Option<Self> {
                let listed = $crate::config::suggest::listed(Self::WORDS);
                let text = node.text(&format!("one of {listed}"), problems)?;
                let found = Self::from_word(text);
                if found.is_none() {
                    let hint = match $crate::config::suggest::nearest(text, Self::WORDS.iter().copied()) {
                        Some(near) => format!("did you mean {near:?}?"),
                        None => format!("one of {listed}"),
                    };
                    problems.add_with_hint(node.path.clone(), format!("{text:?} is not known here"), hint);
                }
                found
            }

            fn schema(_: &mut $crate::config::section::Definitions) -> serde_json::Value {
                serde_json::json!({"enum": Self::WORDS})
            }
        }
    };
}

impl Read for String {
    fn read(node: &Node<'_>, problems: &mut Problems) -> Option<Self> {
        let text = node.text("text", problems)?;
        if text.is_empty() {
            problems.add(node.path.clone(), "is empty");
            return None;
        }
        Some(text.to_owned())
    }

    fn schema(_: &mut Definitions) -> Value {
        json!({"type": "string", "minLength": 1})
    }
}

impl Read for bool {
    fn read(node: &Node<'_>, problems: &mut Problems) -> Option<Self> {
        match node.value {
            Value::Bool(value) => Some(*value),
            // A protobuf Struct keeps unquoted `on` and `off` as text.
            Value::String(text) if matches!(text.as_str(), "true" | "on" | "yes") => Some(true),
            Value::String(text) if matches!(text.as_str(), "false" | "off" | "no") => Some(false),
            other => {
                let problem = format!("expected true or false, found {}", kind(other));
                problems.add(node.path.clone(), problem);
                None
            }
        }
    }

    fn schema(_: &mut Definitions) -> Value {
        json!({"type": "boolean"})
    }
}

impl Read for u64 {
    fn read(node: &Node<'_>, problems: &mut Problems) -> Option<Self> {
        let number = match node.value {
            Value::Number(number) => number.as_u64().or_else(|| whole(number.as_f64()?)),
            // A Struct turns numbers into doubles: what is too big for one is written as text.
            Value::String(text) => text.parse().ok(),
            _ => None,
        };
        if number.is_none() {
            problems.add(node.path.clone(), format!("{} is not a whole number of 0 or more", node.value));
        }
        number
    }

    fn schema(_: &mut Definitions) -> Value {
        json!({"type": ["integer", "string"], "minimum": 0, "pattern": "^[0-9]+$"})
    }
}

/// A double that holds a whole number exactly (2^53 is the last one that surely does).
fn whole(number: f64) -> Option<u64> {
    const LAST_EXACT: f64 = 9_007_199_254_740_992.0;
    let exact = (0.0..=LAST_EXACT).contains(&number) && number.fract() == 0.0;
    // Lossless: checked above.
    exact.then_some(number as u64)
}

impl<T: Read> Read for Option<T> {
    fn read(node: &Node<'_>, problems: &mut Problems) -> Option<Self> {
        T::read(node, problems).map(Some)
    }

    fn when_absent() -> Option<Self> {
        Some(None)
    }

    fn schema(definitions: &mut Definitions) -> Value {
        T::schema(definitions)
    }
}

impl<T: Read> Read for Vec<T> {
    fn read(node: &Node<'_>, problems: &mut Problems) -> Option<Self> {
        let Value::Array(elements) = node.value else {
            problems.add(node.path.clone(), format!("expected a list, found {}", kind(node.value)));
            return None;
        };
        // Every element is read before the first failure counts: all problems at once.
        let read: Vec<Option<T>> = elements
            .iter()
            .enumerate()
            .map(|(index, element)| T::read(&node.element(index, element), problems))
            .collect();
        read.into_iter().collect()
    }

    fn when_absent() -> Option<Self> {
        Some(Vec::new())
    }

    fn schema(definitions: &mut Definitions) -> Value {
        json!({"type": "array", "items": T::schema(definitions)})
    }
}

impl<T: Read> Read for BTreeMap<String, T> {
    fn read(node: &Node<'_>, problems: &mut Problems) -> Option<Self> {
        let Value::Object(members) = node.value else {
            problems.add(node.path.clone(), format!("expected an object, found {}", kind(node.value)));
            return None;
        };
        let read: Vec<Option<(String, T)>> = members
            .iter()
            .map(|(key, value)| T::read(&node.member(key, value), problems).map(|value| (key.clone(), value)))
            .collect();
        read.into_iter().collect()
    }

    fn when_absent() -> Option<Self> {
        Some(BTreeMap::new())
    }

    fn schema(definitions: &mut Definitions) -> Value {
        json!({"type": "object", "additionalProperties": T::schema(definitions)})
    }
}

impl Read for Value {
    fn read(node: &Node<'_>, _: &mut Problems) -> Option<Self> {
        Some(node.value.clone())
    }

    fn schema(_: &mut Definitions) -> Value {
        json!({})
    }
}

impl<T: Read> Read for Box<T> {
    fn read(node: &Node<'_>, problems: &mut Problems) -> Option<Self> {
        T::read(node, problems).map(Box::new)
    }

    fn when_absent() -> Option<Self> {
        T::when_absent().map(Box::new)
    }

    fn schema(definitions: &mut Definitions) -> Value {
        T::schema(definitions)
    }
}

/// One value or a list of values: `key: ip` is short for `key: [ip]`.
#[derive(Debug, Clone, PartialEq)]
pub struct OneOrMany<T>(pub Vec<T>);

impl<T: Read> Read for OneOrMany<T> {
    fn read(node: &Node<'_>, problems: &mut Problems) -> Option<Self> {
        match node.value {
            Value::Array(_) => Vec::read(node, problems).map(Self),
            _ => T::read(node, problems).map(|one| Self(vec![one])),
        }
    }

    fn schema(definitions: &mut Definitions) -> Value {
        let one = T::schema(definitions);
        json!({"anyOf": [one, {"type": "array", "items": one}]})
    }
}
