//! What `scripts/package` makes of the built module: looked at with programs and schemas that are not ours.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

use boon::{Compiler, Draft, Schemas};
use portcullis_tests::elsewhere::{self, Packed};
use portcullis_tests::paths::{self, WorkDir};
use ring::digest;
use serde_json::{Value, json};

/// The schemas of CycloneDX and the list of licences.
const SCHEMAS: elsewhere::Package = elsewhere::Package {
    name: "cyclonedx_python_lib",
    version: "11.12.0",
    packed: Packed::Wheel,
    carries: "schemas of CycloneDX",
};

struct Package {
    dir: WorkDir,
    module: Vec<u8>,
    said: String,
}

static PACKAGE: LazyLock<Package> = LazyLock::new(|| {
    let dir = WorkDir::create("package").unwrap();
    let output = package(&paths::module().unwrap(), dir.path());
    let module = std::fs::read(paths::module().unwrap()).unwrap();
    Package { dir, module, said: output }
});

impl Package {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&std::fs::read(self.path(name)).unwrap()).unwrap()
    }

    /// The image layout, unpacked by tar.
    fn layout(&self) -> PathBuf {
        static LAYOUT: LazyLock<PathBuf> = LazyLock::new(|| {
            let layout = PACKAGE.path("layout");
            std::fs::create_dir_all(&layout).unwrap();
            run("tar", &["xf", PACKAGE.path("portcullis.oci.tar").to_str().unwrap(), "-C", layout.to_str().unwrap()]);
            layout
        });
        LAYOUT.clone()
    }

    /// The blob that a descriptor names: of its size and digest, or the test ends.
    fn blob(&self, descriptor: &Value) -> Vec<u8> {
        let digest = descriptor["digest"].as_str().unwrap();
        let blob = std::fs::read(self.layout().join("blobs").join(digest.replace(':', "/"))).unwrap();
        assert_eq!(format!("sha256:{}", sha256(&blob)), digest);
        assert_eq!(descriptor["size"], blob.len());
        blob
    }

    fn manifest(&self) -> Value {
        let index: Value = serde_json::from_slice(&std::fs::read(self.layout().join("index.json")).unwrap()).unwrap();
        let manifests = index["manifests"].as_array().unwrap();
        assert_eq!(manifests.len(), 1);
        serde_json::from_slice(&self.blob(&manifests[0])).unwrap()
    }
}

