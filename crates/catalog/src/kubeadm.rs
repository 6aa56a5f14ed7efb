//! Which etcd and which CoreDNS kubeadm brings: a table that `cargo xtask kubeadm` makes from Kubernetes' sources.

use instar_domain::KubeVersion;

const TABLE: &str = include_str!("../data/kubeadm.tsv");

/// What the kubeadm of a version brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KubeadmImages {
    /// The tag of etcd.
    pub etcd: String,
    /// The tag of CoreDNS.
    pub core_dns: String,
    /// How it is known.
    pub known: Known,
}

/// How it is known what a kubeadm brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// Its sources say it, or those of an older and a newer patch say the same.
    Read,
    /// It is what another patch of its minor brings, since its own sources were not read.
    As(KubeVersion),
}

/// A line of the table.
struct Row<'t> {
    version: KubeVersion,
    etcd: &'t str,
    core_dns: &'t str,
}

/// What the kubeadm of a version brings; nothing where no patch of its minor was read.
#[must_use]
pub fn images(version: &KubeVersion) -> Option<KubeadmImages> {
    let rows: Vec<Row<'_>> = rows().filter(|row| row.version.minor() == version.minor()).collect();
    let patch = version.patch();
    let below = rows.iter().rev().find(|row| row.version.patch() <= patch);
    let above = rows.iter().find(|row| row.version.patch() >= patch);
    let row = below.or(above)?;
    let is_read = below
        .zip(above)
        .is_some_and(|(below, above)| (below.etcd, below.core_dns) == (above.etcd, above.core_dns));
    Some(KubeadmImages {
        etcd: row.etcd.to_owned(),
        core_dns: row.core_dns.to_owned(),
        known: if is_read {
            Known::Read
        } else {
            Known::As(row.version.clone())
        },
    })
}

/// The tag of the oldest etcd that the kubeadm of a version may bring: that of the newest one before it that was read, since
/// none brings an older one than another before it. Nothing where none before it was read.
#[must_use]
pub(crate) fn etcd_at_least(version: &KubeVersion) -> Option<&'static str> {
    let key = |version: &KubeVersion| (version.minor(), version.patch());
    let before = rows().filter(|row| key(&row.version) <= key(version));
    before.last().map(|row| row.etcd)
}

/// In the order of the versions.
fn rows() -> impl Iterator<Item = Row<'static>> {
    TABLE.lines().filter_map(|line| {
        let mut fields = line.strip_prefix("kubeadm\t")?.split('\t');
        Some(Row {
            version: fields.next()?.parse().ok()?,
            etcd: fields.next()?.strip_prefix("etcd=")?,
            core_dns: fields.next()?.strip_prefix("coredns=")?,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_read() {
        let lines = TABLE
            .lines()
            .filter(|line| !line.starts_with('#') && !line.starts_with("source\t"));
        let versions: Vec<KubeVersion> = rows().map(|row| row.version).collect();
        assert_eq!(lines.count(), versions.len());
        assert!(versions.is_sorted(), "{versions:?}");
        assert!(versions.len() > 15);
    }

    #[test]
    fn known_rows_hold() {
        for (version, etcd, core_dns, known) in [
            ("v1.33.5", "3.5.21-0", "v1.12.0", "read"),
            ("v1.33.6", "3.5.24-0", "v1.12.0", "read"),
            ("v1.33.9", "3.5.24-0", "v1.12.0", "read"),
            ("v1.33.99", "3.5.24-0", "v1.12.0", "as v1.33.13"),
            ("v1.34.3", "3.6.5-0", "v1.12.1", "read"),
            ("v1.35.4", "3.6.6-0", "v1.13.1", "read"),
            ("v1.36.3+vendor.1", "3.6.8-0", "v1.14.2", "read"),
            ("v1.37.2", "3.7.0-0", "v1.14.6", "read"),
            ("v1.32.4", "3.5.24-0", "v1.11.3", "as v1.32.13"),
        ] {
            let images = images(&version.parse().unwrap()).unwrap();
            let said = match &images.known {
                Known::Read => "read".to_owned(),
                Known::As(other) => format!("as {other}"),
            };
            assert_eq!(
                (images.etcd.as_str(), images.core_dns.as_str(), said.as_str()),
                (etcd, core_dns, known),
                "{version}"
            );
        }
        assert_eq!(images(&"v1.99.0".parse().unwrap()), None);
    }
}
