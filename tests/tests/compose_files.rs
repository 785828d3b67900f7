//! The files of `compose/`, without Docker: the gateway there is as strict as the reference gateway, and every container as
//! bounded as every other. What runs is looked at by `scripts/compose-test`.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use std::path::Path;
use std::process::Command;

use boon::{Compiler, Draft, Schemas};
use portcullis_tests::elsewhere::{Package, Packed};
use portcullis_tests::{config, paths};
use serde_json::{Value, json};

/// The schema of the Compose Specification, beside others.
const SCHEMAS: Package = Package {
    name: "check_jsonschema",
    version: "0.39.0",
    packed: Packed::Wheel,
    carries: "schema of the Compose Specification",
};

fn reference() -> Value {
    let mut config = config::load(&paths::root().join("envoy.yaml")).unwrap();
    config::set_directory(&mut config, "target/demo/pki/sds", Path::new("/etc/envoy/sds"));
    config
}

fn composed() -> Value {
    config::load(&paths::root().join("compose/gateway/envoy.yaml")).unwrap()
}

fn services() -> Vec<(String, Value)> {
    let compose = config::load(&paths::root().join("compose/compose.yaml")).unwrap();
    let hardened = compose["x-hardened"].clone();
    let services = compose["services"].as_object().unwrap().clone();
    let merged = services.into_iter().map(|(name, mut service)| {
        // As YAML's merge key has it: what the service says itself comes first.
        let merge = service.as_object_mut().unwrap().remove("<<");
        assert_eq!(merge, Some(hardened.clone()), "{name}");
        for (key, value) in hardened.as_object().unwrap() {
            service.as_object_mut().unwrap().entry(key).or_insert_with(|| value.clone());
        }
        (name, service)
    });
    merged.collect()
}

#[test]
fn the_gateway_is_as_strict_as_the_reference() {
    let (mut reference, mut composed) = (reference(), composed());
    // Each has its own memory: that of the container is its `mem_limit`.
    let heap = "/overload_manager/resource_monitors/0/typed_config/max_heap_size_bytes";
    let limit = services().into_iter().find(|(name, _)| name == "gateway").unwrap().1["mem_limit"].clone();
    assert_eq!(limit, "512m");
    assert!(composed.pointer(heap).unwrap().as_u64().unwrap() <= 400 << 20);
    *composed.pointer_mut(heap).unwrap() = reference.pointer(heap).unwrap().clone();
    for part in ["stats_config", "overload_manager"] {
        assert_eq!(reference[part], composed[part], "{part}");
    }
    let chain = "/static_resources/listeners/0/filter_chains/0";
    for part in ["transport_socket", "transport_socket_connect_timeout"] {
        let place = format!("{chain}/{part}");
        assert_eq!(reference.pointer(&place).unwrap(), composed.pointer(&place).unwrap(), "{part}");
    }
    let manager = format!("{chain}/filters/0/typed_config");
    for config in [&mut reference, &mut composed] {
        let manager = config.pointer_mut(&manager).unwrap().as_object_mut().unwrap();
        // What is rightly of its own.
        for part in ["access_log", "http_filters", "route_config"] {
            manager.remove(part).unwrap();
        }
    }
    assert_eq!(reference.pointer(&manager), composed.pointer(&manager));
    let buffer = "/static_resources/listeners/0/per_connection_buffer_limit_bytes";
    assert_eq!(reference.pointer(buffer), composed.pointer(buffer));
}

#[test]
fn the_gateway_trusts_and_bounds_its_services_as_the_reference_does() {
    let (reference, composed) = (reference(), composed());
    let clusters = |config: &Value| config["static_resources"]["clusters"].as_array().unwrap().clone();
    for cluster in clusters(&reference) {
        let name = &cluster["name"];
        let same = clusters(&composed).into_iter().find(|other| other["name"] == *name).unwrap();
        for part in ["connect_timeout", "circuit_breakers", "outlier_detection", "common_lb_config", "transport_socket"]
            .into_iter()
            .chain(["upstream_connection_options", "typed_extension_protocol_options"])
        {
            assert_eq!(cluster[part], same[part], "{name} {part}");
        }
    }
}

