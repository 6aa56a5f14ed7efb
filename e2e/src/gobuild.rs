//! Building the Go programs into the cache, keyed by what they are built from.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    binaries::Binary,
    cache::{Cache, short_hex},
    go,
    infrastructure::Infrastructure,
    manifests::{self, Provider},
    prerequisites,
    process::last_lines,
    progress::{say, spoken},
    versions::{Version, Versions},
};

/// How often a build that says nothing is reported to be alive.
const SIGN_OF_LIFE: Duration = Duration::from_secs(15);

/// All that a management cluster is started from.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Built {
    infrastructure: Infrastructure,
    programs: BTreeMap<Binary, PathBuf>,
    manifests: BTreeMap<Provider, PathBuf>,
}

impl Built {
    /// A program's file.
    pub fn program(&self, binary: Binary) -> Result<&Path> {
        let found = self.programs.get(&binary).map(PathBuf::as_path);
        found.with_context(|| format!("{} was not built", binary.name()))
    }

    /// The infrastructure that the management cluster has.
    #[must_use]
    pub const fn infrastructure(&self) -> Infrastructure {
        self.infrastructure
    }

    /// A provider's rendered manifests.
    pub fn manifests(&self, provider: Provider) -> Result<&Path> {
        let found = self.manifests.get(&provider).map(PathBuf::as_path);
        found.with_context(|| format!("the manifests of {} were not rendered", provider.name()))
    }

    /// A template of Clusters or classes that a provider ships.
    pub fn template(&self, provider: Provider, name: &str) -> Result<PathBuf> {
        Ok(self.manifests(provider)?.with_file_name(name))
    }

    /// The value of `PATH` for people: kubectl and clusterctl in front of their own.
    pub fn path_variable(&self) -> Result<String> {
        let mut dirs = Vec::new();
        for binary in [Binary::Kubectl, Binary::Clusterctl] {
            dirs.extend(self.program(binary)?.parent().map(Path::to_path_buf));
        }
        let present = std::env::var_os("PATH").unwrap_or_default();
        dirs.extend(std::env::split_paths(&present));
        let joined = std::env::join_paths(dirs)?;
        joined
            .into_string()
            .map_err(|path| anyhow::anyhow!("PATH is no UTF-8: {}", path.display()))
    }
}

/// Builds what the cache lacks: the programs of a management cluster and those beside it, then the providers' manifests.
pub async fn build(cache: &Cache, infrastructure: Infrastructure, beside: &[Binary]) -> Result<Built> {
    let toolchain = prerequisites::go().await?;
    let versions = Versions::pinned()?;
    let _lock = cache.lock_for_build()?;
    let began = Instant::now();

    let mut wanted = Vec::new();
    let beside = Binary::of(infrastructure).iter().chain(beside);
    for binary in Binary::ALL.iter().chain(beside).copied() {
        let key = key(binary, &versions, &toolchain)?;
        wanted.push((binary, cache.program(binary.name(), &key)));
    }
    let missing: Vec<_> = wanted.iter().filter(|(_, path)| !path.is_file()).collect();
    if !missing.is_empty() {
        prerequisites::disk(cache)?;
    }
    let steps = wanted.len() + 1;
    for (number, (binary, path)) in wanted.iter().enumerate() {
        if !path.is_file() {
            let title = format!(
                "[{}/{steps}] {} {}",
                number + 1,
                binary.name(),
                binary.version(&versions)
            );
            compile(cache, *binary, &versions, path, &title).await?;
        }
    }
    let programs: BTreeMap<_, _> = wanted.iter().cloned().collect();
    let kubectl = programs.get(&Binary::Kubectl).context("kubectl was not built")?;
    let rendered = manifests::render(cache, kubectl, infrastructure, &format!("[{steps}/{steps}]")).await?;

    let cached = wanted.len() - missing.len();
    say(format!(
        "Kubernetes {}, etcd {}, Cluster API {}{}: {} ({})",
        versions.kubernetes,
        versions.etcd,
        versions.cluster_api,
        match infrastructure {
            Infrastructure::InMemory => String::new(),
            Infrastructure::Vsphere => format!(", Cluster API Provider vSphere {}", versions.vsphere),
        },
        match cached {
            0 => format!("{} programs built", wanted.len()),
            _ if missing.is_empty() => format!("{cached} programs, all from the cache"),
            _ => format!("{} programs built, {cached} from the cache", missing.len()),
        },
        spoken(began.elapsed()),
    ));
    Ok(Built {
        infrastructure,
        programs,
        manifests: rendered,
    })
}

