//! How the pools go: two at a time, in an order, one pinned, with values of their own.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use instar_api::{MachineUpgradePhase, UpgradePhase};
use instar_e2e::{
    Context, Result,
    support::{
        catalog::Rows,
        classic::{self, NAME},
        fixtures::{Shape, core_kind},
        journeys::JourneyContext,
        ledger::{Ledger, Pool},
    },
    wait::wait_for,
};
use kube::{
    Api, ResourceExt,
    api::ListParams,
    core::{DynamicObject, GroupVersionKind},
    discovery::ApiResource,
};
use serde_json::{Value, json};

use instar_e2e::support::upgrade::{UPGRADE, phase};

use crate::by_hand::{record, records};

const SHAPE: Shape<'_> = Shape {
    control_plane: 1,
    pools: &[("a", 1), ("b", 1), ("c", 1), ("d", 1)],
};

const JITTER: &str = "/spec/template/spec/backend/inMemory/vm/provisioning/startupJitter";
const ETCD: &str = "/spec/template/spec/backend/inMemory/etcd/provisioning/startupDuration";

/// Two pools roll at a time, those of the order first; one stays at its pin; what is asked beside
/// the release is in the templates that it was asked for, and each machine is made once.
pub(crate) async fn two_at_a_time_in_order(scene: JourneyContext) -> Result<()> {
    let rows = scene.rows()?;
    for row in rows.all().into_iter().chain([with_bootstrap(&rows)]) {
        scene.apply_object(row).await?;
    }
    classic::create_with(&scene, &rows, &SHAPE).await?;
    let ledger = Ledger::start(&scene.mgmt.client(), &scene.namespace).await?;
    let spec = json!({
        "clusterName": NAME,
        // A preview, so that nobody else takes it.
        "target": rows.name(35, 2),
        "strategy": { "type": "Parallel", "limit": 2 },
        "order": ["d", "b"],
        "controlPlane": { "patches": [{ "pointer": ETCD, "value": "0.3s" }] },
        "pools": [
            { "name": "a", "bootstrapPatches": [{ "pointer": "/spec/template/spec/preKubeadmCommands", "json": "[\"true\"]" }] },
            { "name": "b", "patches": [{ "pointer": JITTER, "value": "0.2" }] },
            { "name": "c", "release": rows.name(34, 1) },
        ],
    });
    scene.apply_object(record("up", &spec)).await?;
    let seen = Mutex::new(Seen::default());
    let detail = Mutex::new(None);
    wait_for("the upgrade to be completed", UPGRADE, || async {
        look(&scene, &rows.version(35), &seen).await?;
        let record = records(&scene).get("up").await?;
        let pools = record.status.iter().flat_map(|status| &status.pools);
        let mut machines = pools
            .filter(|pool| pool.name == "c")
            .flat_map(|pool| &pool.machine_details);
        if let Some(machine) = machines.next().cloned() {
            *detail.lock().unwrap_or_else(PoisonError::into_inner) = Some(machine);
        }
        if phase(&record) == UpgradePhase::Completed {
            Ok(())
        } else {
            Err(format!("{:?}", record.status).into())
        }
    })
    .await?;
    let seen = seen.into_inner().unwrap_or_else(PoisonError::into_inner);
    assert_eq!(seen.most, 2, "pools that rolled at a time: {seen:?}");
    assert_eq!(seen.order.len(), 3, "{seen:?}");
    // Two begin together; the third comes when one of them is done.
    assert_eq!(seen.order[2], "a", "{seen:?}");
    let mut first: Vec<&str> = seen.order[..2].iter().map(String::as_str).collect();
    first.sort_unstable();
    assert_eq!(first, ["b", "d"], "{seen:?}");
    ledger.caught_up().await?;
    assert_machines(&ledger, &rows)?;
    assert_templates(&scene).await?;

    let record = records(&scene).get("up").await?;
    let status = record.status.context("it has no status")?;
    assert_eq!(status.machines, "5/5");
    let pinned = status.pools.iter().find(|pool| pool.name == "c").context("no pool c")?;
    assert_eq!(
        (pinned.version.as_str(), pinned.unlisted),
        (rows.version(34).as_str(), 0)
    );
    assert_eq!(pinned.machine_details, [], "a record that is over lists no machines");
    let detail = detail.into_inner().unwrap_or_else(PoisonError::into_inner);
    let detail = detail.context("no machine of pool c was ever listed")?;
    assert_eq!(
        (detail.phase, detail.version.as_str()),
        (MachineUpgradePhase::Running, rows.version(34).as_str())
    );
    assert!(!detail.node.is_empty(), "{detail:?}");
    Ok(())
}

/// A row that sets something in the bootstrap templates too.
fn with_bootstrap(rows: &Rows) -> Value {
    let mut row = rows.row(35, 2);
    row["spec"]["support"] = json!({ "tier": "Preview" });
    if let Some(images) = row["spec"]["machineImages"].as_array_mut() {
        images.push(json!({
            "apiGroup": "bootstrap.cluster.x-k8s.io",
            "kind": "KubeadmConfigTemplate",
            "values": [{ "pointer": "/spec/template/spec/postKubeadmCommands", "json": "[\"true\"]" }],
        }));
    }
    row
}

