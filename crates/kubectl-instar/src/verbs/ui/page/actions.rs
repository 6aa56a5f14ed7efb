//! What the page may do, where the user has allowed that: the verbs of this plugin, asked for by forms.
//!
//! A form carries a secret of its own beside the token of the address, the ClusterUpgrade that its page showed, and what it
//! is about: nothing else than what was shown is written.

use std::time::Duration;

use axum::{
    http::{HeaderMap, StatusCode, header},
    response::{Html, IntoResponse, Response},
};
use instar_api::ClusterUpgrade;
use instar_report::{
    Action, ShownUpgrade, approval_entries,
    html::{self, Answer, FormFields},
};
use kube::ResourceExt;
use tokio::time::timeout;

use super::served::{Actions, Served, is_name, nothing};
use crate::{
    Error, Exit,
    connection::Connection,
    read,
    verbs::{
        approve,
        edit::{self, Edit},
        follow::FollowArgs,
        rollback::{self, Part},
        upgrade::{self, BeginArgs, UpgradeArgs},
        write::{self, Write, Written},
    },
};

/// So long the API server may take, with all that is read before.
const PATIENCE: Duration = Duration::from_secs(30);

/// No form of the page is longer.
pub(super) const LONGEST: usize = 16 * 1024;

/// What a form sends.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sent {
    secret: String,
    upgrade: String,
    state: String,
    subject: String,
    target: String,
}

impl Sent {
    fn read(headers: &HeaderMap, body: &[u8]) -> Option<Self> {
        let kind = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
        if kind.split(';').next() != Some("application/x-www-form-urlencoded") {
            return None;
        }
        let mut sent = Self::default();
        for (name, value) in form_urlencoded::parse(body) {
            let field = match &*name {
                FormFields::SECRET => &mut sent.secret,
                FormFields::UPGRADE => &mut sent.upgrade,
                FormFields::STATE => &mut sent.state,
                FormFields::SUBJECT => &mut sent.subject,
                FormFields::TARGET => &mut sent.target,
                _ => continue,
            };
            value.trim().clone_into(field);
        }
        Some(sent)
    }
}

/// Does what a form asks for.
pub(super) async fn act(
    served: &Served,
    (namespace, name): (String, String),
    action: Action,
    headers: &HeaderMap,
    body: &[u8],
) -> Response {
    if !is_name(&namespace) || !is_name(&name) {
        return nothing().await;
    }
    let Some(sent) = Sent::read(headers, body) else {
        let why = "refused: this address takes the forms of its page alone\n";
        return (StatusCode::UNSUPPORTED_MEDIA_TYPE, why).into_response();
    };
    match &served.actions {
        Actions::Allowed(secret) if secret.is(&sent.secret) => {}
        Actions::Allowed(_) | Actions::Refused => {
            let why =
                "refused: the form is of no page of this run. Open the address that `kubectl instar ui` printed.\n";
            return (StatusCode::FORBIDDEN, why).into_response();
        }
    }
    let connection = served.in_namespace(&namespace);
    let done = match timeout(PATIENCE, perform(&connection, &name, action, &sent)).await {
        Ok(done) => done,
        Err(_) => Err(Error::Refused(format!(
            "the API server has not answered within {} s: see on the page whether it was done",
            PATIENCE.as_secs()
        ))),
    };
    let target = if action == Action::Upgrade {
        &sent.target
    } else {
        &sent.subject
    };
    let command = action.command(&name, target, &connection.invocation);
    let (status, written, result) = match done {
        Ok(written) => (StatusCode::OK, written, html::Done::Done),
        Err(error) => (status(&error), Written::nothing(error.one_line()), html::Done::Refused),
    };
    let answer = Answer {
        cluster: (&namespace, &name),
        action,
        said: &written.done,
        warnings: &written.warnings,
        result,
        command: &command,
    };
    (status, Html(html::answer(&answer))).into_response()
}

