//! Who may take a namespace out of admission.

use instar_admission::REFUSAL_REASON;
use instar_api::{ADMISSION_LABEL, GROUP};
use k8s_openapi::api::admissionregistration::v1::{
    MatchCondition, MatchResources, NamedRuleWithOperations, ValidatingAdmissionPolicy,
    ValidatingAdmissionPolicyBinding, ValidatingAdmissionPolicySpec, Validation,
};

use super::bound;

/// The resource of our group that stands for admission in RBAC. Nothing serves it; its names are namespaces.
const RESOURCE: &str = "admission";

/// What a user has to be allowed.
const VERB: &str = "disable";

/// Whoever may edit a Namespace could switch every rule off in it, so the label takes a right of its own, and no
/// annotation of the Namespace stands in for it.
#[must_use]
pub fn opt_out_policy() -> (ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding) {
    let texts = |texts: &[&str]| Some(texts.iter().map(ToString::to_string).collect());
    let label = |object: &str| format!("{object}.metadata.?labels[?'{ADMISSION_LABEL}'].orValue('')");
    let spec = ValidatingAdmissionPolicySpec {
        match_conditions: Some(vec![MatchCondition {
            name: "changes-the-label".to_owned(),
            expression: format!(
                "{} != (request.operation == 'CREATE' ? '' : {})",
                label("object"),
                label("oldObject")
            ),
        }]),
        match_constraints: Some(MatchResources {
            match_policy: Some("Equivalent".to_owned()),
            resource_rules: Some(vec![NamedRuleWithOperations {
                api_groups: texts(&[""]),
                api_versions: texts(&["v1"]),
                operations: texts(&["CREATE", "UPDATE"]),
                // Labels can be written through either subresource too.
                resources: texts(&["namespaces", "namespaces/status", "namespaces/finalize"]),
                resource_names: None,
                scope: Some("Cluster".to_owned()),
            }]),
            ..MatchResources::default()
        }),
        validations: Some(vec![Validation {
            expression: format!(
                "authorizer.group('{GROUP}').resource('{RESOURCE}').name(object.metadata.?name.orValue(''))\
                 .check('{VERB}').allowed()"
            ),
            message: Some(format!(
                "metadata.labels[{ADMISSION_LABEL}]: it says whether Instar guards the namespace, and you may not \
                 change that; ask for the right to {VERB} {RESOURCE}.{GROUP}, by the name of the namespace"
            )),
            reason: Some(REFUSAL_REASON.to_owned()),
            ..Validation::default()
        }]),
        ..ValidatingAdmissionPolicySpec::default()
    };
    bound(&format!("admission-opt-out.namespace.{GROUP}"), spec, "Deny")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_way_of_writing_a_label_is_left_out() {
        let (policy, binding) = opt_out_policy();
        let spec = policy.spec.unwrap();
        let rules = spec.match_constraints.unwrap().resource_rules.unwrap();
        assert_eq!(
            rules[0].resources.as_ref().unwrap(),
            &["namespaces", "namespaces/status", "namespaces/finalize"]
        );
        // An object selector or a namespace selector would let the label itself decide.
        assert_eq!(spec.failure_policy.as_deref(), Some("Fail"));
        assert_eq!(binding.spec.unwrap().policy_name, policy.metadata.name);
        // Any spelling of break-glass would be in the expression.
        assert!(!spec.validations.unwrap()[0].expression.contains("break-glass"));
    }
}
