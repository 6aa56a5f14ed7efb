//! Which add-ons go back when an upgrade is taken back, and in which order: the last that was set goes first.

use instar_api::GatePoint;

use crate::{
    addon::{AddonId, AddonOwner, AskedPoint, SetAddon},
    snapshot::Snapshot,
    value_before::ValueBefore,
    way_back::AddonStays,
};

/// Up to which part of a way back add-ons go back.
#[derive(Debug, Clone)]
pub(crate) enum BackUntil<'a> {
    /// The workers go.
    Workers,
    /// The workers have gone, and nothing else will.
    WorkersAlone,
    /// The control plane leaves a release.
    Step {
        leaves: Option<&'a str>,
        /// The releases that it leaves after that.
        later: Vec<&'a str>,
    },
    /// All is back.
    End,
}

impl BackUntil<'_> {
    pub(crate) fn includes(&self, id: &AddonId) -> bool {
        match self {
            Self::Workers => match id.when {
                GatePoint::AfterWorkers => true,
                GatePoint::BeforeWorkers | GatePoint::AfterControlPlane | GatePoint::BeforeControlPlane => false,
            },
            Self::WorkersAlone => match id.when {
                GatePoint::AfterWorkers | GatePoint::BeforeWorkers => true,
                GatePoint::AfterControlPlane | GatePoint::BeforeControlPlane => false,
            },
            Self::Step { leaves, later } => match &id.owner {
                AddonOwner::Release(release) => {
                    let comes_before = *leaves == Some(release) && id.when == GatePoint::BeforeControlPlane;
                    !comes_before && !later.contains(&release.as_str())
                }
                AddonOwner::Policy(_) | AddonOwner::Kubernetes => true,
            },
            Self::End => true,
        }
    }
}

/// On the way back: the add-ons that are to go back yet, the next one first. Each waits for the one before it, so where one
/// has begun, those before it are back.
#[must_use]
pub fn addons_to_restore(snapshot: &Snapshot) -> Vec<&SetAddon> {
    let upgrade_spec = &snapshot.upgrade_spec;
    let set = snapshot.addons.taken_back.as_deref().unwrap_or_default();
    let mut all = restored(set, &upgrade_spec.keep_addons);
    let (history, target) = (&upgrade_spec.gate_history, upgrade_spec.target.as_str());
    let begun = all.iter().rposition(|set| history.begun(target, &set.id).is_some());
    all.split_off(begun.unwrap_or_default())
}

/// Those that go back, the last one first.
pub(crate) fn restored<'s>(set: &'s [SetAddon], keep: &[String]) -> Vec<&'s SetAddon> {
    let mut points: Vec<AskedPoint> = Vec::new();
    for set in set {
        let point = set.id.point();
        if !points.contains(&point) {
            points.push(point);
        }
    }
    let mut restored = Vec::new();
    for point in points.iter().rev() {
        let of_point = set.iter().rev().filter(|set| set.id.point() == *point);
        restored.extend(of_point.filter(|set| stays(set, keep).is_none()));
    }
    restored
}

/// Why what was set for an add-on stays.
pub(crate) fn stays(set: &SetAddon, keep: &[String]) -> Option<AddonStays> {
    match &set.before {
        _ if keep.contains(&set.id.name) => Some(AddonStays::Asked),
        ValueBefore::NotKept => Some(AddonStays::Keep),
        ValueBefore::NoObject => Some(AddonStays::NoObject),
        ValueBefore::TooLarge => Some(AddonStays::TooLarge),
        ValueBefore::Value(_) | ValueBefore::Absent => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(release: &str, when: GatePoint, name: &str, before: ValueBefore) -> SetAddon {
        let (version, _) = release.rsplit_once('-').unwrap();
        SetAddon {
            id: AddonId {
                owner: AddonOwner::Release(release.to_owned()),
                name: name.to_owned(),
                when,
                version: version.parse().unwrap(),
            },
            before,
        }
    }

    fn names<'a>(set: impl IntoIterator<Item = &'a SetAddon>) -> Vec<String> {
        let name = |set: &SetAddon| format!("{} {} {}", set.id.name, set.id.when, set.id.version);
        set.into_iter().map(name).collect()
    }

    /// Of an upgrade over two minors, in the order in which it came to them.
    fn of_two_steps() -> Vec<SetAddon> {
        use GatePoint::{AfterControlPlane, AfterWorkers, BeforeControlPlane, BeforeWorkers};
        let value = || ValueBefore::Value("v1".into());
        vec![
            set("v1.34.5-1", BeforeControlPlane, "a", value()),
            set("v1.34.5-1", AfterControlPlane, "b", ValueBefore::Absent),
            set("v1.35.5-1", BeforeControlPlane, "a", value()),
            set("v1.35.5-1", AfterControlPlane, "b", value()),
            set("v1.35.5-1", BeforeWorkers, "c", value()),
            set("v1.35.5-1", AfterWorkers, "d", value()),
            // One that others wait for comes again.
            set("v1.35.5-1", AfterControlPlane, "e", value()),
            set("v1.35.5-1", AfterWorkers, "kept", ValueBefore::NotKept),
            set("v1.35.5-1", AfterWorkers, "large", ValueBefore::TooLarge),
            set("v1.35.5-1", AfterWorkers, "late", ValueBefore::NoObject),
        ]
    }

    #[test]
    fn the_last_that_was_set_goes_back_first() {
        let set = of_two_steps();
        let all = restored(&set, &[]);
        assert_eq!(
            names(all.clone()),
            [
                "d AfterWorkers v1.35.5",
                "c BeforeWorkers v1.35.5",
                "e AfterControlPlane v1.35.5",
                "b AfterControlPlane v1.35.5",
                "a BeforeControlPlane v1.35.5",
                "b AfterControlPlane v1.34.5",
                "a BeforeControlPlane v1.34.5",
            ]
        );
        let until = |until: &BackUntil<'_>| all.iter().take_while(|set| until.includes(&set.id)).count();
        let step = |leaves, later: &[&'static str]| BackUntil::Step {
            leaves: Some(leaves),
            later: later.to_vec(),
        };
        for (part, passes) in [
            (BackUntil::Workers, 1),
            (BackUntil::WorkersAlone, 2),
            (step("v1.35.5-1", &["v1.34.5-1"]), 4),
            (step("v1.34.5-1", &[]), 6),
            (BackUntil::End, 7),
        ] {
            assert_eq!(until(&part), passes, "{part:?}");
        }
    }

    #[test]
    fn what_stays_says_why() {
        let set = of_two_steps();
        let why = |keep: &[String]| -> Vec<_> { set.iter().filter_map(|set| stays(set, keep)).collect() };
        assert_eq!(why(&[]), [AddonStays::Keep, AddonStays::TooLarge, AddonStays::NoObject]);
        assert_eq!(why(&["b".to_owned()])[..2], [AddonStays::Asked, AddonStays::Asked]);
        assert_eq!(restored(&set, &["b".to_owned()]).len(), 5);
    }
}
