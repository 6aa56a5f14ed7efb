//! One row, read: what its texts say is parsed, and what can't be parsed is named.

use std::collections::{BTreeMap, BTreeSet};

use instar_api::{
    CatalogName, Component, GatePoint, KCP_COREDNS, KCP_ETCD, KubernetesReleaseSpec, PoolRole, Support, Tier, ValueAt,
    Values,
};
use instar_domain::{JsonPointer, KubeVersion};
use jiff::civil::Date;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use semver::VersionReq;
use serde_json::{Value, json};

/// A row of the catalog.
#[derive(Debug, Clone, PartialEq)]
pub struct Release {
    name: String,
    catalog: CatalogName,
    version: KubeVersion,
    revision: u32,
    support: Support,
    upgrades_from: Option<VersionReq>,
    images: Vec<Image>,
    kubeadm: Values,
    etcd_tag: Option<String>,
    core_dns_tag: Option<String>,
    addon_points: BTreeSet<GatePoint>,
}

#[derive(Debug, Clone, PartialEq)]
struct Image {
    group: String,
    kind: String,
    role: PoolRole,
    labels: BTreeMap<String, String>,
    values: Values,
}

/// Which of a cluster's machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    ControlPlane,
    Worker,
}

/// A pool, as far as the choice of its image goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool<'a> {
    pub role: Role,
    /// The API group of its infrastructure template.
    pub group: &'a str,
    /// The kind of its infrastructure template.
    pub kind: &'a str,
    pub labels: Labels<'a>,
}

/// The labels by which a pool's image is chosen: its own, and under them those of its Cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Labels<'a> {
    /// Absent where the Cluster has none, or isn't known.
    pub cluster: Option<&'a BTreeMap<String, String>>,
    pub pool: &'a BTreeMap<String, String>,
}

impl<'a> Labels<'a> {
    /// The value of a label.
    #[must_use]
    pub fn get(self, key: &str) -> Option<&'a str> {
        self.pool
            .get(key)
            .or_else(|| self.cluster?.get(key))
            .map(String::as_str)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("KubernetesRelease {name}: spec.{field}: {why}")]
pub struct UnreadableRelease {
    name: String,
    field: String,
    why: String,
}

impl UnreadableRelease {
    /// The field below `spec`, and what is wrong with it.
    #[must_use]
    pub fn detail(&self) -> String {
        format!("{}: {}", self.field, self.why)
    }
}

impl Release {
    /// Reads a row.
    ///
    /// # Errors
    /// Where a text in it says nothing: the schema can't check all of them.
    pub fn read(name: &str, spec: &KubernetesReleaseSpec) -> Result<Self, UnreadableRelease> {
        let refuse = |field: String, why: String| UnreadableRelease {
            name: name.to_owned(),
            field,
            why,
        };
        let upgrades_from = spec
            .upgrades_from
            .as_deref()
            .map(|text| {
                VersionReq::parse(&text.replace('v', ""))
                    .map_err(|error| refuse("upgradesFrom".to_owned(), format!("{text:?}: {error}")))
            })
            .transpose()?;
        let mut images = Vec::with_capacity(spec.machine_images.len());
        for (at, image) in spec.machine_images.iter().enumerate() {
            images.push(Image {
                group: image.api_group.clone(),
                kind: image.kind.clone(),
                role: image.role,
                labels: image.labels.clone(),
                values: read_values(&image.values)
                    .map_err(|invalid| refuse(format!("machineImages[{at}].values[{}]", invalid.index), invalid.why))?,
            });
        }
        Ok(Self {
            name: name.to_owned(),
            catalog: spec.catalog.clone(),
            version: spec.version.clone(),
            revision: spec.revision,
            support: spec.support.clone(),
            upgrades_from,
            images,
            kubeadm: kubeadm_values(spec),
            etcd_tag: spec.components.etcd.as_ref().map(|etcd| etcd.image_tag.clone()),
            core_dns_tag: spec.components.core_dns.as_ref().map(|dns| dns.image_tag.clone()),
            addon_points: spec.addons.iter().map(|addon| addon.gate.when).collect(),
        })
    }

    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The catalog that it belongs to.
    #[must_use]
    pub const fn catalog(&self) -> &CatalogName {
        &self.catalog
    }

