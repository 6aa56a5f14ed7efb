//! What the machine template of a pool gets at a release on the way.

use instar_api::Values;
use serde_json::Value;

use crate::{
    snapshot::{Object, TemplateRef},
    step::Step,
};

/// What the machine template of a pool gets at a release.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PoolImage<'s> {
    /// What has the machines: a control plane or a MachineDeployment.
    pub object: &'s Object,
    /// The machine template that it has now. The new one is of the same kind, and like it but for the values.
    pub template: &'s TemplateRef,
    /// The KubernetesRelease.
    pub release: &'s str,
    pub stop: Stop,
    /// What the release sets.
    values: &'s Values,
    /// What the user sets over that.
    patches: &'s Values,
}

/// Where on the way a pool has this release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// In between. Of a topology cluster Cluster API chooses it, so this is the likely one.
    Between,
    /// At the end.
    Target,
}

impl PoolImage<'_> {
    /// What is set at this place of the template, if anything is.
    #[must_use]
    pub fn value(&self, pointer: &str) -> Option<&Value> {
        let within = |values: &'_ Values| values.keys().any(|key| key.as_str() == pointer);
        let values = if within(self.patches) {
            self.patches
        } else {
            self.values
        };
        let mut found = values.iter().filter(|(key, _)| key.as_str() == pointer);
        found.next().map(|(_, value)| value)
    }
}

pub(crate) static NOTHING: Values = Values::new();

impl<'s> PoolImage<'s> {
    pub(crate) const fn new(
        object: &'s Object,
        template: &'s TemplateRef,
        release: &Step<'s>,
        stop: Stop,
        values: &'s Values,
        patches: &'s Values,
    ) -> Self {
        Self {
            object,
            template,
            release: release.name(),
            stop,
            values,
            patches,
        }
    }
}