#[test]
fn its_configuration_has_nothing_to_find() {
    let mut check = Command::new(paths::tool().unwrap());
    let output = check.current_dir(paths::root()).args(["check", "--strict", "compose/gateway/envoy.yaml"]).output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn the_compose_specification_takes_the_files() {
    let Some(schema) = SCHEMAS.path("check_jsonschema/builtin_schemas/vendor/compose-spec.json") else { return };
    let schema: Value = serde_json::from_slice(&std::fs::read(schema).unwrap()).unwrap();
    let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
    compiler.set_default_draft(Draft::V7);
    compiler.add_resource("compose-spec.json", schema).unwrap();
    let schema = compiler.compile("compose-spec.json", &mut schemas).unwrap();
    for file in ["compose/compose.yaml", "compose/local/compose.yaml"] {
        let mut compose = config::load(&paths::root().join(file)).unwrap();
        // YAML's own merge key: Compose resolves it before it looks.
        for service in compose["services"].as_object_mut().unwrap().values_mut() {
            let Some(Value::Object(merged)) = service.as_object_mut().unwrap().remove("<<") else { continue };
            for (key, value) in merged {
                service.as_object_mut().unwrap().entry(key).or_insert(value);
            }
        }
        let valid = schemas.validate(&compose, schema);
        assert!(valid.is_ok(), "{file}: {:#}", valid.unwrap_err());
        let (_, service) = compose["services"].as_object_mut().unwrap().iter_mut().next().unwrap();
        service["capdrop"] = json!(["ALL"]);
        assert!(schemas.validate(&compose, schema).is_err(), "the schema takes anything");
    }
}

#[test]
fn one_port_is_published_and_on_loopback_unless_said_otherwise() {
    let published: Vec<_> = services().into_iter().filter(|(_, service)| service.get("ports").is_some()).collect();
    assert_eq!(published.len(), 1);
    let (name, service) = &published[0];
    assert_eq!(name, "gateway");
    assert_eq!(service["ports"], json!(["${PORTCULLIS_ADDRESS:-127.0.0.1}:${PORTCULLIS_PORT:-8443}:8443"]));
}

#[test]
fn all_but_the_gateway_are_on_the_network_without_a_way_out() {
    let compose = config::load(&paths::root().join("compose/compose.yaml")).unwrap();
    assert_eq!(compose["networks"]["private"]["internal"], true);
    for (name, service) in services() {
        match name.as_str() {
            "gateway" => assert!(service["networks"].get("public").is_some()),
            "keys" => assert_eq!(service["network_mode"], "none"),
            _ => assert_eq!(service["networks"], json!(["private"]), "{name}"),
        }
    }
}

#[test]
fn every_container_is_bounded_and_has_nothing_to_break_out_with() {
    let all = services();
    assert!(all.len() >= 8);
    for (name, service) in all {
        assert_eq!(service["read_only"], true, "{name}");
        assert_eq!(service["cap_drop"], json!(["ALL"]), "{name}");
        assert_eq!(service["security_opt"], json!(["no-new-privileges:true"]), "{name}");
        assert!(service.get("privileged").is_none() && service.get("cap_add").is_none(), "{name}");
        let (user, group) = service["user"].as_str().unwrap().split_once(':').unwrap();
        assert!(user != "0" && group != "0", "{name}");
        for bound in ["mem_limit", "cpus", "pids_limit"] {
            assert!(service.get(bound).is_some(), "{name}: {bound}");
        }
        let environment = service.get("environment").and_then(Value::as_object).cloned().unwrap_or_default();
        let secret = |(key, value): (&String, &Value)| {
            key.contains("PASSWORD") && !value.as_str().is_some_and(|value| value.starts_with("/run/keys/"))
        };
        assert!(!environment.iter().any(secret), "{name}: a secret is in a file, not in the environment");
    }
}

#[test]
fn every_image_has_a_version() {
    let text = std::fs::read_to_string(paths::root().join("compose/compose.yaml")).unwrap();
    let defaults: Vec<&str> = text.split(":-").skip(1).filter_map(|rest| rest.split('}').next()).collect();
    let images: Vec<&str> = defaults.into_iter().filter(|default| default.contains(':')).collect();
    assert!(images.len() >= 5, "{images:?}");
    assert!(images.iter().all(|image| !image.ends_with(":latest")), "{images:?}");
}
