//! Claims: what is said of a caller, whoever vouches for it.

use serde_json::{Map, Value};

/// The claims of a caller: of a token, of an introspection answer, or as the configuration gives them to a credential.
#[derive(Clone, Default, PartialEq)]
pub struct Claims(Map<String, Value>);

impl Claims {
    /// Takes over a JSON object.
    pub fn new(members: Map<String, Value>) -> Self {
        Self(members)
    }

    /// All claims by name.
    pub fn members(&self) -> &Map<String, Value> {
        &self.0
    }

    /// The claim `path`: a name, or names joined with dots that lead into nested objects. An exact name goes first, so
    /// that names with dots in them, such as URLs, can be said too.
    pub fn get(&self, path: &str) -> Option<&Value> {
        lookup(&self.0, path)
    }

    /// The claim `name`, if it is text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(Value::as_str)
    }

    /// `sub`: whom the claims speak of.
    pub fn subject(&self) -> Option<&str> {
        self.text("sub")
    }

    /// The words of `scope`, or of `scp` where there is no `scope`; a string is split at spaces, an array's elements are
    /// words as they stand.
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        self.scopes_at(None)
    }

    /// The words of the claim at `path`; those of [`scopes`](Self::scopes) where there is no path (RFC 6749, section 3.3).
    pub(crate) fn scopes_at(&self, path: Option<&str>) -> impl Iterator<Item = &str> {
        words(match path {
            Some(path) => self.get(path),
            None => self.0.get("scope").or_else(|| self.0.get("scp")),
        })
    }
}

/// Claims may be personal data: their names are for logs, their values are not.
impl std::fmt::Debug for Claims {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// The claim at `path`: a name, or names joined with dots that lead through nested objects.
///
/// The exact name goes first at every level, and of several ways the one with the longest first name: names may hold dots
/// themselves, as URLs do (`https://id.example/roles`).
pub(crate) fn lookup<'c>(claims: &'c Map<String, Value>, path: &str) -> Option<&'c Value> {
    if let Some(value) = claims.get(path) {
        return Some(value);
    }
    path.rmatch_indices('.').find_map(|(dot, _)| {
        let (name, rest) = (path.get(..dot)?, path.get(dot.checked_add(1)?..)?);
        lookup(claims.get(name)?.as_object()?, rest)
    })
}

/// The words of a claim: text is split at spaces, an element of an array is one word as it stands; any other type holds none.
pub(crate) fn words(value: Option<&Value>) -> impl Iterator<Item = &str> {
    let text = value.and_then(Value::as_str).unwrap_or_default();
    let elements = value.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    text.split(' ').chain(elements.iter().filter_map(Value::as_str)).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn claims(json: &str) -> Map<String, Value> {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_path_leads_through_objects_and_exact_names_go_first() {
        let claims = claims(
            r#"{"a":{"b":{"c":1},"b.c":2},"a.x":3,"https://id.example/roles":["r"],"https://id.example/org":{"plan":"gold"},
                "d":{"x":4},"d.x":{"y":5}}"#,
        );
        let number = |path| lookup(&claims, path).and_then(Value::as_u64);
        assert_eq!(number("a.b.c"), Some(2));
        assert_eq!(number("a.x"), Some(3));
        assert_eq!(number("d.x.y"), Some(5));
        assert_eq!(lookup(&claims, "https://id.example/roles").unwrap()[0], "r");
        assert_eq!(lookup(&claims, "https://id.example/org.plan").unwrap(), "gold");
        for path in ["", ".", "a.", ".a", "a..b", "a.b.c.d", "A", "a.b.", "https://id", "b"] {
            assert_eq!(lookup(&claims, path), None, "{path}");
        }
    }

    #[test]
    fn scopes_are_exact_words_of_scope_or_else_of_scp() {
        let words = |json: &str| Claims::new(claims(json)).scopes().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(words(r#"{"scope":"read  write "}"#), ["read", "write"]);
        assert_eq!(words(r#"{"scope":["read","write all"]}"#), ["read", "write all"]);
        assert_eq!(words(r#"{"scp":"read"}"#), ["read"]);
        assert_eq!(words(r#"{"scp":["read"],"scope":"write"}"#), ["write"]);
        assert_eq!(words(r#"{"scope":"read\twrite,all\u00a0x"}"#), ["read\twrite,all\u{a0}x"]);
        for none in [
            "{}",
            r#"{"scope":""}"#,
            r#"{"scope":" "}"#,
            r#"{"scope":7}"#,
            r#"{"scope":[7,null,["read"],""]}"#,
            r#"{"scope":null,"scp":"read"}"#,
            r#"{"scope":{"read":true}}"#,
        ] {
            assert!(words(none).is_empty(), "{none}");
        }
    }

    proptest! {
        #[test]
        fn no_path_makes_it_panic(path in "[a.é]{0,12}") {
            let _ = lookup(&claims(r#"{"a":{"a":{"a":{"é":1}}},"é.a":{"a":1}}"#), &path);
        }
    }
}
