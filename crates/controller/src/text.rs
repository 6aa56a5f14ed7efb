//! Texts as the schema takes them.

/// The longest message.
const MESSAGE: usize = 1024;

/// At most as much as the schema takes.
pub(crate) fn cut(message: &str) -> String {
    message.chars().take(MESSAGE).collect()
}

/// Whether two texts say the same but for numbers, times and addresses, which vary from one try to the next: for words
/// that begin with a digit. A name begins with a letter, and so does a version.
pub(crate) fn same_but_for_numbers(one: &str, other: &str) -> bool {
    fn words(text: &str) -> impl Iterator<Item = &str> {
        let words = text.split(|at: char| !(at.is_alphanumeric() || "-._".contains(at)));
        words.filter(|word| !word.is_empty()).map(|word| {
            if word.starts_with(|first: char| first.is_ascii_digit()) {
                "0"
            } else {
                word
            }
        })
    }
    words(one).eq(words(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_vary_and_names_do_not() {
        for (one, other, same) in [
            ("read tcp 10.0.0.1:43124: reset", "read tcp 10.0.0.7:8: reset", true),
            (
                "at 2026-11-28T22:38:28Z: no answer in 15 s",
                "at 2026-11-29T01:02:03.5Z: no answer in 7 s",
                true,
            ),
            ("dial tcp [::1]:443: refused", "dial tcp [::1]:444: refused", true),
            ("took 1m3.2s", "took 45s", true),
            ("reading Machine md-0", "reading Machine md-1", false),
            ("to v1.34.1", "to v1.34.2", false),
            ("reset by peer 1", "refused by peer 1", false),
            ("no answer", "no answer 2", false),
        ] {
            assert_eq!(same_but_for_numbers(one, other), same, "{one} | {other}");
        }
    }
}