/// What a program is built from, as a name: the first 16 digits of a hash.
fn key(binary: Binary, versions: &Versions, toolchain: &Version) -> Result<String> {
    let module = binary.module();
    let mut hash = Sha256::new();
    let ldflags = binary.ldflags(versions);
    let toolchain = toolchain.to_string();
    let (go_mod, go_sum) = (module.read("go.mod")?, module.read("go.sum")?);
    let environment = go::ENVIRONMENT.iter().flat_map(|(name, value)| [*name, *value]);
    let platform = [std::env::consts::OS, std::env::consts::ARCH];
    let parts = [go_mod.as_str(), &go_sum, binary.package(), &ldflags, &toolchain];
    let mut update = |part: &str| {
        hash.update(part.len().to_le_bytes());
        hash.update(part.as_bytes());
    };
    for part in parts.into_iter().chain(environment).chain(platform) {
        update(part);
    }
    for source in module.sources() {
        update(&module.read(source)?);
    }
    Ok(short_hex(&hash.finalize()))
}

/// How far a build is, from what Go has printed: what it fetches, then each package that it compiles.
fn progress(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let compiled: Vec<&str> = text.lines().filter(|line| !line.starts_with("go: ")).collect();
    match (compiled.last(), text.lines().last()) {
        (Some(last), _) => format!("{} packages compiled, now {last},", compiled.len()),
        (None, Some(last)) => last.trim_start_matches("go: ").to_owned(),
        (None, None) => "begins".to_owned(),
    }
}

async fn compile(cache: &Cache, binary: Binary, versions: &Versions, path: &Path, title: &str) -> Result<()> {
    say(format!("{title}: building (the first time this takes minutes)"));
    let began = Instant::now();
    let dir = path.parent().context("a program's path has a directory")?;
    fs::create_dir_all(dir)?;
    fs::create_dir_all(cache.build_logs())?;
    let log = cache.build_logs().join(format!("{}.log", binary.name()));
    // Built beside and renamed, so that a file at its place is always whole.
    let unfinished = path.with_extension("unfinished");

    let output = fs::File::create(&log).with_context(|| log.display().to_string())?;
    let mut child = go::command(binary.module())
        // Names each package as it is compiled: how far a build is.
        .args(["build", "-v", "-o"])
        .arg(&unfinished)
        .args(["-ldflags", &binary.ldflags(versions), binary.package()])
        .stdout(output.try_clone()?)
        .stderr(output)
        .spawn()
        .context("starting go")?;
    let status = loop {
        tokio::select! {
            status = child.wait() => break status?,
            () = tokio::time::sleep(SIGN_OF_LIFE) => {
                say(format!("{title}: {} after {}", progress(&log), spoken(began.elapsed())));
            }
        }
    };
    if !status.success() {
        bail!(
            "{title}: go build failed ({status}). Its output, whole in {}:\n{}",
            log.display(),
            last_lines(&log, 20)
        );
    }
    fs::rename(&unfinished, path)?;
    say(format!("{title}: built in {}", spoken(began.elapsed())));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_depends_on_the_program_and_the_toolchain() {
        let versions = Versions::pinned().unwrap();
        let of = |binary, go: &str| key(binary, &versions, &go.parse().unwrap()).unwrap();
        assert_eq!(of(Binary::Etcd, "go1.26.8"), of(Binary::Etcd, "go1.26.8"));
        assert_ne!(of(Binary::Etcd, "go1.26.8"), of(Binary::Etcd, "go1.26.9"));
        assert_ne!(of(Binary::Etcd, "go1.26.8"), of(Binary::Kubectl, "go1.26.8"));
    }
}
