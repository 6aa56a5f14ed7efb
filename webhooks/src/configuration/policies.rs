//! The rules that CEL can check alone, as ValidatingAdmissionPolicies: they work while no server runs.

mod additions;
mod opt_out;

use instar_admission::{EnforceableBy, REFUSAL_REASON, Rule, rule_info};
use instar_api::{BREAK_GLASS_ANNOTATION, Enforcement};
use k8s_openapi::api::admissionregistration::v1::{
    MatchCondition, MatchResources, NamedRuleWithOperations, ValidatingAdmissionPolicy,
    ValidatingAdmissionPolicyBinding, ValidatingAdmissionPolicyBindingSpec, ValidatingAdmissionPolicySpec, Validation,
};

use super::{
    conditions::{TOUCHES, unchanged},
    entries::{Entry, Only},
    named,
};

pub use opt_out::opt_out_policy;

/// The policies with their bindings, one for each rule and webhook.
#[must_use]
pub fn policies() -> Vec<(ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding)> {
    let mut policies = Vec::new();
    for rule in Rule::ALL {
        let about = rule_info(*rule);
        if about.enforceable_by != EnforceableBy::Cel {
            continue;
        }
        for on in about.on {
            let entries = Entry::all().filter(|entry| entry.guard == on.guard && entry.only != Only::MovedTemplates);
            for entry in entries {
                let unchanged = on.changes.iter().filter_map(|change| unchanged(on.guard, *change));
                let holds = if *rule == Rule::TemplateSpec {
                    vec![additions::only_adds()]
                } else {
                    unchanged.collect()
                };
                policies.push(policy(*rule, &entry, holds));
            }
        }
    }
    policies
}

fn policy(
    rule: Rule,
    entry: &Entry,
    holds: Vec<String>,
) -> (ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding) {
    let about = rule_info(rule);
    // Only the webhook can name the field and the value; the policy names the rule, and what to do.
    let says = format!(
        "{}; {} [rule {rule}]",
        about.guards.trim_end_matches('.'),
        about.remediation
    );
    let message = format!(
        "request.kind.kind + ' ' + request.namespace + '/' + request.name + ': {}'",
        says.replace('\'', "\\'")
    );
    let rules = entry.rules().into_iter().map(|rule| NamedRuleWithOperations {
        api_groups: rule.api_groups,
        api_versions: rule.api_versions,
        operations: Some(vec!["UPDATE".to_owned()]),
        resource_names: None,
        resources: rule.resources,
        scope: rule.scope,
    });
    let conditions = |condition: &MatchCondition| condition.name != TOUCHES;
    let spec = ValidatingAdmissionPolicySpec {
        match_conditions: Some(entry.conditions().into_iter().filter(conditions).collect()),
        match_constraints: Some(MatchResources {
            match_policy: Some("Equivalent".to_owned()),
            namespace_selector: entry.namespace_selector(),
            resource_rules: Some(rules.collect()),
            ..MatchResources::default()
        }),
        variables: (rule == Rule::TemplateSpec).then(additions::variables),
        validations: Some(
            holds
                .into_iter()
                .map(|holds| Validation {
                    expression: match about.default {
                        Enforcement::Enforce => format!("({holds}) ||\n({})", switched_off(rule)),
                        // A warning refuses nothing, so it needs no break-glass.
                        Enforcement::Warn | Enforcement::Off => holds,
                    },
                    message_expression: Some(message.clone()),
                    reason: Some(REFUSAL_REASON.to_owned()),
                    ..Validation::default()
                })
                .collect(),
        ),
        ..ValidatingAdmissionPolicySpec::default()
    };
    let action = match about.default {
        Enforcement::Enforce => "Deny",
        Enforcement::Warn | Enforcement::Off => "Warn",
    };
    bound(&format!("{rule}.{}.{}", entry.name, instar_api::GROUP), spec, action)
}

/// A policy that fails closed, and the binding of the same name by which it counts everywhere.
fn bound(
    name: &str,
    spec: ValidatingAdmissionPolicySpec,
    action: &str,
) -> (ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding) {
    let policy = ValidatingAdmissionPolicy {
        metadata: named(name),
        spec: Some(ValidatingAdmissionPolicySpec {
            failure_policy: Some("Fail".to_owned()),
            ..spec
        }),
        status: None,
    };
    let binding = ValidatingAdmissionPolicyBinding {
        metadata: named(name),
        spec: Some(ValidatingAdmissionPolicyBindingSpec {
            policy_name: Some(name.to_owned()),
            validation_actions: Some(vec![action.to_owned(), "Audit".to_owned()]),
            ..ValidatingAdmissionPolicyBindingSpec::default()
        }),
    };
    (policy, binding)
}

/// Whether this edit sets or changes the break-glass annotation, and the annotation names the rule.
fn switched_off(rule: Rule) -> String {
    let annotation = |object: &str| format!("{object}.metadata.?annotations[?'{BREAK_GLASS_ANNOTATION}'].orValue('')");
    let (old, new) = (annotation("oldObject"), annotation("object"));
    format!("{new} != {old} && {new}.split(':')[0].split(' ').exists(id, id == '{rule}')")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_immutable_and_the_changing() {
        let policies = policies();
        let names: Vec<&str> = policies
            .iter()
            .filter_map(|(policy, _)| policy.metadata.name.as_deref())
            .collect();
        assert_eq!(
            names,
            [
                "template-spec.machinetemplate.upgrade.cluster.x-k8s.io",
                "template-metadata.machinetemplate.upgrade.cluster.x-k8s.io",
                "bootstrap-template.bootstraptemplate.upgrade.cluster.x-k8s.io",
            ]
        );
    }
}
