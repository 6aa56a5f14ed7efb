//! Instructions of a decision and of a request, counted by valgrind: they don't depend on what else the machine does.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result, ensure};
use rustls::RootCertStore;

use crate::{
    bodies::Body,
    client::{Amount, Client, Protocol},
    server::Server,
};

/// Why nothing was counted.
pub(crate) const MISSING: &str = "valgrind isn't there, so no instructions are counted: apt-get install valgrind";

/// Whether valgrind is there; its version.
pub(crate) fn version() -> Option<String> {
    let output = Command::new("valgrind").arg("--version").output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Instructions for one decision: those of many without those of few, so that what is done once, at the
/// start, doesn't count.
pub(crate) fn instructions(path: &str, body: &Path, (few, many): (u32, u32)) -> Result<u64> {
    let (few_counted, many_counted) = (count(path, body, few)?, count(path, body, many)?);
    Ok((many_counted - few_counted) / u64::from(many - few))
}

fn count(path: &str, body: &Path, times: u32) -> Result<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe()?)
        .args(["decide", path])
        .arg(body)
        .arg(times.to_string())
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "valgrind: {said}");
    collected(&said)
}

/// What it has counted: `==1== Collected : 1234`
fn collected(said: &str) -> Result<u64> {
    let counted = said.lines().find_map(|line| line.split_once("Collected :"));
    let (_, counted) = counted.with_context(|| format!("valgrind counted nothing: {said}"))?;
    Ok(counted.trim().parse()?)
}

/// Instructions of the whole server for one request, without the kernel's: those of many requests without those of few.
pub(crate) async fn request(directory: &Path, protocol: Protocol, roots: &RootCertStore, body: &Body) -> Result<u64> {
    let (few_requests, few) = served(directory, protocol, roots, body, 10).await?;
    let (many_requests, many) = served(directory, protocol, roots, body, 60).await?;
    Ok((many - few) / (many_requests - few_requests))
}

/// How many requests there were, and the instructions of a server that has answered them and nothing else.
async fn served(
    directory: &Path,
    protocol: Protocol,
    roots: &RootCertStore,
    body: &Body,
    each: u64,
) -> Result<(u64, u64)> {
    let log = directory.join("valgrind.log");
    let mut command = Command::new("valgrind");
    command
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(format!("--log-file={}", log.display()))
        .arg(std::env::current_exe()?)
        .arg("serve")
        .arg(directory);
    let server = Server::start(&mut command)?;
    let client = Client::new(server.address, protocol, roots, body)?;
    let load = client.load(Amount::Requests(each)).await?;
    server.stop()?;
    Ok((load.requests, collected(&fs::read_to_string(log)?)?))
}
