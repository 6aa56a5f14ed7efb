use instar_planner::{RuntimeHooks, TemplateRef, Topology, UpgradeConcurrency};
use jiff::SignedDuration;

use super::{
    workload::{enabled, one_with},
    *,
};
use crate::workload::{Facts, ImageAt, Images, Missing, Presence, Reading};

const CHECK: PreflightCheck = PreflightCheck::MachineImagePresent;
const NOT_YET: &str = "the images on the way have not been looked for yet";

fn vsphere(name: &str, group: &str) -> TemplateRef {
    TemplateRef {
        group: group.to_owned(),
        kind: "VSphereMachineTemplate".to_owned(),
        name: name.to_owned(),
    }
}

/// v1.34.3 runs on vSphere, and v1.36 is asked for: the control plane stops at both minors, the workers at the last.
fn on_vsphere(group: &str) -> Snapshot {
    let image = |minor: u8, role: &str| {
        json!({ "apiGroup": group, "kind": "VSphereMachineTemplate", "role": role, "values": [
            { "pointer": "/spec/template/spec/template", "value": format!("/DC0/vm/{role}-v1.{minor}.2") },
        ] })
    };
    let rows = [35, 36].map(|minor| {
        let images = [image(minor, "ControlPlane"), image(minor, "Worker")];
        let row = json!({ "version": format!("v1.{minor}.2"), "revision": 1, "machineImages": images });
        (
            format!("v1.{minor}.2-1"),
            serde_json::from_value::<KubernetesReleaseSpec>(row).unwrap(),
        )
    });
    let rows = rows.iter().map(|(name, spec)| (name.as_str(), spec));
    let mut snapshot = Snapshot {
        upgrade_spec: UpgradeSpec::new("up", Target::Text("v1.36".to_owned())),
        catalog: Catalogs::new(rows).of(&CatalogName::default()),
        templates: Vec::new(),
        pools: ["md-0", "md-1"]
            .map(|name| {
                Observed::Read(MachineDeployment {
                    infrastructure: vsphere("w", group),
                    ..pool(name)
                })
            })
            .into(),
        ..well()
    };
    of_control_plane(&mut snapshot).infrastructure = Some(vsphere("cp", group));
    snapshot
}

const VSPHERE: &str = "infrastructure.cluster.x-k8s.io";

fn at(template: &str, image: &str) -> ImageAt {
    ImageAt {
        template: vsphere(template, VSPHERE),
        image: image.to_owned(),
        datacenter: None,
        server: None,
    }
}

const WANTED: [(&str, &str); 3] = [
    ("cp", "/DC0/vm/ControlPlane-v1.35.2"),
    ("cp", "/DC0/vm/ControlPlane-v1.36.2"),
    ("w", "/DC0/vm/Worker-v1.36.2"),
];

fn enforced_check() -> PreflightSettings {
    modes([(CHECK, Enforcement::Enforce)])
}

fn says(snapshot: &Snapshot, readings: &Readings) -> String {
    one_with(snapshot, &enforced_check(), CHECK, &WorkloadAccess::Disabled, readings)
}

fn reading(at: Timestamp, found: Result<Images, Problem>) -> Readings {
    let found = found.map(Facts::Images);
    Readings::from([(Probe::Images, Arc::new(Reading { at, found }))])
}

fn found(presences: [Presence; 3]) -> Readings {
    let found = WANTED
        .iter()
        .map(|(template, image)| at(template, image))
        .zip(presences);
    let place = "the vCenter vc".to_owned();
    reading(
        well().now,
        Ok(Images {
            place,
            found: found.collect(),
        }),
    )
}

fn missing(below: Option<&str>, near: &[&str]) -> Presence {
    Presence::Missing(Missing {
        below: below.map(str::to_owned),
        near: near.iter().map(|name| (*name).to_owned()).collect(),
    })
}

#[test]
fn it_is_off_unless_a_policy_names_it() {
    let snapshot = on_vsphere(VSPHERE);
    let default = PreflightSettings::default();
    for access in [WorkloadAccess::Disabled, enabled()] {
        assert!(images(&snapshot, &default, &access).is_empty());
        let wanted: Vec<ImageAt> = images(&snapshot, &enforced_check(), &access).into_iter().collect();
        assert_eq!(wanted, WANTED.map(|(template, image)| at(template, image)));
        // It opens no workload cluster.
        assert!(probes(&enforced_check(), &WorkloadAccess::Disabled).is_empty());
    }
}

#[test]
fn what_is_missing_is_told_with_its_pool_its_release_and_what_is_near() {
    let snapshot = on_vsphere(VSPHERE);
    let there = || Presence::There;
    assert_eq!(says(&snapshot, &found([there(), there(), there()])), "Pass");
    let path = "the VM template \"/DC0/vm/Worker-v1.36.2\" of release v1.36.2-1";
    for (presence, message) in [
        (
            missing(Some("/DC0/vm"), &["Worker-v1.36.1", "Worker-v1.35.2"]),
            format!(
                "Fail MachineDeployment/md-0: MachineDeployment md-0: {path} is not in the vCenter vc (/DC0/vm is there, with \
                 Worker-v1.36.1, Worker-v1.35.2); so it is with MachineDeployment md-1"
            ),
        ),
        (
            missing(Some("/DC0"), &[]),
            format!(
                "Fail MachineDeployment/md-0: MachineDeployment md-0: {path} is not in the vCenter vc (/DC0 is there, without \
                 a near name); so it is with MachineDeployment md-1"
            ),
        ),
        (
            Presence::Unclear("2 VMs have that name: name its path".to_owned()),
            format!(
                "Unknown MachineDeployment/md-0: MachineDeployment md-0: whether {path} is in the vCenter vc isn't known: 2 VMs \
                 have that name: name its path; so it is with MachineDeployment md-1"
            ),
        ),
    ] {
        assert_eq!(says(&snapshot, &found([there(), there(), presence])), message);
    }
    let between = says(&snapshot, &found([missing(None, &["a"]), there(), there()]));
    assert_eq!(
        between,
        "Fail KubeadmControlPlane/cp: KubeadmControlPlane cp: the VM template \"/DC0/vm/ControlPlane-v1.35.2\" of release \
             v1.35.2-1 is not in the vCenter vc (near names: a)"
    );
}

