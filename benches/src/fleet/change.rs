//! What one changed Cluster costs, and how soon it is acted on.

use std::{
    collections::BTreeMap,
    pin::pin,
    time::{Duration, Instant},
};

use futures::TryStreamExt;
use instar_api::VERSION_ANNOTATION;
use instar_benches::process::cpu;
use instar_capi::{Cluster, KubeadmControlPlane};
use instar_e2e::{Context, Result, mgmt::Mgmt, support::classic::machine_template};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
    core::DynamicObject,
    discovery::ApiResource,
    runtime::{WatchStreamExt, watcher},
};
use serde_json::json;
use tokio::time::{sleep, timeout};

use super::{
    measure::{Program, Sort, requests},
    objects::Fleet,
};

/// How long a swap may take.
const DEADLINE: Duration = Duration::from_mins(2);

/// The fewest writes from the wish to the swap of a control plane: the record of what is asked, the path, the template, the
/// swap. What is said of them in statuses and Events is counted by itself.
const FLOOR: [&str; 4] = [
    "create clusterupgrades",
    "patch clusters",
    "create devmachinetemplates",
    "patch kubeadmcontrolplanes",
];

/// Nothing more is done about a Cluster whose control plane was swapped after this time.
const OVER: Duration = Duration::from_secs(3);

/// The mean of each.
pub(crate) struct Changed {
    pub(crate) reads: f64,
    pub(crate) writes: f64,
    /// Statuses and Events.
    pub(crate) reports: f64,
    /// The fewest writes that do the same: see [`FLOOR`].
    pub(crate) floor: f64,
    /// How many of each: verb and resource.
    pub(crate) kinds: BTreeMap<String, f64>,
    pub(crate) cpu: Duration,
    /// From the reply to the edit until the control plane points at its new template.
    pub(crate) swapped: Duration,
    /// What the API server takes to create a template.
    pub(crate) post: Duration,
}

/// Asks for the next minor of so many Clusters, one after the other: those that no size before has asked.
pub(crate) async fn changed(mgmt: &Mgmt, fleet: &Fleet, count: usize) -> Result<Changed> {
    let pid = Program::Controller.pid(mgmt).await?;
    let last = fleet.clusters();
    // With the first one the controller begins to watch the kinds of its templates, and lists the whole fleet's.
    let (namespace, name) = Fleet::cluster(last - count - 1);
    swap(mgmt, &namespace, &name).await?;
    sleep(OVER).await;
    let mut swapped = Duration::ZERO;
    let (before, used) = (requests(mgmt, 0)?.len(), cpu(pid)?);
    for number in last - count..last {
        let (namespace, name) = Fleet::cluster(number);
        swapped += swap(mgmt, &namespace, &name).await?;
        sleep(OVER).await;
    }
    let used = cpu(pid)?.saturating_sub(used);
    let each = u32::try_from(count)?;
    let mut kinds = BTreeMap::<String, f64>::new();
    let mut sorts = BTreeMap::<Sort, f64>::new();
    for (verb, resource) in requests(mgmt, before)? {
        let sort = Sort::of(&verb, &resource);
        if sort.is_about_a_cluster() {
            *sorts.entry(sort).or_default() += 1.0 / f64::from(each);
            *kinds.entry(format!("{verb} {resource}")).or_default() += 1.0 / f64::from(each);
        }
    }
    let count = |sort| sorts.get(&sort).copied().unwrap_or_default();
    Ok(Changed {
        reads: count(Sort::Reads),
        writes: count(Sort::Writes),
        reports: count(Sort::Reports),
        floor: FLOOR.len() as f64,
        kinds,
        cpu: used / each,
        swapped: swapped / each,
        post: post(mgmt, last, each).await?,
    })
}

async fn swap(mgmt: &Mgmt, namespace: &str, name: &str) -> Result<Duration> {
    let control_planes: Api<KubeadmControlPlane> = Api::namespaced(mgmt.client(), namespace);
    let before = control_planes.get(name).await?.spec.version;
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let mut events = pin!(watcher(control_planes, config).applied_objects());
    // The watch goes on from here.
    events.try_next().await?.context("no control plane")?;
    let clusters: Api<Cluster> = Api::namespaced(mgmt.client(), namespace);
    let patch = json!({ "metadata": { "annotations": { VERSION_ANNOTATION: "v1.34" } } });
    clusters
        .patch_metadata(name, &PatchParams::default(), &Patch::Merge(&patch))
        .await?;
    let began = Instant::now();
    let swapped = async {
        while let Some(control_plane) = events.try_next().await? {
            if control_plane.spec.version != before {
                return Ok(began.elapsed());
            }
        }
        anyhow::bail!("the watch ended")
    };
    timeout(DEADLINE, swapped)
        .await
        .with_context(|| format!("{namespace}/{name} was not swapped"))?
}

async fn post(mgmt: &Mgmt, number: usize, count: u32) -> Result<Duration> {
    let namespace = Fleet::cluster(number - 1).0;
    let resource = ApiResource {
        group: "infrastructure.cluster.x-k8s.io".to_owned(),
        version: "v1beta2".to_owned(),
        api_version: "infrastructure.cluster.x-k8s.io/v1beta2".to_owned(),
        kind: "DevMachineTemplate".to_owned(),
        plural: "devmachinetemplates".to_owned(),
    };
    let templates: Api<DynamicObject> = Api::namespaced_with(mgmt.client(), &namespace, &resource);
    let mut took = Duration::ZERO;
    for index in 0..count {
        let template = serde_json::from_value(machine_template(&format!("timed-{number}-{index}"), "1s"))?;
        let began = Instant::now();
        templates.create(&PostParams::default(), &template).await?;
        took += began.elapsed();
    }
    Ok(took / count)
}
