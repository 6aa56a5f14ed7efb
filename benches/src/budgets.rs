//! What is to hold, and what was found.

use std::fmt;

/// How many times our CPU time a request must take in each server in Go, on any machine: the lowest median of a run.
pub(crate) const RATIOS: [(&str, f64); 2] = [("net/http", 4.0), ("controller-runtime", 10.0)];

/// Instructions for a decision, by the body's name.
pub(crate) const INSTRUCTIONS: [(&str, f64); 2] = [("template, allowed", 90_000.0), ("control plane", 200_000.0)];

/// MiB at most, under the load of bodies that aren't large.
pub(crate) const MEMORY: f64 = 10.0;

#[derive(Clone, Copy, Debug)]
pub(crate) enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

impl Bound {
    fn holds(self, figure: f64) -> bool {
        match self {
            Self::AtLeast(bound) => figure >= bound,
            Self::AtMost(bound) => figure <= bound,
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(bound) => write!(f, "at least {bound}"),
            Self::AtMost(bound) => write!(f, "at most {bound}"),
        }
    }
}

/// A budget with its figure.
pub(crate) struct Budget {
    pub(crate) of: String,
    pub(crate) figure: f64,
    pub(crate) bound: Bound,
    pub(crate) unit: &'static str,
    /// Whether the figure means something: not if it is a time of a restless machine.
    pub(crate) is_void: bool,
}

impl Budget {
    fn verdict(&self) -> &'static str {
        match (self.is_void, self.bound.holds(self.figure)) {
            (true, _) => "void",
            (false, true) => "holds",
            (false, false) => "MISSED",
        }
    }

    /// The line of a table.
    pub(crate) fn line(&self) -> String {
        let Self { of, figure, unit, .. } = self;
        let bound = self.bound.to_string();
        format!("  {of:<52} {figure:>10.1}  {bound:<16} {unit:<13} {}", self.verdict())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_at_its_bound_holds_and_a_void_one_has_no_verdict() {
        for (figure, bound, is_void, expected) in [
            (4.0, Bound::AtLeast(4.0), false, "holds"),
            (3.9, Bound::AtLeast(4.0), false, "MISSED"),
            (10.0, Bound::AtMost(10.0), false, "holds"),
            (10.1, Bound::AtMost(10.0), false, "MISSED"),
            (10.1, Bound::AtMost(10.0), true, "void"),
        ] {
            let budget = Budget {
                of: String::new(),
                figure,
                bound,
                unit: "",
                is_void,
            };
            assert_eq!(budget.verdict(), expected, "{figure} {bound}");
        }
    }
}
