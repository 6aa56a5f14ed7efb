//! The fleet: classic Clusters as they look when nothing is to be done, with what Cluster API writes about them.
//!
//! The objects are those of a real cluster in memory; the control plane has files and arguments beside, as people's
//! have them.

use futures::{StreamExt, TryStreamExt, stream};
use instar_e2e::{Context, Result, progress::say, support::catalog::Rows};
use k8s_openapi::api::{
    admissionregistration::v1::{
        MutatingWebhookConfiguration, ValidatingAdmissionPolicyBinding, ValidatingWebhookConfiguration,
    },
    core::v1::Namespace,
};
use kube::{
    Api, Client, Resource,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    core::{DynamicObject, ObjectMeta},
    discovery::ApiResource,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// How many Clusters a namespace has.
pub(crate) const TOGETHER: usize = 10;

/// How many Clusters are written at the same time.
pub(crate) const WRITERS: usize = 12;

/// The version and the image in the objects, in whose place those of the catalog go.
const VERSION: &str = "v1.33.25";
const IMAGE: &str = "0.33251s";

pub(crate) const CLUSTER: &str = include_str!("objects/cluster.json");
pub(crate) const CONTROL_PLANE: &str = include_str!("objects/control-plane.json");

/// The kinds, their plurals, and how many a Cluster has of each: the machines come after what they belong to.
const OBJECTS: [(&str, &str, &[&str]); 8] = [
    (
        include_str!("objects/machine-template.json"),
        "devmachinetemplates",
        &["@C-cp", "@C-md-0"],
    ),
    (
        include_str!("objects/bootstrap-template.json"),
        "kubeadmconfigtemplates",
        &["@C-md-0"],
    ),
    (CONTROL_PLANE, "kubeadmcontrolplanes", &["@C"]),
    (
        include_str!("objects/machine-deployment.json"),
        "machinedeployments",
        &["@C-md-0"],
    ),
    (include_str!("objects/machine-set.json"), "machinesets", &["@C-md-0-x"]),
    (
        include_str!("objects/control-plane-machine.json"),
        "machines",
        &["@C-cp-0", "@C-cp-1", "@C-cp-2"],
    ),
    (
        include_str!("objects/worker-machine.json"),
        "machines",
        &["@C-md-0-x-a", "@C-md-0-x-b", "@C-md-0-x-c"],
    ),
    (CLUSTER, "clusters", &["@C"]),
];

/// What of the catalog stands in the objects.
pub(crate) struct Running {
    pub(crate) version: String,
    image: String,
}

impl Running {
    pub(crate) fn of(rows: &Rows) -> Self {
        Self {
            version: rows.version(33),
            image: rows.image(33, 1),
        }
    }

    /// An object's text with the version and the image of the catalog.
    pub(crate) fn filled(&self, text: &str) -> String {
        text.replace(VERSION, &self.version).replace(IMAGE, &self.image)
    }
}

/// The Clusters that have been written.
pub(crate) struct Fleet {
    client: Client,
    rows: Running,
    clusters: usize,
}

impl Fleet {
    pub(crate) fn new(client: Client, rows: &Rows) -> Self {
        Self {
            client,
            rows: Running::of(rows),
            clusters: 0,
        }
    }

    /// How many objects the programs know, without templates.
    pub(crate) fn objects(&self) -> usize {
        let kept = OBJECTS.iter().filter(|(_, plural, _)| !plural.ends_with("templates"));
        self.clusters * kept.map(|(_, _, names)| names.len()).sum::<usize>()
    }

    /// How many there are.
    pub(crate) const fn clusters(&self) -> usize {
        self.clusters
    }

    /// The namespace and the name of one.
    pub(crate) fn cluster(number: usize) -> (String, String) {
        (format!("fleet-{}", number / TOGETHER), format!("cluster-{number}"))
    }

    /// Writes Clusters until there are so many.
    pub(crate) async fn grow(&mut self, clusters: usize) -> Result<()> {
        let new = self.clusters..clusters;
        say(format!("writing {} Clusters, {} in all", new.len(), clusters));
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        for number in new.clone().filter(|number| number.is_multiple_of(TOGETHER)) {
            let namespace = Namespace {
                metadata: ObjectMeta {
                    name: Some(Self::cluster(number).0),
                    ..ObjectMeta::default()
                },
                ..Namespace::default()
            };
            namespaces.create(&PostParams::default(), &namespace).await?;
        }
        let written = stream::iter(new).map(|number| self.write(number));
        let mut written = written.buffer_unordered(WRITERS);
        let mut count = self.clusters;
        while written.try_next().await?.is_some() {
            count += 1;
            if count.is_multiple_of(500) {
                say(format!("{count} Clusters are written"));
            }
        }
        drop(written);
        self.clusters = clusters;
        Ok(())
    }

    async fn write(&self, number: usize) -> Result<()> {
        let (namespace, cluster) = Self::cluster(number);
        let mut uid = String::new();
        // The Cluster first: the others name its uid.
        for (text, plural, names) in OBJECTS.iter().rev() {
            for name in *names {
                let text = self.rows.filled(text).replace("@M", name).replace("@T", name);
                let text = text
                    .replace("@C", &cluster)
                    .replace("@N", &namespace)
                    .replace("@U", &uid);
                let mut object: Value = serde_json::from_str(&text)?;
                let name = name.replace("@C", &cluster);
                object["metadata"]["name"] = json!(name);
                let created = create(&self.client, &namespace, &name, plural, &object).await;
                let created = created.with_context(|| format!("{plural} {namespace}/{name}"))?;
                if *plural == "clusters" {
                    uid = created.metadata.uid.unwrap_or_default();
                }
            }
        }
        Ok(())
    }
}

/// Creates an object and then writes its status, as observed at the generation that it has.
pub(crate) async fn create(
    client: &Client,
    namespace: &str,
    name: &str,
    plural: &str,
    object: &Value,
) -> Result<DynamicObject> {
    let (api_version, kind) = (object["apiVersion"].as_str(), object["kind"].as_str());
    let (group, version) = api_version.and_then(|text| text.split_once('/')).context("no group")?;
    let resource = ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        api_version: format!("{group}/{version}"),
        kind: kind.context("no kind")?.to_owned(),
        plural: plural.to_owned(),
    };
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
    let created = api
        .create(&PostParams::default(), &serde_json::from_value(object.clone())?)
        .await?;
    let mut status = object["status"].clone();
    if status.is_null() {
        return Ok(created);
    }
    // What was observed is this edit.
    let generation = created.metadata.generation;
    if let Some(observed) = status.get_mut("observedGeneration") {
        *observed = json!(generation);
    }
    for condition in status["conditions"].as_array_mut().into_iter().flatten() {
        condition["observedGeneration"] = json!(generation);
    }
    let patch = Patch::Merge(json!({ "status": status }));
    Ok(api.patch_status(name, &PatchParams::default(), &patch).await?)
}

/// Nothing guards what is written, and nothing is asked for it.
pub(crate) async fn remove_webhooks(client: &Client) -> Result<()> {
    async fn all<K>(client: &Client) -> Result<()>
    where
        K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned,
    {
        let api: Api<K> = Api::all(client.clone());
        api.delete_collection(&DeleteParams::default(), &ListParams::default())
            .await?;
        Ok(())
    }
    all::<MutatingWebhookConfiguration>(client).await?;
    all::<ValidatingWebhookConfiguration>(client).await?;
    all::<ValidatingAdmissionPolicyBinding>(client).await
}
