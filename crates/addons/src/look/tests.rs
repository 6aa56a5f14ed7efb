use instar_api::{GatePoint, KubernetesReleaseSpec, SecretNameTemplate};
use serde_json::json;

use super::*;

const TARGET: &str = "v1.35";

fn at(minute: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + 60 * minute).unwrap()
}

fn point() -> AskedPoint {
    AskedPoint {
        when: GatePoint::AfterControlPlane,
        version: "v1.35.2".parse().unwrap(),
        release: Some("v1.35.2-1".to_owned()),
    }
}

fn gate(name: &str, also: &Value) -> Value {
    let mut gate = json!({
        "name": name,
        "when": "AfterControlPlane",
        "observe": { "cluster": "Workload", "apiVersion": "apps/v1", "kind": "DaemonSet", "namespace": "kube-system", "name": name },
        "readyWhen": "status.ready == 1",
        "settle": "1m",
    });
    json_patch::merge(&mut gate, also);
    gate
}

fn release(addons: &Value) -> KubernetesReleaseSpec {
    serde_json::from_value(json!({ "version": "v1.35.2", "addons": addons })).unwrap()
}

/// What is known beside the gates themselves.
struct Known {
    access: WorkloadAccess,
    history: GateHistory,
    readings: GateReadings,
    now: Timestamp,
}

impl Known {
    fn nothing() -> Self {
        Self {
            access: WorkloadAccess::Enabled(SecretNameTemplate::default()),
            history: GateHistory {
                target: TARGET.to_owned(),
                gates: Vec::new(),
            },
            readings: GateReadings::new(),
            now: at(10),
        }
    }

    fn begun(mut self, owner: AddonOwner, name: &str, minute: i64) -> Self {
        let id = AddonId {
            owner,
            name: name.to_owned(),
            when: point().when,
            version: point().version,
        };
        let begun = instar_planner::GateBegun { id, begun: at(minute) };
        self.history.gates.push(begun);
        self
    }

    /// The last look of a list, and when.
    fn read_at(
        mut self,
        (release, gates): (Option<&KubernetesReleaseSpec>, &[Spec]),
        name: &str,
        (verdict, ready): (Verdict, Option<i64>),
        minute: i64,
    ) -> Self {
        let found = self.look(release, gates);
        let of = found.wanted.into_iter().find(|wanted| wanted.id.name == name).unwrap();
        let reading = GateReading {
            at: at(minute),
            verdict,
            ready: ready.map(at),
            of,
        };
        self.readings.insert(reading.of.id.clone(), Arc::new(reading));
        self
    }

    fn read(self, spec: &KubernetesReleaseSpec, name: &str, verdict: Verdict, ready: Option<i64>) -> Self {
        let now = (self.now.as_second() - 1_800_000_000) / 60;
        self.read_at((Some(spec), &[]), name, (verdict, ready), now)
    }

    fn look(&self, release: Option<&KubernetesReleaseSpec>, gates: &[Spec]) -> Found {
        let policies: &[(&str, &[Spec])] = &[("p", gates)];
        look(Asked {
            point: &point(),
            cluster: ("prod", "blue"),
            release,
            policies,
            access: &self.access,
            target: TARGET,
            history: &self.history,
            readings: &self.readings,
            now: self.now,
        })
    }
}

fn of_release() -> AddonOwner {
    AddonOwner::Release("v1.35.2-1".to_owned())
}

fn of_policy() -> AddonOwner {
    AddonOwner::Policy("p".to_owned())
}

/// Each with its state, in a line.
fn said(found: &Found) -> Vec<String> {
    let line = |gate: &AddonGate| match &gate.state {
        AddonState::Open => format!("{} open", gate.id.name),
        AddonState::Due => format!("{} due", gate.id.name),
        AddonState::Closed {
            problem,
            message,
            until,
        } => {
            let until = until.map_or_else(String::new, |until| format!(" until {until}"));
            format!("{} {problem:?}: {message}{until}", gate.id.name)
        }
    };
    found.gates.iter().map(line).collect()
}

fn wanted(found: &Found) -> Vec<&str> {
    found.wanted.iter().map(|wanted| wanted.id.name.as_str()).collect()
}

