//! Kinds that aren't installed, and objects that can't be decoded.
//!
//! A second API server has Cluster API's kinds but no controller, and no kubeadm at first: the journey plays a
//! provider of k3s.

mod unanswered;

use std::{fs, path::PathBuf, time::Duration};

use instar_api::{ClusterUpgrade, UpgradePhase};
use instar_e2e::{
    Context, Result,
    apply::Applier,
    instar::program,
    ports,
    process::{Launch, Process},
    support::{
        catalog::Rows,
        classic::{machine_template, machine_template_kind},
        journeys::JourneyContext,
        second_cluster::SecondCluster,
    },
    wait::wait_for,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams},
    core::{DynamicObject, GroupVersionKind},
    discovery::ApiResource,
};
use serde_json::{Value, json};
use tempfile::TempDir;

const NAMESPACE: &str = "default";
const CONTROL_PLANE: &str = "controlplane.cluster.x-k8s.io";
const CORE: &str = "cluster.x-k8s.io";
const OURS: &str = "upgrade.cluster.x-k8s.io";
const KUBEADM: [&str; 4] = [
    "kubeadmcontrolplanes",
    "kubeadmcontrolplanetemplates",
    "kubeadmconfigs",
    "kubeadmconfigtemplates",
];

/// How long one step may take: a kind that wasn't there is looked for every half a minute.
const STEP: Duration = Duration::from_mins(3);

pub(crate) async fn absent_and_unreadable(scene: JourneyContext) -> Result<()> {
    let second = SecondCluster::start_with(&scene.mgmt, |plural| !KUBEADM.contains(&plural)).await?;
    let world = World {
        rows: scene.rows()?,
        client: second.client(),
        applier: Applier::new(second.client()),
    };
    for row in world.rows.all() {
        world.apply(row).await?;
    }
    world.define_k3s().await?;
    let programs = Programs::start(&scene, &second).await?;

    world.create_k3s_cluster().await?;
    world.upgrade("k3s", 34).await?;
    world.play_k3s(34).await?;
    world.completed("k3s", 34).await?;

    second
        .add_kinds(&scene.mgmt.client(), |plural| KUBEADM.contains(&plural))
        .await?;
    world.create_kubeadm_cluster().await?;
    world.upgrade("kubeadm", 34).await?;
    world
        .control_plane_goes_to(&resource(CONTROL_PLANE, "KubeadmControlPlane"), "kubeadm", 34)
        .await?;

    unanswered::holds_back_nothing_else(&world).await?;

    let broken = world.create_unreadable().await?;
    programs.name(&broken).await?;
    world.upgrade("broken", 34).await?;
    world.held_for_its_cluster().await?;
    world.upgrade("k3s", 35).await?;
    world.held_by_the_policy().await?;
    // One Cluster's trouble is never another's.
    world.play_k3s(35).await?;
    world.completed("k3s", 35).await?;
    programs.are_ready().await?;
    second.stop().await
}

/// Both programs, on the second cluster.
struct Programs {
    http: reqwest::Client,
    controller: Process,
    webhook: Process,
    logs: [PathBuf; 2],
    _certificates: TempDir,
}

/// An object that can't be decoded: its kind's plural and its name, and which programs watch it.
struct Broken {
    plural: &'static str,
    name: String,
    programs: &'static [u16],
}

const BOTH: &[u16] = &[ports::SECOND_CONTROLLER_HEALTH, ports::SECOND_WEBHOOK_HEALTH];

