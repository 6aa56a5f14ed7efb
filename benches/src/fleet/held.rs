//! What upgrades cost that wait for somebody: they ask nothing while they wait.

use std::{collections::BTreeMap, time::Duration};

use instar_api::{ClusterUpgrade, UpgradePhase, VERSION_ANNOTATION};
use instar_benches::process::cpu;
use instar_capi::Cluster;
use instar_e2e::{
    Result,
    mgmt::Mgmt,
    progress::say,
    wait::{Seen, wait_for},
};
use kube::{
    Api,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::json;
use tokio::time::sleep;

use super::{
    measure::{Program, Sort, requests},
    objects::{Fleet, TOGETHER},
};

/// How long it may take until all are held, and then until nothing more is written about it.
const HELD: Duration = Duration::from_mins(10);

/// Nothing follows what was written after no request has come for so long.
const OVER: Duration = Duration::from_secs(20);

/// Asks for upgrades of the first Clusters, which an approval holds, and counts for so long what is asked of the API server.
pub(crate) async fn measure(mgmt: &Mgmt, fleet: &Fleet, held: usize, long: Duration) -> Result<()> {
    let held = held.min(fleet.clusters());
    say(format!("holding {held} upgrades"));
    for number in (0..held).step_by(TOGETHER) {
        let policy = json!({
            "apiVersion": "upgrade.cluster.x-k8s.io/v1alpha1",
            "kind": "UpgradePolicy",
            "metadata": { "name": "approval", "namespace": Fleet::cluster(number).0 },
            "spec": { "approval": { "before": ["ControlPlane"] } },
        });
        mgmt.applier().one(serde_json::from_value(policy)?, None).await?;
    }
    for number in 0..held {
        let (namespace, name) = Fleet::cluster(number);
        let clusters: Api<Cluster> = Api::namespaced(mgmt.client(), &namespace);
        let patch = json!({ "metadata": { "annotations": { VERSION_ANNOTATION: "v1.34" } } });
        clusters
            .patch_metadata(&name, &PatchParams::default(), &Patch::Merge(&patch))
            .await?;
    }
    let upgrades: Api<ClusterUpgrade> = Api::all(mgmt.client());
    wait_for(&format!("{held} upgrades to be held"), HELD, || async {
        let all = upgrades.list(&ListParams::default()).await?.items;
        let phases = all.iter().filter_map(|upgrade| Some(upgrade.status.as_ref()?.phase));
        let waiting = phases.filter(|phase| *phase == UpgradePhase::Held).count();
        if waiting >= held {
            return Ok(());
        }
        Err(Seen::from(format!("{waiting} are")))
    })
    .await?;
    wait_for("nothing more to be written", HELD, || async {
        let before = requests(mgmt, 0)?.len();
        sleep(OVER).await;
        let requests = requests(mgmt, before)?;
        let more = requests
            .iter()
            .filter(|(verb, resource)| Sort::of(verb, resource).is_about_a_cluster());
        match more.count() {
            0 => Ok(()),
            more => Err(Seen::from(format!("{more} requests in {} s", OVER.as_secs()))),
        }
    })
    .await?;
    let pid = Program::Controller.pid(mgmt).await?;
    let (before, used) = (requests(mgmt, 0)?.len(), cpu(pid)?);
    sleep(long).await;
    let used = cpu(pid)?.saturating_sub(used);
    let mut asked = BTreeMap::<Sort, BTreeMap<String, usize>>::new();
    for (verb, resource) in requests(mgmt, before)? {
        let kinds = asked.entry(Sort::of(&verb, &resource)).or_default();
        *kinds.entry(format!("{verb} {resource}")).or_default() += 1;
    }
    let count = |sort| asked.get(&sort).map_or(0, |kinds| kinds.values().sum::<usize>());
    println!(
        "\n{held:>8} held for {} minutes: {} requests about them (goal: 0), {} of watches, {} of the programs' own, {:.2} % of a core",
        long.as_secs() / 60,
        count(Sort::Reads) + count(Sort::Writes) + count(Sort::Reports),
        count(Sort::Watches),
        count(Sort::Programs),
        used.as_secs_f64() / long.as_secs_f64() * 100.0
    );
    let about = asked.iter().filter(|(sort, _)| sort.is_about_a_cluster());
    for (request, count) in about.flat_map(|(_, kinds)| kinds) {
        println!("{:>8} {count:>7} {request}", "");
    }
    Ok(())
}
