//! `cargo xtask generate`.

use std::{fs, process::ExitCode};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

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
}

fn main() -> ExitCode {
    let Cli {
        command: Command::Generate,
    } = Cli::parse();
    match generate() {
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
