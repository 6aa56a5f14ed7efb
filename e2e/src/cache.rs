//! Where everything lives that is built or started: outside of the clone.

use std::{
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::progress::say;

/// The variable that moves the cache.
pub const VARIABLE: &str = "INSTAR_CACHE";

/// The cache's directory.
#[derive(Debug, Clone)]
pub struct Cache(PathBuf);

impl Cache {
    /// The cache that the environment names: `INSTAR_CACHE`, else the user's cache directory.
    pub fn locate() -> Result<Self> {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let root = if let Some(root) = set(VARIABLE) {
            PathBuf::from(root)
        } else if let Some(caches) = set("XDG_CACHE_HOME") {
            Path::new(&caches).join("instar")
        } else {
            let home = set("HOME").context("HOME is not set: set it, or set INSTAR_CACHE")?;
            Path::new(&home).join(".cache/instar")
        };
        let root = std::path::absolute(root)?;
        fs::create_dir_all(&root)
            .with_context(|| format!("the cache {}: set INSTAR_CACHE to a writable directory", root.display()))?;
        Ok(Self(root))
    }

    /// The cache in a directory that exists.
    #[must_use]
    pub fn at(root: &Path) -> Self {
        Self(root.to_owned())
    }

    /// The directory itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.0
    }

    /// Where a program is kept, by its name and by what it was built from.
    #[must_use]
    pub fn program(&self, name: &str, key: &str) -> PathBuf {
        self.0.join("bin").join(format!("{name}-{key}")).join(name)
    }

    /// Where rendered manifests are kept, by what they were rendered from.
    #[must_use]
    pub fn manifests(&self, key: &str) -> PathBuf {
        self.0.join("manifests").join(key)
    }

    /// Where running clusters keep their files.
    #[must_use]
    pub fn runs(&self) -> PathBuf {
        self.0.join("run")
    }

    /// Where failed tests leave what they saw.
    #[must_use]
    pub fn dumps(&self) -> PathBuf {
        self.0.join("dumps")
    }

    /// Where tests write what passed, what failed, and how long each took.
    #[must_use]
    pub fn results(&self) -> PathBuf {
        self.0.join("results")
    }

    /// Where builds leave their output.
    #[must_use]
    pub fn build_logs(&self) -> PathBuf {
        self.0.join("build-logs")
    }

    /// Keeps others from building into the cache until the result is dropped.
    pub fn lock_for_build(&self) -> Result<File> {
        let path = self.0.join("build.lock");
        let file = File::options().create(true).append(true).open(&path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                say(format!(
                    "another build is running (it holds {}); waiting for it",
                    path.display()
                ));
                file.lock()?;
            }
            Err(TryLockError::Error(error)) => return Err(error).context(path.display().to_string()),
        }
        Ok(file)
    }
}

/// The first 16 hexadecimal digits of a hash, which names a directory of the cache.
pub(crate) fn short_hex(digest: &[u8]) -> String {
    let number = digest
        .iter()
        .take(8)
        .fold(0, |number: u64, byte| (number << 8) | u64::from(*byte));
    format!("{number:016x}")
}
