//! Templates: what they give to machines stays as it is, and they stay while anything needs them.

mod in_place;
mod spec;

use std::fmt;

use instar_api::Rule;
use instar_capi::{
    Lifecycle,
    labels::{CLUSTER_NAME, DELETE_FOR_MOVE, TOPOLOGY_DRY_RUN},
    owning_clusters,
};
use instar_domain::json;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Deserializer, de::Visitor};
use serde_json::value::RawValue;

use crate::{
    Finding,
    cluster_state::{ClusterState, TemplateKey},
    edit::{finding, object_ref},
};

pub use in_place::{MUTABLE_FIELDS, MutableField};
pub use spec::{Phase, SpecChanges, SpecContext};

const SPEC: &str = "spec.template.spec";

/// Which of the two sorts of templates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TemplateType {
    /// A provider's machine template: immutable by its contract.
    Machine,
    /// A bootstrap template, which Cluster API lets change.
    Bootstrap,
}

/// The JSON text of a value.
#[derive(Debug, Clone, Copy)]
pub struct Text<'a>(pub &'a str);

/// How a [`Text`] asks for itself: as a newtype of this name. A deserializer that knows the name gives the
/// text as a borrowed string; any other one has to be `serde_json`'s.
pub const TEXT: &str = "instar's text";

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Given;

        impl<'de> Visitor<'de> for Given {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(text))
            }

            fn visit_newtype_struct<D: Deserializer<'de>>(self, json: D) -> Result<Text<'de>, D::Error> {
                <&RawValue>::deserialize(json).map(|text| Text(text.get()))
            }
        }

        deserializer.deserialize_newtype_struct(TEXT, Given)
    }
}

/// A template, as far as an update is judged. What is in it stays text.
#[derive(Debug, Default, Deserialize)]
#[serde(default, bound(deserialize = "M: Deserialize<'de> + Default"))]
pub struct Template<'a, M> {
    /// Its own metadata, which no update is judged by.
    pub metadata: M,
    #[serde(borrow)]
    spec: Outer<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Outer<'a> {
    #[serde(borrow)]
    template: Inner<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Inner<'a> {
    #[serde(borrow)]
    metadata: Option<Text<'a>>,
    #[serde(borrow)]
    spec: Option<Text<'a>>,
}

/// Which parts of a template an update changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// `spec.template.spec`.
    pub spec: SpecChanges,
    /// `spec.template.metadata`.
    pub metadata: bool,
}

impl Changed {
    /// Nothing that is guarded.
    #[must_use]
    pub const fn is_nothing(&self) -> bool {
        self.spec.is_empty() && !self.metadata
    }
}

/// Compares without looking further where the bytes are the same, as they are in almost all requests.
#[must_use]
pub fn changed<M>(old: &Template<'_, M>, new: &Template<'_, M>) -> Changed {
    let (old, new) = (&old.spec.template, &new.spec.template);
    Changed {
        spec: SpecChanges::between(text(old.spec), text(new.spec)),
        // What can't be read is a number or an escape that no API server sends.
        metadata: json::difference(text(old.metadata), text(new.metadata)) != Ok(None),
    }
}

/// Absent is null, as the API server stores it.
fn text(text: Option<Text<'_>>) -> &str {
    text.map_or("null", |Text(text)| text)
}

/// Whether the topology controller asks in a dry run what a template would become. It is let through as
/// Cluster API defines it: the request is a dry run *and* the new object has the annotation.
/// Source: `IsDryRunRequest` in cluster-api's util/topology.
#[must_use]
pub fn is_topology_dry_run(metadata: &ObjectMeta, dry_run: bool) -> bool {
    let annotations = metadata.annotations.as_ref();
    dry_run && annotations.is_some_and(|annotations| annotations.contains_key(TOPOLOGY_DRY_RUN))
}

/// What an update breaks.
#[must_use]
pub fn update(sort: TemplateType, metadata: &ObjectMeta, changed: &Changed, context: SpecContext<'_>) -> Vec<Finding> {
    let object = || object_ref(context.kind, metadata);
    let mut findings = Vec::new();
    match sort {
        TemplateType::Machine => {
            if let Some((what, remediation)) = changed.spec.finding(context) {
                findings.push(finding(Rule::TemplateSpec, object(), SPEC, what, remediation));
            }
        }
        TemplateType::Bootstrap if changed.spec.is_empty() => {}
        TemplateType::Bootstrap => findings.push(finding(
            Rule::BootstrapTemplate,
            object(),
            SPEC,
            "it reaches new machines only, so that the machines of a pool would differ",
            "create a new template and point to it",
        )),
    }
    if changed.metadata && sort == TemplateType::Machine {
        findings.push(finding(
            Rule::TemplateMetadata,
            object(),
            "spec.template.metadata",
            "it reaches new machines only, and those that there are keep theirs",
            "create a new template and point to it, if all are to have it",
        ));
    }
    findings
}

