//! The presets of `config/gates`, through the states of their objects on a real API server.

use std::{collections::BTreeMap, fs};

use instar_api::{HealthReason, VERSION_ANNOTATION};
use instar_e2e::{
    Context, Result,
    support::{
        classic,
        journeys::JourneyContext,
        upgrade::{UPGRADE, annotate, upgrade},
    },
    wait::wait_for,
};
use kube::{ResourceExt, discovery::ApiResource};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::addons::{
    Observed, SHAPE, catalog, completed, config_map, define, git, let_account, let_it_look, observed_by_account,
    preset, root,
};

/// A state of a preset's object, as the tests of the presets have it.
#[derive(Deserialize)]
struct State {
    metadata: Value,
    #[serde(default)]
    spec: Value,
    status: Value,
    #[serde(rename = "in progress")]
    in_progress: Option<String>,
    failed: Option<String>,
}

/// A preset's add-on, where it looks, and the states of that.
struct Preset {
    addon: Value,
    observed: Observed,
    states: Vec<State>,
}

impl Preset {
    fn name(&self) -> &str {
        self.addon["name"].as_str().unwrap_or_default()
    }

    fn spec(state: &State) -> Value {
        if state.spec.is_null() {
            json!({})
        } else {
            state.spec.clone()
        }
    }

    /// Whether the state has what is set for the add-on: another value there would be a conflict.
    fn has_what_is_set(&self, state: &State) -> bool {
        let field = &self.addon["write"]["field"];
        let pointer = field["pointer"].as_str();
        pointer.is_none_or(|pointer| state.spec.pointer(pointer.trim_start_matches("/spec")) == Some(&field["value"]))
    }
}

/// The generations of a status, as the object's own generation has them.
fn at_generation(status: &Value, of_state: i64, of_object: i64) -> Value {
    match status {
        Value::Object(members) => {
            let moved = members.iter().map(|(name, value)| {
                let value = match value.as_i64() {
                    Some(number) if name.ends_with("Generation") => json!(number - of_state + of_object),
                    Some(_) | None => at_generation(value, of_state, of_object),
                };
                (name.clone(), value)
            });
            Value::Object(moved.collect())
        }
        Value::Array(items) => items
            .iter()
            .map(|item| at_generation(item, of_state, of_object))
            .collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => status.clone(),
    }
}

/// Each preset of `config/gates`, through the states of its object on a real API server: before the control plane, all at
/// the same time, while one more gate holds what they let through.
pub(crate) async fn in_each_state(scene: JourneyContext) -> Result<()> {
    let rows = scene.rows()?;
    let presets = presets(&scene).await?;
    classic::create_with(&scene, &rows, &SHAPE).await?;
    let addons = presets.iter().map(|preset| preset.addon.clone()).collect();
    catalog(&scene, &rows, "presets", addons).await?;
    let_it_look(&scene).await?;
    let_account(&scene, &observed_by_account()).await?;
    git(&scene, "v4.3.11").await?;
    config_map(&scene, "no").await?;
    annotate(&scene, VERSION_ANNOTATION, &rows.version(34)).await?;

    for preset in presets
        .iter()
        .filter(|preset| preset.addon["write"]["field"].is_object())
    {
        sets_its_field(&scene, preset).await?;
    }
    let most = presets
        .iter()
        .map(|preset| preset.states.len())
        .max()
        .unwrap_or_default();
    assert!(most > 3, "{most}");
    for number in 0..most {
        let at = |preset: &Preset| {
            preset
                .states
                .get(number)
                .is_some_and(|state| preset.has_what_is_set(state))
        };
        let these: Vec<&Preset> = presets.iter().filter(|preset| at(preset)).collect();
        for preset in &these {
            put(&scene, preset, &preset.states[number]).await?;
        }
        for preset in these {
            says(&scene, preset, &preset.states[number]).await?;
        }
    }
    for preset in &presets {
        let ready = |state: &&State| state.in_progress.is_none() && state.failed.is_none();
        let state = preset.states.iter().find(ready).context("a state that is ready")?;
        put(&scene, preset, state).await?;
    }
    config_map(&scene, "yes").await?;
    completed(&scene).await
}

async fn put(scene: &JourneyContext, preset: &Preset, state: &State) -> Result<()> {
    let of_state = state.metadata["generation"].as_i64().unwrap_or_default();
    let spec = Preset::spec(state);
    let status = |of_object| at_generation(&state.status, of_state, of_object);
    preset.observed.is(scene, &spec, status).await
}

