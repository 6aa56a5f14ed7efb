//! What users do by hand.

use instar_domain::KubeVersion;
use instar_planner::{ControlPlane, Flavor, Lifecycle, Target};

use super::{World, reference, version};

impl World {
    pub fn pause_control_plane(&mut self, lifecycle: Lifecycle) {
        self.control_plane.object.lifecycle = lifecycle;
        Self::edited(&mut self.counter, &mut self.control_plane.object);
    }

    pub fn pause_pool(&mut self, name: &str, lifecycle: Lifecycle) {
        let Some(at) = self.pools.iter().position(|pool| pool.object.object.name == name) else {
            return;
        };
        let object = &mut self.pools[at].object.object;
        object.lifecycle = lifecycle;
        Self::edited(&mut self.counter, object);
    }

    /// The version alone, to the next minor's release, where that isn't beyond what is wished for.
    pub fn raise_control_plane(&mut self) {
        let present = &self.control_plane.version;
        let next = version(&format!("v1.{}.5", present.minor().minor + 1));
        let wished = self.wished();
        // Once: whoever goes on by hand past what comes with each version is on his own.
        let is_ours = self
            .control_plane
            .object
            .swap_history
            .as_ref()
            .and_then(|history| history.last())
            .is_none_or(|swap| swap.after.version == *present);
        if is_ours && next.minor() < wished.minor() && self.workers_may_stay_below(&next) {
            // Before we have written anything, nobody but the user can say which etcd he means.
            if let (
                None,
                Flavor::Kubeadm {
                    cluster_configuration, ..
                },
            ) = (&self.control_plane.object.swap_history, &mut self.control_plane.flavor)
            {
                cluster_configuration.etcd.local.image_tag = Some("3.5.26-0".to_owned());
            }
            self.control_plane.version = next;
            Self::edited(&mut self.counter, &mut self.control_plane.object);
        }
    }

    /// A manifest of before, applied once more.
    pub fn apply_control_plane_again(&mut self, before: &ControlPlane) {
        self.control_plane.version = before.version.clone();
        self.control_plane.infrastructure.clone_from(&before.infrastructure);
        self.control_plane.flavor = before.flavor.clone();
        Self::edited(&mut self.counter, &mut self.control_plane.object);
    }

    /// A user who knows what he does.
    fn workers_may_stay_below(&self, next: &KubeVersion) -> bool {
        self.pools
            .iter()
            .map(|pool| &pool.object.version)
            .chain(self.machine_pools.iter().map(|pool| &pool.pool.version))
            .all(|at| next.minor().minor - at.minor().minor <= 2)
    }

    fn wished(&self) -> KubeVersion {
        let text = match &self.upgrade_spec.target {
            Target::Text(text) | Target::Release(text) => text,
        };
        let minor = text.split('.').nth(1).unwrap();
        version(&format!("v1.{minor}.0"))
    }

    /// The pool's version alone, to the control plane's.
    pub fn raise_pool(&mut self, name: &str) {
        let Some(present) = self.lowest_control_plane().cloned() else {
            return;
        };
        let at = self
            .pools
            .iter()
            .position(|pool| pool.object.object.name == name)
            .unwrap();
        let pool = &mut self.pools[at].object;
        if pool.version < present {
            pool.version = present;
            Self::edited(&mut self.counter, &mut pool.object);
        }
    }

    /// A template of his own.
    pub fn give_own_template(&mut self, name: &str) {
        let template = self.next_name("own");
        self.add_template(&template);
        let at = self
            .pools
            .iter()
            .position(|pool| pool.object.object.name == name)
            .unwrap();
        let pool = &mut self.pools[at].object;
        pool.infrastructure = reference(&template);
        Self::edited(&mut self.counter, &mut pool.object);
    }

    /// What other controllers do all the time.
    pub fn touch_all(&mut self) {
        Self::touched(&mut self.counter, &mut self.control_plane.object);
        for pool in &mut self.pools {
            Self::touched(&mut self.counter, &mut pool.object.object);
        }
        for pool in &mut self.machine_pools {
            Self::touched(&mut self.counter, &mut pool.pool.object);
            Self::touched(&mut self.counter, &mut pool.infrastructure.object);
        }
    }

    pub fn add_pool_later(&mut self, name: &str, at: &KubeVersion, replicas: u32) {
        let births = self.births.len();
        self.add_pool_new(name, at, replicas);
        self.births.truncate(births);
    }
}
