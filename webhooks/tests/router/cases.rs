//! Every case of every rule, with the world's objects as all that is known.

use std::collections::BTreeSet;

use instar_admission::{GuardedKind, Rule, upgrade::Right};
use instar_testkit::{Action, Case, CaseFile, NAMESPACE, Rights, Scene, Sent, World, all, broken_rules, says};
use instar_webhooks::Route;
use serde_json::{Value, json};

use crate::asked::{App, patched};

/// The UID of the object that is edited.
const UID: &str = "the-object";

/// What an API server makes of an action: the request, and which guard it is for.
struct Asked {
    mutating: Option<Route>,
    /// They are called side by side: at most one of them refuses.
    validating: Vec<Route>,
    request: Value,
    defaulted: Option<Value>,
}

impl Asked {
    fn new(world: &World, case: &Case) -> Self {
        let of = |key| world.object(key).unwrap();
        let (operation, old, new) = match &case.action {
            Action::Edit { object, patch } | Action::Status { object, patch } => {
                let old = of(object);
                let mut new = old.clone();
                json_patch::merge(&mut new, patch);
                ("UPDATE", Some(old), Some(new))
            }
            Action::Create(object) => ("CREATE", None, Some(world.placed(object))),
            Action::Delete(object) => ("DELETE", Some(of(object)), None),
        };
        let (old, new) = match old {
            Some(old) => (Some(identified(old)), new.map(identified)),
            None => (None, new),
        };
        let object = new.as_ref().or(old.as_ref()).unwrap();
        let kind = object["kind"].as_str().unwrap();
        let (group, version) = object["apiVersion"].as_str().unwrap().split_once('/').unwrap();
        let kind_of = json!({"group": group, "version": version, "kind": kind});
        let request = json!({
            "operation": operation,
            "kind": kind_of,
            "requestKind": kind_of,
            "name": object["metadata"]["name"],
            "namespace": object["metadata"]["namespace"].as_str().unwrap_or_default(),
            "userInfo": {"username": case.user.as_deref().unwrap_or("kubernetes-admin"), "groups": ["system:authenticated"]},
            "dryRun": case.dry_run,
            "object": new,
            "oldObject": old,
        });
        let guard = guard(kind);
        // The condition of the configuration.
        let brings_along = [
            "/metadata/annotations/upgrade.cluster.x-k8s.io~1releases",
            "/spec/controlPlaneRef",
        ];
        let is_restored = guard == GuardedKind::Cluster
            && operation == "CREATE"
            && case.rights == Rights::Everywhere
            && brings_along.iter().any(|field| object.pointer(field).is_some());
        let lets_through = [
            ("/spec/preflight/skip", Right::Override),
            ("/spec/overrideWindow", Right::Override),
            ("/spec/approvals", Right::Approve),
        ];
        let lacking = lets_through.into_iter().filter(|(field, _)| {
            guard == GuardedKind::ClusterUpgrade && case.rights == Rights::Upgrades && object.pointer(field).is_some()
        });
        let lacking = lacking.map(|(_, right)| Route::ValidateUpgradeWithout(right));
        let may_override = match case.rights {
            Rights::Everywhere | Rights::Namespace => true,
            Rights::Templates | Rights::Upgrades | Rights::ClusterApi => false,
        };
        let has_marks = [
            "Cluster",
            "KubeadmControlPlane",
            "MachineDeployment",
            "MachinePool",
            "ClusterUpgrade",
        ];
        let of_marks = (operation == "UPDATE" && !may_override && has_marks.contains(&kind))
            .then_some(Route::Validate(GuardedKind::Marks));
        let (mutating, validating) = if is_restored {
            (Some(Route::MutateRestoredCluster), Route::ValidateRestoredCluster)
        } else {
            let is_asked = guard != GuardedKind::MachineTemplate || operation == "UPDATE";
            let is_moved = operation == "DELETE"
                && case.rights != Rights::Templates
                && object
                    .pointer("/metadata/annotations/clusterctl.cluster.x-k8s.io~1delete-for-move")
                    .is_some()
                && matches!(
                    guard,
                    GuardedKind::MachineTemplate | GuardedKind::BootstrapTemplate | GuardedKind::OtherTemplate
                );
            let validating = if is_moved {
                Route::ValidateMovedTemplate
            } else {
                Route::Validate(guard)
            };
            (Route::mutating(guard).filter(|_| is_asked), validating)
        };
        Self {
            mutating,
            validating: [validating].into_iter().chain(lacking).chain(of_marks).collect(),
            request,
            defaulted: case.defaulted.clone(),
        }
    }
}

fn identified(mut object: Value) -> Value {
    object["metadata"]["uid"] = json!(UID);
    // An API server counts from one.
    object["metadata"]["generation"] = json!(1);
    object
}

