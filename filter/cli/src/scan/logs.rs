//! Recordings of other programs: HAR files and access logs.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use super::corpus::{Item, Kind, quarter};
use super::wire::Recorded;

/// The requests of a HAR file (HTTP Archive 1.2).
pub fn har(text: &str, path: &Path) -> Result<Vec<Item>> {
    let document: Value = serde_json::from_str(text).with_context(|| format!("{} is no HAR file", path.display()))?;
    let entries = document.pointer("/log/entries").and_then(Value::as_array).cloned().unwrap_or_default();
    let mut items = Vec::new();
    for (number, entry) in entries.iter().enumerate() {
        let Some(request) = entry.get("request") else { continue };
        let text = |key: &str| request.get(key).and_then(Value::as_str).unwrap_or("").to_owned();
        let url = text("url");
        let (host, target) = match url
            .split_once("://")
            .map(|(_, rest)| rest.find('/').map(|slash| rest.split_at(slash)).unwrap_or((rest, "/")))
        {
            Some((host, target)) => (host.to_owned(), target.to_owned()),
            None => (String::new(), url.clone()),
        };
        let mut headers: Vec<(String, Vec<u8>)> = request
            .get("headers")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(|h| Some((h.get("name")?.as_str()?.to_owned(), h.get("value")?.as_str()?.as_bytes().to_vec())))
            .filter(|(name, _)| !name.starts_with(':'))
            .collect();
        // HTTP/2 has it among the pseudo-headers.
        if !host.is_empty() && !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            headers.insert(0, ("host".to_owned(), host.into_bytes()));
        }
        let body = request.pointer("/postData/text").and_then(Value::as_str).unwrap_or("").as_bytes().to_vec();
        let recorded = Recorded { method: text("method"), target: target.into_bytes(), headers, body };
        items.push(legitimate(format!("{}:{}", path.display(), number + 1), "har", url, recorded));
    }
    Ok(items)
}

/// The requests of an access log: what stands between the first quotes of a line, with referer and agent where the format has them.
pub fn access_log(text: &str, path: &Path) -> Vec<Item> {
    let mut items = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let mut quoted = line.split('"').skip(1).step_by(2);
        let Some(request) = quoted.next() else { continue };
        let mut words = request.split(' ');
        let (Some(method), Some(target)) = (words.next(), words.next()) else { continue };
        let mut headers = Vec::new();
        for name in ["Referer", "User-Agent"] {
            if let Some(value) = quoted.next().filter(|v| *v != "-") {
                headers.push((name.to_owned(), value.as_bytes().to_vec()));
            }
        }
        let recorded =
            Recorded { method: method.to_owned(), target: target.as_bytes().to_vec(), headers, body: Vec::new() };
        items.push(legitimate(
            format!("{}:{}", path.display(), number + 1),
            "access log",
            request.to_owned(),
            recorded,
        ));
    }
    items
}

fn legitimate(id: String, class: &str, shown: String, request: Recorded) -> Item {
    let quarter = quarter(&id);
    Item {
        id,
        class: class.to_owned(),
        source: String::new(),
        quarter,
        kind: Kind::Legitimate,
        baseline: None,
        shown,
        requests: vec![request],
    }
}
