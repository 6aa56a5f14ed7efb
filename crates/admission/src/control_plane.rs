//! Control planes: what an edit of the version or of the components does to what runs.

use instar_api::Rule;
use instar_capi::{ControlPlaneSpec, KubeadmControlPlane, Lifecycle, Reference, Rollout, labels::SKIP_CORE_DNS};
use instar_catalog::{
    Role,
    core_dns::{self, Refused},
    etcd::{Etcd, EtcdRefusal},
};
use instar_domain::{KubeVersion, skew};

use crate::{
    Finding,
    cluster_state::{CachedWorker, ClusterState, Versions, observed},
    edit::{Edit, cluster_of, finding, object_ref},
    maintenance, reference,
    release_drift::{self, Machines, VersionEdit},
    worker::left_behind,
};

const KUBEADM: &str = "KubeadmControlPlane";
const VERSION: &str = "spec.version";
const ETCD: &str = "spec.kubeadmConfigSpec.clusterConfiguration.etcd.local.imageTag";
const CORE_DNS: &str = "spec.kubeadmConfigSpec.clusterConfiguration.dns.imageTag";
const TEMPLATE: &str = "spec.machineTemplate.spec.infrastructureRef";

/// Judges the creation or an edit of a control plane.
#[must_use]
pub fn judge(edit: Edit<'_, KubeadmControlPlane>, state: &dyn ClusterState) -> Vec<Finding> {
    let control_plane = ControlPlane {
        edit,
        state,
        namespace: edit.new.metadata.namespace.as_deref().unwrap_or_default(),
        cluster: cluster_of(&edit.before().metadata),
    };
    control_plane.findings()
}

#[derive(Clone, Copy)]
struct ControlPlane<'a> {
    edit: Edit<'a, KubeadmControlPlane>,
    state: &'a dyn ClusterState,
    namespace: &'a str,
    cluster: Option<&'a str>,
}

