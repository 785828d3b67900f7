//! Pieces of Envoy's configuration, as the reference gateway has them.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use crate::config;
use crate::pki::Pki;

/// The filter as an entry of `http_filters`, set as the reference gateway sets it but for the form of `configuration`.
pub(crate) fn filter(
    configuration: &Value,
    module: &Path,
    vm_id: &str,
    environment: &BTreeMap<String, String>,
) -> Value {
    json!({
        "name": config::FILTER,
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
            "config": {
                "name": "portcullis",
                "root_id": "portcullis",
                "failure_policy": "FAIL_RELOAD",
                "allow_on_headers_stop_iteration": true,
                "vm_config": {
                    "vm_id": vm_id,
                    "runtime": "envoy.wasm.runtime.v8",
                    "code": {"local": {"filename": module}},
                    "environment_variables": {"key_values": environment},
                },
                // As JSON text; the reference gateway gives it as a google.protobuf.Struct.
                "configuration": {
                    "@type": "type.googleapis.com/google.protobuf.StringValue",
                    "value": configuration.to_string(),
                },
            },
        },
    })
}

/// A cluster in the clear: a port on 127.0.0.1, whether anything listens there or not.
pub(crate) fn cluster(name: &str, port: u16) -> Value {
    json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": "2s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(port)}}]}],
        },
    })
}

/// Mutual TLS with a service, as the gateway.
pub(crate) fn mtls(pki: &Pki, service: &str) -> Value {
    let san = json!({"san_type": "URI", "matcher": {"exact": format!("spiffe://demo/{service}")}});
    json!({
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
            "sni": format!("{service}.demo"),
            "common_tls_context": {
                "tls_certificates": [{
                    "certificate_chain": {"filename": pki.certificate("gateway")},
                    "private_key": {"filename": pki.key("gateway")},
                }],
                "validation_context": {
                    "trusted_ca": {"filename": pki.ca()},
                    "match_typed_subject_alt_names": [san],
                },
            },
        },
    })
}

/// TLS with the certificate `edge`, for clients that may show a certificate; `validation` says which are taken.
pub(crate) fn downstream_tls(pki: &Pki, validation: &Value) -> Value {
    json!({
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            // Envoy verifies no certificate anew where a client resumes its session: the filter would see none.
            "disable_stateless_session_resumption": true,
            "disable_stateful_session_resumption": true,
            "common_tls_context": {
                "tls_certificates": [{
                    "certificate_chain": {"filename": pki.certificate("edge")},
                    "private_key": {"filename": pki.key("edge")},
                }],
                "validation_context": validation,
            },
        },
    })
}

/// A port on 127.0.0.1.
pub(crate) fn address(port: u16) -> Value {
    json!({"socket_address": {"address": "127.0.0.1", "port_value": port}})
}

/// Sets a member of what is an object.
pub(crate) fn insert(object: &mut Value, member: &str, value: Value) {
    if let Some(object) = object.as_object_mut() {
        object.insert(member.to_owned(), value);
    }
}