impl Programs {
    async fn start(scene: &JourneyContext, cluster: &SecondCluster) -> Result<Self> {
        let certificates = tempfile::tempdir()?;
        let serving = certificates.path().join("serving");
        scene.mgmt.certificates().issue_server("instar")?.write(&serving)?;
        let logs = ["second-controller", "second-webhook"].map(|name| scene.mgmt.run().log(name));
        let instar = program()?;
        let start = |name: &str, arguments: Vec<String>, log: &PathBuf| {
            let launch = Launch {
                name: name.to_owned(),
                program: instar.clone(),
                arguments,
                environment: vec![("KUBECONFIG".to_owned(), cluster.kubeconfig().into())],
                log: log.clone(),
            };
            Process::start(launch)
        };
        let port = |port: u16| format!("--health-port={port}");
        let arguments = |command: &str, own: Vec<String>| {
            let both = [
                command.to_owned(),
                "--bind-address=127.0.0.1".to_owned(),
                "--log-format=json".to_owned(),
            ];
            both.into_iter().chain(own).collect::<Vec<_>>()
        };
        let controller = arguments(
            "controller",
            vec![port(ports::SECOND_CONTROLLER_HEALTH), "--no-leader-election".to_owned()],
        );
        let webhook = arguments(
            "webhook",
            vec![
                port(ports::SECOND_WEBHOOK_HEALTH),
                "--port=0".to_owned(),
                format!("--cert-dir={}", serving.display()),
            ],
        );
        let [controller_log, webhook_log] = &logs;
        let programs = Self {
            http: scene.mgmt.http().clone(),
            controller: start("second controller", controller, controller_log).await?,
            webhook: start("second webhook", webhook, webhook_log).await?,
            logs,
            _certificates: certificates,
        };
        programs.are_ready().await?;
        Ok(programs)
    }

    async fn get(&self, port: u16, path: &str) -> Result<(bool, String)> {
        let answer = self.http.get(format!("http://127.0.0.1:{port}{path}")).send().await?;
        Ok((answer.status().is_success(), answer.text().await?))
    }

    async fn are_ready(&self) -> Result<()> {
        for port in BOTH {
            wait_for(&format!("the program at port {port} to be ready"), STEP, || async {
                self.controller.check_runs()?;
                self.webhook.check_runs()?;
                match self.get(*port, "/readyz").await? {
                    (true, _) => Ok(()),
                    (false, text) => Err(text.into()),
                }
            })
            .await?;
        }
        Ok(())
    }

    /// Each program counts each object, names it in its log, and is ready all the same.
    async fn name(&self, broken: &[Broken]) -> Result<()> {
        for Broken { plural, name, programs } in broken {
            for port in *programs {
                let line = format!("instar_watch_unreadable_objects{{kind=\"{plural}\"}} 1");
                wait_for(&format!("{line} at port {port}"), STEP, || async {
                    let (_, page) = self.get(*port, "/metrics").await?;
                    if page.lines().any(|seen| seen == line) {
                        return Ok(());
                    }
                    let seen: Vec<&str> = page.lines().filter(|line| line.contains("unreadable")).collect();
                    Err(seen.join("\n").into())
                })
                .await?;
            }
            for (port, log) in BOTH.iter().zip(&self.logs) {
                let text = fs::read_to_string(log)?;
                let named = text.lines().any(|line| {
                    line.contains("Cannot decode object")
                        && line.contains(&format!("\"{plural}\""))
                        && line.contains(&format!("{name}\""))
                });
                assert_eq!(named, programs.contains(port), "{plural} {name} in {}", log.display());
            }
        }
        self.are_ready().await
    }
}

struct World {
    rows: Rows,
    client: Client,
    applier: Applier,
}

impl World {
    async fn apply(&self, object: Value) -> Result<DynamicObject> {
        self.applier.one(serde_json::from_value(object)?, Some(NAMESPACE)).await
    }

