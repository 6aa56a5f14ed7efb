use jiff::tz;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn maintenance(text: &Value) -> Maintenance {
    serde_json::from_value(text.clone()).unwrap()
}

fn read(text: &Value) -> Result<MaintenanceWindows, WindowError> {
    MaintenanceWindows::read([&maintenance(text)])
}

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// As one line: open or why not, and until when.
fn at(text: &Value, now: &str) -> String {
    let until = |change: Option<Timestamp>| change.map_or_else(|| "?".to_owned(), |change| change.to_string());
    match read(text).unwrap().at(time(now)) {
        WindowState::Open { closes } => format!("open until {}", until(closes)),
        WindowState::Closed { by, opens } => format!("{by}; until {}", until(opens)),
    }
}

fn night() -> Value {
    json!({ "name": "night", "schedule": "0 22 * * SAT", "duration": "8h", "timeZone": "Europe/Berlin" })
}

#[test]
fn allows_are_alternatives_and_a_deny_wins() {
    let noon = json!({ "name": "noon", "schedule": "0 12 * * *", "duration": "1h" });
    let freeze = json!({ "name": "freeze", "kind": "Deny", "schedule": "0 0 1 12 *", "duration": "744h" });
    let quarter = json!({ "from": "2026-11-28T23:00:00Z", "to": "2026-11-29T01:00:00Z", "reason": "quarter-end" });
    let windows = |windows: &[&Value]| json!({ "windows": windows });
    let excluded = json!({ "windows": [night()], "exclusions": [quarter] });
    for (maintenance, now, expected) in [
        (json!({}), "2026-11-29T12:00:00Z", "open until ?"),
        // A Saturday, and after midnight the Sunday.
        (
            windows(&[&night()]),
            "2026-11-28T21:00:00Z",
            "open until 2026-11-29T05:00:00Z",
        ),
        (
            windows(&[&night()]),
            "2026-11-29T04:59:59.999Z",
            "open until 2026-11-29T05:00:00Z",
        ),
        (
            windows(&[&night()]),
            "2026-11-29T05:00:00Z",
            "no maintenance window is open (of \"night\"); until 2026-12-05T21:00:00Z",
        ),
        (
            windows(&[&night(), &noon]),
            "2026-11-29T05:00:00Z",
            "no maintenance window is open (of \"night\", \"noon\"); until 2026-11-29T12:00:00Z",
        ),
        (
            windows(&[&night(), &noon]),
            "2026-11-29T12:30:00Z",
            "open until 2026-11-29T13:00:00Z",
        ),
        (
            windows(&[&noon, &freeze]),
            "2026-12-01T12:30:00Z",
            "the window \"freeze\" denies upgrades; until 2027-01-01T12:00:00Z",
        ),
        // After a deny alone, it is open again.
        (
            windows(&[&freeze]),
            "2026-12-01T12:30:00Z",
            "the window \"freeze\" denies upgrades; until 2027-01-01T00:00:00Z",
        ),
        (
            excluded.clone(),
            "2026-11-28T23:30:00Z",
            "upgrades are excluded: quarter-end; until 2026-11-29T01:00:00Z",
        ),
        (excluded, "2026-11-28T22:30:00Z", "open until 2026-11-28T23:00:00Z"),
        // The next leap day is too far away, and the 30th of February never comes.
        (
            windows(&[&json!({ "name": "leap", "schedule": "0 0 29 2 *", "duration": "24h" })]),
            "2026-11-29T05:00:00Z",
            "no maintenance window is open (of \"leap\"); until ?",
        ),
        (
            windows(&[&json!({ "name": "leap", "schedule": "0 0 29 2 *", "duration": "24h" })]),
            "2027-11-29T05:00:00Z",
            "no maintenance window is open (of \"leap\"); until 2028-02-29T00:00:00Z",
        ),
        (
            windows(&[&json!({ "name": "never", "schedule": "0 0 30 2 *", "duration": "24h" })]),
            "2026-11-29T05:00:00Z",
            "no maintenance window is open (of \"never\"); until ?",
        ),
        // What opens each minute is open for longer than anybody waits, and a long exclusion ends all the same.
        (
            json!({ "windows": [{ "name": "w", "schedule": "* * * * *", "duration": "1m" }] }),
            "2026-11-29T05:00:00Z",
            "open until ?",
        ),
        (
            json!({ "windows": [{ "name": "w", "schedule": "* * * * *", "duration": "1m" }],
                "exclusions": [{ "from": "2026-11-01T00:00:00Z", "to": "2027-11-01T00:00:00Z", "reason": "a move" }] }),
            "2026-11-29T05:00:00Z",
            "upgrades are excluded: a move; until 2027-11-01T00:00:00Z",
        ),
        // One that opens again before its end stays open.
        (
            windows(&[&json!({ "name": "hourly", "schedule": "0 8-17 * * *", "duration": "90m" })]),
            "2026-11-29T08:10:00Z",
            "open until 2026-11-29T18:30:00Z",
        ),
    ] {
        assert_eq!(at(&maintenance, now), expected, "{maintenance} at {now}");
    }
}

