//! Where crates come from: the Rust registry and nothing else.

use cargo_metadata::{Package, Source};

use super::{Violation, policy::Sources};

pub(super) fn check(_: &Sources, packages: &[&Package]) -> Vec<Violation> {
    let elsewhere = packages.iter().filter_map(|package| {
        // What the workspace has by path has no source.
        let source = package.source.as_ref().filter(|source| !Source::is_crates_io(source))?;
        let why = format!("it comes from {source}: use what the Rust registry has");
        Some(Violation::of(package, why))
    });
    elsewhere.collect()
}
