//! What comes next: from what was read, at a time, to one step. Nothing here reads or writes.
//!
//! Invariant: the bundle of each configuration verifies the certificate of each server, whatever ends or starts again
//! between two steps. So a new CA is trusted everywhere before it signs, and an old one as long as a server may have its
//! certificate. What the steps lead to is the same from any state.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

/// How long before the time of its making a certificate is valid, for clocks that differ.
const BACKDATED: SignedDuration = SignedDuration::from_hours(1);

/// How long a server that has just started may have read what was in the Secret before. kubelet takes up to two minutes.
const STALE: SignedDuration = SignedDuration::from_mins(5);

/// How long Cluster API may take to copy a bundle into the ExtensionConfig.
const COPIED: SignedDuration = SignedDuration::from_hours(1);

/// A certificate in DER.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Der(pub(super) Arc<[u8]>);

/// From when to when a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Validity {
    pub(super) from: Timestamp,
    pub(super) until: Timestamp,
}

impl Validity {
    /// That of a certificate that is made now.
    pub(super) fn starting(now: Timestamp, lifetime: SignedDuration) -> Self {
        let from = earlier(now, backdated(lifetime));
        Self {
            from,
            until: later(from, lifetime),
        }
    }

    fn lifetime(self) -> SignedDuration {
        self.until.duration_since(self.from)
    }

    /// When it was made, if it was made here.
    fn made(self) -> Timestamp {
        later(self.from, backdated(self.lifetime()))
    }

    pub(super) fn is_over(self, now: Timestamp) -> bool {
        now >= self.until
    }

    /// When it is renewed: at two thirds of its life.
    pub(super) fn renewed(self) -> Timestamp {
        later(self.from, self.lifetime() / 3 * 2)
    }
}

fn backdated(lifetime: SignedDuration) -> SignedDuration {
    BACKDATED.min(lifetime / 10)
}

/// Total: at the end of time there is no later.
pub(super) fn later(time: Timestamp, by: SignedDuration) -> Timestamp {
    time.checked_add(by).unwrap_or(Timestamp::MAX)
}

fn earlier(time: Timestamp, by: SignedDuration) -> Timestamp {
    time.checked_sub(by).unwrap_or(Timestamp::MIN)
}

/// A certificate, and when it is valid.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Certified {
    pub(super) der: Der,
    pub(super) valid: Validity,
}

/// What a Secret has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stored<T> {
    /// There is no Secret.
    Missing,
    /// There is one, and this is wrong with it.
    Unusable(String),
    Usable(T),
}

/// The certificate that servers read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Leaf {
    pub(super) certificate: Certified,
    pub(super) signer: Signer,
}

/// Who signed a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signer {
    /// The CA whose key is stored.
    Current,
    Other,
}

/// One part of a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Authority(Certified),
    Unreadable,
}

/// A webhook configuration that is installed, with the bundle of each of its webhooks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Configuration {
    pub(super) name: String,
    pub(super) bundles: Vec<Vec<Entry>>,
}

/// The ExtensionConfig, into which Cluster API copies the bundle of the Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Extension {
    Absent,
    Present(Vec<Entry>),
}

/// The servers behind the Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Endpoints {
    /// They are asked only where something depends on them.
    NotAsked,
    /// They can't be found, and this is why.
    Unknown(String),
    Asked(Vec<Endpoint>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    pub(super) address: String,
    pub(super) readiness: Readiness,
    pub(super) answer: Answer,
}

/// Whether the API server may be sent to an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Readiness {
    Ready,
    /// It starts, ends, or isn't well.
    NotReady,
}

/// What a server said in a TLS handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Certificate(Der),
    /// It answered, and not with a certificate of any CA that is trusted.
    Unknown(String),
    Unreachable(String),
}