    #[must_use]
    pub const fn version(&self) -> &KubeVersion {
        &self.version
    }

    /// Its order among the rows of its version.
    #[must_use]
    pub const fn revision(&self) -> u32 {
        self.revision
    }

    #[must_use]
    pub const fn tier(&self) -> Tier {
        self.support.tier
    }

    /// The last day on which it is supported, where it says one.
    #[must_use]
    pub const fn end_of_life(&self) -> Option<Date> {
        self.support.end_of_life
    }

    /// The tag that it sets for a stacked etcd.
    #[must_use]
    pub fn etcd_tag(&self) -> Option<&str> {
        self.etcd_tag.as_deref()
    }

    #[must_use]
    pub fn core_dns_tag(&self) -> Option<&str> {
        self.core_dns_tag.as_deref()
    }

    /// The points of an upgrade at which it has add-ons.
    #[must_use]
    pub const fn addon_points(&self) -> &BTreeSet<GatePoint> {
        &self.addon_points
    }

    /// What a KubeadmControlPlaneTemplate gets.
    #[must_use]
    pub const fn kubeadm(&self) -> &Values {
        &self.kubeadm
    }

    /// What the pool's infrastructure template gets: the first image that fits.
    #[must_use]
    pub fn image(&self, pool: &Pool<'_>) -> Option<&Values> {
        self.images
            .iter()
            .find(|image| image.fits(pool))
            .map(|image| &image.values)
    }

    /// All that machines may get, whatever their kind.
    pub(crate) fn images(&self) -> impl Iterator<Item = &Values> {
        self.images.iter().map(|image| &image.values)
    }

    /// All values that templates of a kind may get in a role, whatever the labels.
    pub fn images_of_kind(&self, role: Role, group: &str, kind: &str) -> impl Iterator<Item = &Values> {
        self.images
            .iter()
            .filter(move |image| image.is_for(role) && image.group == group && image.kind == kind)
            .map(|image| &image.values)
    }

    /// Where it sets values in templates of a kind, whatever the role and the labels.
    pub fn pointers_of_kind(&self, group: &str, kind: &str) -> impl Iterator<Item = &JsonPointer> {
        let images = self.images.iter();
        let of_kind = images.filter(move |image| image.group == group && image.kind == kind);
        of_kind.flat_map(|image| image.values.keys())
    }

    /// Whether a prefix may resolve to this row on that day.
    #[must_use]
    pub fn is_supported(&self, today: Date) -> bool {
        match self.support.tier {
            Tier::Latest | Tier::Supported | Tier::LTS => !self.is_past_end_of_life(today),
            Tier::Preview | Tier::Deprecated => false,
        }
    }

    /// The warning for a user of a preview, of at most 120 characters for a usual name.
    #[must_use]
    pub fn preview(&self) -> Option<String> {
        match self.support.tier {
            Tier::Preview => Some(format!("release {} ({}) is a preview", self.name, self.version)),
            Tier::Latest | Tier::Supported | Tier::LTS | Tier::Deprecated => None,
        }
    }

    /// Why no Cluster should go to this row any more on that day, where that is so: with since when and until when.
    #[must_use]
    pub fn deprecation(&self, today: Date) -> Option<String> {
        let Support {
            tier,
            since,
            end_of_life,
        } = self.support;
        let row = format!("release {} ({})", self.name, self.version);
        if let (true, Some(day)) = (self.is_past_end_of_life(today), end_of_life) {
            return Some(format!("{row} reached its end of life on {day}"));
        }
        let told = match (since, end_of_life) {
            (None, None) => String::new(),
            (Some(since), None) => format!(" (since {since})"),
            (None, Some(day)) => format!(" (supported until {day})"),
            (Some(since), Some(day)) => format!(" (since {since}, supported until {day})"),
        };
        match tier {
            Tier::Deprecated => Some(format!("{row} is deprecated{told}")),
            Tier::Latest | Tier::Supported | Tier::LTS | Tier::Preview => None,
        }
    }

