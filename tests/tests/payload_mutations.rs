//! Every attack keeps its verdict, whatever it is wrapped in: those of the rules' own cases, and of the development sample where that lies
//! beside the repository. How a body is cut into chunks is no matter for the rules: they see it whole (`e2e_payload`).
//!
//! What a mutation would change for every server is left out: capitals in base64, comments for blanks of what is no SQL or stands in quotes.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test that cannot go on has failed")]

use std::collections::{BTreeMap, HashMap};

use base64::Engine as _;
use portcullis_payload::arguments::{self, Request};
use portcullis_payload::pages::PAGES;
use portcullis_payload::{Scanner, Scratch, Settings};
use portcullis_tests::client::percent_encoded as percent;
use portcullis_tests::elsewhere::skipped;
use portcullis_tests::paths;
use serde_json::Value;

const FORM: &str = "application/x-www-form-urlencoded";

struct Attack {
    class: String,
    payload: Vec<u8>,
}

/// A request, as far as it matters here.
struct Sent {
    target: String,
    /// Its one header, unless it is empty.
    header: (&'static str, String),
    body: Vec<u8>,
}

fn query(encoded: &str) -> Sent {
    with(&format!("/?p={encoded}"), "", String::new())
}

fn with(target: &str, header: &'static str, value: String) -> Sent {
    Sent { target: target.to_owned(), header: (header, value), body: Vec::new() }
}

fn posted(kind: &str, body: impl Into<Vec<u8>>) -> Sent {
    Sent { body: body.into(), ..with("/", "content-type", kind.to_owned()) }
}

struct Judge {
    scanner: Scanner,
    settings: Settings,
    scratch: Scratch,
}

impl Judge {
    fn new() -> Self {
        Self { scanner: Scanner::new().unwrap(), settings: Settings::default(), scratch: Scratch::default() }
    }

