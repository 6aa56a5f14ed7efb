//! The metrics of each command, from what it registers.

use std::{collections::BTreeMap, fmt::Write};

use anyhow::{Context, Result};
use instar_serve::Metrics;

use super::row;

const INTRO: &str = "\
# Metrics

`/metrics` on the health port answers in the text format of OpenMetrics. Every series is there from the
start, as a zero, but for those of KubernetesReleases: there is one for each release with an end of life. No other label
has a name of an object in it, so their number doesn't grow with the clusters.
";

/// Labels whose values are of KubernetesReleases.
const OF_RELEASES: [&str; 3] = ["catalog", "release", "version"];

/// So many values of a label are told; of more, the first.
const VALUES: usize = 20;

pub(super) fn page() -> Result<String> {
    let mut page = INTRO.to_owned();
    for (command, metrics) in [
        ("instar webhook", instar::metrics::webhook()),
        ("instar controller", instar::metrics::controller()),
    ] {
        write!(
            page,
            "\n## {command}\n\n| metric | type | labels | what |\n| --- | --- | --- | --- |\n"
        )?;
        for (name, family) in families(&metrics)? {
            page.push_str(&row([
                format!("`{}`", family.sample(&name)),
                family.kind.clone(),
                family.labels(),
                family.help.clone(),
            ]));
        }
    }
    Ok(page)
}

/// Each series of both commands by its name in an expression, with the names of its labels.
#[cfg(test)]
pub(crate) fn samples() -> Result<BTreeMap<String, Vec<String>>> {
    let mut samples = BTreeMap::new();
    for metrics in [instar::metrics::webhook(), instar::metrics::controller()] {
        for (name, family) in families(&metrics)? {
            let labels = family.labels.iter().map(|(label, _)| label.clone()).collect();
            samples.insert(family.sample(&name), labels);
        }
    }
    Ok(samples)
}

#[derive(Default)]
struct Family {
    kind: String,
    help: String,
    /// The values of each label, in the order in which they are encoded.
    labels: Vec<(String, Vec<String>)>,
}

impl Family {
    /// What it is asked for by.
    fn sample(&self, name: &str) -> String {
        match self.kind.as_str() {
            "counter" => format!("{name}_total"),
            "histogram" => format!("{name}_bucket"),
            _ => name.to_owned(),
        }
    }

    fn labels(&self) -> String {
        let told = self.labels.iter().map(|(label, values)| {
            if OF_RELEASES.contains(&label.as_str()) {
                return format!("`{label}`");
            }
            let first = if values.len() > VALUES { 1 } else { values.len() };
            let listed: Vec<String> = values.iter().take(first).map(|value| format!("`{value}`")).collect();
            let listed = listed.join(", ");
            if values.len() > VALUES {
                format!("`{label}`: {} values, such as {listed}", values.len())
            } else {
                format!("`{label}`: {listed}")
            }
        });
        told.collect::<Vec<_>>().join("; ")
    }

    fn seen(&mut self, label: &str, value: &str) {
        let known = self.labels.iter().position(|(known, _)| known == label);
        let place = known.unwrap_or_else(|| {
            self.labels.push((label.to_owned(), Vec::new()));
            self.labels.len() - 1
        });
        let values = &mut self.labels[place].1;
        if !values.iter().any(|known| known == value) {
            values.push(value.to_owned());
            values.sort();
        }
    }
}

/// What the page of a process that has just begun has, by name.
fn families(metrics: &Metrics) -> Result<BTreeMap<String, Family>> {
    let text = metrics.encode()?;
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    for line in text.lines().filter(|line| *line != "# EOF") {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, help) = help.split_once(' ').with_context(|| line.to_owned())?;
            // The registry ends each with a point.
            let family = families.entry(name.to_owned()).or_default();
            help.trim_end_matches('.').clone_into(&mut family.help);
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').with_context(|| line.to_owned())?;
            kind.clone_into(&mut families.entry(name.to_owned()).or_default().kind);
        } else if let Some((sample, rest)) = line.split_once('{') {
            let (labels, _) = rest.split_once('}').with_context(|| line.to_owned())?;
            let of = families
                .iter_mut()
                .find(|(name, _)| sample.strip_prefix(name.as_str()).is_some_and(is_suffix));
            let (_, family) = of.with_context(|| line.to_owned())?;
            // No value of ours has a comma or a quotation mark in it.
            for label in labels.split(',') {
                let (label, value) = label.split_once('=').with_context(|| line.to_owned())?;
                if label != "le" {
                    family.seen(label, value.trim_matches('"'));
                }
            }
        }
    }
    Ok(families)
}

/// What a sample's name has beyond its family's.
fn is_suffix(rest: &str) -> bool {
    matches!(rest, "" | "_total" | "_bucket" | "_sum" | "_count")
}
