//! clusterctl installs Instar, puts a newer one in its place in the middle of a cluster's upgrade, goes back to the older
//! one, and deletes it. Nothing is fetched from elsewhere.
//!
//! clusterctl deletes what an installation consists of before it creates the newer one: meanwhile nothing guards, and two
//! edits are made that admission would have answered otherwise.

use std::{
    collections::BTreeMap,
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

use instar_api::{INSTAR_VERSION_ANNOTATION, PATH_ANNOTATION, RELEASES_ANNOTATION, UpgradePhase, VERSION_ANNOTATION};
use instar_e2e::{
    Context, Result,
    clusterctl::{Repository, cert_manager, documents},
    failure::describe,
    instar::shipped,
    manifests::{self, kind},
    ports,
    progress::say,
    support::{
        catalog::Rows,
        classic::{self, NAME},
        commands::kubectl,
        fixtures::{CLUSTER_CLASS, Shape, TopologyCluster, wait_running},
        journeys::JourneyContext,
        kubelet::Kubelet,
        ledger::{Ledger, Pool},
        topology::{self, apply_rows, apply_wired, clusters, create, edit, running, version},
        upgrade::{UPGRADE, annotate, phase, upgrade},
    },
    wait::wait_for,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams},
    core::DynamicObject,
};
use serde_json::{Value, json};
use xtask::release::Release;

use crate::definitions::readiness;

/// Where the user wants it.
const ELSEWHERE: &str = "elsewhere";

const PROVIDER: &str = "instar";
const OLDER: &str = "0.1.0";
const NEWER: &str = "0.1.1";

/// Instar's Deployments.
const PROGRAMS: usize = 2;

/// The topology Cluster.
const TOPOLOGY: &str = "t";

const SHAPE: Shape<'_> = Shape {
    control_plane: 1,
    pools: &[("md-0", 1)],
};

pub(crate) async fn in_the_middle_of_an_upgrade(scene: JourneyContext) -> Result<()> {
    let repository = Repository::new(&scene.mgmt, PROVIDER)?;
    for version in [OLDER, NEWER] {
        add(&scene, &repository, version)?;
    }
    uninstall(&scene).await?;
    cert_manager(&scene.mgmt.client()).await?;
    let installation = Installation {
        kubelet: Kubelet::start(Arc::clone(&scene.mgmt), ELSEWHERE),
        scene: &scene,
        repository,
    };
    let extension = format!("{PROVIDER}:v{OLDER}");
    let kubeconfig = scene.mgmt.run().kubeconfig();
    installation
        .repository
        .init(&scene.mgmt, &kubeconfig, &extension, ELSEWHERE)
        .await?;
    grant(&scene).await?;
    installation.is(OLDER).await?;
    say(format!("clusterctl has installed v{OLDER} in {ELSEWHERE}"));
    seen(&installation).await
}

struct Installation<'a> {
    kubelet: Kubelet,
    scene: &'a JourneyContext,
    repository: Repository,
}

impl Installation<'_> {
    /// What clusterctl prints.
    async fn clusterctl(&self, arguments: &[&str]) -> Result<String> {
        let kubeconfig = self.scene.mgmt.run().kubeconfig();
        self.repository.run(&self.scene.mgmt, &kubeconfig, arguments).await
    }

    async fn replace_by(&self, version: &str) -> Result<()> {
        let extension = format!("{ELSEWHERE}/{PROVIDER}:v{version}");
        self.clusterctl(&["upgrade", "apply", "--runtime-extension", &extension])
            .await?;
        Ok(())
    }

    /// Waits until this version is installed, and both its programs are ready.
    async fn is(&self, version: &str) -> Result<()> {
        self.kubelet.settles(PROGRAMS).await?;
        wait_for("the controller to be ready", Duration::from_mins(1), || async {
            match readiness(self.scene).await? {
                (true, _) => Ok(()),
                (false, said) => Err(said.into()),
            }
        })
        .await?;
        let definitions: Api<CustomResourceDefinition> = Api::all(self.scene.mgmt.client());
        let wanted = format!("v{version}");
        for definition in instar_api::Definition::ALL {
            let found = definitions.get(definition.name()).await?;
            assert_eq!(found.annotations().get(INSTAR_VERSION_ANNOTATION), Some(&wanted));
        }
        Ok(())
    }
}

