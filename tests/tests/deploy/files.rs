//! What the files say, without a host.

use std::collections::BTreeSet;
use std::process::Command;

use portcullis_tests::paths::{self, WorkDir};
use serde_json::{Value, json};

use crate::{configuration, directory, documents, text};

/// The filter's configuration within nginx's: the one text in single quotes.
fn of_nginx() -> Value {
    let text = text("nginx.conf");
    let (_, rest) = text.split_once("proxy_wasm portcullis '").unwrap();
    serde_json::from_str(rest.split_once('\'').unwrap().0).unwrap()
}

#[test]
fn the_filters_configurations_have_nothing_to_find() {
    let dir = WorkDir::create("deploy").unwrap();
    let configurations = [
        ("istio", configuration("istio.yaml")),
        ("envoy-gateway", configuration("envoy-gateway.yaml")),
        ("nginx", of_nginx()),
    ];
    for (host, configuration) in configurations {
        let file = dir.path().join(format!("{host}.json"));
        std::fs::write(&file, configuration.to_string()).unwrap();
        let check = Command::new(paths::tool().unwrap()).args(["check", "--strict"]).arg(&file).output().unwrap();
        assert!(check.status.success(), "{host}: {}", String::from_utf8_lossy(&check.stdout));
    }
}

#[test]
fn no_rule_reads_a_body_where_the_host_cannot_hold_the_head_back() {
    for configuration in [configuration("istio.yaml"), configuration("envoy-gateway.yaml"), of_nginx()] {
        assert_eq!(configuration["defaults"].get("payload"), None);
        for rule in configuration["rules"].as_array().unwrap() {
            let without_body = rule["match"]["methods"] == json!(["GET", "HEAD"]);
            assert!(without_body || rule.get("payload").is_none(), "{rule}");
            assert!(rule.get("input").is_none() && rule.get("serve").is_none(), "{rule}");
        }
    }
}

/// Members as the hosts' API references name them: no registry that is at hand carries the schemas of these resources.
#[test]
fn the_resources_have_the_members_that_their_hosts_know() {
    let members = |value: &Value| -> BTreeSet<String> { value.as_object().unwrap().keys().cloned().collect() };
    let known = |names: &[&str]| -> BTreeSet<String> { names.iter().map(|name| (*name).to_owned()).collect() };

    let istio = documents("istio.yaml").remove(0);
    assert_eq!(istio["apiVersion"], "extensions.istio.io/v1alpha1");
    let spec = ["selector", "url", "imagePullSecret", "pluginName", "phase", "failStrategy", "pluginConfig"];
    assert_eq!(members(&istio["spec"]), known(&spec));
    assert!(["FAIL_CLOSE", "FAIL_RELOAD"].contains(&istio["spec"]["failStrategy"].as_str().unwrap()));
    assert!(istio["spec"]["url"].as_str().unwrap().contains("@sha256:"));

    let gateway = documents("envoy-gateway.yaml");
    assert_eq!(gateway[0]["apiVersion"], "gateway.envoyproxy.io/v1alpha1");
    assert_eq!(members(&gateway[0]["spec"]), known(&["targetRefs", "wasm"]));
    let wasm = &gateway[0]["spec"]["wasm"][0];
    assert_eq!(members(wasm), known(&["name", "rootID", "code", "failOpen", "config"]));
    assert_eq!(wasm["failOpen"], false);
    assert_eq!(members(&wasm["code"]), known(&["type", "image"]));
    assert!(wasm["code"]["image"]["url"].as_str().unwrap().contains("@sha256:"));
    // The cluster that the filter asks for keys is the one that the route below makes.
    let route = &gateway[1]["metadata"];
    let cluster =
        format!("httproute/{}/{}/rule/0", route["namespace"].as_str().unwrap(), route["name"].as_str().unwrap());
    assert_eq!(wasm["config"]["providers"]["corp"]["jwks"]["cluster"], cluster);
}

#[test]
fn the_page_names_every_file() {
    let page = std::fs::read_to_string(paths::root().join("docs/deploy.md")).unwrap();
    for entry in std::fs::read_dir(directory()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(page.contains(&format!("deploy/{name}")), "docs/deploy.md says nothing of {name}");
    }
}
