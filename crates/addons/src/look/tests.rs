use instar_api::{GatePoint, KubernetesReleaseSpec, NamedWorkload, SecretNameTemplate};
use instar_planner::{
    Contract, ControlPlane, DrainTimeout, Flavor, KubeadmAddon, Lifecycle, ManagedBy, Object, ResourceVersion,
};
use serde_json::json;

use super::*;
use crate::verified::{named_workloads, system_workloads};

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
                set: Vec::new(),
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
            before: None,
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
            workloads: &[],
            access: &self.access,
            target: TARGET,
            history: &self.history,
            readings: &self.readings,
            now: self.now,
        })
    }
}

/// A control plane of kubeadm's, with its CoreDNS' tag and what it leaves alone.
fn kubeadm(core_dns: Option<&str>, skipped: &[KubeadmAddon]) -> ControlPlane {
    ControlPlane {
        object: Object {
            api_version: "controlplane.cluster.x-k8s.io/v1beta2".to_owned(),
            kind: "KubeadmControlPlane".to_owned(),
            name: "blue".to_owned(),
            resource_version: ResourceVersion("1".to_owned()),
            generation: 1,
            observed_generation: 1,
            lifecycle: Lifecycle::Active,
            managed_by: ManagedBy::User,
            swap_history: None,
            conditions: Vec::new(),
        },
        labels: BTreeMap::new(),
        version: "v1.35.2+acme.1".parse().unwrap(),
        observed: Vec::new(),
        infrastructure: None,
        contract: Contract::V1Beta2,
        flavor: Flavor::Kubeadm {
            cluster_configuration: serde_json::from_value(json!({ "dns": { "imageTag": core_dns } })).unwrap(),
            settings: Vec::new(),
        },
        replicas: None,
        drain_timeout: DrainTimeout::None,
        skipped_addons: skipped.iter().copied().collect(),
        rollout_after: None,
    }
}

/// What the workloads of a cluster come to, each once it was looked at.
fn verified(workloads: &[VerifiedWorkload], known: &mut Known, objects: &dyn Fn(&str) -> Vec<Value>) -> Vec<String> {
    let point = AskedPoint {
        when: GatePoint::AfterWorkers,
        release: None,
        ..point()
    };
    let found = |known: &Known| {
        look(Asked {
            point: &point,
            cluster: ("prod", "blue"),
            release: None,
            policies: &[],
            workloads,
            access: &known.access,
            target: TARGET,
            history: &known.history,
            readings: &known.readings,
            now: known.now,
        })
    };
    for wanted in found(known).wanted {
        let verdict = wanted.judge(&objects(&wanted.id.name), &json!({}), known.now);
        let ready = (verdict == Verdict::Ready).then_some(known.now);
        let reading = GateReading {
            at: known.now,
            verdict,
            ready,
            before: None,
            of: wanted,
        };
        known.readings.insert(reading.of.id.clone(), Arc::new(reading));
    }
    let gates = found(known).gates.into_iter();
    gates
        .map(|gate| match gate.state {
            AddonState::Open => format!("{}: open", gate.id),
            AddonState::Due(_) => format!("{}: due", gate.id),
            AddonState::Closed { message, .. } => format!("{}: {message}", gate.id),
        })
        .collect()
}

