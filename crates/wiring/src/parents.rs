//! Parents that a template lacks: JSON Patch adds no member below a missing one.

use instar_capi::{Patch, TemplateRef};
use instar_domain::JsonPointer;
use serde_json::Value;

/// Where the value at a pointer can't be added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Blocked {
    /// The template has something else than an object there.
    NotAnObject(JsonPointer),
    /// The class' own patch writes below a parent that would have to be added after it, and adding
    /// it would undo what that patch wrote.
    WouldUndo {
        parent: JsonPointer,
        patch: String,
        path: String,
    },
}

/// The parents of a pointer that have to be added first, outermost first.
pub(crate) fn missing(
    pointer: &JsonPointer,
    template: &Value,
    reference: &TemplateRef,
    own: &[Patch],
) -> Result<Vec<JsonPointer>, Blocked> {
    let mut missing = Vec::new();
    for parent in pointer.parents() {
        match template.pointer(parent.as_str()) {
            Some(Value::Object(_)) => {}
            None | Some(Value::Null) => {
                if let Some((patch, path)) = writer_below(&parent, reference, own) {
                    return Err(Blocked::WouldUndo { parent, patch, path });
                }
                missing.push(parent);
            }
            Some(_) => return Err(Blocked::NotAnObject(parent)),
        }
    }
    Ok(missing)
}

/// The class' own patch that writes at the parent or below it, in templates of that kind.
fn writer_below(parent: &JsonPointer, reference: &TemplateRef, own: &[Patch]) -> Option<(String, String)> {
    own.iter().find_map(|patch| {
        patch
            .definitions
            .iter()
            .filter(|definition| definition.selector.kind == reference.kind)
            .flat_map(|definition| &definition.json_patches)
            .find(|json_patch| json_patch.op != "remove" && parent.covers(&json_patch.path))
            .map(|json_patch| (patch.name.clone(), json_patch.path.clone()))
    })
}
