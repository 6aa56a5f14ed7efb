//! Whether the templates are there, and what they say of disks.

use instar_planner::PoolOverride;

use super::*;

fn of_md_0(snapshot: &mut Snapshot) -> &mut MachineDeployment {
    match &mut snapshot.pools[0] {
        Observed::Read(pool) => pool,
        Observed::Invalid(_) => panic!("it can be read"),
    }
}

fn topology(snapshot: &mut Snapshot) {
    let unreadable = Unreadable {
        kind: "Cluster".to_owned(),
        name: "c".to_owned(),
        reason: "a test".to_owned(),
    };
    snapshot.cluster.kind = ClusterKind::Topology(Box::new(Observed::Invalid(unreadable)));
}

#[test]
fn a_template_that_is_lacking_holds_it() {
    let present = |change: fn(&mut Snapshot)| {
        let mut snapshot = well();
        change(&mut snapshot);
        found(&snapshot, &[PreflightCheck::TemplatesPresent])
    };
    let gone = "templates-present Fail MachineDeployment/md-0: MachineDeployment md-0 refers to DevMachineTemplate md-0, \
                which";
    assert_eq!(
        present(|s| drop(s.templates.remove(0))),
        [format!("{gone} isn't there")]
    );
    let deleting: fn(&mut Snapshot) = |s| {
        if let Observed::Read(template) = &mut s.templates[0] {
            template.lifecycle = Lifecycle::Deleting;
        }
    };
    assert_eq!(present(deleting), [format!("{gone} is being deleted")]);
    let unreadable: fn(&mut Snapshot) = |s| {
        s.templates[0] = Observed::Invalid(Unreadable {
            kind: "DevMachineTemplate".to_owned(),
            name: "md-0".to_owned(),
            reason: "it has no creationTimestamp".to_owned(),
        });
    };
    assert_eq!(
        present(unreadable),
        [
            "templates-present Unknown DevMachineTemplate/md-0: DevMachineTemplate md-0 can't be \
         read: it has no creationTimestamp"
        ]
    );
    let bootstrap: fn(&mut Snapshot) = |s| {
        of_md_0(s).bootstrap = Some(TemplateRef {
            group: "bootstrap.cluster.x-k8s.io".to_owned(),
            kind: "KubeadmConfigTemplate".to_owned(),
            name: "md".to_owned(),
        });
    };
    assert_eq!(
        present(bootstrap),
        [
            "templates-present Fail MachineDeployment/md-0: MachineDeployment md-0 refers to \
         KubeadmConfigTemplate md, which isn't there"
        ]
    );
    // The control plane's is told first, and a pool that stays where it is needs none.
    let all: fn(&mut Snapshot) = |s| {
        of_control_plane(s).infrastructure = Some(pool("cp").infrastructure);
        s.templates.clear();
        s.upgrade_spec.pools.insert("md-0".to_owned(), PoolOverride::Hold);
    };
    assert_eq!(
        present(all),
        [
            "templates-present Fail KubeadmControlPlane/cp: KubeadmControlPlane cp refers to \
         DevMachineTemplate cp, which isn't there; so it is with MachineDeployment md-1"
        ]
    );
    let of_topology: fn(&mut Snapshot) = |s| {
        s.templates.clear();
        topology(s);
    };
    assert_eq!(
        present(of_topology),
        [
            "templates-present NotApplicable: Cluster API makes the templates of a topology \
         cluster, and says itself what it lacks"
        ]
    );
}

/// A cluster of which one pool has a template of that kind.
fn with(kind: &str, spec: Option<Value>) -> Snapshot {
    let mut snapshot = well();
    let pool = of_md_0(&mut snapshot);
    pool.infrastructure.kind = kind.to_owned();
    let template = Template {
        content: spec.map(|spec| Arc::new(content(json!({ "template": { "spec": spec } })))),
        ..template(&pool.infrastructure)
    };
    snapshot.templates[0] = Observed::Read(template);
    snapshot
}

