//! The module as an OCI image that Istio and Envoy Gateway take: the "compat" variant of the Wasm Image Specification.
//!
//! One layer, tar and gzip, with one file `plugin.wasm`; ordinary media types, so that every registry and client takes it,
//! and an annotation that names the variant.

use serde_json::{Value, json};

use crate::archive::{Member, gzip, tar};
use crate::hex;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// An image: its blobs, of which the last is the manifest.
pub struct Image {
    layer: Vec<u8>,
    config: Vec<u8>,
    manifest: Vec<u8>,
    version: String,
}

impl Image {
    /// The image of `module`, to be called `version`.
    pub fn of(module: &[u8], version: &str) -> Self {
        let plain = tar(&[Member { name: "plugin.wasm", contents: Some(module) }]);
        let layer = gzip(&plain);
        // A module runs anywhere, but clients refuse platforms that they have not heard of. This is what image builders write.
        let config = json!({
            "architecture": "amd64",
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", hex(&plain))]},
        });
        let config = config.to_string().into_bytes();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor(CONFIG, &config),
            "layers": [descriptor(LAYER, &layer)],
            "annotations": {
                "module.wasm.image/variant": "compat",
                "org.opencontainers.image.licenses": "Apache-2.0",
                "org.opencontainers.image.title": "portcullis",
                "org.opencontainers.image.version": version,
            },
        });
        Self { layer, config, manifest: manifest.to_string().into_bytes(), version: version.to_owned() }
    }

    /// What the image is pulled by: the SHA-256 of its manifest, in hexadecimal.
    pub fn digest(&self) -> String {
        hex(&self.manifest)
    }

    /// The image layout as one file (OCI Image Layout Specification), as `skopeo` and others name it `oci-archive`.
    pub fn archive(&self) -> Vec<u8> {
        let mut entry = descriptor(MANIFEST, &self.manifest);
        if let Some(entry) = entry.as_object_mut() {
            let name = json!({"org.opencontainers.image.ref.name": self.version});
            entry.insert("annotations".to_owned(), name);
        }
        let index = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [entry],
        });
        let index = index.to_string().into_bytes();
        let blobs =
            [&self.layer, &self.config, &self.manifest].map(|blob| (format!("blobs/sha256/{}", hex(blob)), blob));
        let directory = |name| Member { name, contents: None };
        let mut members = vec![
            Member { name: "oci-layout", contents: Some(br#"{"imageLayoutVersion":"1.0.0"}"#) },
            Member { name: "index.json", contents: Some(&index) },
            directory("blobs/"),
            directory("blobs/sha256/"),
        ];
        members.extend(blobs.iter().map(|(name, blob)| Member { name, contents: Some(blob) }));
        tar(&members)
    }
}

fn descriptor(media_type: &str, blob: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": format!("sha256:{}", hex(blob)), "size": blob.len()})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_module_makes_the_same_image_and_another_one_another() {
        let image = |module: &[u8]| Image::of(module, "1.2.3");
        assert_eq!(image(b"module").archive(), image(b"module").archive());
        assert_ne!(image(b"module").digest(), image(b"modulE").digest());
        assert_ne!(image(b"module").digest(), Image::of(b"module", "1.2.4").digest());
    }
}
