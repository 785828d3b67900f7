//! What our limits tell, beside what the service tells of its own.
//!
//! A gateway must not make a service's quota look wider than it is, by taking its fields away for one
//! (draft-ietf-httpapi-ratelimit-headers-11, 7.2).

use super::legacy;
use crate::engine::HeaderChange;

/// The fields that are lists.
const LISTS: [&str; 2] = ["ratelimit-policy", "ratelimit"];

/// Makes `changes` to a response leave there what its service says of its own limits; `value` is that of a header of the response, if it
/// has the header.
///
/// Lists get our items behind the service's. One that is no such list, as from before the draft had its form, is replaced: clients have to ignore the
/// whole of a list that does not read, and ours with it. Of the older headers, which tell of one limit, the one with less left stays.
pub fn beside_the_service(changes: &mut Vec<HeaderChange>, mut value: impl FnMut(&str) -> Option<Vec<u8>>) {
    let mut service_is_tighter = false;
    for change in changes.iter_mut() {
        let HeaderChange::Set(name, told) = change else { continue };
        if LISTS.contains(&name.as_str()) {
            if value(name).is_some_and(|list| is_list_of_names(&list)) {
                *change = HeaderChange::Add(std::mem::take(name), std::mem::take(told));
            }
        } else if name == legacy::REMAINING {
            let number = |text: &[u8]| std::str::from_utf8(text).ok()?.trim().parse::<u64>().ok();
            let (ours, service) = (number(told), value(name).as_deref().and_then(number));
            service_is_tighter = ours.zip(service).is_some_and(|(ours, service)| service < ours);
        }
    }
    if service_is_tighter {
        changes.retain(|change| !legacy::is_one(change));
    }
}

/// Whether it is a list of strings with parameters (RFC 9651, 4.2.1), as both fields are; an empty one is none.
fn is_list_of_names(text: &[u8]) -> bool {
    let mut rest = trimmed(text, b" ");
    loop {
        let Some(mut behind) = string(rest) else { return false };
        while let Some(parameter) = behind.strip_prefix(b";") {
            let Some(after) = self::parameter(trimmed(parameter, b" ")) else { return false };
            behind = after;
        }
        rest = trimmed(behind, b" \t");
        let Some(next) = rest.strip_prefix(b",") else { return rest.is_empty() };
        rest = trimmed(next, b" \t");
    }
}

