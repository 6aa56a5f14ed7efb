//! The Go templates of the wiring: what Cluster API evaluates for each template of each Cluster.
//!
//! Clusters out there carry these texts in their classes. A change here needs [`rendered`] to go on
//! reading the old form, or every class has to be wired again before its next upgrade.

use instar_api::RELEASES_ANNOTATION;
use instar_domain::JsonPointer;
use serde_json::Value;

/// Which templates a patch is for: one patch each, since a patch has one `enabledIf`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    ControlPlane,
    MachineDeployments,
    MachinePools,
}

/// Which of a pin's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section {
    /// For the control plane's own template.
    Kubeadm,
    /// For the control plane's machines.
    ControlPlane,
    MachineDeployment,
    MachinePool,
}

/// What names of our patches begin with.
pub(crate) const PREFIX: &str = "instar-";

impl Role {
    pub(crate) const ALL: [Self; 3] = [Self::ControlPlane, Self::MachineDeployments, Self::MachinePools];

    pub(crate) const fn patch_name(self) -> &'static str {
        match self {
            Self::ControlPlane => "instar-control-plane",
            Self::MachineDeployments => "instar-machine-deployments",
            Self::MachinePools => "instar-machine-pools",
        }
    }

    pub(crate) const fn description(self) -> &'static str {
        match self {
            Self::ControlPlane => {
                "Renders what the Cluster's releases pin for the control plane. Written by instar wire."
            }
            Self::MachineDeployments => {
                "Renders what the Cluster's releases pin for MachineDeployments. Written by instar wire."
            }
            Self::MachinePools => "Renders what the Cluster's releases pin for MachinePools. Written by instar wire.",
        }
    }

    const fn builtin(self) -> &'static str {
        match self {
            Self::ControlPlane => ".builtin.controlPlane",
            Self::MachineDeployments => ".builtin.machineDeployment",
            Self::MachinePools => ".builtin.machinePool",
        }
    }

    /// True where the Cluster has pins and the template's version isn't an adopted one.
    pub(crate) fn enabled_if(self) -> String {
        let builtin = self.builtin();
        enabled_if(&format!(
            "not (has {builtin}.version (splitList \" \" (fromJson (get $a \"{RELEASES_ANNOTATION}\")).adopted))"
        ))
    }

    /// The same as it was written before there could be several: a class with this text renders nothing for a Cluster
    /// that has two.
    pub(crate) fn enabled_if_one_adopted(self) -> String {
        let builtin = self.builtin();
        enabled_if(&format!(
            "ne (fromJson (get $a \"{RELEASES_ANNOTATION}\")).adopted {builtin}.version"
        ))
    }
}

fn enabled_if(is_not_adopted: &str) -> String {
    format!(
        "{{{{$a:=.builtin.cluster.metadata.annotations}}}}{{{{if hasKey $a \"{RELEASES_ANNOTATION}\"}}}}\
         {{{{{is_not_adopted}}}}}{{{{end}}}}"
    )
}

impl Section {
    const fn role(self) -> Role {
        match self {
            Self::Kubeadm | Self::ControlPlane => Role::ControlPlane,
            Self::MachineDeployment => Role::MachineDeployments,
            Self::MachinePool => Role::MachinePools,
        }
    }

    /// When a patch for it is applied, as it is written and as it was.
    pub(crate) fn enabled_if(self) -> [String; 2] {
        let role = self.role();
        [role.enabled_if(), role.enabled_if_one_adopted()]
    }

    /// Sets `$s` to the values.
    fn select(self) -> String {
        let own = |pools: &str| {
            let builtin = self.role().builtin();
            format!(
                "{{{{- $s := $r.workers -}}}}{{{{- if hasKey $r.{pools} {builtin}.topologyName -}}}}\
                 {{{{- $s = get $r.{pools} {builtin}.topologyName -}}}}{{{{- end -}}}}"
            )
        };
        match self {
            Self::Kubeadm => "{{- $s := $r.kubeadm -}}".to_owned(),
            Self::ControlPlane => "{{- $s := $r.controlPlane -}}".to_owned(),
            Self::MachineDeployment => own("machineDeployments"),
            Self::MachinePool => own("machinePools"),
        }
    }

