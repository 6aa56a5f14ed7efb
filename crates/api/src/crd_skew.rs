//! Whether a program may work with the CustomResourceDefinitions that it finds: one table, which is also the page
//! docs/reference/crd-skew.md.
//!
//! An API server prunes the fields that a definition doesn't have, without a word: a program that is newer than the
//! definitions would lose what it writes, and one that is older wouldn't read what is there.

use std::{cmp::Ordering, collections::BTreeSet};

use semver::Version;

use crate::{Definition, INSTAR_VERSION_ANNOTATION, STORED_VERSION, definition::read_version};

/// What a program finds of a CustomResourceDefinition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FoundDefinition {
    /// The annotation [`INSTAR_VERSION_ANNOTATION`].
    pub version: Option<String>,
    /// `status.storedVersions`: at which versions objects may be stored.
    pub stored: Vec<String>,
    /// The fields that the program knows and it doesn't have.
    pub missing_fields: BTreeSet<String>,
}

/// Whether a program works with a CustomResourceDefinition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SkewVerdict {
    /// It does.
    Allowed,
    /// It writes nothing, and isn't ready.
    Refused,
}

impl SkewVerdict {
    /// The verdict as the page has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Refused => "refused",
        }
    }
}

/// For how long an admission server that was ready stays so with a CustomResourceDefinition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerStays {
    /// For some minutes.
    AWhile,
    /// Without a limit.
    Ready,
}

impl ServerStays {
    /// As the page has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AWhile => "for 5 minutes",
            Self::Ready => "without a limit",
        }
    }
}

macro_rules! skews {
    ($($variant:ident: $verdict:ident, $what:literal, $why:literal, $remedy:literal;)+) => {
        /// How a CustomResourceDefinition and a program fit.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum CrdSkew {
            $(#[doc = $what] $variant,)+
        }

        impl CrdSkew {
            /// All rows, in the order in which they are looked at: of several that hold, the first counts.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// Whether the program works with it.
            #[must_use]
            pub const fn verdict(self) -> SkewVerdict {
                match self {
                    $(Self::$variant => SkewVerdict::$verdict,)+
                }
            }

            /// What is the case, of the definition.
            #[must_use]
            pub const fn what(self) -> &'static str {
                match self {
                    $(Self::$variant => $what,)+
                }
            }

            /// Why that is the verdict.
            #[must_use]
            pub const fn why(self) -> &'static str {
                match self {
                    $(Self::$variant => $why,)+
                }
            }

            /// What to do.
            #[must_use]
            pub const fn remedy(self) -> &'static str {
                match self {
                    $(Self::$variant => $remedy,)+
                }
            }
        }
    };
}

skews! {
    Missing: Refused,
        "is missing",
        "nothing of the kind can be read or written",
        "apply the CRDs with this program: instar crd --apply";
    UnknownStored: Refused,
        "has objects that are stored at a version that this program doesn't know",
        "what such objects say can't be known",
        "run the version of Instar that has it, or write the objects again at v1alpha1 and take it out of status.storedVersions";
    NewerMinor: Refused,
        "is newer than this program by a minor version",
        "objects may have fields that this program wouldn't heed",
        "run that version of Instar; to stay with this one, go back with instar crd --apply of this program, which refuses \
         where fields would be lost";
    OlderMinor: Refused,
        "is older than this program by a minor version",
        "the API server would drop fields that this program writes, or refuse their values",
        "apply the CRDs with this program first: instar crd --apply";
    MissingFields: Refused,
        "lacks fields that this program knows",
        "the API server would drop what this program writes into them",
        "apply the CRDs with this program: instar crd --apply";
    NewerPatch: Allowed,
        "is newer than this program by a patch version",
        "a patch version changes no field",
        "nothing: run that version of Instar when it suits you";
    OlderPatch: Allowed,
        "is older than this program by a patch version",
        "a patch version changes no field",
        "nothing: apply the CRDs with this program when it suits you, by instar crd --apply";
    UnknownOrigin: Allowed,
        "doesn't say by its annotation from which version of Instar it is",
        "it has every field that this program knows",
        "apply the CRDs with this program when it suits you: instar crd --apply";
    Same: Allowed,
        "is of this program's version",
        "it was made for this program",
        "nothing";
}

