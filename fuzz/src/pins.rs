//! The annotation that carries a Cluster's pins.

use instar_api::{Pins, RELEASES_ANNOTATION};
use serde_json::Value;

/// Whatever can be read as pins is written as text that reads the same, in the same bytes.
pub fn pins(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let pins = match Pins::from_annotation(&text) {
        Ok(pins) => pins,
        Err(garbled) => {
            assert!(garbled.to_string().contains(RELEASES_ANNOTATION), "{garbled}");
            return;
        }
    };
    let read: Value = serde_json::from_str(&text).expect("what is read is JSON");
    let releases = read["releases"]
        .as_object()
        .expect("what templates look into is an object");
    assert!(releases.values().all(Value::is_object), "{text}");
    let written = pins.to_annotation();
    let again = Pins::from_annotation(&written).unwrap_or_else(|error| panic!("{written}: {error}"));
    assert_eq!(again, pins, "what is written reads the same: {written}");
    assert_eq!(again.to_annotation(), written, "the same pins give the same bytes");
    for (version, pin) in &pins.releases {
        assert!(pins.covers(version));
        let pools = pin.machine_deployments.keys().chain(pin.machine_pools.keys());
        for pool in pools.map(String::as_str).chain(["md-0"]) {
            let of_deployment = pin.machine_deployments.get(pool).unwrap_or(&pin.workers);
            assert_eq!(pin.machine_deployment(pool), of_deployment);
            let of_pool = pin.machine_pools.get(pool).unwrap_or(&pin.workers);
            assert_eq!(pin.machine_pool(pool), of_pool);
        }
        if let Some(tag) = pin.etcd_tag() {
            assert!(written.contains("imageTag"), "{tag} comes from nowhere");
        }
    }
}