impl ControlPlane<'_> {
    fn finding(
        &self,
        rule: Rule,
        field: &'static str,
        what: impl Into<String>,
        remediation: impl Into<String>,
    ) -> Finding {
        finding(
            rule,
            object_ref(self.edit.kind, &self.edit.new.metadata),
            field,
            what,
            remediation,
        )
    }

    fn findings(&self) -> Vec<Finding> {
        let Edit { old, new, .. } = self.edit;
        let mut findings = Vec::new();
        if old.is_none() {
            findings.extend(self.created());
        }
        if let Some(old) = old {
            if self.edit.kind == KUBEADM {
                findings.extend(self.unreadable(&old.spec));
                findings.extend(self.core_dns(&old.spec));
            }
            let versions = (old.spec.version.parse(), new.spec.version.parse());
            // What another provider calls a version is its own.
            if let (Ok(from), Ok(to)) = versions {
                let running = observed(&old.spec, old.status.as_ref());
                self.version(running.as_ref(), &from, &to, &mut findings);
                if self.edit.kind == KUBEADM {
                    self.etcd(&old.spec, running.as_ref(), &from, &to, &mut findings);
                }
            }
        }
        let template = |of: &KubeadmControlPlane| of.spec.machine_template.template().cloned();
        if let Some(to) = template(new) {
            let reference = reference::TemplateRefChange {
                field: TEMPLATE,
                from: old.and_then(template),
                to,
            };
            if reference.from.as_ref().is_some_and(|from| *from != reference.to)
                && old.is_some_and(|old| old.spec.version == new.spec.version)
            {
                findings.extend(self.template_alone());
            }
            self.template(&reference, &mut findings);
        }
        findings
    }

    fn unreadable(&self, old: &ControlPlaneSpec) -> Option<Finding> {
        let text = &self.edit.new.spec.version;
        if old.version == *text || KubeVersion::is_read_by_cluster_api(text) {
            return None;
        }
        Some(self.finding(
            Rule::VersionReadable,
            VERSION,
            format!("{text} is not a version"),
            "set a full version, such as v1.34.3",
        ))
    }

    /// Whether Cluster API would refuse the tag of CoreDNS.
    fn core_dns(&self, old: &ControlPlaneSpec) -> Option<Finding> {
        let tag = |spec: &ControlPlaneSpec| spec.kubeadm_config_spec.cluster_configuration.dns.image_tag.clone();
        let (present, next) = (tag(old)?, tag(&self.edit.new.spec)?);
        if present == next {
            return None;
        }
        let annotations = self.edit.new.metadata.annotations.as_ref();
        let skips = annotations.is_some_and(|all| all.contains_key(SKIP_CORE_DNS));
        let (what, remediation) = match core_dns::refuses(&present, &next)? {
            Refused::Lower if skips => return None,
            Refused::Lower => (
                format!("CoreDNS {next} is older than {present}, and Cluster API migrates it only upwards"),
                format!("keep the tag, or let Cluster API leave CoreDNS alone: set the annotation {SKIP_CORE_DNS}"),
            ),
            Refused::Unreadable => (
                format!("Cluster API finds no version in CoreDNS' tag {next}"),
                "set a tag that begins with a version, such as v1.12.1".to_owned(),
            ),
        };
        Some(self.finding(Rule::CoreDnsStep, CORE_DNS, what, remediation))
    }

    fn template(&self, reference: &reference::TemplateRefChange, findings: &mut Vec<Finding>) {
        let found = reference::validate(
            reference,
            self.namespace,
            self.cluster,
            self.edit.old.is_some(),
            self.state,
        );
        findings.extend(
            found
                .into_iter()
                .map(|(rule, what, remediation)| self.finding(rule, reference.field, what, remediation)),
        );
    }

    fn version(&self, running: Option<&Versions>, from: &KubeVersion, to: &KubeVersion, findings: &mut Vec<Finding>) {
        if from == to {
            return;
        }
        if to.minor() < from.minor() {
            findings.extend(self.downgrade(to, running));
        } else {
            // A control plane that says nothing yet, or that was set back, is judged by its spec too.
            let runs = running.map(|running| (&running.lowest, ", which an API server still runs,"));
            let at = runs.into_iter().chain([(from, ", which is asked for now,")]);
            let mut together = at.filter_map(|(version, which)| {
                let violation = skew::api_servers(version, to).err()?;
                Some(format!("{version}{which} is {violation}"))
            });
            if let Some(what) = together.next() {
                findings.push(self.finding(
                    Rule::ApiServersTogether,
                    VERSION,
                    what,
                    "go through the version between, and wait until all of its machines run it",
                ));
            }
            findings.extend(self.workers_left_behind(to));
        }
        findings.extend(self.release(to).or_else(|| self.of_another_release(to)));
        findings.extend(self.window(running));
    }

    /// Where nothing runs yet, nothing is replaced.
    fn window(&self, running: Option<&Versions>) -> Option<Finding> {
        running?;
        let (what, remediation) = maintenance::by_hand(self.namespace, self.cluster?, self.state)?;
        Some(self.finding(Rule::MaintenanceWindow, VERSION, what, remediation))
    }

    /// Workers may be there before their control plane, and it is held against them as if it moved. Into a Cluster that is
    /// paused it is copied, as by `clusterctl move`: it ran so elsewhere, and refused it would be lost.
    fn created(&self) -> Vec<Finding> {
        let cluster = self.cluster.and_then(|name| self.state.cluster(self.namespace, name));
        let lifecycle = cluster.map(|cluster| cluster.lifecycle).unwrap_or_default();
        let Ok(version) = self.edit.new.spec.version.parse::<KubeVersion>() else {
            return Vec::new();
        };
        let findings = || {
            self.downgrade(&version, None)
                .into_iter()
                .chain(self.workers_left_behind(&version))
        };
        match lifecycle {
            Lifecycle::Active => findings().collect(),
            Lifecycle::Paused => findings().map(Finding::into_warning).collect(),
            Lifecycle::Deleting => Vec::new(),
        }
    }

    fn workers(&self) -> Vec<CachedWorker> {
        self.cluster
            .map(|cluster| self.state.workers(self.namespace, cluster))
            .unwrap_or_default()
    }

    fn downgrade(&self, to: &KubeVersion, running: Option<&Versions>) -> Option<Finding> {
        let newer = |version: &&KubeVersion| version.minor() > to.minor();
        let own = running
            .map(|running| &running.highest)
            .filter(newer)
            .map(|version| ("it".to_owned(), version.clone()));
        let (who, runs) = own.or_else(|| {
            let workers = self.workers();
            let worker = workers.iter().find(|worker| newer(&&worker.versions.highest))?;
            let called = format!("{} {}", worker.kind.as_str(), worker.name);
            Some((called, worker.versions.highest.clone()))
        })?;
        Some(self.finding(
            Rule::ControlPlaneDowngrade,
            VERSION,
            format!("{to} is a minor below {runs}, which {who} runs"),
            match self.edit.old {
                Some(_) => format!(
                    "fix forward with another release of {}, or restore from a backup",
                    runs.minor()
                ),
                None => format!("create it with a version of {}, or delete that one first", runs.minor()),
            },
        ))
    }

    fn workers_left_behind(&self, to: &KubeVersion) -> Vec<Finding> {
        self.workers()
            .iter()
            .filter_map(|worker| left_behind(worker, &worker.versions.lowest, to))
            .map(|what| self.finding(Rule::WorkersInReach, VERSION, what, "upgrade or delete it first"))
            .collect()
    }

    fn etcd(
        &self,
        old: &ControlPlaneSpec,
        running: Option<&Versions>,
        from: &KubeVersion,
        to: &KubeVersion,
        findings: &mut Vec<Finding>,
    ) {
        let (before, after) = (etcd_of(old, from), etcd_of(&self.edit.new.spec, to));
        if before == after {
            return;
        }
        if let Some(why) = before.refuses(&after) {
            let first = match why {
                EtcdRefusal::Unsafe => "3.5.26-0 or later",
                EtcdRefusal::SkipsMinor => "an etcd of the minor between",
            };
            findings.push(self.finding(
                Rule::EtcdStep,
                ETCD,
                format!("etcd {after} would follow etcd {before}, and {why}"),
                format!("first set this tag to {first} at {from}, and wait until all of its machines run it"),
            ));
        }
        let is_step = before.is_the_step_before() && after.is_past_the_step();
        let is_rolled_out = self.edit.old.is_some_and(|old| self.is_rolled_out(old));
        if is_step && !is_rolled_out {
            findings.push(self.finding(
                Rule::EtcdStep,
                ETCD,
                format!("etcd {after} would follow etcd {before}, which not all of its machines run yet"),
                "wait until all of its machines are up to date (kubectl get kubeadmcontrolplanes)",
            ));
        }
        // Where no machine has come to the version yet, its etcd hasn't moved either.
        let has_moved = running.is_none_or(|running| running.highest == *from);
        if has_moved && after.is_minor_below(&before) {
            findings.push(self.finding(
                Rule::EtcdDowngrade,
                ETCD,
                format!("etcd {after} is a minor below etcd {before}, which runs"),
                "keep the tag; an etcd is taken down a minor by etcdctl downgrade alone",
            ));
        }
    }

    fn template_alone(&self) -> Option<Finding> {
        let version = self.edit.new.spec.version.parse().ok()?;
        let (field, what) =
            release_drift::of_another_version(&version, VersionEdit::Stays, &self.machines(), self.state)?;
        Some(self.finding(
            Rule::OneRollout,
            field,
            what,
            release_drift::remediation_of_template(&version),
        ))
    }

    /// A request is read without the conditions, which the cache has: of the same generation, or they say nothing.
    fn is_rolled_out(&self, old: &KubeadmControlPlane) -> bool {
        let cached = self
            .cluster
            .and_then(|cluster| self.state.control_plane(self.namespace, cluster));
        let is_same = |cached: &KubeadmControlPlane| {
            cached.metadata.name == old.metadata.name && cached.metadata.generation == old.metadata.generation
        };
        let cached = cached.filter(|cached| is_same(cached));
        old.rollout() == Rollout::Done || cached.is_some_and(|cached| cached.rollout() == Rollout::Done)
    }

    /// The release of the version, and what it sets.
    fn release(&self, to: &KubeVersion) -> Option<Finding> {
        let (field, what) = release_drift::disagreement(to, &self.machines(), self.state)?;
        Some(self.finding(Rule::OneRollout, field, what, release_drift::remediation()))
    }

    /// A version that the catalog lacks is the user's to set, but with no template that the edit takes from another one.
    fn of_another_release(&self, to: &KubeVersion) -> Option<Finding> {
        let template = |of: &KubeadmControlPlane| of.spec.machine_template.template().cloned();
        if template(self.edit.old?) == template(self.edit.new) {
            return None;
        }
        let (field, what) = release_drift::of_another_version(to, VersionEdit::Set, &self.machines(), self.state)?;
        let remediation = release_drift::remediation_of_version(to);
        Some(self.finding(Rule::OneRollout, field, what, remediation))
    }

    fn machines(&self) -> Machines<'_> {
        let new = &self.edit.new.spec;
        let template = new.machine_template.template();
        Machines {
            role: Role::ControlPlane,
            namespace: self.namespace,
            cluster: self.cluster,
            template: template.map(|reference: &Reference| (TEMPLATE, reference)),
            labels: &new.machine_template.metadata.labels,
            kubeadm: (self.edit.kind == KUBEADM).then_some(&new.kubeadm_config_spec.cluster_configuration),
        }
    }
}

fn etcd_of(spec: &ControlPlaneSpec, version: &KubeVersion) -> Etcd {
    let etcd = &spec.kubeadm_config_spec.cluster_configuration.etcd;
    match (&etcd.external, &etcd.local.image_tag) {
        (Some(_), _) => Etcd::Elsewhere,
        (None, Some(tag)) => Etcd::Tag(tag.clone()),
        (None, None) => Etcd::Kubeadm(version.clone()),
    }
}
