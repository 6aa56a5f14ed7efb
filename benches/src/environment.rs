//! Where the figures come from.

use std::{fs, process::Command};

fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        // Looking must not get into the way of somebody's commit.
        .env("GIT_OPTIONAL_LOCKS", "0")
        .output();
    output.map_or_else(
        |error| format!("{program}: {error}"),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}

/// The load average of the last minute.
pub(crate) fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().unwrap_or("unknown").to_owned()
}

/// One line for each thing that figures depend on.
pub(crate) fn lines() -> Vec<String> {
    let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = processor
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown", |(_, model)| model);
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let changed = if said("git", &["status", "--porcelain"]).is_empty() {
        ""
    } else {
        ", with changes"
    };
    vec![
        format!("machine      {cores} cores of {model}, load average {}", load()),
        format!(
            "kernel       {}",
            fs::read_to_string("/proc/sys/kernel/osrelease")
                .unwrap_or_default()
                .trim()
        ),
        format!(
            "commit       {}{changed}",
            said("git", &["rev-parse", "--short=12", "HEAD"])
        ),
        format!("rustc        {}", said("rustc", &["--version"])),
        format!(
            "go           {}",
            crate::go::version().unwrap_or_else(|| "none".to_owned())
        ),
        format!(
            "valgrind     {}",
            crate::callgrind::version().unwrap_or_else(|| "none".to_owned())
        ),
        "TLS          1.3, AES-128-GCM, ECDSA P-256, ring; the same certificate for all".to_owned(),
        "allocator    the C library's".to_owned(),
    ]
}
