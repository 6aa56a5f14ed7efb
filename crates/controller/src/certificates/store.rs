//! The two Secrets: the one that servers mount, and that of the CA, which nothing mounts.

use std::collections::BTreeMap;

use k8s_openapi::{ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;

use crate::api::{Error, FIELD_MANAGER, call};

const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";
const BUNDLE: &str = "ca.crt";

/// A Secret as it was read.
pub(super) struct Found {
    /// Absent where there is none.
    secret: Option<Secret>,
}

impl Found {
    pub(super) fn is_missing(&self) -> bool {
        self.secret.is_none()
    }

    pub(super) fn certificate(&self) -> &[u8] {
        self.member(CERTIFICATE)
    }

    pub(super) fn key(&self) -> &[u8] {
        self.member(KEY)
    }

    pub(super) fn bundle(&self) -> &[u8] {
        self.member(BUNDLE)
    }

    fn member(&self, name: &str) -> &[u8] {
        let data = self.secret.as_ref().and_then(|secret| secret.data.as_ref());
        data.and_then(|data| data.get(name)).map_or(&[], |member| &member.0)
    }
}

pub(super) async fn read(api: &Api<Secret>, name: &str) -> Result<Found, Error> {
    let secret = call(|| format!("reading Secret {name}"), api.get_opt(name)).await?;
    Ok(Found { secret })
}

/// A certificate with its key, and the bundle beside them where there is one.
pub(super) async fn write_pair(
    api: &Api<Secret>,
    name: &str,
    found: &Found,
    certificate: &str,
    key: &str,
    bundle: Option<&str>,
) -> Result<(), Error> {
    let mut data = vec![(CERTIFICATE, certificate), (KEY, key)];
    data.extend(bundle.map(|bundle| (BUNDLE, bundle)));
    write(api, name, found, &data).await
}

pub(super) async fn write_bundle(api: &Api<Secret>, name: &str, found: &Found, bundle: &str) -> Result<(), Error> {
    write(api, name, found, &[(BUNDLE, bundle)]).await
}

/// Writes only what was read: where another client wrote in between, it is read again.
async fn write(api: &Api<Secret>, name: &str, found: &Found, members: &[(&str, &str)]) -> Result<(), Error> {
    let data: BTreeMap<String, ByteString> = members
        .iter()
        .map(|(member, text)| ((*member).to_owned(), ByteString(text.as_bytes().to_vec())))
        .collect();
    let Some(secret) = &found.secret else {
        let secret = new(name, data);
        let parameters = PostParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        call(|| format!("creating Secret {name}"), api.create(&parameters, &secret)).await?;
        return Ok(());
    };
    let patch = json!({ "metadata": { "resourceVersion": secret.resource_version() }, "data": data });
    let parameters = PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let patch = Patch::Merge(&patch);
    call(
        || format!("patching Secret {name}"),
        api.patch(name, &parameters, &patch),
    )
    .await?;
    Ok(())
}

/// Without clusterctl's label: what has it is deleted and created again by each `clusterctl upgrade`, and with it the CA
/// would be another one.
fn new(name: &str, data: BTreeMap<String, ByteString>) -> Secret {
    let labels = [
        ("app.kubernetes.io/name", "instar"),
        ("app.kubernetes.io/managed-by", FIELD_MANAGER),
    ];
    Secret {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some(labels.map(|(label, value)| (label.to_owned(), value.to_owned())).into()),
            ..ObjectMeta::default()
        },
        type_: Some("kubernetes.io/tls".to_owned()),
        data: Some(data),
        ..Secret::default()
    }
}
