//! A broken rule: which one, which object, which field, which value, and what to do.

use std::fmt;

use instar_api::{Enforcement, Rule};

/// How many characters a warning may have: kubectl shows one on a line.
/// Source: the documentation of `AdmissionResponse.warnings`.
const WARNING: usize = 120;

/// A rule that an edit breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub rule: Rule,
    /// Kind, namespace and name.
    pub object: String,
    /// The field, as kubectl writes it.
    pub field: &'static str,
    /// What is wrong, with the value.
    pub what: String,
    /// What to do.
    pub remediation: String,
    /// The Cluster whose policies count, where it isn't the one that the edited object belongs to.
    pub of: Option<Box<ClusterName>>,
    /// What becomes of the edit at most: a warning, where a refusal would be worse than what is wrong.
    pub strictest: Enforcement,
}

impl Finding {
    /// With the Cluster whose policies count.
    pub(crate) fn of_cluster(self, namespace: &str, name: &str) -> Self {
        let of = Some(Box::new(ClusterName {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }));
        Self { of, ..self }
    }

    /// A warning, whatever the rule's default or a policy says, but for off.
    pub(crate) fn into_warning(self) -> Self {
        Self {
            strictest: Enforcement::Warn,
            ..self
        }
    }
}

/// A Cluster's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterName {
    pub namespace: String,
    pub name: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            rule,
            object,
            field,
            what,
            remediation,
            of: _,
            strictest: _,
        } = self;
        write!(f, "{object}: {field}: {what}; {remediation} [rule {rule}]")
    }
}

/// With which a finding begins to name its rule.
const RULE: &str = "[rule";

/// A text as warnings, each short enough for a line.
#[must_use]
pub fn lines(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    let mut length = 0;
    let mut words = text.split_whitespace();
    while let Some(word) = words.next() {
        // What names the rule stays in one line, where people and programs look for it.
        let rest = (word == RULE).then(|| words.next()).flatten();
        let mut word: Vec<char> = word.chars().collect();
        word.extend(rest.iter().flat_map(|rest| [" ", rest]).flat_map(str::chars));
        if length > 0 && length + 1 + word.len() > WARNING {
            lines.push(std::mem::take(&mut line));
            length = 0;
        }
        while word.len() > WARNING {
            lines.push(word.drain(..WARNING).collect());
        }
        if length > 0 {
            line.push(' ');
            length += 1;
        }
        length += word.len();
        line.extend(word);
    }
    if !line.is_empty() {
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn long_texts_are_split_between_words() {
        let text = "word ".repeat(60);
        let lines = lines(&text);
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[0].len(), 119);
    }

    #[test]
    fn what_names_the_rule_is_never_split() {
        for length in 1..=2 * WARNING {
            let text = format!("{} [rule upgrade-target]", "w ".repeat(length));
            let lines = lines(&text);
            assert!(lines.last().unwrap().ends_with("[rule upgrade-target]"), "{lines:#?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_no_line_is_long(text in "([a-zä/-]{1,150} ){0,20}") {
            let lines = lines(&text);
            let letters = |text: &str| text.chars().filter(|letter| !letter.is_whitespace()).collect::<String>();
            prop_assert_eq!(letters(&lines.concat()), letters(&text));
            prop_assert!(lines.iter().all(|line| (1..=WARNING).contains(&line.chars().count())));
        }
    }
}
