//! Several controllers: each looks after the Clusters whose label names it.

use std::{fs, path::Path, time::Duration};

use instar_api::{UpgradePhase, VERSION_ANNOTATION};
use instar_e2e::{
    Context, Result, manifests,
    support::{
        classic::{self, NAME, control_planes},
        fixtures::Shape,
        journeys::JourneyContext,
        upgrade::{UPGRADE, annotate, phase, upgrade},
    },
    wait::wait_for,
};
use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::json;
use tokio::time::sleep;

use crate::by_hand::records;

const SHAPE: Shape<'_> = Shape {
    control_plane: 1,
    pools: &[("md-0", 1)],
};

/// For so long nothing may happen: a controller answers an annotation within a second.
const NOTHING: Duration = Duration::from_secs(20);

/// A controller with `--watch-filter=a` leaves a Cluster with the label `b` alone, and upgrades it once the label is `a`.
pub(crate) async fn one_of_several_controllers(scene: JourneyContext) -> Result<()> {
    let rows = scene.rows()?;
    for row in rows.all() {
        scene.apply_object(row).await?;
    }
    classic::create_with(&scene, &rows, &SHAPE).await?;
    label(&scene, "b").await?;
    let controller = scene.mgmt.controller();
    let installed = controller.arguments().await?;
    let mut arguments = installed.clone();
    arguments.push(documented(&scene).await?);
    controller.with_arguments(arguments).await?;
    controller.restart().await?;
    let seen = seen(&scene, &rows.version(34)).await;
    // What others find again.
    controller.with_arguments(installed).await?;
    controller.restart().await?;
    seen
}

async fn seen(scene: &JourneyContext, target: &str) -> Result<()> {
    wait_for("the Lease of its own", Duration::from_mins(1), || async {
        let leases: Api<Lease> = Api::all(scene.mgmt.client());
        let named = ListParams::default().fields("metadata.name=instar-controller-a");
        let leases = leases.list(&named).await?;
        let spec = leases.items.into_iter().find_map(|lease| lease.spec);
        match spec
            .and_then(|spec| spec.holder_identity)
            .filter(|holder| !holder.is_empty())
        {
            Some(_) => Ok(()),
            None => Err("nobody holds it".into()),
        }
    })
    .await?;
    let before = version(scene).await?;
    annotate(scene, VERSION_ANNOTATION, target).await?;
    sleep(NOTHING).await;
    let found = records(scene).list(&ListParams::default()).await?;
    assert!(found.items.is_empty(), "{:#?}", found.items);
    assert_eq!(version(scene).await?, before);

    label(scene, "a").await?;
    wait_for("the upgrade to be complete", UPGRADE, || async {
        match upgrade(scene).await?.as_ref().map(phase) {
            Some(UpgradePhase::Completed) => Ok(()),
            other => Err(format!("{other:?}").into()),
        }
    })
    .await?;
    assert_eq!(version(scene).await?, target);
    Ok(())
}

/// The argument by which the controller of the documentation differs from the installed one. Its Deployment has a name and
/// Pods of its own, and the same ServiceAccount.
async fn documented(scene: &JourneyContext) -> Result<String> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let text = fs::read_to_string(top.join("docs/installing.md"))?;
    let (_, text) = text
        .split_once("`controller-a/kustomization.yaml`")
        .context("the documentation names no such file")?;
    let (_, text) = text.split_once("```yaml\n").context("there is no YAML")?;
    let (text, _) = text.split_once("```").context("the YAML has no end")?;
    // It names the folder beside it.
    let directory = tempfile::tempdir_in(&top)?;
    fs::write(directory.path().join("kustomization.yaml"), text)?;
    let program = scene.mgmt.built().program(manifests::RENDERER)?;
    let rendered = manifests::kustomize(program, directory.path()).await?;
    let of_kind = rendered.iter().find(|object| manifests::kind(object) == "Deployment");
    let deployment = of_kind.context("it has no Deployment")?;
    assert_eq!(deployment["metadata"]["name"], "instar-controller-a");
    let instance = &deployment["spec"]["selector"]["matchLabels"]["app.kubernetes.io/instance"];
    assert_eq!(instance, "a");
    let pod = &deployment["spec"]["template"]["spec"];
    assert_eq!(pod["serviceAccountName"], "instar-controller");
    let arguments = pod["containers"][0]["args"].as_array();
    let last = arguments.and_then(|arguments| arguments.last()?.as_str());
    last.map(str::to_owned).context("it has no arguments")
}

async fn label(scene: &JourneyContext, value: &str) -> Result<()> {
    let patch = json!({ "metadata": { "labels": { "cluster.x-k8s.io/watch-filter": value } } });
    classic::clusters(scene)
        .patch(NAME, &PatchParams::default(), &Patch::Merge(&patch))
        .await?;
    Ok(())
}

async fn version(scene: &JourneyContext) -> Result<String> {
    let found = control_planes(scene).list(&ListParams::default()).await?;
    let object = found.items.first().context("there is no control plane")?;
    let version = object.data["spec"]["version"].as_str();
    version
        .map(str::to_owned)
        .with_context(|| format!("{} has no version", object.name_any()))
}
