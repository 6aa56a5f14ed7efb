//! What swaps wrote into an object, step by step, and what was there before.

use instar_domain::{BuildOrder, KubeVersion};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// More steps of one upgrade than this are kept without those in the middle.
const MAX_ENTRIES: usize = 10;

/// What tells one `ClusterUpgrade` from another of its Cluster, also one that was made again under its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpgradeId {
    pub name: String,
    /// When Instar first saw it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<Timestamp>,
}

/// The swaps of an object for the upgrade that swapped it last, kept in its annotation
/// [`instar_api::SWAP_HISTORY_ANNOTATION`]: there is at least one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct SwapHistory(Vec<SwapEntry>);

/// One swap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SwapEntry {
    /// The `ClusterUpgrade` for which it was made.
    pub upgrade: UpgradeId,
    /// When it was decided.
    pub since: Timestamp,
    /// What the object said before.
    pub before: PoolState,
    /// What it has said since.
    pub after: PoolState,
    /// When all machines were seen to be as it says; absent where they were not yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub converged: Option<Timestamp>,
    /// Whether an upgrade went a step, or took one of its own back.
    #[serde(default, skip_serializing_if = "Direction::is_forward")]
    pub direction: Direction,
}

/// Which way a swap leads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Direction {
    /// To a release, or to what was there before another upgrade.
    #[default]
    Forward,
    /// To what was there before a step whose machines never came up, on the way to another release.
    Back,
}

impl Direction {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
    fn is_forward(&self) -> bool {
        *self == Self::Forward
    }
}

/// What an object says now of what swaps change.
#[derive(Clone, Copy)]
pub(crate) struct Present<'a> {
    pub(crate) version: &'a KubeVersion,
    /// The name of its infrastructure template.
    pub(crate) template: Option<&'a String>,
}

/// What a swap changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PoolState {
    pub version: KubeVersion,
    /// The release; absent where it is not known, since Instar has not set it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// The name of the infrastructure template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// The name of the bootstrap template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bootstrap: Option<String>,
    /// Of a stacked etcd.
    #[serde(default, skip_serializing_if = "ComponentImage::is_absent")]
    pub etcd: ComponentImage,
    #[serde(default, skip_serializing_if = "ComponentImage::is_absent", rename = "coreDNS")]
    pub core_dns: ComponentImage,
}

/// The image of a component; what is absent, kubeadm chooses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ComponentImage {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
}

impl SwapHistory {
    /// Reads the annotation. A garbled one counts as none: it only ever adds caution.
    #[must_use]
    pub fn from_annotation(text: &str) -> Option<Self> {
        let entries: Vec<SwapEntry> = serde_json::from_str(text).ok()?;
        (!entries.is_empty()).then_some(Self(entries))
    }

