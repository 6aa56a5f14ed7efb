//! The bill of materials inside the program, as `cargo auditable` embeds it: compressed JSON in a section of its own, by which
//! scanners know a program without its lock file.
//!
//! The linker gets it as an object of the assembler, and a symbol that keeps it. The build script of `instar` names both.

use std::{collections::BTreeMap, fmt::Write as _, io::Write as _};

use anyhow::{Context, Result, ensure};
use auditable_serde::{DependencyKind, Package, Source, VersionInfo};
use flate2::{Compression, write::ZlibEncoder};

use super::{
    Platform, Program, Release,
    sbom::{linked, metadata},
};

/// The format in which macros, which run when the program is built, are no part of it.
const FORMAT: u32 = 1;

/// What is read of a program at most, in bytes.
const LIMIT: usize = 8 << 20;

/// So many bytes stand on a line.
const ROW: usize = 32;

fn dependencies(platform: Platform, program: Program) -> Result<VersionInfo> {
    let metadata = metadata(platform)?;
    let linked = linked(&metadata, program)?;
    let places: BTreeMap<&str, usize> = linked.keys().map(String::as_str).zip(0..).collect();
    let packages = linked.values().map(|(package, needs)| Package {
        name: package.name.to_string(),
        version: package.version.clone(),
        source: match &package.source {
            None => Source::Local,
            Some(source) if source.is_crates_io() => Source::CratesIo,
            Some(_) => Source::Registry,
        },
        kind: DependencyKind::Runtime,
        dependencies: needs
            .iter()
            .filter_map(|url| places.get(url.as_str()).copied())
            .collect(),
        root: *package.name == program.package(),
    });
    Ok(VersionInfo {
        packages: packages.collect(),
        format: FORMAT,
    })
}

/// What the linker embeds, in the language of the assembler.
///
/// # Errors
/// If the dependencies can't be read.
pub fn linker_input(platform: Platform, program: Program) -> Result<String> {
    let mut compressed = ZlibEncoder::new(Vec::new(), Compression::best());
    compressed.write_all(&serde_json::to_vec(&dependencies(platform, program)?)?)?;
    let compressed = compressed.finish()?;
    let mut text =
        "    .section .dep-v0,\"\",%progbits\n    .globl AUDITABLE_VERSION_INFO\nAUDITABLE_VERSION_INFO:\n".to_owned();
    for row in compressed.chunks(ROW) {
        let bytes: Vec<String> = row.iter().map(ToString::to_string).collect();
        writeln!(text, "    .byte {}", bytes.join(","))?;
    }
    // Without it, the stack of the whole program could be executed.
    text.push_str("    .section .note.GNU-stack,\"\",%progbits\n");
    Ok(text)
}

impl Release {
    /// Reads the bill of materials back from each program.
    ///
    /// # Errors
    /// If it has none, or another one than that of the lock file.
    pub fn check_dependencies(&self) -> Result<()> {
        for program in Program::ALL {
            let name = program.package();
            let embedded = auditable_info::audit_info_from_slice(self.bytes_of(program), LIMIT)
                .with_context(|| format!("{name} has no list of its dependencies: build it by `make release`"))?;
            ensure!(
                embedded == dependencies(self.platform(), program)?,
                "the list of dependencies in {name} isn't that of Cargo.lock: build it again by `make release`"
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, process::Command};

    use serde_json::Value;

    use super::*;
    use crate::release::{Files, sbom, tests::release};

    /// Links it into a small program, as `make release` links it into ours, and reads it back.
    fn linked_program(program: Program) -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        let (source, input, output) = (
            folder.path().join("main.c"),
            folder.path().join("dependencies.s"),
            folder.path().join("program"),
        );
        fs::write(&source, "int main(void) { return 0; }\n").unwrap();
        fs::write(&input, linker_input(Platform::Amd64, program).unwrap()).unwrap();
        let linker = Command::new("cc")
            .args([&source, &input])
            .args([
                "-Wl,--gc-sections",
                "-Wl,--strip-debug",
                "-Wl,--undefined=AUDITABLE_VERSION_INFO",
                "-o",
            ])
            .arg(&output)
            .status()
            .unwrap();
        assert!(linker.success());
        fs::read(&output).unwrap()
    }

    #[test]
    fn it_is_read_back_from_a_program() {
        let mut release = release();
        assert!(release.check_dependencies().is_err());
        release.program = linked_program(Program::Instar);
        let refused = release.check_dependencies().unwrap_err().to_string();
        assert!(refused.starts_with("kubectl-instar has no list"), "{refused}");
        release.plugin = linked_program(Program::Plugin);
        release.check_dependencies().unwrap();
    }

    #[test]
    fn it_says_the_same_as_the_bill_beside_it() {
        let files: Files = sbom::files(&release()).unwrap();
        let bill: Value = serde_json::from_slice(files["sbom/instar-linux-amd64.cdx.json"].bytes()).unwrap();
        let of = |component: &Value| (component["name"].clone(), component["version"].clone());
        let beside: BTreeSet<String> = bill["components"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| format!("{:?}", of(one)))
            .collect();
        let embedded = dependencies(Platform::Amd64, Program::Instar).unwrap();
        let root = embedded.packages.iter().position(|package| package.root).unwrap();
        let mut inside: BTreeSet<String> = BTreeSet::new();
        for package in embedded.packages.iter().filter(|package| !package.root) {
            let component = serde_json::json!({ "name": package.name, "version": package.version.to_string() });
            inside.insert(format!("{:?}", of(&component)));
        }
        assert_eq!(inside, beside);
        assert!(embedded.packages[root].dependencies.len() > 10);
    }
}
