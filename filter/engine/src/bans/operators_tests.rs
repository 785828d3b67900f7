//! Facts about what operators can do.

use std::num::NonZeroU32;

use super::super::{Case, Cause, Offence, Terms};
use super::*;
use crate::bans::{BanKey, Refusal};
use crate::config::schema::{BanOverflow, Mode, OnError};
use crate::limits::descriptor::Ipv6Prefix;
use crate::ports::memory::MemoryStore;

const NOW: UnixNanos = UnixNanos::from_secs(1_000_000);

fn ban(name: &str, parts: &[BanKeyPart], mode: Mode) -> Ban {
    let span = Duration::from_secs;
    Ban {
        name: name.to_owned(),
        key: BanKey { parts: parts.to_vec(), prefix: Ipv6Prefix::default() },
        offences: vec![Offence::AuthFailure],
        responses: Vec::new(),
        terms: Terms { offences: 2, window: span(60), ban: span(100), ban_max: span(400), forget: span(1000) },
        capacity: NonZeroU32::new(64).unwrap(),
        overflow: BanOverflow::Allow,
        on_error: OnError::Deny,
        mode,
    }
}

struct World {
    store: MemoryStore,
    configured: Vec<Ban>,
    bans: Bans,
}

fn world() -> World {
    let store = MemoryStore::default();
    let configured = vec![
        ban("guessing", &[BanKeyPart::Ip], Mode::Enforce),
        ban("stuffing", &[BanKeyPart::Username], Mode::Enforce),
        ban("pair", &[BanKeyPart::Ip, BanKeyPart::Principal], Mode::Monitor),
    ];
    let bans = Bans::new(&configured, &store, [1; 16]);
    World { store, configured, bans }
}

impl World {
    fn add(&self, body: &str) -> Result<Done, CallError> {
        self.bans.add(&self.configured, body.as_bytes(), &self.store, NOW)
    }

    fn lift(&self, body: &str) -> Result<Done, CallError> {
        self.bans.lift(&self.configured, body.as_bytes(), &self.store, NOW)
    }

    fn listed(&self) -> Vec<Value> {
        let done = self.bans.list(&self.configured, &self.store, NOW).unwrap();
        let body: Value = serde_json::from_str(&done.body).unwrap();
        body["bans"].as_array().unwrap().clone()
    }

    fn check(&self, index: usize, subject: &Subject<'_>) -> Result<(), Refusal> {
        self.bans.check(index, &self.configured[index], subject, &self.store, NOW)
    }
}

