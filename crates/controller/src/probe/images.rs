//! Whether the images on the way are there, looked for where the provider keeps them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use instar_api::VcenterAccess;
use instar_planner::{Problem, TemplateRef};
use instar_preflight::workload::{Facts, ImageAt, Images, Presence, Probe, Reading};
use instar_vsphere::{
    Address, Credentials, Identity, Location, LookError, Owner, VCenter, WantedImage, allowed_secret, look,
};
use instar_watch::Key;
use jiff::Timestamp;
use kube::{Client, ResourceExt, api::DynamicObject};
use tokio::time::timeout;

use super::{
    Wanted,
    vcenters::VCenters,
    vsphere_objects::{CLUSTERS, IDENTITIES, MACHINE_TEMPLATES, ReadError, Resource, VSphereObjects},
};

/// How long it may take until it is a Cluster's turn, and until its vCenter was searched.
const LOOK: Duration = Duration::from_secs(45);

/// Looks for the images that are wanted, if any are.
pub(super) async fn look_for(
    management: &Client,
    vcenters: &VCenters,
    cluster: &Key,
    wanted: &Wanted,
) -> Option<Arc<Reading>> {
    if !wanted.probes.contains(&Probe::Images) {
        return None;
    }
    let deadline = wanted.deadlines.probes.get(&Probe::Images);
    let deadline = deadline.map_or(LOOK, |deadline| deadline.unsigned_abs());
    let looking = images(management, vcenters, cluster, wanted);
    let found = timeout(deadline, looking).await;
    let found = found.unwrap_or_else(|_| {
        Err(problem(
            "Cluster",
            cluster.name(),
            format!(
                "the images on the way of Cluster {} were not looked for in {} s: see why the vCenter is slow",
                cluster.name(),
                deadline.as_secs()
            ),
        ))
    });
    let at = Timestamp::now();
    Some(Arc::new(Reading {
        at,
        found: found.map(Facts::Images),
    }))
}

async fn images(
    management: &Client,
    vcenters: &VCenters,
    cluster: &Key,
    Wanted {
        images: wanted,
        vcenters: allowed,
        ..
    }: &Wanted,
) -> Result<Images, Problem> {
    let objects = VSphereObjects::new(management, cluster.namespace());
    let name = vsphere_cluster(&objects, cluster).await?;
    let read = objects.get(CLUSTERS, &name).await;
    let read = read.map_err(|error| unread("VSphereCluster", &name, &error))?;
    let vcenter = VCenter::of(&read.data)
        .map_err(|error| problem("VSphereCluster", &name, format!("VSphereCluster {name}: {error}")))?;

    if let Some(why) = refused(&vcenter.address, allowed) {
        return Err(problem(
            "VSphereCluster",
            &name,
            format!("VSphereCluster {name}: {why}"),
        ));
    }
    let owner = owner(CLUSTERS, &name, &read);

    let locations = locations(&objects, wanted).await?;
    let (mut found, mut asked) = (BTreeMap::new(), BTreeMap::new());
    for at in wanted {
        match place(at, locations.get(&at.template), &vcenter.address) {
            Ok(image) => drop(asked.insert(at.clone(), image)),
            Err(why) => drop(found.insert(at.clone(), Presence::Unclear(why))),
        }
    }
    let place = format!("the vCenter {}", vcenter.address);
    if !asked.is_empty() {
        let there = ask(
            &objects,
            vcenters,
            (&owner, &vcenter),
            asked.values().cloned().collect(),
        )
        .await?;
        let presence = |image| there.get(image).cloned();
        found.extend(
            asked
                .iter()
                .filter_map(|(at, image)| Some((at.clone(), presence(image)?))),
        );
    }
    Ok(Images { place, found })
}

