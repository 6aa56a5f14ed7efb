//! `kubectl instar releases from-cluster`: the row that a running cluster stands for.

use std::{collections::BTreeMap, str::FromStr};

use clap::Args;
use instar_capi::{
    ClusterConfiguration, KubeadmControlPlane, MachineDeployment, MachinePool, MachineTemplate, Reference,
};
use instar_domain::{JsonPointer, KubeVersion};
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::observed::{
    self, ObservedCluster, ObservedComponent, ObservedEtcd, ObservedKubeadm, ObservedPool, Pointers, PoolPlace,
};
use crate::{Error, Exit, connection::Connection, output, read};

/// Prints the row that a running Cluster stands for
///
/// Its version, the images of its pools' templates, and the etcd and CoreDNS that its KubeadmControlPlane sets: a first row
/// for Clusters that ran before there was a catalog. Which field of a template is the image is known for the usual
/// providers; --pointer says it for others. Comments say what has to be checked by hand.
#[derive(Args, Debug)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct FromClusterArgs {
    /// The Cluster
    #[arg(value_name = "CLUSTER")]
    cluster: String,

    /// Where templates of a kind have what belongs to the version; can be repeated, and takes the place of what is known of
    /// that kind
    #[arg(long = "pointer", value_name = "KIND=POINTER")]
    pointers: Vec<KindPointer>,

    /// Its name; the default is the version with -1
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

const EXAMPLES: &str = "\
Examples:
  kubectl instar releases from-cluster my-cluster -n fleet > v1.34.3-1.yaml

  # Of a provider whose image is in another field:
  kubectl instar releases from-cluster my-cluster --pointer ExampleMachineTemplate=/spec/template/spec/osImage

Exit codes: 0 done, 2 the Cluster can't be read, or of a pool's template no image is known.";

/// `KIND=POINTER`.
#[derive(Clone, Debug)]
struct KindPointer {
    kind: String,
    pointer: JsonPointer,
}

impl FromStr for KindPointer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, pointer) = text
            .split_once('=')
            .ok_or("write it as KIND=POINTER, such as ExampleMachineTemplate=/spec/template/spec/image")?;
        let pointer = pointer
            .parse()
            .map_err(|error: instar_domain::InvalidPointer| error.to_string())?;
        Ok(Self {
            kind: kind.to_owned(),
            pointer,
        })
    }
}

/// Prints it.
pub(super) async fn run(connection: &Connection, args: &FromClusterArgs) -> Result<Exit, Error> {
    let mut pointers: Pointers = BTreeMap::new();
    for KindPointer { kind, pointer } in &args.pointers {
        pointers.entry(kind.clone()).or_default().push(pointer.to_string());
    }
    let mut unknown = false;
    let observed = observe(connection, &args.cluster).await?;
    for pool in &observed.pools {
        let Some(template) = &pool.template else { continue };
        if observed::values(&template.kind, &template.group, &template.object, &pointers).is_empty() {
            unknown = true;
            eprintln!(
                "{}: of {} no image is known: say where it is with --pointer {}=/spec/...",
                pool.place, template.kind, template.kind
            );
        }
        if let Some(text) = pool.other_version(&observed.version) {
            eprintln!("{text}");
        }
    }
    for why in &observed.unread {
        unknown = true;
        eprintln!("left out: {why}");
    }
    let document = observed::row(&observed, args.name.as_deref(), &pointers);
    output::print(&document.yaml()?)?;
    Ok(if unknown { Exit::Unknown } else { Exit::Done })
}

/// The Cluster, its pools and the templates that they refer to.
async fn observe(connection: &Connection, name: &str) -> Result<ObservedCluster, Error> {
    let read::Objects { objects, mut unread } = Box::pin(read::objects(connection, name)).await?;
    let of_kind = |kind: &str| {
        let kind = kind.to_owned();
        objects.iter().filter(move |object| object["kind"] == *kind)
    };
    let group = format!("{}/", KubeadmControlPlane::group(&()));
    let control_planes = || {
        objects.iter().filter(|object| {
            let api_version = object["apiVersion"].as_str().unwrap_or_default();
            api_version.starts_with(&group)
        })
    };
    let kubeadm = control_planes().find(|object| object["kind"] == *KubeadmControlPlane::kind(&()));
    let kubeadm: Option<KubeadmControlPlane> = kubeadm.map(typed).transpose()?;
    let version = control_planes()
        .find_map(|object| object.pointer("/spec/version"))
        .or_else(|| of_kind("Cluster").find_map(|object| object.pointer("/spec/topology/version")))
        .and_then(|version| version.as_str()?.parse::<KubeVersion>().ok());
    let version = version.ok_or_else(|| {
        Error::Unread(format!(
            "the version of Cluster {name}: {}",
            if unread.is_empty() {
                "its control plane has none".to_owned()
            } else {
                unread.join("; ")
            }
        ))
    })?;
    let mut pools = Vec::new();
    if let Some(control_plane) = &kubeadm {
        let reference = control_plane.spec.machine_template.template().cloned();
        let labels = control_plane.spec.machine_template.metadata.labels.clone();
        let pool = ObservedPool {
            place: PoolPlace::ControlPlane,
            version: Some(version.clone()),
            labels,
            template: None,
        };
        pools.push((pool, reference));
    }
    for object in of_kind(&MachineDeployment::kind(&())) {
        let deployment: MachineDeployment = typed(object)?;
        let name = deployment.name_any();
        pools.push(worker(PoolPlace::MachineDeployment(name), deployment.spec.template));
    }
    for object in of_kind(&MachinePool::kind(&())) {
        let pool: MachinePool = typed(object)?;
        let name = pool.name_any();
        pools.push(worker(PoolPlace::MachinePool(name), pool.spec.template));
    }
    let mut observed = Vec::new();
    for (mut pool, reference) in pools {
        if let Some(reference) = reference.filter(|reference| !reference.kind.is_empty()) {
            match read::referenced(connection, &reference).await? {
                Ok(object) => {
                    pool.template = Some(observed::Template {
                        group: reference.api_group,
                        kind: reference.kind,
                        object,
                    });
                }
                Err(why) => unread.push(why),
            }
        }
        observed.push(pool);
    }
    let configuration = kubeadm.map(|kubeadm| kubeadm.spec.kubeadm_config_spec.cluster_configuration);
    let kubeadm = configuration.map(|ClusterConfiguration { etcd, dns }| ObservedKubeadm {
        etcd: match etcd.external {
            Some(_) => ObservedEtcd::External,
            None => ObservedEtcd::Stacked(ObservedComponent {
                tag: etcd.local.image_tag,
                repository: etcd.local.image_repository,
            }),
        },
        core_dns: ObservedComponent {
            tag: dns.image_tag,
            repository: dns.image_repository,
        },
    });
    Ok(ObservedCluster {
        version,
        kubeadm,
        pools: observed,
        unread,
    })
}

fn worker(place: PoolPlace, template: MachineTemplate) -> (ObservedPool, Option<Reference>) {
    let pool = ObservedPool {
        place,
        version: template.spec.version.parse().ok(),
        labels: template.metadata.labels,
        template: None,
    };
    (pool, Some(template.spec.infrastructure_ref))
}

fn typed<K: DeserializeOwned>(object: &Value) -> Result<K, Error> {
    serde_json::from_value(object.clone()).map_err(|source| Error::Unreadable {
        what: format!(
            "{} {}",
            object["kind"].as_str().unwrap_or_default(),
            object["metadata"]["name"].as_str().unwrap_or_default()
        ),
        source,
    })
}
