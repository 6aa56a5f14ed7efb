//! The images that new machines will be made of, and whether they are there.
//!
//! What a kind of machine template names as its image, and where that is looked for, stands in one place
//! ([`ImageSource`]): another provider is another variant, and what looks there is another match arm of the controller.

use std::collections::{BTreeMap, BTreeSet};

use instar_planner::{PoolImage, TemplateRef};
use serde_json::Value;

/// An image that a pool will need.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ImageAt {
    /// The machine template that the pool has now. It says where the image has to be, as far as nothing below does.
    pub template: TemplateRef,
    /// As the release, or the user, names it.
    pub image: String,
    /// The datacenter, where the release or the user sets another one than the template.
    pub datacenter: Option<String>,
    /// The server, where the release or the user sets another one than the template.
    pub server: Option<String>,
}

/// What was found of the images of one Cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Images {
    /// Where they were looked for, in words: "the vCenter vc.example.org".
    pub place: String,
    pub found: BTreeMap<ImageAt, Presence>,
}

/// Whether an image is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Presence {
    There,
    Missing(Missing),
    /// It can't be said, and this is why.
    Unclear(String),
}

/// What is there in the place of an image that isn't.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Missing {
    /// The last part of its path that is there; absent where it is no path.
    pub below: Option<String>,
    /// Names there that are like the one that is missing, the nearest first.
    pub near: Vec<String>,
}

/// Where the images of a kind of machine templates are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ImageSource {
    /// A VM template in the inventory of a vCenter.
    VCenter,
    /// Nowhere, and this is why.
    Nowhere(&'static str),
}

const IMAGE: &str = "/spec/template/spec/template";
const DATACENTER: &str = "/spec/template/spec/datacenter";
const SERVER: &str = "/spec/template/spec/server";

/// How many near names are told.
const NEAR: usize = 3;

/// How much of a longer name may differ in one that is near.
const ALIKE: usize = 3;

/// How much of a name is compared: vCenter lets it have 80 characters.
const COMPARED: usize = 128;

pub(crate) fn source(template: &TemplateRef) -> ImageSource {
    match (template.group.as_str(), template.kind.as_str()) {
        ("infrastructure.cluster.x-k8s.io", "VSphereMachineTemplate") => ImageSource::VCenter,
        ("vmware.infrastructure.cluster.x-k8s.io", "VSphereMachineTemplate") => {
            ImageSource::Nowhere("a Supervisor has its images as VirtualMachineImages, which are not looked for")
        }
        _ => ImageSource::Nowhere("the images of its provider are not looked for"),
    }
}

/// What has to be looked for, of an image that is looked for at all.
pub(crate) fn wanted(image: &PoolImage<'_>) -> Option<ImageAt> {
    let text = |pointer| image.value(pointer).and_then(Value::as_str).map(str::to_owned);
    match source(image.template) {
        ImageSource::VCenter => Some(ImageAt {
            template: image.template.clone(),
            image: text(IMAGE)?,
            datacenter: text(DATACENTER),
            server: text(SERVER),
        }),
        ImageSource::Nowhere(_) => None,
    }
}

/// Those of the names that are like one that is missing, the nearest first.
#[must_use]
pub fn near_names(missing: &str, names: &BTreeSet<String>) -> Vec<String> {
    let missing: String = missing.chars().take(COMPARED).collect();
    let mut near: Vec<(usize, &String)> = names
        .iter()
        .filter(|name| name.len() <= COMPARED)
        .map(|name| (strsim::osa_distance(&missing, name), name))
        .filter(|(distance, name)| *distance <= missing.len().max(name.len()) / ALIKE)
        .collect();
    near.sort();
    near.into_iter().take(NEAR).map(|(_, name)| name.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_differ_little_are_near() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let there: BTreeSet<String> = names(&[
            "ubuntu-2404-worker-v1.34.3",
            "ubuntu-2404-worker-v1.35.4",
            "ubuntu-2404-control-plane-v1.34.3",
            "ubuntu-2404-worker-v1.33.5",
            "windows",
        ]);
        for (missing, near) in [
            (
                "ubuntu-2404-worker-v1.34.4",
                &[
                    "ubuntu-2404-worker-v1.34.3",
                    "ubuntu-2404-worker-v1.35.4",
                    "ubuntu-2404-worker-v1.33.5",
                ][..],
            ),
            ("Windows", &["windows"]),
            ("photon", &[]),
            ("", &[]),
        ] {
            assert_eq!(near_names(missing, &there), near, "{missing}");
        }
        assert_eq!(near_names(&"x".repeat(100_000), &there), Vec::<String>::new());
    }

    #[test]
    fn only_a_vcenter_s_images_are_looked_for() {
        let of = |group: &str, kind: &str| {
            let name = "t".to_owned();
            source(&TemplateRef {
                group: group.to_owned(),
                kind: kind.to_owned(),
                name,
            })
        };
        let vsphere = "VSphereMachineTemplate";
        assert_eq!(of("infrastructure.cluster.x-k8s.io", vsphere), ImageSource::VCenter);
        for (group, kind) in [
            ("vmware.infrastructure.cluster.x-k8s.io", vsphere),
            ("infrastructure.cluster.x-k8s.io", "DevMachineTemplate"),
        ] {
            assert!(matches!(of(group, kind), ImageSource::Nowhere(_)), "{group} {kind}");
        }
    }
}
