//! What every refusal of the filter looks like, checked as a whole.

use anyhow::{Result, ensure};
use serde_json::json;

use crate::client::Response;

/// Whether `response` is the filter's own refusal for `reason`, complete and with nothing besides.
///
/// # Errors
/// What differs, with the whole response.
pub fn check(response: &Response, status: u16, reason: &str) -> Result<()> {
    ensure!(response.status == status, "expected {status} {reason}, got {}", shown(response));
    let problem = response.json();
    ensure!(problem.get("reason") == Some(&json!(reason)), "expected {reason}, got {}", shown(response));
    ensure!(problem.get("status") == Some(&json!(status)), "the document's status differs: {}", shown(response));
    let expected = json!(format!("urn:portcullis:reason:{reason}"));
    ensure!(problem.get("type") == Some(&expected), "the document's type differs: {}", shown(response));
    for member in ["title", "detail"] {
        let text = problem.get(member).and_then(serde_json::Value::as_str).unwrap_or_default();
        ensure!(!text.is_empty(), "the document has no {member}: {}", shown(response));
    }
    // The document speaks of the very request that Envoy's log speaks of.
    let id = response.header("x-request-id").map_or(json!(null), |id| json!(id));
    ensure!(!id.is_null() && problem.get("request_id") == Some(&id), "the request id differs: {}", shown(response));
    for (name, value) in [("content-type", "application/problem+json"), ("cache-control", "no-store")] {
        ensure!(response.header(name) == Some(value), "{name} differs: {}", shown(response));
    }
    let is_401 = status == 401;
    ensure!(!is_401 || response.header("www-authenticate").is_some(), "a 401 without challenge: {}", shown(response));
    ensure!(status != 503 && status != 429 || has_retry_after(response), "no Retry-After: {}", shown(response));
    Ok(())
}

/// The reason of a refusal; empty where it is none.
pub fn reason(response: &Response) -> String {
    response.json().get("reason").and_then(serde_json::Value::as_str).unwrap_or_default().to_owned()
}

fn has_retry_after(response: &Response) -> bool {
    response.header("retry-after").and_then(|seconds| seconds.parse::<u64>().ok()).is_some_and(|seconds| seconds >= 1)
}

fn shown(response: &Response) -> String {
    format!("{} {:?} {}", response.status, response.headers, response.text())
}
