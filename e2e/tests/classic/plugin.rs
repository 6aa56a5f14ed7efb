//! The kubectl plugin: each verb as a user runs it, in a pipe, with the exit code that scripts rely on.

use instar_api::UpgradePhase;
use instar_e2e::{
    Context, Result,
    support::{
        catalog::Rows,
        classic::{self, NAME},
        commands::{kubectl, plugin_exits},
        fixtures::Shape,
        journeys::JourneyContext,
        upgrade::{phase, upgrade},
    },
};
use serde_json::{Value, json};

const SHAPE: Shape<'_> = Shape {
    control_plane: 1,
    pools: &[("md-0", 2)],
};

/// From the first look to the history: what is shown is what happens, and each verb ends with its code.
pub(crate) async fn each_verb(scene: JourneyContext) -> Result<()> {
    let rows = scene.rows()?;
    for minor in [33, 34] {
        scene.apply_object(rows.row(minor, 1)).await?;
    }
    classic::create_with(&scene, &rows, &SHAPE).await?;
    scene.apply_object(approval()).await?;

    let before = plugin_exits(&scene, &["status", NAME], 0).await?;
    assert!(before.stdout.contains("Upgrade    none"), "{}", before.stdout);
    let nobody = plugin_exits(&scene, &["status", "nobody"], 2).await?;
    assert!(
        nobody.stderr.contains("Cluster nobody was not found"),
        "{}",
        nobody.stderr
    );

    let unchecked = plugin_exits(&scene, &["preflight", NAME], 2).await?;
    assert!(unchecked.stderr.contains("has no upgrade"), "{}", unchecked.stderr);
    catalog(&scene, &rows).await?;

    let target = rows.version(34);
    plugin_exits(&scene, &["upgrade", NAME, "--to", &target, "--dry-run"], 0).await?;
    assert!(upgrade(&scene).await?.is_none(), "a dry run has begun an upgrade");
    // The catalog has no such version, and the controller says which it has.
    let unknown = [
        "upgrade",
        NAME,
        "--to",
        "v1.99.9",
        "--wait",
        "--for",
        "Held",
        "--timeout",
        "5m",
    ];
    let unknown = plugin_exits(&scene, &unknown, 0).await?;
    assert!(unknown.stdout.contains("NoTarget"), "{}", unknown.stdout);
    assert!(
        unknown.stderr.contains("Warning: ") && unknown.stderr.contains("[rule upgrade-target]"),
        "{}",
        unknown.stderr
    );
    assert!(unknown.stdout.contains(&target), "{}", unknown.stdout);
    kubectl(&scene, &["delete", "clusterupgrade", &format!("{NAME}-v1.99.9")], "").await?;
    plugin_exits(&scene, &["upgrade", NAME, "--to", &target], 0).await?;

    held(&scene).await?;
    watched(&scene, &target).await?;
    over(&scene, &target).await
}

/// A row of what runs, the next one, and both checked; what kubectl completes.
async fn catalog(scene: &JourneyContext, rows: &Rows) -> Result<()> {
    let row = plugin_exits(scene, &["releases", "from-cluster", NAME], 0)
        .await?
        .stdout;
    let version = rows.version(33);
    assert!(row.contains(&format!("  name: {version}-1\n")), "{row}");
    assert!(row.contains("kind: DevMachineTemplate\n"), "{row}");
    let dir = scene.mgmt.run().root().join(format!("{}-catalog", scene.namespace));
    std::fs::create_dir_all(&dir)?;
    std::fs::write(dir.join("first.yaml"), row)?;
    let next = plugin_exits(scene, &["releases", "new", "v1.34.77", "--from", &rows.name(34, 1)], 0)
        .await?
        .stdout;
    assert!(next.contains("  name: v1.34.77-1\n"), "{next}");
    // Of images whose name doesn't contain the version it says so.
    assert!(next.contains("# Check: "), "{next}");
    let dir = dir.to_str().context("a folder's name")?;
    let checked = plugin_exits(scene, &["releases", "lint", dir], 0).await?;
    assert!(
        checked.stderr.contains("1 KubernetesReleases in 1 files: 0 errors"),
        "{}",
        checked.stderr
    );
    std::fs::write(format!("{dir}/next.yaml"), next.replace("v1.34.77", "v1.36.77"))?;
    let checked = plugin_exits(scene, &["releases", "lint", dir], 1).await?;
    assert!(checked.stdout.contains("[gap]"), "{}", checked.stdout);
    let listed = plugin_exits(scene, &["releases"], 0).await?.stdout;
    assert!(listed.contains(&rows.name(34, 1)), "{listed}");

    let completed = plugin_exits(
        scene,
        &["__complete", "--", "--namespace", &scene.namespace, "status", ""],
        0,
    )
    .await?;
    assert_eq!(completed.stdout, format!("{NAME}\n:4\n"));
    let target = ["__complete", "--", "upgrade", NAME, "--to", &rows.version(34)];
    let completed = plugin_exits(scene, &target, 0).await?.stdout;
    assert!(completed.contains(&format!("{}\n", rows.name(34, 1))), "{completed}");
    let definitions = plugin_exits(scene, &["crd", "-o", "json"], 0).await?.stdout;
    assert!(
        definitions.contains("clusterupgrades.upgrade.cluster.x-k8s.io"),
        "{definitions}"
    );
    Ok(())
}

