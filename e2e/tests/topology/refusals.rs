//! What is refused, each with its exact message.

use instar_e2e::{
    Context, Result,
    support::{
        catalog::{IMAGE, Rows},
        fixtures::{CLUSTER_CLASS, TopologyCluster},
        journeys::JourneyContext,
        topology::{apply_rows, apply_wired, clusters, namespaced, releases, resource, version},
    },
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams},
    core::DynamicObject,
};
use serde_json::{Value, json};

const MUTATE: &str = "admission webhook \"mutate.cluster.upgrade.cluster.x-k8s.io\" denied the request: ";

struct Refusals<'a> {
    scene: &'a JourneyContext,
    rows: Rows,
}

pub(crate) async fn each_with_its_message(scene: JourneyContext) -> Result<()> {
    let refusals = Refusals {
        scene: &scene,
        rows: scene.rows()?,
    };
    let rows = &refusals.rows;
    apply_rows(&scene, &rows.all()).await?;
    apply_wired(&scene, CLUSTER_CLASS, &rows.all()).await?;
    let first = rows.version(33);
    refusals.create("c", &first).await?;

    refusals.an_unknown_version().await?;
    refusals.a_downgrade().await?;
    refusals.no_path().await?;
    refusals.an_image_that_is_missing().await?;
    refusals.a_value_that_is_not_rendered().await?;
    refusals.an_etcd_that_is_too_old().await?;
    refusals.a_row_in_use().await?;
    refusals.a_mutated_template().await?;
    refusals.an_unknown_class().await
}

