//! `clusterctl move` of topology Clusters to another management cluster, with Cluster API's core and Instar's admission server
//! there. Providers of machines are not: those in memory live in the process of the one that made them.

use std::{collections::BTreeMap, time::Duration};

use instar_api::UpgradePhase;
use instar_e2e::{
    Context, Result,
    apply::Applier,
    binaries::Binary,
    clusterctl::{MoveTarget, move_namespace},
    components::manager_arguments,
    instar::program,
    ports,
    process::{Launch, Process},
    progress::say,
    support::{
        classic::machine_template_kind,
        fixtures::{TopologyCluster, core_kind, of_cluster},
        journeys::JourneyContext,
        record::{record_of, upgrades},
        second_cluster::SecondCluster,
        topology::{PINS, UPGRADE, apply_rows, create, edit, reconciled, resource, running, version, wire, with_etcd},
    },
    wait::wait_for,
};
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, Patch, PatchParams},
    core::DynamicObject,
    discovery::ApiResource,
};
use serde_json::{Value, json};
use tempfile::TempDir;

const STEP: Duration = Duration::from_mins(2);

/// One was there before its class was wired and has no pins, one was and has been upgraded since, and one was created with
/// pins.
const NAMES: [&str; 3] = ["never", "adopted", "pinned"];

/// A label of the control plane, which makes the topology controller render a Cluster anew.
const RENDERED: &str = "journey.example.org/rendered";

/// All of it comes there with the same pins, and is rendered there as it was here: no template is made, and no machine rolls.
pub(crate) async fn to_another_management_cluster(scene: JourneyContext) -> Result<()> {
    let rows = scene.rows()?;
    apply_rows(&scene, &rows.all()).await?;
    // It sets an etcd of its own, from which 3.6 may be gone to.
    let class = with_etcd("3.5.26-0");
    scene.apply(&class).await?;
    let (first, next) = (rows.version(33), rows.version(34));
    let small = |name, version| TopologyCluster {
        name,
        version,
        control_planes: 1,
        workers: &[("md-0", 1)],
    };
    let [never, adopted, pinned] = NAMES;
    let (never, adopted) = (small(never, &first), small(adopted, &first));
    tokio::try_join!(create(&scene, &never), create(&scene, &adopted))?;
    scene.apply(&wire(&scene, &class, &rows.all()).await?).await?;
    create(&scene, &small(pinned, &first)).await?;
    edit(&scene, adopted.name, &version(&next)).await?;
    running(&scene, &small(adopted.name, &next), UPGRADE).await?;
    let record = record_of(&scene, &next).await?;
    wait_for("the upgrade to be completed", UPGRADE, || async {
        let status = upgrades(&scene).get(&record).await?.status.unwrap_or_default();
        match status.phase {
            UpgradePhase::Completed => Ok(()),
            phase => Err(format!("{phase:?}: {:?}", status.health).into()),
        }
    })
    .await?;
    let here = Side::of(scene.mgmt.client(), &scene.namespace);
    for name in NAMES {
        reconciled(&scene, name).await?;
        here.nothing_is_left_over(name).await?;
    }
    let before = here.found().await?;
    assert_eq!(before.pins.keys().collect::<Vec<_>>(), [adopted.name, pinned]);

    let second = SecondCluster::start(&scene.mgmt).await?;
    let programs = Programs::start(&scene, &second).await?;
    say(format!("{}: moving to another management cluster", scene.namespace));
    move_namespace(
        &scene.mgmt,
        &scene.namespace,
        MoveTarget::ToCluster,
        &second.kubeconfig(),
    )
    .await?;
    wait_for("all of them to be gone here", STEP, || async {
        let left = here.names(&core_kind("Cluster", "clusters")).await?;
        if left.is_empty() {
            Ok(())
        } else {
            Err(format!("{left:?}").into())
        }
    })
    .await?;
    let there = Side::of(second.client(), &scene.namespace);
    assert_eq!(there.found().await?, before, "as it came");
    for name in NAMES {
        there.renders_anew(name).await?;
    }
    assert_eq!(there.found().await?, before, "as it is rendered there");
    there.is_guarded(never.name).await?;
    programs.run()?;
    second.stop().await
}

