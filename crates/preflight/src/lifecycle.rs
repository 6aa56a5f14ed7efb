//! Which feature gates and admission plugins a minor of Kubernetes doesn't take any more: a table that
//! `cargo xtask lifecycle` makes from Kubernetes' sources.

use instar_domain::Minor;

const TABLE: &str = include_str!("../data/lifecycle.tsv");

/// What a row is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    /// A feature gate of Kubernetes.
    Gate,
    /// One of kubeadm's own.
    KubeadmGate,
    AdmissionPlugin,
}

impl Subject {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Gate => "gate",
            Self::KubeadmGate => "kubeadm",
            Self::AdmissionPlugin => "plugin",
        }
    }
}

/// Since which minors something is so; absent means that it isn't, or was before the first minor of the table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Lifecycle {
    pub(crate) deprecated: Option<Minor>,
    /// Any other value than this one stops a component.
    pub(crate) locked: Option<(Minor, bool)>,
    pub(crate) gone: Option<Minor>,
}

/// What the table says.
pub(crate) fn lifecycle(subject: Subject, name: &str) -> Lifecycle {
    let mut rows = rows().filter(|(kind, _)| *kind == subject.as_str());
    let row = rows.find_map(|(_, row)| row.split_once('\t').filter(|(found, _)| *found == name));
    row.map(|(_, facts)| read(facts)).unwrap_or_default()
}

/// The last minor of the table.
pub(crate) fn newest() -> Option<Minor> {
    let sources = rows().filter(|(kind, _)| *kind == "source");
    let minors = sources.filter_map(|(_, source)| {
        let version = source.split_once(' ')?.1;
        let (version, _) = version.split_once('\t')?;
        version.rsplit_once('.')?.0.parse().ok()
    });
    minors.max()
}

fn rows() -> impl Iterator<Item = (&'static str, &'static str)> {
    TABLE.lines().filter_map(|line| line.split_once('\t'))
}

fn read(facts: &str) -> Lifecycle {
    let mut lifecycle = Lifecycle::default();
    for (name, value) in facts.split('\t').filter_map(|fact| fact.split_once('=')) {
        match name {
            "deprecated" => lifecycle.deprecated = value.parse().ok(),
            "locked" => {
                lifecycle.locked = value
                    .split_once(':')
                    .and_then(|(since, to)| Some((since.parse().ok()?, to.parse().ok()?)));
            }
            "gone" => lifecycle.gone = value.parse().ok(),
            _ => {}
        }
    }
    lifecycle
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_read() {
        let mut minors = 0;
        for line in TABLE.lines().filter(|line| !line.starts_with('#')) {
            let fields: Vec<&str> = line.split('\t').collect();
            match *fields {
                ["source", module, sum] => {
                    assert!(module.starts_with("k8s.io/kubernetes v1."), "{line}");
                    assert!(sum.starts_with("h1:"), "{line}");
                    minors += 1;
                }
                ["gate" | "kubeadm" | "plugin", name, _, ..] => {
                    let said = read(line.split_once(name).unwrap().1);
                    let read = [said.deprecated.is_some(), said.locked.is_some(), said.gone.is_some()];
                    assert_eq!(read.iter().filter(|read| **read).count(), fields.len() - 2, "{line}");
                }
                _ => panic!("{line}"),
            }
        }
        assert!(minors >= 10, "{minors}");
        assert_eq!(newest().unwrap(), format!("v1.{}", 27 + minors).parse().unwrap());
    }

    /// Each was looked up by hand in `kube_features.go`, `versioned_feature_list.yaml`, `plugins.go` and kubeadm's
    /// `features.go` of the minors before and since.
    #[test]
    fn known_rows_hold() {
        let minor = |text: &str| Some(text.parse().unwrap());
        let locked = |text: &str, to| Some((text.parse().unwrap(), to));
        for (subject, name, deprecated, locked, gone) in [
            (
                Subject::Gate,
                "SidecarContainers",
                None,
                locked("v1.33", true),
                minor("v1.37"),
            ),
            (Subject::Gate, "AppArmor", None, locked("v1.31", true), minor("v1.33")),
            (
                Subject::Gate,
                "DynamicResourceAllocation",
                None,
                locked("v1.35", true),
                None,
            ),
            (
                Subject::Gate,
                "DisableCloudProviders",
                None,
                locked("v1.31", true),
                minor("v1.33"),
            ),
            (
                Subject::Gate,
                "AllowOverwriteTerminationGracePeriodSeconds",
                minor("v1.32"),
                locked("v1.35", false),
                None,
            ),
            (
                Subject::Gate,
                "ComponentSLIs",
                None,
                locked("v1.32", true),
                minor("v1.35"),
            ),
            (Subject::Gate, "CSIMigrationRBD", None, None, minor("v1.31")),
            // Not in Kubernetes' own list, or under another name.
            (Subject::Gate, "WatchListClient", None, None, None),
            (Subject::Gate, "CustomCPUCFSQuotaPeriod", None, None, None),
            (Subject::Gate, "AllAlpha", None, None, None),
            (Subject::KubeadmGate, "EtcdLearnerMode", None, None, minor("v1.33")),
            (Subject::KubeadmGate, "RootlessControlPlane", None, None, None),
            (
                Subject::AdmissionPlugin,
                "SecurityContextDeny",
                None,
                None,
                minor("v1.30"),
            ),
            (
                Subject::AdmissionPlugin,
                "PersistentVolumeLabel",
                None,
                None,
                minor("v1.31"),
            ),
            (Subject::AdmissionPlugin, "NodeRestriction", None, None, None),
        ] {
            let expected = Lifecycle {
                deprecated,
                locked,
                gone,
            };
            assert_eq!(lifecycle(subject, name), expected, "{name}");
        }
    }
}
