//! The catalog's own rules, as the API server holds them.

use instar_e2e::{
    Result,
    support::{
        catalog::Rows,
        commands::{Printed, kubectl},
        journeys::JourneyContext,
        topology::apply_rows,
    },
};
use serde_json::{Value, json};

/// What a row renders can't change; how well it is supported can.
pub(crate) async fn a_row_is_immutable(scene: JourneyContext) -> Result<()> {
    let rows = scene.rows()?;
    let (name, row) = (rows.name(34, 1), rows.row(34, 1));
    apply_rows(&scene, std::slice::from_ref(&row)).await?;
    let replace = |path: &str, value: Value| json!([{ "op": "replace", "path": path, "value": value }]);
    let fixed = |field: &str| {
        format!(
            "Error from server (Forbidden): admission webhook \"mutate.kubernetesrelease.upgrade.cluster.x-k8s.io\" denied the request: KubernetesRelease {name}: spec.{field}: Clusters that are pinned to this row would roll, or go another way, if it changed; create a row with a higher revision [rule release-spec]"
        )
    };
    let images = || fixed("machineImages");
    let components = || fixed("components");
    for (change, message) in [
        (replace("/spec/version", json!("v1.34.99")), fixed("version")),
        (replace("/spec/revision", json!(9)), fixed("revision")),
        (
            json!([{ "op": "add", "path": "/spec/upgradesFrom", "value": ">=1.33.0" }]),
            fixed("upgradesFrom"),
        ),
        (replace("/spec/machineImages/0/values/0/value", json!("9s")), images()),
        (replace("/spec/machineImages", json!([])), images()),
        (replace("/spec/components/etcd/imageTag", json!("3.6.9-0")), components()),
        (json!([{ "op": "remove", "path": "/spec/components/coreDNS" }]), components()),
        (
            json!([{ "op": "add", "path": "/spec/machineImages/0/values/0/json", "value": "true" }]),
            images(),
        ),
        (
            replace("/spec/support", json!({ "tier": "Good" })),
            "Unsupported value: \"Good\": supported values: \"Preview\", \"Latest\", \"Supported\", \"LTS\", \"Deprecated\"".to_owned(),
        ),
    ] {
        let refused = patch(&scene, &name, &change).await?;
        assert!(
            !refused.succeeded && refused.stderr.contains(&message),
            "{change}: {}{}",
            refused.stdout,
            refused.stderr
        );
    }
    a_row_ends(&scene, &rows, &name).await?;
    what_cannot_be_read_is_refused(&scene, &rows).await
}

/// A JSON patch of a row.
async fn patch(scene: &JourneyContext, name: &str, patch: &Value) -> Result<Printed> {
    let patch = patch.to_string();
    kubectl(
        scene,
        &["patch", "kubernetesrelease", name, "--type=json", "-p", &patch],
        "",
    )
    .await
}

/// Its support may change, and people see it.
async fn a_row_ends(scene: &JourneyContext, rows: &Rows, name: &str) -> Result<()> {
    let support = json!({ "tier": "Deprecated", "endOfLife": "2026-12-31" });
    let end = patch(
        scene,
        name,
        &json!([{ "op": "add", "path": "/spec/support", "value": support }]),
    )
    .await?;
    assert!(end.succeeded, "{}", end.stderr);
    let listed = kubectl(scene, &["get", "kr", name], "").await?;
    let words: Vec<&str> = listed.stdout.split_whitespace().collect();
    let header = [
        "NAME",
        "CATALOG",
        "VERSION",
        "REVISION",
        "TIER",
        "ENDOFLIFE",
        "ETCD",
        "COREDNS",
        "AGE",
    ];
    let version = rows.version(34);
    // The default catalog has no name.
    let columns = [name, &version, "1", "Deprecated", "2026-12-31", "3.6.5-0", "v1.12.1"];
    assert_eq!(words.get(..16), Some(&[&header[..], &columns[..]].concat()[..]));
    Ok(())
}

async fn what_cannot_be_read_is_refused(scene: &JourneyContext, rows: &Rows) -> Result<()> {
    let mut bad = rows.row(34, 8);
    bad["spec"]["upgradesFrom"] = json!("=>1.33");
    let refused = kubectl(scene, &["create", "-f", "-"], &bad.to_string()).await?;
    let message = format!(
        "KubernetesRelease {}: spec: upgradesFrom: \"=>1.33\": unexpected character '>' while parsing major version number; correct it and create the row again [rule release-readable]",
        rows.name(34, 8)
    );
    assert!(refused.stderr.contains(&message), "{}", refused.stderr);
    let mut two = rows.row(34, 8);
    two["spec"]["machineImages"][0]["values"][0]["json"] = json!("true");
    let refused = kubectl(scene, &["create", "-f", "-"], &two.to_string()).await?;
    assert!(
        refused.stderr.contains("exactly one of value and json must be set"),
        "{}",
        refused.stderr
    );
    let pointer = "kubernetesrelease.spec.machineImages.values.pointer";
    let explained = kubectl(scene, &["explain", pointer], "").await?;
    assert!(
        explained.stdout.contains("A JSON Pointer (RFC 6901)"),
        "{}",
        explained.stdout
    );
    Ok(())
}
