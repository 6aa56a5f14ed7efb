//! kube-ovn goes along with the classic Cluster: an add-on of its release sets the version in an annotation of the
//! Cluster, and the workers wait until its `AppRelease` has followed. Its operator is a stand-in, in this process.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, ensure};
use jiff::{Timestamp, tz::Offset};
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
    core::{DynamicObject, GroupVersionKind},
    discovery::ApiResource,
};
use serde_json::{Value, json};
use tokio::{
    task::JoinSet,
    time::{interval, sleep},
};

use crate::{
    NAMESPACE,
    clusters::{LAST, Subject},
    screen::Screen,
    shell::Shell,
    watch::Live,
};
use instar_e2e::support::{
    fixtures::core_kind,
    ledger::{MachineRecord, Pool},
};

/// The kind of its object, and what lets Instar look at it.
const DEFINITION: &str = "demo/fixtures/app-release.yaml";
/// Its object, and the release with the add-on.
const OBJECTS: &str = "demo/fixtures/kube-ovn.yaml";

const APP_RELEASE: &str = "cni-kube-ovn";
const CHART: &str = "acp/chart-cpaas-kube-ovn";
const ANNOTATION: &str = "cpaas.io/kube-ovn-version";

/// What the release asks for.
const WANTED: &str = "v4.3.11";

/// How often the operator looks, and how long it takes to install a version: Instar looks 5 s after it has set one.
const EVERY: Duration = Duration::from_millis(500);
const INSTALLING: Duration = Duration::from_secs(2);

/// The stand-in for kube-ovn's operator, for as long as it lives.
#[derive(Debug)]
pub(crate) struct Operator {
    _running: JoinSet<()>,
}

/// Installs what the classic Cluster runs before its upgrade, and the release that takes it along.
pub(crate) async fn install(shell: &Shell, screen: &Screen, client: &Client) -> Result<Operator> {
    shell
        .do_kubectl(screen, &["apply", "-n", NAMESPACE, "-f", DEFINITION])
        .await?;
    let established = "--for=condition=Established";
    let definition = "crd/appreleases.operator.alauda.io";
    shell
        .do_kubectl(screen, &["wait", definition, established, "--timeout=30s"])
        .await?;
    shell
        .do_kubectl(screen, &["apply", "-n", NAMESPACE, "-f", OBJECTS])
        .await?;
    let mut running = JoinSet::new();
    running.spawn(operate(client.clone()));
    let (object, healthy) = (format!("apprelease/{APP_RELEASE}"), "--for=condition=Health");
    shell
        .do_kubectl(screen, &["wait", &object, "-n", NAMESPACE, healthy, "--timeout=30s"])
        .await?;
    Ok(Operator { _running: running })
}

/// Tells when kube-ovn followed, and fails if that was not between the control plane and the workers.
pub(crate) async fn what_happened(shell: &Shell, screen: &Screen, client: &Client, live: &Live) -> Result<()> {
    shell
        .do_kubectl(screen, &["get", "apprelease", "-n", NAMESPACE])
        .await?;
    let found = app_releases(client).get(APP_RELEASE).await?.data;
    let revision = chart(&found)["installedRevision"].as_str().unwrap_or_default();
    ensure!(revision == WANTED, "kube-ovn is at {revision}, and not at {WANTED}");
    let healthy: Timestamp = condition(&found, "Health")["lastTransitionTime"]
        .as_str()
        .context("the AppRelease doesn't say since when it is healthy")?
        .parse()?;
    let machines = live.ledger().machines_ever(Subject::Classic.name())?;
    screen.say(told(&machines, healthy)?)
}

fn told(machines: &[MachineRecord], healthy: Timestamp) -> Result<String> {
    let made = |is_control_plane: bool| {
        let machines = machines.iter().filter(move |machine| machine.version == LAST);
        let machines = machines.filter(move |machine| (machine.pool == Pool::ControlPlane) == is_control_plane);
        machines.map(|machine| machine.created)
    };
    let control_plane = made(true)
        .max()
        .context("no control plane machine of the last version was made")?;
    let worker = made(false).min().context("no worker of the last version was made")?;
    ensure!(
        control_plane <= healthy && healthy <= worker,
        "kube-ovn followed at {healthy}, and not between the last control plane machine ({control_plane}) and the first \
         worker ({worker})"
    );
    let clock = |at: Timestamp| Offset::UTC.to_datetime(at).strftime("%H:%M:%S").to_string();
    Ok(format!(
        "kube-ovn       {WANTED} at {}, after the last control plane machine ({}) and before the first worker ({})",
        clock(healthy),
        clock(control_plane),
        clock(worker)
    ))
}

async fn operate(client: Client) {
    let mut ticks = interval(EVERY);
    loop {
        ticks.tick().await;
        // What failed is tried again, and the stage's deadline ends what doesn't go on.
        let _ = follow(&client).await;
    }
}

