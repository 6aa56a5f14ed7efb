//! Machines as lines of text: a table for a terminal, single changes for a log.

/// One machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) cluster: String,
    pub(crate) pool: String,
    pub(crate) machine: String,
    pub(crate) version: String,
    pub(crate) phase: String,
    pub(crate) has_node: bool,
    pub(crate) template: String,
    /// The template's value that stands for the image.
    pub(crate) image: String,
}

const HEADER: [&str; COLUMNS] = ["CLUSTER", "POOL", "MACHINE", "VERSION", "PHASE", "TEMPLATE", "IMAGE*"];
const COLUMNS: usize = 7;
const MACHINE: usize = 2;
const PHASE: usize = 4;
const TEMPLATE: usize = 5;
const GAP: &str = "  ";

/// What is left of a name at least: enough for Cluster API's random suffix.
const SHORTEST: usize = 10;

impl Row {
    fn cells(&self) -> [&str; COLUMNS] {
        [
            &self.cluster,
            &self.pool,
            &self.machine,
            &self.version,
            &self.phase,
            &self.template,
            &self.image,
        ]
    }
}

/// The table, none of its lines longer than `width`.
pub(crate) fn table(rows: &[Row], width: usize, coloured: bool) -> Vec<String> {
    let mut all = vec![HEADER];
    all.extend(rows.iter().map(Row::cells));
    let widths = fit(&all, width);
    let line = |(number, cells): (usize, &[&str; COLUMNS])| {
        let mut text = String::new();
        let mut room = width;
        for (column, (cell, size)) in cells.iter().zip(widths).enumerate().filter(|(_, (_, size))| *size > 0) {
            let gap = if column == 0 { "" } else { GAP };
            let shown = shortened(cell, size);
            let padded: String = format!("{gap}{shown:<size$}").chars().take(room).collect();
            room -= padded.chars().count();
            text.push_str(&match (coloured, number, column) {
                (true, 0, _) => paint(BOLD, &padded),
                (true, _, PHASE) => paint(colour_of(cell), &padded),
                _ => padded,
            });
        }
        if coloured { text } else { text.trim_end().to_owned() }
    };
    all.iter().enumerate().map(line).collect()
}

/// What changed between two looks, one line for each machine.
pub(crate) fn changes(before: &[Row], after: &[Row]) -> Vec<String> {
    let find = |rows: &[Row], name: &str| rows.iter().find(|row| row.machine == name).cloned();
    let line = |row: &Row, what: &str| {
        let line = format!(
            "{:<7}  {:<13}  {:<32}  {}  {what:<28}  {}",
            row.cluster, row.pool, row.machine, row.version, row.image
        );
        line.trim_end().to_owned()
    };
    let mut lines = Vec::new();
    for row in before.iter().filter(|row| find(after, &row.machine).is_none()) {
        lines.push(line(row, &format!("{} -> gone", row.phase)));
    }
    for row in after {
        match find(before, &row.machine) {
            None => lines.push(line(row, &row.phase)),
            Some(old) if old.phase != row.phase => lines.push(line(row, &format!("{} -> {}", old.phase, row.phase))),
            Some(_) => {}
        }
    }
    lines
}

/// The width of each column; zero for one that has no room.
fn fit(all: &[[&str; COLUMNS]], width: usize) -> [usize; COLUMNS] {
    let mut widths = [0; COLUMNS];
    for cells in all {
        for (size, cell) in widths.iter_mut().zip(cells) {
            *size = (*size).max(cell.len());
        }
    }
    let total = |widths: &[usize; COLUMNS]| {
        let shown = widths.iter().filter(|size| **size > 0);
        shown
            .map(|size| size + GAP.len())
            .sum::<usize>()
            .saturating_sub(GAP.len())
    };
    while total(&widths) > width {
        let longer = if widths[TEMPLATE] >= widths[MACHINE] {
            TEMPLATE
        } else {
            MACHINE
        };
        if widths[longer] > SHORTEST {
            widths[longer] -= 1;
        } else if widths[TEMPLATE] > 0 {
            widths[TEMPLATE] = 0;
        } else {
            // What is left is cut at the end of the line.
            break;
        }
    }
    widths
}