/// Waits until the record says of an add-on what its state comes to.
async fn says(scene: &JourneyContext, preset: &Preset, state: &State) -> Result<()> {
    let about = format!("add-on {} of", preset.name());
    let (reason, text) = match (&state.in_progress, &state.failed) {
        (Some(text), _) => (HealthReason::AddonNotReady, text.as_str()),
        (None, Some(text)) => (HealthReason::AddonFailed, text.as_str()),
        (None, None) => return lets_through(scene, &about).await,
    };
    // The generations are the object's own here.
    let generation = "its status is of generation";
    let text = if text.contains(generation) { generation } else { text };
    wait_for(&format!("{about} to say {text:?}"), UPGRADE, || async {
        let status = upgrade(scene)
            .await?
            .and_then(|record| record.status)
            .unwrap_or_default();
        let mut rows = status.health.iter().filter(|row| row.message.starts_with(&about));
        // A long message is cut.
        match rows.next() {
            Some(row) if row.reason == reason.as_str() && row.message.contains(text) => Ok(()),
            row => Err(format!("{row:#?}").into()),
        }
    })
    .await
}

async fn lets_through(scene: &JourneyContext, about: &str) -> Result<()> {
    wait_for(&format!("{about} to let through"), UPGRADE, || async {
        let status = upgrade(scene)
            .await?
            .and_then(|record| record.status)
            .unwrap_or_default();
        match status.health.iter().find(|row| row.message.starts_with(about)) {
            None if status.health.is_empty() => Err("no row at all".into()),
            None => Ok(()),
            Some(row) => Err(format!("{row:#?}").into()),
        }
    })
    .await
}

/// An object without the field gets it.
async fn sets_its_field(scene: &JourneyContext, preset: &Preset) -> Result<()> {
    let field = &preset.addon["write"]["field"];
    let pointer = field["pointer"].as_str().context("a pointer")?;
    preset.observed.is(scene, &json!({}), |_| json!({})).await?;
    let api = preset.observed.api(scene);
    wait_for(&format!("{} to be set", preset.name()), UPGRADE, || async {
        let object = api.get(&preset.observed.name).await?;
        let managed = object
            .managed_fields()
            .iter()
            .filter_map(|entry| entry.manager.as_deref());
        let by: Vec<&str> = managed.collect();
        if object.data.pointer(pointer) == Some(&field["value"])
            && by.iter().any(|manager| manager.starts_with("instar-addon-"))
        {
            Ok(())
        } else {
            Err(format!("{} by {by:?}", object.data["spec"]).into())
        }
    })
    .await
}

/// The presets with their kinds defined, looking into the journey's namespace before the control plane.
async fn presets(scene: &JourneyContext) -> Result<Vec<Preset>> {
    let mut presets = Vec::new();
    for file in [
        "argo-cd",
        "cilium",
        "flux",
        "helm-chart-proxy",
        "kube-ovn",
        "milvus",
        "spice",
        "vespa",
    ] {
        let [role, list] = preset(file)?;
        let path = root().join(format!("crates/addons/tests/presets/states/{file}.yaml"));
        let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        let mut states: BTreeMap<String, Vec<State>> = serde_saphyr::from_str(&text)?;
        let addons = list["spec"].get("addons").or_else(|| list["spec"].get("gates"));
        for addon in addons.and_then(Value::as_array).context("a list")? {
            // Of its own kinds an API server asks more than the states have.
            let api_version = addon["observe"]["apiVersion"].as_str().unwrap_or_default();
            if ["apps/v1", "apiextensions.k8s.io/v1"].contains(&api_version) {
                continue;
            }
            let mut addon = addon.clone();
            addon["when"] = json!("BeforeControlPlane");
            addon["settle"] = json!("2s");
            addon["observe"]["namespace"] = json!(scene.namespace);
            if addon["write"]["field"].is_object() {
                addon["write"]["field"]["namespace"] = json!(scene.namespace);
            }
            // In turn they would take as long as all of them.
            if let Some(members) = addon.as_object_mut() {
                members.remove("dependsOn");
            }
            let text = |of: &str| addon["observe"][of].as_str().unwrap_or_default().to_owned();
            let resource = resource(scene, &role, &text("apiVersion"), &text("kind")).await?;
            let name = addon["name"].as_str().unwrap_or_default();
            presets.push(Preset {
                states: states.remove(name).with_context(|| format!("states of {name}"))?,
                observed: Observed {
                    resource,
                    namespace: Some(scene.namespace.clone()),
                    name: text("name"),
                },
                addon,
            });
        }
    }
    Ok(presets)
}

/// The resource of a kind, by the preset's role; what the API server doesn't know is defined.
async fn resource(scene: &JourneyContext, role: &Value, api_version: &str, kind: &str) -> Result<ApiResource> {
    let stem = kind.to_lowercase();
    let resources = role["rules"].as_array().into_iter().flatten().flat_map(|rule| {
        let named = rule["resources"].as_array().into_iter().flatten();
        named.filter_map(Value::as_str)
    });
    let mut plurals = resources.filter(|plural| {
        [
            format!("{stem}s"),
            format!("{stem}es"),
            stem.trim_end_matches('y').to_owned() + "ies",
        ]
        .contains(&(*plural).to_owned())
    });
    let plural = plurals.next().with_context(|| format!("the role has no {kind}"))?;
    define(scene, api_version, kind, plural).await
}
