//! The log, on standard error.

use std::io::{self, IsTerminal};

use clap::ValueEnum;
use tracing_subscriber::{EnvFilter, filter::ParseError, util::SubscriberInitExt};

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
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr);
    let started = match format {
        Format::Text => log.with_ansi(io::stderr().is_terminal()).finish().try_init(),
        Format::Json => log.json().flatten_event(true).finish().try_init(),
    };
    started.map_err(Error::Twice)
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
    use super::*;

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
