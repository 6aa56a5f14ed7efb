//! Declarations in Go, as far as gofmt gives them one form.

use std::collections::{BTreeMap, BTreeSet};

use super::{Gate, Stage};

/// The constants that are gates, with their texts: `A featuregate.Feature = "A"`.
pub(super) fn constants(source: &str) -> Vec<(String, String)> {
    let read = |line: &str| {
        let (left, right) = line.trim().split_once(" = ")?;
        let left = left.strip_prefix("const ").unwrap_or(left);
        let (name, kind) = left.split_once(' ')?;
        let is_gate = matches!(kind.trim(), "featuregate.Feature" | "Feature");
        is_gate.then_some((name.to_owned(), quoted(right)?.to_owned()))
    };
    source.lines().filter_map(read).collect()
}

/// What maps of gates say, by constant: `A: {Default: true, PreRelease: featuregate.GA, LockToDefault: true},`.
pub(super) fn gates(source: &str) -> Vec<(String, Gate)> {
    let read = |line: &str| {
        let (name, rest) = line.trim().split_once(':')?;
        let (fields, _) = rest.trim().strip_prefix('{')?.split_once('}')?;
        let fields: BTreeMap<&str, &str> = fields
            .split(',')
            .filter_map(|field| field.trim().split_once(": "))
            .collect();
        let stage = fields.get("PreRelease")?;
        let default = fields.get("Default").and_then(|text| text.parse().ok());
        let is_locked = fields.get("LockToDefault") == Some(&"true");
        let gate = Gate {
            stage: Stage::read(after_dot(stage)),
            locked: default.filter(|_| is_locked),
        };
        Some((after_dot(name).to_owned(), gate))
    };
    source.lines().filter_map(read).collect()
}

/// The keys of kubeadm's own `InitFeatureGates`. Each constant there has its own name as text.
pub(super) fn kubeadm_gates(source: &str) -> BTreeSet<String> {
    let lines = between(source, "var InitFeatureGates = ");
    let keys = lines.filter_map(|line| {
        let key = line.strip_prefix('\t')?.split_once(':')?.0;
        key.starts_with(char::is_alphabetic).then(|| key.to_owned())
    });
    keys.collect()
}

/// The names of admission plugins, which stand in the comments of `AllOrderedPlugins`.
pub(super) fn plugins(source: &str) -> BTreeSet<String> {
    let lines = between(source, "var AllOrderedPlugins = ");
    let names = lines.filter_map(|line| {
        let (_, comment) = line.split_once(".PluginName,")?.1.split_once("// ")?;
        let end = comment.find(|c: char| !c.is_alphanumeric()).unwrap_or(comment.len());
        Some(comment[..end].to_owned())
    });
    names.collect()
}

/// The lines of a declaration that ends with a bracket at the beginning of a line.
fn between<'s>(source: &'s str, declaration: &'s str) -> impl Iterator<Item = &'s str> {
    let lines = source.lines().skip_while(move |line| !line.starts_with(declaration));
    lines.skip(1).take_while(|line| *line != "}")
}

fn quoted(text: &str) -> Option<&str> {
    Some(text.strip_prefix('"')?.split_once('"')?.0)
}

fn after_dot(text: &str) -> &str {
    text.rsplit_once('.').map_or(text, |(_, last)| last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declarations_are_read() {
        let source = "\
const (
	// CPUCFSQuotaPeriod says.
	CPUCFSQuotaPeriod featuregate.Feature = \"CustomCPUCFSQuotaPeriod\"
	WatchListClient Feature = \"WatchListClient\"
	other = \"Other\"
)
	genericfeatures.APIListChunking: {Default: true, PreRelease: featuregate.GA, LockToDefault: true}, // remove in 1.32
	AllowDNSOnlyNodeCSR: {Default: false, PreRelease: featuregate.Deprecated},
	ContextualLogging: {Default: contextualLoggingDefault, PreRelease: featuregate.Beta},
	not: {a: gate},
";
        let constants: Vec<_> = constants(source);
        let constants: Vec<_> = constants.iter().map(|(name, text)| (&**name, &**text)).collect();
        assert_eq!(
            constants,
            [
                ("CPUCFSQuotaPeriod", "CustomCPUCFSQuotaPeriod"),
                ("WatchListClient", "WatchListClient")
            ]
        );
        let gates = gates(source);
        let gates: Vec<_> = gates
            .iter()
            .map(|(name, gate)| (&**name, gate.stage, gate.locked))
            .collect();
        assert_eq!(
            gates,
            [
                ("APIListChunking", Stage::Other, Some(true)),
                ("AllowDNSOnlyNodeCSR", Stage::Deprecated, None),
                ("ContextualLogging", Stage::Other, None),
            ]
        );
    }

    #[test]
    fn lists_are_read() {
        let features = "\
var InitFeatureGates = FeatureList{
	PublicKeysECDSA: {
		FeatureSpec: featuregate.FeatureSpec{Default: false},
	},
	NodeLocalCRISocket: {FeatureSpec: featuregate.FeatureSpec{Default: true}},
}
var other = 1
	x: y
";
        let found: Vec<_> = kubeadm_gates(features).into_iter().collect();
        assert_eq!(found, ["NodeLocalCRISocket", "PublicKeysECDSA"]);
        let options = "\
var AllOrderedPlugins = []string{
	admit.PluginName,        // AlwaysAdmit
	jobvalidation.PluginName, // JobValidation, only active when a gate is on
	// a comment

}
";
        let found: Vec<_> = plugins(options).into_iter().collect();
        assert_eq!(found, ["AlwaysAdmit", "JobValidation"]);
    }
}
