//! All measurements, and the tables that are printed.

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::{
    bodies::Body,
    budgets::{Bound, Budget, INSTRUCTIONS},
    callgrind, decide, environment,
    requests::{RESTLESS, requests},
    rounds::Plan,
};

/// What to measure.
#[derive(Args)]
pub(crate) struct Run {
    /// How many rounds each server gets with each body
    #[arg(long, default_value_t = 4)]
    rounds: usize,
    /// How long one takes
    #[arg(long, default_value_t = 4.0)]
    seconds: f64,
    /// Measure only the requests of one body, by its name in the table, for a profiler to look at
    #[arg(long, value_name = "NAME", conflicts_with = "baseline")]
    body: Option<String>,
    /// Write the instructions that were counted as those that later runs are held against
    #[arg(long)]
    baseline: bool,
}

fn baseline_file() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("baseline.json")
}

pub(crate) fn run(run: &Run) -> Result<()> {
    for line in environment::lines() {
        println!("{line}");
    }
    let mut bodies = decide::bodies();
    let table = crate::bodies::all().len();
    let counted = match run.body {
        Some(_) => Vec::new(),
        None => decisions(run, &bodies, table)?,
    };

    let plan = Plan {
        rounds: run.rounds,
        time: Duration::try_from_secs_f64(run.seconds)?,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    bodies.truncate(table);
    if let Some(name) = &run.body {
        bodies.retain(|body| body.name == name);
    }
    ensure!(!bodies.is_empty(), "--body: no body of the table has this name");
    let (mut budgets, is_quiet) = runtime.block_on(requests(&bodies, plan))?;
    budgets.extend(counted);
    println!("\nload average at the end: {}", environment::load());
    println!("\nbudgets");
    for budget in budgets {
        println!("{}", budget.line());
    }
    ensure!(is_quiet, RESTLESS);
    Ok(())
}

fn decisions(run: &Run, bodies: &[Body], table: usize) -> Result<Vec<Budget>> {
    println!("\ndecisions, in process: instructions of the C library's malloc, serde_json, the rules, the router");
    if callgrind::version().is_none() {
        println!("  {}", callgrind::MISSING);
        return Ok(Vec::new());
    }
    let baseline: BTreeMap<String, u64> = fs::read(baseline_file())
        .ok()
        .map(|text| serde_json::from_slice(&text))
        .transpose()
        .context("benches/baseline.json can't be read")?
        .unwrap_or_default();
    decide::check_all(bodies)?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("body.json");
    let mut counted = BTreeMap::new();
    let mut held = Vec::new();
    println!(
        "  {:<20} {:>8} {:>13} {:>9} {:>10} {:>9} {:>8}",
        "body", "bytes", "instructions", "per byte", "baseline", "us", "per ns"
    );
    for (place, body) in bodies.iter().enumerate() {
        if place == table {
            println!("  growth");
        }
        let bytes = body.text.len();
        let times = if bytes > 40_000 { (10, 60) } else { (100, 1100) };
        let instructions = {
            fs::write(&file, &body.text)?;
            callgrind::instructions(body.route.path(), &file, times)?
        };
        let key = format!("{}, {bytes} bytes", body.name);
        let difference = baseline.get(&key).map_or_else(
            || "none".to_owned(),
            |before| format!("{:+.1} %", (instructions as f64 / *before as f64 - 1.0) * 100.0),
        );
        let time = decide::microseconds(body)?;
        println!(
            "  {:<20} {bytes:>8} {instructions:>13} {:>9.1} {difference:>10} {time:>9.1} {:>8.1}",
            body.name,
            instructions as f64 / bytes as f64,
            instructions as f64 / time / 1e3,
        );
        counted.insert(key, instructions);
        let most = INSTRUCTIONS
            .iter()
            .find(|(name, _)| place < table && *name == body.name);
        if let Some((name, most)) = most {
            held.push(Budget {
                of: format!("{name}: decision"),
                figure: instructions as f64,
                bound: Bound::AtMost(*most),
                unit: "instructions",
                is_void: false,
            });
        }
    }
    if run.baseline {
        fs::write(
            baseline_file(),
            format!("{}\n", serde_json::to_string_pretty(&counted)?),
        )?;
        println!("  written to benches/baseline.json");
    }
    Ok(held)
}
