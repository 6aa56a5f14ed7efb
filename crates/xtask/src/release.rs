//! A release: every file that it ships, from the code, the version and one program.
//!
//! ```text
//! objects ─▶ clusterctl, operators ─┐
//! image ────────────────────────────┼─▶ files ─▶ sums
//! ```
//!
//! Invariant: the same code, version, program and time give the same bytes.

pub mod auditable;
mod changes;
mod chart;
mod clusterctl;
mod image;
mod objects;
mod operators;
mod platform;
mod plugin;
mod sbom;

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use flate2::{Compression, GzBuilder};
use semver::Version;
use serde_json::Value;
use sha2::{Digest, Sha256};

pub use self::platform::Platform;

/// The file with the checksums of all others, as `sha256sum --check` reads it.
pub const SUMS: &str = "SHA256SUMS";

/// What a release is made of.
#[derive(Debug, Clone)]
pub struct Release {
    pub version: Version,
    /// Where the image will be, without a tag: `registry.example.org/instar`.
    pub image: String,
    /// What clusterctl, the operator and Rancher know it by: `instar`, or `ORGANISATION-instar` for one that somebody
    /// else builds, as clusterctl's contract asks it.
    pub provider: String,
    /// `instar` itself, linked statically.
    pub program: Vec<u8>,
    /// `kubectl-instar`, linked statically.
    pub plugin: Vec<u8>,
    /// Where the plugin's archive will be, without a slash at the end: Krew fetches it from there.
    pub url: String,
    /// The time that files and the image have, in seconds since 1970: that of the commit.
    pub epoch: u64,
}

/// A program that a release ships.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// What runs in the cluster.
    Instar,
    /// The kubectl plugin.
    Plugin,
}

impl Program {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Instar, Self::Plugin];

    /// Its package and the name of its file.
    #[must_use]
    pub const fn package(self) -> &'static str {
        match self {
            Self::Instar => "instar",
            Self::Plugin => "kubectl-instar",
        }
    }
}

impl std::str::FromStr for Program {
    type Err = anyhow::Error;

    fn from_str(package: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|program| program.package() == package);
        found.with_context(|| format!("no program is called {package}"))
    }
}

/// A file of a release, by its path.
pub type Files = BTreeMap<String, Content>;

/// What a file of a release has, and whether it can be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    Data(Vec<u8>),
    Program(Vec<u8>),
}

impl Content {
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Data(bytes) | Self::Program(bytes) => bytes,
        }
    }
}

impl Release {
    /// The version as tags and folders have it.
    pub(crate) fn tag(&self) -> String {
        format!("v{}", self.version)
    }

    /// The label that clusterctl gives its objects, and the folder that it looks into.
    pub(crate) fn label(&self) -> String {
        format!("runtime-extension-{}", self.provider)
    }

    pub(crate) fn bytes_of(&self, program: Program) -> &[u8] {
        match program {
            Program::Instar => &self.program,
            Program::Plugin => &self.plugin,
        }
    }

    /// What its files begin with.
    pub(crate) fn name_of(&self, program: Program) -> String {
        format!("{}-linux-{}", program.package(), self.platform().architecture())
    }

    /// The objects of an installation, in the order in which they are created.
    ///
    /// # Errors
    /// If an object has no JSON form.
    pub fn objects(&self) -> Result<Vec<Value>> {
        objects::all(self)
    }

