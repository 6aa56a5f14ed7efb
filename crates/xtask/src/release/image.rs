//! The image: an OCI layout of one layer with one file, without a container engine.
//!
//! Source: the OCI image specification 1.1, image-layout.md, layer.md and config.md.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tar::{Builder, EntryType, Header};

use super::{Content, Files, Release, gzip, hex};

/// The folder of the layout.
const FOLDER: &str = "image";

/// Nobody in particular, as distroless images name it, and as the Deployments ask for.
const NONROOT: &str = "65532:65532";

const PROGRAM: &str = "instar";

/// A file of the layout, by what it has.
struct Blob {
    media_type: &'static str,
    bytes: Vec<u8>,
}

impl Blob {
    fn json(media_type: &'static str, value: &Value) -> Self {
        Self {
            media_type,
            bytes: value.to_string().into_bytes(),
        }
    }

    fn digest(&self) -> String {
        format!("sha256:{}", hex(&self.bytes))
    }

    fn descriptor(&self) -> Value {
        json!({ "mediaType": self.media_type, "digest": self.digest(), "size": self.bytes.len() })
    }
}

pub(super) fn files(release: &Release) -> Result<Files> {
    let archive = layer(release).context("the image's layer")?;
    let config = Blob::json("application/vnd.oci.image.config.v1+json", &config(release, &archive)?);
    let layer = Blob {
        media_type: "application/vnd.oci.image.layer.v1.tar+gzip",
        bytes: gzip(&archive, release.epoch)?,
    };
    let manifest = Blob::json(
        "application/vnd.oci.image.manifest.v1+json",
        &json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": config.descriptor(),
            "layers": [layer.descriptor()],
            "annotations": annotations(release)?,
        }),
    );
    let mut listed = manifest.descriptor();
    listed["platform"] = json!({ "architecture": release.platform().architecture(), "os": "linux" });
    listed["annotations"] = json!({ "org.opencontainers.image.ref.name": release.tag() });
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [listed],
    });
    let mut files = Files::new();
    let mut add = |path: &str, bytes: Vec<u8>| files.insert(format!("{FOLDER}/{path}"), Content::Data(bytes));
    add("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec());
    add("index.json", index.to_string().into_bytes());
    for blob in [layer, config, manifest] {
        let path = format!("blobs/{}", blob.digest().replace(':', "/"));
        add(&path, blob.bytes);
    }
    Ok(files)
}

/// The program, and nothing else: no shell, no library, no user but by number. The CA certificates of clusters come with
/// the pod's ServiceAccount and with kubeconfigs, and the time zones are in the program.
fn layer(release: &Release) -> Result<Vec<u8>> {
    let mut layer = Builder::new(Vec::new());
    let mut header = Header::new_ustar();
    header.set_entry_type(EntryType::Regular);
    header.set_size(release.program.len().try_into()?);
    header.set_mode(0o555);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(release.epoch);
    layer.append_data(&mut header, PROGRAM, release.program.as_slice())?;
    Ok(layer.into_inner()?)
}

/// The archive is known by its digest before it was compressed.
fn config(release: &Release, archive: &[u8]) -> Result<Value> {
    Ok(json!({
        "architecture": release.platform().architecture(),
        "os": "linux",
        "created": created(release)?,
        "config": {
            "User": NONROOT,
            "Entrypoint": [format!("/{PROGRAM}")],
            "WorkingDir": "/",
            "Labels": annotations(release)?,
        },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{}", hex(archive))] },
        "history": [{ "created": created(release)?, "created_by": "cargo xtask release" }],
    }))
}

fn annotations(release: &Release) -> Result<Value> {
    Ok(json!({
        "org.opencontainers.image.title": "instar",
        "org.opencontainers.image.version": release.tag(),
        "org.opencontainers.image.licenses": env!("CARGO_PKG_LICENSE"),
        "org.opencontainers.image.created": created(release)?,
    }))
}

fn created(release: &Release) -> Result<String> {
    let seconds = i64::try_from(release.epoch)?;
    Ok(jiff::Timestamp::from_second(seconds)?.to_string())
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::release::tests::release;

    fn blob<'a>(files: &'a Files, descriptor: &Value) -> &'a [u8] {
        let digest = descriptor["digest"].as_str().unwrap();
        let bytes = files[&format!("image/blobs/{}", digest.replace(':', "/"))].bytes();
        assert_eq!(digest, format!("sha256:{}", hex(bytes)));
        assert_eq!(descriptor["size"].as_u64(), Some(bytes.len() as u64));
        bytes
    }

    #[test]
    fn each_digest_names_its_bytes() {
        let files = files(&release()).unwrap();
        let read = |bytes: &[u8]| -> Value { serde_json::from_slice(bytes).unwrap() };
        let index = read(files["image/index.json"].bytes());
        let manifest = read(blob(&files, &index["manifests"][0]));
        let config = read(blob(&files, &manifest["config"]));
        let mut layer = Vec::new();
        let compressed = blob(&files, &manifest["layers"][0]);
        flate2::read::GzDecoder::new(compressed)
            .read_to_end(&mut layer)
            .unwrap();
        let digest = format!("sha256:{}", hex(&layer));
        assert_eq!(config["rootfs"]["diff_ids"][0], digest.as_str());
        assert_eq!(config["config"]["User"], "65532:65532");
        assert_eq!(config["config"]["Entrypoint"], json!(["/instar"]));
        assert_eq!(config["created"], "2027-01-15T08:00:00Z");
        let mut archive = tar::Archive::new(layer.as_slice());
        let entries: Vec<_> = archive
            .entries()
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let path = entry.path().unwrap().display().to_string();
                let header = entry.header();
                (
                    path,
                    header.mode().unwrap(),
                    header.uid().unwrap(),
                    header.mtime().unwrap(),
                )
            })
            .collect();
        assert_eq!(entries, [("instar".to_owned(), 0o555, 0, 1_800_000_000)]);
        assert_eq!(files.len(), 5);
    }
}
