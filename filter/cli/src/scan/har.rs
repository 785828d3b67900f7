//! HAR files (HTTP Archive 1.2), as browsers and proxies record them.

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::corpus::{Item, legitimate};
use super::unread::{Kind, Unread};
use super::wire::{Recorded, encoded};

/// The requests of a HAR file.
///
/// # Errors
/// It is no HAR file.
pub fn entries(text: &[u8], path: &Path, unread: &mut Unread) -> Result<Vec<Item>> {
    let what = || format!("{} is no HAR file", path.display());
    // Some recorders begin with the mark of UTF-8.
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let document: Value = serde_json::from_slice(text).with_context(what)?;
    let entries = document.pointer("/log/entries").and_then(Value::as_array);
    let mut items = Vec::new();
    for (number, entry) in (1..).zip(entries.ok_or_else(|| anyhow!("it has no `log.entries`")).with_context(what)?) {
        let place = format!("{}:{number}", path.display());
        match entry.get("request").and_then(request) {
            Some((url, request)) => items.push(legitimate(place, "har", url, request)),
            None => unread.add(Kind::Line, &place, "an entry without `request.method` and `request.url`"),
        }
    }
    Ok(items)
}

/// The address that was asked, and the request.
fn request(request: &Value) -> Option<(String, Recorded)> {
    let text = |key: &str| request.get(key).and_then(Value::as_str).map(str::to_owned);
    let (method, url) = (text("method")?, text("url")?);
    // The fragment stays in the browser.
    let sent = url.split('#').next().unwrap_or_default();
    let (host, target) = match sent.split_once("://") {
        Some((_, rest)) => match rest.find(['/', '?']).map(|end| rest.split_at(end)) {
            Some((host, query)) if query.starts_with('?') => (host, format!("/{query}")),
            Some((host, target)) => (host, target.to_owned()),
            None => (rest, "/".to_owned()),
        },
        None => ("", sent.to_owned()),
    };
    let mut headers: Vec<(String, Vec<u8>)> = pairs(request.get("headers"))
        .filter(|(name, _)| !name.starts_with(':'))
        .map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()))
        .collect();
    let has = |headers: &[(String, Vec<u8>)], name: &str| headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name));
    // HTTP/2 has it among the pseudo-headers.
    if !host.is_empty() && !has(&headers, "host") {
        headers.insert(0, ("host".to_owned(), host.as_bytes().to_vec()));
    }
    let posted = request.get("postData").unwrap_or(&Value::Null);
    let kind = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    let kind = match (kind, posted.get("mimeType").and_then(Value::as_str)) {
        (Some((_, value)), _) => String::from_utf8_lossy(value).into_owned(),
        (None, Some(kind)) if !kind.is_empty() => {
            headers.push(("content-type".to_owned(), kind.as_bytes().to_vec()));
            kind.to_owned()
        }
        (None, _) => String::new(),
    };
    let (body, missing_body) = match body(posted, &kind) {
        Ok(body) => {
            // A file that was sent, or what a recorder keeps elsewhere.
            let is_missing = body.is_empty() && request.get("bodySize").and_then(Value::as_i64).unwrap_or(0) > 0;
            (body, is_missing.then(|| "the recording does not have it".to_owned()))
        }
        Err(why) => (Vec::new(), Some(why)),
    };
    let recorded = Recorded { method, target: target.into_bytes(), headers, body, missing_body };
    Some((url, recorded))
}

/// The texts of a list of names with values.
fn pairs(list: Option<&Value>) -> impl Iterator<Item = (&str, &str)> {
    let all = list.and_then(Value::as_array).into_iter().flatten();
    all.filter_map(|value| Some((value.get("name")?.as_str()?, value.get("value")?.as_str()?)))
}

/// What was posted, by `postData`: its text, else the form of its parameters.
fn body(posted: &Value, kind: &str) -> Result<Vec<u8>, String> {
    let text = |key: &str| posted.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    if let Some(written) = text("text") {
        let is_encoded = ["encoding", "_encoding"].iter().any(|key| text(key) == Some("base64"));
        if !is_encoded {
            return Ok(written.as_bytes().to_vec());
        }
        let written: String = written.split_whitespace().collect();
        return STANDARD.decode(written).map_err(|_| "its `postData` is no Base64".to_owned());
    }
    let parameters = posted.get("params").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if parameters.is_empty() {
        return Ok(Vec::new());
    }
    let essence = kind.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("multipart/form-data") {
        return multipart(parameters, kind);
    }
    let mut form = Vec::new();
    for parameter in parameters {
        let (name, value) = parameter_of(parameter)?;
        if !form.is_empty() {
            form.push(b'&');
        }
        form.extend(encoded(name.as_bytes(), false));
        form.push(b'=');
        form.extend(encoded(value.as_bytes(), false));
    }
    Ok(form)
}

