//! What internal tokens are like: the operator's choices.

use std::time::Duration;

use super::error::SettingsError;

/// What internal tokens are like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `iss`: the gateway's own name, which services are told to trust.
    pub issuer: String,
    /// The header's `typ`: `at+jwt` (RFC 9068) or `JWT`. A service that holds strictly to RFC 9068 asks for `client_id`
    /// too, which a credential that names no client cannot give.
    pub token_type: String,
    /// How long a token lasts, in whole seconds; less where the credential ends earlier.
    pub lifetime: Duration,
    /// The part of its lifetime for which a token is handed out again, in percent. With 80, a service always sees at
    /// least 20 percent left, unless the credential itself ends then.
    pub reuse_percent: u8,
    /// The claims that are copied beside `sub`, `scope`, `client_id` and `act`.
    pub copied: Vec<CopiedClaim>,
    /// The longest token, in bytes: it travels in a header, and a proxy refuses requests whose headers are too long.
    pub max_token_bytes: usize,
    /// What one worker may spend on tokens to hand out again, in bytes; zero mints for every request.
    pub cache_bytes: usize,
}

/// One claim to be copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopiedClaim {
    /// Where it stands, as [`Claims::get`](crate::claims::Claims::get) takes it. What is absent or null is not copied.
    pub path: String,
    /// Its name in the internal token. The value stays as it is: text, number, array or object.
    pub name: String,
}

impl Settings {
    /// The usual choices under the name `issuer`.
    pub fn new(issuer: impl Into<String>) -> Self {
        Self {
            issuer: issuer.into(),
            token_type: "at+jwt".to_owned(),
            lifetime: Duration::from_secs(60),
            reuse_percent: 80,
            copied: Vec::new(),
            max_token_bytes: 8 * 1024,
            cache_bytes: 1024 * 1024,
        }
    }

    /// Everything that is wrong with these settings.
    pub fn problems(&self) -> Vec<SettingsError> {
        let mut problems = Vec::new();
        if self.issuer.is_empty() {
            problems.push(SettingsError::IssuerMissing);
        }
        if !TOKEN_TYPES.iter().any(|known| known.eq_ignore_ascii_case(&self.token_type)) {
            problems.push(SettingsError::TokenTypeRefused);
        }
        if !(5..=3600).contains(&self.lifetime.as_secs()) {
            problems.push(SettingsError::LifetimeOutOfRange);
        }
        if self.reuse_percent > 95 {
            problems.push(SettingsError::ReuseOutOfRange);
        }
        for (index, claim) in self.copied.iter().enumerate() {
            if RESERVED.contains(&claim.name.as_str()) {
                problems.push(SettingsError::NameReserved { index });
            } else if claim.name.is_empty() || self.copied.iter().take(index).any(|earlier| earlier.name == claim.name)
            {
                problems.push(SettingsError::NameTaken { index });
            }
        }
        problems
    }
}

/// What the gateway says itself; nothing that is copied may take its place.
pub(super) const RESERVED: [&str; 11] =
    ["iss", "sub", "aud", "iat", "nbf", "exp", "jti", "scope", "client_id", "act", "orig_iss"];

const TOKEN_TYPES: [&str; 4] = ["at+jwt", "JWT", "application/at+jwt", "application/jwt"];

#[cfg(test)]
mod tests {
    use super::*;

    fn copied(names: &[&str]) -> Vec<CopiedClaim> {
        names.iter().map(|name| CopiedClaim { path: "a".into(), name: (*name).to_owned() }).collect()
    }

    #[test]
    fn the_usual_choices_are_sound() {
        assert_eq!(Settings::new("https://gateway.example").problems(), []);
    }

    #[test]
    fn all_problems_come_at_once() {
        let settings = Settings {
            issuer: String::new(),
            token_type: "JWE".into(),
            lifetime: Duration::from_secs(4),
            reuse_percent: 96,
            copied: copied(&["sub", "a", "a", ""]),
            ..Settings::new("")
        };
        let expected = [
            SettingsError::IssuerMissing,
            SettingsError::TokenTypeRefused,
            SettingsError::LifetimeOutOfRange,
            SettingsError::ReuseOutOfRange,
            SettingsError::NameReserved { index: 0 },
            SettingsError::NameTaken { index: 2 },
            SettingsError::NameTaken { index: 3 },
        ];
        assert_eq!(settings.problems(), expected);
    }

    #[test]
    fn no_copied_claim_takes_the_place_of_what_the_gateway_says() {
        for name in RESERVED {
            let settings = Settings { copied: copied(&[name]), ..Settings::new("g") };
            assert_eq!(settings.problems(), [SettingsError::NameReserved { index: 0 }], "{name}");
        }
    }

    #[test]
    fn a_token_type_has_no_bytes_of_its_own() {
        for token_type in ["", "at+jwt ", "JWT\",\"kid\":\"x", "JWT\r\n", "none"] {
            let settings = Settings { token_type: token_type.into(), ..Settings::new("g") };
            assert_eq!(settings.problems(), [SettingsError::TokenTypeRefused], "{token_type:?}");
        }
    }
}
