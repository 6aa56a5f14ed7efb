//! The creation of a template, of which the API server may drop nothing.

use instar_domain::JsonPointer;
use instar_planner::{MintTemplate, TemplateRefusal, Waiting};
use kube::{
    Client,
    api::PostParams,
    core::{DynamicObject, Request, request},
};
use serde_json::Value;

use crate::api::{Error, FIELD_MANAGER};

/// Creates an object. A field that its kind doesn't have is an error: by default the API server drops it with a warning.
pub(super) async fn create_strictly(client: &Client, url: &str, object: &Value) -> Result<DynamicObject, kube::Error> {
    let parameters = PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    };
    let body = serde_json::to_vec(object).map_err(kube::Error::SerdeError)?;
    let create = Request::new(url).create(&parameters, body);
    let mut request = create.map_err(kube::Error::BuildRequest)?;
    // `PostParams` has no such parameter.
    let strict = format!("{}&fieldValidation=Strict", request.uri());
    let Ok(uri) = strict.parse() else {
        let why = request::Error::Validation(format!("{strict} is not a URI"));
        return Err(kube::Error::BuildRequest(why));
    };
    *request.uri_mut() = uri;
    client.request(request).await
}

/// What a refused creation is to the user; any other failure is left as it is.
pub(super) fn refused(mint: &MintTemplate, error: Error) -> Error {
    let Some(message) = error.refusal() else {
        return error;
    };
    Error::NotMinted(Box::new(Waiting::TemplateRefused {
        pool: mint.pool.clone(),
        template: mint.template.clone(),
        refusal: Box::new(TemplateRefusal {
            unknown: unknown(&message, mint.pointers.iter()),
            message,
        }),
    }))
}

/// Which of these values the message of the API server says that there is no field for, be it the value's own, one above
/// it, or one in it.
fn unknown<'p>(message: &str, pointers: impl Iterator<Item = &'p JsonPointer>) -> Vec<JsonPointer> {
    let fields = message.split("unknown field \"").skip(1);
    let fields: Vec<&str> = fields.filter_map(|rest| Some(rest.split_once('"')?.0)).collect();
    let is_unknown = |pointer: &&JsonPointer| {
        let path = pointer.as_str().trim_start_matches('/').replace('/', ".");
        let path = path.replace("~1", "/").replace("~0", "~");
        fields
            .iter()
            .any(|field| is_within(&path, field) || is_within(field, &path))
    };
    pointers.filter(is_unknown).cloned().collect()
}

/// Whether a path of the API server's (`spec.list[0].name`) is another one, or leads below it.
fn is_within(path: &str, outer: &str) -> bool {
    path.strip_prefix(outer)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pointer_of_an_unknown_field_is_found() {
        let pointers: Vec<JsonPointer> = [
            "/spec/template/spec/image",
            "/spec/template/spec/imag/name",
            "/spec/template/spec/disks",
            "/spec/template/metadata/annotations/a~1b",
        ]
        .iter()
        .map(|pointer| pointer.parse().unwrap())
        .collect();
        let found = |message: &str| -> Vec<String> {
            let found = unknown(message, pointers.iter());
            found.iter().map(ToString::to_string).collect()
        };
        // As the API server of v1.35 says it.
        let strict = |fields: &str| {
            format!(
                "DevMachineTemplate in version \"v1beta2\" cannot be handled as a DevMachineTemplate: strict decoding \
                 error: {fields}"
            )
        };
        for (message, expected) in [
            (
                strict(r#"unknown field "spec.template.spec.imag""#),
                vec!["/spec/template/spec/imag/name"],
            ),
            (
                strict(r#"unknown field "spec.template.spec.image", unknown field "spec.template.spec.disks[0].sise""#),
                vec!["/spec/template/spec/image", "/spec/template/spec/disks"],
            ),
            (
                strict(r#"unknown field "spec.template.metadata.annotations.a/b""#),
                vec!["/spec/template/metadata/annotations/a~1b"],
            ),
            (strict(r#"unknown field "spec.template.spec.other""#), vec![]),
            ("spec.template.spec.image: Invalid value".to_owned(), vec![]),
        ] {
            assert_eq!(found(&message), expected, "{message}");
        }
    }
}
