//! Control planes of a provider that nobody knows: its kinds are defined here, and the journey plays
//! its controller.

use std::{collections::BTreeSet, time::Duration};

use futures::future::try_join;
use instar_api::{ClusterUpgrade, UpgradePhase, VERSION_ANNOTATION};
use instar_e2e::{
    Context, Result,
    support::{
        catalog::{IMAGE, Rows},
        classic::{clusters, machine_template, machine_templates},
        journeys::JourneyContext,
    },
    wait::wait_for,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams},
    core::DynamicObject,
    discovery::ApiResource,
};
use serde_json::{Value, json};

use instar_e2e::support::upgrade::phase;

/// The provider's group.
const GROUP: &str = "controlplane.example.org";

/// The role that lets the controller read and swap its kinds. It stays, as a provider's does.
pub(crate) const ROLE: &str = "journey-other-control-plane";

/// How long one step may take: control planes of such kinds aren't watched.
const STEP: Duration = Duration::from_mins(2);

/// The same for the admission server, which only watches them.
const WEBHOOK_ROLE: &str = "journey-other-control-plane-webhook";

/// Who writes for the controller.
const MANAGER: &str = "instar-controller";

/// A kind of control plane.
struct Provider {
    kind: &'static str,
    /// The contract that its definition has a label for.
    contract: &'static str,
    /// The versions in that label.
    versions: &'static str,
    /// The latest of them.
    version: &'static str,
    /// Further versions, which no label names.
    unnamed: &'static [&'static str],
    /// Where in `spec.machineTemplate` the template's reference is.
    below: &'static str,
}

/// It lags behind: it isn't served at `v1`, which the API server prefers for the group.
const OLD: Provider = Provider {
    kind: "OldControlPlane",
    contract: "v1beta1",
    versions: "v1alpha1",
    version: "v1alpha1",
    unnamed: &[],
    below: "",
};

const NEW: Provider = Provider {
    kind: "NewControlPlane",
    contract: "v1beta2",
    versions: "v1beta1_v1alpha1",
    version: "v1beta1",
    unnamed: &["v1"],
    below: "/spec",
};

pub(crate) async fn both_contracts(scene: JourneyContext) -> Result<()> {
    let rows = scene.rows()?;
    for row in rows.all() {
        scene.apply_object(row).await?;
    }
    allow(&scene).await?;
    without_availability(&scene).await?;
    for provider in [&OLD, &NEW] {
        provider.define(&scene).await?;
    }
    without_a_version(&scene, &rows).await?;
    for provider in [&OLD, &NEW] {
        provider.keeps_its_template(&scene, &rows).await?;
    }
    try_join(two_minors(&scene, &rows, &OLD), two_minors(&scene, &rows, &NEW)).await?;
    Ok(())
}

/// Cluster API never finds these Clusters available: nothing makes their infrastructure.
async fn without_availability(scene: &JourneyContext) -> Result<()> {
    let policy = json!({
        "apiVersion": "upgrade.cluster.x-k8s.io/v1alpha1",
        "kind": "UpgradePolicy",
        "metadata": { "name": "without-availability" },
        "spec": { "preflight": { "checks": [{ "name": "cluster-available", "mode": "Off" }] } },
    });
    scene.apply_object(policy).await.map(drop)
}

