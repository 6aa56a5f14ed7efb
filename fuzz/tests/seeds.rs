//! Every property over its seeds and over random changes to them: what `make fuzz` does for minutes,
//! without libFuzzer's sense for new paths, in seconds.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    collections::BTreeSet,
    fs,
    io::{Write as _, stderr},
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use fastrand::Rng;
use instar_api::Rule;
use instar_fuzz::{Target, changed_review, rules_named};
use instar_webhooks::Route;

/// How many changed inputs each property sees.
const fn changed(target: Target) -> usize {
    match target {
        Target::Versions | Target::Pointers | Target::Pins | Target::Json => 50_000,
        Target::Kubeconfig | Target::Expressions | Target::RuntimeHook => 20_000,
        Target::AdmissionReview => 5_000,
    }
}

/// What random bytes would hit too seldom.
const WORDS: [&str; 40] = [
    "v1.34.3",
    "v1.35.0-rc.1",
    "+vmware.1",
    "18446744073709551616",
    "-1",
    "1e400",
    "0.1",
    "/spec/",
    "~0",
    "~1",
    "/0",
    "null",
    "true",
    "\"\"",
    "{}",
    "[]",
    "{\"a\":",
    "[[",
    "\\u0000",
    "\\ud800",
    "\u{0}",
    "\u{feff}",
    "\n",
    ",",
    "status",
    ".all(x, ",
    ".exists(x, x.",
    ".filter(x, true)",
    ".map(x, [x, x])",
    "has(",
    " && ",
    " ? 1 : ",
    "!(",
    "-(",
    "[0]",
    "in ",
    "size(",
    ".matches('(a*)*')",
    "timestamp('9999-12-31T23:59:59Z')",
    "duration('9223372036s')",
];

fn seeds(target: Target) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target.name());
    let mut paths: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} has no seeds", folder.display());
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// A seed with a few changes, of the kinds that libFuzzer makes.
fn change(rng: &mut Rng, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut input = rng.choice(seeds).unwrap().clone();
    for _ in 0..rng.usize(1..5) {
        let from = rng.usize(0..=input.len());
        let to = rng.usize(from..=input.len().min(from + 64));
        match rng.u8(0..6) {
            0 => {
                input.drain(from..to);
            }
            1 => {
                let copy = input[from..to].to_vec();
                input.splice(from..from, copy);
            }
            2 => {
                let word = *rng.choice(&WORDS).unwrap();
                input.splice(from..from, word.bytes());
            }
            3 => {
                let word = *rng.choice(&WORDS).unwrap();
                input.splice(from..to, word.bytes());
            }
            4 => {
                let other = rng.choice(seeds).unwrap();
                input.truncate(from);
                input.extend(&other[rng.usize(0..=other.len())..]);
            }
            _ => {
                if let Some(byte) = input.get_mut(from) {
                    *byte = rng.u8(..);
                }
            }
        }
    }
    input
}

/// A seed that is JSON still, where it was.
fn change_review(rng: &mut Rng, seeds: &[Vec<u8>]) -> Vec<u8> {
    let seed = rng.choice(seeds).unwrap();
    changed_review(seed, rng.u64(..)).unwrap_or_else(|| seed.clone())
}

fn holds(target: Target) {
    let seeds = seeds(target);
    let mut rng = Rng::with_seed(5);
    let changed: Vec<Vec<u8>> = (0..changed(target))
        .map(|_| match target {
            Target::AdmissionReview if rng.u8(..4) > 0 => change_review(&mut rng, &seeds),
            Target::Versions
            | Target::Pointers
            | Target::Pins
            | Target::Json
            | Target::Kubeconfig
            | Target::Expressions
            | Target::AdmissionReview
            | Target::RuntimeHook => change(&mut rng, &seeds),
        })
        .collect();
    for input in seeds.iter().chain(&changed) {
        if catch_unwind(AssertUnwindSafe(|| target.hold(input))).is_err() {
            let text = String::from_utf8_lossy(input);
            panic!(
                "{} does not hold for {text:?}; its bytes are {}",
                target.name(),
                input.escape_ascii()
            );
        }
    }
    // Not through the macros, which a passing test keeps to itself.
    let (name, seeds, changed) = (target.name(), seeds.len(), changed.len());
    let line = format!("fuzz briefly: target={name} seeds={seeds} changed={changed} crashes=0\n");
    stderr().write_all(line.as_bytes()).unwrap();
}

#[test]
fn versions_hold() {
    holds(Target::Versions);
}

#[test]
fn pointers_hold() {
    holds(Target::Pointers);
}

#[test]
fn pins_hold() {
    holds(Target::Pins);
}

#[test]
fn json_holds() {
    holds(Target::Json);
}

#[test]
fn kubeconfigs_hold() {
    holds(Target::Kubeconfig);
}

#[test]
fn expressions_hold() {
    holds(Target::Expressions);
}

#[test]
fn runtime_hooks_hold() {
    holds(Target::RuntimeHook);
}

#[test]
fn admission_reviews_hold() {
    holds(Target::AdmissionReview);
}

/// Reviews that no route can read any more would try nothing.
#[test]
fn seeds_of_every_route_are_judged() {
    let seeds = seeds(Target::AdmissionReview);
    let rules: BTreeSet<String> = seeds.iter().filter_map(|seed| rules_named(seed)).flatten().collect();
    let silent: Vec<&str> = Route::all()
        .map(Route::path)
        .filter(|path| {
            let mut own = seeds
                .iter()
                .filter(|seed| seed.starts_with(format!("{path}\n").as_bytes()));
            own.all(|seed| rules_named(seed).is_none_or(|rules| rules.is_empty()))
        })
        .collect();
    assert!(silent.is_empty(), "no seed breaks a rule of {silent:?}");
    let (named, all) = (rules.len(), Rule::ALL.len());
    let line = format!("fuzz briefly: the seeds break {named} of {all} rules\n");
    stderr().write_all(line.as_bytes()).unwrap();
}