/// Who deletes a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deleter {
    /// A user who may delete the Clusters of the namespace, as `clusterctl move` has to. The API server says so.
    OfClusters,
    /// Any other user.
    Other,
}

/// Whether a template may be deleted. With its Cluster it goes, and `clusterctl move` has copied it
/// before it deletes it.
#[must_use]
pub fn delete(
    group: &str,
    kind: &str,
    metadata: &ObjectMeta,
    deleter: Deleter,
    state: &dyn ClusterState,
) -> Vec<Finding> {
    let annotations = metadata.annotations.as_ref();
    let is_moved = deleter == Deleter::OfClusters
        && annotations.is_some_and(|annotations| annotations.contains_key(DELETE_FOR_MOVE));
    if metadata.deletion_timestamp.is_some() {
        return Vec::new();
    }
    let namespace = metadata.namespace.as_deref().unwrap_or_default();
    let key = TemplateKey {
        group,
        kind,
        namespace,
        name: metadata.name.as_deref().unwrap_or_default(),
    };
    // `clusterctl move` pauses a Cluster before it copies and deletes what belongs to it.
    let needs_it = |lifecycle: Lifecycle| match lifecycle {
        Lifecycle::Active => true,
        Lifecycle::Paused => !is_moved,
        Lifecycle::Deleting => false,
    };
    let lives = |cluster: &str| state.lifecycle(namespace, cluster).is_some_and(needs_it);
    // Clusters of other namespaces may use the class too, and aren't moved with it.
    let is_class_in_use = |class: &str| {
        let clusters = state.clusters_of(namespace, class);
        clusters.iter().any(|cluster| needs_it(cluster.lifecycle))
    };
    let mut users = state.users_of(&key);
    users.retain(|user| match user.cluster.as_deref() {
        Some(cluster) => lives(cluster),
        None if is_moved && user.kind == "ClusterClass" => is_class_in_use(&user.name),
        None => true,
    });
    if let Some(user) = users.first() {
        let more = match users.len() {
            1 => String::new(),
            all => format!(" and {} more", all - 1),
        };
        let refer = if users.len() == 1 { "refers" } else { "refer" };
        let finding = finding(
            Rule::TemplateInUse,
            object_ref(kind, metadata),
            "metadata.name",
            format!("{} {}{more} {refer} to it", user.kind, user.name),
            "point to another template first, and wait until no machine is made from this one",
        );
        return vec![match &user.cluster {
            Some(cluster) => finding.of_cluster(namespace, cluster),
            None => finding,
        }];
    }
    let kept = kept(&key, metadata, lives, state);
    kept.into_iter().chain(unseen(&key, metadata, lives, state)).collect()
}

/// A template that an upgrade keeps for a rollback.
fn kept(
    key: &TemplateKey<'_>,
    metadata: &ObjectMeta,
    lives: impl Fn(&str) -> bool,
    state: &dyn ClusterState,
) -> Option<Finding> {
    let kept = state
        .kept(key)
        .filter(|kept| kept.until.is_none_or(|until| until > state.now()) && lives(&kept.cluster))?;
    let until = kept.until.map_or_else(String::new, |until| format!(" until {until}"));
    let finding = finding(
        Rule::TemplateKept,
        object_ref(key.kind, metadata),
        "metadata.name",
        format!("ClusterUpgrade {} keeps it for a rollback{until}", kept.upgrade),
        "it is deleted then; an UpgradePolicy says how long (spec.templates.keepPrevious)",
    );
    Some(finding.of_cluster(key.namespace, &kept.cluster))
}