#[test]
fn what_was_not_looked_for_is_not_known() {
    let snapshot = on_vsphere(VSPHERE);
    assert_eq!(
        says(&snapshot, &Readings::new()),
        format!("Unknown Cluster/c: Cluster c: {NOT_YET}")
    );
    let problem = Problem {
        kind: "Secret".to_owned(),
        name: "s".to_owned(),
        message: "no right".to_owned(),
    };
    let now = snapshot.now;
    assert_eq!(
        says(&snapshot, &reading(now, Err(problem))),
        "Unknown Secret/s: no right"
    );
    let of = |at: Timestamp| {
        reading(
            at,
            Ok(Images {
                place: String::new(),
                found: BTreeMap::new(),
            }),
        )
    };
    assert_eq!(
        says(&snapshot, &of(now)),
        "Unknown KubeadmControlPlane/cp: KubeadmControlPlane cp: the VM template \"/DC0/vm/ControlPlane-v1.35.2\" of release \
         v1.35.2-1 has not been looked for yet; so it is with MachineDeployment md-0, MachineDeployment md-1"
    );
    let long_ago = now - SignedDuration::from_mins(14);
    assert_eq!(
        says(&snapshot, &of(long_ago)),
        format!(
            "Unknown Cluster/c: Cluster c: the images on the way were looked for last at {long_ago}, which is too long ago"
        )
    );
}

#[test]
fn a_user_s_value_counts_and_a_held_pool_does_not() {
    let mut snapshot = on_vsphere(VSPHERE);
    let patch = |pointer: &str, value: &str| (pointer.parse().unwrap(), json!(value));
    let patches = [
        patch("/spec/template/spec/template", "other"),
        patch("/spec/template/spec/datacenter", "DC1"),
    ];
    let pool = PoolId::Workers("md-0".to_owned());
    snapshot.upgrade_spec.patches.insert(pool, patches.into());
    snapshot
        .upgrade_spec
        .pools
        .insert("md-1".to_owned(), instar_planner::PoolOverride::Hold);
    let wanted = images(&snapshot, &enforced_check(), &WorkloadAccess::Disabled);
    let of_workers: Vec<&ImageAt> = wanted.iter().filter(|at| at.template.name == "w").collect();
    let expected = ImageAt {
        datacenter: Some("DC1".to_owned()),
        ..at("w", "other")
    };
    assert_eq!(of_workers, [&expected]);
}

#[test]
fn of_a_topology_cluster_a_release_between_is_only_warned_of() {
    let mut snapshot = on_vsphere(VSPHERE);
    snapshot.cluster.kind = ClusterKind::Topology(Box::new(Observed::Read(Topology {
        resource_version: ResourceVersion("7".to_owned()),
        version: "v1.34.3".parse().unwrap(),
        pins: None,
        control_plane_plan: Vec::new(),
        workers_plan: Vec::new(),
        version_set_by: None,
        landing_mark: None,
        concurrency: UpgradeConcurrency::default(),
        hooks: RuntimeHooks::Off(String::new()),
        hook_answer: None,
        conditions: Vec::new(),
    })));
    of_control_plane(&mut snapshot).object.managed_by = ManagedBy::Topology;
    for at in [0, 1] {
        of_pool(&mut snapshot, at).managed_by = ManagedBy::Topology;
    }
    let wanted: Vec<ImageAt> = images(&snapshot, &enforced_check(), &WorkloadAccess::Disabled)
        .into_iter()
        .collect();
    assert_eq!(wanted, WANTED.map(|(template, image)| at(template, image)));
    let absent = || missing(None, &[]);
    let between = says(&snapshot, &found([absent(), Presence::There, Presence::There]));
    assert!(between.starts_with("Warn KubeadmControlPlane/cp: "), "{between}");
    let last = says(&snapshot, &found([Presence::There, absent(), Presence::There]));
    assert!(last.starts_with("Fail KubeadmControlPlane/cp: "), "{last}");
}

#[test]
fn of_other_kinds_nothing_is_looked_for() {
    let supervisor = on_vsphere("vmware.infrastructure.cluster.x-k8s.io");
    assert!(images(&supervisor, &enforced_check(), &WorkloadAccess::Disabled).is_empty());
    assert_eq!(
        says(&supervisor, &Readings::new()),
        "NotApplicable: KubeadmControlPlane cp is made of VSphereMachineTemplate cp, and a Supervisor has its images as \
         VirtualMachineImages, which are not looked for"
    );
    let mut no_release = on_vsphere(VSPHERE);
    no_release.upgrade_spec.target = Target::Text("v1.40".to_owned());
    assert_eq!(
        says(&no_release, &Readings::new()),
        "Unknown Cluster/c: Cluster c: the releases that the upgrade goes through are not known, so neither are the images \
         that they need"
    );
}
