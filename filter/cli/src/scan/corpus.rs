//! Files of requests, payloads and values.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::unread::{self, Unread};
use super::wire::Recorded;
use super::{har, logs};

/// What other engines said, beside the file that it is about.
const BASELINE: &str = "baseline-crs4.tsv";

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

/// Reads a file or a folder. What is not read is told to `unread`.
///
/// # Errors
/// It cannot be read, or is a HAR file by its name only.
pub fn read(path: &Path, unread: &mut Unread) -> Result<Vec<Item>> {
    if path.is_dir() {
        return read_folder(path, unread);
    }
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    if path.extension().is_some_and(|e| e == "har") {
        return har::entries(&bytes, path, unread);
    }
    let mut items = Vec::new();
    for (number, line) in (1..).zip(bytes.split(|b| *b == b'\n')) {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        let place = format!("{}:{number}", path.display());
        match item(line, &place) {
            Ok(item) => items.push(item),
            Err(why) => unread.add(unread::Kind::Line, &place, &why),
        }
    }
    let baseline = baseline(path);
    for item in &mut items {
        item.baseline = baseline.get(&item.id).cloned();
    }
    // What the suite's own engine lets through is neither attack nor legitimate.
    items.retain(|item| {
        let counts =
            item.kind != Kind::Suite || item.baseline.as_ref().is_some_and(|(one, _)| one.first() == Some(&true));
        if !counts {
            unread.add(unread::Kind::Suite, &format!("{}: {}", path.display(), item.id), "");
        }
        counts
    });
    Ok(items)
}

fn read_folder(path: &Path, unread: &mut Unread) -> Result<Vec<Item>> {
    let entries = fs::read_dir(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut files: Vec<_> = entries.filter_map(|entry| entry.ok().map(|e| e.path())).collect();
    files.sort();
    let mut items = Vec::new();
    for file in files {
        if file.is_file() && file.extension().is_some_and(|e| e == "jsonl" || e == "har" || e == "log") {
            items.extend(read(&file, unread)?);
        } else if file.file_name().is_none_or(|name| name != BASELINE) {
            unread.add(unread::Kind::File, &file.display().to_string(), "");
        }
    }
    Ok(items)
}

/// What a line asks for: a record of ours, or one of an access log.
fn item(line: &[u8], place: &str) -> Result<Item, String> {
    if !line.starts_with(b"{") {
        return logs::text_line(line, place).ok_or_else(|| "neither JSON nor a line of an access log".to_owned());
    }
    let record: Value = serde_json::from_slice(line).map_err(|error| format!("no JSON: {error}"))?;
    if ["payload", "value", "uri", "raw"].iter().any(|key| has(&record, key)) {
        return recorded(&record, place);
    }
    let hint = "no request: it has none of `payload`, `value`, `raw`, `method` with `uri`, and `method` with `path`";
    logs::json_line(&record, place).ok_or_else(|| hint.to_owned())
}

/// Whether a record has a text, as it is or in Base64.
fn has(record: &Value, key: &str) -> bool {
    let is_there = |key: &str| record.get(key).is_some_and(|value| !value.is_null());
    is_there(key) || is_there(&format!("{key}_b64"))
}

/// The bytes of a text, as it is or in Base64; `None` where there is none.
fn bytes(record: &Value, key: &str) -> Result<Option<Vec<u8>>, String> {
    match record.get(key) {
        Some(Value::String(text)) => return Ok(Some(text.as_bytes().to_vec())),
        None | Some(Value::Null) => {}
        Some(_) => return Err(format!("`{key}` is no text")),
    }
    let encoded = format!("{key}_b64");
    let text: String = match record.get(&encoded) {
        Some(Value::String(text)) => text.split_whitespace().collect(),
        None | Some(Value::Null) => return Ok(None),
        Some(_) => return Err(format!("`{encoded}` is no text")),
    };
    STANDARD.decode(text).map(Some).map_err(|_| format!("`{encoded}` is no Base64"))
}

fn headers(record: &Value) -> Result<Vec<(String, Vec<u8>)>, String> {
    let wrong = || "`headers` is no list of `[name, value]`".to_owned();
    let pair = |pair: &Value| match pair.as_array().map(Vec::as_slice) {
        Some([Value::String(name), Value::String(value)]) => Ok((name.clone(), value.as_bytes().to_vec())),
        _ => Err(wrong()),
    };
    match record.get("headers") {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(pairs)) => pairs.iter().map(pair).collect(),
        Some(_) => Err(wrong()),
    }
}

fn recorded(record: &Value, place: &str) -> Result<Item, String> {
    let text = |key: &str| record.get(key).and_then(Value::as_str).unwrap_or("").to_owned();
    let mut id = Some(text("id")).filter(|id| !id.is_empty()).unwrap_or_else(|| place.to_owned());
    let quarter = quarter(&id);
    if let Some(stage) = record.get("stage").and_then(Value::as_u64) {
        id = format!("{id}-s{stage}");
    }
    let source = text("src");
    if let Some(payload) = bytes(record, "payload")? {
        let shown = String::from_utf8_lossy(&payload).into_owned();
        return Ok(Item {
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
    if let Some(value) = bytes(record, "value")? {
        let shown = String::from_utf8_lossy(&value).into_owned();
        return Ok(Item {
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
    let request = match bytes(record, "raw")? {
        Some(raw) => Recorded::raw(&raw).ok_or("`raw` has no request line, or no empty line behind its headers")?,
        None => Recorded {
            method: record.get("method").and_then(Value::as_str).ok_or("it has no `method`")?.to_owned(),
            target: bytes(record, "uri")?.unwrap_or_default(),
            headers: headers(record)?,
            body: bytes(record, "body")?.unwrap_or_default(),
            missing_body: None,
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
    Ok(Item { id, class, source, quarter, kind, baseline: None, shown, requests: vec![request] })
}

/// A request of a log: nobody says that it is an attack.
pub fn legitimate(id: String, class: &str, shown: String, request: Recorded) -> Item {
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

/// A stable quarter for an id: FNV-1a.
fn quarter(id: &str) -> u8 {
    let hash =
        id.bytes().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    (((hash >> 17) & 1) * 2 + ((hash >> 23) & 1)) as u8
}

fn baseline(path: &Path) -> HashMap<String, (Vec<bool>, Vec<bool>)> {
    let Some(folder) = path.parent() else { return HashMap::new() };
    let text = fs::read_to_string(folder.join(BASELINE)).unwrap_or_default();
    let bits = |text: &str| text.bytes().map(|b| b == b'1').collect::<Vec<bool>>();
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| {
            let mut columns = line.split('\t');
            Some((columns.next()?.to_owned(), (bits(columns.next()?), bits(columns.next()?))))
        })
        .collect()
}