/// Why no credentials may be sent there. An entry that is no address names no server.
fn refused(address: &Address, allowed: &VcenterAccess) -> Option<String> {
    let is_in = |list: &BTreeSet<String>| {
        let mut servers = list.iter().map(|server| Address::parse(&server.to_lowercase()));
        servers.any(|server| server.is_ok_and(|server| server.to_string() == address.to_string().to_lowercase()))
    };
    match allowed {
        VcenterAccess::Any => None,
        VcenterAccess::Listed(lists) if lists.iter().all(is_in) => None,
        VcenterAccess::Listed(_) => Some(format!(
            "spec.server is {address}, which is not in spec.vsphere.servers of each UpgradePolicy of this Cluster, so no \
             credentials are sent there: correct spec.server, or add it to the policy"
        )),
        VcenterAccess::Unclear(why) => Some(why.clone()),
    }
}

/// The VSphereCluster of a Cluster.
async fn vsphere_cluster(objects: &VSphereObjects<'_>, cluster: &Key) -> Result<String, Problem> {
    let name = cluster.name();
    let reference = objects.infrastructure(name).await;
    let (group, kind, infrastructure) = reference.map_err(|error| unread("Cluster", name, &error))?;
    if (group.as_str(), kind.as_str()) == (CLUSTERS.group, CLUSTERS.kind) {
        return Ok(infrastructure);
    }
    Err(problem(
        "Cluster",
        name,
        format!("Cluster {name} is of {kind} {infrastructure}, which says of no vCenter where VM templates would be"),
    ))
}

/// What each machine template says, or why it says nothing.
async fn locations<'w>(
    objects: &VSphereObjects<'_>,
    wanted: &'w BTreeSet<ImageAt>,
) -> Result<BTreeMap<&'w TemplateRef, Result<Location, String>>, Problem> {
    let mut locations = BTreeMap::new();
    for template in wanted.iter().map(|at| &at.template) {
        if locations.contains_key(template) {
            continue;
        }
        let called = format!("{} {}", template.kind, template.name);
        let location = match objects.get(MACHINE_TEMPLATES, &template.name).await {
            Ok(read) => Location::of(&read.data).map_err(|error| format!("{called}: {error}")),
            Err(ReadError::Missing) => Err(format!("{called}, which says where, isn't there")),
            Err(error) => return Err(unread(&template.kind, &template.name, &error)),
        };
        locations.insert(template, location);
    }
    Ok(locations)
}

/// Where an image is looked for.
fn place(at: &ImageAt, location: Option<&Result<Location, String>>, address: &Address) -> Result<WantedImage, String> {
    let location = location.cloned().unwrap_or_else(|| Ok(Location::default()))?;
    if let Some(server) = at
        .server
        .as_ref()
        .or(location.server.as_ref())
        .filter(|server| !server.is_empty())
        && Address::parse(server).as_ref() != Ok(address)
    {
        return Err(format!(
            "{} {} is for another server (spec.template.spec.server) than the VSphereCluster's, and credentials go to that \
             one alone",
            at.template.kind, at.template.name
        ));
    }
    Ok(WantedImage {
        image: at.image.clone(),
        datacenter: at.datacenter.clone().or(location.datacenter).unwrap_or_default(),
    })
}