fn parameter_of(parameter: &Value) -> Result<(&str, &str), String> {
    let name = parameter.get("name").and_then(Value::as_str).ok_or("one of its `params` has no name")?;
    Ok((name, parameter.get("value").and_then(Value::as_str).unwrap_or("")))
}

fn multipart(parameters: &[Value], kind: &str) -> Result<Vec<u8>, String> {
    let named = kind.split(';').skip(1).filter_map(|part| part.trim().split_once('='));
    let boundary = named
        .filter(|(name, _)| name.eq_ignore_ascii_case("boundary"))
        .map(|(_, value)| value.trim_matches('"'))
        .next()
        .ok_or("it is a form of parts, and its content-type names no boundary")?;
    // As browsers write names (HTML, 4.10.21.8).
    let quoted = |text: &str| text.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A");
    let mut body = String::new();
    for parameter in parameters {
        let (name, value) = parameter_of(parameter)?;
        body.push_str(&format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{}\"", quoted(name)));
        if let Some(file) = parameter.get("fileName").and_then(Value::as_str) {
            body.push_str(&format!("; filename=\"{}\"", quoted(file)));
        }
        if let Some(kind) = parameter.get("contentType").and_then(Value::as_str).filter(|kind| !kind.is_empty()) {
            body.push_str(&format!("\r\nContent-Type: {}", quoted(kind)));
        }
        body.push_str(&format!("\r\n\r\n{value}\r\n"));
    }
    body.push_str(&format!("--{boundary}--\r\n"));
    Ok(body.into_bytes())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn body_of(posted: Value, kind: &str) -> Result<String, String> {
        body(&posted, kind).map(|body| String::from_utf8_lossy(&body).into_owned())
    }

    #[test]
    fn a_body_is_its_text_or_the_form_of_its_parameters() {
        let form = "application/x-www-form-urlencoded";
        let parameters = json!([{"name": "a b", "value": "1&2"}, {"name": "c"}]);
        assert_eq!(body_of(json!({"text": "x=1", "params": parameters}), form).unwrap(), "x=1");
        assert_eq!(body_of(json!({"params": parameters}), form).unwrap(), "a%20b=1%262&c=");
        assert_eq!(body_of(json!({"text": "eD0x", "encoding": "base64"}), form).unwrap(), "x=1");
        assert_eq!(body_of(Value::Null, "").unwrap(), "");
        let parts = json!([{"name": "a\"", "value": "1"}, {"name": "f", "fileName": "x.txt", "contentType": "text/plain", "value": "hi"}]);
        assert_eq!(
            body_of(json!({"params": parts}), "multipart/form-data; boundary=\"xx\"").unwrap(),
            "--xx\r\nContent-Disposition: form-data; name=\"a%22\"\r\n\r\n1\r\n\
             --xx\r\nContent-Disposition: form-data; name=\"f\"; filename=\"x.txt\"\r\nContent-Type: text/plain\r\n\r\nhi\r\n--xx--\r\n"
        );
        assert!(body_of(json!({"params": parts}), "multipart/form-data").is_err());
        assert!(body_of(json!({"text": "%", "encoding": "base64"}), form).is_err());
    }

    #[test]
    fn targets_are_what_is_sent() {
        for (url, host, target) in [
            ("https://a.example/x?y=1#z", "a.example", "/x?y=1"),
            ("https://a.example", "a.example", "/"),
            ("https://a.example?y=/", "a.example", "/?y=/"),
            ("http://a.example:8080/", "a.example:8080", "/"),
        ] {
            let (_, recorded) = request(&json!({"method": "GET", "url": url})).unwrap();
            assert_eq!(recorded.target, target.as_bytes(), "{url}");
            assert_eq!(recorded.headers, [("host".to_owned(), host.as_bytes().to_vec())], "{url}");
        }
    }
}
