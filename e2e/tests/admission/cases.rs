//! Every case of every rule (`webhooks/cases`), on real objects and with real requests.
//!
//! The objects are made in a namespace that keeps out of admission, since some are what a rule would
//! have refused, and the namespace comes under admission when all of them are there. Cluster API's
//! controllers and Instar's own look away, so that nothing moves; their webhooks answer.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::ensure;
use futures::{StreamExt, TryStreamExt, future::try_join_all, stream};
use instar_api::ClusterUpgrade;
use instar_e2e::{
    Context, Result,
    failure::describe,
    kubeconfig::client_as,
    progress::{say, spoken},
    support::{
        commands::kubectl,
        fixtures::core_kind,
        journeys::JourneyContext,
        metrics::admission_requests,
        request::{ApiRequest, ApiResponse, Verb},
        topology::releases,
    },
    wait::{Seen, wait_for},
};
use instar_testkit::{Action, Case, Key, Rights, Scene as Play, Sent};
use k8s_openapi::api::{
    core::v1::Namespace,
    rbac::v1::{Role, RoleBinding},
};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    core::{DynamicObject, TypeMeta},
    discovery::{ApiResource, Scope},
};
use serde_json::{Value, json};

/// The label by which a namespace keeps out of admission.
const ADMISSION: &str = "upgrade.cluster.x-k8s.io/admission";

/// The group of those who may do anything in the namespaces of the cases, and nothing beside. Also their binding.
const NAMESPACE_ADMINS: &str = "journey:namespace-admins";

/// The group of those who may do anything there with the objects of providers. Also their role and its binding.
const TEMPLATE_EDITORS: &str = "journey:template-editors";
const UPGRADE_EDITORS: &str = "journey:upgrade-editors";
const CLUSTER_API_EDITORS: &str = "journey:cluster-api-editors";

/// What keeps an object that is to be seen while it is being deleted.
const FINALIZER: &str = "journey.example.org/stays";

/// How long Instar may take to have seen what was just made.
const SEEN: Duration = Duration::from_secs(10);

/// How many worlds are made, and asked about, at once.
const AT_ONCE: usize = 8;

/// How long all of a namespace may take to go.
const GONE: Duration = Duration::from_mins(2);

pub(crate) async fn of_every_rule(scene: JourneyContext) -> Result<()> {
    scene.mgmt.controller().stop().await?;
    // Nothing has this label.
    scene.mgmt.look_at(Some("journey.example.org")).await?;
    let mut namespaces = Vec::new();
    let result = all(&scene, &mut namespaces).await;
    try_join_all(namespaces.iter().map(|namespace| remove(&scene, namespace))).await?;
    for row in releases(&scene).list(&ListParams::default()).await? {
        let name = row.metadata.name.context("a row's name")?;
        wait_for("a row to be no longer needed", SEEN, || async {
            releases(&scene).delete(&name, &DeleteParams::default()).await?;
            Ok(())
        })
        .await?;
    }
    scene.mgmt.look_at(None).await?;
    scene.mgmt.controller().start().await?;
    result
}

