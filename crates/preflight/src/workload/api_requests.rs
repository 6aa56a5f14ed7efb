//! The requests for deprecated APIs that API servers count, and who wrote objects by such APIs.
//!
//! The metric names no client. What an object's `managedFields` say names its writers; who only reads stands in the audit
//! log alone.
//! Source: `pkg/endpoints/metrics/metrics.go` of k8s.io/apiserver.

use std::collections::BTreeMap;

use instar_domain::Minor;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::text::quoted;
use crate::removed_apis::{ApiResource, removal};

/// A gauge of 1 for each API that was requested since the process started.
const REQUESTED: &str = "apiserver_requested_deprecated_apis";

const STARTED: &str = "process_start_time_seconds";

/// How many APIs are kept. Kubernetes never took away so many at once.
const MOST_APIS: usize = 64;

/// How many writers of one API are kept.
const MOST_WRITERS: usize = 8;

/// What the API servers of a cluster count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiRequests {
    pub servers: Vec<ApiServer>,
    pub coverage: Coverage,
    /// The APIs that go away and were requested of any of them.
    pub requested: BTreeMap<ApiResource, Requested>,
    /// How many lines of the metric were left out.
    pub unread: usize,
}

/// A process that was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiServer {
    /// The name of its Pod, or the address at which one answers.
    pub name: String,
    pub answer: ApiServerAnswer,
}

/// What it said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApiServerAnswer {
    /// What it counts, since then; absent where it doesn't say when it started.
    Counted { since: Option<Timestamp> },
    /// It lets nobody read what it counts, or counts nothing.
    Refused { why: String },
    /// It gave no answer.
    Unread { why: String },
}

/// Whether each process was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coverage {
    /// Each, through its Pod.
    Pods,
    /// None has a Pod that can be seen, so one was asked, and this many run as far as their Leases say; absent where there
    /// are none.
    Address { running: Option<usize> },
}

/// What is known of the requests for an API.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Requested {
    /// The release that takes it away, as the API server has it.
    pub removed: Option<Minor>,
    /// Who wrote an object by it, and the last such object that was seen.
    pub writers: BTreeMap<String, String>,
}

impl ApiRequests {
    /// Of no API server yet.
    #[must_use]
    pub const fn none(coverage: Coverage) -> Self {
        Self {
            servers: Vec::new(),
            coverage,
            requested: BTreeMap::new(),
            unread: 0,
        }
    }

    /// Adds what an API server counts.
    pub fn add(&mut self, name: &str, metrics: MetricsReader) {
        let MetricsReader {
            requested,
            started,
            unread,
        } = metrics;
        self.answered(name, ApiServerAnswer::Counted { since: started });
        self.unread += unread;
        for (api, removed) in requested {
            self.requested.entry(api).or_default().removed = removed;
        }
    }

    /// Adds one that gave another answer.
    pub fn answered(&mut self, name: &str, answer: ApiServerAnswer) {
        let name = quoted(name);
        self.servers.push(ApiServer { name, answer });
    }

    /// The APIs whose objects can be listed at a version that stays, each with that version. To list them by the API itself
    /// would be counted.
    #[must_use]
    pub fn successors(&self) -> Vec<(ApiResource, ApiResource)> {
        let apis = self.requested.keys();
        apis.filter_map(|api| Some((api.clone(), removal(api)?.successor?)))
            .collect()
    }

    /// Adds those who wrote an object by an API.
    pub fn add_writers(&mut self, api: &ApiResource, object: &WrittenView) {
        let Some(requested) = self.requested.get_mut(api) else {
            return;
        };
        let metadata = &object.metadata;
        let name = match &metadata.namespace {
            Some(namespace) => format!("{namespace}/{}", metadata.name),
            None => metadata.name.clone(),
        };
        let by_it = api.group_version();
        let entries = metadata.managed_fields.iter().flatten();
        for entry in entries.filter(|entry| entry.api_version == by_it) {
            let manager = quoted(&entry.manager);
            if requested.writers.len() < MOST_WRITERS || requested.writers.contains_key(&manager) {
                requested.writers.insert(manager, quoted(&name));
            }
        }
    }
}