/// Two minors by the annotation, one write of the control plane for each.
async fn two_minors(scene: &JourneyContext, rows: &Rows, provider: &Provider) -> Result<()> {
    let name = provider.name();
    let first = rows.version(33);
    scene.apply_object(machine_template(&name, &rows.image(33, 1))).await?;
    let control_plane = json!({ "version": first, "machineTemplate": provider.machines(&name) });
    provider.create(scene, &name, control_plane).await?;
    provider.says(scene, &first, None).await?;
    wait_for("Cluster API to have seen it", STEP, || async {
        let object = provider.get(scene, &name).await?;
        match object.owner_references().first() {
            Some(_) => Ok(()),
            None => Err("it has no owner".into()),
        }
    })
    .await?;
    let mut before = provider.get(scene, &name).await?;
    let asked = json!({ "metadata": { "annotations": { VERSION_ANNOTATION: rows.version(35) } } });
    clusters(scene)
        .patch(&name, &PatchParams::default(), &Patch::Merge(&asked))
        .await?;
    for minor in [34, 35] {
        let version = rows.version(minor);
        let swapped = wait_for(&format!("{name} to go to {version}"), STEP, || async {
            let object = provider.get(scene, &name).await?;
            if object.data["spec"]["version"] == json!(version) {
                Ok(object)
            } else {
                let record = record(scene, &name).await?.map(|record| record.status);
                Err(format!("{}, {record:?}", object.data["spec"]).into())
            }
        })
        .await?;
        provider
            .assert_one_write(scene, &before, &swapped, &rows.image(minor, 1))
            .await?;
        // Its provider is slow, and so is the upgrade.
        wait_for(&format!("the record to wait for {name}"), STEP, || async {
            let record = record(scene, &name).await?.and_then(|record| record.status);
            let waits = |status: &instar_api::ClusterUpgradeStatus| {
                let mut rows = status.health.iter();
                rows.any(|it| it.reason == "ControlPlaneRollingOut" && it.message.contains(&version))
            };
            if record.as_ref().is_some_and(waits) {
                Ok(())
            } else {
                Err(format!("{record:?}").into())
            }
        })
        .await?;
        provider.says(scene, &version, swapped.metadata.generation).await?;
        before = swapped;
    }
    wait_for(&format!("the upgrade of {name} to be completed"), STEP, || async {
        match record(scene, &name).await? {
            Some(record) if phase(&record) == UpgradePhase::Completed => Ok(()),
            seen => Err(format!("{:?}", seen.map(|record| record.status)).into()),
        }
    })
    .await?;
    let after = provider.get(scene, &name).await?;
    assert_eq!(
        after.metadata.generation, before.metadata.generation,
        "it was written after the end"
    );
    Ok(())
}

/// A control plane whose version somebody else decides is left alone, and the record says so.
async fn without_a_version(scene: &JourneyContext, rows: &Rows) -> Result<()> {
    let name = "unversioned";
    NEW.create(scene, name, json!({ "replicas": 1 })).await?;
    let wish = json!({
        "apiVersion": "upgrade.cluster.x-k8s.io/v1alpha1",
        "kind": "ClusterUpgrade",
        "metadata": { "name": name },
        "spec": { "clusterName": name, "target": rows.version(34) },
    });
    scene.apply_object(wish).await?;
    let told = wait_for("the record to say why", STEP, || async {
        let status = record(scene, name).await?.and_then(|record| record.status);
        let rows = status.and_then(|status| status.health.into_iter().next());
        rows.context("nothing is waited for")
            .map_err(|error| error.to_string().into())
    })
    .await?;
    assert_eq!(told.reason, "Unreadable");
    assert_eq!(
        told.message,
        "NewControlPlane unversioned can't be read: it has no spec.version, so Instar can't upgrade it"
    );
    Ok(())
}

async fn record(scene: &JourneyContext, cluster: &str) -> Result<Option<ClusterUpgrade>> {
    let all: Api<ClusterUpgrade> = Api::namespaced(scene.mgmt.client(), &scene.namespace);
    let found = all.list(&ListParams::default()).await?.items;
    let mut own = found.into_iter().filter(|record| record.spec.cluster_name == cluster);
    let first = own.next();
    anyhow::ensure!(own.next().is_none(), "more than one ClusterUpgrade of {cluster}");
    Ok(first)
}

/// Rights like those that `config/providers` gives for the kinds of providers that are known.
async fn allow(scene: &JourneyContext) -> Result<()> {
    let resources = [OLD.plural(), NEW.plural()];
    let group = "rbac.authorization.k8s.io";
    let grants: [(&str, &str, &[&str]); 2] = [
        (ROLE, MANAGER, &["list", "watch", "patch"]),
        (WEBHOOK_ROLE, "instar-webhook", &["list", "watch"]),
    ];
    for (role, account, verbs) in grants {
        scene
            .apply_object(json!({
                "apiVersion": format!("{group}/v1"),
                "kind": "ClusterRole",
                "metadata": { "name": role },
                "rules": [{ "apiGroups": [GROUP], "resources": resources, "verbs": verbs }],
            }))
            .await?;
        scene
            .apply_object(json!({
                "apiVersion": format!("{group}/v1"),
                "kind": "ClusterRoleBinding",
                "metadata": { "name": role },
                "roleRef": { "apiGroup": group, "kind": "ClusterRole", "name": role },
                "subjects": [{ "kind": "ServiceAccount", "name": account, "namespace": "instar-system" }],
            }))
            .await?;
    }
    Ok(())
}