async fn all(scene: &JourneyContext, namespaces: &mut Vec<String>) -> Result<()> {
    ensure!(
        releases(scene).list(&ListParams::default()).await?.items.is_empty(),
        "the catalog of the cases is the only one"
    );
    let began = Instant::now();
    let (mut places, mut impossible) = (Vec::new(), Vec::new());
    for play in instar_testkit::all()?.into_iter().flat_map(|file| file.scenes) {
        if let Some(why) = &play.impossible {
            impossible.extend(
                play.cases
                    .iter()
                    .map(|case| format!("{}, {}: {why}", play.name, case.name)),
            );
            continue;
        }
        let namespace = scene
            .another_namespace(BTreeMap::from([(ADMISSION.to_owned(), "disabled".to_owned())]))
            .await?;
        namespaces.push(namespace.clone());
        places.push(Place {
            scene: scene.clone(),
            namespace,
            play: Arc::new(play),
        });
    }
    // The first one makes the catalog for all.
    let (first, others) = places.split_first().context("there are cases")?;
    first.make().await?;
    let made = stream::iter(others.to_vec())
        .map(|place| async move { place.make().await })
        .buffer_unordered(AT_ONCE);
    made.try_collect::<Vec<()>>().await?;
    say(format!(
        "cases: {} worlds made in {}",
        places.len(),
        spoken(began.elapsed())
    ));

    let mut wrong: Vec<String> = stream::iter(places.clone())
        .map(|place| async move { place.asked().await })
        .buffer_unordered(AT_ONCE)
        .concat()
        .await;
    // Nobody else may ask, so that none of these is seen to be asked for.
    for place in &places {
        wrong.extend(place.unasked().await);
    }
    let count: usize = places.iter().map(|place| place.play.cases.len()).sum();
    say(format!(
        "cases: {count} asked in {}, {} can't be made here",
        spoken(began.elapsed()),
        impossible.len()
    ));
    for case in impossible {
        say(format!("cases: left out: {case}"));
    }
    ensure!(
        wrong.is_empty(),
        "{} of {count} are wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    Ok(())
}

/// A namespace with a world in it.
#[derive(Clone)]
struct Place {
    scene: JourneyContext,
    namespace: String,
    play: Arc<Play>,
}

impl Place {
    async fn kind(&self, object: &Value) -> Result<(ApiResource, Option<&str>)> {
        let text = |field: &str| object[field].as_str().unwrap_or_default().to_owned();
        let types = TypeMeta {
            api_version: text("apiVersion"),
            kind: text("kind"),
        };
        let (resource, scope) = self.scene.mgmt.applier().kind(&types).await?;
        let namespace = match scope {
            Scope::Cluster => None,
            Scope::Namespaced => Some(self.namespace.as_str()),
        };
        Ok((resource, namespace))
    }

    async fn ask(
        &self,
        client: &Client,
        object: &Value,
        name: &str,
        verb: Verb<'_>,
        is_dry_run: bool,
    ) -> Result<ApiResponse> {
        let (resource, namespace) = self.kind(object).await?;
        let ask = ApiRequest {
            resource: &resource,
            namespace,
            name,
            verb,
            is_dry_run,
        };
        ask.send(client).await
    }

    /// Makes the objects, and then lets admission look at the namespace.
    async fn make(&self) -> Result<()> {
        for (key, object) in self.play.world.objects() {
            let what = || format!("{key} of {}", self.play.name);
            self.create(key, object).await.with_context(what)?;
        }
        let bindings: Api<RoleBinding> = Api::namespaced(self.scene.mgmt.client(), &self.namespace);
        let binding: RoleBinding = serde_json::from_value(json!({
            "metadata": { "name": NAMESPACE_ADMINS },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin" },
            "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": NAMESPACE_ADMINS }],
        }))?;
        bindings.create(&PostParams::default(), &binding).await?;
        let roles: Api<Role> = Api::namespaced(self.scene.mgmt.client(), &self.namespace);
        let editors = [
            (
                TEMPLATE_EDITORS,
                &["infrastructure.cluster.x-k8s.io", "bootstrap.cluster.x-k8s.io"][..],
                "*",
                &["*"][..],
            ),
            (
                UPGRADE_EDITORS,
                &[instar_api::GROUP],
                "clusterupgrades",
                &["get", "list", "watch", "create", "update", "patch", "delete"],
            ),
            (
                CLUSTER_API_EDITORS,
                &["cluster.x-k8s.io", "controlplane.cluster.x-k8s.io"],
                "*",
                &["*"],
            ),
        ];
        for (name, groups, resource, verbs) in editors {
            let role: Role = serde_json::from_value(json!({
                "metadata": { "name": name },
                "rules": [{ "apiGroups": groups, "resources": [resource], "verbs": verbs }],
            }))?;
            roles.create(&PostParams::default(), &role).await?;
            let binding: RoleBinding = serde_json::from_value(json!({
                "metadata": { "name": name },
                "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name },
                "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": name }],
            }))?;
            bindings.create(&PostParams::default(), &binding).await?;
        }
        let api: Api<Namespace> = Api::all(self.scene.mgmt.client());
        let patch = Patch::Merge(json!({ "metadata": { "labels": { ADMISSION: null } } }));
        api.patch(&self.namespace, &PatchParams::default(), &patch).await?;
        Ok(())
    }

    async fn create(&self, key: &Key, object: &Value) -> Result<()> {
        let client = self.scene.mgmt.client();
        let mut object = object.clone();
        let metadata = object["metadata"].as_object_mut().context("metadata")?;
        let is_deleted = metadata.remove("deletionTimestamp").is_some();
        if is_deleted {
            metadata.insert("finalizers".to_owned(), json!([FINALIZER]));
        }
        let status = object.as_object_mut().and_then(|object| object.remove("status"));
        let created = self
            .ask(&client, &object, &key.name, Verb::Create(&object), false)
            .await?;
        // The catalog is there from the first world on.
        if created.code == 409 && key.kind == "KubernetesRelease" {
            return Ok(());
        }
        ensure!(created.code == 201, "{created:?}");
        if let Some(status) = status {
            let subresource = format!("{}/status", key.name);
            let patch = json!({ "status": status });
            let patched = self
                .ask(&client, &object, &subresource, Verb::Merge(&patch), false)
                .await?;
            ensure!(patched.code == 200, "its status: {patched:?}");
        }
        if is_deleted {
            let deleted = self.ask(&client, &object, &key.name, Verb::Delete, false).await?;
            ensure!(deleted.code == 200, "its deletion: {deleted:?}");
        }
        Ok(())
    }

    /// Asks, in the order of the cases, and says what is wrong.
    async fn asked(&self) -> Vec<String> {
        self.try_all(|case| case.sent != Sent::Unasked).await
    }

    /// What doesn't reach the server.
    async fn unasked(&self) -> Vec<String> {
        self.try_all(|case| case.sent == Sent::Unasked).await
    }

    async fn try_all(&self, which: impl Fn(&Case) -> bool) -> Vec<String> {
        let mut wrong = Vec::new();
        for case in self.play.cases.iter().filter(|case| which(case)) {
            if let Err(error) = self.holds(case).await {
                let error = format!("{}, {}: {}", self.play.name, case.name, describe(&error));
                say(format!("cases: {error}"));
                wrong.push(error);
            }
        }
        wrong
    }

    /// Sends the edit until what is said is what the case says, or nothing is left to come.
    async fn holds(&self, case: &Case) -> Result<()> {
        let client = self.client(case).await?;
        if case.sent == Sent::Unasked {
            let before = admission_requests(&self.scene).await?;
            self.says(&self.send(&client, case).await?, case)?;
            let asked = admission_requests(&self.scene).await? - before;
            ensure!(asked == 0, "the server was asked {asked} times");
            return Ok(());
        }
        wait_for("the verdict", SEEN, || async {
            self.says(&self.send(&client, case).await?, case)?;
            Ok(())
        })
        .await?;
        if case.sent == Sent::Written {
            self.is_told_of(case).await?;
        }
        Ok(())
    }

    async fn send(&self, client: &Client, case: &Case) -> Result<ApiResponse> {
        let world = &self.play.world;
        let is_dry_run = case.dry_run || case.sent != Sent::Written;
        match &case.action {
            Action::Edit { object, patch } => {
                let known = world.object(object)?;
                self.ask(client, &known, &object.name, Verb::Merge(patch), is_dry_run)
                    .await
            }
            Action::Status { object, patch } => {
                let (known, path) = (world.object(object)?, format!("{}/status", object.name));
                self.ask(client, &known, &path, Verb::Merge(patch), is_dry_run).await
            }
            Action::Create(object) => self.ask(client, object, "", Verb::Create(object), is_dry_run).await,
            Action::Delete(object) => {
                let known = world.object(object)?;
                self.ask(client, &known, &object.name, Verb::Delete, is_dry_run).await
            }
        }
    }

    /// Compares; Cluster API may say something of its own beside.
    fn says(&self, told: &ApiResponse, case: &Case) -> Result<()> {
        let expected = &case.expected;
        match &expected.refused {
            None => ensure!(told.code < 300, "expected it to be allowed, and it was not: {told:?}"),
            Some(refusal) => {
                let message = refusal.message(&self.namespace);
                let said = told
                    .message
                    .strip_prefix("admission webhook \"")
                    .and_then(|rest| rest.split_once("\" denied the request: "))
                    .filter(|(webhook, _)| webhook.ends_with(".upgrade.cluster.x-k8s.io"));
                let is_it = said.is_some_and(|(_, said)| said == message);
                ensure!(
                    is_it && (told.code, told.reason.as_str()) == (refusal.code, refusal.reason.as_str()),
                    "expected {} {} {message:?}, got {told:?}",
                    refusal.code,
                    refusal.reason
                );
            }
        }
        let (mut ours, mut others) = (expected.warnings(&self.namespace).into_iter().peekable(), Vec::new());
        for warning in &told.warnings {
            if ours.next_if_eq(warning).is_none() {
                others.push(warning);
            }
        }
        let left: Vec<String> = ours.collect();
        ensure!(
            left.is_empty()
                && !others
                    .iter()
                    .any(|warning| warning.contains("[rule") || warning.starts_with("break-glass")),
            "expected the warnings {left:?} more, and got {:?}",
            told.warnings
        );
        Ok(())
    }

    /// Waits until `kubectl describe` of the object tells of the rule that was switched off.
    async fn is_told_of(&self, case: &Case) -> Result<()> {
        let known = match &case.action {
            Action::Edit { object, .. } | Action::Status { object, .. } | Action::Delete(object) => {
                self.play.world.object(object)?
            }
            Action::Create(object) => object.clone(),
        };
        let text = |pointer: &str| known.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let (kind, name) = (text("/kind").to_lowercase(), text("/metadata/name"));
        wait_for("an Event to tell of it", SEEN, || async {
            let described = kubectl(&self.scene, &["-n", &self.namespace, "describe", &kind, name], "").await?;
            let said = format!("{}{}", described.stdout, described.stderr);
            if said.contains("RuleSwitchedOff") && said.contains(" switched off rule ") {
                Ok(())
            } else {
                Err(Seen::from(said))
            }
        })
        .await
    }

    /// The administrator, or whoever the case names, with the rights that it says.
    async fn client(&self, case: &Case) -> Result<Client> {
        let group = match case.rights {
            Rights::Everywhere if case.user.is_none() => return Ok(self.scene.mgmt.client()),
            Rights::Everywhere => "system:masters",
            Rights::Namespace => NAMESPACE_ADMINS,
            Rights::Templates => TEMPLATE_EDITORS,
            Rights::Upgrades => UPGRADE_EDITORS,
            Rights::ClusterApi => CLUSTER_API_EDITORS,
        };
        let user = case.user.as_deref().unwrap_or("namespace-admin");
        client_as(&self.scene.mgmt.run().kubeconfig(), user, group).await
    }
}

/// Deletes a namespace with all that is in it.
async fn remove(scene: &JourneyContext, namespace: &str) -> Result<()> {
    let api: Api<Namespace> = Api::all(scene.mgmt.client());
    let patch = Patch::Merge(json!({ "metadata": { "labels": { ADMISSION: "disabled" } } }));
    api.patch(namespace, &PatchParams::default(), &patch).await?;
    let upgrades = ApiResource::erase::<ClusterUpgrade>(&());
    for kept in [core_kind("Cluster", "clusters"), upgrades] {
        let kept: Api<DynamicObject> = Api::namespaced_with(scene.mgmt.client(), namespace, &kept);
        for object in kept.list(&ListParams::default()).await? {
            let name = object.metadata.name.context("a name")?;
            let patch = Patch::Merge(json!({ "metadata": { "finalizers": null } }));
            kept.patch(&name, &PatchParams::default(), &patch).await?;
        }
    }
    api.delete(namespace, &DeleteParams::default()).await?;
    wait_for(&format!("{namespace} to be gone"), GONE, || async {
        match api.get_opt(namespace).await? {
            None => Ok(()),
            Some(left) => Err(Seen::from(format!("{:?}", left.status))),
        }
    })
    .await
}
