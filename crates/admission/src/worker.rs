//! Workers: MachineDeployments, MachineSets, MachinePools, Machines.

use std::collections::BTreeMap;

use instar_api::Rule;
use instar_capi::{Lifecycle, MachineSpec, Reference, WorkerKind};
use instar_catalog::Role;
use instar_domain::{
    KubeVersion,
    skew::{self, SkewViolation},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::{
    Finding,
    cluster_state::{CachedWorker, ClusterState, Versions, asked, running},
    edit::{Edit, finding, is_made_by_another, object_ref},
    maintenance, reference,
    release_drift::{self, Machines, VersionEdit},
};

/// A worker of any kind, as far as it is judged.
#[derive(Debug, Clone, PartialEq)]
pub struct Worker {
    /// Who it is.
    pub metadata: ObjectMeta,
    pub cluster: String,
    /// Its machines' labels.
    pub labels: BTreeMap<String, String>,
    /// Its machines, or the Machine itself.
    pub machines: MachineSpec,
}

/// What a message says of a worker at a version that an API server would leave behind. A worker that
/// is newer is left alone: the control plane comes up to it.
pub(crate) fn left_behind(worker: &CachedWorker, at: &KubeVersion, server: &KubeVersion) -> Option<String> {
    let violation = match skew::kubelet(at, server) {
        Ok(()) | Err(SkewViolation::Newer { .. } | SkewViolation::TooFarAhead { .. }) => return None,
        Err(
            violation @ (SkewViolation::TooFarBehind { .. }
            | SkewViolation::OtherMajor { .. }
            | SkewViolation::OtherMinor { .. }),
        ) => violation,
    };
    let (kind, name) = (worker.kind.as_str(), &worker.name);
    Some(format!("{kind} {name} runs {at}, which would be {violation}"))
}

/// Judges the creation or an edit of a worker.
#[must_use]
pub fn judge(kind: WorkerKind, edit: Edit<'_, Worker>, state: &dyn ClusterState) -> Vec<Finding> {
    if edit.old.is_some_and(|old| is_made_by_another(kind, &old.metadata)) {
        // What made it was judged.
        return Vec::new();
    }
    let namespace = edit.new.metadata.namespace.as_deref().unwrap_or_default();
    let cluster = state.cluster(namespace, &edit.before().cluster);
    if cluster.is_some_and(|cluster| cluster.lifecycle == Lifecycle::Deleting) {
        return Vec::new();
    }
    let judged = Judged {
        kind,
        edit,
        state,
        namespace,
    };
    let mut findings = judged.version();
    findings.extend(judged.templates());
    findings
}

#[derive(Clone, Copy)]
struct Judged<'a> {
    kind: WorkerKind,
    edit: Edit<'a, Worker>,
    state: &'a dyn ClusterState,
    namespace: &'a str,
}