    fn refuses(&mut self, sent: &Sent) -> bool {
        let (name, value) = &sent.header;
        let headers = [(name.as_bytes(), value.as_bytes())];
        let headers = if name.is_empty() { &[][..] } else { &headers[..] };
        let method: &[u8] = if sent.body.is_empty() { b"GET" } else { b"POST" };
        let request = Request { method, target: sent.target.as_bytes(), headers, body: &sent.body };
        let mut inspection = self.scanner.begin(&self.settings, &mut self.scratch);
        arguments::inspect(&request, &mut inspection);
        inspection.is_attack()
    }
}

/// Another spelling of an attack, and the plain request that it must be judged as.
type Mutation = (&'static str, fn(&Attack) -> Option<Vec<(Sent, Sent)>>);

const MUTATIONS: &[Mutation] = &[
    ("percent, all of it", |a| from_query(a, vec![query(&percent(&a.payload))])),
    ("percent, in a form", |a| from_query(a, vec![posted(FORM, format!("p={}", percent(&a.payload).to_lowercase()))])),
    ("percent twice", |a| {
        let twice = percent(&a.payload).replace('%', "%25");
        from_query(a, vec![query(&twice), posted(FORM, format!("p={twice}"))])
    }),
    ("%u", |a| from_query(a, vec![query(&percent_u(text(a)?)), query(&percent_u(text(a)?).replace('%', "%25"))])),
    ("overlong UTF-8", |a| from_query(a, vec![query(&overlong(&a.payload, 2)), query(&overlong(&a.payload, 3))])),
    ("mixed case", |a| (!is_base64(a)).then(|| from_query(a, vec![query(&percent(mixed_case(&a.payload)))]))?),
    ("comments for blanks", |a| {
        let text = text(a).filter(|_| a.class == "sqli")?;
        let blanks = ["/**/", "/*x*/", "\t", "\n", "\u{b}"];
        from_query(a, blanks.map(|blank| query(&percent(commented(&text, blank)))).into())
    }),
    ("JSON escapes", |a| {
        let (low, high) = (escapes(text(a)?.as_str(), false), escapes(text(a)?.as_str(), true));
        from_json(a, vec![posted("application/json", json(&low)), posted("application/json", json(&high))])
    }),
    ("JSON in UTF-16", |a| {
        let body = json(&plain_json(text(a)?.as_str()));
        from_json(
            a,
            vec![posted("application/json", body.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>())],
        )
    }),
    ("JSON of another name", |a| {
        let body = json(&plain_json(text(a)?.as_str()));
        let kinds = [
            "application/vnd.a+json",
            "application/x-ndjson",
            "application/jsonl",
            "text/plain",
            "application/octet-stream",
        ];
        from_json(a, kinds.iter().map(|kind| posted(kind, body.clone())).collect())
    }),
    ("tricks of multipart", |a| {
        let usual = multipart(&a.payload);
        let has = |needle: &[u8]| a.payload.windows(needle.len()).any(|window| window == needle);
        if has(b"--b") || has(b"\r") || has(b"\n") {
            return None;
        }
        let replaced = |from: &str, to: &str| posted(PARTS, replaced(&usual, from, to));
        let tricks = vec![
            posted("multipart/form-data; boundary=\"b\"", usual.clone()),
            posted("multipart/form-data; boundary='b'", usual.clone()),
            posted("multipart/form-data; charset=utf-8; boundary=b", usual.clone()),
            replaced("\r\n", "\n"),
            replaced("\r\n--b--\r\n", ""),
            replaced("--b--", "--b"),
            replaced("; name", ";\r\n\tname"),
            replaced("Content-Disposition", "content-DISPOSITION"),
            replaced("name=\"p\"", "name=p"),
            replaced("name=\"p\"", "name=\"p\"; filename*=utf-8''a.txt"),
            replaced("\r\n\r\n", "\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"),
            replaced("--b\r\n", "--b \t\r\n"),
        ];
        Some(tricks.into_iter().map(|trick| (posted(PARTS, usual.clone()), trick)).collect())
    }),
    ("a file name of RFC 2231", |a| {
        let named = |parameter: String| {
            posted(
                PARTS,
                format!("--b\r\nContent-Disposition: form-data; name=\"p\"; {parameter}\r\n\r\n1\r\n--b--\r\n"),
            )
        };
        let text = text(a)?;
        if text.contains(['"', '\'', '\\', '\r', '\n', ';', '%']) {
            return None;
        }
        let encoded = named(format!("filename*=UTF-8''{}", percent(text.as_bytes())));
        Some(vec![(named(format!("filename=\"{text}\"")), encoded)])
    }),
    ("in a cookie", |a| from_encoded(a, |encoded| with("/", "cookie", format!("a=1; p={encoded}")))),
    ("in a header", |a| from_encoded(a, |encoded| with("/", "x-p", encoded.to_owned()))),
    ("in the path", |a| from_encoded(a, |encoded| with(&format!("/a/{encoded}/b"), "", String::new()))),
    ("in XML", |a| {
        let text = text(a)?;
        let sent = |text: &str| posted("application/xml", format!("<a><p>{text}</p></a>"));
        let by_number = |write: fn(u32) -> String| text.chars().map(|c| write(u32::from(c))).collect::<String>();
        let halves = || {
            let middle = text.char_indices().nth(text.chars().count() / 2).map_or(0, |(at, _)| at);
            text.split_at_checked(middle)
        };
        let between = |between: &str| halves().map(|(one, two)| [&in_xml(one), between, &in_xml(two)].concat());
        let plain = in_xml(&text);
        let mut spellings = vec![
            by_number(|c| format!("&#x{c:x};")),
            by_number(|c| format!("&#{c};")),
            by_number(|c| format!("&#000{c};")),
            between("<!-- -->")?,
            between("<![CDATA[]]>")?,
        ];
        if !text.contains("]]>") {
            spellings.push(format!("<![CDATA[{text}]]>"));
        }
        Some(spellings.iter().map(|spelling| (sent(&plain), sent(spelling))).collect())
    }),
    ("cut over two parameters", |a| {
        let halves = |at: usize| (percent(&a.payload[..at]), percent(&a.payload[at..]));
        let cuts = [1, 2, 3].map(|quarter| (a.payload.len() * quarter / 4).max(1));
        let mut sent = Vec::new();
        for (one, two) in cuts.map(halves) {
            sent.push(query(&format!("{one}&a=1&p={two}")));
            sent.push(posted(FORM, format!("p={one}&p={two}")));
            sent.push(Sent { target: format!("/?p={one}"), ..posted(FORM, format!("p={two}")) });
        }
        (a.payload.len() > 1).then(|| from_query(a, sent))?
    }),
    ("cut at a comma", |a| {
        let comma = a.payload.iter().position(|b| *b == b',')?;
        let (one, two) = (percent(&a.payload[..comma]), percent(&a.payload[comma + 1..]));
        from_query(a, vec![query(&format!("{one}&p={two}")), posted(FORM, format!("p={one}&p={two}"))])
    }),
];

const PARTS: &str = "multipart/form-data; boundary=b";

/// Each beside the attack as it stands in the same place.
fn from_query(attack: &Attack, sent: Vec<Sent>) -> Option<Vec<(Sent, Sent)>> {
    let plain = |sent: &Sent| match sent.target.as_str() {
        "/" => posted(FORM, format!("p={}", percent(&attack.payload))),
        _ => query(&percent(&attack.payload)),
    };
    Some(sent.into_iter().map(|sent| (plain(&sent), sent)).collect())
}

/// Encoded more than once, in other ways and in capitals, beside what is encoded once.
fn from_encoded(attack: &Attack, send: impl Fn(&str) -> Sent) -> Option<Vec<(Sent, Sent)>> {
    let once = percent(&attack.payload);
    let mut spellings = vec![once.replace('%', "%25"), once.replace('%', "%2525"), overlong(&attack.payload, 2)];
    spellings.extend(text(attack).map(percent_u));
    if !is_base64(attack) {
        spellings.push(percent(mixed_case(&attack.payload)));
    }
    Some(spellings.iter().map(|spelling| (send(&once), send(spelling))).collect())
}

fn in_xml(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn from_json(attack: &Attack, sent: Vec<Sent>) -> Option<Vec<(Sent, Sent)>> {
    let plain = json(&plain_json(&text(attack)?));
    Some(sent.into_iter().map(|sent| (posted("application/json", plain.clone()), sent)).collect())
}

fn text(attack: &Attack) -> Option<String> {
    String::from_utf8(attack.payload.clone()).ok()
}

fn percent_u(text: String) -> String {
    text.encode_utf16().map(|unit| format!("%u{unit:04x}")).collect()
}

/// Everything of ASCII in more bytes than it needs.
fn overlong(text: &[u8], length: usize) -> String {
    let wide = |byte: u8| match length {
        _ if byte >= 0x80 => vec![byte],
        2 => vec![0xc0 | byte >> 6, 0x80 | byte & 0x3f],
        _ => vec![0xe0, 0x80 | byte >> 6, 0x80 | byte & 0x3f],
    };
    text.iter().map(|byte| percent(wide(*byte))).collect()
}

fn mixed_case(text: &[u8]) -> Vec<u8> {
    let turned = |(i, b): (usize, &u8)| if i % 2 == 0 { b.to_ascii_uppercase() } else { b.to_ascii_lowercase() };
    text.iter().enumerate().map(turned).collect()
}

/// Whether some text in it is read only once it is decoded.
fn is_base64(attack: &Attack) -> bool {
    let runs = attack.payload.split(|b| !(b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=')));
    let decodes = |run: &[u8]| {
        let end = run.iter().rposition(|b| *b != b'=').map_or(0, |end| end + 1);
        let text = base64::engine::general_purpose::STANDARD_NO_PAD.decode(&run[..end]);
        text.is_ok() && run.iter().any(u8::is_ascii_uppercase) && run.iter().any(u8::is_ascii_lowercase)
    };
    runs.filter(|run| run.len() >= 10).any(decodes)
}

/// Another blank wherever one stands outside of quotes, and not behind the signs that need one to begin a comment.
fn commented(text: &str, blank: &str) -> Vec<u8> {
    let mut out = String::new();
    let mut quote = None;
    for character in text.chars() {
        match character {
            ' ' if quote.is_none() && !out.ends_with("--") && !out.ends_with('#') => out.push_str(blank),
            _ => out.push(character),
        }
        quote = match quote {
            Some(open) if open == character => None,
            None if matches!(character, '\'' | '"' | '`') => Some(character),
            other => other,
        };
    }
    out.into_bytes()
}

fn plain_json(text: &str) -> String {
    let quoted = Value::from(text).to_string();
    quoted.strip_prefix('"').and_then(|quoted| quoted.strip_suffix('"')).unwrap().to_owned()
}

fn escapes(text: &str, upper: bool) -> String {
    text.encode_utf16().map(|unit| if upper { format!("\\u{unit:04X}") } else { format!("\\u{unit:04x}") }).collect()
}

fn json(inner: &str) -> String {
    format!("{{\"id\":7,\"p\":\"{inner}\"}}")
}

fn multipart(payload: &[u8]) -> Vec<u8> {
    [&b"--b\r\nContent-Disposition: form-data; name=\"p\"\r\n\r\n"[..], payload, b"\r\n--b--\r\n"].concat()
}

fn replaced(text: &[u8], from: &str, to: &str) -> Vec<u8> {
    let (mut out, mut i) = (Vec::new(), 0);
    while i < text.len() {
        if text[i..].starts_with(from.as_bytes()) {
            out.extend_from_slice(to.as_bytes());
            i += from.len();
        } else {
            out.push(text[i]);
            i += 1;
        }
    }
    out
}

/// How many mutations were tried, and the attacks that they hide.
type Hidden = BTreeMap<&'static str, (usize, Vec<String>)>;

fn hidden(attacks: &[Attack]) -> Hidden {
    let share = attacks.len().div_ceil(4).max(1);
    let mut found = Hidden::new();
    std::thread::scope(|scope| {
        let threads: Vec<_> = attacks.chunks(share).map(|share| scope.spawn(|| hidden_of(share))).collect();
        for (name, (tried, mut hidden)) in threads.into_iter().flat_map(|thread| thread.join().unwrap()) {
            let all = found.entry(name).or_default();
            all.0 += tried;
            all.1.append(&mut hidden);
        }
    });
    found
}

fn hidden_of(attacks: &[Attack]) -> Hidden {
    let mut judge = Judge::new();
    let mut found = Hidden::new();
    for attack in attacks {
        // The same attack as it stands is what most of its mutations are beside.
        let mut plains: HashMap<(String, String, Vec<u8>), bool> = HashMap::new();
        for (name, mutate) in MUTATIONS {
            let entry = found.entry(name).or_default();
            for (number, (plain, sent)) in mutate(attack).unwrap_or_default().iter().enumerate() {
                let key = (plain.target.clone(), plain.header.1.clone(), plain.body.clone());
                if !*plains.entry(key).or_insert_with(|| judge.refuses(plain)) {
                    continue;
                }
                entry.0 += 1;
                if !judge.refuses(sent) {
                    let shown = String::from_utf8_lossy(&attack.payload);
                    entry.1.push(format!("{name} {number}: {} {shown:?}", attack.class));
                }
            }
        }
    }
    found
}

/// The attacks in the cases of the rules: those that are refused wherever they stand.
fn own() -> Vec<Attack> {
    let pages = PAGES.iter().flat_map(|page| page.matches.iter().map(move |case| (page, case)));
    pages
        .map(|(page, case)| Attack { class: page.family.as_str().to_owned(), payload: case.as_bytes().to_vec() })
        .collect()
}

#[test]
fn no_mutation_hides_an_attack_of_our_own() {
    let found = hidden(&own());
    assert!(found.values().all(|(tried, _)| *tried > 0), "{found:#?}");
    let hidden: Vec<&String> = found.values().flat_map(|(_, hidden)| hidden).collect();
    assert!(hidden.is_empty(), "{} are hidden:\n{hidden:#?}", hidden.len());
}

#[test]
fn no_mutation_hides_an_attack_of_the_sample() {
    let file = paths::root().join("../shared/corpora/waf/attacks.jsonl");
    let Ok(lines) = std::fs::read_to_string(&file) else {
        skipped(&format!("sample of attacks at {}", file.display()));
        return;
    };
    let records = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let attacks: Vec<Attack> = records
        .filter_map(|record| {
            let payload = record["payload"].as_str()?.as_bytes().to_vec();
            Some(Attack { class: record["cls"].as_str()?.to_owned(), payload })
        })
        .collect();
    let found = hidden(&attacks);
    for (name, (tried, hidden)) in &found {
        println!("{name}: {} of {tried} hidden", hidden.len());
    }
    let hidden: Vec<&String> = found.values().flat_map(|(_, hidden)| hidden).collect();
    assert!(hidden.is_empty(), "{} are hidden:\n{hidden:#?}", hidden.len());
}
