//! What is printed, and how.

use std::io::{self, IsTerminal};

use anstream::AutoStream;
use clap::ValueEnum;
use instar::{output::Reader, yaml};
use instar_report::text::{Colour, Details, Layout};
use serde::Serialize;

use crate::Error;

/// How the answer is printed, as kubectl calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Text, with all Machines and each message whole.
    Wide,
    /// The whole value as JSON.
    Json,
    /// The whole value as YAML.
    Yaml,
    /// The name of the ClusterUpgrade alone.
    Name,
}

/// How much of a Cluster is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DetailsArg {
    /// The pools, and a line for each row of health
    None,
    /// The Machines too: ten, and all that aren't well
    Machines,
    /// The Machines that aren't where they go, and each row of health with what to do
    Health,
    /// All of it
    All,
}

impl DetailsArg {
    const fn details(self) -> Details {
        match self {
            Self::None => Details::None,
            Self::Machines => Details::Machines,
            Self::Health => Details::Health,
            Self::All => Details::All,
        }
    }
}

/// Standard output as it is: a terminal has a width and, unless `NO_COLOR` is set, colours.
pub(crate) fn layout(details: Option<DetailsArg>, format: Option<Format>) -> Layout {
    let output = io::stdout();
    let is_terminal = output.is_terminal();
    let width = terminal_size::terminal_size().filter(|_| is_terminal);
    let colour = match AutoStream::choice(&output) {
        anstream::ColorChoice::Never => Colour::Plain,
        anstream::ColorChoice::Auto | anstream::ColorChoice::AlwaysAnsi | anstream::ColorChoice::Always => Colour::Ansi,
    };
    Layout {
        width: width.map_or(Layout::UNBOUNDED, |(width, _)| usize::from(width.0)),
        colour,
        details: match (details, format) {
            (Some(details), _) => details.details(),
            (None, Some(Format::Wide)) => Details::All,
            (None, Some(Format::Json | Format::Yaml | Format::Name) | None) => Details::default(),
        },
    }
}

/// The whole value.
pub(crate) fn value(value: &impl Serialize, format: ValueFormat) -> Result<String, Error> {
    let value = serde_json::to_value(value).map_err(|source| Error::Unreadable {
        what: "the report".to_owned(),
        source,
    })?;
    Ok(match format {
        ValueFormat::Json => yaml::json(&value)?,
        ValueFormat::Yaml => yaml::print(&value)?,
    })
}

/// Each with a line break at its end.
pub(crate) fn lines(lines: impl IntoIterator<Item = String>) -> String {
    lines.into_iter().fold(String::new(), |text, line| text + &line + "\n")
}

/// For programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ValueFormat {
    Json,
    Yaml,
}

/// The same on a command line, of a verb that prints a list of findings or one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ValueFormatArg {
    /// The whole value as JSON
    Json,
    /// The whole value as YAML
    Yaml,
}

impl From<ValueFormatArg> for ValueFormat {
    fn from(format: ValueFormatArg) -> Self {
        match format {
            ValueFormatArg::Json => Self::Json,
            ValueFormatArg::Yaml => Self::Yaml,
        }
    }
}

/// A reader that has gone, as `head` does, wants no more.
pub(crate) fn print(text: &str) -> Result<(), Error> {
    print_on(text).map(|_| ())
}

/// The same, for a verb that would go on printing.
pub(crate) fn print_on(text: &str) -> Result<Reader, Error> {
    instar::output::print(text).map_err(Error::Output)
}
