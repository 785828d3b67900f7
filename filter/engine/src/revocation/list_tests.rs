//! What a compiled list refuses, against a naive reading of the same entries.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::entry::What;
use super::list::List;
use super::reader::ListError;
use super::reader::{Member, Problem};
use super::table::HashKey;
use crate::claims::Claims;
use crate::time::UnixNanos;

const KEY: HashKey = HashKey([7; 16]);
const NOW: UnixNanos = UnixNanos::from_secs(1_000);

fn list(json: &str) -> List {
    List::parse(json.as_bytes(), 1_000, KEY).unwrap()
}

fn refusal(json: &str) -> ListError {
    List::parse(json.as_bytes(), 3, KEY).map(|list| list.len()).unwrap_err()
}

fn claims(value: Value) -> Claims {
    let Value::Object(members) = value else { panic!("not an object") };
    Claims::new(members)
}

fn check(list: &List, value: Value, iat: u64) -> Option<What> {
    list.check(&claims(value), Some(UnixNanos::from_secs(iat)), NOW)
}

#[test]
fn a_token_is_revoked_by_its_id_alone_or_beside_its_issuer() {
    let list = list(r#"{"version":1,"tokens":["a",{"jti":"b"},{"jti":"c","iss":"i"}]}"#);
    assert_eq!(list.len(), 3);
    for revoked in [json!({"jti":"a"}), json!({"jti":"a","iss":"x"}), json!({"jti":"b"}), json!({"jti":"c","iss":"i"})]
    {
        assert_eq!(check(&list, revoked, 999), Some(What::Token));
    }
    for good in [
        json!({"jti":"c"}),
        json!({"jti":"c","iss":"j"}),
        json!({"jti":"A"}),
        json!({"jti":"a "}),
        json!({"sub":"a"}),
        json!({"iss":"a"}),
        json!({"jti":["a"]}),
        json!({}),
    ] {
        assert_eq!(check(&list, good.clone(), 0), None, "{good}");
    }
}

#[test]
fn a_cutoff_takes_what_was_issued_before_it_and_what_has_no_time() {
    let list = list(
        r#"{"version":1,"subjects":[{"sub":"alice","before":500},{"sub":"bob","iss":"i","before":500}],
            "clients":[{"client_id":"app","before":600}],"issuers":[{"iss":"j","before":700}]}"#,
    );
    assert_eq!(check(&list, json!({"sub":"alice"}), 499), Some(What::Subject));
    assert_eq!(check(&list, json!({"sub":"alice"}), 500), None);
    assert_eq!(list.check(&claims(json!({"sub":"alice"})), None, NOW), Some(What::Subject));
    assert_eq!(list.check(&claims(json!({"sub":"eve"})), None, NOW), None);
    assert_eq!(check(&list, json!({"sub":"bob","iss":"i"}), 0), Some(What::Subject));
    assert_eq!(check(&list, json!({"sub":"bob","iss":"k"}), 0), None);
    assert_eq!(check(&list, json!({"sub":"bob"}), 0), None);
    assert_eq!(check(&list, json!({"client_id":"app"}), 599), Some(What::Client));
    assert_eq!(check(&list, json!({"azp":"app","client_id":"other"}), 599), Some(What::Client));
    assert_eq!(check(&list, json!({"sub":"app"}), 0), None);
    assert_eq!(check(&list, json!({"sub":"eve","iss":"j"}), 699), Some(What::Issuer));
    assert_eq!(check(&list, json!({"sub":"eve","iss":"j"}), 700), None);
    let just_before = UnixNanos(UnixNanos::from_secs(500).0 - 1);
    assert_eq!(list.check(&claims(json!({"sub":"alice"})), Some(just_before), NOW), Some(What::Subject));
}

#[test]
fn an_entry_holds_until_its_time_and_duplicates_until_the_latest() {
    let until = |json: &str, name: &str, now| {
        list(json).check(&claims(json!({"jti":name,"sub":name})), None, UnixNanos::from_secs(now)).is_some()
    };
    let tokens =
        r#"{"version":1,"tokens":[{"jti":"a","until":50},"b",{"jti":"b","until":50},{"jti":"c","until":5000000000}]}"#;
    assert!(until(tokens, "a", 49) && !until(tokens, "a", 50));
    assert!(until(tokens, "b", 9_000_000_000), "one of them has no end");
    assert!(until(tokens, "c", 9_000_000_000), "2106 is for ever");
    let subjects = r#"{"version":1,"subjects":[{"sub":"a","before":9,"until":50},{"sub":"a","before":5,"until":70}]}"#;
    assert!(until(subjects, "a", 69) && !until(subjects, "a", 70));
    assert_eq!(list(subjects).len(), 1);
    assert_eq!(check(&list(&subjects.replace("70", "7000")), json!({"sub":"a"}), 8), Some(What::Subject));
}