impl Judged<'_> {
    fn finding(
        &self,
        rule: Rule,
        field: &'static str,
        what: impl Into<String>,
        remediation: impl Into<String>,
    ) -> Finding {
        let object = object_ref(self.kind.as_str(), &self.edit.new.metadata);
        finding(rule, object, field, what, remediation)
    }

    const fn version_field(&self) -> &'static str {
        match self.kind {
            WorkerKind::Machine => "spec.version",
            WorkerKind::MachineDeployment | WorkerKind::MachineSet | WorkerKind::MachinePool => {
                "spec.template.spec.version"
            }
        }
    }

    fn version(&self) -> Vec<Finding> {
        let Edit { old, new, .. } = self.edit;
        if let Some(old) = old
            && old.machines.version == new.machines.version
        {
            let has_other_template = old.machines.infrastructure_ref != new.machines.infrastructure_ref;
            return has_other_template
                .then(|| self.template_alone())
                .flatten()
                .into_iter()
                .collect();
        }
        let text = &new.machines.version;
        let Ok(version) = text.parse::<KubeVersion>() else {
            // It may have none. One that is created with a text that is no version is Cluster API's to refuse.
            let is_edited = old.is_some() && !text.is_empty() && !KubeVersion::is_read_by_cluster_api(text);
            let unreadable = is_edited.then(|| {
                self.finding(
                    Rule::VersionReadable,
                    self.version_field(),
                    format!("{text} is not a version"),
                    "set a full version, such as v1.34.3",
                )
            });
            return unreadable.into_iter().collect();
        };
        let mut findings = self.skew(&version);
        if old.is_some() {
            findings.extend(self.release(&version).or_else(|| self.of_another_release(&version)));
            findings.extend(self.window());
        }
        findings
    }

    /// Of a MachineSet and of a Machine, an edit of the version replaces nothing.
    fn window(&self) -> Option<Finding> {
        match self.kind {
            WorkerKind::MachineDeployment | WorkerKind::MachinePool => {}
            WorkerKind::MachineSet | WorkerKind::Machine => return None,
        }
        let cluster = &self.edit.before().cluster;
        let (what, remediation) = maintenance::by_hand(self.namespace, cluster, self.state)?;
        Some(self.finding(Rule::MaintenanceWindow, self.version_field(), what, remediation))
    }

    fn skew(&self, version: &KubeVersion) -> Vec<Finding> {
        let cluster = &self.edit.before().cluster;
        let Some(running) = running(self.state, self.namespace, cluster) else {
            return self.unknown(version);
        };
        let field = self.version_field();
        let highest = &running.highest;
        match skew::kubelet_with(version, &running.api_servers()) {
            Ok(()) => {}
            Err(violation @ (SkewViolation::Newer { .. } | SkewViolation::TooFarAhead { .. })) => {
                return vec![self.finding(
                    Rule::WorkerNotNewer,
                    field,
                    format!("{version} is {violation}"),
                    if version.minor() <= highest.minor() {
                        "wait until the whole control plane runs it"
                    } else {
                        "upgrade the control plane first"
                    },
                )];
            }
            Err(
                violation @ (SkewViolation::TooFarBehind { .. }
                | SkewViolation::OtherMajor { .. }
                | SkewViolation::OtherMinor { .. }),
            ) => {
                return vec![self.too_old(format!("{version} is {violation}"), highest)];
            }
        }
        if let Some(finding) = self.left_behind_on_the_way(version, &running) {
            return vec![finding];
        }
        let joins_by_kubeadm = self
            .edit
            .new
            .machines
            .bootstrap
            .config_ref
            .as_ref()
            .is_some_and(|config| config.kind.starts_with("KubeadmConfig"));
        match skew::kubeadm_join(version, highest) {
            Err(violation) if joins_by_kubeadm && !self.is_restored() => vec![self.finding(
                Rule::KubeadmJoin,
                field,
                format!("kubeadm {} is {violation}", version.minor()),
                format!(
                    "take a version of {}: Cluster API holds new machines of another minor back",
                    highest.minor()
                ),
            )],
            Ok(()) | Err(_) => Vec::new(),
        }
    }

    /// The control plane's machines may all be at the version before, while it is asked to go on. A worker of the lowest
    /// API server's minor is as new as one may be now.
    fn left_behind_on_the_way(&self, version: &KubeVersion, running: &Versions) -> Option<Finding> {
        let asked = asked(self.state, self.namespace, &self.edit.before().cluster)?;
        if asked.minor() <= running.highest.minor() || version.minor() >= running.lowest.minor() {
            return None;
        }
        let violation = skew::kubelet(version, &asked).err()?;
        let what = format!("{version} is {violation}, and the control plane goes to {asked}");
        Some(self.too_old(what, &asked))
    }

    /// What is copied into a Cluster that is paused, as `clusterctl move` and a restore do, ran elsewhere before: refused,
    /// it would be lost.
    fn too_old(&self, what: String, newest: &KubeVersion) -> Finding {
        let remediation = format!("take a version of {}, or one that is nearer to it", newest.minor());
        let finding = self.finding(Rule::WorkerNotTooOld, self.version_field(), what, remediation);
        let cluster = self.state.cluster(self.namespace, &self.edit.before().cluster);
        let is_copied =
            self.edit.old.is_none() && cluster.is_some_and(|cluster| cluster.lifecycle == Lifecycle::Paused);
        if is_copied { finding.into_warning() } else { finding }
    }

    /// One that a user creates with a controller among its owners: a copy of what another object has made, as
    /// `clusterctl move` and backups create them. It runs already, or it is made up, so its version is judged.
    fn is_restored(&self) -> bool {
        self.edit.old.is_none() && is_made_by_another(self.kind, &self.edit.new.metadata)
    }

    /// A Cluster without a control plane object has API servers that Cluster API doesn't manage.
    fn unknown(&self, version: &KubeVersion) -> Vec<Finding> {
        let name = &self.edit.before().cluster;
        let cluster = self.state.cluster(self.namespace, name);
        if self.is_restored() || cluster.is_some_and(|cluster| cluster.control_plane.is_none()) {
            return Vec::new();
        }
        vec![self.finding(
            Rule::ControlPlaneKnown,
            self.version_field(),
            format!(
                "the version of the control plane of Cluster {name} is not known, so version skew was not checked for {version}"
            ),
            "nothing needs to be done if it is being created",
        )]
    }

    fn templates(&self) -> Vec<Finding> {
        match self.kind {
            WorkerKind::MachineDeployment | WorkerKind::MachineSet => {}
            // These refer to their infrastructure itself.
            WorkerKind::MachinePool | WorkerKind::Machine => return Vec::new(),
        }
        // What comes with a copy is copied too, in whatever order.
        if self.is_restored() {
            return Vec::new();
        }
        let Edit { old, new, .. } = self.edit;
        let infrastructure = Some(reference::TemplateRefChange {
            field: "spec.template.spec.infrastructureRef",
            from: old.map(|old| old.machines.infrastructure_ref.clone()),
            to: new.machines.infrastructure_ref.clone(),
        });
        let bootstrap = new
            .machines
            .bootstrap
            .config_ref
            .clone()
            .map(|to| reference::TemplateRefChange {
                field: "spec.template.spec.bootstrap.configRef",
                from: old.and_then(|old| old.machines.bootstrap.config_ref.clone()),
                to,
            });
        infrastructure
            .into_iter()
            .chain(bootstrap)
            .flat_map(|reference| {
                let found = reference::validate(
                    &reference,
                    self.namespace,
                    Some(&self.edit.before().cluster),
                    old.is_some(),
                    self.state,
                );
                found
                    .into_iter()
                    .map(move |(rule, what, remediation)| self.finding(rule, reference.field, what, remediation))
            })
            .collect()
    }

    fn template_alone(&self) -> Option<Finding> {
        let version = self.edit.new.machines.version.parse().ok()?;
        let (field, what) =
            release_drift::of_another_version(&version, VersionEdit::Stays, &self.judged_machines()?, self.state)?;
        Some(self.finding(
            Rule::OneRollout,
            field,
            what,
            release_drift::remediation_of_template(&version),
        ))
    }

    fn release(&self, version: &KubeVersion) -> Option<Finding> {
        let (field, what) = release_drift::disagreement(version, &self.judged_machines()?, self.state)?;
        Some(self.finding(Rule::OneRollout, field, what, release_drift::remediation()))
    }

    /// A version that the catalog lacks is the user's to set, but with no template that the edit takes from another one.
    fn of_another_release(&self, version: &KubeVersion) -> Option<Finding> {
        let Edit { old, new, .. } = self.edit;
        if old?.machines.infrastructure_ref == new.machines.infrastructure_ref {
            return None;
        }
        let machines = self.judged_machines()?;
        let (field, what) = release_drift::of_another_version(version, VersionEdit::Set, &machines, self.state)?;
        let remediation = release_drift::remediation_of_version(version);
        Some(self.finding(Rule::OneRollout, field, what, remediation))
    }

    /// Nothing of what refers to its infrastructure itself.
    fn judged_machines(&self) -> Option<Machines<'_>> {
        let new = self.edit.new;
        let template: &Reference = match self.kind {
            WorkerKind::MachineDeployment | WorkerKind::MachineSet => &new.machines.infrastructure_ref,
            WorkerKind::MachinePool | WorkerKind::Machine => return None,
        };
        Some(Machines {
            role: Role::Worker,
            namespace: self.namespace,
            cluster: Some(&new.cluster),
            template: Some(("spec.template.spec.infrastructureRef", template)),
            labels: &new.labels,
            kubeadm: None,
        })
    }
}
