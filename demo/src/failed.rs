//! What a demo that failed leaves: the same as a journey, from a cluster that others supervise.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result};
use jiff::Timestamp;

use crate::shell::Shell;
use instar_e2e::{cache::Cache, progress::say};

/// What tells how a Cluster is.
const KINDS: [&str; 11] = [
    "clusters",
    "clusterclasses",
    "clusterupgrades",
    "machines",
    "machinesets",
    "machinedeployments",
    "kubeadmcontrolplanes",
    "devmachines",
    "devmachinetemplates",
    "appreleases",
    "events",
];

/// Writes the logs, and the objects of a namespace as far as the API server answers.
pub(crate) async fn dump(shell: &Shell, namespace: &str) -> Result<PathBuf> {
    let stamp = Timestamp::now().strftime("%Y%m%dT%H%M%S");
    let dir = Cache::locate()?.dumps().join(format!("demo-{stamp}"));
    let logs = dir.join("logs");
    fs::create_dir_all(&logs)?;
    let from = shell.run_dir().logs();
    for entry in fs::read_dir(&from)
        .with_context(|| from.display().to_string())?
        .flatten()
    {
        fs::copy(entry.path(), logs.join(entry.file_name()))?;
    }
    let get = |kind: &'static str| vec!["get", kind, "-n", namespace, "-o", "yaml"];
    for kind in KINDS.into_iter().chain(["kubernetesreleases"]) {
        let printed = shell.kubectl(&get(kind), "").await?;
        if printed.succeeded {
            fs::write(dir.join(format!("{kind}.yaml")), printed.stdout)?;
        } else {
            say(format!("the dump lacks {kind}: {}", printed.stderr.trim()));
        }
    }
    Ok(dir)
}