fn of<T>(address: &str, username: Option<&str>, then: impl FnOnce(&Subject<'_>) -> T) -> T {
    let address = address.parse().ok();
    let principal = Some(("corp", "bob"));
    let claimed = Claimed { username: username.map(|name| name.as_bytes().to_vec()), ..Claimed::default() };
    then(&Subject { address: &|| address, principal, claimed: &claimed })
}

#[test]
fn a_ban_that_began_by_itself_is_listed_and_lifted_by_its_id() {
    let world = world();
    of("192.0.2.7", None, |subject| {
        let case = Case { subject, cause: Cause::Refusal(Offence::AuthFailure), rule: "orders", request_id: None };
        let offend = || world.bans.offend(0, &world.configured[0], &case, &world.store, NOW);
        assert!(offend().events.is_empty());
        assert!(world.listed().is_empty());
        let outcome = offend();
        assert_eq!(outcome.events, ["begun"]);
        let event: Value = serde_json::from_str(&outcome.line.unwrap()).unwrap();
        assert_eq!((&event["event.action"], &event["source.ip"]), (&json!("client_banned"), &json!("192.0.2.7")));
        assert!(matches!(world.check(0, subject), Err(Refusal::Banned { retry_after: 100, strikes: 1 })));
    });
    let listed = world.listed();
    assert_eq!(listed.len(), 1);
    assert_eq!((&listed[0]["ip"], &listed[0]["cause"]), (&json!("192.0.2.7"), &json!("auth_failure")));
    let id = listed[0]["id"].as_str().unwrap();
    let lifted = world.lift(&json!({"ban": "guessing", "id": id}).to_string()).unwrap();
    assert_eq!(lifted.body, r#"{"lifted":true}"#);
    assert_eq!(lifted.change.map(|(index, event, _)| (index, event)), Some((0, "lifted")));
    assert!(world.listed().is_empty());
    of("192.0.2.7", None, |subject| assert_eq!(world.check(0, subject), Ok(())));
    let again = world.lift(&json!({"ban": "guessing", "id": id}).to_string()).unwrap();
    assert_eq!((again.body.as_str(), again.change), (r#"{"lifted":false}"#, None));
}

#[test]
fn operators_ban_by_what_they_know() {
    let world = world();
    assert_eq!(world.add(r#"{"ban":"guessing","ip":"2001:db8::5","for":"7s"}"#).unwrap().status, 201);
    of("2001:db8::9", None, |subject| {
        assert!(matches!(world.check(0, subject), Err(Refusal::Banned { retry_after: 7, .. })));
    });
    world.add(r#"{"ban":"stuffing","username":"alice"}"#).unwrap();
    of("", Some("alice"), |subject| assert!(world.check(1, subject).is_err()));
    of("", Some("alicia"), |subject| assert!(world.check(1, subject).is_ok()));
    world.add(r#"{"ban":"pair","ip":"192.0.2.1","principal":"corp/bob"}"#).unwrap();
    of("192.0.2.1", None, |subject| assert!(world.check(2, subject).is_err()));
    of("192.0.2.2", None, |subject| assert!(world.check(2, subject).is_ok()));
    let listed = world.listed();
    assert_eq!(
        listed.iter().map(|one| one["ban"].as_str().unwrap()).collect::<Vec<_>>(),
        ["pair", "stuffing", "guessing"]
    );
    assert_eq!(listed[0]["mode"], "monitor");
    assert!(!json!(listed).to_string().contains("alice"));
    // As listed, so lifted.
    let network = listed[2]["ip"].as_str().unwrap();
    assert_eq!(network, "2001:db8::/64");
    let lifted = world.lift(&json!({"ban": "guessing", "ip": network}).to_string()).unwrap();
    assert_eq!(lifted.body, r#"{"lifted":true}"#);
}

#[test]
fn a_call_that_is_not_exactly_of_one_form_changes_nothing() {
    let world = world();
    for body in [
        "",
        "[]",
        "{}",
        r#"{"ban":"guessing"}"#,
        r#"{"ban":"nobody","ip":"192.0.2.1"}"#,
        r#"{"ban":"guessing","ip":"192.0.2.1/24"}"#,
        r#"{"ban":"guessing","ip":"192.0.2.1x"}"#,
        r#"{"ban":"guessing","ip":7}"#,
        r#"{"ban":"guessing","ip":""}"#,
        r#"{"ban":"guessing","ip":"192.0.2.1","ip":"192.0.2.2"}"#,
        r#"{"ban":"guessing","ip":"192.0.2.1","username":"alice"}"#,
        r#"{"ban":"guessing","ip":"192.0.2.1","until":7}"#,
        r#"{"ban":"guessing","ip":"192.0.2.1","for":"for ever"}"#,
        r#"{"ban":"guessing","ip":"192.0.2.1","for":7}"#,
        r#"{"ban":"guessing","ip":"192.0.2.1","for":"0s"}"#,
        r#"{"ban":"guessing","ip":"192.0.2.1","for":"367d"}"#,
        r#"{"ban":"guessing","id":"00000000000000000000000000000001"}"#,
        r#"{"ban":"pair","ip":"192.0.2.1"}"#,
        r#"{"ban":"pair","ip":"192.0.2.1","principal":"bob"}"#,
        r#"{"ban":"stuffing","username_sha256":"2bd806c97f0e00af"}"#,
    ] {
        assert!(matches!(world.add(body), Err(CallError::Malformed(_))), "{body}");
    }
    for body in [
        r#"{"ban":"guessing"}"#,
        r#"{"ban":"guessing","id":"7"}"#,
        r#"{"ban":"guessing","id":7}"#,
        r#"{"ban":"guessing","ip":"192.0.2.1","id":"00000000000000000000000000000001"}"#,
        r#"{"ban":"guessing","ip":"192.0.2.1","for":"1h"}"#,
    ] {
        assert!(matches!(world.lift(body), Err(CallError::Malformed(_))), "{body}");
    }
    assert!(world.listed().is_empty());
}
