//! The commands that a person would type, shown and run for real.

use std::{path::Path, process::Stdio, time::Duration};

use anyhow::{Context, Result, anyhow, ensure};
use tokio::{io::AsyncWriteExt, process::Command, time::timeout};

use crate::screen::Screen;
use instar_e2e::{binaries::Binary, gobuild::Built, instar, rundir::RunDir};

/// How long a command may take.
const ENOUGH: Duration = Duration::from_mins(1);

/// Where commands run: at the root of the clone, as the administrator.
#[derive(Debug)]
pub(crate) struct Shell {
    run: RunDir,
    built: Built,
}

/// What a program printed.
#[derive(Debug)]
pub(crate) struct Printed {
    pub(crate) succeeded: bool,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Shell {
    pub(crate) const fn new(run: RunDir, built: Built) -> Self {
        Self { run, built }
    }

    /// The cluster's directory.
    pub(crate) const fn run_dir(&self) -> &RunDir {
        &self.run
    }

    /// Shows and runs kubectl; what it printed is shown too, whether it succeeded or not.
    pub(crate) async fn try_kubectl(&self, screen: &Screen, arguments: &[&str]) -> Result<Printed> {
        screen.command(&typed("kubectl", arguments))?;
        let printed = self.kubectl(arguments, "").await?;
        // The order in which kubectl writes them: warnings come with the answer.
        screen.printed(&printed.stderr)?;
        screen.printed(&printed.stdout)?;
        Ok(printed)
    }

    /// The same, for what has to succeed.
    pub(crate) async fn do_kubectl(&self, screen: &Screen, arguments: &[&str]) -> Result<()> {
        let printed = self.try_kubectl(screen, arguments).await?;
        ensure!(printed.succeeded, "`{}` failed", typed("kubectl", arguments));
        Ok(())
    }

    /// Shows and runs `instar ... | kubectl apply -f -`; the result is what went through the pipe.
    pub(crate) async fn apply_from_instar(&self, screen: &Screen, arguments: &[&str]) -> Result<String> {
        const APPLY: [&str; 3] = ["apply", "-f", "-"];
        let (left, right) = (typed("instar", arguments), typed("kubectl", &APPLY));
        screen.command(&format!("{left} | {right}"))?;
        let made = self.start(&instar::program()?, arguments, "").await?;
        screen.printed(&made.stderr)?;
        ensure!(made.succeeded, "`{left}` failed");
        let applied = self.kubectl(&APPLY, &made.stdout).await?;
        screen.printed(&applied.stderr)?;
        screen.printed(&applied.stdout)?;
        ensure!(applied.succeeded, "`{right}` failed");
        Ok(made.stdout)
    }

    /// Runs kubectl without a word.
    pub(crate) async fn kubectl(&self, arguments: &[&str], input: &str) -> Result<Printed> {
        self.start(self.built.program(Binary::Kubectl)?, arguments, input).await
    }

    async fn start(&self, program: &Path, arguments: &[&str], input: &str) -> Result<Printed> {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .current_dir(root())
            .env("KUBECONFIG", self.run.kubeconfig())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let ran = async {
            let mut child = command
                .spawn()
                .with_context(|| format!("starting {}", program.display()))?;
            let mut stdin = child.stdin.take().context("the program has no standard input")?;
            // One that fails at once reads nothing, and says why itself.
            let _ = stdin.write_all(input.as_bytes()).await;
            drop(stdin);
            let output = child.wait_with_output().await?;
            Ok(Printed {
                succeeded: output.status.success(),
                stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
                stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            })
        };
        timeout(ENOUGH, ran).await.map_err(|_| {
            anyhow!(
                "{} was not done after {} s",
                typed(&program.display().to_string(), arguments),
                ENOUGH.as_secs()
            )
        })?
    }
}

/// The root of the clone.
pub(crate) fn root() -> &'static Path {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR"));
    demo.parent().unwrap_or(demo)
}

/// A command as it would be typed.
fn typed(program: &str, arguments: &[&str]) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,".contains(c);
    let mut words = vec![program.to_owned()];
    words.extend(arguments.iter().map(|word| {
        if word.chars().all(is_plain) && !word.is_empty() {
            (*word).to_owned()
        } else {
            format!("'{}'", word.replace('\'', r"'\''"))
        }
    }));
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_can_be_typed() {
        let patch = r#"{"spec":{"topology":{"version":"v1.35"}}}"#;
        assert_eq!(
            typed("kubectl", &["patch", "cluster", "demo", "-p", patch, "it's"]),
            r#"kubectl patch cluster demo -p '{"spec":{"topology":{"version":"v1.35"}}}' 'it'\''s'"#
        );
    }
}