    fn api(&self, resource: &ApiResource) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), NAMESPACE, resource)
    }

    async fn status(&self, resource: &ApiResource, name: &str, status: Value) -> Result<()> {
        let patch = Patch::Merge(json!({ "status": status }));
        self.api(resource)
            .patch_status(name, &PatchParams::default(), &patch)
            .await?;
        Ok(())
    }

    async fn define_k3s(&self) -> Result<()> {
        self.apply(json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {
                "name": format!("kthreescontrolplanes.{CONTROL_PLANE}"),
                "labels": { "cluster.x-k8s.io/v1beta2": "v1beta2" },
            },
            "spec": {
                "group": CONTROL_PLANE,
                "scope": "Namespaced",
                "names": { "kind": "KThreesControlPlane", "plural": "kthreescontrolplanes", "singular": "kthreescontrolplane" },
                "versions": [{
                    "name": "v1beta2", "served": true, "storage": true, "subresources": { "status": {} },
                    "schema": { "openAPIV3Schema": open() },
                }],
            },
        }))
        .await?;
        let kind = resource(CONTROL_PLANE, "KThreesControlPlane");
        wait_for("the k3s control planes to be served", STEP, || async {
            self.api(&kind).list(&ListParams::default()).await?;
            Ok(())
        })
        .await
    }

    /// A Cluster of k3s with a pool that has no machines: how these are replaced is tried where Cluster API runs.
    async fn create_k3s_cluster(&self) -> Result<()> {
        let (version, image) = (self.rows.version(33), self.rows.image(33, 1));
        self.apply(machine_template("k3s-cp", &image)).await?;
        self.apply(machine_template("k3s-md", &image)).await?;
        self.apply(cluster("k3s", "KThreesControlPlane")).await?;
        self.apply(json!({
            "apiVersion": format!("{CONTROL_PLANE}/v1beta2"),
            "kind": "KThreesControlPlane",
            "metadata": { "name": "k3s", "labels": { "cluster.x-k8s.io/cluster-name": "k3s" } },
            "spec": { "replicas": 1, "version": version, "machineTemplate": { "spec": { "infrastructureRef": template("k3s-cp") } } },
        }))
        .await?;
        self.apply(pool("k3s", &version)).await?;
        self.k3s_runs(33).await?;
        self.pool_is_seen().await
    }

    async fn k3s_runs(&self, minor: u8) -> Result<()> {
        let kind = resource(CONTROL_PLANE, "KThreesControlPlane");
        let generation = self.api(&kind).get("k3s").await?.metadata.generation;
        let status = json!({
            "observedGeneration": generation, "versions": [{ "version": self.rows.version(minor), "replicas": 1 }],
            "replicas": 1, "readyReplicas": 1, "upToDateReplicas": 1,
        });
        self.status(&kind, "k3s", status).await
    }

    async fn pool_is_seen(&self) -> Result<()> {
        let kind = resource(CORE, "MachineDeployment");
        let generation = self.api(&kind).get("k3s-md").await?.metadata.generation;
        self.status(&kind, "k3s-md", json!({ "observedGeneration": generation }))
            .await
    }

    async fn create_kubeadm_cluster(&self) -> Result<()> {
        self.apply(machine_template("kubeadm-cp", &self.rows.image(33, 1)))
            .await?;
        self.apply(cluster("kubeadm", "KubeadmControlPlane")).await?;
        self.apply(json!({
            "apiVersion": format!("{CONTROL_PLANE}/v1beta2"),
            "kind": "KubeadmControlPlane",
            "metadata": { "name": "kubeadm", "labels": { "cluster.x-k8s.io/cluster-name": "kubeadm" } },
            "spec": {
                "replicas": 1,
                "version": self.rows.version(33),
                "machineTemplate": { "spec": { "infrastructureRef": template("kubeadm-cp") } },
                "kubeadmConfigSpec": { "clusterConfiguration": { "etcd": { "local": { "imageTag": "3.5.26-0" } } } },
            },
        }))
        .await?;
        let kind = resource(CONTROL_PLANE, "KubeadmControlPlane");
        let status = json!({
            "observedGeneration": 1, "versions": [{ "version": self.rows.version(33), "replicas": 1 }],
            "replicas": 1, "readyReplicas": 1, "upToDateReplicas": 1,
        });
        self.status(&kind, "kubeadm", status).await
    }

    /// Asks for an upgrade of a Cluster to a minor.
    async fn upgrade(&self, cluster: &str, minor: u8) -> Result<()> {
        self.apply(json!({
            "apiVersion": format!("{OURS}/v1alpha1"),
            "kind": "ClusterUpgrade",
            "metadata": { "name": format!("{cluster}-{minor}") },
            "spec": { "clusterName": cluster, "target": self.rows.version(minor) },
        }))
        .await?;
        Ok(())
    }

    async fn record(&self, name: &str) -> Result<ClusterUpgrade> {
        let records: Api<ClusterUpgrade> = Api::namespaced(self.client.clone(), NAMESPACE);
        Ok(records.get(name).await?)
    }

    async fn completed(&self, cluster: &str, minor: u8) -> Result<()> {
        let name = format!("{cluster}-{minor}");
        wait_for(&format!("ClusterUpgrade {name} to be completed"), STEP, || async {
            let status = self.record(&name).await?.status;
            match &status {
                Some(seen) if seen.phase == UpgradePhase::Completed => Ok(()),
                Some(_) | None => Err(format!("{status:?}").into()),
            }
        })
        .await
    }

    /// Waits until Instar has written a control plane: the version, and the name of a template that it minted.
    async fn control_plane_goes_to(&self, kind: &ApiResource, name: &str, minor: u8) -> Result<()> {
        let version = self.rows.version(minor);
        let swapped = wait_for(&format!("{name} to go to {version}"), STEP, || async {
            let object = self.api(kind).get(name).await?;
            if object.data["spec"]["version"] == json!(version) {
                Ok(object)
            } else {
                let status = self.record(&format!("{name}-{minor}")).await?.status;
                Err(format!("{}, {status:?}", object.data["spec"]).into())
            }
        })
        .await?;
        let template = &swapped.data["spec"]["machineTemplate"]["spec"]["infrastructureRef"]["name"];
        let template = template.as_str().context("a control plane without a template")?;
        let minted = self.api(&machine_template_kind()).get(template).await?;
        let image = minted
            .data
            .pointer("/spec/template/spec/backend/inMemory/vm/provisioning/startupDuration");
        assert_eq!(image, Some(&json!(self.rows.image(minor, 1))), "{template}");
        Ok(())
    }

    /// What a provider of k3s, and Cluster API, do when Instar has written.
    async fn play_k3s(&self, minor: u8) -> Result<()> {
        let kind = resource(CONTROL_PLANE, "KThreesControlPlane");
        self.control_plane_goes_to(&kind, "k3s", minor).await?;
        self.k3s_runs(minor).await?;
        let (pools, version) = (resource(CORE, "MachineDeployment"), self.rows.version(minor));
        wait_for(&format!("the pool to go to {version}"), STEP, || async {
            let pool = self.api(&pools).get("k3s-md").await?;
            if pool.data["spec"]["template"]["spec"]["version"] == json!(version) {
                Ok(())
            } else {
                Err(format!("{:?}", self.record(&format!("k3s-{minor}")).await?.status).into())
            }
        })
        .await?;
        self.pool_is_seen().await
    }

    /// One object of every watched kind that can't be decoded: as if a newer version of its API had written it.
    async fn create_unreadable(&self) -> Result<Vec<Broken>> {
        let mut broken = Vec::new();
        let kinds: [(&str, &str, &'static str, &'static [u16], Value); 10] = [
            (CORE, "Cluster", "clusters", BOTH, json!({ "paused": "until-monday" })),
            (CORE, "ClusterClass", "clusterclasses", BOTH, json!({ "workers": 7 })),
            (
                CONTROL_PLANE,
                "KubeadmControlPlane",
                "kubeadmcontrolplanes",
                BOTH,
                json!({ "version": 35 }),
            ),
            (
                CORE,
                "MachineDeployment",
                "machinedeployments",
                BOTH,
                json!({ "clusterName": "broken", "template": 7 }),
            ),
            (
                CORE,
                "MachineSet",
                "machinesets",
                BOTH,
                json!({ "clusterName": "broken", "template": 7 }),
            ),
            (
                CORE,
                "MachinePool",
                "machinepools",
                BOTH,
                json!({ "clusterName": "broken", "template": 7 }),
            ),
            (
                CORE,
                "Machine",
                "machines",
                BOTH,
                json!({ "clusterName": "broken", "version": 35 }),
            ),
            (
                OURS,
                "KubernetesRelease",
                "kubernetesreleases",
                BOTH,
                json!({ "version": 35 }),
            ),
            (
                OURS,
                "ClusterUpgrade",
                "clusterupgrades",
                BOTH,
                json!({ "clusterName": "broken", "target": 35 }),
            ),
            (
                OURS,
                "UpgradePolicy",
                "upgradepolicies",
                BOTH,
                json!({ "clusterSelector": 7 }),
            ),
        ];
        for (group, kind, plural, programs, spec) in kinds {
            self.open(&format!("{plural}.{group}")).await?;
            let version = if group == OURS { "v1alpha1" } else { "v1beta2" };
            let object = json!({
                "apiVersion": format!("{group}/{version}"), "kind": kind,
                "metadata": { "name": "broken" }, "spec": spec,
            });
            wait_for(&format!("a {kind} that can't be decoded"), STEP, || async {
                // The API server takes the new schema a moment later.
                let created = self.apply(object.clone()).await?;
                if created.data["spec"] == object["spec"] {
                    Ok(())
                } else {
                    Err(created.data.to_string().into())
                }
            })
            .await?;
            broken.push(Broken {
                plural,
                name: "broken".to_owned(),
                programs,
            });
        }
        Ok(broken)
    }

    /// Takes the schema from a kind.
    async fn open(&self, definition: &str) -> Result<()> {
        let definitions: Api<CustomResourceDefinition> = Api::all(self.client.clone());
        let mut found = definitions.get(definition).await?;
        for version in &mut found.spec.versions {
            version.schema = Some(serde_json::from_value(json!({ "openAPIV3Schema": open() }))?);
            version.additional_printer_columns = None;
            version.selectable_fields = None;
        }
        definitions
            .replace(&found.name_any(), &kube::api::PostParams::default(), &found)
            .await?;
        Ok(())
    }

    /// A policy that can't be read may have maintenance windows, so in its namespace nothing begins before it can.
    async fn held_by_the_policy(&self) -> Result<()> {
        wait_for("the upgrade of k3s to be held", STEP, || async {
            let status = self.record("k3s-35").await?.status.unwrap_or_default();
            let held = "maintenance window: UpgradePolicy broken can't be read, so its windows are not known: ";
            let mut rows = status.health.iter();
            if rows.any(|row| row.reason == "GateClosed" && row.message.starts_with(held)) {
                Ok(())
            } else {
                Err(format!("{status:?}").into())
            }
        })
        .await?;
        let policies = self.api(&resource(OURS, "UpgradePolicy"));
        policies.delete("broken", &DeleteParams::default()).await?;
        Ok(())
    }

    async fn held_for_its_cluster(&self) -> Result<()> {
        let told = wait_for("the upgrade of the broken Cluster to be held", STEP, || async {
            let status = self.record("broken-34").await?.status.context("no status")?;
            match (status.phase, status.health.first()) {
                (UpgradePhase::Held, Some(first)) => Ok(first.clone()),
                seen => Err(format!("{seen:?}").into()),
            }
        })
        .await?;
        assert_eq!(
            (&*told.reason, &*told.kind, &*told.name),
            ("Unreadable", "Cluster", "broken")
        );
        assert!(
            told.message
                .starts_with("Cluster broken can't be decoded, so nothing of it is written: spec.paused: "),
            "{}",
            told.message
        );
        Ok(())
    }
}