    /// The annotation's text.
    #[must_use]
    pub fn to_annotation(&self) -> String {
        // Texts and times always have a JSON form; the error can't come.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The swaps, from the first to the last.
    #[must_use]
    pub fn entries(&self) -> &[SwapEntry] {
        &self.0
    }

    /// The last swap.
    #[must_use]
    pub fn last(&self) -> Option<&SwapEntry> {
        self.0.last()
    }

    /// The last swap that has changed something: a restart after it has asked for new machines of what that made.
    pub(crate) fn last_change(&self) -> Option<&SwapEntry> {
        self.0.iter().rfind(|entry| !entry.is_restart())
    }

    /// What the last step of an upgrade made of the object, without those that it has taken back; absent before its first.
    pub(crate) fn arrived_at(&self, upgrade: &UpgradeId) -> Option<&PoolState> {
        let last = self.last_of(upgrade)?;
        let mut steps = self.0.iter().rev();
        let step = steps.find(|entry| {
            entry.upgrade == *upgrade
                && entry.direction == Direction::Forward
                && entry.after.is_at(&last.after.version, last.after.template.as_ref())
        });
        step.map(|step| &step.after)
    }

    /// The last swap, if it was made for this upgrade.
    #[must_use]
    pub fn last_of(&self, upgrade: &UpgradeId) -> Option<&SwapEntry> {
        self.last().filter(|entry| entry.upgrade == *upgrade)
    }

    /// With one more swap. Those of an earlier upgrade go, and of a long one those in the middle: what was there
    /// before the upgrade stays, also where a restart came between two of its steps.
    #[must_use]
    pub fn with(before: Option<&Self>, entry: SwapEntry) -> Self {
        let mut entries = before.map_or_else(Vec::new, Self::without_restarts);
        if entries.last().is_some_and(|last| last.upgrade != entry.upgrade) {
            entries.clear();
        }
        if entries.len() >= MAX_ENTRIES {
            entries.remove(1);
        }
        entries.push(entry);
        Self(entries)
    }

    /// With one more swap, which takes an earlier one back: those of the upgrade that is taken back stay.
    #[must_use]
    pub(crate) fn with_way_back(before: Option<&Self>, entry: SwapEntry) -> Self {
        let mut entries = before.map_or_else(Vec::new, |history| history.0.clone());
        if entries.len() >= MAX_ENTRIES {
            let of_same = |other: &SwapEntry| other.upgrade == entry.upgrade;
            let goes = entries.iter().position(of_same).unwrap_or(1);
            entries.remove(goes);
        }
        entries.push(entry);
        Self(entries)
    }

    /// With a restart, which changes nothing of what can be taken back: the swaps before it stay, however many restarts come
    /// after them, and of those the last one.
    #[must_use]
    pub(crate) fn with_restart(before: Option<&Self>, entry: SwapEntry) -> Self {
        let mut entries = before.map_or_else(Vec::new, Self::without_restarts);
        entries.push(entry);
        Self(entries)
    }

    /// The swaps that have changed something.
    pub(crate) fn without_restarts(&self) -> Vec<SwapEntry> {
        let changed = self.0.iter().filter(|entry| !entry.is_restart());
        changed.cloned().collect()
    }

    /// What an object said before the last swap of an upgrade that made it what it is now, in one step; absent where
    /// that isn't what it says, or where another upgrade (`by`) has taken it back.
    pub(crate) fn before(&self, of: &UpgradeId, by: &UpgradeId, present: Present<'_>) -> Option<&PoolState> {
        let at = self.came_here(of, present)?;
        let entry = self.0.get(at)?;
        (!self.is_taken_back(by, entry)).then_some(&entry.before)
    }

    /// The same for all swaps of the upgrade, one after the other: the furthest of what was there that may be gone to.
    pub(crate) fn furthest_before(
        &self,
        of: &UpgradeId,
        by: &UpgradeId,
        present: Present<'_>,
        may: impl Fn(&KubeVersion) -> bool,
    ) -> Option<&PoolState> {
        let last = self.came_here(of, present)?;
        let mut entry = self.0.get(last)?;
        let is_open = |entry: &SwapEntry| may(&entry.before.version) && !self.is_taken_back(by, entry);
        let mut furthest = is_open(entry).then_some(&entry.before);
        for earlier in self.0.iter().take(last).rev().filter(|earlier| earlier.upgrade == *of) {
            if earlier
                .after
                .is_at(&entry.before.version, entry.before.template.as_ref())
            {
                entry = earlier;
                if is_open(entry) {
                    furthest = Some(&entry.before);
                }
            }
        }
        furthest
    }

    /// Whether a swap of an upgrade led to what an object says.
    pub(crate) fn led_here(&self, of: &UpgradeId, present: Present<'_>) -> bool {
        self.came_here(of, present).is_some()
    }

    /// Whether an object says what it said before an upgrade, though nobody wrote down who set it back.
    pub(crate) fn is_as_before(&self, of: &UpgradeId, present: Present<'_>) -> bool {
        let mut of_upgrade = self.0.iter().filter(|entry| entry.upgrade == *of);
        of_upgrade.next().is_some_and(|first| {
            let before = match first.direction {
                Direction::Forward => &first.before,
                Direction::Back => &first.after,
            };
            before.is_at(present.version, present.template)
        })
    }

    /// Whether an upgrade swapped the object.
    pub(crate) fn knows(&self, upgrade: &UpgradeId) -> bool {
        self.0.iter().any(|entry| entry.upgrade == *upgrade)
    }

    /// The last swap of an upgrade that leads to what an object says. One that led down led back.
    fn came_here(&self, of: &UpgradeId, present: Present<'_>) -> Option<usize> {
        self.0.iter().rposition(|entry| {
            let led_down = entry.before.version.compare(&entry.after.version) == BuildOrder::Greater;
            let leads_back = led_down || entry.direction == Direction::Back;
            let leads_elsewhere = !leads_back && !entry.is_restart();
            entry.upgrade == *of && leads_elsewhere && entry.after.is_at(present.version, present.template)
        })
    }

    fn is_taken_back(&self, by: &UpgradeId, entry: &SwapEntry) -> bool {
        let before = &entry.before;
        self.0.iter().any(|other| {
            other.upgrade == *by
                && !other.is_restart()
                && other.since >= entry.since
                && other.after.is_at(&before.version, before.template.as_ref())
        })
    }

    /// With another entry in the place of the last one.
    #[must_use]
    pub(crate) fn with_last(&self, entry: SwapEntry) -> Self {
        let mut entries = self.0.clone();
        entries.pop();
        entries.push(entry);
        Self(entries)
    }

    /// With the time at which the machines were seen to be as the last swap says, if it isn't there yet.
    #[must_use]
    pub fn converged(&self, now: Timestamp) -> Self {
        let mut entries = self.0.clone();
        if let Some(last) = entries.last_mut() {
            last.converged.get_or_insert(now);
        }
        Self(entries)
    }
}

impl SwapEntry {
    /// Whether it has only asked for new machines of what was there.
    pub(crate) fn is_restart(&self) -> bool {
        self.before == self.after
    }
}

impl PoolState {
    /// Whether this is what an object says. A `template` is the name of its infrastructure template.
    pub(crate) fn is_at(&self, version: &KubeVersion, template: Option<&String>) -> bool {
        self.version == *version && self.template.as_ref() == template
    }
}

impl ComponentImage {
    const fn is_absent(&self) -> bool {
        self.tag.is_none() && self.repository.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(upgrade: &str, version: &str) -> SwapEntry {
        let state = |release: Option<String>| PoolState {
            version: version.parse().unwrap(),
            release,
            template: Some("t".to_owned()),
            bootstrap: None,
            etcd: ComponentImage {
                tag: Some("3.6.5-0".to_owned()),
                repository: None,
            },
            core_dns: ComponentImage::default(),
        };
        SwapEntry {
            upgrade: UpgradeId {
                name: upgrade.to_owned(),
                started: Some("2026-11-20T11:00:00Z".parse().unwrap()),
            },
            since: "2026-11-20T12:00:00Z".parse().unwrap(),
            before: state(None),
            after: state(Some(format!("{version}-1"))),
            converged: None,
            direction: Direction::Forward,
        }
    }

    #[test]
    fn the_format_is_what_objects_carry() {
        let history =
            SwapHistory::with(None, entry("up", "v1.34.3")).converged("2026-11-20T13:00:00Z".parse().unwrap());
        let before = r#"{"version":"v1.34.3","template":"t","etcd":{"tag":"3.6.5-0"}}"#;
        let after = r#"{"version":"v1.34.3","release":"v1.34.3-1","template":"t","etcd":{"tag":"3.6.5-0"}}"#;
        let text = format!(
            r#"[{{"upgrade":{{"name":"up","started":"2026-11-20T11:00:00Z"}},"since":"2026-11-20T12:00:00Z","before":{before},"after":{after},"converged":"2026-11-20T13:00:00Z"}}]"#
        );
        assert_eq!(history.to_annotation(), text);
        assert_eq!(SwapHistory::from_annotation(&text), Some(history));
        for garbled in ["", "[]", "{}", "[{}]"] {
            assert_eq!(SwapHistory::from_annotation(garbled), None, "{garbled}");
        }
    }

    #[test]
    fn what_was_there_before_the_upgrade_stays() {
        let mut history = SwapHistory::with(None, entry("up", "v1.20.0"));
        for minor in 21..40 {
            history = SwapHistory::with(Some(&history), entry("up", &format!("v1.{minor}.0")));
        }
        let versions: Vec<String> = history
            .entries()
            .iter()
            .map(|entry| entry.after.version.to_string())
            .collect();
        assert_eq!(versions.len(), MAX_ENTRIES);
        assert_eq!(versions[..2], ["v1.20.0", "v1.31.0"]);
        assert_eq!(versions.last().unwrap(), "v1.39.0");
    }

    #[test]
    fn another_upgrade_begins_again_also_under_the_same_name() {
        let history = SwapHistory::with(None, entry("up", "v1.34.3"));
        let mut again = entry("up", "v1.35.4");
        again.upgrade.started = Some("2026-11-21T11:00:00Z".parse().unwrap());
        assert_eq!(history.last_of(&again.upgrade), None);
        let history = SwapHistory::with(Some(&history), again.clone());
        assert_eq!(history.entries(), [again]);
    }

    #[test]
    fn a_restart_keeps_what_was_there_before_it_and_no_restart() {
        let restart = |upgrade: &str| {
            let entry = entry(upgrade, "v1.35.4");
            SwapEntry {
                before: entry.after.clone(),
                ..entry
            }
        };
        let mut history = SwapHistory::with(None, entry("up", "v1.34.3"));
        history = SwapHistory::with(Some(&history), entry("up", "v1.35.4"));
        let steps = history.entries().to_vec();
        for number in 0..2 * MAX_ENTRIES {
            let restart = restart(&format!("restart-{number}"));
            history = SwapHistory::with_restart(Some(&history), restart.clone());
            assert_eq!(history.entries(), [&steps[..], &[restart]].concat());
        }
        // The upgrade goes on after it, or another one begins.
        let next = entry("up", "v1.36.3");
        let goes_on = SwapHistory::with(Some(&history), next.clone());
        assert_eq!(goes_on.entries(), [&steps[..], &[next]].concat());
        let other = entry("other", "v1.36.3");
        assert_eq!(SwapHistory::with(Some(&history), other.clone()).entries(), [other]);
        assert_eq!(SwapHistory::with_restart(None, restart("r")).entries(), [restart("r")]);
    }
}