async fn seen(installation: &Installation<'_>) -> Result<()> {
    let scene = installation.scene;
    let rows = scene.rows()?;
    apply_rows(scene, &rows.all()).await?;
    let class = scene.within(&scene.another_namespace(BTreeMap::new()).await?);
    let listed = [rows.row(34, 1), rows.row(35, 1)];
    apply_wired(&class, CLUSTER_CLASS, &listed).await?;
    let (first, last) = (rows.version(34), rows.version(35));
    let mut cluster = TopologyCluster {
        name: TOPOLOGY,
        version: &first,
        control_planes: 1,
        workers: &[("md-0", 1)],
    };
    tokio::try_join!(classic::create_with(scene, &rows, &SHAPE), create(&class, &cluster))?;
    let client = scene.mgmt.client();
    let ledger = Ledger::start(&client, &scene.namespace).await?;
    let of_class = Ledger::start(&client, &class.namespace).await?;

    annotate(scene, VERSION_ANNOTATION, &last).await?;
    await_control_plane(scene, &rows.version(34)).await?;
    tokio::try_join!(
        installation.replace_by(NEWER),
        edits_that_nothing_guards(scene, &class, &last)
    )?;
    installation.is(NEWER).await?;
    say(format!(
        "clusterctl has put v{NEWER} in its place, in the middle of an upgrade"
    ));

    await_control_plane(scene, &last).await?;
    installation.replace_by(OLDER).await?;
    installation.is(OLDER).await?;
    say(format!(
        "clusterctl has gone back to v{OLDER}, in the middle of an upgrade"
    ));

    completed(scene).await?;
    wait_running(&scene.mgmt, &scene.namespace, NAME, &last, &SHAPE, UPGRADE).await?;
    cluster.version = &last;
    running(&class, &cluster, UPGRADE).await?;
    completed(&class).await?;
    each_machine_once(&rows, &ledger, &of_class).await?;

    installation
        .clusterctl(&["delete", "--runtime-extension", PROVIDER])
        .await?;
    installation.kubelet.settles(0).await?;
    let pools = json!([{ "class": "default-worker", "name": "md-0", "replicas": 2 }]);
    let workers = json!({ "spec": { "topology": { "workers": { "machineDeployments": pools } } } });
    edit(&class, TOPOLOGY, &workers)
        .await
        .context("scaling without Instar")?;
    cluster.workers = &[("md-0", 2)];
    running(&class, &cluster, UPGRADE).await?;
    say("clusterctl has deleted it, and Cluster API scales alone");
    Ok(())
}

/// The two edits that come between: the topology Cluster's version without pins, and the classic Cluster's path taken off
/// in the middle of it.
async fn edits_that_nothing_guards(scene: &JourneyContext, class: &JourneyContext, last: &str) -> Result<()> {
    let end = Instant::now() + 2 * UPGRADE;
    let dry_run = PatchParams {
        dry_run: true,
        ..PatchParams::default()
    };
    let edited = Patch::Merge(version(last));
    let mut guarded = String::new();
    loop {
        match clusters(class).patch(TOPOLOGY, &dry_run, &edited).await {
            Ok(cluster) if !is_pinned(&cluster, last) => break,
            Ok(_) => "it gets pins".clone_into(&mut guarded),
            Err(error) => guarded = describe(&error.into()),
        }
        anyhow::ensure!(Instant::now() < end, "each edit was guarded: {guarded}");
    }
    let cluster = edit(class, TOPOLOGY, &version(last)).await?;
    assert!(!is_pinned(&cluster, last), "admission had answered again");
    let none = json!({ "metadata": { "annotations": { RELEASES_ANNOTATION: null, PATH_ANNOTATION: null } } });
    let cluster = edit(scene, NAME, &none).await?;
    for annotation in [RELEASES_ANNOTATION, PATH_ANNOTATION] {
        assert_eq!(
            cluster.annotations().get(annotation),
            None,
            "admission had answered again"
        );
    }
    Ok(())
}

fn is_pinned(cluster: &DynamicObject, version: &str) -> bool {
    let pins = cluster.annotations().get(RELEASES_ANNOTATION);
    pins.is_some_and(|pins| pins.contains(&format!("\"{version}\"")))
}

async fn await_control_plane(scene: &JourneyContext, version: &str) -> Result<()> {
    wait_for(&format!("the control plane to go to {version}"), UPGRADE, || async {
        let found = classic::control_planes(scene).get(NAME).await?;
        let at = found.data["spec"]["version"].as_str().unwrap_or_default();
        if at == version {
            Ok(())
        } else {
            Err(at.to_owned().into())
        }
    })
    .await
}

