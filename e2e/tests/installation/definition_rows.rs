//! The table of docs/reference/crd-skew.md, row by row: a definition that is so, and what the running controller makes of it.

use instar_api::{CrdSkew, Definition, INSTAR_VERSION_ANNOTATION, SkewVerdict};
use instar_e2e::{Context, Result, support::journeys::JourneyContext, wait::wait_for};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams},
};
use semver::Version;
use serde_json::{Value, json};

use crate::{
    definitions::{SOON, patch, readiness},
    removal::instar,
};

/// What is done to, and which no UpgradePolicy of this journey needs.
const DEFINITION: Definition = Definition::UpgradePolicies;

/// A field that no policy of the management cluster sets.
const FIELD: &str = "mutableTemplateFields";

/// After each refused row comes an allowed one, so that each is seen to become what it is.
const ROWS: [CrdSkew; 9] = [
    CrdSkew::NewerMinor,
    CrdSkew::NewerPatch,
    CrdSkew::OlderMinor,
    CrdSkew::OlderPatch,
    CrdSkew::MissingFields,
    CrdSkew::UnknownOrigin,
    CrdSkew::UnknownStored,
    CrdSkew::Missing,
    CrdSkew::Same,
];

/// A refused row is the reason for which the controller isn't ready, in the words of the table; with an allowed one it is ready
/// again by itself.
pub(crate) async fn each_is_what_the_table_says(scene: JourneyContext) -> Result<()> {
    assert_eq!(ROWS.len(), CrdSkew::ALL.len(), "a row of the table isn't tried");
    let result = rows(&scene).await;
    // Journeys after this one have the definitions of the program again.
    reset(&scene).await?;
    result
}

async fn rows(scene: &JourneyContext) -> Result<()> {
    for row in ROWS {
        reset(scene).await?;
        make(scene, row).await.with_context(|| format!("making {row:?}"))?;
        let says = format!("CustomResourceDefinition {} {}", DEFINITION.name(), row.what());
        wait_for(&format!("what the table says of {row:?}"), SOON, || async {
            let (ready, said) = readiness(scene).await?;
            let is_so = match row.verdict() {
                SkewVerdict::Refused => !ready && said.contains(&says),
                SkewVerdict::Allowed => ready,
            };
            if is_so {
                return Ok(());
            }
            Err(said.into())
        })
        .await?;
    }
    Ok(())
}

/// A definition that is what the row says.
async fn make(scene: &JourneyContext, row: CrdSkew) -> Result<()> {
    let program: Version = env!("CARGO_PKG_VERSION").parse()?;
    let (major, minor) = (program.major, program.minor);
    let name = DEFINITION.name();
    let annotated =
        |version: Option<String>| json!({ "metadata": { "annotations": { INSTAR_VERSION_ANNOTATION: version } } });
    match row {
        CrdSkew::Missing => {
            definitions(scene).delete(name, &DeleteParams::default()).await?;
            Ok(())
        }
        CrdSkew::UnknownStored => stored_at_another_version(scene).await,
        CrdSkew::NewerMinor => patch(scene, name, &annotated(Some(format!("v{major}.{}.0", minor + 1)))).await,
        CrdSkew::OlderMinor => {
            let older = if minor > 0 {
                format!("v{major}.{}.99", minor - 1)
            } else {
                "v0.0.99".to_owned()
            };
            patch(scene, name, &annotated(Some(older))).await
        }
        CrdSkew::MissingFields => {
            let mut versions = versions();
            fields(&mut versions)?
                .remove(FIELD)
                .context("the schema has no such field")?;
            patch(scene, name, &json!({ "spec": { "versions": versions } })).await
        }
        CrdSkew::NewerPatch => {
            patch(
                scene,
                name,
                &annotated(Some(format!("v{major}.{minor}.{}", program.patch + 1))),
            )
            .await
        }
        // What comes before a release is older than it.
        CrdSkew::OlderPatch => patch(scene, name, &annotated(Some(format!("v{program}-rc.1")))).await,
        CrdSkew::UnknownOrigin => patch(scene, name, &annotated(None)).await,
        CrdSkew::Same => Ok(()),
    }
}

/// As a later Instar would have it that has written objects again at a version of its own.
async fn stored_at_another_version(scene: &JourneyContext) -> Result<()> {
    let mut versions = versions();
    let mut later = versions[0].clone();
    later["name"] = json!("v1alpha9");
    later["storage"] = json!(false);
    versions.as_array_mut().context("it has no versions")?.push(later);
    patch(scene, DEFINITION.name(), &json!({ "spec": { "versions": versions } })).await?;
    let stored = json!({ "status": { "storedVersions": [versions[0]["name"], "v1alpha9"] } });
    let api = definitions(scene);
    api.patch_status(DEFINITION.name(), &PatchParams::default(), &Patch::Merge(&stored))
        .await?;
    Ok(())
}

/// The definition as the program has it, whatever it was.
async fn reset(scene: &JourneyContext) -> Result<()> {
    let api = definitions(scene);
    if let Some(found) = api.get_opt(DEFINITION.name()).await? {
        let versions = versions();
        let stored = found
            .status
            .and_then(|status| status.stored_versions)
            .unwrap_or_default();
        if stored.len() > 1 {
            let only = json!({ "status": { "storedVersions": [versions[0]["name"]] } });
            api.patch_status(DEFINITION.name(), &PatchParams::default(), &Patch::Merge(&only))
                .await?;
        }
    }
    let (done, said) = instar(scene, &["crd", "--apply"]).await?;
    anyhow::ensure!(done, "{said}");
    Ok(())
}

fn definitions(scene: &JourneyContext) -> Api<CustomResourceDefinition> {
    Api::all(scene.mgmt.client())
}

fn versions() -> Value {
    DEFINITION.object()["spec"]["versions"].clone()
}

fn fields(versions: &mut Value) -> Result<&mut serde_json::Map<String, Value>> {
    let spec = versions.pointer_mut("/0/schema/openAPIV3Schema/properties/spec/properties");
    spec.and_then(Value::as_object_mut)
        .context("the schema of spec has no properties")
}
