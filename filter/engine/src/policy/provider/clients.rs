//! Clients that a key or a password identifies, held as hashes (RFC 7617 for `Basic`).

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::answer::{Denial, Reason};
use crate::claims::Claims;
use crate::config::schema::{ApiKeysSection, BasicSection, ClientSection};
use crate::config::{Problems, document::member_path};
use crate::credentials::TokenSource;
use crate::policy::compile::header_name;
use crate::time::{self, UnixNanos};

use super::ProviderKind;

/// The clients of one provider. Finding one costs the same for ten and for ten thousand.
#[derive(Debug)]
pub struct Clients {
    form: Form,
    by_hash: HashMap<[u8; 32], Vec<Rc<Client>>>,
}

/// A client whose key or password was right: only [`Clients::identify`] gives one out.
#[derive(Debug, PartialEq)]
pub struct Client {
    name: String,
    claims: Claims,
    not_after: Option<UnixNanos>,
}

/// What the credential looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// The key itself.
    Key,
    /// `base64(user ":" password)`.
    UserAndPassword,
}

impl Clients {
    /// The client whose key or password `credential` is.
    ///
    /// The credential is hashed before it is looked up, so how long the search takes tells nothing about the keys.
    ///
    /// # Errors
    /// A [`Denial`] for an unknown key, an unknown user, a wrong password, and for a client past its `not_after`.
    pub fn identify(&self, credential: &[u8], now: UnixNanos) -> Result<Rc<Client>, Denial> {
        let refused = |detail: &str| Denial::new(Reason::CredentialsInvalid, detail);
        let found = match self.form {
            Form::Key => self.by_hash.get(&hash(credential)).and_then(|clients| clients.first()),
            Form::UserAndPassword => {
                let malformed = || Denial::new(Reason::CredentialsMalformed, "no base64 of user and password");
                let decoded = STANDARD.decode(credential).map_err(|_| malformed())?;
                let colon = decoded.iter().position(|b| *b == b':').ok_or_else(malformed)?;
                let (user, password) = decoded.split_at_checked(colon).ok_or_else(malformed)?;
                let password = password.get(1..).unwrap_or_default();
                let with_password = self.by_hash.get(&hash(password));
                with_password.and_then(|clients| clients.iter().find(|client| client.name.as_bytes() == user))
            }
        };
        let client = found.ok_or_else(|| refused("no client has this key or password"))?;
        match client.not_after {
            Some(end) if now >= end => {
                Err(Denial::new(Reason::CredentialsExpired, format!("client {:?}", client.name)))
            }
            _ => Ok(Rc::clone(client)),
        }
    }
}

impl Client {
    /// When the client ends.
    pub fn not_after(&self) -> Option<UnixNanos> {
        self.not_after
    }

    /// What the configuration says of the client.
    pub fn claims(&self) -> &Claims {
        &self.claims
    }
}

fn hash(secret: &[u8]) -> [u8; 32] {
    Sha256::digest(secret).into()
}

/// Compiles a provider of API keys. `None` means that problems were added.
pub fn api_keys(
    path: &str,
    section: &ApiKeysSection,
    problems: &mut Problems,
) -> Option<(ProviderKind, Vec<TokenSource>)> {
    let at = member_path(path, "api_keys");
    let source = match (&section.header, &section.cookie, &section.query) {
        (None, None, None) => Some(TokenSource::Header { name: "x-api-key".to_owned(), scheme: None }),
        (Some(name), None, None) => header_name(&member_path(&at, "header"), name, problems)
            .map(|name| TokenSource::Header { name, scheme: None }),
        (None, Some(name), None) => Some(TokenSource::Cookie(name.clone())),
        (None, None, Some(name)) => Some(TokenSource::Query(name.clone())),
        _ => {
            problems.add(at.clone(), "has more than one of `header`, `cookie` and `query`");
            None
        }
    };
    let clients = compile(&at, Form::Key, &section.clients, problems);
    Some((ProviderKind::Clients(clients?), vec![source?]))
}

/// Compiles a provider of user names and passwords. `None` means that problems were added.
pub fn basic(path: &str, section: &BasicSection, problems: &mut Problems) -> Option<(ProviderKind, Vec<TokenSource>)> {
    let at = member_path(path, "basic");
    let clients = compile(&at, Form::UserAndPassword, &section.clients, problems)?;
    let source = TokenSource::Header { name: "authorization".to_owned(), scheme: Some("Basic".to_owned()) };
    Some((ProviderKind::Clients(clients), vec![source]))
}

fn compile(
    at: &str,
    form: Form,
    sections: &BTreeMap<String, ClientSection>,
    problems: &mut Problems,
) -> Option<Clients> {
    let at = member_path(at, "clients");
    let before = problems.len();
    if sections.is_empty() {
        problems.add(at.clone(), "names no client");
    }
    let mut by_hash: HashMap<[u8; 32], Vec<Rc<Client>>> = HashMap::new();
    for (name, section) in sections {
        let at = member_path(&at, name);
        let not_after = section.not_after.as_deref().and_then(|text| {
            let end = time::parse_rfc3339(text);
            if end.is_none() {
                let hint = "write `2027-01-31` or `2027-01-31T12:00:00Z`";
                problems.add_with_hint(member_path(&at, "not_after"), format!("{text:?} is no date"), hint);
            }
            end
        });
        let client = Rc::new(Client { name: name.clone(), claims: claims(name, section), not_after });
        for text in &section.sha256.0 {
            let at = member_path(&at, "sha256");
            let Some(hash) = from_hex(text) else {
                let hint = "64 hexadecimal digits, as `printf %s KEY | sha256sum` prints them";
                problems.add_with_hint(at, "is no SHA-256", hint);
                continue;
            };
            let same = by_hash.entry(hash).or_default();
            // Two users may happen on one password; two clients with one key could not be told apart.
            if let (Form::Key, Some(other)) = (form, same.first()) {
                problems.add(at, format!("is the key of {:?} too", other.name));
            } else {
                same.push(Rc::clone(&client));
            }
        }
    }
    (problems.len() == before).then_some(Clients { form, by_hash })
}

