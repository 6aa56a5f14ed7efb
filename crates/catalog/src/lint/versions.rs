//! Versions of Kubernetes in the names of images.

use instar_domain::KubeVersion;

/// How far two minors may be apart before one is taken for the version of something else.
const NEAR: u64 = 10;

/// A version in the text that is not the row's, where the row's isn't in it.
pub(super) fn other(text: &str, version: &KubeVersion) -> Option<String> {
    if names_version(text, version) {
        return None;
    }
    let own = version.minor();
    numbers(text)
        .find(|(major, minor, _)| *major == own.major && minor.abs_diff(own.minor) <= NEAR)
        .map(|(major, minor, patch)| format!("v{major}.{minor}.{patch}"))
}

/// Whether the version's three numbers are in a text.
#[must_use]
pub fn names_version(text: &str, version: &KubeVersion) -> bool {
    let own = version.minor();
    numbers(text).any(|found| found == (own.major, own.minor, version.patch()))
}

/// What is written as three numbers with dots between.
fn numbers(text: &str) -> impl Iterator<Item = (u64, u64, u64)> {
    text.split(|letter: char| !(letter.is_ascii_digit() || letter == '.'))
        .filter_map(|word| {
            let mut parts = word.trim_matches('.').split('.').map(|part| part.parse::<u64>().ok());
            let found = (parts.next()??, parts.next()??, parts.next()??);
            parts.next().is_none().then_some(found)
        })
}