#[test]
fn what_sets_something_begins_before_it_does() {
    let write = json!({ "write": { "annotation": { "key": "example.org/cni", "value": "v2" } } });
    let spec = release(&json!([gate("cni", &write)]));
    let known = Known::nothing();
    let found = known.look(Some(&spec), &[]);
    assert_eq!(said(&found), ["cni due"]);
    assert_eq!(found.wanted[0].write, None);
    let known = known.begun(of_release(), "cni", 5);
    let found = known.look(Some(&spec), &[]);
    assert_eq!(said(&found), ["cni NotReady: it is being looked at"]);
    assert_eq!(wanted(&found), ["cni"]);
    let target = found.wanted[0].write.as_ref().unwrap();
    assert_eq!(
        (target.object(), target.value()),
        ("Cluster prod/blue".to_owned(), &json!("v2"))
    );
    // Ready since before it was set: the time counts from then.
    let known = known.read(&spec, "cni", Verdict::Ready, Some(0));
    assert_eq!(said(&known.look(Some(&spec), &[])), ["cni open"]);
    let other = Known {
        history: GateHistory {
            target: "v1.36".to_owned(),
            ..known.history.clone()
        },
        ..known
    };
    assert_eq!(
        said(&other.look(Some(&spec), &[])),
        ["cni due"],
        "another target begins anew"
    );
}

#[test]
fn ready_has_to_last_and_a_timeout_is_told() {
    let gates: Vec<Spec> = serde_json::from_value(json!([gate("cni", &json!({ "timeout": "8m" }))])).unwrap();
    let spec = release(&json!([]));
    let begun = || Known::nothing().begun(of_policy(), "cni", 5);
    let look = |verdict: Verdict, ready: Option<i64>, minute: i64| {
        let mut known = begun().read_at((Some(&spec), &gates), "cni", (verdict, ready), minute);
        known.now = at(minute);
        said(&known.look(Some(&spec), &gates)).remove(0)
    };
    let in_progress = || Verdict::InProgress("DaemonSet cni: not ready".to_owned());
    let failed = || Verdict::Failed("DaemonSet cni: failed".to_owned());
    let unknown = || Verdict::Unknown("403".to_owned());
    let deadline = at(13);
    assert_eq!(
        look(Verdict::Ready, Some(9), 9),
        format!("cni NotReady: ready, and has to stay so until {0} until {0}", at(10))
    );
    assert_eq!(look(Verdict::Ready, Some(9), 10), "cni open");
    assert_eq!(
        look(in_progress(), None, 12),
        format!("cni NotReady: DaemonSet cni: not ready until {deadline}")
    );
    assert_eq!(
        look(failed(), None, 12),
        format!("cni Failed: DaemonSet cni: failed until {deadline}")
    );
    assert_eq!(look(unknown(), None, 12), format!("cni Unknown: 403 until {deadline}"));
    assert_eq!(
        look(in_progress(), None, 13),
        "cni TimedOut: DaemonSet cni: not ready; that takes longer than 8m"
    );
    assert_eq!(look(Verdict::Ready, Some(30), 31), "cni open", "it was mended");
}

#[test]
fn a_look_at_another_gate_or_an_old_one_says_nothing() {
    let spec = release(&json!([gate("cni", &json!({}))]));
    let ready = || (Verdict::Ready, Some(0));
    let open = Known::nothing().read_at((Some(&spec), &[]), "cni", ready(), 6);
    assert_eq!(said(&open.look(Some(&spec), &[])), ["cni open"]);
    let old = Known::nothing().read_at((Some(&spec), &[]), "cni", ready(), 5);
    assert_eq!(
        said(&old.look(Some(&spec), &[])),
        ["cni NotReady: it is being looked at"]
    );
    let edited = release(&json!([gate("cni", &json!({ "readyWhen": "status.ready == 2" }))]));
    assert_eq!(
        said(&open.look(Some(&edited), &[])),
        ["cni NotReady: it is being looked at"]
    );
}

#[test]
fn what_others_need_comes_first() {
    let spec = release(&json!([
        gate("vespa", &json!({ "dependsOn": ["operator"] })),
        gate("operator", &json!({})),
    ]));
    let known = Known::nothing();
    let found = known.look(Some(&spec), &[]);
    assert_eq!(
        said(&found),
        [
            "operator NotReady: it is being looked at",
            "vespa NotReady: it comes after operator"
        ]
    );
    assert_eq!(wanted(&found), ["operator"]);
    let known = known.read(&spec, "operator", Verdict::Ready, Some(0));
    let found = known.look(Some(&spec), &[]);
    assert_eq!(said(&found), ["operator open", "vespa NotReady: it is being looked at"]);
    assert_eq!(wanted(&found), ["operator", "vespa"]);
}

