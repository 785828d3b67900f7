//! Lines of access logs: as text with the request in quotes, and as JSON.

use portcullis_payload::bytes::hex;
use serde_json::Value;

use super::corpus::{Item, legitimate};
use super::wire::Recorded;

/// A line of the common or combined format, or of the format that Envoy has without a `log_format`.
///
/// What stands in the first quotes is the request; the headers are those that the format has.
pub fn text_line(line: &[u8], place: &str) -> Option<Item> {
    let quoted = quoted(line);
    let (method, target) = request_line(quoted.first()?)?;
    let names: &[&str] = match quoted.len() {
        // [time] "request" 200 - 0 0 1 - "x-forwarded-for" "user-agent" "x-request-id" "authority" "upstream"
        6 if line.starts_with(b"[") => &["", "User-Agent", "", "Host"],
        _ => &["Referer", "User-Agent"],
    };
    let headers = names.iter().zip(quoted.iter().skip(1)).filter(|(name, value)| !name.is_empty() && *value != b"-");
    let headers = headers.map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    let shown = quoted.first().map(|request| String::from_utf8_lossy(request).into_owned()).unwrap_or_default();
    let request = Recorded { method, target, headers, body: Vec::new(), missing_body: None };
    Some(legitimate(place.to_owned(), "access log", shown, request))
}

/// A line as the reference `envoy.yaml` and Istio write it: `method` and `path`, and `authority`, `user_agent` and `referer` where it has them.
pub fn json_line(record: &Value, place: &str) -> Option<Item> {
    let text = |key: &str| record.get(key).and_then(Value::as_str).filter(|text| !text.is_empty() && *text != "-");
    let (method, target) = (text("method")?, text("path")?);
    let names = [("authority", "Host"), ("referer", "Referer"), ("user_agent", "User-Agent")];
    let headers = names.iter().filter_map(|(key, name)| Some(((*name).to_owned(), text(key)?.as_bytes().to_vec())));
    let request = Recorded {
        method: method.to_owned(),
        target: target.as_bytes().to_vec(),
        headers: headers.collect(),
        body: Vec::new(),
        missing_body: None,
    };
    Some(legitimate(place.to_owned(), "access log", format!("{method} {target}"), request))
}

/// Method and target of `GET /a HTTP/1.1`; `None` for what a server writes down of a connection that sent no request.
fn request_line(line: &[u8]) -> Option<(String, Vec<u8>)> {
    let blank = line.iter().position(|b| *b == b' ')?;
    let (method, rest) = (line.get(..blank)?, line.get(blank.checked_add(1)?..)?);
    let is_method = |b: &u8| b.is_ascii_alphanumeric() || b"-_".contains(b);
    if method.is_empty() || !method.iter().all(is_method) {
        return None;
    }
    // A server that takes blanks in a target writes them down.
    let version = rest.windows(6).rposition(|window| window == b" HTTP/");
    let target = rest.get(..version.unwrap_or(rest.len()))?;
    let is_target = target.starts_with(b"/") || target == b"*" || (version.is_some() && !target.is_empty());
    is_target.then(|| (String::from_utf8_lossy(method).into_owned(), target.to_vec()))
}

/// What stands between quotes, as it was sent: servers write `\"`, `\\`, `\x16` and `\n` for what would end the text or the line.
fn quoted(line: &[u8]) -> Vec<Vec<u8>> {
    // Envoy writes everything as it is.
    let has_escapes = !line.starts_with(b"[");
    let mut found = Vec::new();
    let mut open: Option<Vec<u8>> = None;
    let mut rest = line;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match (byte, &mut open) {
            (b'"', None) => open = Some(Vec::new()),
            (b'"', Some(_)) => found.extend(open.take()),
            (_, None) => {}
            (b'\\', Some(text)) if has_escapes => {
                let (byte, after) = unescaped(rest);
                text.push(byte);
                rest = after;
            }
            (other, Some(text)) => text.push(other),
        }
    }
    found.extend(open);
    found
}

/// What stands for what a backslash was in front of, and what follows it.
fn unescaped(rest: &[u8]) -> (u8, &[u8]) {
    match rest {
        [b'n', rest @ ..] => (b'\n', rest),
        [b'r', rest @ ..] => (b'\r', rest),
        [b't', rest @ ..] => (b'\t', rest),
        [byte @ (b'"' | b'\\'), rest @ ..] => (*byte, rest),
        [b'x', high, low, after @ ..] => match (hex(*high), hex(*low)) {
            (Some(high), Some(low)) => (high << 4 | low, after),
            _ => (b'\\', rest),
        },
        _ => (b'\\', rest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Option<(String, Vec<(String, String)>)> {
        let item = text_line(line.as_bytes(), "a.log:1")?;
        let request = item.requests.into_iter().next()?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let headers = request.headers.into_iter().map(|(name, value)| (name, text(value))).collect();
        Some((format!("{} {}", request.method, text(request.target)), headers))
    }

    #[test]
    fn lines_of_servers_are_read() {
        let agent = ("User-Agent".to_owned(), "curl".to_owned());
        for (line, request, headers) in [
            (r#"192.0.2.7 - - [22/Nov/2026:10:00:00 +0000] "GET /a?b=1 HTTP/1.1" 200 12"#, "GET /a?b=1", vec![]),
            (
                r#"192.0.2.7 - - [-] "POST /a HTTP/2.0" 200 12 "https://a.example/" "curl""#,
                "POST /a",
                vec![("Referer".to_owned(), "https://a.example/".to_owned()), agent.clone()],
            ),
            (
                r#"192.0.2.7 - - [-] "GET /a?q=\x22\x3Cb>\" HTTP/1.1" 200 12 "-" "curl""#,
                "GET /a?q=\"<b>\"",
                vec![agent.clone()],
            ),
            (r#"192.0.2.7 - - [-] "GET /a?q=\\x22 \xzz HTTP/1.1" 200 12"#, r"GET /a?q=\x22 \xzz", vec![]),
            (
                r#"[2026-11-22T10:00:00.000Z] "GET /a\x22 HTTP/1.1" 200 - 0 12 3 2 "192.0.2.7" "curl" "7f" "a.example" "10.0.0.1:80""#,
                r"GET /a\x22",
                vec![agent, ("Host".to_owned(), "a.example".to_owned())],
            ),
        ] {
            assert_eq!(read(line), Some((request.to_owned(), headers)), "{line}");
        }
    }

    #[test]
    fn what_is_no_request_is_none() {
        for line in [
            "",
            "GET /a",
            r#"192.0.2.7 - - [-] "-" 408 0"#,
            r#"192.0.2.7 - - [-] "\x16\x03\x01" 400 0"#,
            r#"192.0.2.7 - - [-] "\x16\x03 /a HTTP/1.1" 400 0"#,
            r#"[2026-11-22 10:00:00.000][7][info][wasm] the word "is not a request""#,
        ] {
            assert_eq!(read(line), None, "{line}");
        }
    }
}
