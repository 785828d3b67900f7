//! The examples of `docs/deploy`, in step with the filter and with the reference gateway: their configurations have nothing
//! to find, Kubernetes' own schemas take the manifests, and the real Envoy does what each host would have it do.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test that cannot go on has failed"
)]

mod files;
mod hosts;
mod kubernetes;

use std::path::PathBuf;

use portcullis_tests::paths;
use serde_json::Value;

fn directory() -> PathBuf {
    paths::root().join("docs/deploy")
}

fn text(name: &str) -> String {
    std::fs::read_to_string(directory().join(name)).unwrap()
}

/// The documents of a YAML file.
fn documents(name: &str) -> Vec<Value> {
    let text = text(name);
    text.split("\n---\n").map(|document| serde_norway::from_str(document).unwrap()).collect()
}

/// The filter's configuration in the file of a host.
fn configuration(host: &str) -> Value {
    let mut document = documents(host).remove(0);
    match host {
        "istio.yaml" => document["spec"]["pluginConfig"].take(),
        _ => document["spec"]["wasm"][0]["config"].take(),
    }
}
