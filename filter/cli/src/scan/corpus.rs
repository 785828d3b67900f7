//! Files of requests, payloads and values.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::logs;
use super::wire::Recorded;

/// What a line of a file asks for.
pub struct Item {
    pub id: String,
    pub class: String,
    pub source: String,
    /// 0 to 3; half 0 is quarters 0 and 1.
    pub quarter: u8,
    pub kind: Kind,
    /// What other engines said, where a baseline lies beside the file: refused at their levels 1 and 2, in each form.
    pub baseline: Option<(Vec<bool>, Vec<bool>)>,
    /// The text to show for it.
    pub shown: String,
    /// The requests it becomes: one, or query, form and JSON.
    pub requests: Vec<Recorded>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum Kind {
    /// An attack as query, form and JSON.
    Attack,
    /// A whole request that is an attack.
    AttackRequest,
    /// A request of a regression suite: an attack if the baseline's level 1 refuses it.
    Suite,
    /// A legitimate request.
    Legitimate,
    /// A legitimate value, as query, form and JSON.
    Value,
}

/// Reads a file or a folder.
pub fn read(path: &Path) -> Result<Vec<Item>> {
    if path.is_dir() {
        let mut files: Vec<_> = fs::read_dir(path)?.filter_map(|entry| entry.ok().map(|e| e.path())).collect();
        files.sort();
        let mut items = Vec::new();
        for file in files.iter().filter(|f| f.extension().is_some_and(|e| e == "jsonl" || e == "har" || e == "log")) {
            items.extend(read(file)?);
        }
        return Ok(items);
    }
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let text = String::from_utf8_lossy(&bytes);
    if path.extension().is_some_and(|e| e == "har") {
        return logs::har(&text, path);
    }
    let mut items: Vec<Item> = text
        .lines()
        .filter(|line| line.starts_with('{'))
        .filter_map(|line| serde_json::from_str(line).ok())
        .filter_map(|record: Value| item(&record))
        .collect();
    if items.is_empty() {
        items = logs::access_log(&text, path);
    }
    let baseline = baseline(path);
    for item in &mut items {
        item.baseline = baseline.get(&item.id).cloned();
    }
    // What the suite's own engine lets through is neither attack nor legitimate.
    items.retain(|item| {
        item.kind != Kind::Suite || item.baseline.as_ref().is_some_and(|(one, _)| one.first() == Some(&true))
    });
    Ok(items)
}

fn item(record: &Value) -> Option<Item> {
    let text = |key: &str| record.get(key).and_then(Value::as_str).unwrap_or("").to_owned();
    let bytes = |key: &str| -> Option<Vec<u8>> {
        if let Some(text) = record.get(key).and_then(Value::as_str) {
            return Some(text.as_bytes().to_vec());
        }
        let encoded: String = record.get(format!("{key}_b64"))?.as_str()?.split_whitespace().collect();
        STANDARD.decode(encoded).ok()
    };
    let mut id = text("id");
    let quarter = quarter(&id);
    if let Some(stage) = record.get("stage").and_then(Value::as_u64) {
        id = format!("{id}-s{stage}");
    }
    let source = text("src");
    if let Some(payload) = bytes("payload") {
        let shown = String::from_utf8_lossy(&payload).into_owned();
        return Some(Item {
            class: text("cls"),
            source,
            quarter,
            kind: Kind::Attack,
            baseline: None,
            shown,
            requests: Recorded::three(&payload),
            id,
        });
    }
    if let Some(value) = bytes("value") {
        let shown = String::from_utf8_lossy(&value).into_owned();
        return Some(Item {
            class: "value".into(),
            source,
            quarter,
            kind: Kind::Value,
            baseline: None,
            shown,
            requests: Recorded::three(&value),
            id,
        });
    }
    let request = match bytes("raw") {
        Some(raw) => Recorded::raw(&raw)?,
        None => Recorded {
            method: text("method"),
            target: bytes("uri")?,
            headers: record
                .get("headers")?
                .as_array()?
                .iter()
                .filter_map(|pair| {
                    Some((pair.get(0)?.as_str()?.to_owned(), pair.get(1)?.as_str()?.as_bytes().to_vec()))
                })
                .collect(),
            body: bytes("body").unwrap_or_default(),
        },
    };
    let (kind, class) = match (record.get("expect").and_then(Value::as_str), record.get("rule")) {
        (Some("block"), _) => (Kind::AttackRequest, text("cls")),
        (None, Some(rule)) => (Kind::Suite, format!("{}", rule.as_u64().unwrap_or(0) / 1000)),
        _ => (Kind::Legitimate, text("cls")),
    };
    let body = String::from_utf8_lossy(&request.body).into_owned();
    let odd: Vec<String> = request
        .headers
        .iter()
        .filter(|(name, _)| {
            !["host", "accept", "connection", "content-length", "accept-encoding"]
                .contains(&name.to_ascii_lowercase().as_str())
        })
        .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value)))
        .collect();
    let shown = format!("{} {} [{}] {body}", request.method, String::from_utf8_lossy(&request.target), odd.join(" | "));
    let source = if source.is_empty() { text("file") } else { source };
    Some(Item { id, class, source, quarter, kind, baseline: None, shown, requests: vec![request] })
}

/// A stable quarter for an id: FNV-1a.
pub fn quarter(id: &str) -> u8 {
    let hash =
        id.bytes().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    (((hash >> 17) & 1) * 2 + ((hash >> 23) & 1)) as u8
}

fn baseline(path: &Path) -> HashMap<String, (Vec<bool>, Vec<bool>)> {
    let Some(folder) = path.parent() else { return HashMap::new() };
    let text = fs::read_to_string(folder.join("baseline-crs4.tsv")).unwrap_or_default();
    let bits = |text: &str| text.bytes().map(|b| b == b'1').collect::<Vec<bool>>();
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| {
            let mut columns = line.split('\t');
            Some((columns.next()?.to_owned(), (bits(columns.next()?), bits(columns.next()?))))
        })
        .collect()
}
