//! What the controller may do, and what it did.

use std::collections::BTreeSet;

use instar_controller::{LEASE_RULES, RULES};
use instar_e2e::{Result, journeys::Scene};

use crate::controller::{Request, requests};

/// Nothing was forbidden in all that ran before, and nothing was asked for that no rule names.
pub(crate) async fn nothing_is_forbidden(scene: Scene) -> Result<()> {
    let requests = requests(&scene)?;
    assert!(!requests.is_empty(), "the audit log has no request of the controller");
    let forbidden: BTreeSet<&Request> = requests.iter().filter(|request| request.code == 403).collect();
    assert!(forbidden.is_empty(), "forbidden: {forbidden:?}");
    let granted = |request: &Request| {
        RULES.iter().chain(LEASE_RULES).any(|rule| {
            let named = rule.resource == request.resource || (rule.resource == "*" && !request.resource.contains('/'));
            named && rule.api_group == request.group && rule.verbs.contains(&request.verb.as_str())
        })
    };
    let beyond: BTreeSet<&Request> = requests.iter().filter(|request| !granted(request)).collect();
    assert!(beyond.is_empty(), "used without a rule: {beyond:?}");
    // Templates are deleted after a day, which no journey waits for.
    let unused: Vec<String> = RULES
        .iter()
        .chain(LEASE_RULES)
        .flat_map(|rule| rule.verbs.iter().map(move |verb| (rule, *verb)))
        .filter(|(rule, verb)| {
            let same = |request: &&Request| {
                (rule.resource == "*" || request.resource == rule.resource) && request.group == rule.api_group
            };
            !requests.iter().filter(same).any(|request| request.verb == *verb)
        })
        .map(|(rule, verb)| format!("{verb} {}.{}", rule.resource, rule.api_group))
        .collect();
    instar_e2e::progress::say(format!("granted and not used in these journeys: {}", unused.join(", ")));
    Ok(())
}