/// Asks the vCenter, with the credentials that the platform has for it.
async fn ask(
    objects: &VSphereObjects<'_>,
    vcenters: &VCenters,
    (cluster, vcenter): (&Owner, &VCenter),
    wanted: BTreeSet<WantedImage>,
) -> Result<BTreeMap<WantedImage, Presence>, Problem> {
    let (namespace, name, owner) = match &vcenter.identity {
        Identity::Secret(name) => (objects.namespace().to_owned(), name.clone(), cluster.clone()),
        Identity::ClusterIdentity(identity) => of_identity(objects, identity).await?,
    };
    let cluster = cluster.name.as_str();
    let object = format!("Secret {namespace}/{name}");
    let of_secret = |message| problem("Secret", &name, message);
    let secret = objects.secret(&namespace, &name).await.map_err(|error| match error {
        ReadError::Forbidden => of_secret(format!(
            "the controller has no right to read {object}: kubectl -n {namespace} create role instar-vcenter-{name} --verb get \
             --resource secrets --resource-name {name} && kubectl -n {namespace} create rolebinding instar-vcenter-{name} \
             --role instar-vcenter-{name} --serviceaccount {}:instar-controller",
            objects.account_namespace()
        )),
        ReadError::Missing => of_secret(format!("{object} with the credentials for the vCenter is not there")),
        ReadError::Other(why) => of_secret(format!("reading {object}: {why}")),
    })?;
    owner
        .owns(&format!("{namespace}/{name}"), secret.owner_references())
        .map_err(|error| of_secret(error.to_string()))?;
    let credentials = Credentials::read(secret.data.as_ref());
    let credentials = credentials.map_err(|why| of_secret(format!("{object} can't be used for the vCenter: {why}")))?;
    let login = credentials.mark();
    let (vcenter, address) = (vcenter.clone(), vcenter.address.clone());
    let looking = async move { look(&vcenter, &credentials, &wanted).await };
    let found = vcenters.in_turn(&address, login, looking).await;
    found.map_err(|error| match &error {
        LookError::LoginRefused { .. } | LookError::LoginSpared { .. } => of_secret(format!("the vCenter {error}")),
        LookError::Unreachable { .. }
        | LookError::Silence { .. }
        | LookError::TooSlow { .. }
        | LookError::WrongThumbprint { .. }
        | LookError::NoPermission { .. }
        | LookError::Refused { .. }
        | LookError::Redirected { .. }
        | LookError::TooLong { .. }
        | LookError::Garbled { .. } => problem(
            "VSphereCluster",
            cluster,
            format!("the images on the way were not looked for in the vCenter of VSphereCluster {cluster}: {error}"),
        ),
    })
}

/// The namespace and the name of the Secret of a VSphereClusterIdentity that lets the namespace use it, and whose it has to
/// be.
async fn of_identity(objects: &VSphereObjects<'_>, identity: &str) -> Result<(String, String, Owner), Problem> {
    let read = objects.get(IDENTITIES, identity).await;
    let read = read.map_err(|error| unread("VSphereClusterIdentity", identity, &error))?;
    let labels = objects.namespace_labels().await;
    let labels = labels.map_err(|error| unread("Namespace", objects.namespace(), &error))?;
    let secret = allowed_secret(&read.data, objects.namespace(), &labels).map_err(|error| {
        let message = format!("VSphereClusterIdentity {identity}: {error}");
        problem("VSphereClusterIdentity", identity, message)
    })?;
    let namespace = objects.provider_namespace().await;
    let namespace = namespace.map_err(|error| unread("Provider", "infrastructure-vsphere", &error))?;
    Ok((namespace, secret, owner(IDENTITIES, identity, &read)))
}

fn owner(of: Resource, name: &str, read: &DynamicObject) -> Owner {
    Owner {
        kind: of.kind,
        name: name.to_owned(),
        uid: read.uid().unwrap_or_default(),
    }
}

fn unread(kind: &str, name: &str, error: &ReadError) -> Problem {
    let message = match error {
        ReadError::Forbidden => {
            let role = match kind {
                "VSphereCluster" | "VSphereClusterIdentity" => "config/vsphere",
                "VSphereMachineTemplate" => "config/providers/vsphere",
                // Clusters, Namespaces, Providers.
                _ => "config/rbac",
            };
            format!("the controller has no right to read {kind} {name}: kubectl apply -k {role}")
        }
        ReadError::Missing => format!("{kind} {name}, by which images are looked for, is not there"),
        ReadError::Other(why) => format!("reading {kind} {name}: {why}"),
    };
    problem(kind, name, message)
}

fn problem(kind: &str, name: &str, message: String) -> Problem {
    Problem {
        kind: kind.to_owned(),
        name: name.to_owned(),
        message,
    }
}

#[cfg(test)]
mod tests;
