//! The index finds what reading the list from the top finds, at a cost that does not grow with the list.

use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::http::Headers;
use crate::http::path::PathOptions;
use crate::matching::conditions::{HeaderCondition, HeaderValueCondition, PathRegex};
use crate::matching::lint;

fn head(method: &str, host: &str, extra: &[(&str, &[u8])]) -> RequestHead {
    let mut pairs: Vec<(&str, &[u8])> =
        vec![(":method", method.as_bytes()), (":path", b"/"), (":scheme", b"https"), (":authority", host.as_bytes())];
    pairs.extend(extra);
    RequestHead::parse(Headers::from_pairs(&pairs).unwrap()).unwrap()
}

fn on(pattern: &str) -> Match {
    Match { path: Some(PathCondition::Pattern(PathPattern::parse(pattern).unwrap())), ..Match::default() }
}

fn by_regex(source: &str) -> Match {
    Match { path: Some(PathCondition::Regex(PathRegex::parse(source).unwrap())), ..Match::default() }
}

fn by_header(name: &str, value: HeaderValueCondition) -> HeaderCondition {
    HeaderCondition { name: name.into(), value }
}

fn found(index: &RuleIndex, head: &RequestHead, target: &str) -> Option<usize> {
    let path = RequestPath::parse(target.as_bytes()).unwrap();
    index.find(head, &path).unwrap().map(|found| found.index)
}

#[test]
fn the_first_rule_in_the_list_wins_and_not_the_most_exact() {
    let index = RuleIndex::new(vec![on("/a/*"), on("/a/b"), on("/**"), on("/c")]);
    let get = head("GET", "h", &[]);
    for (target, expected) in [("/a/b", 0), ("/a", 2), ("/c", 2)] {
        assert_eq!(found(&index, &get, target), Some(expected), "{target}");
    }
    assert_eq!(found(&RuleIndex::new(vec![]), &get, "/"), None);
}

#[test]
fn a_regular_expression_wins_only_in_its_turn() {
    let index = RuleIndex::new(vec![on("/a/b"), by_regex("/a/.*"), on("/a/c"), on("/**")]);
    let get = head("GET", "h", &[]);
    for (target, expected) in [("/a/b", 0), ("/a/c", 1), ("/b", 3)] {
        assert_eq!(found(&index, &get, target), Some(expected), "{target}");
    }
}

#[test]
fn captures_come_with_the_rule() {
    let index = RuleIndex::new(vec![on("/users/{id}/orders/{order}")]);
    let path = RequestPath::parse(b"/users/al%69ce/orders/a%20b").unwrap();
    let found = index.find(&head("GET", "h", &[]), &path).unwrap().unwrap();
    assert_eq!(found.capture("id").as_deref(), Some("alice"));
    assert_eq!(found.captures().collect::<Vec<_>>(), [("id", "alice".into()), ("order", "a b".into())]);
    assert_eq!(found.capture("none"), None);
}

#[test]
fn hosts_are_looked_up_by_name_by_wildcard_and_without() {
    let host = |name: &str| HostPattern::parse(name).unwrap();
    let index = RuleIndex::new(vec![
        Match { hosts: vec![host("a.example")], ..on("/x") },
        Match { hosts: vec![host("*.example"), host("*.b.example")], ..on("/**") },
        on("/x"),
    ]);
    for (name, expected) in [("a.example", 0), ("A.example.:80", 0), ("c.b.example", 1), ("example", 2), ("other", 2)] {
        assert_eq!(found(&index, &head("GET", name, &[]), "/x"), Some(expected), "{name}");
    }
}

#[test]
fn a_repeated_header_by_which_rules_choose_is_an_error_for_every_request() {
    let index = RuleIndex::new(vec![
        Match { headers: vec![by_header("x-v", HeaderValueCondition::Exact(b"beta"[..].into()))], ..on("/beta") },
        Match { headers: vec![by_header("x-w", HeaderValueCondition::Present)], ..on("/w") },
        on("/**"),
    ]);
    let path = RequestPath::parse(b"/other").unwrap();
    let twice = head("GET", "h", &[("x-v", b"beta"), ("X-V", b"no")]);
    assert_eq!(index.find(&twice, &path).unwrap_err(), RepeatedHeader { name: "x-v".into() });
    assert_eq!(found(&index, &head("GET", "h", &[("x-w", b"1"), ("x-w", b"2")]), "/w"), Some(1));
    assert_eq!(found(&index, &head("GET", "h", &[("x-v", b"Beta")]), "/beta"), Some(2));
}

