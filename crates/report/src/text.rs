//! The value as text for a terminal of a given width.

mod cluster;
mod fleet;
mod plan;
mod table;
pub(crate) mod words;

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};

pub use cluster::of_cluster;
pub use fleet::{FleetRow, of_fleet};
pub use plan::{of_plan, of_targets};
pub use table::{Cell, Table};

/// How the text is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// How many columns the terminal has; what isn't a terminal takes [`Layout::UNBOUNDED`].
    pub width: usize,
    /// Whether it takes colours.
    pub colour: Colour,
    /// How much is shown.
    pub details: Details,
}

impl Layout {
    /// No line is too long for a file or a pipe.
    pub const UNBOUNDED: usize = 4096;

    /// Paragraphs are no wider, so that they can be read.
    const READABLE: usize = 110;
}

/// Whether what reads the text takes colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// It does.
    Ansi,
    /// It doesn't.
    Plain,
}

/// How much is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Details {
    /// The pools, and a line for each row of health.
    None,
    /// The Machines too: the first ten, and all that aren't well.
    Machines,
    /// The Machines that aren't where they go, and each row of health with its message and what to do.
    #[default]
    Health,
    /// All of it.
    All,
}

/// What a text is about, by colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    /// As it should be, or nothing to say.
    #[default]
    Plain,
    /// A heading.
    Heading,
    /// Done.
    Good,
    /// It waits, or may mend by itself.
    Warning,
    /// A user has to act.
    Bad,
}

impl Tone {
    const fn style(self) -> Style {
        match self {
            Self::Plain => Style::new(),
            Self::Heading => Style::new().bold(),
            Self::Good => AnsiColor::Green.on_default(),
            Self::Warning => AnsiColor::Yellow.on_default(),
            Self::Bad => AnsiColor::Red.on_default(),
        }
    }

    pub(crate) fn paint(self, text: &str, colour: Colour) -> String {
        match (self, colour) {
            (Self::Plain, _) | (_, Colour::Plain) => text.to_owned(),
            (Self::Heading | Self::Good | Self::Warning | Self::Bad, Colour::Ansi) => {
                let style = self.style();
                format!("{style}{text}{style:#}")
            }
        }
    }
}

/// A paragraph, wrapped at words, each line behind an indent.
pub(crate) fn paragraph(text: &str, first: &str, rest: &str, layout: &Layout) -> String {
    let options = textwrap::Options::new(layout.width.clamp(20, Layout::READABLE))
        .initial_indent(first)
        .subsequent_indent(rest)
        // The name of an object or a path is copied, so it stays whole.
        .break_words(false)
        .word_splitter(textwrap::WordSplitter::NoHyphenation);
    // A message of an API server may have lines of its own, and the columns after it would be lost.
    let one_line = text.split_whitespace().collect::<Vec<&str>>().join(" ");
    textwrap::fill(&one_line, options) + "\n"
}

/// The title of a section.
pub(crate) fn heading(text: &mut String, title: &str, layout: &Layout) {
    let _ = writeln!(text, "\n{}", Tone::Heading.paint(title, layout.colour));
}

/// A line of the head, wrapped under itself.
pub(crate) fn line(text: &mut String, name: &str, value: &str, layout: &Layout) {
    text.push_str(&paragraph(value, &format!("{name:<10} "), &" ".repeat(11), layout));
}

/// A table with something to say below each of its rows.
pub(crate) fn with_details<const COLUMNS: usize>(
    text: &mut String,
    table: &Table<COLUMNS>,
    below: impl Iterator<Item = String>,
    layout: &Layout,
) {
    // Nothing stands below the headings.
    let below = std::iter::once(String::new()).chain(below);
    for (line, details) in table.lines(layout).into_iter().zip(below) {
        let _ = writeln!(text, "{line}");
        text.push_str(&details);
    }
}