impl CrdSkew {
    /// For how long a server that was ready stays so. It writes nothing of these kinds, and of newer definitions it reads
    /// all that it knows: without it every guarded edit would be refused, for as long as the new servers don't start.
    #[must_use]
    pub const fn server_stays(self) -> ServerStays {
        match self {
            Self::Missing | Self::UnknownStored | Self::OlderMinor | Self::MissingFields => ServerStays::AWhile,
            Self::NewerMinor | Self::NewerPatch | Self::OlderPatch | Self::UnknownOrigin | Self::Same => {
                ServerStays::Ready
            }
        }
    }

    /// How a definition that was found fits a program of a version; `None` is one that is missing.
    #[must_use]
    pub fn of(found: Option<&FoundDefinition>, program: &Version) -> Self {
        let Some(found) = found else {
            return Self::Missing;
        };
        if found.unknown_stored().is_some() {
            return Self::UnknownStored;
        }
        let Some(version) = found.version() else {
            return if found.missing_fields.is_empty() {
                Self::UnknownOrigin
            } else {
                Self::MissingFields
            };
        };
        // Before 1.0 a minor version is what a major one is later, so a difference of either weighs the same.
        let minor = |version: &Version| (version.major, version.minor);
        match (minor(&version).cmp(&minor(program)), version.cmp_precedence(program)) {
            (Ordering::Greater, _) => Self::NewerMinor,
            (Ordering::Less, _) => Self::OlderMinor,
            (Ordering::Equal, _) if !found.missing_fields.is_empty() => Self::MissingFields,
            (Ordering::Equal, Ordering::Greater) => Self::NewerPatch,
            (Ordering::Equal, Ordering::Less) => Self::OlderPatch,
            (Ordering::Equal, Ordering::Equal) => Self::Same,
        }
    }

    /// A sentence about a definition that was found.
    #[must_use]
    pub fn message(self, definition: Definition, found: Option<&FoundDefinition>, program: &Version) -> String {
        let detail = match self {
            Self::Missing | Self::Same => String::new(),
            Self::UnknownStored => {
                let stored = found.and_then(FoundDefinition::unknown_stored).unwrap_or_default();
                format!(" (status.storedVersions: {stored})")
            }
            Self::NewerMinor | Self::OlderMinor | Self::NewerPatch | Self::OlderPatch => {
                let version = found.and_then(FoundDefinition::version);
                let version = version.map_or_else(String::new, |version| format!("v{version}, "));
                format!(" ({version}this program is v{program})")
            }
            Self::MissingFields => {
                found.map_or_else(String::new, |found| format!(" ({})", listed(&found.missing_fields)))
            }
            Self::UnknownOrigin => format!(" ({INSTAR_VERSION_ANNOTATION})"),
        };
        format!(
            "CustomResourceDefinition {} {}{detail}: {}; {}",
            definition.name(),
            self.what(),
            self.why(),
            self.remedy()
        )
    }
}

impl FoundDefinition {
    /// The version of Instar that it says it is from.
    fn version(&self) -> Option<Version> {
        read_version(self.version.as_deref()?)
    }

    /// A version at which objects may be stored, and that we don't know.
    fn unknown_stored(&self) -> Option<&str> {
        let mut stored = self.stored.iter().map(String::as_str);
        stored.find(|version| *version != STORED_VERSION)
    }
}

/// So many are named; one alone says what is the matter.
const NAMED: usize = 3;

