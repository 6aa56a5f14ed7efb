//! Instructions of a decision, counted by valgrind: they don't depend on what else the machine does.

use std::{path::Path, process::Command};

use anyhow::{Context, Result, ensure};

/// Why nothing was counted.
pub(crate) const MISSING: &str = "valgrind isn't there, so no instructions are counted: apt-get install valgrind";

/// Whether valgrind is there; its version.
pub(crate) fn version() -> Option<String> {
    let output = Command::new("valgrind").arg("--version").output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Instructions for one decision: those of many without those of few, so that what is done once, at the
/// start, doesn't count.
pub(crate) fn instructions(path: &str, body: &Path, (few, many): (u32, u32)) -> Result<u64> {
    let (few_counted, many_counted) = (count(path, body, few)?, count(path, body, many)?);
    Ok((many_counted - few_counted) / u64::from(many - few))
}

fn count(path: &str, body: &Path, times: u32) -> Result<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe()?)
        .args(["decide", path])
        .arg(body)
        .arg(times.to_string())
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "valgrind: {said}");
    // `==1== Collected : 1234`
    let counted = said.lines().find_map(|line| line.split_once("Collected :"));
    let (_, counted) = counted.with_context(|| format!("valgrind counted nothing: {said}"))?;
    Ok(counted.trim().parse()?)
}
