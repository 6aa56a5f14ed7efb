//! What `instar wire` prints, and its exit code: a function of the input.

use std::collections::BTreeSet;

use instar_api::CatalogName;
use instar_wiring::wire;
use serde_json::Value;

use super::WireArgs;
use super::{Error, input::Input};
use crate::output::OutputFormat;
use crate::{Outcome, yaml};

/// The result of a run.
#[derive(Debug)]
pub(crate) struct Answer {
    /// For standard output.
    pub(crate) text: String,
    /// For standard error, one line each.
    pub(crate) notes: Vec<String>,
    /// How it ends.
    pub(crate) outcome: Outcome,
}

/// Wires the class.
pub(crate) fn answer(input: &Input, args: &WireArgs) -> Result<Answer, Error> {
    let class = manifest(&input.class);
    let of_class = CatalogName::of_class(&class);
    let catalog = input.releases.catalog(&of_class);
    let wired = wire(&class, &input.templates, &catalog)?;

    let mut notes = input.releases.left_out(&catalog);
    if catalog.releases().next().is_none() {
        return Err(Error::NoRelease {
            catalog: of_class,
            left_out: notes,
        });
    }
    notes.extend(wired.unwired.iter().map(|unwired| format!("not wired: {unwired}")));
    let mut failed = args.strict && !notes.is_empty();
    if failed {
        notes.push("check failed: with --strict, the lines above are errors".to_owned());
    }
    if args.check {
        let parts = differing(&class, &wired.class);
        if !parts.is_empty() {
            failed = true;
            notes.push(format!(
                "check failed: ClusterClass {} is not up to date: instar wire would change {}; apply its output",
                name(&class),
                parts.join(", ")
            ));
        }
    }
    let text = match args.output {
        // Nothing for kubectl to apply.
        _ if failed || args.check => String::new(),
        OutputFormat::Yaml => yaml::print(&wired.class)?,
        OutputFormat::Json => yaml::json(&wired.class)?,
    };
    Ok(Answer {
        text,
        notes,
        outcome: if failed { Outcome::CheckFailed } else { Outcome::Done },
    })
}

/// Metadata that the API server sets, which does not belong into a manifest.
const SET_BY_THE_SERVER: [&str; 7] = [
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generation",
    "managedFields",
    "resourceVersion",
    "uid",
];
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

fn manifest(class: &Value) -> Value {
    let mut class = class.clone();
    let Some(map) = class.as_object_mut() else {
        return class;
    };
    map.remove("status");
    if let Some(metadata) = map.get_mut("metadata").and_then(Value::as_object_mut) {
        for field in SET_BY_THE_SERVER {
            metadata.remove(field);
        }
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.remove(LAST_APPLIED);
            if annotations.is_empty() {
                metadata.remove("annotations");
            }
        }
    }
    class
}

/// `namespace/name`, or the name.
fn name(class: &Value) -> String {
    let text = |pointer| class.pointer(pointer).and_then(Value::as_str);
    let name = text("/metadata/name").unwrap_or("without a name");
    text("/metadata/namespace").map_or_else(|| name.to_owned(), |namespace| format!("{namespace}/{name}"))
}

/// The parts of the class that wiring it would change.
fn differing(class: &Value, wired: &Value) -> Vec<String> {
    let mut parts = Vec::new();
    if class.pointer("/metadata/annotations") != wired.pointer("/metadata/annotations") {
        parts.push("metadata.annotations".to_owned());
    }
    let patches = "/spec/patches";
    if class.pointer(patches) != wired.pointer(patches) {
        let names = differing_names(class.pointer(patches), wired.pointer(patches));
        parts.push(if names.is_empty() {
            "the order of spec.patches".to_owned()
        } else {
            format!("spec.patches ({})", names.join(", "))
        });
    }
    if class.pointer("/spec/kubernetesVersions") != wired.pointer("/spec/kubernetesVersions") {
        parts.push("spec.kubernetesVersions".to_owned());
    }
    parts
}

/// The names of the patches that are in one list and not, or not the same, in the other.
fn differing_names<'v>(one: Option<&'v Value>, other: Option<&'v Value>) -> Vec<&'v str> {
    let list = |patches: Option<&'v Value>| patches.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let (one, other) = (list(one), list(other));
    let alone = one
        .iter()
        .filter(|patch| !other.contains(patch))
        .chain(other.iter().filter(|patch| !one.contains(patch)));
    let names: BTreeSet<&str> = alone
        .map(|patch| patch.get("name").and_then(Value::as_str).unwrap_or("without a name"))
        .collect();
    names.into_iter().collect()
}