#[test]
fn what_does_not_count_for_a_cluster_holds_nothing_and_begins_nothing() {
    let only_if = "'cni' in cluster.metadata.labels && cluster.metadata.labels['cni'] == 'a'";
    let write = json!({ "annotation": { "key": "example.org/cni", "value": "v2" } });
    let spec = release(&json!([
        gate("cni", &json!({ "onlyIf": only_if, "write": write })),
        gate("other", &json!({ "when": "BeforeWorkers" })),
        gate("dns", &json!({ "dependsOn": ["cni"] })),
    ]));
    let known = Known::nothing();
    let found = known.look(Some(&spec), &[]);
    assert_eq!(
        said(&found),
        [
            "cni NotReady: it is being looked at",
            "dns NotReady: it comes after cni"
        ]
    );
    assert_eq!(wanted(&found), ["cni"]);
    let cni = &found.wanted[0];
    assert_eq!(cni.write, None, "nothing is set before it is known to count");
    let of = |value: &str| json!({ "metadata": { "labels": { "cni": value } } });
    assert_eq!(cni.applies(&of("a"), at(0)), Applies::Yes);
    assert_eq!(cni.applies(&of("b"), at(0)), Applies::No);
    let counts = known.read(&spec, "cni", Verdict::InProgress("x".to_owned()), None);
    assert_eq!(said(&counts.look(Some(&spec), &[]))[0], "cni due");
    let other = Known::nothing().read(&spec, "cni", Verdict::NotApplicable, None);
    let found = other.look(Some(&spec), &[]);
    assert_eq!(said(&found), ["dns NotReady: it is being looked at"]);
    assert_eq!(wanted(&found), ["cni", "dns"], "it may come to count");
}

#[test]
fn what_is_not_known_is_closed() {
    let spec = release(&json!([gate("cni", &json!({}))]));
    let off = Known {
        access: WorkloadAccess::Disabled,
        ..Known::nothing()
    };
    let found = off.look(Some(&spec), &[]);
    assert!(
        said(&found)[0].starts_with("cni Unknown: the workload cluster is not looked at: set spec.workload.access"),
        "{found:?}"
    );
    let gone = Known::nothing().look(None, &[]);
    assert_eq!(
        said(&gone),
        ["spec.addons Unknown: KubernetesRelease v1.35.2-1 is gone, so its add-ons are not known: create it again"]
    );
    // Admission refuses these.
    let garbled = release(&json!([gate("cni", &json!({ "readyWhen": "status.ready ==" }))]));
    let garbled = Known::nothing().look(Some(&garbled), &[]);
    assert!(
        said(&garbled)[0].starts_with("spec Unknown: cni: readyWhen: it is not CEL"),
        "{garbled:?}"
    );
    let foreign = json!({ "observe": { "cluster": "Management", "namespace": "other" } });
    let foreign: Vec<Spec> = serde_json::from_value(json!([gate("cni", &foreign)])).unwrap();
    let foreign = Known::nothing().look(Some(&release(&json!([]))), &foreign);
    assert!(
        said(&foreign)[0].starts_with("spec Unknown: cni: observe.namespace: other is another namespace"),
        "{foreign:?}"
    );
}

#[test]
fn expressions_see_what_was_set() {
    let write = json!({
        "write": { "annotation": { "key": "example.org/cni", "value": "v2" } },
        "readyWhen": "status.version == written.value && release.version == 'v1.35.2'",
    });
    let spec = release(&json!([gate("cni", &write)]));
    let found = Known::nothing().begun(of_release(), "cni", 5).look(Some(&spec), &[]);
    let object = |version: &str| {
        json!({
            "metadata": { "name": "cni", "generation": 1 },
            "status": { "observedGeneration": 1, "version": version },
        })
    };
    let judge = |version: &str| found.wanted[0].judge(&[object(version)], &json!({ "metadata": {} }), at(6));
    assert_eq!(judge("v2"), Verdict::Ready);
    assert!(matches!(judge("v1"), Verdict::InProgress(_)));
}
