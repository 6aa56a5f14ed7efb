//! What Cluster API's operator and Rancher's Turtles install from.
//!
//! Sources: cluster-api-operator's book, topics/configuration (a ConfigMap for air gaps); Turtles' reference of `CAPIProvider`.

use anyhow::Result;
use serde_json::{Value, json};

use super::{Content, Files, Release, clusterctl, objects};
use crate::{NAMESPACE, yaml};

pub(super) fn files(release: &Release, objects: &[Value]) -> Result<Files> {
    let file = |name: &str, objects: &[Value]| -> Result<(String, Content)> {
        Ok((
            format!("operator/{name}"),
            Content::Data(yaml::documents(objects)?.into_bytes()),
        ))
    };
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE } });
    let provider = json!({
        "apiVersion": "operator.cluster.x-k8s.io/v1alpha2",
        "kind": "RuntimeExtensionProvider",
        "metadata": { "namespace": NAMESPACE, "name": release.provider },
        "spec": { "version": release.tag(), "fetchConfig": from_config_map(release) },
    });
    let turtles = json!({
        "apiVersion": "turtles-capi.cattle.io/v1alpha1",
        "kind": "CAPIProvider",
        "metadata": { "namespace": NAMESPACE, "name": release.provider },
        "spec": {
            "type": "runtimeextension",
            "name": release.provider,
            "version": release.tag(),
            "fetchConfig": from_config_map(release),
        },
    });
    let components = components(release, objects)?;
    Ok(Files::from([
        file(
            "cluster-api-operator.yaml",
            &[namespace.clone(), components.clone(), provider],
        )?,
        file("turtles.yaml", &[namespace, components, turtles])?,
    ]))
}

fn labels(release: &Release) -> Value {
    json!({ "provider-components": release.provider })
}

fn from_config_map(release: &Release) -> Value {
    json!({ "selector": { "matchLabels": labels(release) } })
}

/// The components within the cluster: nothing is fetched from elsewhere.
fn components(release: &Release, objects: &[Value]) -> Result<Value> {
    let mut labels = labels(release);
    labels["provider.cluster.x-k8s.io/version"] = json!(release.tag());
    Ok(json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": { "namespace": NAMESPACE, "name": release.tag(), "labels": labels },
        "data": {
            "components": objects::text(objects)?,
            "metadata": clusterctl::metadata(release)?,
        },
    }))
}
