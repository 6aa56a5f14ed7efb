//! The sources of a crate, without its tests.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

/// The sources below a folder, but for those of tests.
pub(crate) fn sources(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| dir.display().to_string())? {
        let path = entry?.path();
        if path.file_stem().is_some_and(|name| name == "tests") {
            continue;
        }
        if path.is_dir() {
            files.extend(sources(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(files)
}

/// The code of a file, as rustfmt lays it out. A line that is a comment or under `cfg(test)` is empty, so that the
/// others keep their numbers.
pub(crate) fn code(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let is_test = line.trim() == "#[cfg(test)]";
        if !is_test && !line.trim_start().starts_with("//") {
            code.push_str(line);
        }
        code.push('\n');
        if is_test {
            let indent = line.len() - line.trim_start().len();
            let left_out = item(&mut lines, &format!("{}}}", &line[..indent]));
            code.extend(std::iter::repeat_n('\n', left_out));
        }
    }
    code
}

/// Goes past an item that ends in a line that begins with `end`, or in its first line; how many lines it has.
fn item<'a>(lines: &mut impl Iterator<Item = &'a str>, end: &str) -> usize {
    let mut count = 0;
    let mut began = false;
    for line in lines {
        count += 1;
        let is_attribute = !began && line.trim_start().starts_with("#[");
        let ends = if began {
            line.starts_with(end)
        } else {
            line.trim_end().ends_with([';', '}'])
        };
        if !is_attribute && ends {
            break;
        }
        began |= !is_attribute;
    }
    count
}
