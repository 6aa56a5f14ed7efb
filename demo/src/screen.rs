//! What the demo writes on: a terminal, or a log.

use std::{
    fmt::Display,
    io::{self, IsTerminal, Write},
    os::fd::AsFd,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use jiff::Zoned;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{
    table::{self, paint},
    watch::Look,
};
use instar_e2e::progress::spoken;

/// How many stages there are.
const STAGES: usize = 10;

/// What a terminal has that doesn't say.
const USUAL: Size = Size { lines: 24, columns: 80 };

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Size {
    lines: usize,
    columns: usize,
}

/// Standard output. No error of it is passed over: a demo that nobody sees may end.
#[derive(Debug)]
pub(crate) struct Screen {
    /// There for a terminal, where a table is drawn again in its place.
    terminal: Option<Terminal>,
    coloured: bool,
}

#[derive(Debug)]
struct Terminal {
    size: Size,
    resized: Signal,
    /// How many lines of the table are above the cursor.
    drawn: usize,
}

impl Screen {
    /// What standard output is.
    pub(crate) fn new() -> Result<Self> {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let is_terminal = io::stdout().is_terminal() && set("TERM").is_some_and(|term| term != "dumb");
        let terminal = || -> Result<Terminal> {
            Ok(Terminal {
                size: size(),
                resized: signal(SignalKind::window_change())?,
                drawn: 0,
            })
        };
        Ok(Self {
            terminal: is_terminal.then(terminal).transpose()?,
            coloured: is_terminal && set("NO_COLOR").is_none(),
        })
    }

    /// Begins a stage.
    pub(crate) fn stage(&self, number: usize, title: &str) -> Result<Instant> {
        let headline = format!("{number}/{STAGES} {title}");
        write(&format!("\n{}\n", self.painted("1;36", &headline)))?;
        Ok(Instant::now())
    }

    /// Ends a stage; the result is how long it took.
    pub(crate) fn took(&self, began: Instant) -> Result<Duration> {
        let took = began.elapsed();
        write(&format!(
            "    {}\n",
            self.painted("90", &format!("took {}", spoken(took)))
        ))?;
        Ok(took)
    }

    /// Says something, line by line.
    pub(crate) fn say(&self, text: impl Display) -> Result<()> {
        self.lines("", &text.to_string())
    }

    /// Shows a command before it runs.
    pub(crate) fn command(&self, command: &str) -> Result<()> {
        self.lines("1", &format!("$ {command}"))
    }

    /// Shows what a program printed.
    pub(crate) fn printed(&self, text: &str) -> Result<()> {
        self.lines("33", text.trim_end())
    }

    fn lines(&self, code: &str, text: &str) -> Result<()> {
        let indented = |line: &str| match line {
            "" => "\n".to_owned(),
            line => format!("    {}\n", self.painted(code, line)),
        };
        write(&text.lines().map(indented).collect::<String>())
    }

    fn painted(&self, code: &str, text: &str) -> String {
        if self.coloured && !code.is_empty() {
            paint(code, text)
        } else {
            text.to_owned()
        }
    }

    /// Shows how the machines and the upgrades are: a table in place of the one before, or what
    /// changed. `field` is what the table has instead of the image.
    pub(crate) fn show(&mut self, before: &Look, now: &Look, elapsed: Duration, field: &str) -> Result<()> {
        let coloured = self.coloured;
        let Some(terminal) = &mut self.terminal else {
            let clock = Zoned::now().strftime("%H:%M:%S").to_string();
            let mut lines = table::changes(&before.rows, &now.rows);
            let new = now.upgrades.iter().filter(|upgrade| !before.upgrades.contains(upgrade));
            lines.extend(new.cloned());
            let lines: Vec<_> = lines.iter().map(|line| format!("{clock}  {line}\n")).collect();
            return write(&lines.concat());
        };
        let mut lines = table::table(&now.rows, terminal.size.columns, coloured);
        // What has scrolled away can't be drawn again.
        let room = terminal.size.lines.saturating_sub(2 + now.upgrades.len()).max(1);
        if lines.len() > room {
            lines.truncate(room - 1);
            lines.push("...".to_owned());
        }
        let cut = |line: &str| line.chars().take(terminal.size.columns).collect::<String>();
        lines.extend(now.upgrades.iter().map(|upgrade| cut(upgrade)));
        // Whole seconds: this line is drawn once in each.
        let clock = match elapsed.as_secs() {
            seconds @ 0..10 => format!("{seconds} s"),
            _ => spoken(elapsed),
        };
        let clock = format!("after {clock} (* {field} stands for the image)");
        lines.push(cut(&clock));
        let up = match terminal.drawn {
            0 => String::new(),
            drawn => format!("\x1b[{drawn}A"),
        };
        let lines: Vec<_> = lines.iter().map(|line| format!("\r{line}\x1b[K\n")).collect();
        terminal.drawn = lines.len();
        write(&format!("{up}{}\x1b[J", lines.concat()))
    }

    /// Says that nothing changed for a while, where no table shows it.
    pub(crate) fn still(&self, what: &str) -> Result<()> {
        if self.terminal.is_some() {
            return Ok(());
        }
        write(&format!("{}  ({what})\n", Zoned::now().strftime("%H:%M:%S")))
    }

    /// Leaves the table as it is: the next one comes below.
    pub(crate) const fn leave(&mut self) {
        if let Some(terminal) = &mut self.terminal {
            terminal.drawn = 0;
        }
    }

    /// Waits until the terminal has another size.
    pub(crate) async fn resized(&mut self) {
        let Some(terminal) = &mut self.terminal else {
            return std::future::pending().await;
        };
        if terminal.resized.recv().await.is_none() {
            return std::future::pending().await;
        }
        terminal.size = size();
    }
}

fn write(text: &str) -> Result<()> {
    let mut output = io::stdout().lock();
    // In one piece, so that a table doesn't flicker.
    output
        .write_all(text.as_bytes())
        .context("writing to standard output")?;
    output.flush().context("writing to standard output")
}

/// The terminal's size, as `stty` tells it.
fn size() -> Size {
    let ask = || -> Result<Size> {
        let terminal = io::stdout().as_fd().try_clone_to_owned()?;
        let output = Command::new("stty")
            .arg("size")
            .stdin(Stdio::from(terminal))
            .stderr(Stdio::null())
            .output()?;
        parse(&String::from_utf8_lossy(&output.stdout)).context("stty said no size")
    };
    ask().unwrap_or(USUAL)
}

/// Reads `24 80`; a terminal that doesn't know says `0 0`.
fn parse(text: &str) -> Option<Size> {
    let mut numbers = text.split_whitespace().map(str::parse::<usize>);
    let (lines, columns) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    (lines > 0 && columns > 0).then_some(Size { lines, columns })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_stty_says() {
        assert_eq!(
            parse("50 120\n"),
            Some(Size {
                lines: 50,
                columns: 120
            })
        );
        for unknown in ["", "0 0\n", "stty: invalid"] {
            assert_eq!(parse(unknown), None, "{unknown}");
        }
    }
}