impl Provider {
    fn name(&self) -> String {
        self.kind.to_lowercase()
    }

    fn plural(&self) -> String {
        format!("{}s", self.name())
    }

    fn api_version(&self) -> String {
        format!("{GROUP}/{}", self.version)
    }

    fn api(&self, scene: &JourneyContext) -> Api<DynamicObject> {
        let resource = ApiResource {
            group: GROUP.to_owned(),
            version: self.version.to_owned(),
            api_version: self.api_version(),
            kind: self.kind.to_owned(),
            plural: self.plural(),
        };
        Api::namespaced_with(scene.mgmt.client(), &scene.namespace, &resource)
    }

    async fn get(&self, scene: &JourneyContext, name: &str) -> Result<DynamicObject> {
        Ok(self.api(scene).get(name).await?)
    }

    /// The kind, at all the versions of its label and at those that aren't named.
    async fn define(&self, scene: &JourneyContext) -> Result<()> {
        let open = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
        let versions = self
            .versions
            .split('_')
            .chain(self.unnamed.iter().copied())
            .map(|version| {
                json!({
                    "name": version,
                    "served": true,
                    "storage": version == self.version,
                    "subresources": { "status": {} },
                    "schema": { "openAPIV3Schema": {
                        "type": "object",
                        "properties": { "spec": open, "status": open },
                    } },
                })
            });
        let name = format!("{}.{GROUP}", self.plural());
        scene
            .apply_object(json!({
                "apiVersion": "apiextensions.k8s.io/v1",
                "kind": "CustomResourceDefinition",
                "metadata": {
                    "name": name,
                    "labels": { format!("cluster.x-k8s.io/{}", self.contract): self.versions },
                },
                "spec": {
                    "group": GROUP,
                    "scope": "Namespaced",
                    "names": { "kind": self.kind, "plural": self.plural(), "singular": self.name() },
                    "versions": versions.collect::<Vec<_>>(),
                },
            }))
            .await?;
        wait_for(&format!("{name} to be served"), STEP, || async {
            self.api(scene).list(&ListParams::default()).await?;
            Ok(())
        })
        .await
    }

    /// A Cluster and its control plane, in the form of the contract.
    async fn create(&self, scene: &JourneyContext, name: &str, spec: Value) -> Result<()> {
        let control_plane = json!({
            "apiVersion": self.api_version(),
            "kind": self.kind,
            "metadata": { "name": name },
            "spec": spec,
        });
        let control_plane = serde_json::from_value(control_plane)?;
        self.api(scene)
            .create(&kube::api::PostParams::default(), &control_plane)
            .await?;
        scene
            .apply_object(json!({
                "apiVersion": "cluster.x-k8s.io/v1beta2",
                "kind": "Cluster",
                "metadata": { "name": name },
                "spec": { "controlPlaneRef": { "apiGroup": GROUP, "kind": self.kind, "name": name } },
            }))
            .await?;
        Ok(())
    }

    /// A template that only such a control plane names isn't deleted, and may be when it names another one.
    async fn keeps_its_template(&self, scene: &JourneyContext, rows: &Rows) -> Result<()> {
        let (name, next) = (format!("{}-keeper", self.name()), format!("{}-next", self.name()));
        for template in [&name, &next] {
            scene
                .apply_object(machine_template(template, &rows.image(33, 1)))
                .await?;
        }
        // Without a version, so that no upgrade moves it.
        self.create(scene, &name, json!({ "machineTemplate": self.machines(&name) }))
            .await?;
        let templates = machine_templates(scene);
        // The admission server knows of it a moment later, so until then nothing may really be deleted.
        let dry_run = DeleteParams::default().dry_run();
        let refusal = wait_for(&format!("the deletion of {name} to be refused"), STEP, || async {
            match templates.delete(&name, &dry_run).await {
                Err(kube::Error::Api(status)) if status.code == 403 => Ok(status.message.clone()),
                other => Err(format!("{other:?}").into()),
            }
        })
        .await?;
        let expected = format!(
            "DevMachineTemplate {}/{name}: metadata.name: {} {name} refers to it; point to another template first, and \
             wait until no machine is made from this one [rule template-in-use]",
            scene.namespace, self.kind
        );
        assert!(refusal.ends_with(&expected), "{refusal}");

        let patch = json!({ "spec": { "machineTemplate": self.machines(&next) } });
        self.api(scene)
            .patch(&name, &PatchParams::default(), &Patch::Merge(&patch))
            .await?;
        wait_for(&format!("{name} to be deleted"), STEP, || async {
            templates.delete(&name, &DeleteParams::default()).await?;
            Ok(())
        })
        .await
    }

