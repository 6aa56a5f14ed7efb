//! `kubectl instar preflight`.

use clap::Args;
use instar_api::{PreflightResult, PreflightStatus};
use instar_report::text::{Cell, Table, Tone};

use crate::{
    Error, Exit,
    connection::Connection,
    output::{self, ValueFormat, ValueFormatArg},
    read,
};

/// Shows what the checks before the upgrade of a Cluster came to
///
/// They are those of the status of its ClusterUpgrade: the controller makes them from when an upgrade is asked for until
/// its first machine is replaced, and not after. Of each that isn't passed it says what is wrong and what to do.
#[derive(Args, Debug)]
#[command(after_long_help = EXAMPLES)]
pub struct PreflightArgs {
    /// The Cluster
    #[arg(value_name = "CLUSTER")]
    pub(crate) cluster: String,

    /// How it is printed
    #[arg(short, long, value_name = "FORMAT", value_enum)]
    pub(crate) output: Option<ValueFormatArg>,
}

const EXAMPLES: &str = "\
Examples:
  kubectl instar preflight my-cluster

  # In a script, the checks that hold the upgrade:
  kubectl instar preflight my-cluster -o json | jq -r '.[] | select(.result == \"Fail\") | .check'

Exit codes: 0 passed or warned of, 1 a check failed, 2 a check couldn't tell, or no upgrade has been checked.";

/// Prints them.
pub(crate) async fn run(connection: &Connection, args: &PreflightArgs) -> Result<Exit, Error> {
    let cluster = &args.cluster;
    let report = read::report(connection, cluster).await?;
    let Some(upgrade) = report.upgrade else {
        eprintln!(
            "Cluster {cluster} has no upgrade, so nothing was checked: see `{}`.",
            connection.command(&format!("plan {cluster}"), "--to VERSION")
        );
        return Ok(Exit::Unknown);
    };
    let checks = upgrade.preflight;
    let text = match args.output {
        Some(format) => output::value(&checks, ValueFormat::from(format))?,
        None => text(&checks),
    };
    output::print(&text)?;
    if !upgrade.observed || checks.is_empty() {
        eprintln!(
            "The checks of ClusterUpgrade {} are not made yet: see `{}`.",
            upgrade.name,
            connection.command(&format!("status {cluster}"), "")
        );
        return Ok(Exit::Unknown);
    }
    Ok(exit(&checks))
}

/// What the worst of them says.
fn exit(checks: &[PreflightStatus]) -> Exit {
    let any = |result| checks.iter().any(|check| check.result == result);
    if any(PreflightResult::Fail) {
        Exit::Blocked
    } else if any(PreflightResult::Unknown) {
        Exit::Unknown
    } else {
        Exit::Done
    }
}

/// A row for each, and below what isn't passed, in full.
fn text(checks: &[PreflightStatus]) -> String {
    let mut table = Table::new(["CHECK", "RESULT", "OBJECT"]);
    let mut details = String::new();
    for check in checks {
        let (result, tone) = shown(check.result);
        let object = [check.kind.as_str(), check.name.as_str()].join(" ");
        table.push([
            Cell::plain(check.check.as_str()),
            Cell::toned(result, tone),
            Cell::plain(object.trim()),
        ]);
        if !check.message.is_empty() {
            details.extend(["\n", check.check.as_str(), ": ", &check.message, "\n"]);
        }
        if tone != Tone::Plain {
            details.extend(["  Next: ", check.check.remedy(), "\n"]);
        }
    }
    table.text(&output::layout(None, None)) + &details
}

const fn shown(result: PreflightResult) -> (&'static str, Tone) {
    match result {
        PreflightResult::Pass => ("Pass", Tone::Plain),
        PreflightResult::Skipped => ("Skipped", Tone::Plain),
        PreflightResult::NotApplicable => ("NotApplicable", Tone::Plain),
        PreflightResult::Warn => ("Warn", Tone::Warning),
        PreflightResult::Unknown => ("Unknown", Tone::Warning),
        PreflightResult::Fail => ("Fail", Tone::Bad),
    }
}

#[cfg(test)]
mod tests {
    use instar_api::PreflightCheck;

    use super::*;

    fn check(result: PreflightResult, message: &str) -> PreflightStatus {
        PreflightStatus {
            check: PreflightCheck::ALL[0],
            result,
            kind: "Machine".to_owned(),
            name: "m-0".to_owned(),
            message: message.to_owned(),
            snapshot: None,
            since: None,
        }
    }

    #[test]
    fn a_failure_says_what_to_do_and_ends_with_1() {
        let checks = [
            check(PreflightResult::Pass, ""),
            check(PreflightResult::Unknown, "nobody knows"),
            check(PreflightResult::Fail, "it is broken"),
        ];
        assert_eq!(exit(&checks), Exit::Blocked);
        assert_eq!(exit(&checks[..2]), Exit::Unknown);
        assert_eq!(exit(&checks[..1]), Exit::Done);
        let text = text(&checks);
        assert!(text.contains("Machine m-0"), "{text}");
        assert_eq!(text.matches("  Next: ").count(), 2, "{text}");
    }
}