/// Installs what the Cluster's annotation asks for, or else what its `AppRelease` does.
async fn follow(client: &Client) -> Result<()> {
    let app_releases = app_releases(client);
    let clusters: Api<DynamicObject> =
        Api::namespaced_with(client.clone(), NAMESPACE, &core_kind("Cluster", "clusters"));
    let cluster = clusters.get(Subject::Classic.name()).await?;
    let asked: Option<&String> = cluster
        .metadata
        .annotations
        .as_ref()
        .and_then(|all| all.get(ANNOTATION));
    let mut object = app_releases.get(APP_RELEASE).await?;
    let parameters = PatchParams::default();
    if let Some(version) = asked.filter(|version| object.data["spec"]["version"] != **version) {
        let patch = Patch::Merge(json!({ "spec": { "version": version } }));
        object = app_releases.patch(APP_RELEASE, &parameters, &patch).await?;
    }
    let (generation, version) = (object.metadata.generation, object.data["spec"]["version"].clone());
    let before = chart(&object.data)["installedRevision"].clone();
    if before == version && object.data["status"]["observedGeneration"].as_i64() == generation {
        return Ok(());
    }
    for (is_ready, installed) in [(false, &before), (true, &version)] {
        let status = status(generation, &version, installed, is_ready);
        app_releases
            .patch_status(APP_RELEASE, &parameters, &Patch::Merge(json!({ "status": status })))
            .await?;
        if !is_ready {
            sleep(INSTALLING).await;
        }
    }
    Ok(())
}

/// As the real one: the revision is the new one before the chart is healthy.
fn status(generation: Option<i64>, version: &Value, installed: &Value, is_ready: bool) -> Value {
    let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let (phase, healthy) = if is_ready {
        ("Success", "True")
    } else {
        ("HealthChecking", "False")
    };
    json!({
        "observedGeneration": generation,
        "conditions": [
            { "type": "Sync", "status": "True", "lastTransitionTime": now },
            { "type": "Health", "status": healthy, "lastTransitionTime": now },
        ],
        "charts": BTreeMap::from([(CHART, json!({
            "phase": phase,
            "revision": version,
            "installedRevision": installed,
        }))]),
    })
}

fn app_releases(client: &Client) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("operator.alauda.io", "v1alpha1", "AppRelease");
    let resource = ApiResource::from_gvk_with_plural(&kind, "appreleases");
    Api::namespaced_with(client.clone(), NAMESPACE, &resource)
}

fn chart(object: &Value) -> &Value {
    &object["status"]["charts"][CHART]
}

fn condition<'a>(object: &'a Value, kind: &str) -> &'a Value {
    let conditions = object["status"]["conditions"].as_array();
    let mut conditions = conditions.into_iter().flatten();
    conditions
        .find(|condition| condition["type"] == kind)
        .unwrap_or(&Value::Null)
}

#[cfg(test)]
mod tests {
    use instar_e2e::manifests::documents;

    use super::*;

    #[test]
    fn the_release_is_that_of_the_catalog_with_an_add_on() {
        let of = |yaml: &str, name: &str| {
            let documents = documents(yaml).unwrap();
            let mut found = documents
                .into_iter()
                .filter(|object| object["metadata"]["name"] == name);
            found.next().unwrap()["spec"].clone()
        };
        let catalog = of(include_str!("../../config/samples/catalog-in-memory.yaml"), "v1.35.4-1");
        let mut release = of(include_str!("../fixtures/kube-ovn.yaml"), "v1.35.4-2");
        let addons = release.as_object_mut().unwrap().remove("addons").unwrap();
        assert_eq!(release["revision"], 2);
        release["revision"] = json!(1);
        assert_eq!(release, catalog);
        let annotation = json!({ "key": ANNOTATION, "value": WANTED });
        assert_eq!(addons[0]["write"]["annotation"], annotation);
        assert_eq!(addons[0]["observe"]["name"], APP_RELEASE);
    }

    #[test]
    fn it_follows_between_the_control_plane_and_the_workers() {
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        let machine = |pool: Pool, version: &str, second: i64| MachineRecord {
            name: "m".to_owned(),
            pool,
            version: version.to_owned(),
            created: at(second),
            deleted: false,
            surplus: false,
            template: None,
        };
        let workers = || Pool::Workers("md-0".to_owned());
        let machines = [
            machine(workers(), "v1.33.5", 1),
            machine(Pool::ControlPlane, LAST, 60),
            machine(Pool::ControlPlane, LAST, 70),
            machine(workers(), LAST, 90),
            machine(workers(), LAST, 95),
        ];
        assert_eq!(
            told(&machines, at(80)).unwrap(),
            "kube-ovn       v4.3.11 at 00:01:20, after the last control plane machine (00:01:10) and before the first \
             worker (00:01:30)"
        );
        for wrong in [65, 92] {
            told(&machines, at(wrong)).unwrap_err();
        }
    }
}