/// What the API server said, where it was that.
fn status(error: &Error) -> StatusCode {
    match error {
        Error::Cluster(instar::cluster::Error::Call {
            source: kube::Error::Api(status),
            ..
        }) => StatusCode::from_u16(status.code)
            .ok()
            .filter(StatusCode::is_client_error)
            .unwrap_or(StatusCode::BAD_GATEWAY),
        Error::NotFound { .. } => StatusCode::NOT_FOUND,
        other => match other.exit() {
            Exit::Blocked => StatusCode::CONFLICT,
            Exit::Done | Exit::StillGoing | Exit::Unknown => StatusCode::BAD_GATEWAY,
        },
    }
}

async fn perform(connection: &Connection, cluster: &str, action: Action, sent: &Sent) -> Result<Written, Error> {
    let upgrades = read::upgrades(connection, cluster).await?;
    let current = instar_report::current(&upgrades);
    let name = current.map(ResourceExt::name_any).unwrap_or_default();
    if name != sent.upgrade {
        return Err(Error::Refused(format!(
            "nothing was done: the page showed {}, and now Cluster {cluster} has {}. See the page, and ask again",
            named(&sent.upgrade),
            named(&name)
        )));
    }
    if current.is_some_and(|upgrade| action.state(&ShownUpgrade::of(upgrade)) != sent.state) {
        return Err(Error::Refused(format!(
            "nothing was done: {} isn't what the page showed any more: it was changed, or deleted and created again. See the \
             page, and ask again",
            named(&name)
        )));
    }
    match action {
        Action::Upgrade => begin(connection, cluster, &sent.target, Again::No).await,
        Action::Retry => begin(connection, cluster, &sent.subject, Again::Yes).await,
        Action::Approve => approve(connection, cluster, &upgrades, &sent.subject).await,
        Action::Pause => edit(connection, cluster, &upgrades, Edit::Pause).await,
        Action::Resume => edit(connection, cluster, &upgrades, Edit::Resume).await,
        Action::Abort => edit(connection, cluster, &upgrades, Edit::Abort).await,
        Action::Rollback => back(connection, cluster, &upgrades, Part::All).await,
        Action::RollbackWorkers => back(connection, cluster, &upgrades, Part::Workers).await,
    }
}

fn named(upgrade: &str) -> String {
    match upgrade {
        "" => "no ClusterUpgrade".to_owned(),
        name => format!("ClusterUpgrade {name}"),
    }
}

async fn approve(
    connection: &Connection,
    cluster: &str,
    upgrades: &[ClusterUpgrade],
    shown: &str,
) -> Result<Written, Error> {
    let upgrade = read::current_of(upgrades, connection, cluster)?;
    let asked = approval_entries(&approve::asked(upgrade));
    if asked != shown {
        return Err(Error::Refused(format!(
            "nothing was approved: the page showed {shown}, and what ClusterUpgrade {} waits for is {} now. See the page, and ask again",
            upgrade.name_any(),
            if asked.is_empty() { "no approval" } else { &asked }
        )));
    }
    approve::apply(connection, upgrade, Write::Made).await
}

async fn edit(
    connection: &Connection,
    cluster: &str,
    upgrades: &[ClusterUpgrade],
    edit: Edit,
) -> Result<Written, Error> {
    let upgrade = read::current_of(upgrades, connection, cluster)?;
    edit::apply(connection, upgrade, edit, Write::Made).await
}

/// An upgrade to the target of the form, or that of the page once more.
async fn begin(connection: &Connection, cluster: &str, to: &str, again: Again) -> Result<Written, Error> {
    if to.is_empty() {
        return Err(Error::Refused(
            "the target is empty: give a version (v1.35.4), a prefix (v1.35), or the name of a KubernetesRelease"
                .to_owned(),
        ));
    }
    let args = UpgradeArgs {
        cluster: cluster.to_owned(),
        to: to.to_owned(),
        retarget: false,
        retry: again == Again::Yes,
        begin: BeginArgs {
            name: None,
            dry_run: false,
            follow: FollowArgs::default(),
        },
    };
    upgrade::begin(connection, &args).await
}

/// Whether a target is begun once more that was taken back or aborted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Again {
    Yes,
    No,
}

async fn back(
    connection: &Connection,
    cluster: &str,
    upgrades: &[ClusterUpgrade],
    part: Part,
) -> Result<Written, Error> {
    let back = rollback::planned(connection, cluster, upgrades, part, None)?;
    write::create(connection, &back.upgrade, Write::Made).await
}
