//! The presets of `config/gates`, through the states of their objects on a real API server.

use std::{collections::BTreeMap, fs};

use futures::future::try_join;
use instar_api::{CATALOG_LABEL, HealthReason, VERSION_ANNOTATION};
use instar_e2e::{
    Context, Result,
    support::{
        catalog::Rows,
        classic::{self, NAME},
        fixtures::{CLUSTER_CLASS, TopologyCluster},
        gates,
        journeys::JourneyContext,
        topology,
        upgrade::{UPGRADE, annotate, upgrade},
    },
    wait::wait_for,
};
use jiff::{SignedDuration, Timestamp};
use kube::{ResourceExt, discovery::ApiResource};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::addons::{
    Observed, ROLE, SHAPE, catalog, config_map, define, git, let_it_look, observed_by_account, preset, root, rows_of,
};

/// The time at which the states are what they are.
const NOON: &str = "2026-12-01T12:00:00Z";

const AHEAD: SignedDuration = SignedDuration::from_hours(1);

/// A state of a preset's object, as the tests of the presets have it.
#[derive(Clone, Deserialize)]
struct State {
    metadata: Value,
    #[serde(default)]
    spec: Value,
    status: Value,
    #[serde(rename = "in progress")]
    in_progress: Option<String>,
    failed: Option<String>,
}

impl State {
    fn is_ready(&self) -> bool {
        self.in_progress.is_none() && self.failed.is_none()
    }
}

/// A preset's add-on, where it looks, the states of that, and the one in which it ends.
struct Preset {
    addon: Value,
    observed: Observed,
    states: Vec<State>,
    ready: State,
}

/// How many states an object goes through: for those of a preset that has more there is another one at the same time.
const IN_TURN: usize = 4;

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

/// How a state's status becomes that of an object: its generation, and the time, are the object's own.
struct Moved {
    generations: i64,
    times: SignedDuration,
}

impl Moved {
    fn of(&self, status: &Value) -> Value {
        match status {
            Value::Object(members) => {
                let moved = members.iter().map(|(name, value)| {
                    let value = match value.as_i64() {
                        Some(number) if name.ends_with("Generation") => json!(number + self.generations),
                        Some(_) | None => self.of(value),
                    };
                    (name.clone(), value)
                });
                Value::Object(moved.collect())
            }
            Value::Array(items) => items.iter().map(|item| self.of(item)).collect(),
            Value::String(text) => match text.parse::<Timestamp>() {
                Ok(time) => json!(time + self.times),
                Err(_) => status.clone(),
            },
            Value::Null | Value::Bool(_) | Value::Number(_) => status.clone(),
        }
    }
}

/// The sort of Cluster that is upgraded.
#[derive(Clone, Copy, Debug)]
enum Sort {
    Classic,
    Topology,
}

impl Sort {
    /// A Cluster with these add-ons in its next release, running.
    async fn create(self, scene: &JourneyContext, rows: &Rows, addons: Value) -> Result<()> {
        match self {
            Self::Classic => {
                classic::create_with(scene, rows, &SHAPE).await?;
                catalog(scene, rows, "presets", addons).await
            }
            Self::Topology => {
                let catalog = "topology-presets";
                let rows_of_catalog = rows_of(rows, catalog, &addons);
                topology::apply_rows(scene, &rows_of_catalog).await?;
                let class = "kind: ClusterClass\nmetadata:\n";
                let labelled = format!("{class}  labels:\n    {CATALOG_LABEL}: {catalog}\n");
                let class = CLUSTER_CLASS.replace(class, &labelled);
                topology::apply_wired(scene, &class, &rows_of_catalog).await?;
                let cluster = TopologyCluster {
                    name: NAME,
                    version: &rows.version(33),
                    control_planes: SHAPE.control_plane,
                    workers: SHAPE.pools,
                };
                topology::create(scene, &cluster).await
            }
        }
    }

    async fn ask(self, scene: &JourneyContext, target: &str) -> Result<()> {
        match self {
            Self::Classic => annotate(scene, VERSION_ANNOTATION, target).await,
            Self::Topology => {
                let record = json!({
                    "apiVersion": "upgrade.cluster.x-k8s.io/v1alpha1",
                    "kind": "ClusterUpgrade",
                    "metadata": { "name": "up" },
                    "spec": { "clusterName": NAME, "target": target },
                });
                scene.apply_object(record).await.map(drop)
            }
        }
    }

