//! Reading a class' wiring back: which values does it render, and where?

use std::collections::BTreeMap;

use instar_capi::{ClusterClassSpec, Definition, TemplateRef};
use instar_domain::JsonPointer;

use crate::text::{self, Renders, Role, Section};

/// What happens to a template where the pin has no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fallback {
    /// The Cluster's reconcile stops, and says so.
    Stop,
    /// The class' own value stays.
    Own,
}

/// The pointers that are rendered in one template, each with what happens without a value.
pub type Rendered = BTreeMap<JsonPointer, Fallback>;

/// A class' wiring. A class without any of our patches has none.
#[derive(Debug, Clone, PartialEq)]
pub struct Wiring<'a> {
    class: &'a ClusterClassSpec,
}

impl<'a> Wiring<'a> {
    #[must_use]
    pub fn read(class: &'a ClusterClassSpec) -> Option<Self> {
        let ours = |name: &str| Role::ALL.iter().any(|role| role.patch_name() == name);
        class
            .patches
            .iter()
            .any(|patch| ours(&patch.name))
            .then_some(Self { class })
    }

    /// Whether it leaves the templates of a Cluster alone that has adopted several versions; a class that was wired
    /// by an older Instar can do that for one.
    #[must_use]
    pub fn reads_several_adopted(&self) -> bool {
        !self.class.patches.iter().any(|patch| {
            let role = Role::ALL.into_iter().find(|role| role.patch_name() == patch.name);
            role.is_some_and(|role| patch.enabled_if.as_ref() == Some(&role.enabled_if_one_adopted()))
        })
    }

    /// What is rendered in the control plane's own template.
    #[must_use]
    pub fn kubeadm(&self, template: &TemplateRef) -> Rendered {
        self.rendered(Section::Kubeadm, template, is_control_plane)
    }

    /// What is rendered in the template of the control plane's machines.
    #[must_use]
    pub fn control_plane(&self, template: &TemplateRef) -> Rendered {
        self.rendered(Section::ControlPlane, template, is_control_plane)
    }

    /// What is rendered in the machine template of a MachineDeployment class.
    #[must_use]
    pub fn machine_deployment(&self, class: &str, template: &TemplateRef) -> Rendered {
        self.rendered(Section::MachineDeployment, template, |definition| {
            let classes = definition.selector.match_resources.machine_deployment_class.as_ref();
            classes.is_some_and(|classes| classes.matches(class))
        })
    }

    /// What is rendered in the pool template of a MachinePool class.
    #[must_use]
    pub fn machine_pool(&self, class: &str, template: &TemplateRef) -> Rendered {
        self.rendered(Section::MachinePool, template, |definition| {
            let classes = definition.selector.match_resources.machine_pool_class.as_ref();
            classes.is_some_and(|classes| classes.matches(class))
        })
    }

    fn rendered(&self, section: Section, template: &TemplateRef, is_meant: impl Fn(&Definition) -> bool) -> Rendered {
        let mut rendered = Rendered::new();
        let role = match section {
            Section::Kubeadm | Section::ControlPlane => Role::ControlPlane,
            Section::MachineDeployment => Role::MachineDeployments,
            Section::MachinePool => Role::MachinePools,
        };
        let enabled_if = [role.enabled_if(), role.enabled_if_one_adopted()];
        let ours = self
            .class
            .patches
            .iter()
            .filter(|patch| patch.enabled_if.as_ref().is_some_and(|text| enabled_if.contains(text)))
            .flat_map(|patch| &patch.definitions)
            .filter(|definition| definition.selector.api_version == template.api_version)
            .filter(|definition| definition.selector.kind == template.kind)
            .filter(|definition| is_meant(definition));
        for json_patch in ours.flat_map(|definition| &definition.json_patches) {
            let text = json_patch.value_from.as_ref().and_then(|from| from.template.as_deref());
            let (Ok(pointer), Some(text), "add") = (json_patch.path.parse(), text, json_patch.op.as_str()) else {
                continue;
            };
            match text::rendered(section, &pointer, text) {
                Some(Renders::Pinned) => rendered.insert(pointer, Fallback::Stop),
                Some(Renders::PinnedOrOwn) => rendered.insert(pointer, Fallback::Own),
                None => None,
            };
        }
        rendered
    }
}

fn is_control_plane(definition: &Definition) -> bool {
    definition.selector.match_resources.control_plane == Some(true)
}
