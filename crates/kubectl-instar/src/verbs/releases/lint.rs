//! `kubectl instar releases lint`: a catalog in files, before it is applied.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::PathBuf,
    sync::Arc,
};

use clap::Args;
use instar_admission::rule_info;
use instar_api::{Definition, Enforcement, FieldPath, KubernetesRelease, KubernetesReleaseSpec, SchemaCheck};
use instar_catalog::{
    Catalog, Catalogs,
    lint::{self, Problem, Severity},
};
use jiff::{Timestamp, civil::Date, tz::TimeZone};
use kube::Resource;
use serde::{Deserialize, Serialize, Serializer};

use super::files::{self, Files, Place, Row};
use crate::{
    Error, Exit,
    output::{self, ValueFormatArg},
};

/// Checks the KubernetesReleases in files, as admission and the upgrades of clusters will
///
/// Of each row: what the API server's schema and Instar's admission refuse. Of all rows of a catalog: names that are there
/// twice, minors that no cluster gets past, rows that no cluster gets to or on from, the step to etcd 3.6, ends of life, and
/// values that name another version. What is said of etcd and CoreDNS holds for control planes of kubeadm.
///
/// Name all files of a catalog at once: a row that is only in the cluster is not seen. It needs no cluster.
#[derive(Args, Debug)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct LintArgs {
    /// Files, or folders with .yaml, .yml and .json files; - is standard input
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    /// Exit with 1 for warnings too
    #[arg(long)]
    strict: bool,

    /// How it is printed
    #[arg(short, long, value_name = "FORMAT", value_enum)]
    output: Option<ValueFormatArg>,
}

const EXAMPLES: &str = "\
Examples:
  # The catalog in a Git repository, in its pipeline:
  kubectl instar releases lint catalog/

  # The catalog in the cluster:
  kubectl get kubernetesreleases -o yaml | kubectl instar releases lint -

  # New rows beside those in the cluster:
  kubectl get kubernetesreleases -o yaml | kubectl instar releases lint - new-release.yaml

Exit codes: 0 nothing would be refused, 1 something would, or --strict and a warning, 2 a file can't be read or has no \
KubernetesRelease.";

/// Something that is wrong.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Finding {
    #[serde(flatten)]
    place: Place,
    #[serde(serialize_with = "as_text")]
    severity: Severity,
    /// Absent where it is about several rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    release: Option<String>,
    rule: String,
    message: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn as_text<S: Serializer>(severity: &Severity, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(severity.as_str())
}

#[derive(Debug, Serialize)]
struct Answer {
    releases: usize,
    findings: Vec<Finding>,
}

/// A row that can be read.
struct Read<'r> {
    row: &'r Row,
    name: String,
    spec: KubernetesReleaseSpec,
}

/// Prints what is wrong.
pub(super) fn run(args: &LintArgs) -> Result<Exit, Error> {
    let files = files::read(&args.files, io::stdin())?;
    if files.rows.is_empty() {
        return Err(Error::NoRelease {
            files: args.files.iter().map(|file| file.display().to_string()).collect(),
        });
    }
    let findings = findings(&files, Timestamp::now().to_zoned(TimeZone::UTC).date())?;
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    let exit = if errors > 0 || (args.strict && warnings > 0) {
        Exit::Blocked
    } else {
        Exit::Done
    };
    let answer = Answer {
        releases: files.rows.len(),
        findings,
    };
    if let Some(format) = args.output {
        output::print(&output::value(&answer, format.into())?)?;
    } else {
        output::print(&output::lines(answer.findings.iter().map(line)))?;
        let (releases, files) = (answer.releases, files.count);
        eprintln!("{releases} KubernetesReleases in {files} files: {errors} errors, {warnings} warnings.");
    }
    Ok(exit)
}

/// As compilers print it, so that an editor finds the place.
fn line(finding: &Finding) -> String {
    let Finding {
        place: Place { file, line, .. },
        severity,
        release,
        rule,
        message,
    } = finding;
    let object = release
        .as_ref()
        .map(|name| format!("KubernetesRelease {name}: "))
        .unwrap_or_default();
    format!("{file}:{line}: {}: {object}{message} [{rule}]", severity.as_str())
}

/// All that is wrong, by where it stands.
fn findings(files: &Files, today: Date) -> Result<Vec<Finding>, Error> {
    let check = SchemaCheck::new(Definition::KubernetesReleases.schema()).map_err(Error::Pattern)?;
    let mut findings = Vec::new();
    let mut read: Vec<Read<'_>> = Vec::new();
    for row in &files.rows {
        let (own, spec) = of_row(row, &check);
        findings.extend(own);
        read.extend(spec.map(|spec| Read {
            row,
            name: row.name(),
            spec,
        }));
    }
    findings.extend(twice(&read));
    findings.extend(of_catalogs(&read, today));
    findings.sort_by(|one, other| one.place.cmp(&other.place));
    Ok(findings)
}

