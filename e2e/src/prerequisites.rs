//! What a machine must have, checked before it is needed: one line each, saying what to do.
//!
//! What must be there before this program can be built is checked by `prerequisites.sh`.

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::{
    cache::Cache,
    go,
    versions::{GoModule, Version},
};

/// What a build from nothing takes: Go's caches, the programs, and Rust's build.
const DISK_GIB: u64 = 12;

/// The installed Go, if it is new enough for both of our modules.
pub async fn go() -> Result<Version> {
    let go_mod = GoModule::Kubernetes.read("go.mod")?;
    let wanted = go_mod.lines().find_map(|line| line.strip_prefix("go "));
    let wanted: Version = wanted.context("e2e/k8s/go.mod has no `go` line")?.trim().parse()?;
    let advice = format!(
        "install Go {}.{} or newer (https://go.dev/dl/)",
        wanted.major, wanted.minor
    );

    let mut command = go::command(GoModule::Kubernetes);
    let Ok(output) = command.args(["env", "GOVERSION"]).output().await else {
        bail!("no `go` in PATH: {advice}");
    };
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let Ok(found) = text.parse::<Version>() else {
        bail!("`go env GOVERSION` says `{text}`: {advice}");
    };
    if found < wanted {
        bail!("Go {found} is too old: {advice}");
    }
    Ok(found)
}

/// Whether the cache's file system has room for a first build.
pub fn disk(cache: &Cache) -> Result<()> {
    let space = rustix::fs::statvfs(cache.root()).context("asking for the free disk space")?;
    let free = space.f_bavail.saturating_mul(space.f_frsize) >> 30;
    if free < DISK_GIB {
        bail!(
            "only {free} GiB are free at {}, and a first build takes up to {DISK_GIB} GiB: \
             free some, or set INSTAR_CACHE to a directory on a larger disk",
            cache.root().display()
        );
    }
    Ok(())
}

/// A program that a cluster is started with, and the package that has it.
#[derive(Debug, Clone, Copy)]
pub enum Tool {
    /// Makes namespaces.
    Unshare,
    /// Enters namespaces.
    Nsenter,
    /// Detaches from a terminal.
    Setsid,
    /// Ties a process's life to that of its parent.
    Setpriv,
    /// Brings up loopback.
    Ip,
}

impl Tool {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Unshare, Self::Nsenter, Self::Setsid, Self::Setpriv, Self::Ip];

    /// The program's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unshare => "unshare",
            Self::Nsenter => "nsenter",
            Self::Setsid => "setsid",
            Self::Setpriv => "setpriv",
            Self::Ip => "ip",
        }
    }

    const fn package(self) -> &'static str {
        match self {
            Self::Unshare | Self::Nsenter | Self::Setsid | Self::Setpriv => "util-linux",
            Self::Ip => "iproute2",
        }
    }
}

/// Whether the machine has the programs that a cluster is started with.
pub fn tools() -> Result<()> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let has = |name: &str| std::env::split_paths(&path).any(|dir| is_file(&dir.join(name)));
    for tool in Tool::ALL {
        if !has(tool.name()) {
            bail!("no `{}` in PATH: apt-get install {}", tool.name(), tool.package());
        }
    }
    Ok(())
}

fn is_file(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.is_file())
}
