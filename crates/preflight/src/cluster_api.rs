//! Which release of Cluster API manages which minor of Kubernetes: a table that `cargo xtask cluster-api` makes from its
//! book.

use instar_domain::{KubeVersion, Minor};

const TABLE: &str = include_str!("../data/cluster_api.tsv");

/// Which Cluster API is installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClusterApiVersion {
    Installed(KubeVersion),
    /// Nothing says it.
    NotListed,
    /// What says it was not read.
    Unread(String),
}

/// Whether a release manages a minor.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Managed {
    Yes,
    /// A later patch of the same minor does.
    Since(KubeVersion),
    /// A later minor of Cluster API does.
    ByNewer(Minor),
    /// It did so in an earlier minor of Cluster API.
    NoLonger,
    /// The table says nothing of this minor of Kubernetes.
    KubernetesUnlisted,
    /// The table says nothing of this minor of Cluster API.
    Unlisted,
}

/// What the table says of a release and a minor of Kubernetes.
pub(crate) fn managed(release: &KubeVersion, kubernetes: Minor) -> Managed {
    let own: Vec<(Minor, KubeVersion)> = rows()
        .filter(|(cluster_api, ..)| *cluster_api == release.minor())
        .map(|(_, kubernetes, since)| (kubernetes, since))
        .collect();
    let Some(last) = own.iter().map(|(kubernetes, _)| *kubernetes).max() else {
        return Managed::Unlisted;
    };
    let row = own.into_iter().find(|(found, _)| *found == kubernetes);
    match row {
        Some((_, since)) if release.precedence(&since).is_ge() => Managed::Yes,
        Some((_, since)) => Managed::Since(since),
        None if kubernetes < last => Managed::NoLonger,
        None => {
            let others = rows().filter(|(_, found, _)| *found == kubernetes);
            let newer = others.map(|(cluster_api, ..)| cluster_api).min();
            newer.map_or(Managed::KubernetesUnlisted, Managed::ByNewer)
        }
    }
}

fn rows() -> impl Iterator<Item = (Minor, Minor, KubeVersion)> {
    TABLE.lines().filter_map(read)
}

fn read(line: &str) -> Option<(Minor, Minor, KubeVersion)> {
    let mut fields = line.split('\t');
    let row = (
        fields.next()?.parse().ok()?,
        fields.next()?.parse().ok()?,
        fields.next()?.parse().ok()?,
    );
    Some(row)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_read() {
        let lines = TABLE.lines().filter(|line| !line.starts_with('#'));
        let (sources, others): (Vec<&str>, Vec<&str>) = lines.partition(|line| line.starts_with("source\t"));
        assert_eq!(rows().count(), others.len());
        assert!(others.len() >= 40 && sources.len() >= 3);
        for source in sources {
            assert!(
                source.contains("\tsigs.k8s.io/cluster-api v1.") && source.contains("\th1:"),
                "{source}"
            );
        }
    }

    /// Each was looked up by hand in the book.
    #[test]
    fn known_rows_hold() {
        let version = |text: &str| text.parse::<KubeVersion>().unwrap();
        let minor = |text: &str| text.parse::<Minor>().unwrap();
        for (release, kubernetes, expected) in [
            ("v1.12.0", "v1.35", Managed::Since(version("v1.12.1"))),
            ("v1.12.1", "v1.35", Managed::Yes),
            ("v1.12.1-rc.0", "v1.35", Managed::Since(version("v1.12.1"))),
            ("v1.12.8", "v1.36", Managed::Yes),
            ("v1.13.0", "v1.36", Managed::Since(version("v1.13.1"))),
            ("v1.14.0", "v1.36", Managed::Yes),
            ("v1.12.9", "v1.37", Managed::ByNewer(minor("v1.13"))),
            ("v1.11.0", "v1.34", Managed::Since(version("v1.11.1"))),
            ("v1.10.0", "v1.33", Managed::Since(version("v1.10.1"))),
            ("v1.14.0", "v1.29", Managed::NoLonger),
            ("v1.14.9", "v1.38", Managed::KubernetesUnlisted),
            ("v1.15.0", "v1.36", Managed::Unlisted),
            ("v1.7.9", "v1.30", Managed::Unlisted),
        ] {
            assert_eq!(
                managed(&version(release), minor(kubernetes)),
                expected,
                "{release}, {kubernetes}"
            );
        }
    }
}
