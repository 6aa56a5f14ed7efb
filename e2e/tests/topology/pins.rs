//! Pins stay what they are.

use instar_e2e::{
    Context, Result,
    support::{
        commands::{kubectl, kubectl_patch},
        fixtures::{CLUSTER_CLASS, TopologyCluster},
        journeys::JourneyContext,
        ledger::Ledger,
        metrics::admission_requests,
        topology::{PINS, UPGRADE, apply_rows, apply_wired, clusters, create, pinned, pins, reconciled, running},
    },
};
use kube::ResourceExt;
use serde_json::{Value, json};

/// A small Cluster `c` at v1.34 of a wired class, for a journey that runs later.
pub(crate) async fn prepare_small(scene: JourneyContext) -> Result<()> {
    let rows = scene.rows()?;
    apply_rows(&scene, &rows.all()).await?;
    apply_wired(&scene, CLUSTER_CLASS, &rows.all()).await?;
    create(&scene, &small(&rows.version(34))).await
}

pub(crate) const fn small(version: &str) -> TopologyCluster<'_> {
    TopologyCluster {
        name: "c",
        version,
        control_planes: 1,
        workers: &[("md-0", 1)],
    }
}

/// A newer row for the version that runs, a restart of Instar, `kubectl replace` from a file without
/// the annotation and a Git tool that applies again and again: nothing rotates, nothing is replaced.
pub(crate) async fn a_newer_row_moves_nothing(scene: JourneyContext) -> Result<()> {
    let rows = scene.rows()?;
    let runs = rows.version(34);
    let mut cluster = small(&runs);
    let ledger = Ledger::start(&scene.mgmt.client(), &scene.namespace).await?;
    ledger.caught_up().await?;
    let templates = names(&ledger)?;
    let machines = ledger.machines_ever("c")?.len();
    let carried = pins(&scene, "c").await?;

    apply_rows(&scene, &[rows.row(34, 2)]).await?;
    scene.mgmt.webhook().restart().await?;

    // From a file that knows nothing of the annotation: what the Cluster was, but for what a server
    // writes into it.
    let mut file = serde_json::to_value(clusters(&scene).get("c").await?)?;
    file["metadata"] = json!({
        "name": "c",
        "namespace": scene.namespace,
        "labels": { "journey.example.org/replaced": "yes" },
        "finalizers": file["metadata"]["finalizers"],
    });
    file["status"] = json!({});
    let replaced = kubectl(&scene, &["replace", "-f", "-"], &file.to_string()).await?;
    assert!(replaced.succeeded, "{}", replaced.stderr);
    assert_eq!(pins(&scene, "c").await?, carried, "kubectl replace changed the pins");
    reconciled(&scene, "c").await?;

    // A Git tool that keeps a prefix, with a restart in between.
    let mut file = cluster.object();
    file["metadata"]["namespace"] = json!(scene.namespace);
    file["spec"]["topology"]["version"] = json!("v1.34");
    for round in 0..3 {
        let arguments = [
            "apply",
            "--server-side",
            "--force-conflicts",
            "--field-manager=flux",
            "-f",
            "-",
        ];
        let applied = kubectl(&scene, &arguments, &file.to_string()).await?;
        assert!(applied.succeeded, "{}", applied.stderr);
        let object = clusters(&scene).get("c").await?;
        assert_eq!(
            object.data["spec"]["topology"]["version"],
            runs.as_str(),
            "round {round}"
        );
        assert_eq!(pins(&scene, "c").await?, carried, "round {round}");
        if round == 1 {
            scene.mgmt.webhook().restart().await?;
        }
    }
    reconciled(&scene, "c").await?;
    ledger.caught_up().await?;
    assert_eq!(names(&ledger)?, templates, "a template rotated");
    assert_eq!(ledger.machines_ever("c")?.len(), machines, "a machine was replaced");

    // A machine more comes from the same template: the topology is alive, and pinned to the old row.
    // For a size nobody asks the server, nor for what the topology controller does about it.
    let asked = admission_requests(&scene).await?;
    cluster.workers = &[("md-0", 2)];
    let two = json!([{ "op": "replace", "path": "/spec/topology/workers/machineDeployments/0/replicas", "value": 2 }]);
    let scaled = kubectl_patch(&scene, "c", &two).await?;
    assert!(scaled.succeeded, "{}", scaled.stderr);
    running(&scene, &cluster, UPGRADE).await?;
    ledger.caught_up().await?;
    assert_eq!(admission_requests(&scene).await?, asked, "scaling asked the server");
    assert_eq!(names(&ledger)?, templates, "a template rotated");
    assert_eq!(ledger.machines_ever("c")?.len(), machines + 1);
    assert_eq!(
        pinned(&pins(&scene, "c").await?),
        [format!("{runs}={}", rows.name(34, 1))]
    );
    Ok(())
}

