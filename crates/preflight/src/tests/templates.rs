//! Whether the templates are there.

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