/// What is behind a parameter's key and value.
fn parameter(text: &[u8]) -> Option<&[u8]> {
    text.first().filter(|first| first.is_ascii_lowercase() || **first == b'*')?;
    let rest = behind(text, |byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-.*".contains(&byte));
    let Some(value) = rest.strip_prefix(b"=") else { return Some(rest) };
    match value.first()? {
        b'"' => string(value),
        b'?' => value.get(1).filter(|flag| b"01".contains(flag)).and(value.get(2..)),
        b':' => {
            let base64 = value.get(1..)?;
            behind(base64, |byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte)).strip_prefix(b":")
        }
        b'-' | b'0'..=b'9' => {
            let digits = value.strip_prefix(b"-").unwrap_or(value);
            let rest = behind(digits, |byte| byte.is_ascii_digit());
            let whole = digits.len().saturating_sub(rest.len());
            let Some(fraction) = rest.strip_prefix(b".") else {
                return Some(rest).filter(|_| (1..=15).contains(&whole));
            };
            let rest = behind(fraction, |byte| byte.is_ascii_digit());
            let places = fraction.len().saturating_sub(rest.len());
            Some(rest).filter(|_| (1..=12).contains(&whole) && (1..=3).contains(&places))
        }
        first if first.is_ascii_alphabetic() || *first == b'*' => {
            Some(behind(value, |byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:/".contains(&byte)))
        }
        _ => None,
    }
}

/// What is behind a string.
fn string(text: &[u8]) -> Option<&[u8]> {
    let mut rest = text.strip_prefix(b"\"")?;
    loop {
        let (first, behind) = rest.split_first()?;
        rest = behind;
        match first {
            b'"' => return Some(rest),
            b'\\' => {
                let (escaped, behind) = rest.split_first()?;
                rest = Some(behind).filter(|_| b"\"\\".contains(escaped))?;
            }
            0x20..=0x7e => {}
            _ => return None,
        }
    }
}

/// What is left behind the bytes that `are_taken` from the front.
fn behind(text: &[u8], are_taken: impl Fn(u8) -> bool) -> &[u8] {
    let taken = text.iter().take_while(|byte| are_taken(**byte)).count();
    text.get(taken..).unwrap_or_default()
}

fn trimmed<'a>(text: &'a [u8], blanks: &[u8]) -> &'a [u8] {
    behind(text, |byte| blanks.contains(&byte))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn set(name: &str, value: &str) -> HeaderChange {
        HeaderChange::Set(name.to_owned(), value.as_bytes().to_vec())
    }

    fn ours() -> Vec<HeaderChange> {
        vec![
            set("x-other", "1"),
            set("ratelimit-policy", r#""ours";q=10;w=60"#),
            set("ratelimit", r#""ours";r=9;t=54"#),
            set("x-ratelimit-limit", "10"),
            set("x-ratelimit-remaining", "9"),
            set("x-ratelimit-reset", "54"),
        ]
    }

    fn beside(service: &[(&str, &str)]) -> Vec<HeaderChange> {
        let mut changes = ours();
        let find = |name: &str| service.iter().find(|(known, _)| *known == name);
        beside_the_service(&mut changes, |name| find(name).map(|(_, value)| value.as_bytes().to_vec()));
        changes
    }

    #[test]
    fn a_service_without_limits_of_its_own_changes_nothing() {
        assert_eq!(beside(&[("x-other", "2")]), ours());
    }

    #[test]
    fn lists_get_our_items_behind_those_of_the_service() {
        let changes = beside(&[("ratelimit", r#""theirs";r=1;t=7"#)]);
        assert_eq!(changes.get(1), ours().get(1), "it says nothing of its policy");
        let added = HeaderChange::Add("ratelimit".to_owned(), br#""ours";r=9;t=54"#.to_vec());
        assert_eq!(changes.get(2), Some(&added));
    }

    #[test]
    fn a_list_that_clients_could_not_read_with_ours_is_replaced() {
        for theirs in [
            "limit=10, remaining=5, reset=50",
            "10;w=60",
            "10",
            "",
            " ",
            "default;r=5",
            r#""theirs";r=5,"#,
            r#""theirs";r=5 "more";r=6"#,
            r#""theirs;r=5"#,
            r#""theirs";R=5"#,
            r#""theirs";r="#,
            r#""theirs";r=-"#,
            r#""theirs";r=1."#,
            r#""theirs";r=1.5.2"#,
            r#""theirs";r=1234567890123456"#,
            r#""th\eirs";r=1"#,
            r#""theirs";pk=:abc"#,
            r#"("theirs");r=5"#,
            "\"the\u{fc}rs\";r=5",
        ] {
            assert_eq!(beside(&[("ratelimit", theirs)]), ours(), "{theirs}");
        }
    }

    #[test]
    fn lists_of_all_forms_are_read() {
        for theirs in [
            r#""a";r=5;t=3"#,
            "  \"a\";r=5;t=3 \t,\t\"b\";r=0  ",
            r#""a";q=5;qu="content-bytes";w=1;pk=:c2Q=:;acme-x=1.5;y;z=?1;k=tok/en"#,
            r#""with \"quotes\" and \\";r=1"#,
            r#""""#,
        ] {
            let changes = beside(&[("ratelimit", theirs)]);
            assert!(matches!(changes.get(2), Some(HeaderChange::Add(..))), "{theirs}");
        }
    }

    #[test]
    fn of_the_older_headers_those_of_the_tighter_limit_stay() {
        let none_of_ours = |remaining: &str| {
            let changes = beside(&[("x-ratelimit-remaining", remaining), ("x-ratelimit-limit", "20")]);
            assert!(changes.len() == 6 || changes == ours().get(..3).unwrap_or_default(), "all three or none");
            changes.len() == 3
        };
        assert!(none_of_ours("8") && none_of_ours(" 0 "));
        for looser in ["9", "10", "-1", "1, 2", "many", "", "99999999999999999999999"] {
            assert!(!none_of_ours(looser), "{looser}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_harm(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            is_list_of_names(&bytes);
        }

        #[test]
        fn what_reads_reads_with_ours_behind_it(text in r#"["a;=,: \\?1.-]{0,14}"#) {
            if is_list_of_names(text.as_bytes()) {
                let whole = text + r#", "ours";r=1"#;
                prop_assert!(is_list_of_names(whole.as_bytes()));
            }
        }
    }
}
