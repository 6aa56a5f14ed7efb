//! The directory of one running cluster, and the lock that says that it runs.
//!
//! The supervisor holds the lock for as long as it lives, and the kernel lets go of it with the
//! last process that has it open. So a directory whose lock is free is left over, whatever
//! happened to its supervisor, and no pid needs to be believed.

use std::{
    fmt,
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
    str::FromStr,
};

use anyhow::{Context, Result, bail};

use crate::cache::Cache;

/// The name of a cluster on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterName(String);

impl ClusterName {
    /// The name of the cluster that `make up` starts.
    pub const DEFAULT: &str = "default";
}

impl fmt::Display for ClusterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ClusterName {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> Result<Self> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.is_empty() || name.len() > 40 || !name.chars().all(allowed) || name.starts_with('-') {
            bail!("`{name}` is no name of a cluster: use up to 40 of a-z, 0-9 and `-`");
        }
        Ok(Self(name.to_owned()))
    }
}

/// Held for as long as a cluster lives.
#[derive(Debug)]
pub struct Lock(File);

impl Lock {
    /// The open file: a process that inherits it holds the lock too.
    pub fn share(&self) -> Result<File> {
        Ok(self.0.try_clone()?)
    }
}

/// The directory of one cluster.
#[derive(Debug, Clone)]
pub struct RunDir {
    name: ClusterName,
    root: PathBuf,
    /// Locked for the moments in which directories are looked at, made and removed.
    guard: PathBuf,
}

impl RunDir {
    /// The directory that a cluster of this name has, or would have.
    #[must_use]
    pub fn of(cache: &Cache, name: &ClusterName) -> Self {
        Self {
            name: name.clone(),
            root: cache.runs().join(&name.0),
            guard: cache.root().join("run.lock"),
        }
    }

    /// Makes the directory, empty, and takes its lock; refused while a cluster runs there.
    pub fn create(&self) -> Result<Lock> {
        let _guard = self.guard()?;
        fs::create_dir_all(&self.root).with_context(|| self.root.display().to_string())?;
        let Some(lock) = self.try_lock()? else {
            bail!(
                "the management cluster `{}` is already running: `make down` stops it, `make up NAME=other` starts another",
                self.name
            );
        };
        self.empty()?;
        for dir in [self.certs(), self.data(), self.logs()] {
            fs::create_dir_all(&dir)?;
        }
        Ok(lock)
    }

    /// Whether a cluster runs here.
    pub fn is_live(&self) -> Result<bool> {
        let _guard = self.guard()?;
        Ok(self.root.is_dir() && self.try_lock()?.is_none())
    }

    /// Removes what a cluster left, if it runs no more.
    pub fn remove(&self) -> Result<()> {
        let _guard = self.guard()?;
        if !self.root.is_dir() {
            return Ok(());
        }
        let Some(_lock) = self.try_lock()? else {
            bail!("{}: a process still holds its lock", self.root.display());
        };
        fs::remove_dir_all(&self.root).with_context(|| format!("removing {}", self.root.display()))
    }

    /// Removes what killed clusters left in the cache; says the name of each.
    pub fn sweep(cache: &Cache) -> Result<Vec<ClusterName>> {
        let mut swept = Vec::new();
        let Ok(entries) = fs::read_dir(cache.runs()) else {
            return Ok(swept);
        };
        for entry in entries.flatten() {
            let Ok(name) = entry.file_name().to_string_lossy().parse::<ClusterName>() else {
                continue;
            };
            let run = Self::of(cache, &name);
            // One that starts between the two keeps its directory: `remove` looks again.
            if !run.is_live()? && run.remove().is_ok() {
                swept.push(name);
            }
        }
        Ok(swept)
    }

    fn guard(&self) -> Result<File> {
        let file = File::options().create(true).append(true).open(&self.guard);
        let file = file.with_context(|| self.guard.display().to_string())?;
        file.lock()?;
        Ok(file)
    }

    fn try_lock(&self) -> Result<Option<Lock>> {
        let path = self.lock_file();
        let file = File::options()
            .create(true)
            .append(true)
            .open(&path)
            .with_context(|| path.display().to_string())?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Lock(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error).with_context(|| path.display().to_string()),
        }
    }

    /// Empties the directory, but keeps the file that the lock is on.
    fn empty(&self) -> Result<()> {
        for entry in fs::read_dir(&self.root)?.flatten() {
            if entry.path() == self.lock_file() {
                continue;
            }
            if entry.file_type()?.is_dir() {
                fs::remove_dir_all(entry.path())?;
            } else {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    fn lock_file(&self) -> PathBuf {
        self.root.join("lock")
    }

    /// The cluster's name.
    #[must_use]
    pub const fn name(&self) -> &ClusterName {
        &self.name
    }

    /// The directory itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Certificates and keys.
    #[must_use]
    pub fn certs(&self) -> PathBuf {
        self.root.join("certs")
    }

    /// Instar's serving certificate, alone, so that a test can swap it.
    #[must_use]
    pub fn instar_certs(&self) -> PathBuf {
        self.root.join("instar-certs")
    }

    /// etcd's data.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.root.join("data")
    }

    /// One log per process.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    /// The log of a process.
    #[must_use]
    pub fn log(&self, process: &str) -> PathBuf {
        self.logs().join(format!("{process}.log"))
    }

    /// What kube-apiserver recorded of Instar's requests.
    #[must_use]
    pub fn audit_log(&self) -> PathBuf {
        self.logs().join("audit.log")
    }

    /// The administrator's kubeconfig.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.root.join("kubeconfig")
    }

    /// The kubeconfig of one of the programs, by its name.
    #[must_use]
    pub fn kubeconfig_of(&self, program: &str) -> PathBuf {
        self.root.join(format!("{program}.kubeconfig"))
    }

    /// Who supervises the cluster.
    #[must_use]
    pub fn supervisor(&self) -> PathBuf {
        self.root.join("supervisor.json")
    }

    /// What the supervisor says.
    #[must_use]
    pub fn supervisor_log(&self) -> PathBuf {
        self.root.join("supervisor.log")
    }

    /// The programs that the cluster is started from.
    #[must_use]
    pub fn built(&self) -> PathBuf {
        self.root.join("built.json")
    }

    /// Which processes there are.
    #[must_use]
    pub fn processes(&self) -> PathBuf {
        self.root.join("processes.json")
    }

    /// There once the cluster is ready.
    #[must_use]
    pub fn ready(&self) -> PathBuf {
        self.root.join("ready")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_one_is_refused_and_a_dead_one_is_swept() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path());
        let run = RunDir::of(&cache, &"default".parse().unwrap());
        let lock = run.create().unwrap();
        assert!(run.is_live().unwrap());
        assert!(run.create().unwrap_err().to_string().contains("already running"));
        assert!(RunDir::sweep(&cache).unwrap().is_empty());
        drop(lock);
        assert!(!run.is_live().unwrap());
        assert_eq!(RunDir::sweep(&cache).unwrap().len(), 1);
        assert!(!run.root().exists());
    }

    #[test]
    fn names_are_names_of_directories() {
        assert!("second-1".parse::<ClusterName>().is_ok());
        for wrong in ["", "../up", "-x", "Upper", "a b"] {
            assert!(wrong.parse::<ClusterName>().is_err(), "{wrong}");
        }
    }
}
