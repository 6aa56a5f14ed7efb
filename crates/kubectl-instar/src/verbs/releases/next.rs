//! The next row, made of another one.

use instar_api::{Component, KubernetesReleaseSpec, Support, Tier};
use instar_catalog::{
    core_dns,
    etcd::Etcd,
    kubeadm::{self, Known, KubeadmImages},
    lint::names_version,
};
use instar_domain::KubeVersion;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::document::{Document, spec};

/// The etcd from which 3.6 may be gone to, as kubeadm names images.
const SAFE_ETCD: &str = "3.5.26-0";

/// The row for a version, after the example of another row.
pub(super) fn row(
    from: (&str, &KubernetesReleaseSpec),
    version: &KubeVersion,
    revision: u32,
    name: Option<&str>,
) -> Document {
    let (from_name, from) = from;
    let mut document = Document {
        name: name.map_or_else(|| next_name(from_name, from, version, revision), ToOwned::to_owned),
        spec: KubernetesReleaseSpec {
            version: version.clone(),
            revision,
            ..from.clone()
        },
        notes: Vec::new(),
    };
    support(&mut document, from);
    upgrades_from(&mut document, from);
    images(&mut document, from);
    if version.minor() != from.version.minor() || version.patch() != from.version.patch() {
        components(&mut document, from);
    }
    if !from.addons.is_empty() {
        document.note(
            spec(&["addons"]),
            format!("Check: the add-ons are those of {from_name}, with its versions."),
        );
    }
    document
}

/// That of the other row with the new version and revision.
fn next_name(from_name: &str, from: &KubernetesReleaseSpec, version: &KubeVersion, revision: u32) -> String {
    let own = version.to_string().replace('+', "-");
    let replaced = replaced(from_name, &from.version, version);
    let renamed = replaced.filter(|_| !has_marks(&from.version) && !has_marks(version));
    let renamed = renamed.or_else(|| (from.version == *version).then(|| from_name.to_owned()));
    let base = renamed.as_deref().map_or(own.as_str(), |renamed| {
        let suffix = format!("-{}", from.revision);
        renamed.strip_suffix(suffix.as_str()).unwrap_or(renamed)
    });
    format!("{base}-{revision}")
}

/// Whether it is more than three numbers.
fn has_marks(version: &KubeVersion) -> bool {
    version.to_string() != format!("v{}", version.release())
}

fn support(document: &mut Document, from: &KubernetesReleaseSpec) {
    let tier = match from.support.tier {
        Tier::Deprecated => Tier::Supported,
        tier @ (Tier::Preview | Tier::Latest | Tier::Supported | Tier::LTS) => tier,
    };
    document.spec.support = Support {
        tier,
        since: None,
        end_of_life: None,
    };
    document.note(
        spec(&["support"]),
        "Check: set endOfLife, the last day on which you support this row.",
    );
    if tier == Tier::Latest {
        document.note(
            spec(&["support"]),
            "Give the row that was the Latest before the tier Supported.",
        );
    }
}

fn upgrades_from(document: &mut Document, from: &KubernetesReleaseSpec) {
    let Some(before) = &from.upgrades_from else { return };
    let minor = document.spec.version.minor();
    if minor == from.version.minor() {
        return;
    }
    let below = minor.minor.saturating_sub(1);
    let next = minor.minor + 1;
    let major = minor.major;
    document.spec.upgrades_from = Some(format!(">={major}.{below}.0, <{major}.{next}.0"));
    document.note(spec(&["upgradesFrom"]), format!("Check: it was {before:?}."));
}

fn images(document: &mut Document, from: &KubernetesReleaseSpec) {
    let version = document.spec.version.clone();
    let is_new = version != from.version;
    let mut notes = Vec::new();
    for (image, entry) in document.spec.machine_images.iter_mut().enumerate() {
        for (at, value) in entry.values.iter_mut().enumerate() {
            let path = spec(&["machineImages"]).item(image).member("values").item(at);
            let texts = [
                match &mut value.value {
                    Some(IntOrString::String(text)) => Some(text),
                    Some(IntOrString::Int(_)) | None => None,
                },
                value.json.as_mut(),
            ];
            let mut named = false;
            for text in texts.into_iter().flatten() {
                if let Some(replaced) = replaced(text, &from.version, &version) {
                    *text = replaced;
                    named = true;
                }
                named |= names_version(text, &version);
            }
            if !is_new {
                notes.push((path, "Check: put the new image here."));
            } else if !named {
                notes.push((
                    path,
                    "Check: this value doesn't name the version, so it is that of the other row.",
                ));
            }
        }
    }
    for (path, text) in notes {
        document.note(path, text);
    }
    if is_new && (has_marks(&from.version) || has_marks(&version)) {
        document.note(
            spec(&["machineImages"]),
            "Check: only the three numbers of the version were replaced, not what is behind them.",
        );
    }
}