#[test]
fn the_clusters_own_components_have_the_tags_of_its_control_plane() {
    let with = |image: &str, container: &str| {
        let containers = json!([{ "name": container, "image": image }]);
        json!({
            "metadata": { "namespace": "kube-system", "name": container, "generation": 1 },
            "spec": { "replicas": 2, "template": { "spec": { "containers": containers } } },
            "status": {
                "observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2,
                "desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberAvailable": 2,
            },
        })
    };
    let proxy = "component kube-proxy of Kubernetes (AfterWorkers v1.35.2)";
    let dns = "component coredns of Kubernetes (AfterWorkers v1.35.2)";
    let of = |control_plane: &ControlPlane, proxy_tag: &str, dns_tag: &str| {
        let objects = |name: &str| match name {
            "kube-proxy" => vec![with(&format!("r/kube-proxy:{proxy_tag}"), "kube-proxy")],
            _ => vec![with(&format!("r/coredns:{dns_tag}"), "coredns")],
        };
        verified(&system_workloads(control_plane), &mut Known::nothing(), &objects)
    };
    let pinned = kubeadm(Some("v1.12.1"), &[]);
    assert_eq!(
        of(&pinned, "v1.35.2_acme.1", "v1.12.1"),
        [format!("{proxy}: open"), format!("{dns}: open")]
    );
    assert_eq!(
        of(&pinned, "v1.34.3", "v1.11.3"),
        [
            format!(
                "{proxy}: DaemonSet kube-system/kube-proxy: not ready: the image of its container kube-proxy has the tag v1.34.3, and not v1.35.2_acme.1"
            ),
            format!(
                "{dns}: Deployment kube-system/coredns: not ready: the image of its container coredns has the tag v1.11.3, and not v1.12.1"
            ),
        ]
    );
    // Without a tag of its own, any will do; and what Cluster API leaves alone is the user's.
    let free = kubeadm(None, &[KubeadmAddon::KubeProxy]);
    assert_eq!(of(&free, "v1.34.3", "v1.11.3"), [format!("{dns}: open")]);
    // Network plugins replace kube-proxy.
    let gone = verified(&system_workloads(&pinned), &mut Known::nothing(), &|_| Vec::new());
    assert_eq!(gone, [format!("{proxy}: open"), format!("{dns}: open")]);
    let mut other = pinned;
    other.flavor = Flavor::Other;
    assert_eq!(system_workloads(&other), []);
}

#[test]
fn what_a_policy_names_has_to_be_there() {
    let named: Vec<NamedWorkload> = serde_json::from_value(json!([
        { "kind": "StatefulSet", "namespace": "db", "name": "main" },
    ]))
    .unwrap();
    let named: Vec<_> = named_workloads("p", &named).collect();
    let gate = "gate StatefulSet db/main of UpgradePolicy p (AfterWorkers v1.35.2)";
    assert_eq!(
        verified(&named, &mut Known::nothing(), &|_| Vec::new()),
        [format!(
            "{gate}: StatefulSet db/main is not there, in the workload cluster"
        )]
    );
    let mut known = Known::nothing();
    known.access = WorkloadAccess::Disabled;
    assert_eq!(
        verified(&named, &mut known, &|_| Vec::new()),
        [format!(
            "{gate}: the workload cluster is not looked at: set spec.workload.access of an UpgradePolicy of this Cluster to Enabled"
        )]
    );
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
        AddonState::Due(_) => format!("{} due", gate.id.name),
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
        (target.object(), target.wanted().to_string()),
        ("Cluster prod/blue".to_owned(), "set it to \"v2\"".to_owned())
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
fn what_goes_back_is_read_before_its_turn_comes() {
    let write = json!({ "write": {
        "annotation": { "key": "example.org/cni", "value": "v2" },
        "onRollback": "Restore",
    } });
    let spec = release(&json!([gate("cni", &write)]));
    let before = |history: Option<&str>, found: ValueBefore| {
        let mut known = Known::nothing();
        if let Some(kept) = history {
            known = known.begun(of_release(), "cni", 5);
            let id = known.history.gates.remove(0).id;
            let before = ValueBefore::Value(kept.into());
            known.history.set.push(instar_planner::SetAddon { id, before });
        }
        let looked = known.look(Some(&spec), &[]);
        assert_eq!(said(&looked), ["cni NotReady: it is being looked at"]);
        assert!(looked.wanted[0].find.is_some() && looked.wanted[0].write.is_none());
        let reading = GateReading {
            of: looked.wanted[0].clone(),
            at: known.now,
            verdict: Verdict::InProgress("its turn comes".to_owned()),
            ready: None,
            before: Some(found),
        };
        known.readings.insert(reading.of.id.clone(), Arc::new(reading));
        match known.look(Some(&spec), &[]).gates.remove(0).state {
            AddonState::Due(before) => before,
            other => panic!("{other:?}"),
        }
    };
    let value = |text: &str| ValueBefore::Value(text.into());
    assert_eq!(before(None, value("v1")), Some(value("v1")));
    assert_eq!(before(None, ValueBefore::NoObject), Some(ValueBefore::NoObject));
    // Of what an earlier turn has set, that turn says what was there before.
    assert_eq!(before(Some("v1"), value("v2")), Some(value("v1")));
    assert_eq!(before(Some("v1"), value("v0")), Some(value("v0")));

    let failed = Known::nothing().read(&spec, "cni", Verdict::Unknown("no right".to_owned()), None);
    assert_eq!(said(&failed.look(Some(&spec), &[])), ["cni Unknown: no right"]);
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
        format!("cni Settling: ready, and has to stay so until {0} until {0}", at(10))
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
