//! `kubectl instar explain`: what a word of Instar means, without a cluster.

use clap::Args;
use instar_admission::{Rule, rule_info};
use instar_api::{EventReason, HealthReason, PreflightCheck};

use crate::{Error, Exit, output};

/// Says what a rule, a reason or a check means, and what to do
///
/// It takes the name of an admission rule, as refusals have it in brackets, a reason of status.health or of an Event, or the
/// name of a check. Without one, it lists all of them.
#[derive(Args, Debug)]
#[command(after_long_help = EXAMPLES)]
pub struct ExplainArgs {
    /// The rule, the reason or the check
    #[arg(value_name = "NAME")]
    pub(crate) name: Option<String>,
}

const EXAMPLES: &str = "\
Examples:
  kubectl instar explain ApprovalMissing
  kubectl instar explain upgrade-rights

Exit codes: 0 done, 1 nothing has that name.";

/// Prints it.
pub(crate) fn run(args: &ExplainArgs) -> Result<Exit, Error> {
    let Some(name) = &args.name else {
        output::print(&all())?;
        return Ok(Exit::Done);
    };
    let found = entries(name);
    if found.is_empty() {
        return Err(Error::Refused(format!(
            "nothing of Instar is called {name}: see `kubectl instar explain` for what is"
        )));
    }
    output::print(&found.join("\n"))?;
    Ok(Exit::Done)
}

/// Upper and lower case count for nothing: a name is typed by hand.
fn entries(name: &str) -> Vec<String> {
    let is = |other: &str| other.eq_ignore_ascii_case(name);
    let rules = Rule::ALL.iter().filter(|rule| is(rule.id())).map(|rule| {
        let info = rule_info(*rule);
        let says = output::lines(info.messages.iter().map(|message| format!("  {message}")));
        format!(
            "Rule {}\n\n{}\n\nIt says:\n{says}\nWhat to do: {}\nSource: {}\n",
            rule.id(),
            info.guards,
            info.remediation,
            info.source
        )
    });
    let health = HealthReason::ALL
        .iter()
        .filter(|reason| is(reason.as_str()))
        .map(|reason| {
            format!(
                "Reason {} of status.health (level {}, impact {})\n\n{}\n\nWhat to do: {}\n",
                reason.as_str(),
                reason.level().as_str(),
                reason.impact().as_str(),
                reason.meaning(),
                reason.remedy()
            )
        });
    let events = EventReason::ALL
        .iter()
        .filter(|reason| is(reason.as_str()))
        .map(|reason| {
            format!(
                "Reason {} of Events about {} (type {})\n\n{}\n\nWhat to do: {}\n",
                reason.as_str(),
                reason.regarding(),
                reason.severity().as_str(),
                reason.when(),
                reason.remedy()
            )
        });
    let checks = PreflightCheck::ALL
        .iter()
        .filter(|check| is(check.as_str()))
        .map(|check| {
            format!(
                "Check {}\n\n{}\n\nWhat to do: {}\n",
                check.as_str(),
                check.looks_at(),
                check.remedy()
            )
        });
    rules.chain(health).chain(events).chain(checks).collect()
}

/// All that it knows, as `explain` takes it.
pub(crate) fn names() -> Vec<String> {
    let names = Rule::ALL.iter().map(|rule| rule.id());
    let names = names.chain(HealthReason::ALL.iter().map(|reason| reason.as_str()));
    let names = names.chain(EventReason::ALL.iter().map(|reason| reason.as_str()));
    let names = names.chain(PreflightCheck::ALL.iter().map(|check| check.as_str()));
    names.map(ToOwned::to_owned).collect()
}

fn all() -> String {
    let rules = Rule::ALL.iter().map(|rule| rule.id());
    let health = HealthReason::ALL.iter().map(|reason| reason.as_str());
    let events = EventReason::ALL.iter().map(|reason| reason.as_str());
    let checks = PreflightCheck::ALL.iter().map(|check| check.as_str());
    let list = |title: &str, names: Vec<&str>| format!("{title}:\n  {}\n", names.join("\n  "));
    [
        list("Rules", rules.collect()),
        list("Reasons of status.health", health.collect()),
        list("Reasons of Events", events.collect()),
        list("Checks", checks.collect()),
    ]
    .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_of_instar_is_explained() {
        let words = Rule::ALL.iter().map(|rule| rule.id());
        let words = words.chain(HealthReason::ALL.iter().map(|reason| reason.as_str()));
        let words = words.chain(EventReason::ALL.iter().map(|reason| reason.as_str()));
        for word in words.chain(PreflightCheck::ALL.iter().map(|check| check.as_str())) {
            let found = entries(&word.to_uppercase());
            assert!(!found.is_empty(), "{word}");
            assert!(
                found.iter().all(|text| text.contains("What to do: ")),
                "{word}: {found:?}"
            );
        }
        assert!(entries("NoSuchWord").is_empty());
    }
}
