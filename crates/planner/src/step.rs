//! A release on the way: as the Cluster's pins have it, or as the catalog has it where it isn't pinned.

use instar_api::{Pin, Values};
use instar_catalog::{Catalog, Labels, Pool, Release, Role};
use instar_domain::KubeVersion;

use crate::snapshot::TemplateRef;

/// A release, and the values that templates get at it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Step<'a> {
    name: &'a str,
    version: &'a KubeVersion,
    pin: Option<&'a Pin>,
    row: Option<&'a Release>,
}

impl<'a> Step<'a> {
    /// Its row may be gone, since the values are in the pin.
    pub(crate) fn pinned(version: &'a KubeVersion, pin: &'a Pin, catalog: &'a Catalog) -> Self {
        Self {
            name: &pin.release,
            version,
            pin: Some(pin),
            row: catalog
                .named_anywhere(&pin.release)
                .filter(|row| row.version() == version),
        }
    }

    pub(crate) const fn name(&self) -> &'a str {
        self.name
    }

    pub(crate) const fn version(&self) -> &'a KubeVersion {
        self.version
    }

    /// What `kubeadmConfigSpec` of the control plane gets.
    pub(crate) fn kubeadm(&self) -> &'a Values {
        static NOTHING: Values = Values::new();
        match (self.pin, self.row) {
            (Some(pin), _) => &pin.kubeadm,
            (None, Some(row)) => row.kubeadm(),
            (None, None) => &NOTHING,
        }
    }

    /// What the control plane's machine template gets.
    pub(crate) fn control_plane(&self, template: &'a TemplateRef, labels: Labels<'a>) -> Option<&'a Values> {
        match self.pin {
            Some(pin) => Some(&pin.control_plane),
            None => self.image(Role::ControlPlane, template, labels),
        }
    }

    /// What a MachineDeployment's machine template gets. One that came after the pins takes its image from the row.
    pub(crate) fn machine_deployment(
        &self,
        name: &str,
        template: &'a TemplateRef,
        labels: Labels<'a>,
    ) -> Option<&'a Values> {
        let pinned = self.pin.and_then(|pin| pin.machine_deployments.get(name));
        pinned.or_else(|| self.image(Role::Worker, template, labels))
    }

    /// What a MachinePool's infrastructure gets. One that came after the pins takes its image from the row.
    pub(crate) fn machine_pool(
        &self,
        name: &str,
        infrastructure: &'a TemplateRef,
        labels: Labels<'a>,
    ) -> Option<&'a Values> {
        let pinned = self.pin.and_then(|pin| pin.machine_pools.get(name));
        pinned.or_else(|| self.image(Role::Worker, infrastructure, labels))
    }

    /// What a bootstrap template gets, where the row sets something in its kind.
    pub(crate) fn bootstrap(&self, template: &'a TemplateRef, labels: Labels<'a>) -> Option<&'a Values> {
        self.image(Role::Worker, template, labels)
    }

    fn image(&self, role: Role, template: &'a TemplateRef, labels: Labels<'a>) -> Option<&'a Values> {
        let (group, kind) = (&template.group, &template.kind);
        self.row?.image(&Pool {
            role,
            group,
            kind,
            labels,
        })
    }
}

impl<'a> From<&'a Release> for Step<'a> {
    fn from(row: &'a Release) -> Self {
        Self {
            name: row.name(),
            version: row.version(),
            pin: None,
            row: Some(row),
        }
    }
}
