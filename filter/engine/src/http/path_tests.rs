//! Facts about paths, and the property that the whole gateway leans on: two spellings of one resource are one path.

use proptest::prelude::*;

use super::*;

fn form(target: &str) -> String {
    RequestPath::parse(target.as_bytes()).unwrap_or_else(|e| panic!("{target}: {e}")).as_str().to_owned()
}

#[test]
fn a_plain_path_is_not_copied() {
    for target in ["/", "/orders", "/orders/", "/a-b_c.d~e/1,2:3@4!$&'()*+=", "/...", "/.well-known/x", "/a..b"] {
        let path = RequestPath::parse(target.as_bytes()).unwrap();
        assert!(matches!(path.path, Cow::Borrowed(_)), "{target}");
        assert_eq!(path.as_str(), target);
    }
}

#[test]
fn equal_spellings_get_one_form() {
    for (target, expected) in [
        ("/%6frders", "/orders"),
        ("/%6Frders", "/orders"),
        ("/caf%c3%a9", "/caf%C3%A9"),
        ("/a%2cb", "/a,b"),
        ("/a%2Bb", "/a+b"),
        ("/a|b", "/a%7Cb"),
        ("/a%7cb", "/a%7Cb"),
        ("/a%20b", "/a%20b"),
        ("/100%25", "/100%25"),
        ("/100%25/a", "/100%25/a"),
        ("/a%3fb%23", "/a%3Fb%23"),
        ("/%2A", "/*"),
        ("/%2e%2e%2e", "/..."),
    ] {
        assert_eq!(form(target), expected, "{target}");
    }
}

#[test]
fn an_ambiguous_path_is_refused_with_its_reason() {
    use PathError::*;
    let refused = [
        (EncodedSlash, vec!["/a%2fb", "/a%2Fb", "/%2f", "/%2f/"]),
        (Backslash, vec!["/a\\b", "/a%5cb", "/a%5Cb", "/\\", "/..\\x"]),
        (DotSegment, vec!["/.", "/..", "/a/./b", "/a/../b", "/a/..", "/%2e", "/%2E%2e/b", "/a/.%2e/b", "/a/%2e./b"]),
        (Parameters, vec!["/a;b", "/a;", "/;/a", "/a%3bb", "/a%3B", "/..;/a", "/a;x=1/b"]),
        (
            DoubleEncoded,
            vec!["/%252f", "/%252e%252e", "/%2541", "/%25%32%66", "/%252%66", "/%2525", "/%25%2541", "/%25u002f"],
        ),
        (
            ControlByte,
            vec!["/a\0", "/a%00", "/a\r", "/a%0d%0a", "/\x1f", "/%1F", "/a\x7f", "/a%7F", "/a b", "/a\t", "/%C2%85"],
        ),
        (BadEscape, vec!["/%", "/a%2", "/%zz", "/%u0041", "/%-1", "/%%", "/%+1", "/% 1"]),
        (
            BadUtf8,
            vec![
                "/%ff",
                "/%c0%af",
                "/%C0%AE%C0%AE",
                "/%e0%80%af",
                "/%f0%80%80%af",
                "/%ed%a0%80",
                "/%c3",
                "/%c3/%a9",
                "/%f4%90%80%80",
            ],
        ),
        (NonAscii, vec!["/caf\u{e9}", "/\u{ff0f}"]),
        (EmptySegment, vec!["//", "//a", "/a//b", "/a//", "//evil.example/a"]),
        (Fragment, vec!["/a#b", "/#", "/a?b#c"]),
        (
            TargetForm,
            vec!["", "*", "a", "http://h/a", "HTTP://h/a", "h:443", "?a", "#", " /a", "%2fa", "**", ".", "\\a"],
        ),
    ];
    for (error, targets) in refused {
        for target in targets {
            assert_eq!(RequestPath::parse(target.as_bytes()).unwrap_err(), error, "{target:?}");
        }
    }
}

