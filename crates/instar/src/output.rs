//! How answers are printed.

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
