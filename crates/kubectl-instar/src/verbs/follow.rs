//! Watching and waiting: an upgrade, until it ends.

use std::{
    io::{self, IsTerminal},
    time::Duration,
};

use clap::{Args, ValueEnum};
use instar::output::Reader;
use instar_api::UpgradePhase;
use instar_report::Report;
use jiff::SignedDuration;
use tokio::time::{Instant, sleep};

use crate::{Error, Exit, connection::Connection, output, read};

/// How often the Cluster is read again.
const EVERY: Duration = Duration::from_secs(2);
/// So many reads in a row may fail, as while an API server starts again.
const MOST_FAILURES: u32 = 30;

/// How long the ClusterUpgrade of an edit is waited for: the controller makes it in a moment, where it runs and the Cluster
/// isn't paused.
const FIRST: Duration = Duration::from_secs(30);

/// How long a verb goes on.
#[derive(Args, Clone, Debug, Default)]
pub struct FollowArgs {
    /// Show it again as it changes, until the upgrade has ended
    #[arg(short, long)]
    pub(crate) watch: bool,

    /// Print nothing before what --for names has come, or can't come any more
    #[arg(long, conflicts_with = "watch")]
    pub(crate) wait: bool,

    /// What --wait waits for
    #[arg(long = "for", value_name = "PHASE", value_enum, default_value_t, requires = "wait")]
    pub(crate) wait_for: WaitFor,

    /// How long --watch and --wait go on at most: 90s, 30m, 2h. Without it they have no end
    #[arg(long, value_name = "DURATION")]
    pub(crate) timeout: Option<SignedDuration>,
}

/// What is waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "PascalCase")]
pub(crate) enum WaitFor {
    /// Every machine is where it goes, and the cluster works
    #[default]
    Completed,
    /// It doesn't go on before a user acts
    Held,
}

impl FollowArgs {
    pub(crate) const fn is_asked(&self) -> bool {
        self.watch || self.wait
    }
}

/// What a look says of what is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// It is so.
    Reached,
    /// It can't become so without a user.
    Ended(Exit),
    /// Not yet.
    Going,
}

/// Shows the Cluster until its upgrade ends, or waits until it is where it is waited for.
pub(crate) async fn until(
    connection: &Connection,
    cluster: &str,
    args: &FollowArgs,
    show: impl Fn(&Report) -> Result<String, Error>,
) -> Result<Exit, Error> {
    let timeout = args
        .timeout
        .map(|timeout| Duration::try_from(timeout).unwrap_or_default());
    let deadline = timeout.map(|timeout| Instant::now() + timeout);
    let mut shown = String::new();
    let mut failures = 0;
    let mut followed: Option<String> = None;
    let first = Some(Instant::now() + FIRST);
    loop {
        let report = match read::report(connection, cluster).await {
            Ok(report) => report,
            Err(error @ Error::Cluster(_)) if failures < MOST_FAILURES && !is_refused(&error) => {
                failures += 1;
                eprintln!("{}: trying again", error.one_line());
                if past(deadline) {
                    return Ok(Exit::StillGoing);
                }
                sleep(EVERY).await;
                continue;
            }
            Err(error) => return Err(error),
        };
        failures = 0;
        let due = report.cluster.requested.as_deref().filter(|_| followed.is_none());
        if let Some(version) = due.filter(|_| past(first)) {
            eprintln!(
                "Cluster {cluster} asks for {version}, and no ClusterUpgrade has come for it in {} s: is the controller of \
                 Instar running?",
                FIRST.as_secs()
            );
            return Ok(Exit::StillGoing);
        }
        let name = report.upgrade.as_ref().map(|upgrade| upgrade.name.clone());
        let is_another = followed.is_some() && name != followed;
        if due.is_none() {
            followed = followed.or(name);
        }
        let seen = if due.is_some() {
            Verdict::Going
        } else if args.wait {
            judge(&report, args.wait_for)
        } else {
            end(&report)
        };
        let verdict = match seen {
            // What was followed is gone, or another ClusterUpgrade takes it back: it can't be completed any more.
            Verdict::Reached | Verdict::Ended(_) if is_another => Verdict::Ended(Exit::Blocked),
            Verdict::Going if is_another && args.wait => Verdict::Ended(Exit::Blocked),
            Verdict::Reached | Verdict::Ended(_) | Verdict::Going => seen,
        };
        let is_last = verdict != Verdict::Going || past(deadline);
        if args.watch || is_last {
            let text = show(&report)?;
            if text != shown {
                if output::print_on(&redrawn(&text, args.watch))? == Reader::Gone {
                    return Ok(Exit::StillGoing);
                }
                shown = text;
            }
        }
        match verdict {
            Verdict::Reached => return Ok(Exit::Done),
            Verdict::Ended(exit) => return Ok(exit),
            Verdict::Going if past(deadline) => {
                eprintln!("The time is over, and the upgrade of Cluster {cluster} goes on.");
                return Ok(Exit::StillGoing);
            }
            Verdict::Going => sleep(EVERY).await,
        }
    }
}

fn past(deadline: Option<Instant>) -> bool {
    deadline.is_some_and(|deadline| Instant::now() >= deadline)
}

/// Trying again doesn't help a user without the right.
fn is_refused(error: &Error) -> bool {
    error.exit() == Exit::Blocked
}

/// On a terminal each picture takes the place of the one before.
fn redrawn(text: &str, watch: bool) -> String {
    if watch && io::stdout().is_terminal() {
        format!("\u{1b}[H\u{1b}[2J{text}")
    } else {
        text.to_owned()
    }
}

/// For `--watch`: whether there is nothing more to see. What is held may go on at any time.
fn end(report: &Report) -> Verdict {
    match &report.upgrade {
        None => Verdict::Ended(Exit::of_report(report)),
        Some(upgrade) if upgrade.observed && is_over(upgrade.phase) => Verdict::Ended(Exit::of_report(report)),
        Some(_) => Verdict::Going,
    }
}

/// For `--wait`. Of an earlier spec's status nothing is taken.
fn judge(report: &Report, wait_for: WaitFor) -> Verdict {
    let Some(upgrade) = report.upgrade.as_ref() else {
        return Verdict::Ended(Exit::Blocked);
    };
    if !upgrade.observed {
        return Verdict::Going;
    }
    match (wait_for, upgrade.phase) {
        (WaitFor::Completed, UpgradePhase::Completed) | (WaitFor::Held, UpgradePhase::Held) => Verdict::Reached,
        (_, phase) if is_over(phase) => Verdict::Ended(Exit::Blocked),
        (WaitFor::Completed | WaitFor::Held, _) => Verdict::Going,
    }
}

/// A rollback of an upgrade is followed as the one that goes on, so an upgrade that is `RollingBack` is not over.
const fn is_over(phase: UpgradePhase) -> bool {
    match phase {
        UpgradePhase::Completed
        | UpgradePhase::Refused
        | UpgradePhase::RolledBack
        | UpgradePhase::Aborted
        | UpgradePhase::Failed => true,
        UpgradePhase::Pending
        | UpgradePhase::Held
        | UpgradePhase::ControlPlane
        | UpgradePhase::Workers
        | UpgradePhase::Verifying
        | UpgradePhase::RollingBack => false,
    }
}