/// A management cluster, with the journey's namespace.
struct Side {
    client: Client,
    namespace: String,
}

/// What a move must not change.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    pins: BTreeMap<String, String>,
    /// What each object refers to or runs.
    specs: BTreeMap<String, String>,
    /// All templates, sets and machines.
    names: Vec<String>,
}

impl Side {
    fn of(client: Client, namespace: &str) -> Self {
        Self {
            client,
            namespace: namespace.to_owned(),
        }
    }

    fn api(&self, kind: &ApiResource) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &self.namespace, kind)
    }

    async fn names(&self, kind: &ApiResource) -> Result<Vec<String>> {
        let found = self.api(kind).list(&ListParams::default()).await?;
        let mut names: Vec<String> = found.iter().map(ResourceExt::name_any).collect();
        names.sort();
        Ok(names)
    }

    async fn found(&self) -> Result<Found> {
        let mut found = Found {
            pins: BTreeMap::new(),
            specs: BTreeMap::new(),
            names: Vec::new(),
        };
        for cluster in self
            .api(&core_kind("Cluster", "clusters"))
            .list(&ListParams::default())
            .await?
        {
            let name = cluster.name_any();
            if let Some(pins) = cluster.annotations().get(PINS) {
                found.pins.insert(name.clone(), pins.clone());
            }
            let spec = &cluster.data["spec"];
            assert_ne!(spec["paused"], json!(true), "{name} is still paused");
            let what = format!("{} {}", spec["controlPlaneRef"], spec["topology"]["version"]);
            found.specs.insert(format!("Cluster {name}"), what);
        }
        for control_plane in self.api(&control_planes()).list(&ListParams::default()).await? {
            let spec = &control_plane.data["spec"];
            let reference = &spec["machineTemplate"]["spec"]["infrastructureRef"]["name"];
            let what = format!("{reference} {} {}", spec["version"], spec["kubeadmConfigSpec"]);
            found.specs.insert(control_plane.name_any(), what);
        }
        let pools = self.api(&core_kind("MachineDeployment", "machinedeployments"));
        for pool in pools.list(&ListParams::default()).await? {
            found
                .specs
                .insert(pool.name_any(), pool.data["spec"]["template"].to_string());
        }
        for kind in [
            machine_template_kind(),
            bootstrap_templates(),
            core_kind("MachineSet", "machinesets"),
            core_kind("Machine", "machines"),
        ] {
            found.names.extend(self.names(&kind).await?);
        }
        Ok(found)
    }

    /// Waits until what the machines before were made of is gone.
    async fn nothing_is_left_over(&self, cluster: &str) -> Result<()> {
        wait_for("what an upgrade has replaced to be gone", UPGRADE, || async {
            for (kind, count) in [
                (core_kind("MachineSet", "machinesets"), 1),
                (bootstrap_templates(), 1),
                (machine_template_kind(), 2),
            ] {
                let found = self.api(&kind).list(&of_cluster(cluster)).await?.items.len();
                if found != count {
                    return Err(format!("{found} of {}", kind.kind).into());
                }
            }
            Ok(())
        })
        .await
    }

    /// Edits what isn't in any template, and waits until the topology controller there has written it.
    async fn renders_anew(&self, name: &str) -> Result<()> {
        let clusters = self.api(&core_kind("Cluster", "clusters"));
        let labelled =
            json!({ "spec": { "topology": { "controlPlane": { "metadata": { "labels": { RENDERED: "yes" } } } } } });
        clusters
            .patch(name, &PatchParams::default(), &Patch::Merge(&labelled))
            .await?;
        wait_for(&format!("{name} to be rendered there"), STEP, || async {
            let cluster = clusters.get(name).await?;
            let control_plane = cluster.data["spec"]["controlPlaneRef"]["name"]
                .as_str()
                .unwrap_or_default();
            let control_plane = self.api(&control_planes()).get(control_plane).await?;
            let conditions = cluster.data.pointer("/status/conditions").and_then(Value::as_array);
            let mut conditions = conditions.into_iter().flatten();
            let rendered = conditions.find(|condition| condition["type"] == "TopologyReconciled");
            let is_current = rendered.is_some_and(|condition| {
                condition["status"] == "True" && condition["observedGeneration"].as_i64() == cluster.metadata.generation
            });
            if is_current && control_plane.labels().contains_key(RENDERED) {
                Ok(())
            } else {
                Err(format!("{rendered:?} {:?}", control_plane.labels()).into())
            }
        })
        .await
    }

    /// Instar's webhooks have their say there too.
    async fn is_guarded(&self, name: &str) -> Result<()> {
        let clusters = self.api(&core_kind("Cluster", "clusters"));
        let edit = Patch::Merge(version("v1.34.250"));
        let answer = clusters.patch(name, &PatchParams::default().dry_run(), &edit).await;
        let refused = answer.err().context("a version without a release was accepted there")?;
        assert!(refused.to_string().contains("[rule "), "{refused}");
        Ok(())
    }
}