    /// The files, the checksums among them.
    ///
    /// # Errors
    /// If no series of [`clusterctl::SERIES`] has the version, or an object can't be written.
    pub fn files(&self) -> Result<Files> {
        let objects = objects::all(self)?;
        let mut files = Files::new();
        files.extend(clusterctl::files(self, &objects)?);
        files.extend(operators::files(self, &objects)?);
        files.extend(objects::providers(self)?);
        files.extend(image::files(self)?);
        files.extend(sbom::files(self)?);
        files.extend(chart::files(self)?);
        files.extend(plugin::files(self)?);
        for program in Program::ALL {
            let content = Content::Program(self.bytes_of(program).to_vec());
            files.insert(format!("bin/{}", self.name_of(program)), content);
        }
        files.insert(
            "CHANGELOG.md".to_owned(),
            Content::Data(changes::of(self)?.into_bytes()),
        );
        let sums: Vec<String> = files
            .iter()
            .map(|(path, content)| format!("{}  {path}\n", hex(content.bytes())))
            .collect();
        files.insert(SUMS.to_owned(), Content::Data(sums.concat().into_bytes()));
        Ok(files)
    }

    /// Writes the files into a folder, which must not have any.
    ///
    /// # Errors
    /// If it has some, or can't be written.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let is_empty = fs::read_dir(folder).map_or(true, |mut entries| entries.next().is_none());
        ensure!(
            is_empty,
            "{} has files: remove it, or name another folder",
            folder.display()
        );
        for (path, content) in self.files()? {
            let path = folder.join(path);
            write(&path, &content).with_context(|| path.display().to_string())?;
        }
        Ok(())
    }

    /// The program of a build.
    ///
    /// # Errors
    /// If it can't be read, or needs a loader: the image has no library.
    pub fn program(path: &PathBuf) -> Result<Vec<u8>> {
        let program = fs::read(path).with_context(|| path.display().to_string())?;
        ensure!(
            !needs_loader(&program),
            "{} is linked dynamically, and the image has no libraries: build it with -C target-feature=+crt-static",
            path.display()
        );
        Ok(program)
    }
}

fn write(path: &Path, content: &Content) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;

    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, content.bytes())?;
    let mode = match content {
        Content::Data(_) => 0o644,
        Content::Program(_) => 0o755,
    };
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    Ok(())
}

/// Whether an ELF program names an interpreter (`PT_INTERP`). What is no ELF program of 64 bits needs none.
fn needs_loader(program: &[u8]) -> bool {
    const PT_INTERP: u32 = 3;
    let number = |at: usize, bytes: usize| -> Option<usize> {
        let mut value = [0; 8];
        value
            .get_mut(..bytes)?
            .copy_from_slice(program.get(at..at.checked_add(bytes)?)?);
        usize::try_from(u64::from_le_bytes(value)).ok()
    };
    let headers = || Some((number(32, 8)?, number(54, 2)?, number(56, 2)?));
    let Some((offset, size, count)) = headers().filter(|_| program.starts_with(b"\x7fELF\x02\x01")) else {
        return false;
    };
    (0..count).any(|index| {
        let at = offset.checked_add(index.saturating_mul(size));
        at.and_then(|at| number(at, 4)) == usize::try_from(PT_INTERP).ok()
    })
}

/// Compresses an archive: the same bytes on every machine.
pub(crate) fn gzip(archive: &[u8], epoch: u64) -> Result<Vec<u8>> {
    // 255: of no system in particular.
    let header = GzBuilder::new().mtime(u32::try_from(epoch)?).operating_system(255);
    let mut compressed = header.write(Vec::new(), Compression::best());
    compressed.write_all(archive)?;
    Ok(compressed.finish()?)
}

