//! Changes to a review that leave it JSON, so that what is behind the reading is tried too.

use fastrand::Rng;
use instar_api::{BREAK_GLASS_ANNOTATION, RELEASES_ANNOTATION};
use instar_webhooks::Route;
use serde_json::{Map, Value, json};

/// Texts that mean something to a rule, or nearly do.
const TEXTS: [&str; 44] = [
    "v1.33.5",
    "v1.34.3",
    "v1.35.4",
    "v1.34",
    "v1.24.17",
    "v1.31.0",
    "v1.34.3-rc.1",
    "v1.34.3+vmware.1",
    "v2.0.0",
    "v1.18446744073709551615.0",
    "1.34.3",
    "r33",
    "r34",
    "r35",
    "ns",
    "topo",
    "going",
    "classic",
    "gone",
    "lab",
    "class",
    "bare",
    "worker",
    "md-0",
    "md",
    "t",
    "t34",
    "foreign",
    "kept",
    "missing",
    "DevMachineTemplate",
    "KubeadmConfigTemplate",
    "KubeadmControlPlane",
    "Cluster",
    "CREATE",
    "UPDATE",
    "DELETE",
    "3.5.26-0",
    "3.6.5-0",
    "3.5.24-0",
    "v1.12.1",
    "worker-not-newer one-rollout: why",
    "no-such-rule",
    "/spec/template/spec/image",
];

/// Members that an object may get.
const MEMBERS: [&str; 22] = [
    "annotations",
    "labels",
    "ownerReferences",
    "deletionTimestamp",
    "generateName",
    "namespace",
    "name",
    "dryRun",
    "version",
    "versions",
    "paused",
    "topology",
    "external",
    "imageTag",
    "infrastructureRef",
    "machinePools",
    "json",
    "value",
    "adopted",
    RELEASES_ANNOTATION,
    BREAK_GLASS_ANNOTATION,
    "unsafe.topology.cluster.x-k8s.io/disable-update-version-check",
];

/// A review with a few changes; nothing where the input is no JSON.
#[must_use]
pub fn changed_review(input: &[u8], seed: u64) -> Option<Vec<u8>> {
    let mut rng = Rng::with_seed(seed);
    let at = input.iter().position(|byte| *byte == b'\n')?;
    let (line, body) = input.split_at(at);
    let mut review: Value = serde_json::from_slice(body).ok()?;
    for _ in 0..rng.usize(1..5) {
        change(&mut rng, &mut review);
    }
    let route = Route::all().nth(rng.usize(..64)).map(Route::path);
    let mut changed = route.map_or_else(|| line.to_vec(), |path| path.as_bytes().to_vec());
    changed.push(b'\n');
    changed.extend(review.to_string().into_bytes());
    Some(changed)
}

fn change(rng: &mut Rng, review: &mut Value) {
    let request = review.get_mut("request").and_then(Value::as_object_mut);
    match (rng.u8(..16), request) {
        (0, Some(request)) => {
            let object = request.get("object").cloned().unwrap_or_default();
            let old = request.insert("oldObject".to_owned(), object);
            request.insert("object".to_owned(), old.unwrap_or_default());
        }
        (1, Some(request)) => {
            let object = request.get("object").cloned().unwrap_or_default();
            request.insert("oldObject".to_owned(), object);
        }
        (2, Some(request)) => {
            let operation = rng.choice(["CREATE", "UPDATE", "DELETE", "CONNECT"]);
            request.insert("operation".to_owned(), json!(operation));
        }
        _ => {
            let donor = picked(rng, review).clone();
            change_node(rng, review, donor);
        }
    }
}

/// Goes down to a node and changes it there.
fn change_node(rng: &mut Rng, node: &mut Value, donor: Value) {
    let goes_down = rng.u8(..8) > 0;
    match node {
        Value::Object(members) if goes_down && !members.is_empty() => {
            let at = rng.usize(..members.len());
            if let Some(inner) = members.values_mut().nth(at) {
                change_node(rng, inner, donor);
            }
        }
        Value::Array(items) if goes_down && !items.is_empty() => {
            let at = rng.usize(..items.len());
            if let Some(inner) = items.get_mut(at) {
                change_node(rng, inner, donor);
            }
        }
        Value::Object(members) => change_members(rng, members, donor),
        Value::Array(items) => match rng.u8(..3) {
            0 => items.push(donor),
            1 => drop(items.pop()),
            _ => items.extend(items.first().cloned()),
        },
        Value::String(text) => change_text(rng, text, donor),
        Value::Null | Value::Bool(_) | Value::Number(_) => *node = odd(rng, donor),
    }
}

fn change_members(rng: &mut Rng, members: &mut Map<String, Value>, donor: Value) {
    let key = members.keys().nth(rng.usize(..=members.len())).cloned();
    match (rng.u8(..4), key) {
        (0, Some(key)) => drop(members.remove(&key)),
        (1, Some(key)) => drop(members.insert(key, odd(rng, donor))),
        _ => {
            let key = rng.choice(MEMBERS).unwrap_or_default().to_owned();
            let value = odd(rng, donor);
            members.insert(key, value);
        }
    }
}

/// Pins are JSON within a text.
fn change_text(rng: &mut Rng, text: &mut String, donor: Value) {
    if let Ok(mut inner @ Value::Object(_)) = serde_json::from_str(text)
        && rng.u8(..8) > 0
    {
        change_node(rng, &mut inner, donor);
        *text = inner.to_string();
        return;
    }
    match rng.u8(..4) {
        0 => text.push_str(rng.choice(TEXTS).unwrap_or_default()),
        1 => drop(text.pop()),
        _ => rng.choice(TEXTS).unwrap_or_default().clone_into(text),
    }
}

fn odd(rng: &mut Rng, donor: Value) -> Value {
    match rng.u8(..12) {
        0 => Value::Null,
        1 => json!(rng.bool()),
        2 => json!(rng.i64(-2..3)),
        3 => json!(1.797_693_134_862_315_7e308),
        4 => json!({}),
        5 => json!([]),
        6 => json!(""),
        7 | 8 => donor,
        _ => json!(rng.choice(TEXTS)),
    }
}

/// A node of a value, the deeper the rarer.
fn picked<'v>(rng: &mut Rng, node: &'v Value) -> &'v Value {
    let inner = match node {
        Value::Object(members) => members.values().nth(rng.usize(..=members.len())),
        Value::Array(items) => items.get(rng.usize(..=items.len())),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    };
    match inner {
        Some(inner) => picked(rng, inner),
        None => node,
    }
}
