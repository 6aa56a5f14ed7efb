//! The etcd of a control plane that goes back.

use instar_planner::{Action, Flavor, MinorRollback, RollbackScope};
use serde_json::json;

use crate::{
    scenarios::{complete, until},
    way_back::{at_a_release, etcd, take_back},
};

/// The definition of a KubeadmControlPlane refuses an empty one.
#[test]
fn no_empty_etcd_is_left_where_none_was_named_before() {
    for (has_more, expected) in [(false, json!(null)), (true, json!({ "local": { "imageTag": null } }))] {
        let mut world = at_a_release("v1.34.1", "", "v1.34.5-1");
        if let Flavor::Kubeadm {
            cluster_configuration, ..
        } = &mut world.control_plane.flavor
        {
            cluster_configuration.etcd.local.image_tag = None;
            cluster_configuration.etcd.local.has_more = has_more;
        }
        until(&mut world, complete);
        assert!(etcd(&world).is_some());
        take_back(&mut world, RollbackScope::All, MinorRollback::Refuse);
        until(&mut world, |decision| {
            matches!(decision.action, Action::SwapControlPlane(_))
        });
        let Action::SwapControlPlane(swap) = world.plan().action else {
            panic!("the control plane goes back")
        };
        let configuration = &swap.patch["spec"]["kubeadmConfigSpec"]["clusterConfiguration"];
        assert_eq!(configuration["etcd"], expected);
        assert!(configuration.as_object().unwrap().contains_key("etcd"));
        until(&mut world, complete);
        assert_eq!(etcd(&world), None);
    }
}
