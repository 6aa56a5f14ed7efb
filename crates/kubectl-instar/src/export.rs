//! `--export`: the page as one file.

use std::{fs, path::Path};

use instar_report::{Report, html};
use jiff::Timestamp;

use crate::Error;

/// Writes it, in the place of what was there.
pub(crate) fn write(report: &Report, path: &Path) -> Result<(), Error> {
    let page = html::export(report, Timestamp::now()).map_err(|source| Error::Unreadable {
        what: "the report".to_owned(),
        source,
    })?;
    fs::write(path, page).map_err(|source| Error::File {
        path: path.to_owned(),
        source,
    })?;
    eprintln!(
        "{} written: read it before you send it to anyone, it has names of yours.",
        path.display()
    );
    Ok(())
}
