//! The programs of this workspace, as cargo builds them.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

/// A program beside the running one, or beside the directory of tests that the running one is in.
pub fn program(name: &str, package: &str) -> Result<PathBuf> {
    let running = std::env::current_exe()?;
    let mut dir = running.parent().context("the running program has no directory")?;
    if dir.ends_with("deps") {
        dir = dir.parent().context("the directory of tests has no parent")?;
    }
    let path = dir.join(name);
    if !path.is_file() {
        bail!("no {}: `cargo build -p {package}` makes it", path.display());
    }
    Ok(path)
}
