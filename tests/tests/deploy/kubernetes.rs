//! The manifests for a plain Kubernetes.

use std::path::Path;
use std::process::Command;

use boon::{Compiler, Schemas};
use portcullis_tests::elsewhere::{Package, Packed};
use portcullis_tests::paths::WorkDir;
use portcullis_tests::pki::Pki;
use portcullis_tests::{config, paths};
use serde_json::{Value, json};

use crate::{documents, text};

/// Each version's schemas.
const SCHEMAS: Package =
    Package { name: "kubernetes_validate", version: "1.37.0", packed: Packed::Wheel, carries: "schemas of Kubernetes" };
/// The versions of Kubernetes that the manifests are held to.
const KUBERNETES: [&str; 2] = ["v1.32.0-local-strict", "v1.36.0-local-strict"];

/// The address by which the schemas name what they share.
const DEFINITIONS: &str = "https://kubernetes.io/api/_definitions.json";
const SCHEMA: &str = "https://kubernetes.io/api/schema.json";

const FILES: [&str; 3] = ["kubernetes/namespace.yaml", "kubernetes/gateway.yaml", "kubernetes/network-policies.yaml"];

fn manifests() -> Vec<Value> {
    FILES.into_iter().flat_map(documents).collect()
}

fn named(kind: &str, name: &str) -> Value {
    let is_it = |manifest: &Value| manifest["kind"] == kind && manifest["metadata"]["name"] == name;
    manifests().into_iter().find(is_it).unwrap()
}

fn read(file: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

#[test]
fn kubernetes_schemas_take_every_manifest() {
    let Some(dir) = SCHEMAS.path("kubernetes_validate/kubernetes-json-schema") else { return };
    for version in KUBERNETES {
        for manifest in manifests() {
            // Such as deployment-apps-v1: kind, the group's first word, version.
            let api = manifest["apiVersion"].as_str().unwrap();
            let api = api.split_once('/').map_or_else(
                || api.to_owned(),
                |(group, version)| format!("{}-{version}", group.split('.').next().unwrap()),
            );
            let kind = manifest["kind"].as_str().unwrap();
            let file = dir.join(version).join(format!("{}-{api}.json", kind.to_lowercase()));
            assert!(file.is_file(), "no schema {}", file.display());
            let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
            compiler.add_resource(DEFINITIONS, read(&dir.join(version).join("_definitions.json"))).unwrap();
            compiler.add_resource(SCHEMA, read(&file)).unwrap();
            let schema = compiler.compile(SCHEMA, &mut schemas).unwrap();
            let valid = schemas.validate(&manifest, schema);
            assert!(valid.is_ok(), "{version} {kind}: {:#}", valid.unwrap_err());
            let mut wrong = manifest.clone();
            wrong["metadatas"] = json!({});
            assert!(schemas.validate(&wrong, schema).is_err(), "{kind}: the schema takes anything");
        }
    }
}

#[test]
fn the_gateway_has_no_more_rights_than_it_needs() {
    let deployment = named("Deployment", "gateway");
    let pod = &deployment["spec"]["template"]["spec"];
    assert_eq!(pod["automountServiceAccountToken"], false);
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    assert!(pod.get("hostNetwork").is_none() && pod.get("hostPID").is_none());
    let container = &pod["containers"][0];
    let expected = json!({
        "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]},
    });
    assert_eq!(container["securityContext"], expected);
    for part in ["startupProbe", "readinessProbe", "livenessProbe"] {
        assert!(container[part].is_object(), "{part}");
    }
    for amount in ["cpu", "memory"] {
        assert!(container["resources"]["limits"][amount].is_string(), "{amount}");
        assert!(container["resources"]["requests"][amount].is_string(), "{amount}");
    }
    for mount in container["volumeMounts"].as_array().unwrap() {
        assert_eq!(mount["readOnly"], true, "{mount}");
    }
    assert_eq!(named("Service", "gateway")["spec"]["externalTrafficPolicy"], "Local");
    let restricted = &named("Namespace", "portcullis")["metadata"]["labels"]["pod-security.kubernetes.io/enforce"];
    assert_eq!(restricted, "restricted");
}

#[test]
fn only_the_gateway_reaches_the_services() {
    let nothing = named("NetworkPolicy", "nothing");
    assert_eq!(nothing["spec"], json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}));
    let services = named("NetworkPolicy", "services");
    let from = json!([{"from": [{"podSelector": {"matchLabels": {"app": "gateway"}}}], "ports": [{"protocol": "TCP", "port": 8443}]}]);
    assert_eq!(services["spec"]["ingress"], from);
    let named_there = &services["spec"]["podSelector"]["matchExpressions"][0]["values"];
    // Every cluster of the gateway is one of them, but for the collector of traces that everybody brings; nothing else opens them.
    let envoy = envoy();
    let clusters = envoy["static_resources"]["clusters"].as_array().unwrap().iter();
    let has_endpoints = |cluster: &&Value| cluster["load_assignment"].get("endpoints").is_some();
    let clusters: Vec<&Value> = clusters.filter(has_endpoints).map(|one| &one["name"]).collect();
    assert_eq!(named_there, &json!(clusters));
    let opening =
        manifests().into_iter().filter(|one| one["kind"] == "NetworkPolicy" && one["spec"].get("ingress").is_some());
    assert_eq!(opening.count(), 2);
    let gateway = named("NetworkPolicy", "gateway");
    assert_eq!(gateway["spec"]["ingress"], json!([{"ports": [{"protocol": "TCP", "port": 8443}]}]));
}