    /// The requirement on the source version, where it isn't met.
    #[must_use]
    pub fn refuses_source(&self, source: &KubeVersion) -> Option<String> {
        self.upgrades_from
            .as_ref()
            .filter(|requirement| !requirement.matches(&source.release()))
            .map(ToString::to_string)
    }

    fn is_past_end_of_life(&self, today: Date) -> bool {
        self.support.end_of_life.is_some_and(|day| day < today)
    }
}

impl Image {
    fn is_for(&self, role: Role) -> bool {
        match self.role {
            PoolRole::Any => true,
            PoolRole::ControlPlane => role == Role::ControlPlane,
            PoolRole::Worker => role == Role::Worker,
        }
    }

    fn fits(&self, pool: &Pool<'_>) -> bool {
        self.is_for(pool.role)
            && self.group == pool.group
            && self.kind == pool.kind
            && self
                .labels
                .iter()
                .all(|(key, value)| pool.labels.get(key) == Some(value.as_str()))
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("values[{index}]: {why}")]
pub struct InvalidValue {
    pub index: usize,
    pub why: String,
}

/// A list of values by where they go.
///
/// # Errors
/// Where one can't be read, is null, or overlaps with another.
pub fn read_values(values: &[ValueAt]) -> Result<Values, InvalidValue> {
    read(values).map_err(|(index, why)| InvalidValue { index, why })
}

fn read(values: &[ValueAt]) -> Result<Values, (usize, String)> {
    let mut read = Values::new();
    for (index, at) in values.iter().enumerate() {
        let pointer: JsonPointer = at
            .pointer
            .parse()
            .map_err(|error: instar_domain::InvalidPointer| (index, error.to_string()))?;
        let value = match (&at.value, &at.json) {
            (Some(IntOrString::Int(number)), None) => json!(number),
            (Some(IntOrString::String(text)), None) => json!(text),
            (None, Some(text)) => {
                serde_json::from_str(text).map_err(|error| (index, format!("json {text:?}: {error}")))?
            }
            (Some(_), Some(_)) | (None, None) => {
                return Err((index, "exactly one of value and json must be set".to_owned()));
            }
        };
        if value == Value::Null {
            return Err((index, "a value can't be null: leave it out instead".to_owned()));
        }
        if let Some(other) = read
            .keys()
            .find(|other| other.covers(pointer.as_str()) || pointer.covers(other.as_str()))
        {
            return Err((index, format!("{pointer} overlaps with {other} in the same entry")));
        }
        read.insert(pointer, value);
    }
    Ok(read)
}

fn kubeadm_values(spec: &KubernetesReleaseSpec) -> Values {
    let mut values = Values::new();
    let mut set = |base: &str, component: &Component| {
        let fields = [
            ("imageTag", Some(&component.image_tag)),
            ("imageRepository", component.image_repository.as_ref()),
        ];
        for (field, text) in fields {
            // The bases are pointers, and so is what a plain member makes of them.
            if let (Some(text), Ok(pointer)) = (text, format!("{base}/{field}").parse()) {
                values.insert(pointer, json!(text));
            }
        }
    };
    if let Some(etcd) = &spec.components.etcd {
        set(KCP_ETCD, etcd);
    }
    if let Some(core_dns) = &spec.components.core_dns {
        set(KCP_COREDNS, core_dns);
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(value: Value) -> KubernetesReleaseSpec {
        serde_json::from_value(value).unwrap()
    }

    fn images() -> Release {
        let row = spec(json!({
            "version": "v1.34.3",
            "machineImages": [
                {"kind": "VSphereMachineTemplate", "role": "ControlPlane", "values": [{"pointer": "/spec/template/spec/template", "value": "cp"}]},
                {"kind": "VSphereMachineTemplate", "labels": {"arch": "arm64"}, "values": [{"pointer": "/spec/template/spec/template", "value": "arm"}]},
                {"kind": "VSphereMachineTemplate", "values": [{"pointer": "/spec/template/spec/template", "value": "any"}, {"pointer": "/spec/template/spec/secure", "json": "true"}]},
            ],
            "components": {"etcd": {"imageTag": "3.6.5-0"}, "coreDNS": {"imageTag": "v1.12.1", "imageRepository": "example.org/dns"}},
        }));
        Release::read("r", &row).unwrap()
    }

    fn image(role: Role, kind: &str, labels: &[(&str, &str)]) -> Option<Value> {
        image_under(&[], role, kind, labels)
    }

    fn image_under(cluster: &[(&str, &str)], role: Role, kind: &str, labels: &[(&str, &str)]) -> Option<Value> {
        let owned = |labels: &[(&str, &str)]| labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let (cluster, pool): (BTreeMap<_, _>, BTreeMap<_, _>) = (owned(cluster), owned(labels));
        let release = images();
        let pool = Pool {
            role,
            group: "infrastructure.cluster.x-k8s.io",
            kind,
            labels: Labels {
                cluster: Some(&cluster),
                pool: &pool,
            },
        };
        let values = release.image(&pool)?;
        values.get(&"/spec/template/spec/template".parse().unwrap()).cloned()
    }

    #[test]
    fn the_first_image_that_fits_counts() {
        assert_eq!(
            image(Role::ControlPlane, "VSphereMachineTemplate", &[]),
            Some(json!("cp"))
        );
        assert_eq!(
            image(Role::Worker, "VSphereMachineTemplate", &[("arch", "arm64")]),
            Some(json!("arm"))
        );
        assert_eq!(
            image(Role::Worker, "VSphereMachineTemplate", &[("arch", "amd64")]),
            Some(json!("any"))
        );
        assert_eq!(image(Role::Worker, "AWSMachineTemplate", &[]), None);
    }

    #[test]
    fn kinds_of_one_name_are_told_apart_by_their_group() {
        const SUPERVISOR: &str = "vmware.infrastructure.cluster.x-k8s.io";
        let row = spec(json!({
            "version": "v1.34.3",
            "machineImages": [
                {"kind": "VSphereMachineTemplate", "values": [{"pointer": "/spec/template/spec/template", "value": "path"}]},
                {"apiGroup": SUPERVISOR, "kind": "VSphereMachineTemplate", "values": [{"pointer": "/spec/template/spec/imageName", "value": "name"}]},
            ],
        }));
        let release = Release::read("r", &row).unwrap();
        let labels = BTreeMap::new();
        let values = |group| {
            let pool = Pool {
                role: Role::Worker,
                group,
                kind: "VSphereMachineTemplate",
                labels: Labels {
                    cluster: None,
                    pool: &labels,
                },
            };
            let values = release.image(&pool).unwrap().iter();
            values.map(|(at, value)| format!("{at} {value}")).collect::<Vec<_>>()
        };
        assert_eq!(
            values("infrastructure.cluster.x-k8s.io"),
            [r#"/spec/template/spec/template "path""#]
        );
        assert_eq!(values(SUPERVISOR), [r#"/spec/template/spec/imageName "name""#]);
    }

    #[test]
    fn labels_of_the_cluster_count_under_those_of_the_pool() {
        let template = |cluster: &[(&str, &str)], pool: &[(&str, &str)]| {
            image_under(cluster, Role::Worker, "VSphereMachineTemplate", pool)
        };
        let arm = [("arch", "arm64")];
        assert_eq!(template(&arm, &[]), Some(json!("arm")));
        assert_eq!(template(&arm, &[("arch", "amd64")]), Some(json!("any")));
        assert_eq!(template(&[("arch", "amd64")], &arm), Some(json!("arm")));
        assert_eq!(template(&[], &[]), Some(json!("any")));
    }

    #[test]
    fn components_become_values_of_the_kubeadm_template() {
        let pointers: Vec<(String, Value)> = images()
            .kubeadm()
            .iter()
            .map(|(p, v)| (p.to_string(), v.clone()))
            .collect();
        assert_eq!(
            pointers,
            [
                (format!("{KCP_COREDNS}/imageRepository"), json!("example.org/dns")),
                (format!("{KCP_COREDNS}/imageTag"), json!("v1.12.1")),
                (format!("{KCP_ETCD}/imageTag"), json!("3.6.5-0")),
            ]
        );
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let entry = |values: Value| json!({"version": "v1.34.3", "machineImages": [{"kind": "K", "values": values}]});
        for (row, message) in [
            (
                json!({"version": "v1.34.3", "upgradesFrom": ">=x"}),
                "KubernetesRelease r: spec.upgradesFrom: \">=x\"",
            ),
            (
                entry(json!([{"pointer": "/spec/a/0", "value": 1}])),
                "spec.machineImages[0].values[0]: \"/spec/a/0\" is not a JSON Pointer",
            ),
            (
                entry(json!([{"pointer": "/spec/a", "json": "{"}])),
                "values[0]: json \"{\": EOF",
            ),
            (entry(json!([{"pointer": "/spec/a", "json": "null"}])), "can't be null"),
            (entry(json!([{"pointer": "/spec/a"}])), "exactly one of value and json"),
            (
                entry(json!([{"pointer": "/spec/a", "json": "{}"}, {"pointer": "/spec/a/b", "value": 1}])),
                "values[1]: /spec/a/b overlaps with /spec/a",
            ),
        ] {
            let error = Release::read("r", &spec(row)).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
    }

    #[test]
    fn support_is_a_matter_of_tier_and_day() {
        let today: Date = "2026-11-20".parse().unwrap();
        for (support, supported, warning) in [
            (json!({}), true, None),
            (json!({"tier": "LTS", "endOfLife": "2026-11-20"}), true, None),
            (
                json!({"tier": "LTS", "endOfLife": "2026-11-19"}),
                false,
                Some("release r (v1.34.3) reached its end of life on 2026-11-19"),
            ),
            (
                json!({"tier": "Deprecated"}),
                false,
                Some("release r (v1.34.3) is deprecated"),
            ),
            (
                json!({"tier": "Deprecated", "since": "2026-06-01"}),
                false,
                Some("release r (v1.34.3) is deprecated (since 2026-06-01)"),
            ),
            (
                json!({"tier": "Deprecated", "endOfLife": "2026-12-31"}),
                false,
                Some("release r (v1.34.3) is deprecated (supported until 2026-12-31)"),
            ),
            (
                json!({"tier": "Deprecated", "since": "2026-06-01", "endOfLife": "2026-12-31"}),
                false,
                Some("release r (v1.34.3) is deprecated (since 2026-06-01, supported until 2026-12-31)"),
            ),
            (
                json!({"tier": "Preview", "endOfLife": "2026-11-19"}),
                false,
                Some("release r (v1.34.3) reached its end of life on 2026-11-19"),
            ),
            (json!({"tier": "Preview"}), false, None),
        ] {
            let row = Release::read("r", &spec(json!({"version": "v1.34.3", "support": support}))).unwrap();
            assert_eq!(row.is_supported(today), supported, "{support}");
            assert_eq!(row.deprecation(today).as_deref(), warning, "{support}");
        }
    }

    #[test]
    fn a_requirement_looks_at_the_release_only() {
        let row = Release::read(
            "r",
            &spec(json!({"version": "v1.34.3", "upgradesFrom": ">=v1.33.2, <1.35.0"})),
        )
        .unwrap();
        for (source, refused) in [
            ("v1.33.2", false),
            ("v1.33.1", true),
            ("v1.34.0-rc.1", false),
            ("v1.33.5+x.1", false),
        ] {
            assert_eq!(
                row.refuses_source(&source.parse().unwrap()).is_some(),
                refused,
                "{source}"
            );
        }
    }
}
