//! JSON Pointers that a release's values go to.

use instar_domain::JsonPointer;
use json_patch::{AddOperation, Patch, PatchOperation, jsonptr::PointerBuf};
use serde_json::{Value, json};

/// A pointer is read as it is printed, its parents are pointers above it, and a patch that adds what
/// is missing sets the value and gives the same object when it is applied again.
pub fn pointers(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let pointer: JsonPointer = match text.parse() {
        Ok(pointer) => pointer,
        Err(refusal) => {
            let refusal = instar_domain::InvalidPointer::to_string(&refusal);
            assert!(refusal.len() < 8 * JsonPointer::MAX_LENGTH, "{refusal}");
            return;
        }
    };
    assert_eq!(pointer.as_str(), text, "a pointer is printed as it was read");
    assert!(pointer.as_str().len() <= JsonPointer::MAX_LENGTH);
    assert!(pointer.covers(pointer.as_str()));
    for parent in pointer.parents() {
        assert_eq!(parent.as_str().parse(), Ok(parent.clone()), "a parent is a pointer");
        assert!(
            parent.covers(pointer.as_str()) && !pointer.covers(parent.as_str()),
            "{parent}"
        );
    }
    let once = applied(&json!({"spec": {}}), &pointer);
    assert_eq!(
        once.pointer(pointer.as_str()),
        Some(&json!("value")),
        "{pointer} in {once}"
    );
    assert_eq!(applied(&once, &pointer), once, "{pointer} twice");
}

/// What a class' patch does: the parents that are missing, then the value.
fn applied(object: &Value, pointer: &JsonPointer) -> Value {
    let missing = pointer
        .parents()
        .filter(|parent| object.pointer(parent.as_str()).is_none());
    let add = |pointer: &JsonPointer, value| {
        PatchOperation::Add(AddOperation {
            path: PointerBuf::parse(pointer.as_str()).expect("a pointer by RFC 6901"),
            value,
        })
    };
    let mut operations: Vec<PatchOperation> = missing.map(|parent| add(&parent, json!({}))).collect();
    operations.push(add(pointer, json!("value")));
    let mut patched = object.clone();
    json_patch::patch(&mut patched, &Patch(operations)).expect("a patch that applies");
    patched
}