fn guard(kind: &str) -> GuardedKind {
    match kind {
        "Cluster" => GuardedKind::Cluster,
        "MachineDeployment" | "MachineSet" | "MachinePool" | "Machine" => GuardedKind::Worker,
        "ClusterClass" => GuardedKind::ClusterClass,
        "KubeadmConfigTemplate" => GuardedKind::BootstrapTemplate,
        "KubernetesRelease" => GuardedKind::KubernetesRelease,
        "ClusterUpgrade" => GuardedKind::ClusterUpgrade,
        "UpgradePolicy" => GuardedKind::UpgradePolicy,
        _ if kind.ends_with("ControlPlane") => GuardedKind::ControlPlane,
        _ if kind.ends_with("MachineTemplate") => GuardedKind::MachineTemplate,
        _ if kind.ends_with("Template") => GuardedKind::OtherTemplate,
        _ => panic!("{kind} is not guarded"),
    }
}

/// What was said to an edit, the mutating half and the validating one together.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    refused: Option<(u64, String, String)>,
    warnings: Vec<String>,
}

impl Said {
    fn expected(case: &Case) -> Self {
        let refused = case.expected.refused.as_ref();
        Self {
            refused: refused.map(|refusal| (refusal.code.into(), refusal.reason.clone(), refusal.message(NAMESPACE))),
            warnings: case.expected.warnings(NAMESPACE),
        }
    }

    fn add(&mut self, response: &Value) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let warnings = response["warnings"].as_array().into_iter().flatten().map(text);
        self.warnings.extend(warnings);
        if response["allowed"] != true {
            let status = &response["status"];
            let code = status["code"].as_u64().unwrap_or_default();
            self.refused = Some((code, text(&status["reason"]), text(&status["message"])));
        }
    }
}

async fn say(app: &App, mut asked: Asked) -> Said {
    let mut said = Said {
        refused: None,
        warnings: Vec::new(),
    };
    if let Some(route) = asked.mutating {
        let response = app.review(route, asked.request.clone()).await;
        said.add(&response);
        if said.refused.is_some() {
            return said;
        }
        if response.get("patch").is_some() {
            asked.request["object"] = patched(&asked.request["object"], &response);
        }
    }
    if let Some(defaulted) = &asked.defaulted {
        json_patch::merge(&mut asked.request["object"], defaulted);
    }
    // A new object has its UID when it is validated.
    if asked.request["object"].is_object() {
        asked.request["object"] = identified(asked.request["object"].take());
    }
    for route in asked.validating {
        said.add(&app.review(route, asked.request.clone()).await);
    }
    said
}

fn files() -> Vec<CaseFile> {
    all().unwrap()
}

/// The files of all rules, or of the one that `INSTAR_RULE` names.
fn chosen_files() -> Vec<CaseFile> {
    let mut files = files();
    if let Ok(id) = std::env::var("INSTAR_RULE") {
        let rule: Rule = id.parse().unwrap();
        files.retain(|file| file.rule == rule);
    }
    files
}

#[tokio::test]
async fn each_case_is_decided_as_it_says() {
    let mut wrong = Vec::new();
    for Scene { name, world, cases, .. } in chosen_files().into_iter().flat_map(|file| file.scenes) {
        let app = App::new(&world);
        for case in cases {
            // What the API server keeps to itself is seen on a real one.
            if case.sent == Sent::Unasked {
                continue;
            }
            let (said, expected) = (say(&app, Asked::new(&world, &case)).await, Said::expected(&case));
            if said != expected {
                wrong.push(format!(
                    "{name}, {}\n  said     {said:?}\n  expected {expected:?}",
                    case.name
                ));
            }
            let rung = app.rung.take();
            assert!(rung.iter().all(|broken| broken.uid == UID), "{rung:?}");
            let rung: BTreeSet<Rule> = rung.into_iter().map(|broken| broken.finding.rule).collect();
            let is_broken = said.warnings.iter().any(|line| line.starts_with("break-glass: "));
            assert_eq!(
                !rung.is_empty(),
                is_broken && !case.dry_run,
                "{name}, {}: {rung:?}",
                case.name
            );
        }
    }
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// The rules that a case breaks, by what is said.
fn broken(case: &Case) -> BTreeSet<Rule> {
    broken_rules(case.expected.texts())
}

#[test]
fn no_rule_is_without_a_case_that_breaks_it_and_one_that_does_not() {
    let files = files();
    let rules: Vec<Rule> = files.iter().map(|file| file.rule).collect();
    assert_eq!(rules, Rule::ALL, "the rules that have a file");
    for CaseFile { rule, scenes } in &files {
        let cases = || scenes.iter().flat_map(|scene| &scene.cases);
        assert!(cases().any(|case| broken(case).contains(rule)), "nothing breaks {rule}");
        let keeps = |case: &&Case| case.expected.refused.is_none() && !broken(case).contains(rule);
        assert!(cases().any(|case| keeps(&case)), "nothing keeps {rule}");
    }
}

#[test]
fn the_table_has_every_message() {
    let cases = files()
        .into_iter()
        .flat_map(|file| file.scenes)
        .flat_map(|scene| scene.cases);
    let texts = cases.flat_map(|case| case.expected.texts().map(ToOwned::to_owned).collect::<Vec<_>>());
    let unknown: Vec<String> = texts.filter(|text| text.contains("[rule ") && !says(text)).collect();
    assert!(unknown.is_empty(), "the table has nothing of\n{}", unknown.join("\n"));
}