fn resource(group: &str, kind: &str) -> ApiResource {
    let version = if group == OURS { "v1alpha1" } else { "v1beta2" };
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind))
}

fn open() -> Value {
    json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
}

fn cluster(name: &str, control_plane: &str) -> Value {
    json!({
        "apiVersion": format!("{CORE}/v1beta2"), "kind": "Cluster", "metadata": { "name": name },
        "spec": { "controlPlaneRef": { "apiGroup": CONTROL_PLANE, "kind": control_plane, "name": name } },
    })
}

fn template(name: &str) -> Value {
    json!({ "apiGroup": "infrastructure.cluster.x-k8s.io", "kind": "DevMachineTemplate", "name": name })
}

fn pool(cluster: &str, version: &str) -> Value {
    json!({
        "apiVersion": format!("{CORE}/v1beta2"),
        "kind": "MachineDeployment",
        "metadata": { "name": format!("{cluster}-md"), "labels": { "cluster.x-k8s.io/cluster-name": cluster } },
        "spec": {
            "clusterName": cluster,
            "replicas": 0,
            "selector": { "matchLabels": { "pool": cluster } },
            "template": {
                "metadata": { "labels": { "pool": cluster } },
                "spec": {
                    "clusterName": cluster,
                    "version": version,
                    "bootstrap": { "dataSecretName": "none" },
                    "infrastructureRef": template(&format!("{cluster}-md")),
                },
            },
        },
    })
}
