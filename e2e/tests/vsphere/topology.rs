//! A Cluster of the provider's own ClusterClass.

use std::collections::BTreeMap;

use instar_e2e::{
    Context, Result, manifests,
    support::{
        fixtures::TopologyCluster,
        journeys::JourneyContext,
        topology::{UPGRADE, apply_wired, edit, pinned, pins, running, version},
    },
};
use serde_json::{Value, json};

use crate::scenery::{Catalog, SHAPE, assert_alike, assert_two_minors, completed, count, generated, variables};

const NAME: &str = "t";

pub(crate) async fn two_minors_in_one_edit(scene: JourneyContext) -> Result<()> {
    let catalog = Catalog::apply(&scene).await?;
    let (first, last) = (catalog.version(33)?, catalog.version(35)?);
    let variables = variables(&scene, NAME, &first).await?;
    let class = class(&scene, &variables).await?;
    apply_wired(&scene, &class, &catalog.rows).await?;

    scene.apply_object(secret(&variables)).await?;
    scene.apply_object(cluster(&variables)?).await?;
    let mut cluster = TopologyCluster {
        name: NAME,
        version: &first,
        control_planes: SHAPE.control_plane,
        workers: SHAPE.pools,
    };
    running(&scene, &cluster, UPGRADE).await?;
    let ledger = count(&scene).await?;

    edit(&scene, NAME, &version(&last)).await?;
    cluster.version = &last;
    running(&scene, &cluster, UPGRADE).await?;
    completed(&scene).await?;
    let on_the_way = [33, 34, 35].map(|minor| catalog.version(minor).map(|version| format!("{version}={version}-1")));
    let on_the_way: Vec<String> = on_the_way.into_iter().collect::<Result<_>>()?;
    assert_eq!(pinned(&pins(&scene, NAME).await?), on_the_way);
    assert_two_minors(&scene, &ledger, &catalog, NAME, "md-0").await?;

    // Three of the control plane, two of the workers. Cluster API deletes those that it rotates out.
    let templates = ledger.templates_ever(NAME)?;
    let names: Vec<&str> = templates.iter().map(|template| template.name.as_str()).collect();
    assert_eq!(templates.len(), 5, "{names:?}");
    let of = |pool: &str| {
        templates
            .iter()
            .filter(|template| template.name.contains(pool))
            .collect::<Vec<_>>()
    };
    let workers = of("md-0");
    assert_eq!(workers.len(), 2, "{names:?}");
    assert_alike(&workers)?;
    let left = templates.iter().filter(|template| !template.deleted).count();
    assert_eq!(left, 2, "{templates:#?}");
    Ok(())
}

/// The class as the provider ships it, but for an empty list that Cluster API takes no more: since v1beta2,
/// `files` of a KubeadmConfigTemplate has at least one item or is absent.
async fn class(scene: &JourneyContext, variables: &BTreeMap<&'static str, String>) -> Result<String> {
    let mut documents = generated(scene, "clusterclass-template.yaml", variables).await?;
    for class in documents
        .iter_mut()
        .filter(|object| manifests::kind(object) == "ClusterClass")
    {
        let definitions = class.pointer_mut("/spec/patches/0/definitions");
        let definitions = definitions.and_then(Value::as_array_mut).context("no definitions")?;
        definitions.retain(|definition| definition["selector"]["kind"] != "KubeadmConfigTemplate");
    }
    let documents: Vec<String> = documents.iter().map(Value::to_string).collect();
    Ok(documents.join("\n---\n"))
}

fn secret(variables: &BTreeMap<&'static str, String>) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": { "name": NAME },
        "stringData": { "username": variables["VSPHERE_USERNAME"], "password": variables["VSPHERE_PASSWORD"] },
    })
}

fn cluster(variables: &BTreeMap<&'static str, String>) -> Result<Value> {
    let port: u16 = variables["CONTROL_PLANE_ENDPOINT_PORT"].parse()?;
    let (_, workers) = SHAPE.pools.first().context("a pool")?;
    Ok(json!({
        "apiVersion": "cluster.x-k8s.io/v1beta2",
        "kind": "Cluster",
        "metadata": { "name": NAME },
        "spec": {
            "clusterNetwork": { "pods": { "cidrBlocks": ["192.168.0.0/16"] } },
            "topology": {
                "classRef": { "name": variables["CLUSTER_CLASS_NAME"] },
                "version": variables["KUBERNETES_VERSION"],
                "controlPlane": { "replicas": SHAPE.control_plane },
                "workers": { "machineDeployments": [
                    { "class": "vsphere-worker", "name": "md-0", "replicas": workers },
                ] },
                "variables": [
                    { "name": "kubeVipPodManifest", "value": "kind: Pod" },
                    { "name": "controlPlaneIpAddr", "value": variables["CONTROL_PLANE_ENDPOINT_IP"] },
                    { "name": "controlPlanePort", "value": port },
                    { "name": "infraServer", "value": {
                        "url": variables["VSPHERE_SERVER"],
                        "thumbprint": variables["VSPHERE_TLS_THUMBPRINT"],
                    } },
                    { "name": "credsSecretName", "value": NAME },
                ],
            },
        },
    }))
}
