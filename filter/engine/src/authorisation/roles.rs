//! Roles: whole words that a caller must or must not have.

use crate::answer::{Denial, Reason};
use crate::claims::{Claims, words};

/// What a rule asks of a caller's roles. Words are compared whole, never as parts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Roles {
    /// Every one of these must be there.
    pub all: Vec<String>,
    /// One of these must be there, unless the list is empty.
    pub any: Vec<String>,
    /// None of these may be there.
    pub none: Vec<String>,
}

impl Roles {
    /// Whether nothing is asked.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty() && self.any.is_empty() && self.none.is_empty()
    }

    /// Checks a verified caller, whose roles are those of all the claims at `paths` together.
    ///
    /// # Errors
    /// A [`Denial`] that names the role for the log, never what the caller has.
    pub fn check(&self, claims: &Claims, paths: &[String]) -> Result<(), Denial> {
        let has = |wanted: &String| paths.iter().any(|path| words(claims.get(path)).any(|role| role == wanted));
        let denied = |detail: String| Err(Denial::new(Reason::RoleMissing, detail));
        if let Some(missing) = self.all.iter().find(|wanted| !has(wanted)) {
            return denied(format!("role {missing:?} is missing"));
        }
        if !self.any.is_empty() && !self.any.iter().any(has) {
            return denied(format!("none of the roles {:?}", self.any));
        }
        match self.none.iter().find(|unwanted| has(unwanted)) {
            Some(unwanted) => denied(format!("role {unwanted:?} is not allowed")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn has(claims: Value, paths: &[&str], role: &str) -> bool {
        let claims = Claims::new(claims.as_object().unwrap().clone());
        let paths: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
        Roles { all: vec![role.to_owned()], ..Roles::default() }.check(&claims, &paths).is_ok()
    }

    #[test]
    fn roles_stand_in_nested_and_in_url_like_claims() {
        let claims = || {
            json!({
                "realm_access": {"roles": ["admin", "Order Manager"]},
                "https://example.com/roles": "read write",
                "roles": {"admin2": true},
                "resource_access": {"api.orders": {"roles": ["clerk"]}},
            })
        };
        assert!(
            has(claims(), &["realm_access.roles"], "admin") && has(claims(), &["realm_access.roles"], "Order Manager")
        );
        assert!(has(claims(), &["https://example.com/roles"], "write"));
        assert!(has(claims(), &["resource_access.api.orders.roles"], "clerk"));
        assert!(has(claims(), &["roles", "realm_access.roles"], "admin"), "the claims are taken together");
        for (path, role) in [
            ("realm_access.roles", "adm"),
            ("realm_access.roles", "Admin"),
            ("realm_access.roles", "Order"),
            ("roles", "admin2"),
            ("realm_access", "roles"),
            ("https://example.com/roles", "read write"),
            ("nothing", "admin"),
            ("", "admin"),
        ] {
            assert!(!has(claims(), &[path], role), "{path} {role}");
        }
    }
}