#[test]
fn an_empty_list_revokes_nothing() {
    for json in [r#"{"version":1}"#, r#" {"tokens":[],"subjects":[],"clients":[],"issuers":[],"version":1} "#] {
        assert_eq!(list(json).check(&claims(json!({"jti":"","sub":"","iss":""})), None, NOW), None);
    }
}

#[test]
fn a_list_that_is_not_exactly_one_is_refused_and_told_where() {
    use ListError::*;
    let entry = |section, index, problem| Entry { section, index, problem };
    for (json, expected) in [
        ("{}", Version),
        (r#"{"tokens":["a"]}"#, Version),
        (r#"{"version":2}"#, Version),
        (r#"{"version":"1"}"#, Version),
        (r#"{"version":1.0}"#, Version),
        (r#"{"version":null}"#, Version),
        (r#"{"version":1,"version":1}"#, Duplicate),
        (r#"{"version":1,"tokens":[],"tokens":[]}"#, Duplicate),
        (r#"{"version":1,"subject":[]}"#, UnknownMember),
        (r#"{"version":1,"Tokens":[]}"#, UnknownMember),
        (r#"{"version":1,"tokens":{}}"#, NotAnArray(What::Token)),
        (r#"{"version":1,"subjects":null}"#, NotAnArray(What::Subject)),
        (r#"{"version":1,"issuers":"i"}"#, NotAnArray(What::Issuer)),
        (r#"{"version":1,"tokens":["a",7]}"#, entry(What::Token, 1, Problem::NotAnObject)),
        (r#"{"version":1,"tokens":[[]]}"#, entry(What::Token, 0, Problem::NotAnObject)),
        (r#"{"version":1,"tokens":[null]}"#, entry(What::Token, 0, Problem::NotAnObject)),
        (r#"{"version":1,"tokens":[""]}"#, entry(What::Token, 0, Problem::NotText(Member::Jti))),
        (r#"{"version":1,"tokens":[{"iss":"i"}]}"#, entry(What::Token, 0, Problem::Missing(Member::Jti))),
        (r#"{"version":1,"tokens":[{"sub":"a"}]}"#, entry(What::Token, 0, Problem::Missing(Member::Jti))),
        (
            r#"{"version":1,"tokens":[{"jti":"a","before":1}]}"#,
            entry(What::Token, 0, Problem::Misplaced(Member::Before)),
        ),
        (r#"{"version":1,"subjects":["alice"]}"#, entry(What::Subject, 0, Problem::NotAnObject)),
        (r#"{"version":1,"subjects":[{"sub":"a"}]}"#, entry(What::Subject, 0, Problem::Missing(Member::Before))),
        (
            r#"{"version":1,"subjects":[{"iss":"a","before":1}]}"#,
            entry(What::Subject, 0, Problem::Missing(Member::Sub)),
        ),
        (
            r#"{"version":1,"clients":[{"sub":"a","before":1}]}"#,
            entry(What::Client, 0, Problem::Missing(Member::ClientId)),
        ),
        (
            r#"{"version":1,"issuers":[{"sub":"a","iss":"i","before":1}]}"#,
            entry(What::Issuer, 0, Problem::Misplaced(Member::Sub)),
        ),
        (r#"{"version":1,"issuers":[{"before":1}]}"#, entry(What::Issuer, 0, Problem::NoTarget)),
        (
            r#"{"version":1,"issuers":[{"iss":"i","iss":"i","before":1}]}"#,
            entry(What::Issuer, 0, Problem::Duplicate(Member::Iss)),
        ),
        (r#"{"version":1,"tokens":["a","b","c","d"]}"#, TooManyEntries { max: 3 }),
        (r#"{"version":1,"tokens":["a","b","c"],"issuers":[{"iss":"i","before":1}]}"#, TooManyEntries { max: 3 }),
        ("[]", NotAnObject),
        ("null", NotAnObject),
        (r#""a""#, NotAnObject),
    ] {
        assert_eq!(refusal(json), expected, "{json}");
    }
    for json in
        ["", "{", r#"{"version":1}}"#, r#"{"version":1,"tokens":["a""#, r#"{"version":1,"tokens":[a]}"#, "<html>"]
    {
        assert!(matches!(refusal(json), Json { .. }), "{json}");
    }
    assert_eq!(
        entry(What::Subject, 17, Problem::NotSeconds(Member::Before)).to_string(),
        "subjects[17]: `before` is not a whole number of seconds since 1970 (up to the year 9999)"
    );
}

/// What each entry says, one after the other.
fn naive(document: &Value, token: &Claims, issued_at: Option<u64>, now: u64) -> bool {
    let text = |entry: &Value, member: &str| entry.get(member).and_then(Value::as_str).map(str::to_owned);
    let mut is_revoked = false;
    for (section, member, claim_names) in [
        ("tokens", "jti", vec!["jti"]),
        ("subjects", "sub", vec!["sub"]),
        ("clients", "client_id", vec!["client_id", "azp"]),
        ("issuers", "iss", vec!["iss"]),
    ] {
        let entries = document[section].as_array().cloned().unwrap_or_default();
        let target = |entry: &Value| match entry.as_str() {
            Some(jti) => (Some(jti.to_owned()), None),
            None => (text(entry, member), text(entry, "iss")),
        };
        for entry in &entries {
            let (name, issuer) = target(entry);
            let same: Vec<&Value> = entries.iter().filter(|other| target(other) == target(entry)).collect();
            let before = same.iter().map(|entry| entry["before"].as_u64().unwrap_or(u64::MAX)).max();
            let until = same.iter().map(|entry| entry["until"].as_u64().unwrap_or(u64::MAX)).max();
            let is_named = claim_names.iter().any(|claim| token.text(claim) == name.as_deref());
            let is_issuers = issuer.is_none() || token.text("iss") == issuer.as_deref();
            let is_early = issued_at.is_none_or(|at| Some(at) < before);
            is_revoked |= is_named && is_issuers && is_early && Some(now) < until;
        }
    }
    is_revoked
}

fn documents() -> impl Strategy<Value = Value> {
    let name = || prop::sample::select(vec!["a", "b", "c"]);
    let issuer = || prop::option::of(prop::sample::select(vec!["a", "i", "j"]));
    let time = || prop::option::of(0u64..6);
    let object = move |member: &'static str, has_before: bool, has_issuer: bool| {
        (name(), issuer(), 0u64..6, time()).prop_map(move |(name, issuer, before, until)| {
            let mut entry = json!({});
            if let Some(issuer) = issuer.filter(|_| has_issuer) {
                entry["iss"] = issuer.into();
            }
            entry[member] = name.into();
            if has_before {
                entry["before"] = before.into();
            }
            if let Some(until) = until {
                entry["until"] = until.into();
            }
            entry
        })
    };
    let tokens = prop_oneof![name().prop_map(Value::from), object("jti", false, true)];
    let many = |entry: BoxedStrategy<Value>| prop::collection::vec(entry, 0..4);
    (
        many(tokens.boxed()),
        many(object("sub", true, true).boxed()),
        many(object("client_id", true, true).boxed()),
        many(object("iss", true, false).boxed()),
    )
        .prop_map(|(tokens, subjects, clients, issuers)| {
            json!({"version":1,"tokens":tokens,"subjects":subjects,"clients":clients,"issuers":issuers})
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn it_revokes_what_its_entries_say_and_nothing_else(
        document in documents(),
        token in prop::collection::btree_map(
            prop::sample::select(vec!["jti", "sub", "client_id", "azp", "iss"]),
            prop::sample::select(vec!["a", "b", "c", "i", "j"]),
            0..5,
        ),
        issued_at in prop::option::of(0u64..7),
        now in 0u64..7,
    ) {
        let token = claims(json!(token));
        let verdict = list(&document.to_string()).check(&token, issued_at.map(UnixNanos::from_secs), UnixNanos::from_secs(now));
        prop_assert_eq!(verdict.is_some(), naive(&document, &token, issued_at, now));
    }

    #[test]
    fn no_bytes_make_it_panic(json in r#"(\{"version":1,"(tokens|subjects|issuers)":\[)?[\[\]{}",:a-z0-9\\. -]{0,60}"#) {
        let _ = List::parse(json.as_bytes(), 5, KEY).map(|list| list.len());
    }
}

#[test]
fn a_hundred_thousand_entries_fit_in_two_mebibytes_and_answer_exactly() {
    let id = |n: u32| format!("{:08x}-5b5e-4c1d-9f0e-{:012x}", n.wrapping_mul(0x9e37_79b1), n);
    let tokens: Vec<String> = (0..100_000).map(id).collect();
    let document = json!({"version": 1, "tokens": tokens}).to_string();
    let full = List::parse(document.as_bytes(), 200_000, KEY).unwrap();
    assert!(full.heap_bytes() < 2 << 20, "{}", full.heap_bytes());
    let is_revoked = |n: u32| full.check(&claims(json!({"jti": id(n)})), Some(NOW), NOW).is_some();
    assert_eq!((99_000..101_000).filter(|n| is_revoked(*n)).count(), 1_000);
}
