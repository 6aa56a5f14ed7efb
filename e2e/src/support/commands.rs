//! Programs that a journey runs as the administrator would.

use std::process::Stdio;

use anyhow::{Context, Result};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::{Child, Command},
};

use super::journeys::JourneyContext;
use crate::{binaries::Binary, instar::program, workspace};

/// What a program printed.
pub struct Printed {
    /// Whether its exit code is 0.
    pub succeeded: bool,
    /// Its exit code; absent where a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error, where kubectl writes warnings.
    pub stderr: String,
}

/// Runs a program as the administrator would, with a text as its input.
async fn run(scene: &JourneyContext, mut command: Command, input: &str) -> Result<Printed> {
    command
        .env("KUBECONFIG", scene.mgmt.run().kubeconfig())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut child = command.spawn().with_context(|| format!("starting {command:?}"))?;
    let mut stdin = child.stdin.take().context("the child's standard input")?;
    stdin.write_all(input.as_bytes()).await?;
    drop(stdin);
    let output = child.wait_with_output().await?;
    Ok(Printed {
        succeeded: output.status.success(),
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout)?,
        stderr: String::from_utf8(output.stderr)?,
    })
}

/// kubectl in the journey's namespace.
pub async fn kubectl(scene: &JourneyContext, arguments: &[&str], input: &str) -> Result<Printed> {
    let mut command = Command::new(scene.mgmt.built().program(Binary::Kubectl)?);
    command.args(["--namespace", &scene.namespace]).args(arguments);
    run(scene, command, input).await
}

/// `kubectl patch` of a Cluster, with what it prints.
pub async fn kubectl_patch(scene: &JourneyContext, name: &str, patch: &Value) -> Result<Printed> {
    let kind = if patch.is_array() {
        "--type=json"
    } else {
        "--type=merge"
    };
    let patch = patch.to_string();
    kubectl(
        scene,
        &["patch", "clusters.cluster.x-k8s.io", name, kind, "-p", &patch],
        "",
    )
    .await
}

/// Whether Flux deletes and creates again what can't be changed in place: `spec.force` of its Kustomization.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Force {
    /// It doesn't, which is the default.
    No,
    /// It does.
    Yes,
}

/// Applies objects as one commit is applied by Flux, KubernetesReleases before others. Each says its namespace.
pub async fn flux_apply(scene: &JourneyContext, objects: &[Value], force: Force) -> Result<Printed> {
    let mut command = Command::new(scene.mgmt.built().program(Binary::FluxApply)?);
    command.arg("-custom-apply-stage-kinds=upgrade.cluster.x-k8s.io/KubernetesRelease");
    match force {
        Force::No => {}
        Force::Yes => {
            command.arg("-force");
        }
    }
    let documents: Vec<String> = objects.iter().map(Value::to_string).collect();
    run(scene, command, &documents.join("\n---\n")).await
}

/// The program `instar`, as the administrator would call it.
pub async fn instar(scene: &JourneyContext, arguments: &[&str], input: &str) -> Result<Printed> {
    let mut command = Command::new(program()?);
    command.args(arguments);
    run(scene, command, input).await
}

/// The kubectl plugin in the journey's namespace.
pub async fn plugin(scene: &JourneyContext, arguments: &[&str]) -> Result<Printed> {
    let mut command = Command::new(workspace::program("kubectl-instar", "kubectl-instar")?);
    command.args(["--namespace", &scene.namespace]).args(arguments);
    run(scene, command, "").await
}

/// A program that serves until it is dropped.
pub struct Served {
    /// The first line that it printed: where it serves.
    pub address: String,
    /// The program.
    pub child: Child,
}

/// The kubectl plugin in the journey's namespace, with the exit code that it has to have.
///
/// # Panics
/// Where it has another one, with what was printed.
pub async fn plugin_exits(scene: &JourneyContext, arguments: &[&str], code: i32) -> Result<Printed> {
    let printed = plugin(scene, arguments).await?;
    assert_eq!(
        printed.code,
        Some(code),
        "kubectl instar {}\n{}{}",
        arguments.join(" "),
        printed.stdout,
        printed.stderr
    );
    Ok(printed)
}

/// The kubectl plugin in the journey's namespace, with a verb that serves.
pub async fn plugin_serving(scene: &JourneyContext, arguments: &[&str]) -> Result<Served> {
    let mut command = Command::new(workspace::program("kubectl-instar", "kubectl-instar")?);
    command
        .args(["--namespace", &scene.namespace])
        .args(arguments)
        .env("KUBECONFIG", scene.mgmt.run().kubeconfig())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    let mut child = command.spawn().with_context(|| format!("starting {command:?}"))?;
    let stdout = child.stdout.take().context("the child's standard output")?;
    let mut lines = BufReader::new(stdout).lines();
    let address = lines.next_line().await?;
    Ok(Served {
        address: address.context("it printed no address")?,
        child,
    })
}