#[test]
fn raw_bytes_above_ascii_are_refused_even_if_not_utf8() {
    assert_eq!(RequestPath::parse(b"/\xff").unwrap_err(), PathError::NonAscii);
    assert_eq!(RequestPath::parse(b"/\xc0\xaf").unwrap_err(), PathError::NonAscii);
}

#[test]
fn every_refusal_has_a_reason_code_of_its_own() {
    use PathError::*;
    let all = [
        EncodedSlash,
        Backslash,
        DotSegment,
        Parameters,
        DoubleEncoded,
        ControlByte,
        EncodedUnreserved,
        BadEscape,
        BadUtf8,
        NonAscii,
        EmptySegment,
        Fragment,
        TargetForm,
        TooLong,
    ];
    let reasons: std::collections::BTreeSet<_> = all.iter().map(|error| error.reason()).collect();
    assert_eq!(reasons.len(), all.len());
}

#[test]
fn case_and_a_final_slash_are_significant() {
    assert_ne!(form("/Orders"), form("/orders"));
    assert_ne!(form("/orders/"), form("/orders"));
}

#[test]
fn an_asterisk_is_a_target_only_where_it_is_allowed() {
    let options = PathOptions { asterisk_form: true, ..PathOptions::default() };
    let path = RequestPath::parse_with(b"*", &options).unwrap();
    assert!(path.is_asterisk());
    assert_eq!(path.segments().count(), 0);
    assert_eq!(RequestPath::parse_with(b"*?a", &options).unwrap_err(), PathError::TargetForm);
}

#[test]
fn a_target_longer_than_allowed_is_refused() {
    let target = "/".to_owned() + &"a".repeat(8191);
    assert!(RequestPath::parse(target.as_bytes()).is_ok());
    assert_eq!(RequestPath::parse((target + "?").as_bytes()).unwrap_err(), PathError::TooLong);
}

#[test]
fn the_query_is_kept_as_sent_and_begins_at_the_first_question_mark() {
    let path = RequestPath::parse(b"/a?b=%2f..;//?\xff").unwrap();
    assert_eq!((path.as_str(), path.query()), ("/a", Some(&b"b=%2f..;//?\xff"[..])));
    assert_eq!(RequestPath::parse(b"/a?").unwrap().query(), Some(&b""[..]));
    assert_eq!(RequestPath::parse(b"/a").unwrap().query(), None);
    assert_eq!(RequestPath::parse(b"/a?b\nc").unwrap_err(), PathError::ControlByte);
    assert_eq!(RequestPath::parse(b"/a?b c").unwrap_err(), PathError::ControlByte);
}

#[test]
fn segments_come_in_their_form_and_decoded() {
    let path = RequestPath::parse(b"/a/caf%C3%A9%20x/").unwrap();
    assert_eq!(path.segments().collect::<Vec<_>>(), ["a", "caf%C3%A9%20x", ""]);
    assert_eq!(path.decoded_segments().collect::<Vec<_>>(), ["a", "café x", ""]);
    assert_eq!(RequestPath::parse(b"/").unwrap().segments().collect::<Vec<_>>(), [""]);
}

/// What the most lenient service would serve: decodes until nothing changes, takes backslashes for slashes, cuts
/// parameters, merges slashes, resolves dots. A final slash stays.
fn lenient(target: &[u8]) -> Vec<u8> {
    let mut path: Vec<u8> = target.split(|&b| b == b'?').next().unwrap().to_vec();
    loop {
        let decoded = unescape(&path, false);
        if decoded == path {
            break;
        }
        path = decoded;
    }
    let path: Vec<u8> = path.into_iter().map(|b| if b == b'\\' { b'/' } else { b }).collect();
    let mut kept: Vec<&[u8]> = Vec::new();
    let mut is_directory = false;
    for segment in path.split(|&b| b == b'/') {
        let segment = segment.split(|&b| b == b';').next().unwrap();
        is_directory = matches!(segment, b"" | b"." | b"..");
        match segment {
            b"" | b"." => {}
            b".." => drop(kept.pop()),
            name => kept.push(name),
        }
    }
    let mut resource = kept.iter().fold(Vec::new(), |mut all, name| {
        all.push(b'/');
        all.extend_from_slice(name);
        all
    });
    if is_directory {
        resource.push(b'/');
    }
    resource
}