fn listed(fields: &BTreeSet<String>) -> String {
    let mut named: Vec<String> = fields.iter().take(NAMED).cloned().collect();
    match fields.len().saturating_sub(NAMED) {
        0 => {}
        more => named.push(format!("and {more} more")),
    }
    named.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(version: Option<&str>) -> FoundDefinition {
        FoundDefinition {
            version: version.map(ToOwned::to_owned),
            stored: vec![STORED_VERSION.to_owned()],
            missing_fields: BTreeSet::new(),
        }
    }

    fn lacking(version: Option<&str>) -> FoundDefinition {
        FoundDefinition {
            missing_fields: ["status.health".to_owned()].into(),
            ..found(version)
        }
    }

    fn stored_at(versions: &[&str]) -> FoundDefinition {
        FoundDefinition {
            stored: versions.iter().map(|version| (*version).to_owned()).collect(),
            ..found(Some("v0.2.1"))
        }
    }

    #[test]
    fn each_row_of_the_table() {
        let program = read_version("v0.2.1").unwrap();
        let rows = [
            (None, CrdSkew::Missing),
            (Some(stored_at(&["v1alpha1", "v1beta1"])), CrdSkew::UnknownStored),
            (Some(stored_at(&["v1beta1"])), CrdSkew::UnknownStored),
            // Where nothing was ever stored, the API server writes none.
            (Some(stored_at(&[])), CrdSkew::Same),
            (Some(found(Some("v0.3.0"))), CrdSkew::NewerMinor),
            (Some(found(Some("v0.3.0-rc.1"))), CrdSkew::NewerMinor),
            (Some(found(Some("v1.2.1"))), CrdSkew::NewerMinor),
            (Some(found(Some("v0.1.9"))), CrdSkew::OlderMinor),
            (Some(lacking(Some("v0.1.9"))), CrdSkew::OlderMinor),
            (Some(lacking(Some("v0.2.0"))), CrdSkew::MissingFields),
            (Some(lacking(Some("v0.2.1"))), CrdSkew::MissingFields),
            (Some(lacking(None)), CrdSkew::MissingFields),
            (Some(found(Some("v0.2.2"))), CrdSkew::NewerPatch),
            (Some(found(Some("v0.2.0"))), CrdSkew::OlderPatch),
            (Some(found(Some("v0.2.1-rc.1"))), CrdSkew::OlderPatch),
            (Some(found(None)), CrdSkew::UnknownOrigin),
            (Some(found(Some("main"))), CrdSkew::UnknownOrigin),
            (Some(found(Some("v0.2.1"))), CrdSkew::Same),
            (Some(found(Some("0.2.1+build.5"))), CrdSkew::Same),
        ];
        for (found, expected) in &rows {
            assert_eq!(CrdSkew::of(found.as_ref(), &program), *expected, "{found:?}");
        }
        for skew in CrdSkew::ALL {
            assert!(rows.iter().any(|(_, row)| row == skew), "no row for {skew:?}");
        }
    }

    #[test]
    fn a_message_names_the_definition_what_is_wrong_and_what_to_do() {
        let program = read_version("v0.2.1").unwrap();
        let message = |found: Option<FoundDefinition>| {
            let skew = CrdSkew::of(found.as_ref(), &program);
            skew.message(Definition::UpgradePolicies, found.as_ref(), &program)
        };
        let name = "CustomResourceDefinition upgradepolicies.upgrade.cluster.x-k8s.io";
        assert_eq!(
            message(None),
            format!(
                "{name} is missing: nothing of the kind can be read or written; apply the CRDs with this program: instar \
                 crd --apply"
            )
        );
        assert_eq!(
            message(Some(found(Some("v0.1.0")))),
            format!(
                "{name} is older than this program by a minor version (v0.1.0, this program is v0.2.1): the API server \
                 would drop fields that this program writes, or refuse their values; apply the CRDs with this program \
                 first: instar crd --apply"
            )
        );
        let mut many = lacking(None);
        many.missing_fields.extend(["a", "b", "c"].map(ToOwned::to_owned));
        assert!(message(Some(many)).contains("knows (a, b, c, and 1 more): the"));
        assert!(message(Some(stored_at(&["v1beta1"]))).contains("(status.storedVersions: v1beta1)"));
    }
}