/// What is wrong with one row by itself, and the row, where it can be read.
fn of_row(row: &Row, check: &SchemaCheck<'_>) -> (Vec<Finding>, Option<KubernetesReleaseSpec>) {
    let name = row.name();
    let shown = if name.is_empty() { "without a name" } else { &name };
    let finding = |path: &FieldPath, severity, rule: &str, message: String| Finding {
        place: row.place_of(path),
        severity,
        release: Some(shown.to_owned()),
        rule: rule.to_owned(),
        message,
    };
    let object = row.located.value();
    let root = FieldPath::default();
    let mut findings = Vec::new();
    let version = KubernetesRelease::api_version(&());
    if object["apiVersion"] != *version {
        let message = format!("apiVersion: {} is not known: it is {version}", object["apiVersion"]);
        findings.push(finding(&root.member("apiVersion"), Severity::Error, SCHEMA, message));
    }
    if let Some(wrong) = wrong_name(&name) {
        let at = root.member("metadata").member("name");
        findings.push(finding(&at, Severity::Error, SCHEMA, format!("metadata.name: {wrong}")));
    }
    let violations = check.violations(&object);
    for violation in &violations {
        findings.push(finding(&violation.path, Severity::Error, SCHEMA, violation.to_string()));
    }
    let at_spec = root.member("spec");
    let spec = match KubernetesReleaseSpec::deserialize(&object["spec"]) {
        Ok(spec) => spec,
        // What the schema has said already is not said in other words.
        Err(_) if !violations.is_empty() => return (findings, None),
        Err(error) => {
            findings.push(finding(&at_spec, Severity::Error, SCHEMA, format!("spec: {error}")));
            return (findings, None);
        }
    };
    for refusal in instar_admission::release::create(shown, &spec) {
        let severity = match rule_info(refusal.rule).default.min(refusal.strictest) {
            Enforcement::Off => continue,
            Enforcement::Warn => Severity::Warning,
            Enforcement::Enforce => Severity::Error,
        };
        let message = format!("{}: {}; {}", refusal.field, refusal.what, refusal.remediation);
        findings.push(finding(&at_spec, severity, refusal.rule.id(), message));
    }
    (findings, Some(spec))
}

/// The rule of what the API server itself refuses.
const SCHEMA: &str = "schema";

/// The longest name that the API server takes.
const LONGEST_NAME: usize = 253;

/// Why the API server doesn't take a name.
fn wrong_name(name: &str) -> Option<String> {
    if name.is_empty() {
        return Some("it is missing: set it, such as v1.35.4-1".to_owned());
    }
    let is_letter = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit();
    let is_label = |label: &str| {
        label.starts_with(is_letter)
            && label.ends_with(is_letter)
            && label.chars().all(|letter| is_letter(letter) || letter == '-')
    };
    let is_name = name.len() <= LONGEST_NAME && name.split('.').all(is_label);
    (!is_name).then(|| {
        format!("{name:?} is no name: it may have lower case letters, digits, - and ., {LONGEST_NAME} at most")
    })
}

/// Rows of one name: the last that is applied would be an edit of the first, whatever its catalog.
fn twice(read: &[Read<'_>]) -> Vec<Finding> {
    let mut first: BTreeMap<&str, &Read<'_>> = BTreeMap::new();
    let mut findings = Vec::new();
    for row in read.iter().filter(|row| !row.name.is_empty()) {
        let Some(earlier) = first.get(row.name.as_str()) else {
            first.insert(&row.name, row);
            continue;
        };
        let Place { file, line, .. } = &earlier.row.place;
        let (severity, message) = if earlier.spec == row.spec {
            (
                Severity::Warning,
                format!("it is in {file}:{line} too: remove one of them"),
            )
        } else {
            (
                Severity::Error,
                format!(
                    "{file}:{line} has another row of this name: give one of them a higher revision and another name"
                ),
            )
        };
        findings.push(Finding {
            place: row.row.place.clone(),
            severity,
            release: Some(row.name.clone()),
            rule: "same-name".to_owned(),
            message,
        });
    }
    findings
}

/// What is wrong with the rows of each catalog together.
fn of_catalogs(read: &[Read<'_>], today: Date) -> Vec<Finding> {
    let mut by_name: BTreeMap<&str, &Read<'_>> = BTreeMap::new();
    for row in read {
        by_name.entry(&row.name).or_insert(row);
    }
    let catalogs = Catalogs::new(by_name.iter().map(|(name, row)| (*name, &row.spec)));
    let names: BTreeSet<_> = by_name.values().map(|row| &row.spec.catalog).collect();
    let of = |catalog: Arc<Catalog>| lint::problems(&catalog, today);
    let problems = names.into_iter().flat_map(|name| of(catalogs.of(name)));
    problems.filter_map(|problem| of_catalog(problem, &by_name)).collect()
}

/// A problem of several rows stands at the first row of its catalog; a catalog without rows has none.
fn of_catalog(problem: Problem, rows: &BTreeMap<&str, &Read<'_>>) -> Option<Finding> {
    let Problem { catalog, release, what } = problem;
    let named = release.as_deref().and_then(|name| rows.get(name));
    let of_catalog = rows.values().filter(|row| row.spec.catalog == catalog);
    let place = named.map(|row| &row.row.place);
    let place = place.or_else(|| of_catalog.map(|row| &row.row.place).min())?.clone();
    let message = match (&release, catalog.is_default()) {
        (None, false) => format!("{catalog}: {what}"),
        (None, true) | (Some(_), _) => what.to_string(),
    };
    Some(Finding {
        place,
        severity: what.severity(),
        release,
        rule: what.id().to_owned(),
        message,
    })
}

#[cfg(test)]
mod tests;