/// All that is decided from.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) authority: Stored<Certified>,
    pub(super) leaf: Stored<Leaf>,
    /// `ca.crt` beside the leaf.
    pub(super) bundle: Vec<Entry>,
    pub(super) configurations: Vec<Configuration>,
    pub(super) extension: Extension,
    pub(super) endpoints: Endpoints,
    /// How long a new leaf is valid, and a new CA.
    pub(super) lifetimes: Lifetimes,
    pub(super) now: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lifetimes {
    pub(super) leaf: SignedDuration,
    pub(super) authority: SignedDuration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Make a CA and store it with its key. It signs nothing yet.
    MakeAuthority(String),
    /// Write this bundle where it isn't.
    Trust {
        bundle: Vec<Certified>,
        /// The names of those that have another one.
        configurations: Vec<String>,
        secret: Rewrite,
    },
    /// Make a leaf and store it with this bundle.
    MakeLeaf { why: String, bundle: Vec<Certified> },
    /// Ask every server what it serves.
    AskEndpoints,
    /// Look again soon; this is what is waited for.
    Wait(String),
    /// Nothing, until this time.
    Settled(Timestamp),
}

/// Whether `ca.crt` beside the leaf is written too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rewrite {
    Yes,
    No,
}

pub(super) fn next_step(seen: &Seen) -> Step {
    let authority = match &seen.authority {
        Stored::Missing => return Step::MakeAuthority("there is no CA".to_owned()),
        Stored::Unusable(why) => return Step::MakeAuthority(format!("the CA can't be used: {why}")),
        Stored::Usable(authority) => authority,
    };
    if let Some(why) = renewal(authority.valid, seen.lifetimes.authority, seen.now) {
        return Step::MakeAuthority(format!("the CA {why}"));
    }
    let leaf = good_leaf(seen);
    let old = old_authorities(seen, authority);
    let needed = match &leaf {
        _ if old.is_empty() => Needed::NoMore,
        // What will be served isn't made yet.
        Err(_) => Needed::Until("the new certificate is made".to_owned()),
        Ok(leaf) => match needed(seen, leaf) {
            Some(needed) => needed,
            None => return Step::AskEndpoints,
        },
    };
    let mut bundle = vec![authority.clone()];
    match &needed {
        Needed::Until(_) => bundle.extend(old),
        Needed::NoMore => {}
    }
    if let Some(step) = trust(seen, &bundle) {
        return step;
    }
    match (leaf, needed) {
        (Err(why), _) => match waits_for_extension(seen, authority) {
            Some(wait) => Step::Wait(wait),
            None => Step::MakeLeaf { why, bundle },
        },
        (Ok(_), Needed::Until(what)) => Step::Wait(format!("the CA of before is trusted until {what}")),
        (Ok(leaf), Needed::NoMore) => Step::Settled(leaf.valid.renewed().min(authority.valid.renewed())),
    }
}

/// The leaf, or why it has to be made.
fn good_leaf(seen: &Seen) -> Result<&Certified, String> {
    match &seen.leaf {
        Stored::Missing => Err("there is no certificate".to_owned()),
        Stored::Unusable(why) => Err(format!("the certificate can't be used: {why}")),
        Stored::Usable(Leaf {
            signer: Signer::Other, ..
        }) => Err("the certificate is signed by another CA".to_owned()),
        Stored::Usable(Leaf {
            certificate,
            signer: Signer::Current,
        }) => match renewal(certificate.valid, seen.lifetimes.leaf, seen.now) {
            Some(why) => Err(format!("the certificate {why}")),
            None => Ok(certificate),
        },
    }
}

/// Why a certificate is made again, for its times.
fn renewal(valid: Validity, lifetime: SignedDuration, now: Timestamp) -> Option<String> {
    if valid.is_over(now) {
        return Some(format!("expired at {}", valid.until));
    }
    if now < valid.from {
        return Some(format!("is valid only from {} on", valid.from));
    }
    if now >= valid.renewed() {
        return Some(format!("has lived two thirds of its life, until {}", valid.until));
    }
    (valid.lifetime() > lifetime).then(|| "is valid for longer than this controller makes one".to_owned())
}

