//! What has changed, from the changelog.

use std::fs;

use anyhow::{Context, Result, ensure};

use super::Release;
use crate::root;

const FILE: &str = "CHANGELOG.md";

/// The section of the release, or what comes next where it has none yet.
pub(super) fn of(release: &Release) -> Result<String> {
    let text = fs::read_to_string(root().join(FILE)).context(FILE)?;
    let section = section(&text, &release.version.to_string())
        .or_else(|| section(&text, "Unreleased"))
        .unwrap_or_default();
    ensure!(
        !section.trim().is_empty(),
        "{FILE} has neither a section {} nor Unreleased",
        release.version
    );
    Ok(format!("# Instar {}\n\n{}\n", release.tag(), section.trim()))
}

/// What stands below a heading `## NAME` or `## [NAME]`, with or without a date, down to the next.
fn section(text: &str, name: &str) -> Option<String> {
    let is_heading = |line: &str| {
        let heading = line.strip_prefix("## ").map(|heading| heading.trim_start_matches('['));
        let rest = heading.and_then(|heading| heading.strip_prefix(name));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with([']', ' ']))
    };
    let below = text.lines().skip_while(|line| !is_heading(line)).skip(1);
    let lines: Vec<&str> = below.take_while(|line| !line.starts_with("## ")).collect();
    text.lines().any(is_heading).then(|| lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_ends_at_the_next() {
        let text = "# C\n\n## Unreleased\n\n- new\n\n## [0.1.10] - 2027-01-01\n\n- ten\n\n## 0.1.1\n\n- one\n";
        assert_eq!(section(text, "0.1.10").as_deref(), Some("\n- ten\n"));
        assert_eq!(section(text, "0.1.1").as_deref(), Some("\n- one"));
        assert_eq!(section(text, "Unreleased").as_deref(), Some("\n- new\n"));
        assert_eq!(section(text, "0.2.0"), None);
    }
}
