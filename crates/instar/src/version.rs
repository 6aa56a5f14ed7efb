//! `instar version`.

use serde_json::json;

use clap::{Args, ValueEnum};

use crate::yaml;

/// Prints the version
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  instar version -o json | jq -r .version")]
pub struct VersionArgs {
    /// The output format
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t)]
    pub(crate) output: VersionFormat,
}

/// How the version is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum VersionFormat {
    /// One line.
    #[default]
    Text,
    /// YAML.
    Yaml,
    /// JSON.
    Json,
}

/// The version, as it is asked for.
pub(crate) fn text(format: VersionFormat) -> Result<String, yaml::PrintError> {
    let version = env!("CARGO_PKG_VERSION");
    let value = json!({
        "version": format!("v{version}"),
        "apiVersions": [format!("{}/v1alpha1", instar_api::GROUP)],
        "clusterAPIContract": "v1beta2",
    });
    match format {
        VersionFormat::Text => Ok(format!("instar v{version}\n")),
        VersionFormat::Json => yaml::json(&value),
        VersionFormat::Yaml => yaml::print(&value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn all_formats_say_the_same_version() {
        let text = text(VersionFormat::Text).unwrap();
        let json: Value = serde_json::from_str(&super::text(VersionFormat::Json).unwrap()).unwrap();
        let yaml = yaml::read(&super::text(VersionFormat::Yaml).unwrap()).unwrap();
        assert_eq!(text, format!("instar {}\n", json["version"].as_str().unwrap()));
        assert_eq!(yaml, [json]);
    }
}