/// The SHA-256 of bytes, as digests and checksums have it.
pub(crate) fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut hex, byte| {
        for half in [byte >> 4, byte & 15] {
            hex.extend(char::from_digit(u32::from(half), 16));
        }
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn release() -> Release {
        Release {
            version: Version::parse(env!("CARGO_PKG_VERSION")).unwrap(),
            image: "registry.example.org/instar".to_owned(),
            provider: "example-instar".to_owned(),
            program: b"a program".to_vec(),
            plugin: b"a plugin".to_vec(),
            url: "https://releases.example.org/instar".to_owned(),
            epoch: 1_800_000_000,
        }
    }

    #[test]
    fn a_release_has_these_files() {
        let files = release().files().unwrap();
        let paths: Vec<&str> = files
            .keys()
            .map(String::as_str)
            .filter(|path| !path.starts_with("image/blobs/") && !path.starts_with("providers/"))
            .collect();
        let folder = format!(
            "clusterctl/runtime-extension-example-instar/v{}",
            env!("CARGO_PKG_VERSION")
        );
        assert_eq!(
            paths,
            [
                "CHANGELOG.md",
                "SHA256SUMS",
                "bin/instar-linux-amd64",
                "bin/kubectl-instar-linux-amd64",
                concat!("charts/instar-", env!("CARGO_PKG_VERSION"), ".tgz"),
                &format!("{folder}/metadata.yaml"),
                &format!("{folder}/runtime-extension-components.yaml"),
                "image/index.json",
                "image/oci-layout",
                "operator/cluster-api-operator.yaml",
                "operator/turtles.yaml",
                "plugin/k9s.yaml",
                "plugin/krew.yaml",
                "plugin/kubectl-instar-linux-amd64.tar.gz",
                "sbom/instar-linux-amd64.cdx.json",
                "sbom/kubectl-instar-linux-amd64.cdx.json",
            ]
        );
        assert!(files.contains_key("providers/vsphere.yaml"));
        assert_eq!(files, release().files().unwrap());
    }

    #[test]
    fn a_folder_with_files_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        release().write(folder.path()).unwrap();
        let sums = fs::read_to_string(folder.path().join(SUMS)).unwrap();
        for line in sums.lines() {
            let (sum, path) = line.split_once("  ").unwrap();
            assert_eq!(sum, hex(&fs::read(folder.path().join(path)).unwrap()), "{path}");
        }
        let refused = release().write(folder.path()).unwrap_err().to_string();
        assert!(
            refused.ends_with("has files: remove it, or name another folder"),
            "{refused}"
        );
    }

    /// The program of this test is linked dynamically, as those of every development build.
    #[test]
    fn a_program_that_needs_a_loader_is_refused() {
        let own = std::env::current_exe().unwrap();
        let refused = Release::program(&own).unwrap_err().to_string();
        assert!(refused.contains("is linked dynamically"), "{refused}");
        assert!(!needs_loader(b"#!/bin/sh"));
        assert!(!needs_loader(b"\x7fELF\x02\x01"));
    }

    #[test]
    fn a_minor_without_a_series_is_refused() {
        let mut release = release();
        release.version.minor += 7;
        let refused = release.files().unwrap_err().to_string();
        assert!(refused.starts_with("no series for v0.8.0: add a line"), "{refused}");
    }

    #[test]
    fn the_objects_are_labelled_and_have_the_image() {
        let objects = objects::all(&release()).unwrap();
        let label = "runtime-extension-example-instar";
        let kinds: Vec<&str> = objects.iter().map(|object| object["kind"].as_str().unwrap()).collect();
        assert_eq!(kinds.first(), Some(&"Namespace"));
        assert_eq!(kinds.last(), Some(&"ValidatingWebhookConfiguration"));
        assert_eq!(kinds.iter().filter(|kind| **kind == "Namespace").count(), 1);
        for object in &objects {
            assert_eq!(
                object["metadata"]["labels"]["cluster.x-k8s.io/provider"], label,
                "{object}"
            );
        }
        let images: Vec<&str> = objects
            .iter()
            .filter_map(|object| object.pointer("/spec/template/spec/containers/0/image")?.as_str())
            .collect();
        assert_eq!(
            images,
            [concat!("registry.example.org/instar:v", env!("CARGO_PKG_VERSION")); 2]
        );
        // clusterctl puts variables in place of these.
        assert!(!objects::text(&objects).unwrap().contains("${"));
        let injected = objects.iter().filter(|object| {
            object
                .pointer("/metadata/annotations/cert-manager.io~1inject-ca-from")
                .is_some()
        });
        assert_eq!(injected.count(), 3);
    }
}
