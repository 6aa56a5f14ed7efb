//! That a template's spec says what it said, in CEL: members may be added, and what a provider means to be edited in
//! place may change.
//!
//! It lets through all that the server does, and more: CEL knows neither the rows nor what other webhooks have done, so
//! what a user adds passes. Beyond [`DEPTH`] levels, and in the second level of an array's elements, it sees nothing.

use std::fmt::Write;

use instar_admission::template::MUTABLE_FIELDS;
use k8s_openapi::api::admissionregistration::v1::Variable;

/// How many levels of objects are looked at.
const DEPTH: usize = 6;

const BEFORE: &str = "variables.before";
const AFTER: &str = "variables.after";

/// What the expression calls the two specs.
pub(super) fn variables() -> Vec<Variable> {
    let variable = |name: &str, object: &str| Variable {
        name: name.trim_start_matches("variables.").to_owned(),
        expression: format!("{object}.?spec.?template.?spec.orValue(null)"),
    };
    vec![variable(BEFORE, "oldObject"), variable(AFTER, "object")]
}

/// Whether nothing is another value, and nothing is gone. What was null wasn't there.
pub(super) fn only_adds() -> String {
    format!("{BEFORE} == null || {}", keeps(BEFORE, AFTER, 0))
}

/// Whether a value is kept: it is the same, or an object or an array of which each part is kept.
fn keeps(before: &str, after: &str, level: usize) -> String {
    let is = |kind: &str| format!("type({before}) == {kind} && type({after}) == {kind}");
    if level == DEPTH {
        return format!("{before} == {after} || ({})", is("map"));
    }
    let key = format!("k{level}");
    let (old, new) = (format!("{before}[{key}]"), format!("{after}[{key}]"));
    let mut kept = format!("{old} == null || {}", keeps(&old, &new, level + 1));
    if level == 0 {
        let _ = write!(kept, " || {}", is_mutable(&key));
    }
    format!(
        "{before} == {after} ||\n({} && {before}.all({key}, {key} in {after} && ({kept}))) ||\n\
         ({} && size({before}) == size({after}) && {before}.all(e, {after}.exists(n, e == n || \
         (type(e) == map && type(n) == map && e.all(f, f in n && (e[f] == n[f] || e[f] == null || type(e[f]) == map))))))",
        is("map"),
        is("list"),
    )
}

/// Whether a member of the spec is one that may change.
fn is_mutable(key: &str) -> String {
    let fields = MUTABLE_FIELDS
        .map(|field| format!("'{}/{}/{}'", field.group, field.kind, field.member))
        .join(", ");
    format!("(request.kind.group + '/' + request.kind.kind + '/' + {key}) in [{fields}]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_expression_is_no_longer_than_an_api_server_takes() {
        // It is paid for at each update of a template, and read in config/policy.
        assert!(only_adds().len() < 8192, "{}", only_adds().len());
    }
}
