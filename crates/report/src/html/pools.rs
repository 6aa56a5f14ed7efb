//! The control plane and the pools: a bar of machines each, which fills as they converge.

use maud::{Markup, html};

use super::parts::{chip, machines};
use crate::{PoolSection, Report, text::words};

/// Up to so many machines, each has a place of its own in the bar.
const SINGLE: u32 = 60;

/// How many machines are in which state.
#[derive(Clone, Copy)]
pub(super) struct Counts {
    pub(super) converged: u32,
    pub(super) upgrading: u32,
    pub(super) failed: u32,
    pub(super) all: u32,
}

impl Counts {
    pub(super) const fn of(pool: &PoolSection) -> Self {
        Self {
            converged: pool.converged,
            upgrading: pool.upgrading,
            failed: pool.failed,
            all: pool.machines,
        }
    }

    /// Of all pools.
    pub(super) fn all(report: &Report) -> Self {
        let none = Self {
            converged: 0,
            upgrading: 0,
            failed: 0,
            all: 0,
        };
        let pools = report.control_plane.iter().chain(&report.pools);
        pools.map(Self::of).fold(none, |sum, pool| Self {
            converged: sum.converged + pool.converged,
            upgrading: sum.upgrading + pool.upgrading,
            failed: sum.failed + pool.failed,
            all: sum.all + pool.all,
        })
    }
}

pub(super) fn section(report: &Report) -> Markup {
    let pools = report.control_plane.iter().chain(&report.pools);
    html! {
        section .card #pools aria-labelledby="pools-heading" {
            h2 #pools-heading { "Control plane and pools" }
            @if report.control_plane.is_none() && report.pools.is_empty() {
                p { "None." }
            } @else {
                table .stack {
                    thead { tr {
                        th scope="col" { "Name" }
                        th scope="col" { "Version" }
                        th .wide scope="col" { "Machines" }
                        th scope="col" { "State" }
                    } }
                    tbody { @for pool in pools { (row(pool)) } }
                }
            }
        }
    }
}

fn row(pool: &PoolSection) -> Markup {
    html! {
        tr id={ "pool " (pool.kind.0) " " (pool.name) } {
            th scope="row" { span .name { (pool.name) } " " span .kind { (pool.kind.0) } }
            td data-label="Version" { span .version { (pool.version) } }
            td .wide data-label="Machines" {
                span .counts { (words(Counts::of(pool))) }
                (bar(Counts::of(pool)))
            }
            td data-label="State" { (chip(pool.assessment.as_str(), words::assessment(pool.assessment))) }
        }
    }
}

/// What the bar shows, in words.
pub(super) fn words(counts: Counts) -> String {
    let mut text = vec![format!("{} of {} up to date", counts.converged, machines(counts.all))];
    if counts.upgrading > 0 {
        text.push(format!("{} on the way", counts.upgrading));
    }
    if counts.failed > 0 {
        text.push(format!("{} failed", counts.failed));
    }
    text.join(", ")
}

/// A part of a bar, in tenths of a machine.
struct Piece {
    class: &'static str,
    from: u32,
    width: u32,
}

/// The bar alone says nothing to those who don't see it: the words stand beside it.
pub(super) fn bar(counts: Counts) -> Markup {
    let named = counts.converged + counts.upgrading + counts.failed;
    // A machine that is replaced and its replacement are two, so the parts may be more than the whole.
    let all = counts.all.max(named).max(1);
    let single = all <= SINGLE;
    let parts = [
        ("converged", counts.converged),
        ("upgrading", counts.upgrading),
        ("failed", counts.failed),
        ("to-come", all - named),
    ];
    let mut pieces = Vec::new();
    let mut at = 0;
    for (class, count) in parts {
        if single {
            pieces.extend((at..at + count).map(|place| Piece {
                class,
                from: place * 10,
                width: 10,
            }));
        } else if count > 0 {
            pieces.push(Piece {
                class,
                from: at * 10,
                width: count * 10,
            });
        }
        at += count;
    }
    html! {
        // By attributes, since the page's policy takes no styles in elements.
        svg .bar .single[single] viewBox={ "0 0 " (all * 10) " 10" } preserveAspectRatio="none" aria-hidden="true" focusable="false" {
            @for piece in pieces {
                rect .(piece.class) x=(piece.from) width=(piece.width) height="10" {}
            }
        }
    }
}
