//! The server under attack: what others send, slowly, too much of, or not at all, costs an API server no
//! answer and the server no more than 64 MiB.
//!
//! It needs no management cluster: an API server that has nothing is enough for `instar webhook`.

mod attacks;
mod honest;
mod peer;
mod server;

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use instar_e2e::{failure::describe, progress::say};
use libtest_mimic::{Arguments, Failed, Trial};

use crate::{attacks::Attack, honest::Honest, peer::Peers, server::Server};

/// The most memory of its own that the server may have at any time, in KiB.
///
/// That is 64 MiB without the pages of its program's file, which are no more than 16 MiB of a release
/// and 32 MiB of a debug build.
const MOST: u64 = 48 * 1024;

/// How long nobody attacks at first, to see what is usual.
const QUIET: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    instar_e2e::choose_tls();
    let trial = Trial::test("the_server_bears_it", || {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let run = runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(run()));
        run.map_err(|error| Failed::from(describe(&error)))
    });
    libtest_mimic::run(&Arguments::from_args(), vec![trial]).exit_code()
}

async fn run() -> Result<()> {
    let server = Server::start().await?;
    let peers = Peers::of(&server)?;
    let honest = Honest::start(&server)?;
    let mut wrong = Vec::new();

    server.forget_peak()?;
    tokio::time::sleep(QUIET).await;
    report("nobody attacks", "", &server, &honest, &mut wrong).await?;
    for attack in attacks::ALL {
        run_one(attack, &peers, &server, &honest, &mut wrong).await?;
    }
    server.forget_peak()?;
    tokio::time::sleep(QUIET).await;
    report("nobody attacks any more", "", &server, &honest, &mut wrong).await?;
    honest.stop().await?;
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

async fn run_one(
    attack: &Attack,
    peers: &Peers,
    server: &Server,
    honest: &Honest,
    wrong: &mut Vec<String>,
) -> Result<()> {
    server.forget_peak()?;
    let began = Instant::now();
    let answers = (attack.run)(peers.clone()).await?;
    let took = began.elapsed();
    for answer in answers.0.keys() {
        if !attack.answers.contains(answer) {
            wrong.push(format!("{}: answered with {answer}", attack.what));
        }
    }
    let answered = format!(", answered {answers} in {:.1} s", took.as_secs_f64());
    report(attack.what, &answered, server, honest, wrong).await
}

/// One line, and what is wrong with it.
async fn report(what: &str, answered: &str, server: &Server, honest: &Honest, wrong: &mut Vec<String>) -> Result<()> {
    let tally = honest.since().await?;
    server.check_runs()?;
    let (all, file) = (server.peak()?, server.file()?);
    let peak = all.saturating_sub(file);
    say(format!(
        "{what}{answered}; memory at most {:.1} MiB, and {:.1} for the program's file; honest requests {} ok, \
         {} failed, half within {:.1} ms, all within {:.1} ms",
        mib(peak),
        mib(file),
        tally.took.len(),
        tally.failed.len(),
        1000.0 * tally.median().as_secs_f64(),
        1000.0 * tally.slowest().as_secs_f64(),
    ));
    if peak > MOST {
        wrong.push(format!("{what}: {:.1} MiB of memory", mib(peak)));
    }
    if tally.took.is_empty() {
        wrong.push(format!("{what}: no honest request was answered"));
    }
    wrong.extend(
        tally
            .failed
            .iter()
            .map(|failed| format!("{what}: an honest request: {failed}")),
    );
    Ok(())
}

fn mib(kib: u64) -> f64 {
    // Far from the 52 bits that it holds.
    f64::from(u32::try_from(kib).unwrap_or(u32::MAX)) / 1024.0
}