fn control_planes() -> ApiResource {
    let group = "controlplane.cluster.x-k8s.io";
    resource(group, "v1beta2", "KubeadmControlPlane", "kubeadmcontrolplanes")
}

fn bootstrap_templates() -> ApiResource {
    let group = "bootstrap.cluster.x-k8s.io";
    resource(group, "v1beta2", "KubeadmConfigTemplate", "kubeadmconfigtemplates")
}

/// What runs on the other side.
struct Programs {
    core: Process,
    webhook: Process,
    _certificates: TempDir,
}

impl Programs {
    async fn start(scene: &JourneyContext, second: &SecondCluster) -> Result<Self> {
        let mgmt = &scene.mgmt;
        let certificates = tempfile::tempdir()?;
        let serving = certificates.path().join("serving");
        mgmt.certificates().issue_server("instar")?.write(&serving)?;
        let start = |name: &str, program, arguments| {
            Process::start(Launch {
                name: name.to_owned(),
                program,
                arguments,
                environment: vec![("KUBECONFIG".to_owned(), second.kubeconfig().into())],
                log: mgmt.run().log(&name.replace(' ', "-")),
            })
        };
        let core = manager_arguments(
            mgmt.certificates(),
            ports::SECOND_CORE_WEBHOOKS,
            ports::SECOND_CORE_HEALTH,
            "ClusterTopology=true",
        );
        let webhook = vec![
            "webhook".to_owned(),
            "--bind-address=127.0.0.1".to_owned(),
            format!("--port={}", ports::SECOND_WEBHOOK),
            format!("--health-port={}", ports::SECOND_WEBHOOK_HEALTH),
            format!("--cert-dir={}", serving.display()),
        ];
        let core_program = mgmt.built().program(Binary::CapiCore)?.to_owned();
        let programs = Self {
            core: start("second capi-core", core_program, core).await?,
            webhook: start("second webhook", program()?, webhook).await?,
            _certificates: certificates,
        };
        for port in [ports::SECOND_CORE_HEALTH, ports::SECOND_WEBHOOK_HEALTH] {
            let url = format!("http://127.0.0.1:{port}/readyz");
            wait_for(&format!("{url} to be ready"), STEP, || async {
                programs.run()?;
                let answer = mgmt.http().get(&url).send().await?;
                let (status, text) = (answer.status(), answer.text().await?);
                if status.is_success() { Ok(()) } else { Err(text.into()) }
            })
            .await?;
        }
        let webhooks = mgmt.instar_webhooks(ports::SECOND_WEBHOOK).await?;
        Applier::new(second.client()).all(webhooks, None).await?;
        Ok(programs)
    }

    fn run(&self) -> Result<()> {
        self.core.check_runs()?;
        self.webhook.check_runs()
    }
}