#[test]
fn the_methods_of_a_path_are_known_when_the_method_is_wrong() {
    let of = |methods: &[Method], rule: Match| Match { methods: methods.to_vec(), ..rule };
    let index = RuleIndex::new(vec![
        of(&[Method::Post, Method::Get], on("/a")),
        of(&[Method::Get], on("/*")),
        of(&[Method::parse(b"PURGE").unwrap()], by_regex("/a.*")),
        of(&[Method::Put], on("/b")),
    ]);
    let delete = head("DELETE", "h", &[]);
    let methods = |target: &str| -> Vec<String> {
        let path = RequestPath::parse(target.as_bytes()).unwrap();
        index.find_path_ignoring_method(&delete, &path).iter().map(Method::to_string).collect()
    };
    assert_eq!(methods("/a"), ["GET", "POST", "PURGE"]);
    assert_eq!(methods("/b"), ["GET", "PUT"]);
    assert!(methods("/c/d").is_empty());
    assert_eq!(found(&index, &head("PURGE", "h", &[]), "/a"), Some(2));
    assert_eq!(found(&index, &head("MKCOL", "h", &[]), "/a"), None);
}

#[test]
fn the_asterisk_meets_only_rules_without_a_path() {
    let index = RuleIndex::new(vec![on("/**"), by_regex(".*"), Match::default()]);
    let options = PathOptions { asterisk_form: true, ..PathOptions::default() };
    let path = RequestPath::parse_with(b"*", &options).unwrap();
    assert_eq!(index.find(&head("OPTIONS", "h", &[]), &path).unwrap().unwrap().index, 2);
}

fn steps(index: &RuleIndex, host: &str, target: &str) -> usize {
    index.first_match(&head("GET", host, &[]), &RequestPath::parse(target.as_bytes()).unwrap()).1
}

#[test]
fn ten_thousand_rules_take_no_more_steps_than_ten() {
    let paths = |count: usize| {
        let rule = |n: usize| match n % 3 {
            0 => on(&format!("/service{n}/orders/*/items")),
            1 => on(&format!("/service{n}/**")),
            _ => on(&format!("/service{n}/{{id}}")),
        };
        RuleIndex::new((0..count).map(rule).chain([on("/**")]).collect())
    };
    let hosts = |count: usize| {
        let rule = |n: usize| Match { hosts: vec![HostPattern::parse(&format!("h{n}.example")).unwrap()], ..on("/**") };
        RuleIndex::new((0..count).map(rule).collect())
    };
    let same_path =
        |count: usize| RuleIndex::new((0..count).map(|_| Match { methods: vec![Method::Put], ..on("/a") }).collect());
    for target in ["/service3/orders/7/items", "/service4/a/b/c", "/service5/x", "/none"] {
        assert_eq!(steps(&paths(10), "h", target), steps(&paths(10_000), "h", target), "{target}");
        assert!(steps(&paths(10_000), "h", target) < 12, "{target}");
    }
    assert_eq!(steps(&hosts(10), "h5.example", "/a"), steps(&hosts(10_000), "h5.example", "/a"));
    assert_eq!(same_path(10_000).any_host.patterns.waiting(), 1, "a rule that can never be first waits nowhere");
}

#[test]
fn patterns_full_of_stars_do_not_multiply_the_steps() {
    // Every mixture of a literal and a star over twelve segments: the worst that a configuration can do.
    let mixture = |n: usize| (0..12).map(|bit| if n >> bit & 1 == 0 { "/a" } else { "/*" }).collect::<String>();
    let index = RuleIndex::new((0..4096).map(|n| on(&mixture(n))).collect());
    let nodes = 2 * 4096 * 2;
    assert!(steps(&index, "h", &"/a".repeat(12)) < 40, "the first rule ends the search");
    assert!(steps(&index, "h", &"/a".repeat(11)) <= nodes);
    assert!(steps(&index, "h", &"/a".repeat(2000)) <= nodes, "a long path adds nothing");
    let deep = RuleIndex::new(vec![on(&"/*".repeat(64)), on(&format!("{}/**", "/*".repeat(63)))]);
    assert!(steps(&deep, "h", &"/a".repeat(4000)) <= 70);
}

