//! What the Go modules of this crate pin. Their go.mod files are the one place of a version.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use anyhow::{Context, Result, bail};

/// A Go module of ours, which pins and builds the programs of one origin.
///
/// Kubernetes and Cluster API want different versions of the same libraries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GoModule {
    /// etcd, kube-apiserver, kube-controller-manager and kubectl.
    Kubernetes,
    /// Cluster API: its managers and clusterctl.
    ClusterApi,
    /// A program of ours around Flux's engine of apply; its libraries are of Cluster API's versions, so that they are
    /// compiled once.
    Flux,
    /// Helm.
    Helm,
    /// Cluster API Provider vSphere, which is built on an older Cluster API; its vCenter simulator, and a program of ours
    /// that asks a vCenter.
    Vsphere,
}

impl GoModule {
    /// The module's directory.
    #[must_use]
    pub fn dir(self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join(match self {
            Self::Kubernetes => "k8s",
            Self::ClusterApi => "capi",
            Self::Flux => "flux",
            Self::Helm => "helm",
            Self::Vsphere => "capv",
        })
    }

    /// The sources that are its own, beside those that it requires.
    #[must_use]
    pub const fn sources(self) -> &'static [&'static str] {
        match self {
            Self::Kubernetes | Self::ClusterApi | Self::Helm => &[],
            Self::Flux => &["main.go"],
            Self::Vsphere => &[
                "vcenter/main.go",
                "storage-policy-quota/go.mod",
                "storage-policy-quota/api/v1alpha2/types.go",
            ],
        }
    }

    /// The text of one of its files.
    pub fn read(self, file: &str) -> Result<String> {
        let path = self.dir().join(file);
        std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
    }

    /// The version that the module requires of another one.
    pub fn requires(self, module: &str) -> Result<Version> {
        required(&self.read("go.mod")?, module).with_context(|| format!("{}/go.mod", self.dir().display()))
    }
}

fn required(go_mod: &str, module: &str) -> Result<Version> {
    for line in go_mod.lines() {
        let mut words = line.split_whitespace().skip_while(|word| *word == "require");
        if words.next() == Some(module)
            && let Some(version) = words.next()
            && version.starts_with('v')
        {
            return version.parse();
        }
    }
    bail!("no version of {module} is required there")
}

/// A version of three numbers, written with a leading `v`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// The major number.
    pub major: u32,
    /// The minor number.
    pub minor: u32,
    /// The patch number.
    pub patch: u32,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}.{}.{}", self.major, self.minor, self.patch)
    }
}

impl FromStr for Version {
    type Err = anyhow::Error;

    /// Reads `v1.36.3`, and also `go1.26` as Go writes its own version.
    fn from_str(text: &str) -> Result<Self> {
        let wrong = || format!("`{text}` is no version like v1.36.3");
        let numbers = text.trim_start_matches("go").trim_start_matches('v');
        let mut parts = numbers.split('.');
        let mut next = |missing: Option<u32>| match parts.next() {
            // A pre-release of Go is called go1.27rc1.
            Some(part) => part.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok(),
            None => missing,
        };
        Ok(Self {
            major: next(None).with_context(wrong)?,
            minor: next(None).with_context(wrong)?,
            patch: next(Some(0)).with_context(wrong)?,
        })
    }
}

/// The versions of what runs.
#[derive(Debug, Clone, Copy)]
pub struct Versions {
    /// kube-apiserver, kube-controller-manager, kubectl.
    pub kubernetes: Version,
    /// etcd.
    pub etcd: Version,
    /// Cluster API's managers, the in-memory infrastructure and clusterctl.
    pub cluster_api: Version,
    /// The library by which Flux applies.
    pub flux_ssa: Version,
    /// Helm.
    pub helm: Version,
    /// Cluster API Provider vSphere and its vCenter simulator.
    pub vsphere: Version,
}

impl Versions {
    /// What the go.mod files pin.
    pub fn pinned() -> Result<Self> {
        Ok(Self {
            kubernetes: GoModule::Kubernetes.requires("k8s.io/kubernetes")?,
            etcd: GoModule::Kubernetes.requires("go.etcd.io/etcd/server/v3")?,
            cluster_api: GoModule::ClusterApi.requires("sigs.k8s.io/cluster-api")?,
            flux_ssa: GoModule::Flux.requires("github.com/fluxcd/pkg/ssa")?,
            helm: GoModule::Helm.requires("helm.sh/helm/v4")?,
            vsphere: GoModule::Vsphere.requires("sigs.k8s.io/cluster-api-provider-vsphere")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_go_mod() {
        let go_mod =
            "require (\n\tk8s.io/kubernetes v1.36.3\n)\nrequire a.b/c v0.1.2\nreplace k8s.io/api => x v1.0.0\n";
        assert_eq!(required(go_mod, "k8s.io/kubernetes").unwrap().to_string(), "v1.36.3");
        assert_eq!(required(go_mod, "a.b/c").unwrap().to_string(), "v0.1.2");
        assert!(required(go_mod, "k8s.io/api").is_err());
    }

    #[test]
    fn reads_the_versions_of_go() {
        assert_eq!("go1.26".parse::<Version>().unwrap().to_string(), "v1.26.0");
        assert_eq!("go1.27rc1".parse::<Version>().unwrap().minor, 27);
        assert!("devel".parse::<Version>().is_err());
    }

    #[test]
    fn the_modules_pin_what_runs() {
        Versions::pinned().unwrap();
    }
}