/// What was seen of the pools on their way.
#[derive(Debug, Default)]
struct Seen {
    /// The pools in the order in which they were swapped.
    order: Vec<String>,
    /// How many rolled at a time, at most.
    most: usize,
}

/// The pools first, then their machines: a pool that has become done in between counts for none.
async fn look(scene: &JourneyContext, version: &str, seen: &Mutex<Seen>) -> Result<()> {
    let pools = list(scene, &core_kind("MachineDeployment", "machinedeployments")).await?;
    let machines = list(scene, &core_kind("Machine", "machines")).await?;
    let at = |object: &DynamicObject, pointer: &str| -> Option<String> {
        Some(object.data.pointer(pointer)?.as_str()?.to_owned())
    };
    let mut rolling = 0;
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    for pool in pools {
        if at(&pool, "/spec/template/spec/version").as_deref() != Some(version) {
            continue;
        }
        let name = pool.name_any();
        let of_pool = machines
            .iter()
            .filter(|machine| machine.labels().get("cluster.x-k8s.io/deployment-name") == Some(&name));
        let done = of_pool.clone().count() == 1
            && of_pool.clone().all(|machine| {
                at(machine, "/spec/version").as_deref() == Some(version)
                    && at(machine, "/status/phase").as_deref() == Some("Running")
            });
        rolling += usize::from(!done);
        if !seen.order.contains(&name) {
            seen.order.push(name);
        }
    }
    seen.most = seen.most.max(rolling);
    Ok(())
}

/// One machine for each version that a pool was at.
fn assert_machines(ledger: &Ledger, rows: &Rows) -> Result<()> {
    let groups = ledger.machines_by_version(NAME)?;
    let made: BTreeMap<(Pool, String), usize> = groups
        .into_iter()
        .map(|(group, machines)| (group, machines.len()))
        .collect();
    let mut expected = BTreeMap::new();
    for minor in [33, 34, 35] {
        expected.insert((Pool::ControlPlane, rows.version(minor)), 1);
    }
    for (pool, minors) in [("a", [33, 35]), ("b", [33, 35]), ("c", [33, 34]), ("d", [33, 35])] {
        for minor in minors {
            expected.insert((Pool::Workers(pool.to_owned()), rows.version(minor)), 1);
        }
    }
    assert_eq!(made, expected);
    Ok(())
}

/// What was asked for is in the templates that the pools ended at, and in no other's.
async fn assert_templates(scene: &JourneyContext) -> Result<()> {
    let kind = GroupVersionKind::gvk("infrastructure.cluster.x-k8s.io", "v1beta2", "DevMachineTemplate");
    let machines = list(scene, &ApiResource::from_gvk_with_plural(&kind, "devmachinetemplates")).await?;
    let kind = GroupVersionKind::gvk("bootstrap.cluster.x-k8s.io", "v1beta2", "KubeadmConfigTemplate");
    let bootstrap = list(
        scene,
        &ApiResource::from_gvk_with_plural(&kind, "kubeadmconfigtemplates"),
    )
    .await?;
    let find = |templates: &[DynamicObject], name: &Value| -> Result<Value> {
        let found = templates
            .iter()
            .find(|template| Some(template.name_any().as_str()) == name.as_str());
        Ok(found
            .with_context(|| format!("there is no template {name}"))?
            .data
            .clone())
    };
    let control_plane = classic::control_planes(scene).get(NAME).await?;
    let name = &control_plane.data["spec"]["machineTemplate"]["spec"]["infrastructureRef"]["name"];
    assert_eq!(find(&machines, name)?.pointer(ETCD), Some(&json!("0.3s")));
    let row = json!(["true"]);
    for pool in list(scene, &core_kind("MachineDeployment", "machinedeployments")).await? {
        let spec = &pool.data["spec"]["template"]["spec"];
        let template = find(&machines, &spec["infrastructureRef"]["name"])?;
        let jitter = template.pointer(JITTER).and_then(Value::as_str);
        let config = find(&bootstrap, &spec["bootstrap"]["configRef"]["name"])?;
        let at = |command: &str| {
            config["spec"]["template"]["spec"]
                .get(command)
                .is_some_and(|list| *list == row)
        };
        let name = pool.name_any();
        let (pre, post) = (name == "a", name != "c");
        assert_eq!(jitter, (name == "b").then_some("0.2"), "{name}");
        assert_eq!(
            (at("preKubeadmCommands"), at("postKubeadmCommands")),
            (pre, post),
            "{name}: {config}"
        );
        // One write for all of it: made, and swapped once.
        assert_eq!(pool.metadata.generation, Some(2), "{name}");
    }
    Ok(())
}

async fn list(scene: &JourneyContext, resource: &ApiResource) -> Result<Vec<DynamicObject>> {
    let api: Api<DynamicObject> = Api::namespaced_with(scene.mgmt.client(), &scene.namespace, resource);
    Ok(api.list(&ListParams::default()).await?.items)
}
