//! Whether a controller runs.

use instar_controller::namespaces_of_lease;
use instar_watch::Namespaces;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use kube::{Api, Client, ResourceExt, api::ListParams};

use super::Error;
use crate::cluster::call;

/// Clocks may differ by so much.
const CLOCKS: SignedDuration = SignedDuration::from_secs(15);

/// A page of the list: nodes have Leases too.
const PAGE: u32 = 500;

/// Refuses while a controller has a Lease, in whatever namespace, that would hold objects of this namespace again; without
/// a namespace, of any.
pub(super) async fn refuse_running(client: &Client, namespace: Option<&str>) -> Result<(), Error> {
    let api: Api<Lease> = Api::all(client.clone());
    let mut page = ListParams::default().limit(PAGE);
    loop {
        let what = || "cannot list the Leases, to see whether a controller runs".to_owned();
        let found = call(what, api.list(&page)).await?;
        for lease in found.items {
            if !would_hold(&lease.name_any(), namespace) {
                continue;
            }
            if let Some(holder) = lease.spec.as_ref().and_then(|spec| holder(spec, Timestamp::now())) {
                return Err(Error::Running {
                    namespace: lease.namespace().unwrap_or_default(),
                    name: lease.name_any(),
                    holder: holder.to_owned(),
                });
            }
        }
        match found.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = page.continue_token(&token),
            None => return Ok(()),
        }
    }
}

/// Whether the controller with the Lease of this name would hold objects of this namespace again.
fn would_hold(lease: &str, namespace: Option<&str>) -> bool {
    match (namespaces_of_lease(lease), namespace) {
        (None, _) => false,
        (Some(Namespaces::All), _) | (Some(Namespaces::One(_)), None) => true,
        (Some(Namespaces::One(watched)), Some(namespace)) => *watched == *namespace,
    }
}

/// Who holds a Lease that hasn't expired.
fn holder(spec: &LeaseSpec, now: Timestamp) -> Option<&str> {
    let holder = spec.holder_identity.as_deref().filter(|holder| !holder.is_empty())?;
    let renewed = spec.renew_time.as_ref()?.0;
    let lasts = SignedDuration::from_secs(spec.lease_duration_seconds?.into());
    (now.duration_since(renewed) < lasts + CLOCKS).then_some(holder)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

    use super::*;

    #[test]
    fn a_lease_that_was_released_or_has_expired_is_nobody_s() {
        let renewed: Timestamp = "2026-11-20T12:00:00Z".parse().unwrap();
        let spec = |holder: Option<&str>| LeaseSpec {
            holder_identity: holder.map(ToOwned::to_owned),
            lease_duration_seconds: Some(15),
            renew_time: Some(MicroTime(renewed)),
            ..LeaseSpec::default()
        };
        let at = |seconds: i64| renewed + SignedDuration::from_secs(seconds);
        assert_eq!(holder(&spec(Some("pod-1")), at(29)), Some("pod-1"));
        assert_eq!(holder(&spec(Some("pod-1")), at(30)), None);
        for released in [None, Some("")] {
            assert_eq!(holder(&spec(released), at(1)), None);
        }
        assert_eq!(holder(&LeaseSpec::default(), at(1)), None);
    }

    #[test]
    fn every_controller_counts_that_writes_there() {
        for (lease, namespace, counts) in [
            ("instar-controller", None, true),
            ("instar-controller", Some("team"), true),
            ("instar-controller-a", Some("team"), true),
            ("instar-controller-a.team", Some("team"), true),
            ("instar-controller.team", None, true),
            ("instar-controller.other", Some("team"), false),
            ("node-1", None, false),
            ("capi-controller", Some("team"), false),
        ] {
            assert_eq!(would_hold(lease, namespace), counts, "{lease} {namespace:?}");
        }
    }
}
