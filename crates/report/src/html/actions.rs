//! What a user may do from the page, where that is allowed: a form for each, with the command that does the same.

use instar_api::RollbackStatus;
use maud::{Markup, html};

use super::{
    View,
    document::{Referrer, document},
    parts::{chip, command, message},
};
use crate::{Action, Report, text::Tone};

/// Whether a page has forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forms<'a> {
    /// It has none.
    None,
    /// It has one for each action that is of use; each sends this secret back.
    With {
        /// It is in no address.
        secret: &'a str,
    },
}

/// The fields of a form.
#[derive(Clone, Copy, Debug)]
pub struct FormFields;

impl FormFields {
    /// The secret of [`Forms::With`].
    pub const SECRET: &str = "secret";
    /// The ClusterUpgrade that the page showed; empty where there was none.
    pub const UPGRADE: &str = "upgrade";
    /// [`Action::state`] of it; empty where there was none.
    pub const STATE: &str = "state";
    /// [`Action::subject`], as the page showed it.
    pub const SUBJECT: &str = "subject";
    /// The target of [`Action::Upgrade`].
    pub const TARGET: &str = "target";
}

/// All that are of use.
pub(super) fn section(report: &Report, view: View) -> Markup {
    let Forms::With { secret } = view.forms else {
        return html! {};
    };
    let offered: Vec<Action> = Action::ALL.into_iter().filter(|one| one.is_offered(report)).collect();
    html! {
        @if !offered.is_empty() {
            section .card #actions aria-labelledby="actions-heading" {
                h2 #actions-heading { "Actions" }
                p .hint { "Each is done with the rights of your kubeconfig, and does what the command below it does." }
                @for action in offered { (one(action, report, view, secret)) }
            }
        }
    }
}

fn one(action: Action, report: &Report, view: View, secret: &str) -> Markup {
    let form = form(action, report, view, secret);
    match action {
        // Unfolded before it can be clicked.
        Action::Abort | Action::RollbackWorkers | Action::Rollback => html! {
            details .action id={ "action " (action.as_str()) } {
                summary { (label(action)) " …" }
                p { (consequence(action)) }
                @if action == Action::Rollback { @if let Some(rollback) = rollback(report) {
                    @if !rollback.what.is_empty() { ol { @for step in &rollback.what { li { (step) } } } }
                } }
                (form)
            }
        },
        Action::Approve | Action::Pause | Action::Resume | Action::Upgrade | Action::Retry => html! {
            div .action id={ "action " (action.as_str()) } {
                p { (consequence(action)) }
                @if action == Action::Approve { p { code { (action.subject(report)) } } }
                (form)
            }
        },
    }
}

fn rollback(report: &Report) -> Option<&RollbackStatus> {
    report.upgrade.as_ref()?.rollback.as_ref()
}

fn form(action: Action, report: &Report, view: View, secret: &str) -> Markup {
    let cluster = &report.cluster;
    let upgrade = report.upgrade.as_ref().map_or("", |upgrade| &upgrade.name);
    let state = report.upgrade.as_ref().map(|upgrade| action.state(&upgrade.shown));
    let subject = action.subject(report);
    let target = if action == Action::Upgrade { "VERSION" } else { &subject };
    let invocation = view.invocation.in_namespace(&cluster.namespace);
    html! {
        form method="post" action={ (cluster.name) "/" (action.as_str()) } {
            input type="hidden" name=(FormFields::SECRET) value=(secret);
            input type="hidden" name=(FormFields::UPGRADE) value=(upgrade);
            input type="hidden" name=(FormFields::STATE) value=(state.unwrap_or_default());
            input type="hidden" name=(FormFields::SUBJECT) value=(subject);
            @if action == Action::Upgrade {
                label for="action-target" { "Target" }
                input #action-target type="text" name=(FormFields::TARGET) required placeholder="v1.35" autocomplete="off" spellcheck="false";
            }
            button type="submit" { (label(action)) }
        }
        (command(&action.command(&cluster.name, target, &invocation)))
    }
}

const fn label(action: Action) -> &'static str {
    match action {
        Action::Approve => "Approve",
        Action::Pause => "Pause",
        Action::Resume => "Resume",
        Action::Upgrade => "Upgrade",
        Action::Retry => "Try again",
        Action::Abort => "Abort",
        Action::RollbackWorkers => "Take the workers back",
        Action::Rollback => "Roll back",
    }
}

const fn consequence(action: Action) -> &'static str {
    match action {
        Action::Approve => "The upgrade waits for this approval, which admission signs with your name:",
        Action::Pause => "Nothing more is written before it is resumed.",
        Action::Resume => "It goes on from where it stands.",
        Action::Upgrade => {
            "A ClusterUpgrade is created, to a version (v1.35.4), a prefix (v1.35) or a KubernetesRelease."
        }
        Action::Retry => "The same target is begun once more.",
        Action::Abort => {
            "The step of the control plane that is under way ends, the workers follow it, and the upgrade ends there."
        }
        Action::RollbackWorkers => {
            "The machines of the workers are replaced by such as they were before; the control plane stays."
        }
        Action::Rollback => "The machines are replaced by such as they were before, the workers first:",
    }
}

/// What became of an action.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// The namespace and the name of the Cluster.
    pub cluster: (&'a str, &'a str),
    /// What was asked for.
    pub action: Action,
    /// Whether it was done.
    pub result: Done,
    /// What was done, or why not.
    pub said: &'a str,
    /// What the API server and admission warned of; lines of one text, as admission gives a long one in several.
    pub warnings: &'a [String],
    /// The command that does the same.
    pub command: &'a str,
}

/// Whether an action was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// It was.
    Done,
    /// The API server, or a rule of a verb, refused it.
    Refused,
}

/// The page that a form is answered with. It stands at the Cluster's own address with the name of the action behind it.
#[must_use]
pub fn answer(answer: &Answer) -> String {
    const ROOT: &str = "../../../";
    let Answer {
        cluster: (namespace, name),
        action,
        result,
        said,
        warnings,
        command: same,
    } = answer;
    let (word, tone, class) = match result {
        Done::Done => ("Done", Tone::Good, "good"),
        Done::Refused => ("Not done", Tone::Bad, "bad"),
    };
    let title = format!("{name}: {} {}", label(*action), word.to_lowercase());
    let head = html! { link rel="stylesheet" href={ (ROOT) "page.css" }; };
    let body = html! {
        nav .top aria-label="Pages" { a href=(ROOT) { "Upgrades" } a href={ "../" (name) } { (namespace) "/" (name) } }
        main #main {
            header .head { h1 tabindex="-1" { (label(*action)) ": " (namespace) "/" wbr; (name) } }
            section .card .verdict .(class) role="status" {
                h2 { (chip(word, tone)) }
                (message(said))
                @if !warnings.is_empty() {
                    div .rows {
                        div .row .warning { (chip("Warning", Tone::Warning)) (message(&warnings.join("\n"))) }
                    }
                }
                p .hint { "The command that does the same:" }
                (command(same))
                p .more-link { a href={ "../" (name) } { "Back to the Cluster" } }
            }
        }
    };
    document(&title, &head, &body, Referrer::SameOrigin).into_string()
}