fn any_pattern() -> impl Strategy<Value = String> {
    let segment = select(vec!["a", "b", "c", "*", "{x}"]);
    (proptest::collection::vec(segment, 0..4), select(vec!["", "", "/", "/**"])).prop_map(|(segments, end)| {
        let mut named = false;
        let body: String = segments
            .iter()
            .map(|segment| match *segment {
                "{x}" if std::mem::replace(&mut named, true) => "/*".to_owned(),
                other => format!("/{other}"),
            })
            .collect();
        if body.is_empty() && end.is_empty() { "/".to_owned() } else { body + end }
    })
}

fn any_rule() -> impl Strategy<Value = Match> {
    let path = prop_oneof![
        8 => any_pattern().prop_map(|text| Some(PathCondition::Pattern(PathPattern::parse(&text).unwrap()))),
        2 => select(vec!["/a.*", "/[ab]/.", "/", ".*c"]).prop_map(|text| Some(PathCondition::Regex(PathRegex::parse(text).unwrap()))),
        1 => Just(None),
    ];
    let host = select(vec!["h.x", "*.x", "*.h.x", "other"]).prop_map(|text| HostPattern::parse(text).unwrap());
    let method = select(vec!["GET", "POST", "PURGE", "MKCOL"]).prop_map(|text| Method::parse(text.as_bytes()).unwrap());
    let value = prop_oneof![
        Just(HeaderValueCondition::Present),
        select(vec!["1", "12"]).prop_map(|text| HeaderValueCondition::Exact(text.as_bytes().into())),
        Just(HeaderValueCondition::Prefix(b"1"[..].into())),
    ];
    let header = value.prop_map(|value| by_header("x-v", value));
    (
        path,
        prop_oneof![3 => Just(vec![]), 1 => proptest::collection::vec(host, 1..3)],
        prop_oneof![2 => Just(vec![]), 1 => proptest::collection::vec(method, 1..3)],
        prop_oneof![3 => Just(vec![]), 1 => proptest::collection::vec(header, 1..3)],
    )
        .prop_map(|(path, hosts, methods, headers)| Match { path, hosts, methods, headers })
}

fn any_request() -> impl Strategy<Value = (RequestHead, String)> {
    let path =
        proptest::collection::vec(select(vec!["a", "b", "c", "zz"]), 0..5).prop_map(|s| format!("/{}", s.join("/")));
    let path = (path, any::<bool>()).prop_map(|(path, slash)| if slash && path != "/" { path + "/" } else { path });
    let path = prop_oneof![30 => path, 1 => Just("*".to_owned())];
    let method = select(vec!["GET", "POST", "PURGE", "MKCOL", "PUT"]);
    let host = select(vec!["h.x", "a.h.x", "x", "other", "y"]);
    let value = select(vec![None, Some("1"), Some("12"), Some("2")]);
    (path, method, host, value).prop_map(|(path, method, host, value)| {
        let extra: Vec<(&str, &[u8])> = value.iter().map(|value| ("x-v", value.as_bytes())).collect();
        (head(method, host, &extra), path)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_index_finds_what_reading_the_list_finds(
        rules in proptest::collection::vec(any_rule(), 0..14),
        requests in proptest::collection::vec(any_request(), 1..12),
    ) {
        let index = RuleIndex::new(rules.clone());
        let covered = lint::covered(&rules);
        let options = PathOptions { asterisk_form: true, ..PathOptions::default() };
        for (head, target) in &requests {
            let path = RequestPath::parse_with(target.as_bytes(), &options).unwrap();
            let expected = rules.iter().position(|rule| rule.matches(head, &path));
            let found = index.find(head, &path).unwrap().map(|found| found.index);
            prop_assert_eq!(found, expected, "{} {:?}", target, head);
            prop_assert!(covered.iter().all(|pair| Some(pair.rule) != found), "a covered rule was met: {:?}", covered);

            let mut methods: Vec<Method> =
                rules.iter().filter(|rule| rule.matches_but_for_method(head, &path)).flat_map(|rule| rule.methods.clone()).collect();
            methods.sort();
            methods.dedup();
            // Rules that can never be first are not in the index, and their methods are those of an earlier rule.
            let takes_all = rules.iter().any(|rule| rule.methods.is_empty() && rule.matches_but_for_method(head, &path));
            if !takes_all {
                prop_assert_eq!(index.find_path_ignoring_method(head, &path), methods);
            }
        }
    }
}
