//! What patterns match, against `regex-lite` and by hand; what is refused; what they keep.

use proptest::prelude::*;
use regex_lite::RegexBuilder;

use super::*;

fn text(source: &str) -> Pattern {
    Pattern::of_text(source).unwrap()
}

fn bytes(source: &str) -> Pattern {
    Pattern::of_bytes(source).unwrap()
}

#[test]
fn a_text_is_made_of_characters() {
    for (source, matching) in [
        ("^.{3}$", "aéz"),
        ("^[^a]$", "é"),
        ("^[ä-ü]+$", "öü"),
        ("^\\W$", "é"),
        ("^[\\W_]+$", "é_"),
        ("(?i)^ä$", "Ä"),
        ("^\\u{e9}\\x{e9}$", "éé"),
    ] {
        assert!(text(source).is_match(matching.as_bytes()), "{source} {matching}");
    }
    for (source, other) in [
        ("^.{2}$", "é"),
        ("^.$", "\n"),
        ("^\\w$", "é"),
        ("^\\d$", "٣"),
        ("^\\s$", "\u{a0}"),
        ("é\\b", "é "),
        ("^ä$", "Ä"),
    ] {
        assert!(!text(source).is_match(other.as_bytes()), "{source} {other}");
    }
}

#[test]
fn classes_of_perl_are_those_of_ascii() {
    for (source, of_ascii) in [
        (r"\w", "[0-9A-Za-z_]"),
        (r"\W", "[^0-9A-Za-z_]"),
        (r"\d", "[0-9]"),
        (r"\D", "[^0-9]"),
        (r"\s", "[\t\n\u{b}\u{c}\r ]"),
        (r"\S", "[^\t\n\u{b}\u{c}\r ]"),
        (r"[^\s\d]", "[^\t\n\u{b}\u{c}\r 0-9]"),
        (r"(?x) [ \s _ ]", "[\t\n\u{b}\u{c}\r _]"),
    ] {
        for character in (0..=0x1ff).filter_map(char::from_u32) {
            let mut room = [0; 4];
            let encoded = character.encode_utf8(&mut room).as_bytes();
            assert_eq!(text(source).is_match(encoded), text(of_ascii).is_match(encoded), "{source} {character:?}");
        }
    }
}

#[test]
fn bytes_are_bytes() {
    assert!(bytes(r"^.{2}$").is_match("é".as_bytes()) && bytes("a.b").is_match(b"a\nb"));
    assert!(bytes(r"\xff[^a]\x00").is_match(b"\xff\xfe\x00"));
    assert!(bytes("(?i)K").is_match(b"k") && !bytes("(?i)k").is_match("\u{212a}".as_bytes()));
    assert!(bytes(r"\bor\b").is_match(b"\xffor\xff"));
    assert!(!bytes("a$").is_match(b"a\n") && bytes("(?m)a$").is_match(b"a\n"));
}

#[test]
fn a_whole_text_matches_or_nothing_of_it() {
    let whole = |source: &str, text: &str| Pattern::of_whole_text(source).unwrap().is_match(text.as_bytes());
    assert!(whole("/a|/b", "/b") && whole("(?x) /a # note", "/a") && whole("", ""));
    for (source, text) in
        [("/a|/b", "/b/c"), ("/a", "x/a"), ("(?m)a$", "a\nb"), ("(?x)/a#", "/ab"), ("", "a"), ("a", "a\n")]
    {
        assert!(!whole(source, text), "{source} {text}");
    }
    for source in ["a)|(b", "a\\", "(", "(?i", "[a"] {
        assert!(Pattern::of_whole_text(source).is_err(), "{source}");
    }
}

#[test]
fn what_cannot_be_used_is_said_in_a_line() {
    for (source, why) in [
        ("(a", "unclosed group"),
        ("a(?=b)", "look-around, including look-ahead and look-behind, is not supported"),
        (r"(a)\1", "backreferences are not supported"),
        (r"[\p{Greek}]", r"`\p{...}` is not supported"),
        (r"\PL", r"`\p{...}` is not supported"),
        (r"(?u:\w)", "the flag `u` is not supported"),
        ("[z-a]", "invalid character class range, the start must be <= the end"),
        ("a{1000}{1000}{1000}", "it compiles to more than 256 KiB"),
        ("([a-z/]{0,100}){0,100}", "it compiles to more than 256 KiB"),
    ] {
        assert_eq!(Pattern::of_text(source).unwrap_err(), why, "{source}");
    }
    for source in ["^.{1,500}$", r"^[^\s<>]{1,300}$", "(?i)^[a-zäöü ]{1,200}$", r"^\/[a-z\-]+$"] {
        assert!(Pattern::of_text(source).is_ok(), "{source}");
    }
    let words: Vec<String> = (0..4000).map(|number| format!("word-{number}")).collect();
    assert!(Pattern::of_bytes(&words.join("|")).is_ok());
    assert!(Pattern::of_bytes("(?:.{0,1000}){0,1000}").is_err());
    assert!(Pattern::of_text(&"(".repeat(1000)).is_err() && Pattern::of_bytes(&"(".repeat(1000)).is_err());
}