#[test]
fn what_goes_with_the_machines_is_told() {
    let disks = |kind: &str, spec: Value| found(&with(kind, Some(spec)), &[PreflightCheck::Disks]);
    let said = |result: &str, what: &str| {
        vec![format!(
            "disks {result} MachineDeployment/md-0: MachineDeployment md-0: {what}"
        )]
    };
    for (kind, spec, expected) in [
        (
            "VSphereMachineTemplate",
            json!({ "dataDisks": [], "diskGiB": 40 }),
            Vec::new(),
        ),
        (
            "VSphereMachineTemplate",
            json!({ "dataDisks": [{ "name": "a", "sizeGiB": 5 }], "additionalDisksGiB": [1, 2] }),
            said(
                "Fail",
                "the disks that a machine has beside the first are deleted with it (spec.template.spec.dataDisks of \
                 VSphereMachineTemplate md-0 adds 1, spec.template.spec.additionalDisksGiB of VSphereMachineTemplate md-0 \
                 sets the sizes of 2); persistent volumes of the workload cluster stay",
            ),
        ),
        (
            "AWSMachineTemplate",
            json!({ "rootVolume": { "size": 8 }, "nonRootVolumes": [{ "deviceName": "/dev/sdb", "size": 8 }] }),
            said(
                "Fail",
                "the disks that a machine has beside the first are deleted with it (spec.template.spec.nonRootVolumes of \
                 AWSMachineTemplate md-0 adds 1); persistent volumes of the workload cluster stay",
            ),
        ),
        (
            "Metal3MachineTemplate",
            json!({ "automatedCleaningMode": "metadata" }),
            said(
                "Fail",
                "the partition tables on all disks of a host are erased between two machines \
                 (spec.template.spec.automatedCleaningMode of Metal3MachineTemplate md-0 is metadata)",
            ),
        ),
        (
            "Metal3MachineTemplate",
            json!({ "automatedCleaningMode": "disabled" }),
            said(
                "Warn",
                "what is on the disks of a host stays, but for the disk that gets the image \
                 (spec.template.spec.automatedCleaningMode of Metal3MachineTemplate md-0 is disabled)",
            ),
        ),
        (
            "Metal3MachineTemplate",
            json!({}),
            said(
                "Warn",
                "each BareMetalHost says itself whether the partition tables on its disks are erased, by default they are \
                 (spec.template.spec.automatedCleaningMode of Metal3MachineTemplate md-0 isn't set)",
            ),
        ),
        // What isn't known holds nothing, in any mode.
        (
            "OtherMachineTemplate",
            json!({ "dataDisks": [1] }),
            said(
                "Warn",
                "whether machines of OtherMachineTemplate md-0 have disks beside the first isn't known, nor what becomes \
                 of them",
            ),
        ),
    ] {
        assert_eq!(disks(kind, spec), expected, "{kind}");
    }
    let unread_yet = with("AzureMachineTemplate", None);
    assert_eq!(
        found(&unread_yet, &[PreflightCheck::Disks]),
        said("Unknown", "what AzureMachineTemplate md-0 says was not read yet")
    );
    let template = of_md_0(&mut with("AzureMachineTemplate", None)).infrastructure.clone();
    assert_eq!(
        unread(&unread_yet, &BTreeMap::new()),
        [Unread::Content(template)].into()
    );
    assert_eq!(
        unread(&with("OtherMachineTemplate", None), &BTreeMap::new()),
        BTreeSet::new()
    );
    let mut of_topology = unread_yet;
    topology(&mut of_topology);
    assert_eq!(
        found(&of_topology, &[PreflightCheck::Disks]),
        ["disks NotApplicable: Cluster API makes the templates of a topology cluster, and Instar doesn't read them"]
    );
}

#[test]
fn volumes_of_a_supervisor_go_with_the_machine() {
    let mut of_supervisor = with("VSphereMachineTemplate", Some(json!({ "volumes": [{ "name": "a" }] })));
    let group = "vmware.infrastructure.cluster.x-k8s.io";
    group.clone_into(&mut of_md_0(&mut of_supervisor).infrastructure.group);
    if let Observed::Read(template) = &mut of_supervisor.templates[0] {
        template.api_version = format!("{group}/v1beta2");
    }
    assert_eq!(
        found(&of_supervisor, &[PreflightCheck::Disks]),
        [
            "disks Fail MachineDeployment/md-0: MachineDeployment md-0: the disks that a machine has beside the first are \
             deleted with it (spec.template.spec.volumes of VSphereMachineTemplate md-0 adds 1); persistent volumes of the \
             workload cluster stay"
        ]
    );
}
