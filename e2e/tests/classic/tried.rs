//! A swap that the API server refuses is refused in a dry run, before anything is written for it.

use instar_api::{BREAK_GLASS_ANNOTATION, PATH_ANNOTATION, RELEASE_LABEL, UpgradePhase, VERSION_ANNOTATION};
use instar_e2e::{
    Result,
    support::{
        classic::{self, NAME},
        fixtures::{Shape, core_kind},
        journeys::JourneyContext,
        ledger::{Ledger, Pool},
        upgrade::{UPGRADE, annotate, phase, upgrade},
    },
    wait::wait_for,
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams},
    core::{DynamicObject, GroupVersionKind},
    discovery::ApiResource,
};
use serde_json::json;

const SHAPE: Shape<'_> = Shape {
    control_plane: 1,
    pools: &[("md-0", 1)],
};

/// What the policy of the management cluster says.
pub(crate) const NOT_YET: &str = "no control plane goes to this version before Monday";

/// A policy of the management cluster refuses the control plane's new version: no template is made, no path is pinned, and
/// the record says why. Without the policy the upgrade goes on by itself.
pub(crate) async fn refused_before_anything_is_written(scene: JourneyContext) -> Result<()> {
    let rows = scene.rows()?;
    for minor in [33, 34] {
        scene.apply_object(rows.row(minor, 1)).await?;
    }
    classic::create_with(&scene, &rows, &SHAPE).await?;
    let ledger = Ledger::start(&scene.mgmt.client(), &scene.namespace).await?;
    let to = rows.version(34);
    refuse(&scene, &format!("object.spec.version != '{to}'"), &to).await?;

    annotate(&scene, VERSION_ANNOTATION, &rows.version(34)).await?;
    wait_for("the refusal to be told", UPGRADE, || async {
        let Some(record) = upgrade(&scene).await? else {
            return Err("there is no record".into());
        };
        let conditions = record.status.unwrap_or_default().conditions;
        let told = ["trying to point KubeadmControlPlane", NOT_YET];
        if conditions
            .iter()
            .any(|seen| told.iter().all(|part| seen.message.contains(part)))
        {
            return Ok(());
        }
        Err(format!("{conditions:?}").into())
    })
    .await?;
    let minted = ListParams::default().labels(RELEASE_LABEL);
    let minted = classic::machine_templates(&scene).list(&minted).await?.items;
    assert!(minted.is_empty(), "templates were made: {minted:?}");
    let clusters: Api<DynamicObject> =
        Api::namespaced_with(scene.mgmt.client(), &scene.namespace, &core_kind("Cluster", "clusters"));
    let cluster = clusters.get(NAME).await?;
    assert!(!cluster.annotations().contains_key(PATH_ANNOTATION), "a path is pinned");

    refuse_no_more(&scene).await?;
    wait_for("the upgrade to be completed", UPGRADE, || async {
        match upgrade(&scene).await? {
            Some(record) if phase(&record) == UpgradePhase::Completed => Ok(()),
            seen => Err(format!("{:?}", seen.map(|record| record.status)).into()),
        }
    })
    .await?;
    ledger.caught_up().await?;
    classic::assert_rolled(&ledger, &rows, &Pool::ControlPlane, 1, &[33, 34])?;
    classic::assert_rolled(&ledger, &rows, &Pool::Workers("md-0".to_owned()), 1, &[33, 34])
}

/// Takes the policy away.
pub(crate) async fn refuse_no_more(scene: &JourneyContext) -> Result<()> {
    for kind in ["ValidatingAdmissionPolicyBinding", "ValidatingAdmissionPolicy"] {
        policies(scene, kind)
            .delete(&scene.namespace, &DeleteParams::default())
            .await?;
    }
    Ok(())
}

/// Refuses edits of the control planes of the journey's namespace for which an expression is false, such as one to a
/// version, from the moment when the API server does.
pub(crate) async fn refuse(scene: &JourneyContext, expression: &str, version: &str) -> Result<()> {
    let name = &scene.namespace;
    for (kind, spec) in [
        (
            "ValidatingAdmissionPolicy",
            json!({
                "failurePolicy": "Fail",
                "matchConstraints": {
                    "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": name } },
                    "resourceRules": [{
                        "apiGroups": ["controlplane.cluster.x-k8s.io"],
                        "apiVersions": ["*"],
                        "operations": ["UPDATE"],
                        "resources": ["kubeadmcontrolplanes"],
                    }],
                },
                "validations": [{
                    "expression": expression,
                    "message": NOT_YET,
                    "reason": "Forbidden",
                }],
            }),
        ),
        (
            "ValidatingAdmissionPolicyBinding",
            json!({ "policyName": name, "validationActions": ["Deny"] }),
        ),
    ] {
        let object = json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": kind,
            "metadata": { "name": name },
            "spec": spec,
        });
        policies(scene, kind)
            .create(&kube::api::PostParams::default(), &serde_json::from_value(object)?)
            .await?;
    }
    // Instar's own rules would refuse it first.
    let patch = json!({
        "metadata": { "annotations": { BREAK_GLASS_ANNOTATION: "one-rollout" } },
        "spec": { "version": version },
    });
    let parameters = PatchParams {
        dry_run: true,
        ..PatchParams::default()
    };
    wait_for("the policy to refuse", UPGRADE, || async {
        let tried = classic::control_planes(scene)
            .patch(NAME, &parameters, &Patch::Merge(&patch))
            .await;
        match tried {
            Err(kube::Error::Api(status)) if status.message.contains(NOT_YET) => Ok(()),
            tried => Err(format!("{tried:?}").into()),
        }
    })
    .await
}

fn policies(scene: &JourneyContext, kind: &str) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("admissionregistration.k8s.io", "v1", kind));
    Api::all_with(scene.mgmt.client(), &resource)
}
