//! `cargo xtask generate`, and the tables that it doesn't write: `lifecycle`, `removed-apis`, `cluster-api`,
//! `kubeadm`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, ensure};
use clap::{Args, Parser, Subcommand};
use xtask::{
    audit::Checked,
    release::{Platform, Program, auditable},
};

#[derive(Parser)]
#[command(about = "Code generation for the workspace")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Writes the files that the code gives, and removes those that it no longer gives.
    Generate,
    /// Writes which feature gates and admission plugins come and go with each minor of Kubernetes, from its sources.
    Lifecycle {
        /// The folder in which Go keeps modules; crates/xtask/src/lifecycle.rs says which ones have to be there.
        module_cache: PathBuf,
    },
    /// Writes which resources of Kubernetes' own APIs are served no more, and since which minor, from its sources.
    RemovedApis {
        /// The folder in which Go keeps modules; the source of this command says which ones have to be there.
        module_cache: PathBuf,
    },
    /// Writes which release of Cluster API manages which minor of Kubernetes, from its book.
    ClusterApi {
        /// The folder in which Go keeps modules; the source of this command says which ones have to be there.
        module_cache: PathBuf,
    },
    /// Writes which etcd and CoreDNS the kubeadm of each version brings, from its sources.
    Kubeadm {
        /// The folder in which Go keeps modules; the source of this command says which ones have to be there.
        module_cache: PathBuf,
    },
    /// Writes the files of a release; `make release` builds the program for it.
    Release(ReleaseArgs),
    /// Writes what the program is linked with, as an input for the linker that embeds it; `make release` names it.
    Dependencies {
        /// What the program is built for, as cargo calls it.
        #[arg(long)]
        target: Platform,
        /// Which program: `instar` or `kubectl-instar`.
        #[arg(long, default_value = "instar")]
        program: Program,
        /// The file, in the language of the assembler.
        path: PathBuf,
    },
    /// Holds the dependencies against `deny.toml`, and against the advisory database where it can be reached.
    Audit {
        /// The folder for the advisory database.
        database: PathBuf,
    },
}

#[derive(Args)]
struct ReleaseArgs {
    /// The version, with or without a v; it has to be that of the workspace.
    #[arg(long)]
    version: String,
    /// Where the image will be, with its registry and without a tag.
    #[arg(long, value_parser = image_name)]
    image: String,
    /// The provider's name for clusterctl: ORGANISATION-instar for one that is published elsewhere.
    #[arg(long, default_value = "instar")]
    provider: String,
    /// `instar`, linked statically.
    #[arg(long)]
    program: PathBuf,
    /// `kubectl-instar`, linked statically.
    #[arg(long)]
    plugin: PathBuf,
    /// Where the plugin's archive will be: Krew fetches it from there.
    #[arg(long, default_value = "https://releases.example.org/instar")]
    url: String,
    /// The time of all files, in seconds since 1970.
    #[arg(long, env = "SOURCE_DATE_EPOCH")]
    epoch: u64,
    /// A folder that isn't there yet.
    #[arg(long)]
    out: PathBuf,
}

/// clusterctl and the operator read the images of a provider, and take no name without a registry.
fn image_name(text: &str) -> Result<String, String> {
    let registry = text.split_once('/').map(|(registry, _)| registry);
    let is_registry = |text: &str| text == "localhost" || text.contains(['.', ':']);
    let has_tag = text.rsplit('/').next().is_some_and(|name| name.contains([':', '@']));
    if registry.is_some_and(is_registry) && !has_tag {
        Ok(text.to_owned())
    } else {
        Err("name it with its registry and without a tag, as registry.example.org/instar".to_owned())
    }
}