/// A text with one version's three numbers in place of another one's, whatever stands between the numbers; nothing where
/// they aren't in it.
fn replaced(text: &str, old: &KubeVersion, new: &KubeVersion) -> Option<String> {
    let numbers = |version: &KubeVersion, between: &str| {
        let minor = version.minor();
        [minor.major, minor.minor, version.patch()]
            .map(|number| number.to_string())
            .join(between)
    };
    let mut replaced = None;
    for between in [".", "-", "_"] {
        let (old, new) = (numbers(old, between), numbers(new, between));
        let present = replaced.as_deref().unwrap_or(text);
        if let Some(text) = replace_whole(present, &old, &new) {
            replaced = Some(text);
        }
    }
    replaced
}

/// Where no digit stands before or after: `1.35.4` isn't in `11.35.4` or `1.35.40`.
fn replace_whole(text: &str, old: &str, new: &str) -> Option<String> {
    let (mut result, mut rest, mut found) = (String::new(), text, false);
    while let Some(at) = rest.find(old) {
        let (before, after) = (&rest[..at], &rest[at + old.len()..]);
        let last = before.chars().next_back().or_else(|| result.chars().next_back());
        let is_whole = last.is_none_or(|letter| !letter.is_ascii_digit())
            && !after.starts_with(|letter: char| letter.is_ascii_digit());
        result.push_str(before);
        result.push_str(if is_whole { new } else { old });
        found |= is_whole;
        rest = after;
    }
    found.then(|| result + rest)
}

fn components(document: &mut Document, from: &KubernetesReleaseSpec) {
    let version = document.spec.version.clone();
    let Some(KubeadmImages { etcd, core_dns, known }) = kubeadm::images(&version) else {
        let text = format!(
            "Check: this version of the plugin doesn't know which etcd and CoreDNS kubeadm {version} brings, so these are \
             those of the other row."
        );
        document.note(spec(&["components"]), text);
        return;
    };
    if let Known::As(other) = &known {
        let text = format!("Check: these are the tags of kubeadm {other}, since those of {version} are not known.");
        document.note(spec(&["components"]), text);
    }
    let components = &from.components;
    let (tag, note) = etcd_tag(&version, &etcd, components.etcd.as_ref());
    set(document, "etcd", tag, components.etcd.as_ref(), note);
    let (tag, note) = core_dns_tag(&version, &core_dns, components.core_dns.as_ref());
    set(document, "coreDNS", tag, components.core_dns.as_ref(), note);
}

fn set(document: &mut Document, name: &str, tag: String, from: Option<&Component>, note: Option<String>) {
    let repository = from.and_then(|from| from.image_repository.clone());
    if let Some(repository) = &repository {
        let text = format!("Check: the tag is that of Kubernetes' own image; see that {repository} has it.");
        document.note(spec(&["components", name, "imageTag"]), text);
    }
    if let Some(note) = note {
        document.note(spec(&["components", name, "imageTag"]), note);
    }
    let component = Some(Component {
        image_tag: tag,
        image_repository: repository,
    });
    let components = &mut document.spec.components;
    if name == "etcd" {
        components.etcd = component;
    } else {
        components.core_dns = component;
    }
}

/// Kubeadm's own, unless no safe way leads on from it, or the other row has a newer one.
fn etcd_tag(version: &KubeVersion, kubeadm: &str, from: Option<&Component>) -> (String, Option<String>) {
    let of = |tag: &str| Etcd::Tag(tag.to_owned());
    let own = of(kubeadm);
    let safe = (!own.is_past_the_step() && !own.is_the_step_before()).then_some(SAFE_ETCD);
    let tag = safe.unwrap_or(kubeadm);
    if let Some(from) = from.filter(|from| of(tag).is_older_than(&of(&from.image_tag))) {
        let note = format!(
            "kubeadm {version} brings {kubeadm}, which is older than that of the other row, and etcd doesn't go back."
        );
        return (from.image_tag.clone(), Some(note));
    }
    let note = safe.map(|_| format!("kubeadm {version} brings {kubeadm}, from which no safe way leads to 3.6."));
    (tag.to_owned(), note)
}

/// Kubeadm's own, unless the other row has a newer one.
fn core_dns_tag(version: &KubeVersion, kubeadm: &str, from: Option<&Component>) -> (String, Option<String>) {
    match from {
        Some(from) if core_dns::lowers(&from.image_tag, kubeadm) => {
            let note = format!(
                "kubeadm {version} brings {kubeadm}, and Cluster API migrates CoreDNS only upwards from that of the other row."
            );
            (from.image_tag.clone(), Some(note))
        }
        Some(_) | None => (kubeadm.to_owned(), None),
    }
}

#[cfg(test)]
mod tests;
