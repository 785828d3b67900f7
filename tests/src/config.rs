//! Envoy configurations as data: the reference gateway read from `envoy.yaml`, with ports and paths changed.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

/// The name of the filter in a chain of HTTP filters.
pub const FILTER: &str = "portcullis";

/// Reads an Envoy configuration in YAML or JSON.
///
/// # Errors
/// No such file, or not YAML: with the line.
pub fn load(path: &Path) -> Result<Value> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_norway::from_str(&text).with_context(|| format!("{} is not valid YAML", path.display()))
}

/// Replaces every port that `ports` names, in listeners, clusters and redirects.
pub fn set_ports(config: &mut Value, ports: &BTreeMap<u16, u16>) {
    walk(config, &mut |value| {
        let Some(object) = value.as_object_mut() else { return };
        for name in ["port_value", "port_redirect"] {
            let Some(port) = object.get_mut(name) else { continue };
            let new = port.as_u64().and_then(|old| u16::try_from(old).ok()).and_then(|old| ports.get(&old));
            if let Some(new) = new {
                *port = json!(new);
            }
        }
    });
}

/// Replaces `old` by `new` where a path of the configuration starts with it.
pub fn set_directory(config: &mut Value, old: &str, new: &Path) {
    walk(config, &mut |value| {
        let Some(rest) = value.as_str().and_then(|text| text.strip_prefix(old)) else { return };
        *value = json!(format!("{}{rest}", new.display()));
    });
}

/// The filter's own configuration, as the file has it; `None` where no chain has the filter.
pub fn filter_configuration(config: &Value) -> Option<Value> {
    let mut found = None;
    walk(&mut config.clone(), &mut |value| {
        if is_filter(value) {
            found = value.pointer("/typed_config/config/configuration/value").cloned();
        }
    });
    found
}

/// Changes the filter's own configuration in every chain that has it.
pub fn change_filter(config: &mut Value, change: &mut dyn FnMut(&mut Value)) {
    walk(config, &mut |value| {
        if is_filter(value)
            && let Some(configuration) = value.pointer_mut("/typed_config/config/configuration/value")
        {
            change(configuration);
        }
    });
}

/// Uses the module at `path`.
pub fn set_module(config: &mut Value, path: &Path) {
    walk(config, &mut |value| {
        if is_filter(value)
            && let Some(filename) = value.pointer_mut("/typed_config/config/vm_config/code/local/filename")
        {
            *filename = json!(path);
        }
    });
}

/// Takes the filter out of every chain: the bare proxy, to compare with.
pub fn without_filter(config: &mut Value) {
    walk(config, &mut |value| {
        if let Some(filters) = value.get_mut("http_filters").and_then(Value::as_array_mut) {
            filters.retain(|filter| !is_filter(filter));
        }
    });
}

fn is_filter(value: &Value) -> bool {
    value.get("name").and_then(Value::as_str) == Some(FILTER) && value.pointer("/typed_config/config").is_some()
}

/// Calls `visit` on every value, the outer ones first.
fn walk(value: &mut Value, visit: &mut dyn FnMut(&mut Value)) {
    visit(value);
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| walk(item, visit)),
        Value::Object(members) => members.values_mut().for_each(|member| walk(member, visit)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference() -> Value {
        load(&crate::paths::root().join("envoy.yaml")).unwrap()
    }

    #[test]
    fn every_port_of_the_reference_gateway_can_be_changed() {
        let mut config = reference();
        let ports = crate::reference::Ports::REFERENCE.all();
        set_ports(&mut config, &ports.iter().map(|&port| (port, 7)).collect());
        let mut seen = Vec::new();
        walk(&mut config, &mut |value| seen.extend(value.get("port_value").and_then(Value::as_u64)));
        assert!(seen.len() >= 6 && seen.iter().all(|&port| port == 7), "{seen:?}");
    }

    #[test]
    fn the_filter_can_be_found_changed_and_taken_out() {
        let mut config = reference();
        assert_eq!(filter_configuration(&config).unwrap()["mode"], "enforce");
        change_filter(&mut config, &mut |configuration| configuration["mode"] = json!("monitor"));
        assert_eq!(filter_configuration(&config).unwrap()["mode"], "monitor");
        without_filter(&mut config);
        assert_eq!(filter_configuration(&config), None);
    }
}
