//! What `kubectl instar plan` tells of a topology Cluster is what Cluster API then does.

use std::collections::BTreeMap;

use instar_e2e::{
    Context, Result,
    support::{
        classic::SMALL,
        commands::plugin,
        fixtures::{CLUSTER_CLASS, TopologyCluster},
        journeys::JourneyContext,
        ledger::{Ledger, Pool},
        topology::{UPGRADE, apply_rows, apply_wired, create, edit, image_of, running, version},
    },
    wait::wait_for,
};
use serde_json::Value;

pub(crate) async fn told_beforehand(scene: JourneyContext) -> Result<()> {
    let rows = scene.rows()?;
    apply_rows(&scene, &rows.all()).await?;
    apply_wired(&scene, CLUSTER_CLASS, &rows.all()).await?;
    let (first, last) = (rows.version(33), rows.version(35));
    let mut cluster = TopologyCluster {
        name: "c",
        version: &first,
        control_planes: SMALL.control_plane,
        workers: SMALL.pools,
    };
    create(&scene, &cluster).await?;
    let ledger = Ledger::start(&scene.mgmt.client(), &scene.namespace).await?;

    // A check may hold it until all of a new cluster is well.
    let plan = wait_for("the plan to go", UPGRADE, || async {
        let printed = plugin(&scene, &["plan", "c", "--to", &last, "-o", "json"]).await?;
        let plan: Value =
            serde_json::from_str(&printed.stdout).map_err(|error| format!("{error}: {}", printed.stderr))?;
        match (plan["outcome"].as_str(), printed.code) {
            (Some("CanGo"), Some(0)) => Ok(plan),
            seen => Err(format!("{seen:?}: {}", printed.stdout).into()),
        }
    })
    .await?;
    let refused = plugin(&scene, &["plan", "c", "--to", "v1.20.0", "-o", "json"]).await?;
    assert_eq!(refused.code, Some(1), "{}{}", refused.stdout, refused.stderr);
    let refused: Value = serde_json::from_str(&refused.stdout)?;
    let findings = refused["findings"].as_array().context("no findings")?;
    assert!(
        findings.iter().any(|finding| finding["effect"] == "Refused"),
        "{refused:#}"
    );
    let dir = scene.mgmt.run().root().join(format!("{}-plan", scene.namespace));
    let dir = dir.to_str().context("a folder's name")?;
    plugin(&scene, &["snapshot", "c", dir]).await?;
    let offline = plugin(
        &scene,
        &["plan", "c", "--to", &last, "--from-snapshot", dir, "-o", "json"],
    )
    .await?;
    let offline: Value = serde_json::from_str(&offline.stdout)?;
    assert_eq!(offline, plan, "what a folder says is another plan");

    edit(&scene, "c", &version(&last)).await?;
    cluster.version = &last;
    running(&scene, &cluster, UPGRADE).await?;
    ledger.caught_up().await?;
    compare(&ledger, &plan, &first)
}

/// Versions, counts, order and images.
fn compare(ledger: &Ledger, plan: &Value, first: &str) -> Result<()> {
    let made = ledger.machines_by_version("c")?;
    let mut counts: BTreeMap<(Pool, String), u64> = BTreeMap::new();
    for ((pool, version), machines) in &made {
        if version != first {
            counts.insert((pool.clone(), version.clone()), u64::try_from(machines.len())?);
        }
    }
    let (mut predicted, mut began) = (BTreeMap::new(), Vec::new());
    for step in plan["steps"].as_array().context("no steps")? {
        let text = |value: &Value| value.as_str().map(str::to_owned).context("no text");
        let (kind, name, to) = (
            text(&step["pool"]["kind"])?,
            text(&step["pool"]["name"])?,
            text(&step["to"])?,
        );
        let known = made.keys().map(|(pool, _)| pool).find(|pool| match pool {
            Pool::ControlPlane => kind == "KubeadmControlPlane",
            // Cluster API calls a MachineDeployment by the Cluster's name and its own in the topology.
            Pool::Workers(pool) => kind == "MachineDeployment" && name.contains(&format!("-{pool}-")),
        });
        let pool = known.with_context(|| format!("no machine was ever made of {kind} {name}"))?;
        let machines = made.get(&(pool.clone(), to.clone()));
        let machines = machines.with_context(|| format!("{kind} {name} never was at {to}"))?;
        predicted.insert((pool.clone(), to), step["machines"].as_u64().context("no count")?);
        began.extend(machines.iter().map(|machine| machine.created).min());
        // The image is the one value that each row sets in each machine template.
        for machine in machines {
            let image = image_of(machine).map(Value::String);
            let changes = step["changes"].as_array().context("no values")?;
            assert!(
                changes.iter().any(|change| change.get("after") == image.as_ref()),
                "{step:#}"
            );
        }
    }
    assert_eq!(counts, predicted, "{plan:#}");
    assert!(began.is_sorted(), "in another order than {plan:#}: {began:?}");
    Ok(())
}
