//! How soon after a pass over a Cluster comes the next one.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use kube::runtime::reflector::ObjectRef;

use crate::views::Cluster;

/// The least time between two passes over a Cluster, unless the first one wants the next at once. While machines roll there is
/// something new many times a second, and each pass reads the templates; Cluster API's own controllers keep
/// the same time (<https://github.com/kubernetes-sigs/cluster-api/issues/13005>).
const GAP: Duration = Duration::from_secs(1);

/// When the last pass over each Cluster ended. None where the next one may come at once.
#[derive(Debug, Default)]
pub(crate) struct Paces {
    ended: Mutex<HashMap<ObjectRef<Cluster>, Instant>>,
}

impl Paces {
    /// How long the next pass has to wait; none if it may begin.
    pub(crate) fn rest(&self, cluster: &ObjectRef<Cluster>, now: Instant) -> Option<Duration> {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let rest = GAP.checked_sub(now.saturating_duration_since(*ended.get(cluster)?))?;
        (!rest.is_zero()).then_some(rest)
    }

    /// A pass ended that needs no other one at once.
    pub(crate) fn ended(&self, cluster: ObjectRef<Cluster>, now: Instant) {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.retain(|_, ended| now.saturating_duration_since(*ended) < GAP);
        ended.insert(cluster, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_pass_a_second_for_each_cluster() {
        let paces = Paces::default();
        let named = |name: &str| ObjectRef::new(name).within("n");
        let began = Instant::now();
        let after = |millis| began + Duration::from_millis(millis);
        assert_eq!(paces.rest(&named("a"), began), None, "the first one waits for nothing");
        paces.ended(named("a"), began);
        assert_eq!(paces.rest(&named("a"), after(300)), Some(Duration::from_millis(700)));
        assert_eq!(paces.rest(&named("b"), after(300)), None, "another Cluster's");
        assert_eq!(paces.rest(&named("a"), after(1000)), None);
        paces.ended(named("b"), after(1500));
        assert_eq!(paces.ended.lock().unwrap().len(), 1, "what is over is forgotten");
    }
}