fn package(module: &Path, out: &Path) -> String {
    let mut script = Command::new(paths::root().join("scripts/package"));
    script.env("PORTCULLIS_WASM", module).arg("--out").arg(out);
    let output = script.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn run(program: &str, arguments: &[&str]) -> Output {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

fn sha256(bytes: &[u8]) -> String {
    digest::digest(&digest::SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_checksums_are_those_of_the_files() {
    let check = Command::new("sha256sum").args(["--check", "SHA256SUMS"]).current_dir(PACKAGE.dir.path()).output();
    let check = check.unwrap();
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));
    assert_eq!(String::from_utf8(check.stdout).unwrap().lines().count(), 3);
    assert_eq!(std::fs::read(PACKAGE.path("portcullis.wasm")).unwrap(), PACKAGE.module);
}

#[test]
fn the_image_is_one_layer_with_the_module_and_nothing_else() {
    let manifest = PACKAGE.manifest();
    assert_eq!(manifest["mediaType"], "application/vnd.oci.image.manifest.v1+json");
    assert_eq!(manifest["annotations"]["module.wasm.image/variant"], "compat");
    assert_eq!(manifest["config"]["mediaType"], "application/vnd.oci.image.config.v1+json");
    let layers = manifest["layers"].as_array().unwrap();
    assert_eq!(layers.len(), 1);
    assert_eq!(layers[0]["mediaType"], "application/vnd.oci.image.layer.v1.tar+gzip");
    let layer = PACKAGE.path("layer.tar.gz");
    std::fs::write(&layer, PACKAGE.blob(&layers[0])).unwrap();
    let layer = layer.to_str().unwrap();
    let listed = run("tar", &["--utc", "--numeric-owner", "-tvzf", layer]).stdout;
    let listed = String::from_utf8(listed).unwrap();
    let words: Vec<&str> = listed.split_whitespace().collect();
    let size = PACKAGE.module.len().to_string();
    assert_eq!(words, ["-rw-r--r--", "0/0", &size, "1970-01-01", "00:00", "plugin.wasm"]);
    assert!(run("tar", &["-xzOf", layer, "plugin.wasm"]).stdout == PACKAGE.module);
    let config: Value = serde_json::from_slice(&PACKAGE.blob(&manifest["config"])).unwrap();
    let plain = sha256(&run("gzip", &["-dc", layer]).stdout);
    assert_eq!(config["rootfs"], json!({"type": "layers", "diff_ids": [format!("sha256:{plain}")]}));
    let layout = std::fs::read_to_string(PACKAGE.layout().join("oci-layout")).unwrap();
    assert_eq!(layout, r#"{"imageLayoutVersion":"1.0.0"}"#);
}

#[test]
fn the_same_module_makes_the_same_bytes() {
    let again = WorkDir::create("package-again").unwrap();
    // Another name, another time.
    let copy = again.path().join("copy.wasm");
    std::fs::write(&copy, &PACKAGE.module).unwrap();
    let said = package(&copy, again.path());
    for name in ["portcullis.oci.tar", "portcullis.cdx.json", "SHA256SUMS"] {
        let (one, other) =
            (std::fs::read(PACKAGE.path(name)).unwrap(), std::fs::read(again.path().join(name)).unwrap());
        assert!(one == other, "{name} differs");
    }
    assert_eq!(PACKAGE.said.lines().last(), said.lines().last());
    std::fs::write(&copy, [&PACKAGE.module[..], b"\0\x01\0"].concat()).unwrap();
    assert_ne!(PACKAGE.said.lines().last(), package(&copy, again.path()).lines().last());
}

#[test]
fn a_registry_client_takes_it() {
    if !Command::new("skopeo").arg("--version").output().is_ok_and(|output| output.status.success()) {
        elsewhere::skipped("skopeo, the registry client (scripts/setup --with-skopeo)");
        return;
    }
    let image = format!("oci-archive:{}", PACKAGE.path("portcullis.oci.tar").display());
    let seen: Value = serde_json::from_slice(&run("skopeo", &["inspect", &image]).stdout).unwrap();
    assert_eq!(PACKAGE.said.lines().last(), Some(format!("image: {}", seen["Digest"].as_str().unwrap()).as_str()));
    assert_eq!(seen["Layers"].as_array().unwrap().len(), 1);
    // As it does on the way to a registry: every blob is read and compared with its digest.
    let copy = PACKAGE.path("copy");
    run("skopeo", &["--insecure-policy", "copy", "--preserve-digests", &image, &format!("dir:{}", copy.display())]);
    let manifest: Value = serde_json::from_slice(&std::fs::read(copy.join("manifest.json")).unwrap()).unwrap();
    assert_eq!(manifest, PACKAGE.manifest());
}

#[test]
fn the_bill_of_materials_is_of_the_module_and_of_all_that_is_in_it() {
    let bill = PACKAGE.json("portcullis.cdx.json");
    let itself = &bill["metadata"]["component"];
    assert_eq!(itself["hashes"], json!([{"alg": "SHA-256", "content": sha256(&PACKAGE.module)}]));
    let lock = std::fs::read_to_string(paths::root().join("Cargo.lock")).unwrap();
    let components = bill["components"].as_array().unwrap();
    let names: BTreeSet<&str> = components.iter().map(|one| one["name"].as_str().unwrap()).collect();
    for linked in
        ["portcullis-engine", "portcullis-payload", "proxy-wasm", "sha2", "miniz_oxide", "rsa", "serde_json", "std"]
    {
        assert!(names.contains(linked), "{linked} is missing");
    }
    for other in ["portcullis-tests", "portcullis-package", "ring", "tokio", "serde_derive", "proptest", "clap", "boon"]
    {
        assert!(!names.contains(other), "{other} is not linked into the module");
    }
    for component in components {
        let name = component["name"].as_str().unwrap();
        let ours = name.starts_with("portcullis-") || name == "std";
        let checksum = component["hashes"][0]["content"].as_str();
        assert_eq!(checksum.is_some(), !ours, "{component:#}");
        assert!(ours || lock.contains(&format!("checksum = \"{}\"", checksum.unwrap())), "{component:#}");
        assert!(
            component["licenses"][0]["expression"].as_str().is_some_and(|licence| !licence.is_empty()),
            "{component:#}"
        );
    }
    let references: BTreeSet<&str> =
        components.iter().chain([itself]).map(|one| one["bom-ref"].as_str().unwrap()).collect();
    for dependency in bill["dependencies"].as_array().unwrap() {
        let needs = dependency["dependsOn"].as_array().cloned().unwrap_or_default();
        for reference in needs.iter().chain([&dependency["ref"]]) {
            assert!(references.contains(reference.as_str().unwrap()), "{reference} is no component");
        }
    }
    let text = bill.to_string();
    assert!(!text.contains(paths::root().to_str().unwrap()), "a path of this machine");
}

#[test]
fn the_bill_of_materials_is_valid_cyclonedx_with_known_licences() {
    let Some(dir) = SCHEMAS.path("cyclonedx/schema/_res") else { return };
    let read = |name: &str| -> Value { serde_json::from_slice(&std::fs::read(dir.join(name)).unwrap()).unwrap() };
    let mut compiler = Compiler::new();
    compiler.set_default_draft(Draft::V7);
    for name in ["bom-1.6", "spdx", "jsf-0.82"] {
        let address = format!("http://cyclonedx.org/schema/{name}.SNAPSHOT.schema.json");
        compiler.add_resource(&address, read(&format!("{name}.SNAPSHOT.schema.json"))).unwrap();
    }
    let mut schemas = Schemas::new();
    let schema = compiler.compile("http://cyclonedx.org/schema/bom-1.6.SNAPSHOT.schema.json", &mut schemas).unwrap();
    let bill = PACKAGE.json("portcullis.cdx.json");
    schemas.validate(&bill, schema).unwrap_or_else(|error| panic!("{error:#}"));
    // The schema is one that can refuse.
    let mut wrong = bill.clone();
    wrong["components"][0]["type"] = json!("thing");
    assert!(schemas.validate(&wrong, schema).is_err());

    let known = read("spdx.SNAPSHOT.schema.json");
    let known: BTreeSet<&str> = known["enum"].as_array().unwrap().iter().map(|id| id.as_str().unwrap()).collect();
    for component in bill["components"].as_array().unwrap() {
        let expression = component["licenses"][0]["expression"].as_str().unwrap();
        for word in expression.split([' ', '(', ')']).filter(|word| !word.is_empty()) {
            assert!(
                ["OR", "AND", "WITH"].contains(&word) || known.contains(word),
                "{expression:?}: no licence {word:?}"
            );
        }
    }
}