fn envoy() -> Value {
    config::load(&paths::root().join("docs/deploy/kubernetes/envoy.yaml")).unwrap()
}

#[test]
fn its_envoy_is_as_strict_as_the_reference() {
    let mut reference = config::load(&paths::root().join("envoy.yaml")).unwrap();
    config::set_directory(&mut reference, "target/demo/pki/sds", Path::new("/etc/envoy/sds"));
    config::set_directory(&mut reference, "target", Path::new("/etc/envoy"));
    let mut ours = envoy();
    // Its memory is what the container has, and less than that.
    let heap = "/overload_manager/resource_monitors/0/typed_config/max_heap_size_bytes";
    let limit =
        named("Deployment", "gateway")["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"]
            .clone();
    assert_eq!(limit, "1Gi");
    assert!(ours.pointer(heap).unwrap().as_u64().unwrap() < 1 << 30);
    *ours.pointer_mut(heap).unwrap() = reference.pointer(heap).unwrap().clone();
    for part in ["/stats_config", "/overload_manager", "/static_resources/listeners/0/filter_chains"] {
        assert_eq!(reference.pointer(part).unwrap(), ours.pointer(part).unwrap(), "{part}");
    }
    assert_eq!(ours["admin"], reference["admin"]);
    let clusters = |config: &Value| config["static_resources"]["clusters"].as_array().unwrap().clone();
    assert_eq!(clusters(&ours).len(), clusters(&reference).len());
    for (theirs, mut ours) in clusters(&reference).into_iter().zip(clusters(&ours)) {
        // What is rightly of its own.
        for part in ["type", "dns_lookup_family", "dns_refresh_rate", "load_assignment"] {
            ours.as_object_mut().unwrap().remove(part);
        }
        for (part, value) in ours.as_object().unwrap() {
            assert_eq!(&theirs[part], value, "{} {part}", theirs["name"]);
        }
    }
    let check = Command::new(paths::tool().unwrap())
        .current_dir(paths::root())
        .args(["check", "--strict", "docs/deploy/kubernetes/envoy.yaml"])
        .output()
        .unwrap();
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
}

#[test]
fn the_real_envoy_takes_its_configuration() {
    let dir = WorkDir::create("kubernetes").unwrap();
    let pki = Pki::load_or_create(&dir.path().join("pki")).unwrap();
    let mut envoy = envoy();
    config::set_directory(&mut envoy, "/etc/envoy/sds", &pki.directory().join("sds"));
    config::set_module(&mut envoy, &paths::module().unwrap());
    let file = dir.path().join("envoy.yaml");
    std::fs::write(&file, envoy.to_string()).unwrap();
    let arguments = ["--mode", "validate", "--disable-hot-restart", "-c", file.to_str().unwrap()];
    let output = Command::new(paths::envoy().unwrap()).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn every_file_that_is_named_is_there() {
    let kustomization = documents("kubernetes/kustomization.yaml").remove(0);
    let generated = kustomization["configMapGenerator"].as_array().unwrap();
    let files = generated.iter().flat_map(|map| map["files"].as_array().unwrap());
    for file in files.chain(kustomization["resources"].as_array().unwrap()) {
        assert!(!text(&format!("kubernetes/{}", file.as_str().unwrap())).is_empty());
    }
    // Each key that Envoy is told to read is in a volume of that place.
    let deployment = named("Deployment", "gateway").to_string();
    for (name, mount) in [("authority", "authority"), ("edge", "edge"), ("gateway", "gateway")] {
        let secret = text(&format!("kubernetes/sds/{name}.yaml"));
        let place = format!("/run/keys/{mount}");
        assert!(secret.contains(&format!("watched_directory: {{path: {place}}}")), "{name}");
        assert!(deployment.contains(&format!("\"{place}\"")), "{name}");
        assert!(envoy().to_string().contains(&format!("/etc/envoy/sds/{name}.yaml")), "{name}");
    }
    for map in generated {
        assert!(deployment.contains(map["name"].as_str().unwrap()), "{map}");
    }
}

#[test]
fn the_image_has_the_envoy_that_is_tested() {
    let setup = std::fs::read_to_string(paths::root().join("scripts/setup")).unwrap();
    let version = setup.lines().find_map(|line| line.strip_prefix("envoy_version=")).unwrap();
    assert!(text("kubernetes/Dockerfile").contains(&format!("FROM envoyproxy/envoy:distroless-v{version}\n")));
}
