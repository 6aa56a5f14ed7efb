//! How answers are printed.

use std::io::{self, Write};

use clap::ValueEnum;

/// The format of what a command prints, as `kubectl` calls it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// YAML; of several objects, a document for each.
    #[default]
    Yaml,
    /// JSON; of several objects, a list.
    Json,
}

/// Whether what is printed is still read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// It is.
    Listens,
    /// The other end of the pipe is closed, as by `head`: it has what it wants, and that is no error.
    Gone,
}

/// Prints to standard output.
///
/// # Errors
/// Where it can't be written for another reason than that nothing reads it.
pub fn print(text: &str) -> io::Result<Reader> {
    write_to(io::stdout().lock(), text)
}

fn write_to(mut output: impl Write, text: &str) -> io::Result<Reader> {
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Ok(()) => Ok(Reader::Listens),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Reader::Gone),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Failing(io::ErrorKind);

    impl Write for Failing {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_has_gone_is_no_error_and_a_full_disk_is() {
        assert_eq!(write_to(Vec::new(), "a").unwrap(), Reader::Listens);
        assert_eq!(write_to(Failing(io::ErrorKind::BrokenPipe), "a").unwrap(), Reader::Gone);
        assert!(write_to(Failing(io::ErrorKind::StorageFull), "a").is_err());
    }
}
