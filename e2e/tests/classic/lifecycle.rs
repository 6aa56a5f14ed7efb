//! The life of a `ClusterUpgrade`: a second one, another target, no Cluster, other people's hands.

mod gone;
mod moved;
mod outside_edits;
mod second;
mod target;

use std::time::Duration;

use instar_api::{ClusterUpgrade, ClusterUpgradeStatus, UpgradePhase};
use instar_e2e::{
    Result,
    support::{
        catalog::Rows,
        classic::{self, NAME},
        fixtures::Shape,
        journeys::JourneyContext,
        ledger::{Ledger, Pool},
    },
    wait::{Seen, wait_for},
};
use k8s_openapi::api::events::v1::Event;
use kube::{
    Api, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};

use instar_e2e::support::upgrade::UPGRADE;

pub(crate) use gone::missing_cluster_wrong_source_and_deletion;
pub(crate) use moved::{moved_in_the_middle, prepare_moved, restored_in_the_middle};
pub(crate) use outside_edits::edits_made_outside_instar;
pub(crate) use second::{prepare_second, second_upgrade_is_refused};
pub(crate) use target::another_target_in_the_middle;

/// One machine of each sort: what counts is counted there too.
const SMALL: Shape<'_> = Shape {
    control_plane: 1,
    pools: &[("md-0", 1)],
};
/// How long the controller may take to say something.
const SOON: Duration = Duration::from_secs(30);

async fn catalog(scene: &JourneyContext, rows: &Rows) -> Result<()> {
    for row in rows.all() {
        scene.apply_object(row).await?;
    }
    Ok(())
}

/// A running cluster, and a ledger that begins with it.
async fn running(scene: &JourneyContext, rows: &Rows) -> Result<Ledger> {
    classic::create_with(scene, rows, &SMALL).await?;
    Ledger::start(&scene.mgmt.client(), &scene.namespace).await
}

async fn create(scene: &JourneyContext, name: &str, spec: &Value) -> Result<()> {
    let record = json!({
        "apiVersion": "upgrade.cluster.x-k8s.io/v1alpha1",
        "kind": "ClusterUpgrade",
        "metadata": { "name": name },
        "spec": spec,
    });
    scene.apply_object(record).await.map(drop)
}

fn records(scene: &JourneyContext) -> Api<ClusterUpgrade> {
    Api::namespaced(scene.mgmt.client(), &scene.namespace)
}

async fn edit(scene: &JourneyContext, name: &str, spec: &Value) -> Result<()> {
    let patch = Patch::Merge(json!({ "spec": spec }));
    records(scene).patch(name, &PatchParams::default(), &patch).await?;
    Ok(())
}

/// Waits until the record's status, told of its present spec, is as asked.
async fn await_status(
    scene: &JourneyContext,
    name: &str,
    what: &str,
    deadline: Duration,
    is: impl Fn(&ClusterUpgradeStatus) -> bool,
) -> Result<ClusterUpgrade> {
    wait_for(&format!("{name} to be {what}"), deadline, || async {
        let record = records(scene).get(name).await?;
        let tells = record
            .status
            .as_ref()
            .is_some_and(|status| Some(status.observed_generation) == record.metadata.generation && is(status));
        if tells {
            Ok(record)
        } else {
            Err(Seen::from(format!(
                "generation {:?}: {:?}",
                record.metadata.generation, record.status
            )))
        }
    })
    .await
}

async fn await_phase(scene: &JourneyContext, name: &str, phase: UpgradePhase) -> Result<ClusterUpgrade> {
    await_status(scene, name, phase.as_str(), UPGRADE, |status| status.phase == phase).await
}

/// Waits until it says exactly this.
async fn await_reason(
    scene: &JourneyContext,
    name: &str,
    phase: UpgradePhase,
    reason: &str,
    message: &str,
) -> Result<()> {
    let told = |status: &ClusterUpgradeStatus| {
        let first = status.health.first();
        status.phase == phase && first.is_some_and(|first| first.reason == reason && first.message == message)
    };
    await_status(scene, name, reason, SOON, told).await.map(drop)
}

/// Waits until an annotation of the record has a value, or is gone.
async fn await_mark(scene: &JourneyContext, name: &str, value: Option<&str>) -> Result<()> {
    wait_for(&format!("{name} to be marked {value:?}"), SOON, || async {
        let record = records(scene).get(name).await?;
        let mark = record.annotations().get(instar_api::FINISHED_ANNOTATION);
        if mark.map(String::as_str) == value {
            Ok(())
        } else {
            Err(Seen::from(format!("{mark:?}")))
        }
    })
    .await
}

/// The version that the control plane's spec says.
async fn control_plane_at(scene: &JourneyContext) -> Result<String> {
    let control_plane = classic::control_planes(scene).get(NAME).await?;
    let version = control_plane.data.pointer("/spec/version").and_then(Value::as_str);
    Ok(version.unwrap_or_default().to_owned())
}

async fn await_control_plane(scene: &JourneyContext, version: &str) -> Result<()> {
    wait_for(&format!("the control plane to go to {version}"), UPGRADE, || async {
        let at = control_plane_at(scene).await?;
        if at == version { Ok(()) } else { Err(Seen::from(at)) }
    })
    .await
}

/// How many events tell of this, each with its count.
async fn events(scene: &JourneyContext, kind: &str, reason: &str) -> Result<usize> {
    let api: Api<Event> = Api::namespaced(scene.mgmt.client(), &scene.namespace);
    let found = api.list(&ListParams::default()).await?;
    let told = found.iter().filter(|event| {
        let about = event.regarding.as_ref().and_then(|about| about.kind.as_deref());
        about == Some(kind) && event.reason.as_deref() == Some(reason)
    });
    Ok(told
        .map(|event| {
            let series = event.series.as_ref().map_or(1, |series| series.count);
            usize::try_from(series).unwrap_or_default()
        })
        .sum())
}

/// Waits until that has been told, once: an event follows on the status.
async fn await_event(scene: &JourneyContext, kind: &str, reason: &str) -> Result<()> {
    wait_for(&format!("the event {reason}"), SOON, || async {
        match events(scene, kind, reason).await? {
            1 => Ok(()),
            events => Err(Seen::from(format!("{events} events"))),
        }
    })
    .await
}

/// How many machines a pool ever had at each of these minors.
fn assert_machines(ledger: &Ledger, rows: &Rows, pool: &Pool, expected: &[(u8, usize)]) -> Result<()> {
    let groups = ledger.machines_by_version(NAME)?;
    let found: Vec<(String, usize)> = groups
        .into_iter()
        .filter(|((of, _), _)| of == pool)
        .map(|((_, version), machines)| (version, machines.len()))
        .collect();
    let expected: Vec<(String, usize)> = expected
        .iter()
        .map(|(minor, count)| (rows.version(*minor), *count))
        .collect();
    assert_eq!(found, expected, "the machines of {pool:?}");
    Ok(())
}
