//! What is linked into the module, as a CycloneDX bill of materials.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::hex;

/// A package: name and version.
pub type Package = (String, String);

/// The packages that are linked into the module, with their licences and what each needs.
///
/// From `cargo tree --edges normal,no-proc-macro --prefix depth --format '{p}|{l}'` for the module's package and target:
/// unlike `cargo metadata`, it leaves out what only another target or another package of the workspace turns on.
#[derive(Debug, Default)]
pub struct Tree {
    root: Option<Package>,
    licences: BTreeMap<Package, String>,
    needs: BTreeMap<Package, BTreeSet<Package>>,
}

impl Tree {
    /// Reads what `cargo tree` printed. Where a package comes again, its own line has all that it needs.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut tree = Self::default();
        let mut above: Vec<Package> = Vec::new();
        for line in text.lines().filter(|line| !line.is_empty()) {
            let odd = || format!("not a line of cargo tree: {line:?}");
            let name_at = line.find(|c: char| !c.is_ascii_digit()).ok_or_else(odd)?;
            let (depth, rest) = line.split_at_checked(name_at).ok_or_else(odd)?;
            let depth: usize = depth.parse().map_err(|_| odd())?;
            let (package, licence) = rest.split_once('|').ok_or_else(odd)?;
            let mut words = package.split(' ');
            let (name, version) = (words.next().ok_or_else(odd)?, words.next().ok_or_else(odd)?);
            let version = version.strip_prefix('v').ok_or_else(odd)?;
            let package = (name.to_owned(), version.to_owned());
            let licence = licence.strip_suffix(" (*)").unwrap_or(licence);
            // An old way to write a choice.
            tree.licences.insert(package.clone(), licence.replace('/', " OR "));
            tree.needs.entry(package.clone()).or_default();
            above.truncate(depth);
            if let Some(parent) = above.last() {
                tree.needs.entry(parent.clone()).or_default().insert(package.clone());
            } else if tree.root.replace(package.clone()).is_some() {
                return Err(format!("a second root: {line:?}"));
            }
            above.push(package);
        }
        tree.root.is_some().then_some(tree).ok_or_else(|| "an empty tree".to_owned())
    }
}

/// The checksums of Cargo.lock: SHA-256 of the sources that the registry gave. Packages of this repository have none.
pub fn checksums(lock: &str) -> BTreeMap<Package, String> {
    lock.split("[[package]]").filter_map(entry).collect()
}

fn entry(block: &str) -> Option<(Package, String)> {
    let value = |key: &str| {
        block
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix(" = \"")?.strip_suffix('"'))
            .map(str::to_owned)
    };
    Some(((value("name")?, value("version")?), value("checksum")?))
}

/// The bill of materials of `module` in CycloneDX 1.6. There is no time in it: the same module has the same bill.
pub fn bill(tree: &Tree, checksums: &BTreeMap<Package, String>, module: &[u8], version: &str, rust: &str) -> Value {
    let is_root = |package: &Package| tree.root.as_ref() == Some(package);
    let others = tree.licences.iter().filter(|(package, _)| !is_root(package));
    let mut components: Vec<Value> =
        others.map(|(package, licence)| component(package, licence, checksums.get(package))).collect();
    let standard_library = ("std".to_owned(), rust.to_owned());
    components.push(component(&standard_library, "MIT OR Apache-2.0", None));

    let mut dependencies = vec![json!({"ref": reference(&standard_library)})];
    for (package, needs) in &tree.needs {
        let needs: Vec<String> = needs.iter().chain([&standard_library]).map(reference).collect();
        let of = if is_root(package) { "portcullis.wasm".to_owned() } else { reference(package) };
        dependencies.push(json!({"ref": of, "dependsOn": needs}));
    }
    let digest = hex(module);
    json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": format!("urn:uuid:{}", uuid(&digest)),
        "version": 1,
        "metadata": {
            "component": {
                "bom-ref": "portcullis.wasm",
                "type": "application",
                "name": "portcullis",
                "version": version,
                "licenses": [{"expression": "Apache-2.0"}],
                "hashes": [{"alg": "SHA-256", "content": digest}],
            },
        },
        "components": components,
        "dependencies": dependencies,
    })
}