    /// Everything up to what happens where the pin has no value for the pointer.
    fn head(self, pointer: &JsonPointer) -> String {
        let builtin = self.role().builtin();
        let select = self.select();
        let key = quoted(pointer.as_str());
        format!(
            "{{{{- $p := (fromJson (get .builtin.cluster.metadata.annotations \"{RELEASES_ANNOTATION}\")).releases -}}}}\
             {{{{- $v := {builtin}.version -}}}}\
             {{{{- if not (hasKey $p $v) -}}}}{{{{- fail (printf \"no release is pinned for %s\" $v) -}}}}{{{{- end -}}}}\
             {{{{- $r := get $p $v -}}}}{select}\
             {{{{- if hasKey $s {key} -}}}}{{{{ get $s {key} | toJson }}}}{{{{- else -}}}}"
        )
    }

    fn or_fail(pointer: &JsonPointer) -> String {
        let message = quoted(&format!(
            "release %s pins no {} for %s",
            pointer.as_str().replace('%', "%%")
        ));
        format!("{{{{- fail (printf {message} $r.release $v) -}}}}")
    }

    /// The text of a value that has to be pinned.
    pub(crate) fn required(self, pointer: &JsonPointer) -> String {
        format!("{}{}{END}", self.head(pointer), Self::or_fail(pointer))
    }

    /// The text of a value that stays the class' own where it isn't pinned. Nothing where that
    /// value can't stand in a Go template.
    pub(crate) fn with_fallback(self, pointer: &JsonPointer, own: &Value) -> Option<String> {
        let own = own.to_string();
        (!own.contains("{{")).then(|| format!("{}{own}{END}", self.head(pointer)))
    }
}

const END: &str = "{{- end -}}";

/// What a patch's text does at a pointer.
pub(crate) enum Renders {
    /// The pinned value, and fails where there is none.
    Pinned,
    /// The pinned value, or the class' own.
    PinnedOrOwn,
}

/// Whether a text is ours, for that section and pointer.
pub(crate) fn rendered(section: Section, pointer: &JsonPointer, template: &str) -> Option<Renders> {
    let rest = template.strip_prefix(&section.head(pointer))?.strip_suffix(END)?;
    if rest == Section::or_fail(pointer) {
        return Some(Renders::Pinned);
    }
    serde_json::from_str::<Value>(rest)
        .is_ok()
        .then_some(Renders::PinnedOrOwn)
}

/// A Go string literal. JSON's is one, for everything but a control character, and a pointer has none.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keeps_within_cluster_apis_bounds() {
        let longest: JsonPointer = format!("/spec/{}", "a".repeat(JsonPointer::MAX_LENGTH - 6))
            .parse()
            .unwrap();
        for role in Role::ALL {
            assert!(
                role.enabled_if().len() <= 256,
                "{}: {}",
                role.enabled_if(),
                role.enabled_if().len()
            );
            assert!(role.patch_name().starts_with(PREFIX));
        }
        for section in [
            Section::Kubeadm,
            Section::ControlPlane,
            Section::MachineDeployment,
            Section::MachinePool,
        ] {
            assert!(section.required(&longest).len() <= 10_240);
        }
    }

    #[test]
    fn reads_what_it_writes_and_nothing_else() {
        let pointer: JsonPointer = "/spec/template/spec/template".parse().unwrap();
        let other: JsonPointer = "/spec/template/spec/image".parse().unwrap();
        let section = Section::MachineDeployment;
        let required = section.required(&pointer);
        assert!(matches!(rendered(section, &pointer, &required), Some(Renders::Pinned)));
        let fallback = section.with_fallback(&pointer, &json!({"a": "b"})).unwrap();
        assert!(matches!(
            rendered(section, &pointer, &fallback),
            Some(Renders::PinnedOrOwn)
        ));
        assert!(rendered(section, &other, &required).is_none());
        assert!(rendered(Section::MachinePool, &pointer, &required).is_none());
        assert!(rendered(section, &pointer, &required.replace("workers", "controlPlane")).is_none());
        assert!(section.with_fallback(&pointer, &json!("{{ .x }}")).is_none());
    }
}
