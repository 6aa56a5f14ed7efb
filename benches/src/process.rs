//! What a process has used, as the kernel counts it.

use std::{fs, time::Duration};

use anyhow::{Context, Result};

/// The CPU time of all of its threads.
///
/// # Errors
/// Where the process is gone.
pub fn cpu(pid: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name before them may hold anything.
    let (_, fields) = stat.rsplit_once(')').context("no stat")?;
    let mut fields = fields.split_whitespace().skip(11);
    let mut ticks = || -> Result<u64> { Ok(fields.next().context("no CPU time")?.parse()?) };
    let (user, system) = (ticks()?, ticks()?);
    Ok(Duration::from_secs(user + system) / u32::try_from(rustix::param::clock_ticks_per_second())?)
}

/// Its resident memory.
///
/// # Errors
/// Where the process is gone.
pub fn memory(pid: u32) -> Result<Memory> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let field = |name: &str| -> Result<f64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kib: f64 = line
            .and_then(|line| line.split_whitespace().next())
            .with_context(|| format!("no {name}"))?
            .parse()?;
        Ok(kib / 1024.0)
    };
    Ok(Memory {
        now: field("VmRSS:")?,
        own: field("RssAnon:")?,
        peak: field("VmHWM:")?,
    })
}

/// Resident memory, in MiB.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// At this moment.
    pub now: f64,
    /// The part of it that is no page of a file.
    pub own: f64,
    /// The most that it ever was.
    pub peak: f64,
}
