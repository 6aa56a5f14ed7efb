//! `admission.k8s.io/v1`: the review of the request, and the review of the answer.
//!
//! The type of a route's objects has the fields that the route needs; all others are skipped, and the review is read
//! once.

use std::{borrow::Cow, collections::BTreeMap};

use instar_admission::{REFUSAL_CODE, REFUSAL_REASON, Verdict};
use instar_domain::json::Object;
use serde::{Deserialize, Serialize};

/// The review of a request, with objects of type `T`.
#[derive(Deserialize)]
#[serde(bound(deserialize = "T: Deserialize<'de>"))]
pub(crate) struct Asked<'a, T> {
    #[serde(borrow)]
    pub(crate) request: Object<Request<'a, T>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "T: Deserialize<'de>"))]
pub(crate) struct Request<'a, T> {
    pub(crate) uid: String,
    #[serde(default, borrow)]
    pub(crate) kind: Kind<'a>,
    pub(crate) operation: Operation,
    #[serde(default)]
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) namespace: String,
    #[serde(default, borrow)]
    pub(crate) user_info: User<'a>,
    #[serde(default)]
    pub(crate) dry_run: Option<bool>,
    /// The new object; None for a deletion.
    #[serde(default = "nothing")]
    pub(crate) object: Option<T>,
    /// The present object; None for a creation.
    #[serde(default = "nothing")]
    pub(crate) old_object: Option<T>,
}

const fn nothing<T>() -> Option<T> {
    None
}

#[derive(Deserialize, Default)]
#[allow(clippy::struct_field_names, reason = "they are Kubernetes' own")]
pub(crate) struct Kind<'a> {
    #[serde(default, borrow)]
    pub(crate) group: Cow<'a, str>,
    #[serde(default, borrow)]
    pub(crate) version: Cow<'a, str>,
    #[serde(default, borrow)]
    pub(crate) kind: Cow<'a, str>,
}

#[derive(Deserialize, Default)]
pub(crate) struct User<'a> {
    #[serde(default, borrow)]
    pub(crate) username: Cow<'a, str>,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum Operation {
    Create,
    Update,
    Delete,
    Connect,
}

/// The UID of a request that can't be read, for its answer.
#[derive(Deserialize)]
pub(crate) struct Unread {
    pub(crate) request: Object<Uid>,
}

/// The UID of a request, or of an object.
#[derive(Deserialize)]
pub(crate) struct Uid {
    pub(crate) uid: String,
}

/// The object that a review is about.
#[derive(Deserialize)]
pub(crate) struct ReviewedObject {
    request: Object<Objects>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Objects {
    #[serde(default = "nothing")]
    object: Option<Identified>,
    #[serde(default = "nothing")]
    old_object: Option<Identified>,
}

/// An object with a UID. A new object has none before it is validated.
#[derive(Deserialize)]
struct Identified {
    metadata: Uid,
}

impl ReviewedObject {
    /// The object's UID; empty where there is no object.
    pub(crate) fn uid(self) -> String {
        let Object(Objects { object, old_object }) = self.request;
        object
            .or(old_object)
            .map(|object| object.metadata.uid)
            .unwrap_or_default()
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Answered {
    api_version: &'static str,
    kind: &'static str,
    response: Response,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Response {
    uid: String,
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    audit_annotations: BTreeMap<&'static str, String>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "base64")]
    patch: Option<json_patch::Patch>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch_type: Option<&'static str>,
}

#[derive(Serialize)]
struct Status {
    code: u16,
    reason: &'static str,
    message: String,
}

pub(crate) enum Answer {
    Judged {
        verdict: Verdict,
        patch: Option<json_patch::Patch>,
    },
    Malformed(String),
}

impl Answered {
    pub(crate) fn new(uid: String, answer: Answer) -> Self {
        let mut response = Response {
            uid,
            allowed: false,
            status: None,
            warnings: Vec::new(),
            audit_annotations: BTreeMap::new(),
            patch: None,
            patch_type: None,
        };
        match answer {
            Answer::Judged { verdict, patch } => {
                response.audit_annotations = verdict.audit();
                response.status = verdict.is_refusal().then(|| Status {
                    code: REFUSAL_CODE,
                    reason: REFUSAL_REASON,
                    message: verdict.message(),
                });
                response.allowed = response.status.is_none();
                response.warnings = verdict.warnings;
                if response.allowed {
                    response.patch_type = patch.is_some().then_some("JSONPatch");
                    response.patch = patch;
                }
            }
            Answer::Malformed(message) => {
                response.status = Some(Status {
                    code: 400,
                    reason: "BadRequest",
                    message,
                });
            }
        }
        Self {
            api_version: "admission.k8s.io/v1",
            kind: "AdmissionReview",
            response,
        }
    }
}

#[allow(clippy::ref_option, reason = "serde hands the field over like this")]
fn base64<S: serde::Serializer>(patch: &Option<json_patch::Patch>, serializer: S) -> Result<S::Ok, S::Error> {
    let text = serde_json::to_vec(patch).map_err(serde::ser::Error::custom)?;
    // k8s-openapi's bytes are base64 in JSON, as everywhere in Kubernetes.
    k8s_openapi::ByteString(text).serialize(serializer)
}