/// It waits for an approval: seen, paused, approved and resumed.
async fn held(scene: &JourneyContext) -> Result<()> {
    let held = plugin_exits(
        scene,
        &["status", NAME, "--wait", "--for", "Held", "--timeout", "5m"],
        0,
    )
    .await?;
    assert!(held.stdout.contains("ApprovalMissing"), "{}", held.stdout);
    assert!(held.stdout.contains("  Next: "), "{}", held.stdout);
    let shown = plugin_exits(scene, &["status", NAME], 1).await?;
    assert!(shown.stdout.contains("time left: -"), "{}", shown.stdout);
    let fleet = plugin_exits(scene, &["status"], 1).await?;
    assert!(fleet.stdout.starts_with("NAMESPACE"), "{}", fleet.stdout);
    assert_eq!(fleet.stdout.lines().count(), 2, "{}", fleet.stdout);

    let checks = plugin_exits(scene, &["preflight", NAME], 0).await?;
    assert!(checks.stdout.starts_with("CHECK"), "{}", checks.stdout);

    let paused = plugin_exits(scene, &["pause", NAME], 0).await?;
    assert!(paused.stdout.ends_with(" paused\n"), "{}", paused.stdout);
    plugin_exits(scene, &["approve", NAME, "--dry-run"], 0).await?;
    plugin_exits(scene, &["approve", NAME], 0).await?;
    // Paused, so the time is over first.
    let waited = plugin_exits(scene, &["status", NAME, "--wait", "--timeout", "4s"], 3).await?;
    assert!(waited.stdout.contains(", paused"), "{}", waited.stdout);
    plugin_exits(scene, &["resume", NAME], 0).await?;
    Ok(())
}

/// In a pipe each picture follows the one before, and the last one is the end.
async fn watched(scene: &JourneyContext, target: &str) -> Result<()> {
    let watched = plugin_exits(scene, &["status", NAME, "--watch", "--timeout", "12m"], 0).await?;
    let pictures = watched.stdout.matches("Cluster    ").count();
    assert!(pictures > 2, "{pictures} pictures: {}", watched.stdout);
    assert!(watched.stdout.contains(", Workers"), "{}", watched.stdout);
    assert!(
        !watched.stdout.contains('\u{1b}'),
        "colours in a pipe: {}",
        watched.stdout
    );
    let record = upgrade(scene).await?.context("there is no record")?;
    assert_eq!(phase(&record), UpgradePhase::Completed);
    assert_eq!(plugin_exits(scene, &["status", NAME, "--wait"], 0).await?.stderr, "");

    let json = plugin_exits(scene, &["status", NAME, "-o", "json"], 0).await?.stdout;
    let report: Value = serde_json::from_str(&json)?;
    assert_eq!(report["cluster"]["version"], *target, "{report:#}");
    assert_eq!(report["controlPlane"]["assessment"], "UpToDate", "{report:#}");
    assert_eq!(report["pools"][0]["converged"], 2, "{report:#}");
    let machines = report["machines"].as_array().context("no machines")?;
    assert_eq!(machines.len(), 3, "{report:#}");
    for machine in machines {
        assert_eq!(machine["phase"], "Running", "{machine}");
        assert_eq!(machine["version"], *target, "{machine}");
    }
    assert_eq!(report["upgrade"]["timeLeft"], Value::Null, "{report:#}");
    Ok(())
}

/// What is left to say of an upgrade that is over.
async fn over(scene: &JourneyContext, target: &str) -> Result<()> {
    let record = upgrade(scene).await?.context("there is no record")?;
    let name = record.metadata.name.clone().context("it has no name")?;
    let again = plugin_exits(scene, &["upgrade", NAME, "--to", target], 0).await?;
    assert!(again.stdout.contains("already"), "{}", again.stdout);
    let approved = plugin_exits(scene, &["approve", NAME], 1).await?;
    assert!(approved.stderr.contains("waits for no approval"), "{}", approved.stderr);
    let paused = plugin_exits(scene, &["pause", NAME], 1).await?;
    assert!(paused.stderr.contains("is Completed"), "{}", paused.stderr);

    let why = record
        .status
        .context("it has no status")?
        .rollback
        .context("no way back is said")?
        .why;
    let back = plugin_exits(scene, &["rollback", NAME, "--dry-run"], 1).await?;
    assert!(back.stderr.contains(&why), "{why}: {}", back.stderr);

    let history = plugin_exits(scene, &["history", NAME], 0).await?;
    assert!(
        history.stdout.contains(&name) && history.stdout.contains("Completed"),
        "{}",
        history.stdout
    );
    let events = plugin_exits(scene, &["events", NAME], 0).await?;
    assert!(events.stdout.contains("Completed"), "{}", events.stdout);
    let releases = plugin_exits(scene, &["releases", "-o", "name"], 0).await?;
    assert!(
        releases.stdout.contains("kubernetesrelease.upgrade.cluster.x-k8s.io/"),
        "{}",
        releases.stdout
    );
    plugin_exits(scene, &["explain", "ApprovalMissing"], 0).await?;

    let live = plugin_exits(scene, &["status", NAME, "-o", "json"], 0).await?.stdout;
    let live: Value = serde_json::from_str(&live)?;
    let dir = scene.mgmt.run().root().join(format!("{}-snapshot", scene.namespace));
    let dir = dir.to_str().context("a folder's name")?;
    let written = plugin_exits(scene, &["snapshot", NAME, dir], 0).await?;
    assert!(written.stdout.contains("objects.yaml: "), "{}", written.stdout);
    let offline = plugin_exits(scene, &["status", NAME, "--from-snapshot", dir, "-o", "json"], 0).await?;
    let offline: Value = serde_json::from_str(&offline.stdout)?;
    assert_eq!(offline, live, "what a snapshot says isn't what the cluster says");
    Ok(())
}

pub(crate) fn approval() -> Value {
    json!({
        "apiVersion": "upgrade.cluster.x-k8s.io/v1alpha1",
        "kind": "UpgradePolicy",
        "metadata": { "name": "approval" },
        "spec": { "approval": { "before": ["ControlPlane"] } },
    })
}
