//! A classic Cluster of the provider's flavor: every object of it as `clusterctl generate` writes it.

use instar_api::VERSION_ANNOTATION;
use instar_e2e::{
    Context, Result, manifests,
    support::{
        classic::NAME,
        fixtures::{COMES_UP, Shape, wait_counted, wait_running},
        journeys::JourneyContext,
        ledger::Pool,
        upgrade::annotate,
    },
    vcenter::TEMPLATE,
};
use serde_json::json;

use crate::scenery::{Catalog, SHAPE, assert_alike, assert_two_minors, completed, count, generated, variables};

/// The pool, as the flavor names it.
pub(crate) const POOL: &str = "c-md-0";

/// What the flavor is without the set of resources for the cloud provider and the storage driver: the simulated cluster
/// has no API for them.
const KINDS: [&str; 7] = [
    "Cluster",
    "VSphereCluster",
    "VSphereMachineTemplate",
    "KubeadmControlPlane",
    "KubeadmConfigTemplate",
    "MachineDeployment",
    "Secret",
];

pub(crate) async fn two_minors_in_one_edit(scene: JourneyContext) -> Result<()> {
    let catalog = Catalog::apply(&scene).await?;
    create(&scene, &catalog).await?;
    let ledger = count(&scene).await?;

    annotate(&scene, VERSION_ANNOTATION, &catalog.version(35)?).await?;
    completed(&scene).await?;
    assert_two_minors(&scene, &ledger, &catalog, NAME, POOL).await?;

    let slug = |minor| catalog.version(minor).map(|version| version.replace('.', "-"));
    let (middle, last) = (slug(34)?, slug(35)?);
    let expected = [
        "c".to_owned(),
        format!("c-{middle}-"),
        format!("c-{last}-"),
        "c-worker".to_owned(),
        format!("c-worker-{last}-"),
    ];
    let mut templates = ledger.templates_ever(NAME)?;
    templates.sort_by(|one, other| one.name.cmp(&other.name));
    let names: Vec<&str> = templates.iter().map(|template| template.name.as_str()).collect();
    let as_expected = names.len() == expected.len()
        && names
            .iter()
            .zip(&expected)
            .all(|(name, expected)| name.starts_with(expected.as_str()));
    assert!(as_expected, "templates {names:?}, and not {expected:?}");
    let (workers, control_plane): (Vec<_>, Vec<_>) = templates
        .iter()
        .partition(|template| template.name.starts_with("c-worker"));
    assert_alike(&control_plane)?;
    assert_alike(&workers)?;
    // Retention keeps the ones before, since they are the way back.
    assert!(templates.iter().all(|template| !template.deleted), "{templates:#?}");
    Ok(())
}

/// Creates the Cluster at the row of v1.33, and waits until it runs.
pub(crate) async fn create(scene: &JourneyContext, catalog: &Catalog) -> Result<()> {
    let version = catalog.version(33)?;
    let variables = variables(scene, NAME, &version).await?;
    for mut object in generated(scene, "cluster-template.yaml", &variables).await? {
        let kind = manifests::kind(&object).to_owned();
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        if !KINDS.contains(&kind.as_str()) || (kind == "Secret" && name != NAME) {
            continue;
        }
        if kind == "VSphereMachineTemplate" {
            let pool = if name == NAME {
                Pool::ControlPlane
            } else {
                Pool::Workers(name)
            };
            let template = object.pointer_mut(TEMPLATE).context("no VM template")?;
            *template = json!(catalog.vm_template(&version, &pool)?);
        }
        if kind == "KubeadmControlPlane" {
            // The flavor leaves etcd to kubeadm, and what kubeadm 1.33 brings can't go to 3.6.
            let pointer = "/spec/kubeadmConfigSpec/clusterConfiguration";
            let configuration = object.pointer_mut(pointer).context("no clusterConfiguration")?;
            let (etcd, dns) = catalog.tags(&version)?;
            configuration["etcd"] = json!({ "local": { "imageTag": etcd } });
            configuration["dns"] = json!({ "imageTag": dns });
        }
        scene.apply_object(object).await?;
    }
    let shape = Shape {
        control_plane: SHAPE.control_plane,
        pools: &[(POOL, 2)],
    };
    wait_running(&scene.mgmt, &scene.namespace, NAME, &version, &shape, COMES_UP).await?;
    wait_counted(&scene.mgmt, &scene.namespace, NAME, COMES_UP).await
}
