//! Roles and conditions.

use serde_json::{Value, json};

use crate::config::document::{Node, Problems, kind};
use crate::config::section::{Definitions, Read};
use crate::section;

section! {
    /// Roles that a caller must or must not have among those of the provider's `roles_from`. Whole words are compared.
    pub struct RolesSection {
        /// Every one of these.
        all: Vec<String>,
        /// At least one of these.
        any: Vec<String>,
        /// None of these.
        none: Vec<String>,
    }
}

section! {
    /// A condition with a name.
    pub struct NamedConditionSection {
        /// Its name in logs.
        name: Option<String>,
        /// The condition, in CEL.
        condition: String,
    }
}

/// A condition in CEL, or an object that gives it a name too.
#[derive(Debug, Clone, PartialEq)]
pub struct ConditionSection {
    /// Its name in logs.
    pub name: Option<String>,
    /// The condition.
    pub condition: String,
    /// Where it is written, for later problems.
    pub path: String,
}

impl Read for ConditionSection {
    fn read(node: &Node<'_>, problems: &mut Problems) -> Option<Self> {
        let path = node.path.clone();
        match node.value {
            Value::String(_) => Some(Self { name: None, condition: String::read(node, problems)?, path }),
            Value::Object(_) => {
                let NamedConditionSection { name, condition } = NamedConditionSection::read(node, problems)?;
                Some(Self { name, condition, path })
            }
            other => {
                let hint = "quote it: when: 'jwt.sub == path.id'";
                problems.add_with_hint(path, format!("expected a condition, found {}", kind(other)), hint);
                None
            }
        }
    }

    fn schema(definitions: &mut Definitions) -> Value {
        let object = NamedConditionSection::schema(definitions);
        definitions.refer("ConditionSection", |_| {
            json!({
                "description": "A condition in CEL, or an object that gives it a name too.",
                "anyOf": [{"type": "string", "minLength": 1, "examples": ["jwt.sub == path.id"]}, object],
            })
        })
    }
}