/// Control planes that may refer to a template, as far as anybody knows: those of its Clusters, or all of the namespace
/// where it belongs to none.
fn unseen(
    key: &TemplateKey<'_>,
    metadata: &ObjectMeta,
    lives: impl Fn(&str) -> bool,
    state: &dyn ClusterState,
) -> Option<Finding> {
    // A control plane makes machines of nothing else.
    if !key.kind.ends_with("MachineTemplate") {
        return None;
    }
    let mut clusters: Vec<&str> = owning_clusters(metadata).collect();
    if clusters.is_empty() {
        let label = metadata.labels.as_ref().and_then(|labels| labels.get(CLUSTER_NAME));
        clusters.extend(label.map(String::as_str));
    }
    let mut unseen = state.unseen_control_planes(key.namespace);
    unseen.retain(|control_plane| {
        let cluster = control_plane.cluster.as_str();
        (clusters.is_empty() || clusters.contains(&cluster)) && lives(cluster)
    });
    let first = unseen.first()?;
    let more = match unseen.len() {
        1 => String::new(),
        all => format!(" and {} more", all - 1),
    };
    let finding = finding(
        Rule::TemplateUnseen,
        object_ref(key.kind, metadata),
        "metadata.name",
        format!(
            "{} {}{more} may refer to it and can't be looked at: {}",
            first.kind, first.name, first.why
        ),
        "apply the role of its provider (config/providers), or leave this rule off",
    );
    Some(finding.of_cluster(key.namespace, &first.cluster))
}

#[cfg(test)]
mod tests {
    use instar_catalog::Catalog;
    use serde::de::IgnoredAny;
    use serde_json::{Value, json};

    use super::*;

    fn judged(old: &Value, new: &Value, sort: TemplateType, metadata: &Value, dry_run: bool) -> Vec<String> {
        let (old, new) = (old.to_string(), new.to_string());
        let [old, new] = [&old, &new].map(|text| serde_json::from_str::<Template<'_, IgnoredAny>>(text).unwrap());
        let metadata = serde_json::from_value(metadata.clone()).unwrap();
        if is_topology_dry_run(&metadata, dry_run) {
            return Vec::new();
        }
        let context = SpecContext {
            phase: Phase::BeforeOthers,
            group: "infrastructure.cluster.x-k8s.io",
            kind: "DevMachineTemplate",
            user: "somebody",
            policies: &[],
            catalog: &Catalog::default(),
        };
        update(sort, &metadata, &changed(&old, &new), context)
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    fn template(image: &str, label: &str) -> Value {
        json!({"spec": {"template": {"metadata": {"labels": {"a": label}}, "spec": {"backend": {"image": image, "size": 1}}}}})
    }

    #[test]
    fn the_spec_of_the_machines_is_immutable() {
        let metadata = json!({"namespace": "ns", "name": "t"});
        assert_eq!(
            judged(
                &template("a", "l"),
                &template("b", "l"),
                TemplateType::Machine,
                &metadata,
                false
            ),
            [
                "DevMachineTemplate ns/t: spec.template.spec: /spec/template/spec/backend/image would change; machines are replaced, not changed: create a new template and point to it [rule template-spec]"
            ]
        );
        assert_eq!(
            judged(
                &template("a", "l"),
                &template("a", "m"),
                TemplateType::Machine,
                &metadata,
                false
            ),
            [
                "DevMachineTemplate ns/t: spec.template.metadata: it reaches new machines only, and those that there are keep theirs; create a new template and point to it, if all are to have it [rule template-metadata]"
            ]
        );
        assert_eq!(
            judged(
                &template("a", "l"),
                &template("b", "m"),
                TemplateType::Bootstrap,
                &metadata,
                false
            ),
            [
                "DevMachineTemplate ns/t: spec.template.spec: it reaches new machines only, so that the machines of a pool would differ; create a new template and point to it [rule bootstrap-template]"
            ]
        );
    }

    #[test]
    fn only_a_dry_run_with_the_annotation_is_exempt() {
        let marked = json!({"namespace": "ns", "name": "t", "annotations": {TOPOLOGY_DRY_RUN: ""}});
        let plain = json!({"namespace": "ns", "name": "t"});
        for (metadata, dry_run, allowed) in [
            (&marked, true, true),
            (&marked, false, false),
            (&plain, true, false),
            (&plain, false, false),
        ] {
            let found = judged(
                &template("a", "l"),
                &template("b", "l"),
                TemplateType::Machine,
                metadata,
                dry_run,
            );
            assert_eq!(found.is_empty(), allowed, "{metadata} {dry_run}");
        }
    }

    #[test]
    fn absent_and_null_are_the_same() {
        let (null, absent) = (
            json!({"spec": {"template": {"spec": null}}}),
            json!({"spec": {"template": {}}}),
        );
        let metadata = json!({});
        assert_eq!(
            judged(&null, &absent, TemplateType::Machine, &metadata, false),
            Vec::<String>::new()
        );
    }
}
