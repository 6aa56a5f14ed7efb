//! The break-glass annotation: rules that are switched off for one edit.

use std::collections::{BTreeMap, BTreeSet};

use instar_api::{Adjustable, BREAK_GLASS_ANNOTATION, Enforcement, Rule};

use crate::Finding;

/// The field of the annotation, as kubectl writes it.
const FIELD: &str = "metadata.annotations[upgrade.cluster.x-k8s.io/break-glass]";

/// The rules that an edit switches off.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BreakGlass {
    rules: BTreeSet<Rule>,
}

impl BreakGlass {
    /// What an edit says. An annotation that was there before and says the same is of an earlier
    /// edit, and counts no more.
    ///
    /// # Errors
    /// Where it names what is no rule, or a rule that can't be switched off.
    pub fn of_edit(
        object: &str,
        old: Option<&BTreeMap<String, String>>,
        new: Option<&BTreeMap<String, String>>,
    ) -> Result<Self, Finding> {
        let text = |annotations: Option<&BTreeMap<String, String>>| {
            annotations.and_then(|annotations| annotations.get(BREAK_GLASS_ANNOTATION).cloned())
        };
        let (before, now) = (text(old), text(new));
        match now {
            Some(now) if before.as_ref() != Some(&now) => Self::read(object, &now),
            Some(_) | None => Ok(Self::default()),
        }
    }

    /// What an object says that is to be deleted.
    ///
    /// # Errors
    /// As [`BreakGlass::of_edit`].
    pub fn of_deletion(object: &str, old: Option<&BTreeMap<String, String>>) -> Result<Self, Finding> {
        Self::of_edit(object, None, old)
    }

    fn read(object: &str, text: &str) -> Result<Self, Finding> {
        let refuse = |what: String, remediation: &str| Finding {
            rule: Rule::BreakGlass,
            object: object.to_owned(),
            field: FIELD,
            what,
            remediation: remediation.to_owned(),
            of: None,
            strictest: Enforcement::Enforce,
        };
        let ids = text.split_once(':').map_or(text, |(ids, _why)| ids);
        let mut rules = BTreeSet::new();
        for id in ids.split_whitespace() {
            let rule: Rule = id.parse().map_err(|unknown: instar_api::UnknownRule| {
                refuse(
                    unknown.to_string(),
                    "name the rule as the refusal does, and what it is for after a colon: template-in-use: it is empty",
                )
            })?;
            match rule.adjustable() {
                Adjustable::ByPolicy | Adjustable::ByBreakGlass => rules.insert(rule),
                Adjustable::Never => {
                    return Err(refuse(
                        format!("rule {rule} can't be switched off"),
                        "do what its refusal says: without it nothing could be written",
                    ));
                }
            };
        }
        if rules.is_empty() {
            return Err(refuse(
                format!("{text:?} names no rule"),
                "name the rule as the refusal does, or remove the annotation",
            ));
        }
        Ok(Self { rules })
    }

    /// Whether a rule is switched off.
    #[must_use]
    pub fn breaks(&self, rule: Rule) -> bool {
        self.rules.contains(&rule)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> BTreeMap<String, String> {
        BTreeMap::from([(BREAK_GLASS_ANNOTATION.to_owned(), text.to_owned())])
    }

    #[test]
    fn it_counts_for_the_edit_that_sets_it() {
        let text = said("template-in-use worker-not-newer: the pool is empty");
        let glass = BreakGlass::of_edit("o", None, Some(&text)).unwrap();
        assert!(glass.breaks(Rule::TemplateInUse) && glass.breaks(Rule::WorkerNotNewer));
        assert!(!glass.breaks(Rule::TemplateKept));
        assert_eq!(
            BreakGlass::of_edit("o", Some(&text), Some(&text)),
            Ok(BreakGlass::default())
        );
        let again = said("template-in-use: again");
        assert!(
            BreakGlass::of_edit("o", Some(&text), Some(&again))
                .unwrap()
                .breaks(Rule::TemplateInUse)
        );
        assert!(
            BreakGlass::of_deletion("o", Some(&text))
                .unwrap()
                .breaks(Rule::TemplateInUse)
        );
        assert_eq!(BreakGlass::of_edit("o", Some(&text), None), Ok(BreakGlass::default()));
    }

    #[test]
    fn what_it_names_must_be_a_rule_that_can_be_switched_off() {
        for (text, message) in [
            (
                "nonsense",
                "MachineDeployment ns/md: metadata.annotations[upgrade.cluster.x-k8s.io/break-glass]: \"nonsense\" is no rule; name the rule as the refusal does, and what it is for after a colon: template-in-use: it is empty [rule break-glass]",
            ),
            (
                "path",
                "MachineDeployment ns/md: metadata.annotations[upgrade.cluster.x-k8s.io/break-glass]: rule path can't be switched off; do what its refusal says: without it nothing could be written [rule break-glass]",
            ),
            (
                ": why",
                "MachineDeployment ns/md: metadata.annotations[upgrade.cluster.x-k8s.io/break-glass]: \": why\" names no rule; name the rule as the refusal does, or remove the annotation [rule break-glass]",
            ),
        ] {
            let refusal = BreakGlass::of_edit("MachineDeployment ns/md", None, Some(&said(text))).unwrap_err();
            assert_eq!(refusal.to_string(), message);
        }
    }
}
