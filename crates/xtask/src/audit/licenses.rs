//! Under which licences crates may stand.

use anyhow::{Context, Result};
use cargo_metadata::Package;
use spdx::{Expression, Licensee, ParseMode};

use super::{Violation, policy::Licenses};

pub(super) fn check(policy: &Licenses, packages: &[&Package]) -> Result<Vec<Violation>> {
    let allowed: Vec<Licensee> = policy
        .allow
        .iter()
        .map(|license| Licensee::parse(license).with_context(|| format!("deny.toml: licenses.allow: {license}")))
        .collect::<Result<_>>()?;
    let wrong = packages.iter().filter_map(|package| {
        let why = wrong(package.license.as_deref(), &allowed)?;
        Some(Violation::of(package, why))
    });
    let mut wrong: Vec<Violation> = wrong.collect();
    for (license, text) in allowed.iter().zip(&policy.allow) {
        let mut expressions = packages
            .iter()
            .filter_map(|package| parse(package.license.as_deref()?).ok());
        if !expressions.any(|expression| expression.requirements().any(|needed| license.satisfies(&needed.req))) {
            wrong.push(Violation {
                what: format!("licenses.allow: {text}"),
                why: "no crate stands under it: remove it from deny.toml".to_owned(),
            });
        }
    }
    Ok(wrong)
}

/// Old manifests have a slash for the "or" of SPDX.
fn parse(license: &str) -> Result<Expression, spdx::ParseError> {
    Expression::parse_mode(license, ParseMode::LAX)
}

fn wrong(license: Option<&str>, allowed: &[Licensee]) -> Option<String> {
    let Some(license) = license else {
        return Some("its manifest has no license: depend on another crate, or on a version that has one".to_owned());
    };
    match parse(license) {
        Err(error) => Some(format!(
            "its license {license} can't be read ({}): depend on another crate",
            error.reason
        )),
        Ok(expression) if expression.evaluate(|needed| allowed.iter().any(|license| license.satisfies(needed))) => None,
        Ok(_) => Some(format!(
            "its license {license} isn't allowed: depend on another crate, or add the licence to licenses.allow of deny.toml"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_several_is_enough_and_all_where_all_count() {
        let allowed = ["MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception"].map(|one| Licensee::parse(one).unwrap());
        for (license, is_right) in [
            (Some("MIT"), true),
            (Some("MIT/Apache-2.0"), true),
            (Some("GPL-3.0-only OR MIT"), true),
            (Some("(MIT OR GPL-3.0-only) AND Apache-2.0"), true),
            (Some("Apache-2.0 WITH LLVM-exception OR GPL-3.0-only"), true),
            (Some("MIT AND GPL-3.0-only"), false),
            (Some("GPL-3.0-only"), false),
            (Some("my own"), false),
            (None, false),
        ] {
            assert_eq!(wrong(license, &allowed).is_none(), is_right, "{license:?}");
        }
    }
}
