//! Schemas of fields whose types know nothing of schemas.

use instar_domain::JsonPointer;
use schemars::{Schema, SchemaGenerator, json_schema};

/// A full Kubernetes version: the pattern says what `KubeVersion` reads, and no more.
pub(crate) fn kube_version(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "maxLength": 64,
        "pattern": r"^v(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$",
    })
}

/// The name of a catalog, which is also the value of a label; the empty one is the default catalog's.
pub(crate) fn catalog_name(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "maxLength": 63,
        "pattern": r"^([a-z0-9]([a-z0-9-]*[a-z0-9])?)?$",
    })
}

/// A pointer below `/spec/` with no empty member; the rest is checked at admission.
pub(crate) fn pointer(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "maxLength": JsonPointer::MAX_LENGTH,
        "pattern": r"^/spec(/[^/]+)+$",
    })
}

/// A CEL expression; what it may say is checked at admission.
pub(crate) fn expression(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "minLength": 1, "maxLength": 1024 })
}

/// An API group and version, or the version alone in the group without a name.
pub(crate) fn api_version(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "maxLength": 317,
        "pattern": r"^([a-z0-9]([a-z0-9.-]*[a-z0-9])?/)?v[0-9]+((alpha|beta)[0-9]+)?$",
    })
}

/// A kind.
pub(crate) fn kind(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "minLength": 1, "maxLength": 63, "pattern": "^[A-Z][A-Za-z0-9]*$" })
}

/// A date without a time.
pub(crate) fn date(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "format": "date", "maxLength": 10, "nullable": true })
}

/// A point in time.
pub(crate) fn time(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "format": "date-time", "maxLength": 64, "nullable": true })
}

/// A duration in hours, minutes and seconds.
pub(crate) fn duration(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "minLength": 2,
        "maxLength": 24,
        "pattern": "^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}s)?$",
    })
}

/// The same, where it may be absent.
pub(crate) fn optional_duration(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = duration(generator);
    schema.insert("nullable".to_owned(), true.into());
    schema
}

/// A label selector, bounded, and with its operators.
pub(crate) fn label_selector(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "properties": {
            "matchLabels": {
                "type": "object",
                "maxProperties": 16,
                "additionalProperties": { "type": "string", "maxLength": 63 },
                "description": "Labels that it must have.",
            },
            "matchExpressions": {
                "type": "array",
                "maxItems": 16,
                "x-kubernetes-list-type": "atomic",
                "description": "What must hold of its labels, all of it.",
                "items": {
                    "type": "object",
                    "required": ["key", "operator"],
                    "x-kubernetes-validations": [{
                        "rule": "(self.operator == 'In' || self.operator == 'NotIn') == (has(self.values) && size(self.values) > 0)",
                        "message": "In and NotIn need values, Exists and DoesNotExist have none",
                    }],
                    "properties": {
                        "key": { "type": "string", "minLength": 1, "maxLength": 317, "description": "The label." },
                        "operator": {
                            "type": "string",
                            "enum": ["In", "NotIn", "Exists", "DoesNotExist"],
                            "description": "How its value is compared.",
                        },
                        "values": {
                            "type": "array",
                            "maxItems": 64,
                            "x-kubernetes-list-type": "atomic",
                            "items": { "type": "string", "maxLength": 63 },
                            "description": "With what, for In and NotIn.",
                        },
                    },
                },
            },
        },
    })
}

/// A scalar that people write without quotes or with.
pub(crate) fn scalar(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "x-kubernetes-int-or-string": true, "maxLength": 1024, "nullable": true })
}

/// Labels as Kubernetes bounds them.
pub(crate) fn labels(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 16,
        "additionalProperties": { "type": "string", "maxLength": 63 },
    })
}

/// Conditions as Kubernetes writes them, bounded and by type.
pub(crate) fn conditions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 8,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["type", "status", "lastTransitionTime", "reason", "message"],
            "properties": {
                "type": { "type": "string", "maxLength": 63, "description": "What it is about." },
                "status": { "type": "string", "enum": ["True", "False", "Unknown"], "description": "Whether it holds." },
                "observedGeneration": { "type": "integer", "format": "int64", "minimum": 0, "description": "The generation that it describes." },
                "lastTransitionTime": { "type": "string", "format": "date-time", "maxLength": 64, "description": "When the status changed." },
                "reason": { "type": "string", "minLength": 1, "maxLength": 64, "description": "Machine-readable reason." },
                "message": { "type": "string", "maxLength": 1024, "description": "A sentence for people." },
            },
        },
    })
}