fn names(ledger: &Ledger) -> Result<Vec<String>> {
    Ok(ledger
        .templates_ever("c")?
        .into_iter()
        .map(|template| template.name)
        .collect())
}

/// A Cluster that is moved or restored keeps the pins that it brings along, also when this catalog
/// has other rows; what it lacks is pinned as ever.
pub(crate) async fn existing_pins_are_kept(scene: JourneyContext) -> Result<()> {
    let rows = scene.rows()?;
    apply_rows(&scene, &rows.all()).await?;
    apply_wired(&scene, CLUSTER_CLASS, &rows.all()).await?;
    let runs = rows.version(34);
    let paused = |name| {
        let mut object = TopologyCluster {
            name,
            version: &runs,
            control_planes: 1,
            workers: &[("md-0", 1)],
        }
        .object();
        object["spec"]["paused"] = json!(true);
        object
    };
    scene.apply_object(paused("first")).await?;
    let text = clusters(&scene)
        .get("first")
        .await?
        .annotations()
        .get(PINS)
        .cloned()
        .context("no pins")?;
    let elsewhere = text.replace(&format!("\"{}\"", rows.name(34, 1)), "\"a-row-of-another-catalog\"");
    assert_ne!(text, elsewhere);
    let mut moved = paused("moved");
    moved["metadata"]["annotations"] = json!({ PINS: elsewhere });
    scene.apply_object(moved).await?;
    let kept = clusters(&scene).get("moved").await?.annotations().get(PINS).cloned();
    assert_eq!(kept, Some(elsewhere));

    // Pins of a created Cluster that can't be read are refused, with what to do.
    let mut garbled = paused("garbled");
    garbled["metadata"]["annotations"] = json!({ PINS: "{" });
    let refused = kubectl(&scene, &["create", "-f", "-"], &garbled.to_string()).await?;
    assert!(
        refused.stderr.contains("can't be read: EOF while parsing an object at line 1 column 1; leave the annotation out: admission writes it [rule pins-by-hand]"),
        "{}",
        refused.stderr
    );
    // Edited by hand, a pin names a row of that very version.
    let other = text.replace(
        &format!("\"{}\"", rows.name(34, 1)),
        &format!("\"{}\"", rows.name(35, 1)),
    );
    let patch = json!({ "metadata": { "annotations": { PINS: other } } });
    let refused = kubectl_patch(&scene, "first", &patch).await?;
    let message = format!(
        "release {} is of {}, and is named for {runs}; name a release of {runs} [rule pins-by-hand]",
        rows.name(35, 1),
        rows.version(35)
    );
    assert!(refused.stderr.contains(&message), "{}", refused.stderr);
    // And one that is taken away comes back.
    let patch = json!({ "metadata": { "annotations": { PINS: Value::Null } } });
    let patched = kubectl_patch(&scene, "first", &patch).await?;
    assert!(patched.succeeded, "{}", patched.stderr);
    assert_eq!(
        clusters(&scene).get("first").await?.annotations().get(PINS),
        Some(&text)
    );
    Ok(())
}
