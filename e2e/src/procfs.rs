//! What the kernel says of processes.

use std::{collections::BTreeMap, fs};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

/// A process, told apart from a later one with the same number by when it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The number in the PID namespace of whoever asked.
    pub pid: u32,
    /// In clock ticks since the machine started.
    pub started: u64,
}

impl Identity {
    /// The process that has this number now.
    #[must_use]
    pub fn of(pid: u32) -> Option<Self> {
        Stat::of(pid).map(|stat| stat.identity)
    }

    /// Whether it runs. A zombie does not: it only waits for its parent to look.
    #[must_use]
    pub fn is_alive(self) -> bool {
        Stat::of(self.pid).is_some_and(|stat| stat.identity == self && !stat.is_dead())
    }

    /// Sends a signal to this process and to no other one that got its number.
    pub fn signal(self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        let pid = pid.with_context(|| format!("{} is no pid", self.pid))?;
        // Open first, compare then: what is open can't be exchanged any more.
        let open = pidfd_open(pid, PidfdFlags::empty()).with_context(|| format!("pid {}", self.pid))?;
        if !self.is_alive() {
            bail!("pid {} is another process by now", self.pid);
        }
        pidfd_send_signal(open, signal).with_context(|| format!("signalling pid {}", self.pid))
    }
}

/// A line of `/proc/PID/stat`.
#[derive(Debug, Clone, Copy)]
pub struct Stat {
    /// Which process.
    pub identity: Identity,
    /// Its parent's number.
    pub parent: u32,
    /// Its memory, in bytes.
    pub resident: u64,
    state: char,
}

impl Stat {
    /// Of a process that there is.
    #[must_use]
    pub fn of(pid: u32) -> Option<Self> {
        Self::parse(pid, &fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    fn parse(pid: u32, line: &str) -> Option<Self> {
        // The second column is a name in parentheses, which may contain anything.
        let columns: Vec<_> = line.rsplit_once(") ")?.1.split(' ').collect();
        let pages: u64 = columns.get(21)?.parse().ok()?;
        Some(Self {
            identity: Identity {
                pid,
                started: columns.get(19)?.parse().ok()?,
            },
            parent: columns.get(1)?.parse().ok()?,
            resident: pages.saturating_mul(u64::try_from(rustix::param::page_size()).ok()?),
            state: columns.first()?.chars().next()?,
        })
    }

    const fn is_dead(&self) -> bool {
        matches!(self.state, 'Z' | 'X')
    }
}

/// The living children of a process.
#[must_use]
pub fn children(parent: u32) -> Vec<Stat> {
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    all.filter_map(|entry| Stat::of(entry.file_name().to_string_lossy().parse().ok()?))
        .filter(|stat| stat.parent == parent && !stat.is_dead())
        .collect()
}

/// The living descendants of a process.
#[must_use]
pub fn descendants(ancestor: u32) -> Vec<Stat> {
    let mut found = children(ancestor);
    let mut next = 0;
    while let Some(stat) = found.get(next) {
        found.extend(children(stat.identity.pid));
        next += 1;
    }
    found
}

/// The children of a process, by their numbers in their own PID namespace.
#[must_use]
pub fn children_by_inner_pid(parent: u32) -> BTreeMap<u32, Stat> {
    let inner = |pid: u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
        line.split_whitespace().next_back()?.parse().ok()
    };
    children(parent)
        .into_iter()
        .filter_map(|stat| Some((inner(stat.identity.pid)?, stat)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_this_process() {
        let me = Identity::of(std::process::id()).unwrap();
        assert!(me.is_alive());
        assert!(
            !Identity {
                started: me.started + 1,
                ..me
            }
            .is_alive()
        );
    }

    #[test]
    fn never_signals_a_stranger() {
        let me = Identity::of(std::process::id()).unwrap();
        let stranger = Identity {
            started: me.started + 1,
            ..me
        };
        let error = stranger.signal(Signal::KILL).unwrap_err().to_string();
        assert!(error.contains("is another process by now"), "{error}");
    }

    #[test]
    fn a_name_may_contain_anything() {
        let line = "7 (a) b) S 3 7 7 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 4711 1000 5 0 0";
        let stat = Stat::parse(7, line).unwrap();
        assert_eq!((stat.parent, stat.identity.started, stat.state), (3, 4711, 'S'));
    }
}
