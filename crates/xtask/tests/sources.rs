//! Files that can be read in a sitting, under names that say what they are about.

use std::{fs, path::Path, process::Command};

use anyhow::{Result, ensure};

const MOST_LINES: usize = 600;

const NO_NAMES: [&str; 4] = ["utils", "common", "helpers", "manager"];

/// What is in the repository, or will be: tracked or not, but not ignored.
fn files() -> Result<Vec<String>> {
    let output = Command::new("git")
        .current_dir(xtask::root())
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
            "--",
            "*.rs",
        ])
        .output()?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "git ls-files: {complaint}");
    let names = String::from_utf8(output.stdout)?;
    ensure!(!names.is_empty(), "git ls-files lists nothing");
    Ok(names.split_terminator('\0').map(str::to_owned).collect())
}

#[test]
fn no_file_is_too_long() {
    let long: Vec<String> = files()
        .unwrap()
        .into_iter()
        // A tracked file that was just removed is listed until it is staged.
        .filter_map(|file| Some((fs::read_to_string(xtask::root().join(&file)).ok()?, file)))
        .map(|(text, file)| (text.lines().count(), file))
        .filter(|(lines, _)| *lines > MOST_LINES)
        .map(|(lines, file)| format!("{file}: {lines} lines"))
        .collect();
    assert!(long.is_empty(), "more than {MOST_LINES} lines:\n{}", long.join("\n"));
}

#[test]
fn no_module_is_named_after_nothing() {
    let wrong: Vec<String> = files()
        .unwrap()
        .into_iter()
        .filter(|file| {
            let inline = || fs::read_to_string(xtask::root().join(file)).is_ok_and(|text| has_empty_module(&text));
            has_empty_name(file) || inline()
        })
        .collect();
    assert!(wrong.is_empty(), "say what it is about:\n{}", wrong.join("\n"));
}

fn has_empty_name(file: &str) -> bool {
    Path::new(file)
        .components()
        .any(|part| NO_NAMES.contains(&part.as_os_str().to_string_lossy().trim_end_matches(".rs")))
}

fn has_empty_module(text: &str) -> bool {
    text.lines()
        .filter_map(|line| line.split_once("mod "))
        .filter(|(before, _)| before.trim().is_empty() || before.trim().starts_with("pub"))
        .filter_map(|(_, after)| after.split([' ', ';', '{']).next())
        .any(|name| NO_NAMES.contains(&name))
}

#[test]
fn empty_names_are_found() {
    assert!(has_empty_name("crates/a/src/utils.rs"));
    assert!(has_empty_name("crates/common/src/lib.rs"));
    assert!(!has_empty_name("crates/a/src/managers.rs"));
    assert!(has_empty_module("pub(crate) mod helpers {\n"));
    assert!(has_empty_module("    mod manager;\n"));
    assert!(!has_empty_module("mod commons;\n// The mod common to all.\n"));
}
