//! `admission.k8s.io/v1`: the review that comes in and the one that goes out.
//!
//! The objects of a request stay text until a route knows which view of them it needs.

use instar_admission::Denial;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;

/// A review that asks.
#[derive(Deserialize)]
pub(crate) struct Asked<'a> {
    #[serde(borrow)]
    pub(crate) request: Request<'a>,
}

/// What is asked.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Request<'a> {
    pub(crate) uid: String,
    pub(crate) operation: Operation,
    #[serde(default)]
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) dry_run: Option<bool>,
    #[serde(borrow, default)]
    object: Option<&'a RawValue>,
    #[serde(borrow, default)]
    old_object: Option<&'a RawValue>,
}

/// What is to be done to the object.
#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum Operation {
    Create,
    Update,
    Delete,
    Connect,
}

impl Request<'_> {
    /// The object as it would be, or nothing where it is deleted.
    pub(crate) fn object<T: DeserializeOwned>(&self) -> Result<Option<T>, Unreadable> {
        read("object", self.object)
    }

    /// The object as it is, or nothing where it is created.
    pub(crate) fn old_object<T: DeserializeOwned>(&self) -> Result<Option<T>, Unreadable> {
        read("oldObject", self.old_object)
    }
}

/// An object of the request is not what its kind says.
pub(crate) struct Unreadable(pub(crate) String);

fn read<T: DeserializeOwned>(field: &str, text: Option<&RawValue>) -> Result<Option<T>, Unreadable> {
    let Some(text) = text else { return Ok(None) };
    serde_json::from_str(text.get()).map_err(|error| Unreadable(format!("request.{field} can't be read: {error}")))
}

/// A review that answers.
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

/// What a route answers.
pub(crate) enum Answer {
    Allowed {
        warnings: Vec<String>,
        patch: Option<json_patch::Patch>,
    },
    Denied(Denial),
    Malformed(String),
}

impl Answered {
    pub(crate) fn new(uid: String, answer: Answer) -> Self {
        let mut response = Response {
            uid,
            allowed: false,
            status: None,
            warnings: Vec::new(),
            patch: None,
            patch_type: None,
        };
        match answer {
            Answer::Allowed { warnings, patch } => {
                response.allowed = true;
                response.warnings = warnings;
                response.patch_type = patch.is_some().then_some("JSONPatch");
                response.patch = patch;
            }
            Answer::Denied(denial) => {
                response.status = Some(Status {
                    code: denial.rule.code(),
                    reason: denial.rule.reason(),
                    message: denial.to_string(),
                });
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