/// Waits until the one record says so, with nothing left to report.
async fn completed(scene: &JourneyContext) -> Result<()> {
    wait_for("the record to say that it is completed", UPGRADE, || async {
        let record = upgrade(scene).await.map_err(|error| describe(&error))?;
        let status = record
            .as_ref()
            .and_then(|record| record.status.clone())
            .unwrap_or_default();
        match record.as_ref().map(phase) {
            Some(UpgradePhase::Completed) if status.health.is_empty() => Ok(()),
            other => Err(format!("{other:?} {:?}", status.health).into()),
        }
    })
    .await
}

async fn each_machine_once(rows: &Rows, ledger: &Ledger, of_class: &Ledger) -> Result<()> {
    ledger.caught_up().await?;
    of_class.caught_up().await?;
    let workers = Pool::Workers("md-0".to_owned());
    classic::assert_rolled(ledger, rows, &Pool::ControlPlane, 1, &[33, 34, 35])?;
    classic::assert_rolled(ledger, rows, &workers, 1, &[33, 35])?;
    for pool in [Pool::ControlPlane, workers] {
        let steps = [(34, Some(1)), (35, Some(1))];
        topology::assert_rolled(of_class, TOPOLOGY, rows, &pool, 1, &steps)?;
    }
    Ok(())
}

/// Adds a release as `make release` writes it, but for where the API server finds the server. The newer one knows a field
/// that the older one doesn't.
fn add(scene: &JourneyContext, repository: &Repository, version: &str) -> Result<()> {
    let release = Release {
        version: version.parse()?,
        image: "registry.example.org/instar".to_owned(),
        provider: PROVIDER.to_owned(),
        program: b"none".to_vec(),
        plugin: b"none".to_vec(),
        url: "https://registry.example.org/instar".to_owned(),
        epoch: 1_800_000_000,
    };
    let folder = format!("runtime-extension-{PROVIDER}/v{version}");
    let files = release.files()?;
    let metadata = files
        .get(&format!("clusterctl/{folder}/metadata.yaml"))
        .context("the release has no metadata")?;
    let mut objects = release.objects()?;
    for object in &mut objects {
        manifests::transform(object, ports::WEBHOOK);
        if kind(object) == "CustomResourceDefinition" {
            object["metadata"]["annotations"][INSTAR_VERSION_ANNOTATION] = json!(format!("v{version}"));
            let fields = object.pointer_mut("/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties");
            if let Some(fields) = fields.and_then(Value::as_object_mut).filter(|_| version == NEWER) {
                fields.insert("later".to_owned(), json!({ "type": "string" }));
            }
        }
    }
    let objects = manifests::trusting(&objects, scene.mgmt.certificates().authority())?;
    let folder = repository.path().join(folder);
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("metadata.yaml"), metadata.bytes())?;
    fs::write(folder.join("runtime-extension-components.yaml"), documents(&objects)?)?;
    Ok(())
}

/// Takes what is installed here away, but for the definitions.
async fn uninstall(scene: &JourneyContext) -> Result<()> {
    scene.mgmt.controller().stop().await?;
    scene.mgmt.webhook().stop().await?;
    let mut objects = Vec::new();
    for folder in shipped() {
        objects.extend(manifests::kustomize(scene.mgmt.built().program(manifests::RENDERER)?, &folder).await?);
    }
    objects.retain(|object| {
        let kind = kind(object);
        kind.contains("Role") || kind.ends_with("WebhookConfiguration") || kind == "ServiceAccount"
    });
    let text: Vec<String> = objects.iter().map(Value::to_string).collect();
    let delete = ["delete", "--ignore-not-found", "-f", "-"];
    let printed = kubectl(&scene.within(""), &delete, &text.join("\n---\n")).await?;
    anyhow::ensure!(printed.succeeded, "{}", printed.stderr);
    Ok(())
}

/// Applies the rights for the infrastructure provider as the documentation has it for another namespace.
async fn grant(scene: &JourneyContext) -> Result<()> {
    let folder = xtask::root().join("config/providers/docker");
    let mut objects = manifests::kustomize(scene.mgmt.built().program(manifests::RENDERER)?, &folder).await?;
    for object in &mut objects {
        let subjects = object.get_mut("subjects").and_then(Value::as_array_mut);
        for subject in subjects.into_iter().flatten() {
            subject["namespace"] = json!(ELSEWHERE);
        }
    }
    let objects = manifests::trusting(&objects, "")?;
    scene.mgmt.applier().all(objects, None).await?;
    Ok(())
}
