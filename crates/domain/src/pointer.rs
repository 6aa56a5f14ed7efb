//! A JSON Pointer (RFC 6901) into an object's spec.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Where in a template a value goes: `/spec/template/spec/image`.
///
/// Bounds: at most [`JsonPointer::MAX_LENGTH`] bytes, below `/spec/`, no empty member, no array
/// index. Cluster API's patches allow no index but a prepend or an append, and neither gives the
/// same result when it is applied twice.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct JsonPointer(String);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a JSON Pointer for a template's value: {why}")]
pub struct InvalidPointer {
    text: String,
    why: &'static str,
}

impl JsonPointer {
    /// The longest pointer, in bytes: half of what Cluster API allows for a patch's path.
    pub const MAX_LENGTH: usize = 256;

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The pointers of all parents that may be missing, outermost first: for `/spec/a/b/c`,
    /// `/spec/a` and `/spec/a/b`. `/spec` is never missing.
    pub fn parents(&self) -> impl Iterator<Item = Self> + '_ {
        self.0
            .match_indices('/')
            .skip(2)
            .filter_map(|(at, _)| self.0.get(..at))
            .map(|parent| Self(parent.to_owned()))
    }

    /// Whether `other` is this pointer or lies below it.
    #[must_use]
    pub fn covers(&self, other: &str) -> bool {
        lies_at_or_below(other, self.as_str())
    }

    /// Whether one of the two lies at, above or below the other.
    #[must_use]
    pub fn overlaps(&self, other: &str) -> bool {
        self.covers(other) || lies_at_or_below(&self.0, other)
    }
}

fn lies_at_or_below(pointer: &str, other: &str) -> bool {
    let rest = pointer.strip_prefix(other);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl fmt::Display for JsonPointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for JsonPointer {
    type Err = InvalidPointer;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = |why| InvalidPointer {
            text: text.chars().take(Self::MAX_LENGTH).collect(),
            why,
        };
        if text.len() > Self::MAX_LENGTH {
            return Err(refuse("it is longer than 256 bytes"));
        }
        let below = text
            .strip_prefix("/spec/")
            .ok_or_else(|| refuse("it must begin with /spec/"))?;
        for member in below.split('/') {
            if member.is_empty() {
                return Err(refuse("it has an empty member"));
            }
            if member == "-" || member.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(refuse("it goes through an array, which a patch can't set twice alike"));
            }
            if member.chars().any(char::is_control) {
                return Err(refuse("it has a control character"));
            }
            if !escapes_are_whole(member) {
                return Err(refuse("a ~ must be written as ~0, and a / inside a member as ~1"));
            }
        }
        Ok(Self(text.to_owned()))
    }
}

fn escapes_are_whole(member: &str) -> bool {
    member
        .split('~')
        .skip(1)
        .all(|rest| rest.starts_with('0') || rest.starts_with('1'))
}

impl TryFrom<String> for JsonPointer {
    type Error = InvalidPointer;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<JsonPointer> for String {
    fn from(pointer: JsonPointer) -> Self {
        pointer.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn refuses_what_a_patch_cannot_set() {
        for (text, why) in [
            ("spec/a", "begin with /spec/"),
            ("/metadata/name", "begin with /spec/"),
            ("/spec/", "empty member"),
            ("/spec/a//b", "empty member"),
            ("/spec/disks/0/size", "through an array"),
            ("/spec/disks/-", "through an array"),
            ("/spec/a~2", "written as ~0"),
            ("/spec/a~", "written as ~0"),
            ("/spec/a\nb", "control character"),
            (&format!("/spec/{}", "a".repeat(256)), "longer than 256"),
        ] {
            let error = text.parse::<JsonPointer>().unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn knows_its_parents() {
        let pointer: JsonPointer = "/spec/template/spec/image".parse().unwrap();
        let parents: Vec<String> = pointer.parents().map(String::from).collect();
        assert_eq!(parents, ["/spec/template", "/spec/template/spec"]);
        let shallow: JsonPointer = "/spec/image".parse().unwrap();
        assert_eq!(shallow.parents().count(), 0);
    }

    #[test]
    fn covers_itself_and_below() {
        let pointer: JsonPointer = "/spec/a".parse().unwrap();
        assert!(pointer.covers("/spec/a"));
        assert!(pointer.covers("/spec/a/b"));
        assert!(!pointer.covers("/spec/ab"));
    }

    #[test]
    fn overlaps_with_what_is_above_and_below() {
        let pointer: JsonPointer = "/spec/a/b".parse().unwrap();
        for (other, overlaps) in [
            ("/spec/a/b", true),
            ("/spec/a", true),
            ("/spec", true),
            ("/spec/a/b/c", true),
            ("/spec/a/bc", false),
            ("/spec/a/c", false),
            ("/spec/a/", false),
        ] {
            assert_eq!(pointer.overlaps(other), overlaps, "{other}");
        }
    }

    proptest! {
        #[test]
        fn prints_what_it_read(text in "/spec(/[a-zA-Z~01.-]{1,8}){1,4}") {
            if let Ok(pointer) = text.parse::<JsonPointer>() {
                prop_assert_eq!(pointer.to_string(), text);
            }
        }
    }
}
