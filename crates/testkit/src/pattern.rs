//! What a message says, held against what the table of rules says of it.

use std::collections::BTreeSet;

use instar_admission::{Rule, rule_info};

/// The rules that texts name at their ends.
pub fn broken_rules<'t>(texts: impl IntoIterator<Item = &'t str>) -> BTreeSet<Rule> {
    texts.into_iter().filter_map(rule_of).collect()
}

fn rule_of(text: &str) -> Option<Rule> {
    let (_, end) = text.rsplit_once("[rule ")?;
    end.strip_suffix(']')?.parse().ok()
}

/// Whether what a message says is wrong is one of the things that the table has of its rule.
#[must_use]
pub fn says(text: &str) -> bool {
    let Some(rule) = rule_of(text) else { return false };
    let mut parts = text.splitn(3, ": ");
    let (Some(_object), Some(_field), Some(rest)) = (parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    // What is wrong may have a semicolon itself.
    let mut ends = rest.match_indices("; ").map(|(end, _)| &rest[..end]);
    ends.any(|what| rule_info(rule).messages.iter().any(|pattern| matches(pattern, what)))
}

/// Whether a text is a pattern with something in the place of each `{}`.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once("{}") {
        None => pattern == text,
        Some((start, rest)) => text.strip_prefix(start).is_some_and(|text| {
            text.char_indices()
                .skip(1)
                .map(|(at, _)| at)
                .chain([text.len()])
                .any(|at| at > 0 && matches(rest, &text[at..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hole_is_any_text_but_none() {
        assert!(matches("{} {} does not exist", "Kind name does not exist"));
        assert!(!matches("{} {} does not exist", "name does not exist"));
        assert!(!matches("{} does not exist", "name does not exist yet"));
        assert!(matches("{}", "anything"));
        assert!(!matches("{}", ""));
    }

    #[test]
    fn the_rule_stands_at_the_end() {
        let text = "T ns/t: metadata.name: MachineDeployment md refers to it; do that; or this [rule template-in-use]";
        assert_eq!(broken_rules([text]), [Rule::TemplateInUse].into());
        assert!(says(text));
        assert!(!says(
            "T ns/t: metadata.name: it is in use; do that [rule template-in-use]"
        ));
    }
}
