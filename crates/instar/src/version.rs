//! `instar version`.

use serde_json::json;

use clap::Args;

use crate::{output::OutputFormat, yaml};

/// Prints the version
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  instar version -o json | jq -r .version")]
pub struct VersionArgs {
    /// The output format; the default is one line of text
    #[arg(short, long, value_name = "FORMAT", value_enum)]
    pub(crate) output: Option<OutputFormat>,
}

/// The version, as it is asked for.
pub(crate) fn text(format: Option<OutputFormat>) -> Result<String, yaml::PrintError> {
    let version = env!("CARGO_PKG_VERSION");
    let value = json!({
        "version": format!("v{version}"),
        "apiVersions": [format!("{}/v1alpha1", instar_api::GROUP)],
        "clusterAPIContract": "v1beta2",
    });
    match format {
        None => Ok(format!("instar v{version}\n")),
        Some(OutputFormat::Json) => yaml::json(&value),
        Some(OutputFormat::Yaml) => yaml::print(&value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn all_formats_say_the_same_version() {
        let text = text(None).unwrap();
        let json: Value = serde_json::from_str(&super::text(Some(OutputFormat::Json)).unwrap()).unwrap();
        let yaml = yaml::read(&super::text(Some(OutputFormat::Yaml)).unwrap()).unwrap();
        assert_eq!(text, format!("instar {}\n", json["version"].as_str().unwrap()));
        assert_eq!(yaml, [json]);
    }
}