/// CAs that are trusted somewhere and may have signed what a server has.
fn old_authorities(seen: &Seen, current: &Certified) -> Vec<Certified> {
    let configured = seen
        .configurations
        .iter()
        .flat_map(|found| found.bundles.iter().flatten());
    let mut old: Vec<Certified> = configured
        .chain(&seen.bundle)
        .filter_map(|entry| match entry {
            Entry::Authority(authority) => Some(authority.clone()),
            Entry::Unreadable => None,
        })
        .filter(|authority| authority.der != current.der && !authority.valid.is_over(seen.now))
        .collect();
    old.sort();
    old.dedup();
    old
}

/// Whether the CAs of before are still needed.
enum Needed {
    /// Until this has come.
    Until(String),
    NoMore,
}

/// None where the servers have to be asked.
fn needed(seen: &Seen, leaf: &Certified) -> Option<Needed> {
    let known = later(leaf.valid.made(), STALE.min(leaf.valid.lifetime() / 20));
    if seen.now < known {
        return Some(Needed::Until(format!(
            "{known}, when every server has read the new certificate"
        )));
    }
    let endpoints = match &seen.endpoints {
        Endpoints::NotAsked => return None,
        Endpoints::Unknown(why) => return Some(Needed::Until(format!("the servers are known: {why}"))),
        Endpoints::Asked(endpoints) => endpoints,
    };
    Some(
        match endpoints.iter().find_map(|endpoint| not_yet(endpoint, &leaf.der)) {
            Some(what) => Needed::Until(what),
            None => Needed::NoMore,
        },
    )
}

/// What of an endpoint keeps the CAs of before.
fn not_yet(endpoint: &Endpoint, leaf: &Der) -> Option<String> {
    let address = &endpoint.address;
    match (&endpoint.answer, endpoint.readiness) {
        (Answer::Certificate(served), _) if served == leaf => None,
        (Answer::Certificate(_), _) => Some(format!("{address} serves the new certificate")),
        (Answer::Unknown(why), _) => Some(format!("{address} serves the new certificate: {why}")),
        (Answer::Unreachable(why), Readiness::Ready) => Some(format!("{address} can be reached: {why}")),
        // It has nothing to serve, and reads the Secret when it starts.
        (Answer::Unreachable(_), Readiness::NotReady) => None,
    }
}

/// The step that writes the bundle wherever another one is.
fn trust(seen: &Seen, bundle: &[Certified]) -> Option<Step> {
    let is_this = |found: &Vec<Entry>| {
        let wanted = bundle.iter().cloned().map(Entry::Authority);
        found.iter().cloned().eq(wanted)
    };
    let configurations = seen.configurations.iter();
    let configurations: Vec<String> = configurations
        .filter(|found| !found.bundles.iter().all(is_this))
        .map(|found| found.name.clone())
        .collect();
    let secret = match &seen.leaf {
        Stored::Usable(_) if !is_this(&seen.bundle) => Rewrite::Yes,
        // With the leaf the bundle is written.
        Stored::Usable(_) | Stored::Missing | Stored::Unusable(_) => Rewrite::No,
    };
    (!configurations.is_empty() || secret == Rewrite::Yes).then(|| Step::Trust {
        bundle: bundle.to_vec(),
        configurations,
        secret,
    })
}

/// What is waited for before the new CA signs: Cluster API copies the bundle itself, so it isn't waited for without end,
/// nor where the servers' certificate is of no use anyway.
fn waits_for_extension(seen: &Seen, authority: &Certified) -> Option<String> {
    let Extension::Present(found) = &seen.extension else {
        return None;
    };
    let Stored::Usable(leaf) = &seen.leaf else {
        return None;
    };
    let copied = later(authority.valid.made(), COPIED.min(authority.valid.lifetime() / 100));
    let has_it = found.contains(&Entry::Authority(authority.clone()));
    let waits = !has_it && seen.now < copied && !leaf.certificate.valid.is_over(seen.now);
    waits.then(|| {
        format!("Cluster API has not yet copied the new CA into the ExtensionConfig, which has until {copied}")
    })
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