impl Refusals<'_> {
    fn ns(&self) -> &str {
        &self.scene.namespace
    }

    /// A Cluster that asks for machines and gets none: it is paused.
    async fn create(&self, name: &str, version: &str) -> Result<()> {
        let mut object = TopologyCluster {
            name,
            version,
            control_planes: 1,
            workers: &[("md-0", 1)],
        }
        .object();
        object["spec"]["paused"] = json!(true);
        self.scene.apply_object(object).await?;
        Ok(())
    }

    /// Asserts that an edit of the version is refused, and has changed nothing.
    async fn refuses(&self, name: &str, to: &str, code: u16, reason: &str, message: &str) -> Result<()> {
        let api = clusters(self.scene);
        let before = api.get(name).await?;
        let edited = api
            .patch(name, &PatchParams::default(), &Patch::Merge(version(to)))
            .await;
        refused(
            edited,
            code,
            reason,
            &format!("{MUTATE}Cluster {}/{name}: {message}", self.ns()),
        );
        let after = api.get(name).await?;
        assert_eq!(
            after.metadata.generation, before.metadata.generation,
            "a refused edit changed the spec of {name}"
        );
        assert_eq!(
            after.annotations(),
            before.annotations(),
            "a refused edit changed the annotations of {name}"
        );
        Ok(())
    }

    /// Makes a row, tries, and takes the row away again.
    async fn with_row(&self, row: Value, to: &str, code: u16, reason: &str, message: &str) -> Result<()> {
        let name = row["metadata"]["name"].as_str().context("the row's name")?.to_owned();
        apply_rows(self.scene, &[row]).await?;
        let tried = self.refuses("c", to, code, reason, message).await;
        releases(self.scene).delete(&name, &DeleteParams::default()).await?;
        tried
    }

    async fn an_unknown_version(&self) -> Result<()> {
        // The catalog belongs to all journeys, so what it has is looked up.
        let mut versions: Vec<(u64, u64)> = Vec::new();
        for row in releases(self.scene).list(&ListParams::default()).await? {
            // Another catalog's.
            if row.data["spec"]["catalog"].is_string() {
                continue;
            }
            let text = row.data["spec"]["version"]
                .as_str()
                .unwrap_or_default()
                .trim_start_matches("v1.")
                .to_owned();
            let (minor, patch) = text.split_once('.').context("a version")?;
            versions.push((minor.parse()?, patch.parse()?));
        }
        versions.sort_unstable();
        versions.dedup();
        let listed: Vec<String> = versions
            .iter()
            .rev()
            .take(8)
            .rev()
            .map(|(minor, patch)| format!("v1.{minor}.{patch}"))
            .collect();
        let more = match versions.len() {
            0..=8 => String::new(),
            all => format!(" and {} older", all - 8),
        };
        let message = format!(
            "spec.topology.version: \"v1.99.0\" is not in the catalog; it has {}{more}; the nearest that would work is {}; set a version that the catalog has (kubectl get kubernetesreleases), or create its release [rule release-in-catalog]",
            listed.join(", "),
            self.rows.version(36),
        );
        self.refuses("c", "v1.99.0", 403, "Forbidden", &message).await
    }

    async fn a_downgrade(&self) -> Result<()> {
        let (lower, higher) = (self.rows.version(33), self.rows.version(36));
        self.create("higher", &higher).await?;
        let message = format!(
            "spec.topology.version: {lower} is older than {higher}, which runs; Cluster API has no way down: fix forward with another release, or restore from a backup [rule no-downgrade]"
        );
        self.refuses("higher", &lower, 403, "Forbidden", &message).await
    }

    async fn no_path(&self) -> Result<()> {
        let (from, between, to) = (self.rows.version(33), self.rows.version(34), self.rows.version(35));
        releases(self.scene)
            .delete(&self.rows.name(34, 1), &DeleteParams::default())
            .await?;
        let message = format!(
            "spec.topology.version: on the way from {from} to {to}, Cluster API goes through {between}, which has no release; create a KubernetesRelease of {between} [rule path]"
        );
        self.refuses("c", &to, 403, "Forbidden", &message).await?;
        apply_rows(self.scene, &[self.rows.row(34, 1)]).await
    }

    async fn an_image_that_is_missing(&self) -> Result<()> {
        let to = self.rows.version(35);
        let mut row = self.rows.row(35, 2);
        row["spec"]["machineImages"][1]["role"] = json!("ControlPlane");
        let message = format!(
            "spec.topology.version: release {} ({to}) has no image for MachineDeployment md-0 (DevMachineTemplate); create a KubernetesRelease of {to} with a higher revision and this image [rule image-for-pool]",
            self.rows.name(35, 2)
        );
        self.with_row(row, &to, 403, "Forbidden", &message).await
    }

    async fn a_value_that_is_not_rendered(&self) -> Result<()> {
        let pointer = IMAGE.replace("/vm/", "/node/");
        let to = self.rows.version(35);
        let mut row = self.rows.row(35, 3);
        let values = row["spec"]["machineImages"][1]["values"]
            .as_array_mut()
            .context("values")?;
        values.push(json!({ "pointer": pointer, "value": "1s" }));
        let message = format!(
            "spec.topology.version: release {} ({to}) sets {pointer} of DevMachineTemplate for the control plane, and ClusterClass {}/fixture does not render it; wire the class again: instar wire prints it [rule wiring-renders]",
            self.rows.name(35, 3),
            self.ns()
        );
        self.with_row(row, &to, 403, "Forbidden", &message).await
    }

    async fn an_etcd_that_is_too_old(&self) -> Result<()> {
        let (from, between) = (self.rows.version(33), self.rows.version(34));
        let mut row = self.rows.row(33, 2);
        row["spec"]["components"]["etcd"]["imageTag"] = json!("3.5.21-0");
        apply_rows(self.scene, &[row]).await?;
        // Asked for by the row's name, so that it is certain which one is taken.
        self.create("old-etcd", &self.rows.name(33, 2)).await?;
        let message = format!(
            "spec.topology.version: release {} ({between}) runs etcd 3.6.5-0 after etcd 3.5.21-0 of {from}, and etcd 3.6 may follow only on 3.5.26 or later; first set spec.topology.version to {}, the release of {from} with etcd 3.5.26-0 [rule etcd-step]",
            self.rows.name(34, 1),
            self.rows.name(33, 1)
        );
        self.refuses("old-etcd", &self.rows.version(35), 403, "Forbidden", &message)
            .await
    }

    async fn a_row_in_use(&self) -> Result<()> {
        let name = self.rows.name(33, 1);
        let deleted = releases(self.scene)
            .delete(&name, &DeleteParams::default())
            .await
            .map(|_| ());
        let message = format!(
            "admission webhook \"mutate.kubernetesrelease.upgrade.cluster.x-k8s.io\" denied the request: KubernetesRelease {name}: metadata.name: Clusters are pinned to it: {}/c; upgrade or delete them first; a pin goes with the version edit after the one that left it [rule release-in-use]",
            self.ns()
        );
        refused(deleted, 403, "Forbidden", &message);
        Ok(())
    }

    /// Of a kind whose provider forgot to guard it.
    async fn a_mutated_template(&self) -> Result<()> {
        let any = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
        let crd = json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": { "name": "plainmachinetemplates.infrastructure.cluster.x-k8s.io", "labels": { "cluster.x-k8s.io/v1beta2": "v1" } },
            "spec": {
                "group": "infrastructure.cluster.x-k8s.io",
                "scope": "Namespaced",
                "names": { "kind": "PlainMachineTemplate", "plural": "plainmachinetemplates" },
                "versions": [{ "name": "v1", "served": true, "storage": true, "schema": { "openAPIV3Schema": { "type": "object", "properties": { "spec": any } } } }],
            },
        });
        self.scene.apply_object(crd).await?;
        let template = |image: &str, annotations: Value| {
            json!({
                "apiVersion": "infrastructure.cluster.x-k8s.io/v1",
                "kind": "PlainMachineTemplate",
                "metadata": { "name": "plain", "annotations": annotations },
                "spec": { "template": { "metadata": {}, "spec": { "image": image } } },
            })
        };
        let plain = resource(
            "infrastructure.cluster.x-k8s.io",
            "v1",
            "PlainMachineTemplate",
            "plainmachinetemplates",
        );
        let api = namespaced(self.scene, &plain);
        instar_e2e::wait::wait_for(
            "PlainMachineTemplates to be served",
            std::time::Duration::from_secs(30),
            || async {
                self.scene.apply_object(template("a", json!({}))).await?;
                Ok(())
            },
        )
        .await?;
        let parameters = PatchParams::default();
        let message = format!(
            "admission webhook \"mutate.machinetemplate.upgrade.cluster.x-k8s.io\" denied the request: PlainMachineTemplate {}/plain: spec.template.spec: /spec/template/spec/image would change; machines are replaced, not changed: create a new template and point to it [rule template-spec]",
            self.ns()
        );
        let marked = json!({ "topology.cluster.x-k8s.io/dry-run": "" });
        for (patch, parameters) in [
            (template("b", json!({})), &parameters),
            // The annotation alone is no dry run, and a dry run alone isn't the topology controller's.
            (template("b", marked.clone()), &parameters),
            (template("b", json!({})), &parameters.clone().dry_run()),
        ] {
            refused(
                api.patch("plain", parameters, &Patch::Merge(patch)).await,
                403,
                "Forbidden",
                &message,
            );
        }
        api.patch(
            "plain",
            &parameters.clone().dry_run(),
            &Patch::Merge(template("b", marked)),
        )
        .await
        .context("the topology controller's dry run")?;
        api.patch(
            "plain",
            &parameters,
            &Patch::Merge(json!({ "spec": { "template": { "metadata": { "labels": { "a": "b" } } } } })),
        )
        .await
        .context("labels of the machines")?;
        let crds = resource(
            "apiextensions.k8s.io",
            "v1",
            "CustomResourceDefinition",
            "customresourcedefinitions",
        );
        let crds: Api<DynamicObject> = Api::all_with(self.scene.mgmt.client(), &crds);
        crds.delete(
            "plainmachinetemplates.infrastructure.cluster.x-k8s.io",
            &DeleteParams::default(),
        )
        .await?;
        Ok(())
    }

    async fn an_unknown_class(&self) -> Result<()> {
        let mut object = TopologyCluster {
            name: "no-class",
            version: "v1.34.3",
            control_planes: 1,
            workers: &[("md-0", 1)],
        }
        .object();
        object["spec"]["topology"]["classRef"]["name"] = json!("nobody");
        let object: DynamicObject = serde_json::from_value(object)?;
        let created = clusters(self.scene)
            .create(&kube::api::PostParams::default(), &object)
            .await;
        let message = format!(
            "{MUTATE}Cluster {0}/no-class: spec.topology.classRef: ClusterClass {0}/nobody is not known; create it first, or try again if it was created just now [rule class-known]",
            self.ns()
        );
        refused(created, 403, "Forbidden", &message);
        Ok(())
    }
}

/// Asserts code, reason and message of a refusal.
fn refused<T: std::fmt::Debug>(result: kube::Result<T>, code: u16, reason: &str, message: &str) {
    match result {
        Err(kube::Error::Api(status)) => {
            assert_eq!(status.message, message);
            assert_eq!(
                (status.code, status.reason.as_str()),
                (code, reason),
                "{}",
                status.message
            );
        }
        other => panic!("expected a refusal with {message:?}, got {other:?}"),
    }
}
