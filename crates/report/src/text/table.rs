//! A table as kubectl prints it: no lines, two spaces between columns.

use textwrap::core::display_width;

use super::{Colour, Layout, Tone};

/// Between columns.
const GAP: &str = "  ";
/// A column that is cut keeps as much.
const LEAST: usize = 6;

/// A cell: one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// With a colour.
    #[must_use]
    pub fn toned(text: impl Into<String>, tone: Tone) -> Self {
        let text = text.into();
        // A line break of somebody's message would break the table.
        let text = if text.contains(char::is_control) {
            text.split_whitespace().collect::<Vec<&str>>().join(" ")
        } else {
            text
        };
        Self {
            text: if text.is_empty() { "-".to_owned() } else { text },
            tone,
        }
    }

    /// Without one.
    #[must_use]
    pub fn plain(text: impl Into<String>) -> Self {
        Self::toned(text, Tone::Plain)
    }
}

/// Rows under headings.
#[derive(Clone, Debug)]
pub struct Table<const COLUMNS: usize> {
    headings: [&'static str; COLUMNS],
    rows: Vec<[Cell; COLUMNS]>,
}

impl<const COLUMNS: usize> Table<COLUMNS> {
    /// One without rows.
    #[must_use]
    pub const fn new(headings: [&'static str; COLUMNS]) -> Self {
        Self {
            headings,
            rows: Vec::new(),
        }
    }

    /// One more row.
    pub fn push(&mut self, row: [Cell; COLUMNS]) {
        self.rows.push(row);
    }

    /// Its lines. Where they are wider than the layout, the widest columns are cut in the middle of their texts, since
    /// generated names differ at their ends.
    #[must_use]
    pub fn lines(&self, layout: &Layout) -> Vec<String> {
        let widths = self.widths(layout.width);
        let heading = self.headings.map(|heading| Cell::toned(heading, Tone::Heading));
        let rows = std::iter::once(&heading).chain(&self.rows);
        rows.map(|row| line(row, &widths, layout.colour)).collect()
    }

    /// The same as one text.
    #[must_use]
    pub fn text(&self, layout: &Layout) -> String {
        self.lines(layout).into_iter().map(|line| line + "\n").collect()
    }

    fn widths(&self, width: usize) -> [usize; COLUMNS] {
        let mut widths = self.headings.map(display_width);
        for row in &self.rows {
            for (widest, cell) in widths.iter_mut().zip(row) {
                *widest = (*widest).max(display_width(&cell.text));
            }
        }
        let room = width.saturating_sub(GAP.len() * COLUMNS.saturating_sub(1));
        while widths.iter().sum::<usize>() > room {
            let Some(widest) = widths.iter_mut().max().filter(|widest| **widest > LEAST) else {
                break;
            };
            *widest -= 1;
        }
        widths
    }
}

fn line<const COLUMNS: usize>(row: &[Cell; COLUMNS], widths: &[usize; COLUMNS], colour: Colour) -> String {
    let mut line = String::new();
    for (at, (cell, width)) in row.iter().zip(widths).enumerate() {
        let text = cut(&cell.text, *width);
        let missing = width.saturating_sub(display_width(&text));
        line.push_str(&cell.tone.paint(&text, colour));
        if at + 1 < COLUMNS {
            line.extend(std::iter::repeat_n(' ', missing));
            line.push_str(GAP);
        }
    }
    line.truncate(line.trim_end().len());
    line
}

/// At most as wide, with the middle left out.
fn cut(text: &str, width: usize) -> String {
    if display_width(text) <= width {
        return text.to_owned();
    }
    let keep = width.saturating_sub(1);
    let (mut front, mut back) = (String::new(), Vec::new());
    for letter in text.chars() {
        if display_width(&front) + display_width(letter.encode_utf8(&mut [0; 4])) > keep.div_ceil(2) {
            break;
        }
        front.push(letter);
    }
    let left = keep.saturating_sub(display_width(&front));
    let mut taken = 0;
    for letter in text.chars().rev() {
        taken += display_width(letter.encode_utf8(&mut [0; 4]));
        if taken > left {
            break;
        }
        back.push(letter);
    }
    front.push('…');
    front.extend(back.into_iter().rev());
    front
}

#[cfg(test)]
mod tests {
    use super::{super::Details, *};

    fn layout(width: usize, colour: Colour) -> Layout {
        Layout {
            width,
            colour,
            details: Details::All,
        }
    }

    #[test]
    fn the_longest_names_fit_a_narrow_terminal() {
        let mut table = Table::new(["NAME", "NODE", "PHASE"]);
        let long = "a-cluster-of-a-team-with-a-long-name-in-a-far-away-region-md-0-x7k2p-9tq4z";
        table.push([
            Cell::plain(long),
            Cell::plain(format!("{long}.example.test")),
            Cell::toned("Running", Tone::Good),
        ]);
        for width in [40, 60, 80, 120] {
            for line in table.lines(&layout(width, Colour::Plain)) {
                assert!(display_width(&line) <= width, "{width}: {line}");
            }
        }
        let lines = table.lines(&layout(60, Colour::Plain));
        assert_eq!(lines[1], "a-cluster-of…-x7k2p-9tq4z  a-cluster-of…xample.test  Running");
    }

    #[test]
    fn colours_take_no_room() {
        let mut table = Table::new(["A", "B"]);
        table.push([Cell::toned("one", Tone::Bad), Cell::plain("two\nlines")]);
        let plain = table.lines(&layout(80, Colour::Plain));
        assert_eq!(plain, ["A    B", "one  two lines"]);
        let coloured = table.lines(&layout(80, Colour::Ansi));
        assert_eq!(coloured[1], "\u{1b}[31mone\u{1b}[0m  two lines");
    }
}