fn claims(name: &str, section: &ClientSection) -> Claims {
    let mut members: Map<String, Value> = section.attributes.clone().into_iter().collect();
    members.insert("sub".to_owned(), name.into());
    members.insert("client_id".to_owned(), name.into());
    members.insert("scope".to_owned(), section.scopes.clone().into());
    if let Some(tier) = &section.tier {
        members.insert("tier".to_owned(), tier.as_str().into());
    }
    Claims::new(members)
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let digits: Option<Vec<u8>> = text.chars().map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok())).collect();
    let bytes: Vec<u8> = digits?.chunks_exact(2).filter_map(|pair| Some(pair.first()? << 4 | pair.get(1)?)).collect();
    if text.len() == 64 { bytes.try_into().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    use crate::config::{Node, Read};

    fn hex(secret: &str) -> String {
        hash(secret.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn clients(form: Form, document: Value) -> Result<Clients, Problems> {
        let mut problems = Problems::default();
        let sections = BTreeMap::read(&Node::root(&document), &mut problems).unwrap();
        compile("p", form, &sections, &mut problems).ok_or(problems)
    }

    const NOW: UnixNanos = UnixNanos::from_secs(1_800_000_000);

    #[test]
    fn a_key_finds_its_client_with_scopes_and_attributes() {
        let document = json!({"app": {"sha256": [hex("old"), hex("new")], "scopes": ["read"], "attributes": {"org": 7}, "tier": "gold"}});
        let clients = clients(Form::Key, document).unwrap();
        for key in ["old", "new"] {
            let client = clients.identify(key.as_bytes(), NOW).unwrap();
            assert_eq!(client.claims().subject(), Some("app"));
            assert_eq!(client.claims().scopes().collect::<Vec<_>>(), ["read"]);
            assert_eq!(client.claims().get("org"), Some(&json!(7)));
            assert_eq!(client.claims().text("tier"), Some("gold"));
        }
    }

    #[test]
    fn any_other_key_is_refused_even_the_hash_itself() {
        let clients = clients(Form::Key, json!({"app": {"sha256": hex("key")}})).unwrap();
        for key in ["", "Key", "key ", "kez", &hex("key")] {
            let denial = clients.identify(key.as_bytes(), NOW).unwrap_err();
            assert_eq!(denial.reason, Reason::CredentialsInvalid, "{key}");
        }
    }

    #[test]
    fn a_client_ends_with_its_date() {
        let document = json!({"app": {"sha256": hex("key"), "not_after": "2027-01-15T08:00:00Z"}});
        let clients = clients(Form::Key, document).unwrap();
        assert!(clients.identify(b"key", UnixNanos(NOW.0 - 1)).is_ok());
        assert_eq!(clients.identify(b"key", NOW).unwrap_err().reason, Reason::CredentialsExpired);
    }

    #[test]
    fn a_password_belongs_to_its_user() {
        let document = json!({"alice": {"sha256": hex("same")}, "bob": {"sha256": hex("same")}, "eve": {"sha256": hex("other:x")}});
        let clients = clients(Form::UserAndPassword, document).unwrap();
        let identify = |text: &str| clients.identify(STANDARD.encode(text).as_bytes(), NOW);
        assert_eq!(identify("alice:same").unwrap().claims().subject(), Some("alice"));
        assert_eq!(identify("bob:same").unwrap().claims().subject(), Some("bob"));
        assert_eq!(identify("eve:other:x").unwrap().claims().subject(), Some("eve"), "a password may hold a colon");
        for wrong in ["alice:other", "eve:same", "mallory:same", "alice:", ":same", ":"] {
            assert_eq!(identify(wrong).unwrap_err().reason, Reason::CredentialsInvalid, "{wrong}");
        }
        assert_eq!(identify("alice").unwrap_err().reason, Reason::CredentialsMalformed);
        assert_eq!(clients.identify(b"????", NOW).unwrap_err().reason, Reason::CredentialsMalformed);
    }

    #[test]
    fn mistakes_are_named() {
        let document = json!({
            "a": {"sha256": "abc", "not_after": "soon"},
            "b": {"sha256": hex("key")},
            "c": {"sha256": hex("key")},
        });
        let problems: Vec<String> = clients(Form::Key, document).unwrap_err().iter().map(ToString::to_string).collect();
        assert_eq!(
            problems,
            [
                "p.clients.a.not_after: \"soon\" is no date; write `2027-01-31` or `2027-01-31T12:00:00Z`",
                "p.clients.a.sha256: is no SHA-256; 64 hexadecimal digits, as `printf %s KEY | sha256sum` prints them",
                "p.clients.c.sha256: is the key of \"b\" too",
            ]
        );
    }
}
