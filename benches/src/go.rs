//! The comparators in Go. Their modules are never downloaded here: one that isn't there is left out.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// A server in Go, or why there is none.
pub(crate) struct Comparator {
    pub(crate) name: &'static str,
    pub(crate) built: Result<PathBuf, String>,
}

/// Builds what can be built.
pub(crate) fn comparators(into: &Path) -> Vec<Comparator> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("go");
    [("net/http", "nethttp"), ("controller-runtime", "controllerruntime")]
        .into_iter()
        .map(|(name, folder)| Comparator {
            name,
            built: build(&source.join(folder), into.join(folder)),
        })
        .collect()
}

fn build(source: &Path, program: PathBuf) -> Result<PathBuf, String> {
    let built = Command::new("go")
        .args(["build", "-mod=readonly", "-o"])
        .arg(&program)
        .arg(".")
        .env("GOPROXY", "off")
        .current_dir(source)
        .output();
    match built {
        Err(error) => Err(format!("go can't be started ({error}): install it")),
        Ok(output) if output.status.success() => Ok(program),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            let first = said.lines().next().unwrap_or_default();
            Err(format!(
                "it can't be built from what is in Go's module cache ({first}): `make build` fills it"
            ))
        }
    }
}

pub(crate) fn version() -> Option<String> {
    let output = Command::new("go").arg("version").output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
