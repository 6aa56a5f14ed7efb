//! The log, on standard error.

use std::{
    fmt::{self, Write as _},
    io::{self, IsTerminal},
};

use clap::ValueEnum;
use tracing_subscriber::{
    EnvFilter,
    field::MakeExt,
    filter::ParseError,
    fmt::{
        FormatFields, SubscriberBuilder,
        format::{Writer, debug_fn},
    },
    util::SubscriberInitExt,
};

/// The default filter. kube logs errors that it also returns, and Instar logs those itself, with what to do.
const DEFAULT: &str = "info,kube_client::client::builder=off,kube_runtime::watcher=error";

/// The variables that choose what is logged; the first one that is set counts.
const VARIABLES: [&str; 2] = ["INSTAR_LOG", "RUST_LOG"];

/// The format of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Human-readable lines.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// Why the log can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The filter can't be read.
    #[error("{variable}=\"{text}\" is not a valid log filter: use one such as info or instar=debug,kube=warn")]
    Filter {
        /// Where it was found.
        variable: &'static str,
        /// What was found.
        text: String,
        /// What is wrong.
        source: ParseError,
    },
    /// Another part of the process has set up a log.
    #[error("the log was set up twice: please report this")]
    Twice(#[source] tracing_subscriber::util::TryInitError),
}

/// Sets up the log of the process.
pub(crate) fn start(format: Format) -> Result<(), Error> {
    let filter = filter(|variable| std::env::var(variable).ok())?;
    let log = SubscriberBuilder::default();
    let started = match format {
        Format::Text => log
            .fmt_fields(on_one_line())
            .with_env_filter(filter)
            .with_writer(io::stderr)
            .with_ansi(io::stderr().is_terminal())
            .finish()
            .try_init(),
        Format::Json => log
            .json()
            .flatten_event(true)
            .with_env_filter(filter)
            .with_writer(io::stderr)
            .finish()
            .try_init(),
    };
    started.map_err(Error::Twice)
}

/// Writes an event on one line, whatever its texts are: they come from requests and from objects of the cluster, and
/// a line break or an escape sequence in them would forge a line, or move a terminal's cursor.
fn on_one_line() -> impl for<'writer> FormatFields<'writer> + 'static {
    debug_fn(|writer: &mut Writer<'_>, field, value| {
        if field.name() != "message" {
            write!(writer, "{field}=")?;
        }
        write!(OneLine(writer), "{value:?}")
    })
    .delimited(" ")
}

/// Escapes control characters, and what Unicode takes for the end of a line.
struct OneLine<W>(W);

impl<W: fmt::Write> fmt::Write for OneLine<W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let is_escaped = |character: char| character.is_control() || matches!(character, '\u{2028}' | '\u{2029}');
        for character in text.chars() {
            if is_escaped(character) {
                write!(self.0, "{}", character.escape_default())?;
            } else {
                self.0.write_char(character)?;
            }
        }
        Ok(())
    }
}

fn filter(variable: impl Fn(&str) -> Option<String>) -> Result<EnvFilter, Error> {
    let set = VARIABLES.into_iter().find_map(|name| {
        let text = variable(name).filter(|text| !text.trim().is_empty());
        text.map(|text| (name, text))
    });
    let Some((variable, text)) = set else {
        return Ok(EnvFilter::new(DEFAULT));
    };
    EnvFilter::try_new(&text).map_err(|source| Error::Filter { variable, text, source })
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0
                .lock()
                .map_err(|_| io::ErrorKind::Other)?
                .extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_event_is_one_line() {
        let kept = Kept::default();
        let writer = kept.clone();
        let log = SubscriberBuilder::default()
            .fmt_fields(on_one_line())
            .without_time()
            .with_writer(move || writer.clone())
            .with_ansi(false)
            .finish();
        let forged = "a\nERROR instar: all is lost\r\u{1b}[2J\u{2028}ä";
        tracing::subscriber::with_default(log, || {
            tracing::warn!(route = "/x", object = %forged, seen = ?["y"], "Refused edit: {forged}");
        });
        let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        let escaped = r"a\nERROR instar: all is lost\r\u{1b}[2J\u{2028}ä";
        assert_eq!(
            text,
            format!(" WARN instar::log::tests: Refused edit: {escaped} route=\"/x\" object={escaped} seen=[\"y\"]\n")
        );
    }

    #[test]
    fn the_first_variable_that_is_set_counts() {
        let from = |ours: &str, rust: &str| {
            let (ours, rust) = (ours.to_owned(), rust.to_owned());
            filter(move |name| {
                Some(if name == "INSTAR_LOG" {
                    ours.clone()
                } else {
                    rust.clone()
                })
            })
        };
        assert_eq!(from("debug", "warn").unwrap().to_string(), "debug");
        assert_eq!(from("", "warn").unwrap().to_string(), "warn");
        let default = filter(|_| None).unwrap().to_string();
        assert!(default.contains("info"), "{default}");
        let error = from("a=b=c", "").unwrap_err().to_string();
        assert!(
            error.starts_with("INSTAR_LOG=\"a=b=c\" is not a valid log filter"),
            "{error}"
        );
    }
}
