//! Words of a workload cluster, which may say anything.

/// How much of one is passed on.
const MOST: usize = 160;

/// On one line, and not too long.
pub(super) fn quoted(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars()
        .filter(|character| !character.is_control())
        .take(MOST)
        .collect()
}
