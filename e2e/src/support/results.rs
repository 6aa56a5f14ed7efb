//! What passed, what failed and how long it took, written down for `e2e/times.sh` and `.ci/run`.

use std::{
    fs::{self, File},
    io::Write,
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context, Result};

use crate::cache::Cache;

/// The last line of a file: without it, the program ended before its journeys did.
const END: &str = "end";

/// The file of one test program, `results/journeys/NAME` in the cache: a line for each journey, with
/// `passed` or `failed`, the seconds that it took, and its name.
#[derive(Debug)]
pub(super) struct Results(PathBuf);

impl Results {
    /// Begins the file of a program again.
    pub(super) fn begin(cache: &Cache, program: &str) -> Result<Self> {
        let directory = cache.results().join("journeys");
        fs::create_dir_all(&directory).with_context(|| directory.display().to_string())?;
        let path = directory.join(program);
        fs::write(&path, "").with_context(|| path.display().to_string())?;
        Ok(Self(path))
    }

    /// Adds a journey.
    pub(super) fn add(&self, journey: &str, passed: bool, took: Duration) -> Result<()> {
        let outcome = if passed { "passed" } else { "failed" };
        self.line(&format!("{outcome}\t{}\t{journey}", took.as_secs()))
    }

    /// All journeys have ended.
    pub(super) fn end(&self) -> Result<()> {
        self.line(END)
    }

    /// One write for each line, since journeys end beside each other.
    fn line(&self, line: &str) -> Result<()> {
        let file = File::options().append(true).open(&self.0);
        let mut file = file.with_context(|| self.0.display().to_string())?;
        Ok(file.write_all(format!("{line}\n").as_bytes())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_for_each_journey() {
        let directory = tempfile::tempdir().unwrap();
        let results = Results::begin(&Cache::at(directory.path()), "classic").unwrap();
        results.add("one", true, Duration::from_millis(2700)).unwrap();
        results.add("two", false, Duration::from_secs(90)).unwrap();
        results.end().unwrap();
        let text = fs::read_to_string(directory.path().join("results/journeys/classic")).unwrap();
        assert_eq!(text, "passed\t2\tone\nfailed\t90\ttwo\nend\n");
    }
}