fn component((name, version): &Package, licence: &str, checksum: Option<&String>) -> Value {
    let mut component = json!({
        "bom-ref": reference(&(name.clone(), version.clone())),
        "type": "library",
        "name": name,
        "version": version,
        "licenses": [{"expression": licence}],
    });
    if let (Some(component), Some(checksum)) = (component.as_object_mut(), checksum) {
        component.insert("hashes".to_owned(), json!([{"alg": "SHA-256", "content": checksum}]));
        // A plus sign, as in `0.11.1+wasi`, stands for itself only when encoded (package URL specification).
        component.insert("purl".to_owned(), json!(format!("pkg:cargo/{name}@{}", version.replace('+', "%2B"))));
    }
    component
}

fn reference((name, version): &Package) -> String {
    format!("{name}@{version}")
}

/// A UUID of version 8 (RFC 9562, 5.8) out of a digest in hexadecimal.
fn uuid(digest: &str) -> String {
    let mut digits = digest.chars();
    let mut take = |count: usize| digits.by_ref().take(count).collect::<String>();
    format!("{}-{}-8{}-a{}-{}", take(8), take(4), take(3), take(3), take(12))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TREE: &str =
        "0root v1.0.0 (/somewhere/root)|Apache-2.0\n1a v0.1.0|MIT/Apache-2.0\n2b v2.0.0+x|MIT\n1b v2.0.0+x|MIT (*)\n";
    const LOCK: &str = "version = 4\n\n[[package]]\nname = \"a\"\nversion = \"0.1.0\"\nsource = \"registry\"\nchecksum = \"00ff\"\n\
                        dependencies = [\n \"b\",\n]\n\n[[package]]\nname = \"root\"\nversion = \"1.0.0\"\n";

    fn made() -> Value {
        bill(&Tree::parse(TREE).unwrap_or_default(), &checksums(LOCK), b"module", "1.0.0", "1.90.0")
    }

    #[test]
    fn each_package_stands_once_with_licence_and_checksum() {
        let bill = made();
        let names: Vec<_> = bill.pointer("/components").and_then(Value::as_array).into_iter().flatten().collect();
        assert_eq!(names.len(), 3, "{bill:#}");
        assert_eq!(bill.pointer("/components/0/licenses/0/expression"), Some(&json!("MIT OR Apache-2.0")));
        assert_eq!(bill.pointer("/components/0/hashes/0/content"), Some(&json!("00ff")));
        assert_eq!(bill.pointer("/components/2/bom-ref"), Some(&json!("std@1.90.0")));
        assert_eq!(bill.pointer("/components/1/hashes"), None);
        assert!(!bill.to_string().contains("somewhere"), "{bill:#}");
    }

    #[test]
    fn what_needs_what_is_told() {
        let bill = made();
        let of = |name: &str| {
            let all = bill.get("dependencies").and_then(Value::as_array).cloned().unwrap_or_default();
            all.into_iter()
                .find(|entry| entry.get("ref") == Some(&json!(name)))
                .and_then(|entry| entry.get("dependsOn").cloned())
        };
        assert_eq!(of("portcullis.wasm"), Some(json!(["a@0.1.0", "b@2.0.0+x", "std@1.90.0"])));
        assert_eq!(of("a@0.1.0"), Some(json!(["b@2.0.0+x", "std@1.90.0"])));
        assert_eq!(of("b@2.0.0+x"), Some(json!(["std@1.90.0"])));
    }

    #[test]
    fn anything_else_is_no_tree() {
        for text in
            ["", "root v1.0.0|MIT", "0root|MIT", "0root v1.0.0", "0root 1.0.0|MIT", "0a v1.0.0|MIT\n0b v1.0.0|MIT"]
        {
            assert!(Tree::parse(text).is_err(), "{text:?}");
        }
    }
}