/// What is read of an object that an API may have written.
#[derive(Debug, Clone, Deserialize)]
pub struct WrittenView {
    metadata: Metadata,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: String,
    #[serde(default)]
    namespace: Option<String>,
    #[serde(default)]
    managed_fields: Option<Vec<ManagedFields>>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ManagedFields {
    #[serde(default)]
    manager: String,
    #[serde(default)]
    api_version: String,
}

/// Reads the metrics of an API server line by line.
#[derive(Debug, Default)]
pub struct MetricsReader {
    requested: BTreeMap<ApiResource, Option<Minor>>,
    started: Option<Timestamp>,
    unread: usize,
}

impl MetricsReader {
    /// Takes a line, of which most say nothing here.
    pub fn line(&mut self, line: &str) {
        if let Some(value) = line.strip_prefix(STARTED) {
            self.started = self.started.or_else(|| time(value));
        } else if let Some(sample) = line.strip_prefix(REQUESTED).filter(|rest| rest.starts_with('{')) {
            match requested(sample) {
                Some((_, _, Count::None)) => {}
                Some((api, removed, Count::Some)) => self.add(api, removed),
                None => self.unread += 1,
            }
        }
    }

    fn add(&mut self, api: ApiResource, removed: Option<Minor>) {
        // Of a CustomResourceDefinition's deprecated version no release is known.
        if removed.is_none() && removal(&api).is_none() {
            return;
        }
        if self.requested.len() < MOST_APIS || self.requested.contains_key(&api) {
            self.requested.insert(api, removed);
        } else {
            self.unread += 1;
        }
    }
}

/// Whether a gauge counts anything.
enum Count {
    None,
    Some,
}

/// Seconds since the epoch, as a floating-point number.
fn time(value: &str) -> Option<Timestamp> {
    let seconds: f64 = value.split_whitespace().next()?.parse().ok()?;
    let since_epoch = SignedDuration::try_from_secs_f64(seconds).ok()?;
    Timestamp::UNIX_EPOCH.checked_add(since_epoch).ok()
}

/// A sample without its name: `{group="",version="v1",...} 1`.
fn requested(sample: &str) -> Option<(ApiResource, Option<Minor>, Count)> {
    let (labels, value) = labels(sample)?;
    let count: f64 = value.split_whitespace().next()?.parse().ok()?;
    let label = |name: &str| {
        let mut values = labels
            .iter()
            .filter(|(label, _)| *label == name)
            .map(|(_, value)| value);
        values.next().filter(|value| is_name(value)).cloned()
    };
    let removed = match label("removed_release")?.as_str() {
        "" => None,
        release => Some(format!("v{release}").parse().ok()?),
    };
    let api = ApiResource {
        group: label("group")?,
        version: label("version")?,
        resource: label("resource")?,
    };
    let count = if count > 0.0 { Count::Some } else { Count::None };
    Some((api, removed, count))
}

/// Whether a message may have it, in which it is a part of a command.
fn is_name(text: &str) -> bool {
    let is_of_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'.';
    text.len() <= 253 && text.bytes().all(is_of_name)
}

/// The labels of a sample, and what comes after them. A value escapes `\`, `"` and the end of a line.
fn labels(sample: &str) -> Option<(Vec<(&str, String)>, &str)> {
    let mut rest = sample.strip_prefix('{')?;
    let mut labels = Vec::new();
    loop {
        rest = rest.trim_start_matches([',', ' ']);
        if let Some(value) = rest.strip_prefix('}') {
            return Some((labels, value));
        }
        let (name, quoted) = rest.split_once("=\"")?;
        let mut value = String::new();
        let mut characters = quoted.char_indices();
        loop {
            match characters.next()?.1 {
                '"' => break,
                '\\' => match characters.next()?.1 {
                    'n' => value.push('\n'),
                    other => value.push(other),
                },
                other => value.push(other),
            }
        }
        labels.push((name, value));
        rest = characters.as_str();
    }
}
