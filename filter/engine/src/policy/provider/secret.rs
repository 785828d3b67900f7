//! Secrets of the configuration: from the VM's environment, or inline.

use std::fmt;

use crate::config::schema::SecretSection;
use crate::config::{Problems, document::member_path};
use crate::policy::Environment;

/// A secret. It never shows in a log, a dump or an error.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Reads a secret. `None` means that a problem was added.
    pub fn read(
        at: &str,
        section: &SecretSection,
        environment: Environment<'_>,
        problems: &mut Problems,
    ) -> Option<Self> {
        match (&section.env, &section.inline) {
            (Some(variable), None) => {
                let secret = environment(variable);
                if secret.as_ref().is_none_or(String::is_empty) {
                    problems.add_with_hint(
                        member_path(at, "env"),
                        format!("the environment has no variable {variable:?}"),
                        "pass it on in vm_config.environment_variables",
                    );
                    return None;
                }
                secret.map(Self)
            }
            (None, Some(secret)) => Some(Self(secret.clone())),
            _ => {
                problems.add(at, "needs exactly one of `env` and `inline`");
                None
            }
        }
    }

    /// The secret itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}