    /// The version to which the upgrade has gone on.
    async fn version(self, scene: &JourneyContext) -> Result<Value> {
        Ok(match self {
            Self::Classic => classic::control_planes(scene).get(NAME).await?.data["spec"]["version"].clone(),
            Self::Topology => topology::clusters(scene).get(NAME).await?.data["spec"]["topology"]["version"].clone(),
        })
    }
}

/// Each preset of `config/gates`, through the states of its object on a real API server, for a Cluster of each sort.
pub(crate) async fn in_each_state(scene: JourneyContext) -> Result<()> {
    let another = scene.within(&scene.another_namespace(BTreeMap::new()).await?);
    try_join(of_sort(&scene, Sort::Classic), of_sort(&another, Sort::Topology)).await?;
    Ok(())
}

/// Before the control plane, all at the same time, while one more gate holds what they let through.
async fn of_sort(scene: &JourneyContext, sort: Sort) -> Result<()> {
    let rows = scene.rows()?;
    let presets = presets(scene).await?;
    let addons = presets.iter().map(|preset| preset.addon.clone()).collect();
    sort.create(scene, &rows, addons).await?;
    let_it_look(scene).await?;
    gates::let_account(scene, ROLE, &observed_by_account()).await?;
    git(scene, "v4.3.11").await?;
    config_map(scene, "no").await?;
    sort.ask(scene, &rows.version(34)).await?;

    for preset in presets
        .iter()
        .filter(|preset| preset.addon["write"]["field"].is_object())
    {
        sets_its_field(scene, preset).await?;
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
            put(scene, preset, &preset.states[number]).await?;
        }
        for preset in these {
            says(scene, preset, &preset.states[number]).await?;
        }
    }
    for preset in &presets {
        put(scene, preset, &preset.ready).await?;
    }
    config_map(scene, "yes").await?;
    wait_for(&format!("the upgrade to go on ({sort:?})"), UPGRADE, || async {
        if sort.version(scene).await? == rows.version(34) {
            return Ok(());
        }
        let status = upgrade(scene).await?.and_then(|record| record.status);
        Err(format!("{:#?}", status.unwrap_or_default().health).into())
    })
    .await
}

async fn put(scene: &JourneyContext, preset: &Preset, state: &State) -> Result<()> {
    let of_state = state.metadata["generation"].as_i64().unwrap_or_default();
    let since = Timestamp::now().duration_since(NOON.parse()?);
    // What isn't ready by the time alone stays so, however slow the machine is.
    let times = if state.is_ready() { since } else { since + AHEAD };
    let status = |of_object| {
        let generations = of_object - of_state;
        Moved { generations, times }.of(&state.status)
    };
    preset.observed.is(scene, &Preset::spec(state), status).await
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
            let text = |of: &str| addon["observe"][of].as_str().unwrap_or_default();
            let resource = resource(scene, &role, text("apiVersion"), text("kind")).await?;
            let name = addon["name"].as_str().unwrap_or_default();
            let states = states.remove(name).with_context(|| format!("states of {name}"))?;
            let ready = states.iter().find(|state| state.is_ready());
            let ready = ready.context("a state that is ready")?;
            for (number, states) in states.chunks(IN_TURN).enumerate() {
                let addon = another(&addon, number);
                presets.push(Preset {
                    observed: Observed {
                        resource: resource.clone(),
                        namespace: Some(scene.namespace.clone()),
                        name: addon["observe"]["name"].as_str().unwrap_or_default().to_owned(),
                    },
                    addon,
                    states: states.to_vec(),
                    ready: ready.clone(),
                });
            }
        }
    }
    Ok(presets)
}

/// The same add-on for an object of another name.
fn another(addon: &Value, number: usize) -> Value {
    let mut another = addon.clone();
    if number > 0 {
        for pointer in ["/name", "/observe/name", "/write/field/name"] {
            if let Some(Value::String(name)) = another.pointer_mut(pointer) {
                *name = format!("{name}-{number}");
            }
        }
    }
    another
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