#[test]
fn clocks_that_change_lose_no_window() {
    let window = |schedule: &str| {
        json!({ "windows": [{
            "name": "w", "schedule": schedule, "duration": "1h", "timeZone": "Europe/Berlin",
        }] })
    };
    // 02:30 doesn't exist on the 28th of March 2027, and comes twice on the 31st of October.
    assert_eq!(
        at(&window("30 2 * * *"), "2027-03-28T00:00:00Z"),
        "no maintenance window is open (of \"w\"); until 2027-03-28T01:00:00Z"
    );
    assert_eq!(
        at(&window("30 2 * * *"), "2027-10-31T00:00:00Z"),
        "no maintenance window is open (of \"w\"); until 2027-10-31T00:30:00Z"
    );
    assert_eq!(
        at(&window("30 2 * * *"), "2027-10-31T01:30:00Z"),
        "no maintenance window is open (of \"w\"); until 2027-11-01T01:30:00Z"
    );
}

#[test]
fn what_cannot_be_read_says_so() {
    let with = |key: &str, value: &str| {
        let mut window = night();
        window[key] = json!(value);
        json!({ "windows": [window] })
    };
    let excluded = |from: &str, to: &str| json!({ "exclusions": [{ "from": from, "to": to, "reason": "r" }] });
    for (maintenance, part) in [
        (with("timeZone", "Europe/Berln"), "\"Europe/Berln\" is not a time zone"),
        (with("timeZone", ""), "\"\" is not a time zone"),
        (with("schedule", "0 22 * *"), "\"0 22 * *\" is not a cron expression"),
        (with("schedule", "0 0 22 * * SAT"), "is not a cron expression of five"),
        (with("schedule", "0 25 * * SAT"), "is not a cron expression"),
        (with("schedule", "ä ß * * SAT"), "is not a cron expression"),
        (with("duration", "8785h"), "and at most 366 days"),
        (with("duration", "0s"), "its duration has to be more than 0"),
        (
            excluded("2026-11-29T12:00:00Z", "2026-11-29T12:00:00Z"),
            "ends before it begins",
        ),
    ] {
        let error = read(&maintenance).unwrap_err().to_string();
        assert!(error.contains(part), "{maintenance}: {error}");
    }
}

fn windows() -> impl Strategy<Value = Value> {
    let zones = [
        "UTC",
        "Europe/Berlin",
        "America/New_York",
        "Australia/Lord_Howe",
        "Asia/Kathmandu",
        "Pacific/Apia",
    ];
    let days = ["*", "SAT", "MON-FRI", "TUE#2", "FRIL"];
    (0..60u8, 0..24u8, 1..200u32, 0..zones.len(), 0..days.len(), any::<bool>()).prop_map(
        move |(minute, hour, halves, zone, day, denies)| {
            json!({
                "name": "w", "schedule": format!("{minute} {hour} * * {}", days[day]), "duration": format!("{}m", halves * 30),
                "timeZone": zones[zone], "kind": if denies { "Deny" } else { "Allow" },
            })
        },
    )
}

proptest! {
    /// What is said of the next change is so: nothing changes before, and it does then.
    #[test]
    fn the_next_change_is_one(
        windows in prop::collection::vec(windows(), 1..4),
        second in 1_700_000_000i64..1_900_000_000,
        part in 0.0f64..1.0,
    ) {
        let windows: Vec<Value> = windows.into_iter().enumerate().map(|(number, mut window)| {
            window["name"] = json!(number.to_string());
            window
        }).collect();
        let read = read(&json!({ "windows": windows })).unwrap();
        let now = Timestamp::from_second(second).unwrap();
        let is_open = |at| read.look(at).0.is_none();
        let (WindowState::Open { closes: change } | WindowState::Closed { opens: change, .. }) = read.at(now);
        if let Some(change) = change {
            prop_assert!(change > now);
            prop_assert_ne!(is_open(change), is_open(now));
            prop_assert_eq!(is_open(change - SignedDuration::from_secs(1)), is_open(now));
            #[allow(clippy::cast_possible_truncation, reason = "any moment between will do")]
            let between = now + SignedDuration::from_secs((change.duration_since(now).as_secs_f64() * part) as i64);
            if between < change {
                prop_assert_eq!(is_open(between), is_open(now));
            }
        }
    }

    /// A window of every day against a clock on the wall, in a zone whose clocks don't change.
    #[test]
    fn a_daily_window_is_open_as_a_clock_says(
        minute in 0..60i64, hour in 0..24i64, duration in 1..1440i64, second in 1_700_000_000i64..1_900_000_000,
    ) {
        let read = read(&json!({ "windows": [{
            "name": "w", "schedule": format!("{minute} {hour} * * *"), "duration": format!("{duration}m"),
            "timeZone": "Asia/Kathmandu",
        }] })).unwrap();
        let now = Timestamp::from_second(second).unwrap();
        let offset = tz::offset(5).seconds() + 45 * 60;
        let of_day = (second + i64::from(offset)).rem_euclid(86_400);
        let since = (of_day - (hour * 60 + minute) * 60).rem_euclid(86_400);
        prop_assert_eq!(read.look(now).0.is_none(), since < duration * 60);
    }
}