#[test]
fn what_is_kept_is_bounded_however_many_texts_come() {
    // Its states are as many as there are ways to place the last letters: more than fit.
    let pattern = bytes("a.{14}b");
    let mut number = 1u64;
    let mut noise = || {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        b'a' + u8::from(number >> 40 & 1 == 1)
    };
    let text: Vec<u8> = (0..200_000).map(|_| noise()).collect();
    for piece in text.chunks(1000) {
        let by_hand = piece.windows(16).any(|window| matches!(window, [b'a', .., b'b']));
        assert_eq!(pattern.is_match(piece), by_hand);
    }
    let never = bytes("a.{14}c");
    assert!(!never.is_match(&text));
    let (kept, cleared) = { (never.0.cache.borrow().memory_usage(), never.0.cache.borrow().clear_count()) };
    assert!(cleared > 1 && kept < 2 * KEPT, "{kept} bytes, {cleared} times");
}

#[test]
fn where_it_matches_first_is_found() {
    assert_eq!(bytes("b+").find(b"abbc"), Some(1..3));
    assert_eq!(bytes("b|bb").find(b"abbc"), Some(1..2));
    assert_eq!(bytes("x").find(b"abbc"), None);
    assert_eq!(bytes("").find(b"a"), Some(0..0));
}

fn needed(source: &str) -> Option<Vec<String>> {
    let pattern = bytes(source);
    pattern.literals().map(|all| all.iter().map(|text| String::from_utf8_lossy(text).into_owned()).collect())
}

#[test]
fn the_longest_text_that_cannot_be_missing_is_found() {
    let some = |texts: &[&str]| Some(texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>());
    assert_eq!(needed(r"(?i)\bUNION\s+select"), some(&["select"]));
    assert_eq!(needed(r"a(?:foo|ba[rz])x?"), some(&["foo", "ba"]));
    assert_eq!(needed(r"colou?r"), some(&["colo"]));
    assert_eq!(needed(r"\.\./"), some(&["../"]));
    assert_eq!(needed(r"ab{2,3}c"), some(&["ab"]));
    assert_eq!(needed(r"(?x) a b"), some(&["ab"]));
    assert_eq!(needed(r"(?i)on\x65\bvent"), some(&["onevent"]));
    for without in [r"[a-z]+", r"(?:abc)?", r"abc|\d", r"a*", r".*", "", "[ab]"] {
        assert_eq!(needed(without), None, "{without}");
    }
}

#[test]
fn repetitions_multiply_inside_of_others() {
    assert_eq!(bytes("abc").states(), 3);
    assert!(bytes("(?:(?:a{1,30}b?){1,30}){1,9}9").states() > 30 * 30 * 9);
    assert_eq!(bytes(r"\{3").states(), 2);
    assert!(bytes("[{]a{900}").states() > 900);
}

/// Pieces of expressions, of which most make something that can be read.
const PIECES: &str = r"(\(\?i\)|)([ab]|a\?|b\*|c\+|\(a\|bc\)|\(ab\)\?|\[ab\]|\[\^a\]|\[\\w-\]|\[\^\\s\]|a\{2\}|b\{0,2\}|\\x61|\\.|\.|\||\(\?:|\)|\(\?x\)| |\+\?|\^|\$|\\b|\\B|\\w|\\S|\\D){0,9}";

/// The other engine takes a repetition of nothing.
fn only_flags_are_repeated(source: &str) -> Result<(), TestCaseError> {
    let source = source.replace(' ', "");
    prop_assert!(source.contains("(?x)+?") || source.contains("(?i)+?"), "{source}");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn texts_match_as_another_engine_says(source in PIECES, text in "[abcABC.1_ é\n]{0,12}") {
        let Ok(other) = RegexBuilder::new(&source).build() else { return Ok(()) };
        let Ok(pattern) = Pattern::of_text(&source) else { return only_flags_are_repeated(&source) };
        prop_assert_eq!(pattern.is_match(text.as_bytes()), other.is_match(&text));
        let (whole, other) = (Pattern::of_whole_text(&source), RegexBuilder::new(&format!("^(?:{source})$")).build());
        prop_assert_eq!(whole.unwrap().is_match(text.as_bytes()), other.unwrap().is_match(&text));
    }

    #[test]
    fn bytes_match_as_another_engine_says(source in PIECES, text in "[abcABC.1_ \n]{0,12}") {
        let Ok(other) = RegexBuilder::new(&source).dot_matches_new_line(true).build() else { return Ok(()) };
        let Ok(pattern) = Pattern::of_bytes(&source) else { return only_flags_are_repeated(&source) };
        let found = other.find(&text).map(|found| found.range());
        prop_assert_eq!(pattern.is_match(text.as_bytes()), found.is_some());
        prop_assert_eq!(pattern.find(text.as_bytes()), found);
    }

    #[test]
    fn no_match_is_without_its_literals(source in PIECES, text in "[abcABC.1_ \n]{0,12}") {
        let Ok(pattern) = Pattern::of_bytes(&source) else { return Ok(()) };
        if pattern.is_match(text.as_bytes()) && let Some(needed) = pattern.literals() {
            let lower = text.to_ascii_lowercase();
            let found = needed.iter().any(|text| lower.contains(std::str::from_utf8(text).unwrap()));
            prop_assert!(found, "{source} {text} {needed:?}");
        }
    }

    #[test]
    fn no_expression_makes_it_panic(source in "[\\\\(){}\\[\\]a-c0-9?*+|^$.,:<>iPx&~é-]{0,40}", text in any::<Vec<u8>>()) {
        for pattern in [Pattern::of_text(&source), Pattern::of_whole_text(&source), Pattern::of_bytes(&source)].into_iter().flatten() {
            prop_assert_eq!(pattern.is_match(&text), pattern.find(&text).is_some());
        }
    }
}
