//! The rules of admission, from their table.

use anyhow::Result;
use instar_admission::{Change, EnforceableBy, GuardedKind, Rule, Trigger, rule_info};
use instar_api::Adjustable;

use super::{enforcement, row};

const INTRO: &str = "\
# Rules

Instar judges an edit by these rules; [admission.md](../admission.md) says how. Each message ends with
the rule's id, such as `[rule no-downgrade]`, and so does the label `rule` of the metrics
`instar_admission_denials_total`, `instar_admission_warnings_total` and `instar_admission_broken_total`.
Every refusal is `403 Forbidden`.

| rule | what it guards | default | changed by |
| --- | --- | --- | --- |
";

pub(super) fn page() -> Result<String> {
    let mut page = INTRO.to_owned();
    let files = instar_testkit::all()?;
    for rule in Rule::ALL {
        let about = rule_info(*rule);
        page.push_str(&row([
            format!("[`{rule}`](#{rule})"),
            about.guards.to_owned(),
            enforcement(about.default).to_owned(),
            changed_by(rule.adjustable()).to_owned(),
        ]));
    }
    for rule in Rule::ALL {
        let texts = files
            .iter()
            .filter(|file| file.rule == *rule)
            .flat_map(|file| &file.scenes)
            .flat_map(|scene| &scene.cases)
            .flat_map(|case| case.expected.texts());
        page.push_str(&section(*rule, texts));
    }
    Ok(page)
}

/// `said` is what the rule's cases hear, of which the first that it said itself is the example.
fn section<'t>(rule: Rule, mut said: impl Iterator<Item = &'t str>) -> String {
    let about = rule_info(rule);
    let mut on: Vec<String> = about
        .on
        .iter()
        .map(|Trigger { guard, changes }| {
            let changes: Vec<&str> = changes.iter().map(|change| changed(*change)).collect();
            format!("- {}: {}", kind(*guard), changes.join(", "))
        })
        .collect();
    match about.enforceable_by {
        EnforceableBy::Cel => on.push("- `config/policy` has it too, as far as the change alone breaks it.".to_owned()),
        EnforceableBy::Server => {}
    }
    let messages: Vec<String> = about.messages.iter().map(|message| format!("- `{message}`")).collect();
    let id = format!("[rule {rule}]");
    let example = said
        .find(|text| text.ends_with(&id))
        .map_or_else(String::new, |example| {
            let example = example.replace("{ns}", "default");
            format!("For example:\n\n```text\n{example}\n```\n\n")
        });
    format!(
        "\n## {rule}\n\n{}\n\n{}\n\nWhat it says is wrong, with names and values for `{{}}`:\n\n{}\n\n{example}The way out: {}.\n\nSource: {}\n",
        about.guards,
        on.join("\n"),
        messages.join("\n"),
        about.remediation,
        source(about.source),
    )
}

const fn changed_by(adjustable: Adjustable) -> &'static str {
    match adjustable {
        Adjustable::ByPolicy => "UpgradePolicy, break-glass",
        Adjustable::ByBreakGlass => "break-glass",
        Adjustable::Never => "nothing",
    }
}

const fn kind(guard: GuardedKind) -> &'static str {
    match guard {
        GuardedKind::Cluster => "Cluster with a topology",
        GuardedKind::ControlPlane => "KubeadmControlPlane, and any control plane with `spec.version`",
        GuardedKind::Worker => "MachineDeployment, MachineSet, MachinePool, Machine",
        GuardedKind::ClusterClass => "ClusterClass",
        GuardedKind::MachineTemplate => "machine template of any provider",
        GuardedKind::BootstrapTemplate => "KubeadmConfigTemplate",
        GuardedKind::OtherTemplate => {
            "any other template: of control planes, infrastructure clusters, MachinePools, bootstrapping"
        }
        GuardedKind::KubernetesRelease => "KubernetesRelease",
        GuardedKind::ClusterUpgrade => "ClusterUpgrade",
        GuardedKind::UpgradePolicy => "UpgradePolicy",
        GuardedKind::Marks => "Cluster, KubeadmControlPlane, MachineDeployment, MachinePool, ClusterUpgrade",
    }
}

const fn changed(change: Change) -> &'static str {
    match change {
        Change::Created => "its creation",
        Change::Deleted => "its deletion",
        Change::Version => "its version",
        Change::Class => "its class",
        Change::Pools => "the set of its pools",
        Change::Pins => "its pins",
        Change::Template => "the templates that it points to",
        Change::Components => "its etcd and CoreDNS",
        Change::Wiring => "its patches and templates",
        Change::MachinesSpec => "`spec.template.spec`",
        Change::MachinesMetadata => "`spec.template.metadata`",
        Change::Spec => "its spec",
        Change::Catalog => "the label that names its catalog",
        Change::VersionAnnotation => "the annotation that asks for a version",
        Change::Marks => "what Instar's controller keeps on it, and the pause of a MachineDeployment that it holds",
    }
}

fn source(source: &str) -> String {
    match source.strip_prefix("docs/") {
        Some(page) => format!("[{page}](../{page})"),
        None => format!("<{source}>"),
    }
}
