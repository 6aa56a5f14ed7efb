//! The page around the middle.

use jiff::Timestamp;
use maud::{PreEscaped, html};

use super::{
    Fragment, Listed, View,
    document::{Referrer, document},
    of_cluster,
    parts::instant,
};
use crate::Report;

/// The styles: of both pages, light and dark, wide and narrow.
pub const STYLE: &str = include_str!("page.css");

/// The script of the live page: it puts each fragment in the place of the one before, and says when none comes.
pub const SCRIPT: &str = include_str!("page.js");

/// An exported page may load and run nothing, whoever serves it.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// What a live page is beside its fragment.
#[derive(Clone, Copy, Debug)]
pub struct Live<'a> {
    /// The way from the page to the root: empty at the root itself, else such as `../../`.
    pub root: &'a str,
    /// Where the fragments come from, as the page reaches it.
    pub events: &'a str,
    /// The same as data, and as a file, as the page reaches them.
    pub links: &'a [(&'a str, &'a str)],
    /// What can't be read now, and since when; empty where all is well.
    pub lost: &'a str,
    /// When it was read.
    pub now: Timestamp,
    /// Whether pages of this server have forms.
    pub writes: Writes,
}

/// Whether a server's pages have forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writes {
    /// They write nothing.
    Nothing,
    /// They have forms, for what the user may do.
    Actions,
}

/// The value can't be written as JSON.
pub type ExportError = serde_json::Error;

/// A page that is kept up to date.
#[must_use]
pub fn live(fragment: &Fragment, live: &Live) -> String {
    let at_root = live.root.is_empty();
    let (writes, referrer) = match live.writes {
        Writes::Nothing => ("Nothing is written here.", Referrer::None),
        Writes::Actions => ("What a button does is written with them too.", Referrer::SameOrigin),
    };
    let head = html! {
        link rel="stylesheet" href={ (live.root) "page.css" };
        script src={ (live.root) "page.js" } defer {}
    };
    let body = html! {
        a .skip href="#main" { "Skip to the upgrade" }
        nav .top aria-label="Pages" {
            @if at_root { span .here aria-current="page" { "Upgrades" } }
            @else { a href=(live.root) { "Upgrades" } }
            p #link role="status" .lost[!live.lost.is_empty()] { (live.lost) }
        }
        main #main data-events=(live.events) { (PreEscaped(&fragment.html)) }
        p #spoken .unseen aria-live="polite" {}
        footer {
            p { "Read " time #read datetime=(live.now) { (instant(live.now)) } ", with the rights of your kubeconfig. " (writes) }
            @if !live.links.is_empty() {
                p { @for (name, link) in live.links { a href=(link) { (name) } " " } }
            }
            noscript { p { "Without scripts this page stays as it is: reload it." } }
        }
    };
    document(&fragment.title, &head, &body, referrer).into_string()
}

/// One file that a browser shows without asking for anything, with the value itself in it.
///
/// # Errors
/// Where the value can't be written as JSON.
pub fn export(report: &Report, now: Timestamp) -> Result<String, ExportError> {
    // Who reads it has contexts of other names.
    let fragment = of_cluster(report, View::plain(now, Listed::All));
    let data = data(report)?;
    let head = html! {
        meta http-equiv="Content-Security-Policy" content=(POLICY);
        style { (PreEscaped(STYLE)) }
    };
    let body = html! {
        nav .top { span .here { "As it was at " time datetime=(now) { (instant(now)) } } }
        main #main { (PreEscaped(&fragment.html)) }
        footer {
            p {
                "Written by " code { "kubectl instar status " (report.cluster.name) " -n " (report.cluster.namespace) " --export" }
                ". Ages count to " (instant(now)) ". The same as JSON is in this file, in the element " code { "report" } "."
            }
        }
        script #report type="application/json" { (PreEscaped(data)) }
    };
    Ok(document(&fragment.title, &head, &body, Referrer::None).into_string())
}

/// JSON that ends no script: its strings alone may have a `<`.
fn data(report: &Report) -> Result<String, ExportError> {
    Ok(serde_json::to_string(report)?
        .replace('<', "\\u003c")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029"))
}