/// The end of a text: what tells Cluster API's names apart is there.
fn shortened(text: &str, size: usize) -> String {
    const MARK: &str = "..";
    let length = text.chars().count();
    if length <= size {
        return text.to_owned();
    }
    if size <= MARK.len() {
        return text.chars().take(size).collect();
    }
    let kept: String = text.chars().skip(length - (size - MARK.len())).collect();
    format!("{MARK}{kept}")
}

const BOLD: &str = "1";

fn colour_of(phase: &str) -> &'static str {
    match phase {
        "Running" => "32",
        "Deleting" | "Deleted" => "90",
        "Failed" => "31",
        _ => "33",
    }
}

/// A text in a colour of the terminal.
pub(crate) fn paint(code: &str, text: &str) -> String {
    format!("\x1b[{code}m{text}\x1b[0m")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(pool: &str, machine: &str, phase: &str) -> Row {
        Row {
            cluster: "demo".to_owned(),
            pool: pool.to_owned(),
            machine: machine.to_owned(),
            version: "v1.33.5".to_owned(),
            phase: phase.to_owned(),
            has_node: true,
            template: "demo-md-0-infra-7qk2v".to_owned(),
            image: "1.335s".to_owned(),
        }
    }

    fn rows() -> Vec<Row> {
        vec![
            row("control plane", "demo-abcde-fghij", "Running"),
            row("md-0", "demo-md-0-6zqjz-7b8c9-x2x4z", "Provisioning"),
        ]
    }

    #[test]
    fn a_wide_terminal_shows_all() {
        assert_eq!(
            table(&rows(), 120, false),
            [
                "CLUSTER  POOL           MACHINE                      VERSION  PHASE         TEMPLATE               IMAGE*",
                "demo     control plane  demo-abcde-fghij             v1.33.5  Running       demo-md-0-infra-7qk2v  1.335s",
                "demo     md-0           demo-md-0-6zqjz-7b8c9-x2x4z  v1.33.5  Provisioning  demo-md-0-infra-7qk2v  1.335s",
            ]
        );
    }

    #[test]
    fn names_keep_their_ends() {
        let lines = table(&rows(), 80, false);
        assert_eq!(
            lines[2],
            "demo     md-0           ..b8c9-x2x4z  v1.33.5  Provisioning  ..fra-7qk2v  1.335s"
        );
    }

    #[test]
    fn no_line_is_longer_than_the_terminal() {
        for width in 0..130 {
            for line in table(&rows(), width, false) {
                assert!(line.len() <= width, "{width}: {line}");
            }
        }
    }

    #[test]
    fn colours_do_not_move_anything() {
        for width in [20, 60, 80, 120] {
            let coloured = table(&rows(), width, true).join("\n");
            assert!(coloured.contains("\x1b["), "{coloured}");
            let mut bare = String::new();
            for (number, part) in coloured.split('\x1b').enumerate() {
                bare.push_str(if number == 0 {
                    part
                } else {
                    part.split_once('m').unwrap().1
                });
            }
            let bare: Vec<_> = bare.lines().map(str::trim_end).collect();
            assert_eq!(bare, table(&rows(), width, false));
        }
        assert!(!table(&rows(), 80, false).concat().contains('\x1b'));
    }

    #[test]
    fn only_changes_are_told() {
        let before = vec![
            row("md-0", "a", "Running"),
            row("md-0", "b", "Deleting"),
            row("md-0", "c", "Pending"),
        ];
        let after = vec![
            row("md-0", "a", "Running"),
            row("md-0", "c", "Running"),
            row("md-0", "d", "Pending"),
        ];
        let told: Vec<Vec<String>> = changes(&before, &after)
            .iter()
            .map(|line| line.split_whitespace().map(ToOwned::to_owned).collect())
            .collect();
        assert_eq!(
            told,
            [
                vec!["demo", "md-0", "b", "v1.33.5", "Deleting", "->", "gone", "1.335s"],
                vec!["demo", "md-0", "c", "v1.33.5", "Pending", "->", "Running", "1.335s"],
                vec!["demo", "md-0", "d", "v1.33.5", "Pending", "1.335s"],
            ]
        );
        assert!(changes(&after, &after).is_empty());
    }
}
