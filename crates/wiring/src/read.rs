//! Reading a class' wiring back: which values does it render, and where?

use std::collections::BTreeMap;

use instar_capi::{ClusterClassSpec, Definition, JsonPatch, MatchClasses, Patch, TemplateRef};
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
        let mut patches = class.patches.iter();
        patches.any(|patch| is_our_name(&patch.name)).then_some(Self { class })
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
        let holder = Holder::MachineDeployment(class);
        self.rendered(Section::MachineDeployment, template, |definition| {
            holder.is_meant(definition)
        })
    }

    /// What is rendered in the pool template of a MachinePool class.
    #[must_use]
    pub fn machine_pool(&self, class: &str, template: &TemplateRef) -> Rendered {
        let holder = Holder::MachinePool(class);
        self.rendered(Section::MachinePool, template, |definition| holder.is_meant(definition))
    }

    /// The name of an external patch that comes after the wiring: its extension may change whatever the wiring renders, and
    /// nobody knows before it is called.
    #[must_use]
    pub fn external_after(&self) -> Option<&'a str> {
        let patches = self.class.patches.iter();
        let after = patches.skip_while(|patch| !is_our_name(&patch.name));
        let mut external = after.filter(|patch| generates(patch));
        external.next().map(|patch| patch.name.as_str())
    }

    /// Cluster API applies the patches in their order, and a later one wins. So what the wiring renders at a pointer counts
    /// until something else is done at, above or below it.
    fn rendered(&self, section: Section, template: &TemplateRef, is_meant: impl Fn(&Definition) -> bool) -> Rendered {
        let mut rendered = Rendered::new();
        let enabled_if = section.enabled_if();
        let in_order = self.class.patches.iter().flat_map(|patch| {
            let is_ours = patch.enabled_if.as_ref().is_some_and(|text| enabled_if.contains(text));
            patch.definitions.iter().map(move |definition| (is_ours, definition))
        });
        for (is_ours, definition) in in_order.filter(|(_, definition)| definition.selector.is_of(template)) {
            if !is_meant(definition) {
                continue;
            }
            for json_patch in &definition.json_patches {
                match pinned(section, json_patch).filter(|_| is_ours) {
                    Some((pointer, fallback)) => {
                        rendered.retain(|other, _| *other == pointer || !pointer.covers(other.as_str()));
                        rendered.insert(pointer, fallback);
                    }
                    None => rendered.retain(|pointer, _| !pointer.overlaps(&json_patch.path)),
                }
            }
        }
        rendered
    }
}

/// The pointer at which an operation renders the pin.
fn pinned(section: Section, json_patch: &JsonPatch) -> Option<(JsonPointer, Fallback)> {
    let pointer: JsonPointer = json_patch.path.parse().ok().filter(|_| json_patch.op == "add")?;
    let text = json_patch.value_from.as_ref()?.template.as_deref()?;
    let fallback = match text::rendered(section, &pointer, text)? {
        Renders::Pinned => Fallback::Stop,
        Renders::PinnedOrOwn => Fallback::Own,
    };
    Some((pointer, fallback))
}

fn is_our_name(name: &str) -> bool {
    Role::ALL.iter().any(|role| role.patch_name() == name)
}

/// Whether a patch is an extension that may change templates, and not one that only validates them.
fn generates(patch: &Patch) -> bool {
    let external = patch.external.as_ref();
    external.is_some_and(|external| external.get("generatePatchesExtension").is_some())
}

/// Whose machines a template is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder<'c> {
    ControlPlane,
    /// Those of this class.
    MachineDeployment(&'c str),
    /// Those of this class.
    MachinePool(&'c str),
}

impl Holder<'_> {
    fn is_meant(self, definition: &Definition) -> bool {
        let matches = &definition.selector.match_resources;
        let of_class = |classes: &Option<MatchClasses>, class: &str| {
            let classes = classes.as_ref();
            classes.is_some_and(|classes| classes.matches(class))
        };
        match self {
            Self::ControlPlane => is_control_plane(definition),
            Self::MachineDeployment(class) => of_class(&matches.machine_deployment_class, class),
            Self::MachinePool(class) => of_class(&matches.machine_pool_class, class),
        }
    }
}

/// Whether a patch of the class' own may write at, above or below a pointer in a template, so that what the template has
/// there says nothing of what its machines get.
#[must_use]
pub fn own_patches_may_write(
    class: &ClusterClassSpec,
    holder: Holder<'_>,
    template: &TemplateRef,
    pointer: &JsonPointer,
) -> bool {
    let mut own = class.patches.iter().filter(|patch| !is_our_name(&patch.name));
    own.any(|patch| {
        let definitions = patch.definitions.iter();
        let mut meant = definitions.filter(|one| one.selector.is_of(template) && holder.is_meant(one));
        let writes = |one: &Definition| {
            one.json_patches
                .iter()
                .any(|json_patch| pointer.overlaps(&json_patch.path))
        };
        generates(patch) || meant.any(writes)
    })
}

fn is_control_plane(definition: &Definition) -> bool {
    definition.selector.match_resources.control_plane == Some(true)
}
