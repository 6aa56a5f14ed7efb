//! Whether a controller runs.

use instar_controller::LEASE_NAME;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use kube::{Api, Client, ResourceExt, api::ListParams};

use super::Error;
use crate::cluster::call;

/// Clocks may differ by so much.
const CLOCKS: SignedDuration = SignedDuration::from_secs(15);

/// Refuses while a controller has its Lease, in whatever namespace.
pub(super) async fn refuse_running(client: &Client) -> Result<(), Error> {
    let api: Api<Lease> = Api::all(client.clone());
    let named = ListParams::default().fields(&format!("metadata.name={LEASE_NAME}"));
    let what = || format!("cannot list the Leases {LEASE_NAME}, to see whether a controller runs");
    for lease in call(what, api.list(&named)).await?.items {
        if let Some(holder) = lease.spec.as_ref().and_then(|spec| holder(spec, Timestamp::now())) {
            return Err(Error::Running {
                namespace: lease.namespace().unwrap_or_default(),
                name: lease.name_any(),
                holder: holder.to_owned(),
            });
        }
    }
    Ok(())
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
}