/// One character of a resource in one of its spellings, some with a trick before it.
fn spelling(character: char) -> impl Strategy<Value = String> {
    let mut utf8 = [0; 4];
    let bytes = character.encode_utf8(&mut utf8).as_bytes();
    let upper: String = bytes.iter().map(|b| format!("%{b:02X}")).collect();
    let lower = upper.to_lowercase();
    let twice = upper.replace('%', "%25");
    let sly: String = upper.bytes().map(|b| format!("%{b:02X}")).collect();
    let raw = character.to_string();
    prop_oneof![
        12 => Just(raw.clone()),
        4 => Just(upper),
        4 => Just(lower),
        1 => Just(twice),
        1 => Just(sly),
        1 => prop_oneof![Just("/"), Just("./"), Just("/./"), Just("x/../"), Just(";p"), Just("%2e/"), Just("\\")]
            .prop_map(move |trick| format!("{trick}{raw}")),
    ]
}

fn target_of(resource: String) -> impl Strategy<Value = String> {
    resource.chars().map(spelling).collect::<Vec<_>>().prop_map(|parts| format!("/{}", parts.concat()))
}

fn two_spellings() -> impl Strategy<Value = (String, String)> {
    r#"[aB2f%./+,:é|" *]{0,8}"#.prop_flat_map(|resource| (target_of(resource.clone()), target_of(resource)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn two_accepted_spellings_are_one_path_exactly_if_they_name_one_resource((one, two) in two_spellings()) {
        let (Ok(first), Ok(second)) = (RequestPath::parse(one.as_bytes()), RequestPath::parse(two.as_bytes())) else {
            return Ok(());
        };
        prop_assert_eq!(first.as_str() == second.as_str(), lenient(one.as_bytes()) == lenient(two.as_bytes()), "{} {}", one, two);
    }

    #[test]
    fn tricks_made_of_syntax_never_split_a_resource_over_two_paths(
        one in r"/([a./;%\\]|%2[5ef]|%3b|%61|%25|2e|%c0%ae){0,7}",
        two in r"/([a./;%\\]|%2[5ef]|%3b|%61|%25|2e|%c0%ae){0,7}",
    ) {
        let (Ok(first), Ok(second)) = (RequestPath::parse(one.as_bytes()), RequestPath::parse(two.as_bytes())) else {
            return Ok(());
        };
        prop_assert_eq!(first.as_str() == second.as_str(), lenient(one.as_bytes()) == lenient(two.as_bytes()), "{} {}", one, two);
    }

    #[test]
    fn an_accepted_path_is_its_own_form_and_a_lenient_service_agrees(target in proptest::collection::vec(any::<u8>(), 0..24)) {
        let mut target = target;
        target.insert(0, b'/');
        if let Ok(path) = RequestPath::parse(&target) {
            prop_assert_eq!(form(path.as_str()), path.as_str());
            let decoded: Vec<String> = path.decoded_segments().map(Cow::into_owned).collect();
            prop_assert_eq!(format!("/{}", decoded.join("/")).into_bytes(), lenient(&target));
        }
    }
}

#[test]
fn an_escape_that_needs_not_be_is_refused_where_the_proxy_routes_by_the_raw_path() {
    let options = PathOptions { resolve_unreserved: false, ..PathOptions::default() };
    let read = |target: &str| RequestPath::parse_with(target.as_bytes(), &options).map(|path| path.as_str().to_owned());
    for target in ["/%61dmin", "/a%2Db", "/a%7eb", "/a/%39"] {
        assert_eq!(read(target), Err(PathError::EncodedUnreserved), "{target}");
    }
    assert_eq!(read("/%2e%2e/a"), Err(PathError::DotSegment), "the graver reason comes first");
    // Lower-case digits and characters that often arrive escaped route no differently.
    assert_eq!(read("/caf%c3%a9/a%40b,c"), Ok("/caf%C3%A9/a@b,c".to_owned()));
}
