//! Which resources of Kubernetes' own APIs are served no more: a table that `cargo xtask removed-apis` makes from
//! Kubernetes' sources.
//!
//! An API server names the release that takes away an API too, as it was planned when that server was built. What a newer
//! release says counts more: dates are put off. The table also names what to use, which a server doesn't.

use instar_domain::Minor;

const TABLE: &str = include_str!("../data/removed_apis.tsv");

/// A resource at a version of its API.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ApiResource {
    /// Empty for the core group.
    pub group: String,
    pub version: String,
    /// In the plural, without a subresource.
    pub resource: String,
}

impl ApiResource {
    /// As an object's `apiVersion` says it.
    #[must_use]
    pub fn group_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }
}

/// What becomes of a resource at a version of its API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Removal {
    /// The first minor that doesn't serve it.
    pub(crate) gone: Minor,
    /// What stays; absent where nothing does.
    pub(crate) successor: Option<ApiResource>,
}

/// What the table says; none of what is not Kubernetes' own, or stays.
pub(crate) fn removal(api: &ApiResource) -> Option<Removal> {
    let ApiResource {
        group,
        version,
        resource,
    } = api;
    let key = format!("api\t{group}\t{version}\t{resource}\t");
    read(TABLE.lines().find_map(|line| line.strip_prefix(&key))?)
}

fn read(facts: &str) -> Option<Removal> {
    let (gone, successor) = match facts.split_once('\t') {
        Some((gone, successor)) => (gone, Some(successor)),
        None => (facts, None),
    };
    let successor = successor.and_then(|text| {
        let mut parts = text.strip_prefix("use=")?.split('/').map(str::to_owned);
        Some(ApiResource {
            group: parts.next()?,
            version: parts.next()?,
            resource: parts.next()?,
        })
    });
    let gone = gone.strip_prefix("gone=")?.parse().ok()?;
    Some(Removal { gone, successor })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_read() {
        let mut minors = 0;
        for line in TABLE.lines().filter(|line| !line.starts_with('#')) {
            let fields: Vec<&str> = line.splitn(5, '\t').collect();
            match *fields {
                ["source", module, sum] => {
                    assert!(module.starts_with("k8s.io/api v0."), "{line}");
                    assert!(sum.starts_with("h1:"), "{line}");
                    minors += 1;
                }
                ["api", _, _, _, facts] => {
                    let removal = read(facts).unwrap();
                    assert_eq!(removal.successor.is_some(), facts.contains("use="), "{line}");
                }
                _ => panic!("{line}"),
            }
        }
        assert!(minors >= 16, "{minors}");
    }

    /// Each was looked up by hand in `types.go` of the group, in the release before it was gone and in the newest.
    #[test]
    fn known_rows_hold() {
        let v1_of = |group: &str| format!("{group}/v1");
        for (api, gone, uses) in [
            ("policy/v1beta1/poddisruptionbudgets", "v1.25", v1_of("policy")),
            ("policy/v1beta1/podsecuritypolicies", "v1.25", String::new()),
            ("batch/v1beta1/cronjobs", "v1.25", v1_of("batch")),
            (
                "storage.k8s.io/v1beta1/csistoragecapacities",
                "v1.27",
                v1_of("storage.k8s.io"),
            ),
            // Its own replacement is gone by now.
            (
                "flowcontrol.apiserver.k8s.io/v1beta2/flowschemas",
                "v1.29",
                v1_of("flowcontrol.apiserver.k8s.io"),
            ),
            (
                "flowcontrol.apiserver.k8s.io/v1beta3/prioritylevelconfigurations",
                "v1.32",
                v1_of("flowcontrol.apiserver.k8s.io"),
            ),
            (
                "admissionregistration.k8s.io/v1beta1/validatingadmissionpolicies",
                "v1.34",
                v1_of("admissionregistration.k8s.io"),
            ),
            (
                "networking.k8s.io/v1beta1/servicecidrs",
                "v1.37",
                v1_of("networking.k8s.io"),
            ),
            // v1.34 said v1.37 of it.
            (
                "resource.k8s.io/v1beta1/resourceclaims",
                "v1.38",
                v1_of("resource.k8s.io"),
            ),
            // It names no end, and its package went.
            (
                "resource.k8s.io/v1alpha2/resourceslices",
                "v1.31",
                v1_of("resource.k8s.io"),
            ),
        ] {
            let mut parts = api.split('/').map(str::to_owned);
            let mut part = || parts.next().unwrap();
            let (group, version, resource) = (part(), part(), part());
            let found = removal(&ApiResource {
                group,
                version,
                resource,
            })
            .unwrap();
            assert_eq!(found.gone, gone.parse().unwrap(), "{api}");
            let successor = found.successor.map(|api| api.group_version()).unwrap_or_default();
            assert_eq!(successor, uses, "{api}");
        }
        let stays = ApiResource {
            group: "apps".to_owned(),
            version: "v1".to_owned(),
            resource: "deployments".to_owned(),
        };
        assert_eq!(removal(&stays), None);
    }
}