    /// `spec.machineTemplate`, with the template's reference where the contract has it.
    fn machines(&self, template: &str) -> Value {
        let group = "infrastructure.cluster.x-k8s.io";
        let kind = "DevMachineTemplate";
        if self.below.is_empty() {
            let api_version = format!("{group}/v1beta2");
            json!({ "infrastructureRef": { "apiVersion": api_version, "kind": kind, "name": template } })
        } else {
            json!({ "spec": { "infrastructureRef": { "apiGroup": group, "kind": kind, "name": template } } })
        }
    }

    /// What its controller says once all of it runs a version. The old one never says of which edit.
    async fn says(&self, scene: &JourneyContext, version: &str, generation: Option<i64>) -> Result<()> {
        let status = if self.below.is_empty() {
            json!({ "initialized": true, "ready": true, "version": version })
        } else {
            json!({
                "initialization": { "controlPlaneInitialized": true },
                "observedGeneration": generation.unwrap_or(1),
                "versions": [{ "version": version }],
            })
        };
        let patch = json!({ "status": status });
        self.api(scene)
            .patch_status(&self.name(), &PatchParams::default(), &Patch::Merge(&patch))
            .await?;
        Ok(())
    }

    /// The version and the template's name changed in one edit of the spec, at the contract's version
    /// of the kind, and nothing else of it did.
    async fn assert_one_write(
        &self,
        scene: &JourneyContext,
        before: &DynamicObject,
        after: &DynamicObject,
        image: &str,
    ) -> Result<()> {
        let generation = |object: &DynamicObject| object.metadata.generation.unwrap_or_default();
        assert_eq!(
            generation(after),
            generation(before) + 1,
            "edits of the spec of {}",
            self.kind
        );
        let pointer = format!("/spec/machineTemplate{}/infrastructureRef/name", self.below);
        let template = |object: &DynamicObject| {
            let name = object.data.pointer(&pointer).and_then(Value::as_str);
            name.map(str::to_owned).with_context(|| format!("no {pointer}"))
        };
        let minted = template(after)?;
        assert_ne!(minted, template(before)?, "the template is another");
        let mut expected = before.data.clone();
        expected["spec"]["version"] = after.data["spec"]["version"].clone();
        if let Some(name) = expected.pointer_mut(&pointer) {
            *name = json!(minted);
        }
        assert_eq!(after.data["spec"], expected["spec"]);
        let written = written(after)?;
        assert_eq!(written.api_version.as_deref(), Some(&*self.api_version()));
        let mut spec = BTreeSet::new();
        let fields = written.fields_v1.context("no fieldsV1")?.0;
        leaves(&fields["f:spec"], "/spec", &mut spec);
        assert_eq!(spec, BTreeSet::from(["/spec/version".to_owned(), pointer]));
        let found = machine_templates(scene).get(&minted).await?;
        assert_eq!(found.data.pointer(IMAGE).and_then(Value::as_str), Some(image));
        Ok(())
    }
}

/// What the controller has written into an object.
fn written(object: &DynamicObject) -> Result<ManagedFieldsEntry> {
    let mut entries = object.managed_fields().iter();
    let own = entries.find(|entry| entry.manager.as_deref() == Some(MANAGER));
    own.cloned().context("the controller wrote nothing into it")
}

/// The fields at the ends of a managed fields tree.
fn leaves(fields: &Value, path: &str, found: &mut BTreeSet<String>) {
    match fields.as_object().filter(|fields| !fields.is_empty()) {
        None => {
            found.insert(path.to_owned());
        }
        Some(fields) => {
            for (name, below) in fields {
                let name = name.strip_prefix("f:").unwrap_or(name);
                leaves(below, &format!("{path}/{name}"), found);
            }
        }
    }
}