fn main() -> ExitCode {
    let Cli { command } = Cli::parse();
    let done = match command {
        Command::Generate => generate(),
        Command::Lifecycle { module_cache } => lifecycle(&module_cache),
        Command::RemovedApis { module_cache } => removed_apis(&module_cache),
        Command::ClusterApi { module_cache } => cluster_api(&module_cache),
        Command::Kubeadm { module_cache } => kubeadm(&module_cache),
        Command::Release(args) => release(args),
        Command::Dependencies { target, program, path } => dependencies(target, program, &path),
        Command::Audit { database } => audit(&database),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn generate() -> Result<()> {
    let root = xtask::root();
    let artifacts = xtask::artifacts()?;
    for artifact in &artifacts {
        let path = root.join(&artifact.path);
        if fs::read_to_string(&path).is_ok_and(|text| text == artifact.text) {
            continue;
        }
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        }
        fs::write(&path, &artifact.text).with_context(|| path.display().to_string())?;
        println!("wrote {}", artifact.path);
    }
    for path in xtask::strangers(&root, &artifacts)? {
        fs::remove_file(root.join(&path)).with_context(|| path.clone())?;
        println!("removed {path}");
    }
    Ok(())
}

fn lifecycle(module_cache: &Path) -> Result<()> {
    let table = xtask::lifecycle::table(module_cache)?;
    let path = xtask::root().join(xtask::lifecycle::FILE);
    fs::write(&path, table).with_context(|| path.display().to_string())
}

fn removed_apis(module_cache: &Path) -> Result<()> {
    let table = xtask::removed_apis::table(module_cache)?;
    let path = xtask::root().join(xtask::removed_apis::FILE);
    fs::write(&path, table).with_context(|| path.display().to_string())
}

fn cluster_api(module_cache: &Path) -> Result<()> {
    let table = xtask::cluster_api::table(module_cache)?;
    let path = xtask::root().join(xtask::cluster_api::FILE);
    fs::write(&path, table).with_context(|| path.display().to_string())
}

fn kubeadm(module_cache: &Path) -> Result<()> {
    let table = xtask::kubeadm::table(module_cache)?;
    let path = xtask::root().join(xtask::kubeadm::FILE);
    fs::write(&path, table).with_context(|| path.display().to_string())
}

fn dependencies(target: Platform, program: Program, path: &Path) -> Result<()> {
    fs::write(path, auditable::linker_input(target, program)?).with_context(|| path.display().to_string())
}

fn audit(database: &Path) -> Result<()> {
    let mut found = xtask::audit::violations()?;
    let advisories = xtask::audit::advisories(database)?;
    match advisories.checked {
        Checked::Current => {}
        Checked::Old { why } => eprintln!("warning: advisories were checked with an old database: {why}"),
        Checked::No { why } => eprintln!("warning: advisories were not checked: {why}"),
    }
    found.extend(advisories.found);
    for violation in &found {
        eprintln!("{violation}");
    }
    ensure!(
        found.is_empty(),
        "{} dependencies break the rules of deny.toml",
        found.len()
    );
    Ok(())
}

fn release(args: ReleaseArgs) -> Result<()> {
    let version = args.version.trim_start_matches('v');
    // One place says the version: what the program prints is what the files are named.
    let own = env!("CARGO_PKG_VERSION");
    ensure!(
        version == own,
        "the version of the workspace is {own}, not {version}: set it in Cargo.toml first"
    );
    let release = xtask::release::Release {
        version: version.parse()?,
        image: args.image,
        provider: args.provider,
        program: xtask::release::Release::program(&args.program)?,
        plugin: xtask::release::Release::program(&args.plugin)?,
        url: args.url.trim_end_matches('/').to_owned(),
        epoch: args.epoch,
    };
    release.check_dependencies()?;
    release.write(&args.out)?;
    println!("wrote {}", args.out.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::image_name;

    #[test]
    fn an_image_has_a_registry_and_no_tag() {
        for image in [
            "registry.example.org/instar",
            "localhost/instar",
            "localhost:5000/team/instar",
        ] {
            assert_eq!(image_name(image).as_deref(), Ok(image));
        }
        for image in ["instar", "team/instar", "registry.example.org/instar:v0.1.0", ""] {
            assert!(image_name(image).is_err(), "{image}");
        }
    }
}
