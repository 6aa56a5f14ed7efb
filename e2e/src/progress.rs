//! Plain lines for the person who waits: on stderr, so that stdout stays for results.

use std::{fmt::Display, time::Duration};

/// Says one line.
pub fn say(line: impl Display) {
    eprintln!("{line}");
}

/// A duration as people say it: `0.4 s`, `13 s`, `2 min 43 s`.
#[must_use]
pub fn spoken(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..10 => format!("{:.1} s", duration.as_secs_f64()),
        10..120 => format!("{seconds} s"),
        _ => format!("{} min {} s", seconds / 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_like_speech() {
        assert_eq!(spoken(Duration::from_millis(430)), "0.4 s");
        assert_eq!(spoken(Duration::from_secs(13)), "13 s");
        assert_eq!(spoken(Duration::from_secs(163)), "2 min 43 s");
    }
}
