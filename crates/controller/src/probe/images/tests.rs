use http::{Request, Response};
use kube::client::Body;
use serde_json::{Value, json};

use super::*;

/// A management cluster that has these objects, by their resources and names, and no right to the others.
fn management(objects: &[(&str, Value)]) -> Client {
    let objects: BTreeMap<String, Value> = objects
        .iter()
        .map(|(path, object)| ((*path).to_owned(), object.clone()))
        .collect();
    let answer = tower::service_fn(move |request: Request<Body>| {
        let segments: Vec<&str> = request.uri().path().rsplit('/').take(2).collect();
        let path = format!("{}/{}", segments[1], segments[0]);
        let (code, body) = match objects.get(&path) {
            Some(Value::Null) => (404, status(404, "NotFound")),
            Some(object) => (200, object.clone()),
            None => (403, status(403, "Forbidden")),
        };
        let response = Response::builder()
            .status(code)
            .body(Body::from(body.to_string().into_bytes()));
        async move { Ok::<_, kube::Error>(response.unwrap()) }
    });
    Client::new(answer, "instar-system")
}

fn status(code: u16, reason: &str) -> Value {
    json!({ "kind": "Status", "status": "Failure", "reason": reason, "code": code })
}

fn object(kind: &str, name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "infrastructure.cluster.x-k8s.io/v1beta2", "kind": kind,
        "metadata": { "name": name, "namespace": "n", "uid": format!("uid-{name}") },
        "spec": spec,
    })
}

fn cluster(kind: &str) -> (&'static str, Value) {
    let reference = json!({ "apiGroup": "infrastructure.cluster.x-k8s.io", "kind": kind, "name": "vc" });
    (
        "clusters/c",
        object("Cluster", "c", &json!({ "infrastructureRef": reference })),
    )
}

fn vsphere_cluster(thumbprint: &str, identity: &str) -> (&'static str, Value) {
    let spec = json!({
        "server": "127.0.0.1:1", "thumbprint": thumbprint, "identityRef": { "kind": identity, "name": "i" },
    });
    ("vsphereclusters/vc", object("VSphereCluster", "vc", &spec))
}

fn identity(labels: &Value) -> (&'static str, Value) {
    let spec = json!({ "secretName": "s", "allowedNamespaces": { "selector": { "matchLabels": labels } } });
    let mut identity = object("VSphereClusterIdentity", "i", &spec);
    identity["status"] = json!({ "ready": true });
    ("vsphereclusteridentities/i", identity)
}

fn namespaces() -> (&'static str, Value) {
    let namespace = json!({ "metadata": { "name": "n", "labels": { "tier": "prod" } } });
    (
        "v1/namespaces",
        json!({ "apiVersion": "v1", "kind": "NamespaceList", "metadata": {}, "items": [namespace] }),
    )
}

fn providers() -> (&'static str, Value) {
    let provider = json!({
        "apiVersion": "clusterctl.cluster.x-k8s.io/v1alpha3", "kind": "Provider",
        "metadata": { "name": "infrastructure-vsphere", "namespace": "vsphere-system" },
        "type": "InfrastructureProvider", "providerName": "vsphere", "version": "v1.16.1",
    });
    let list = json!({
        "apiVersion": "clusterctl.cluster.x-k8s.io/v1alpha3", "kind": "ProviderList", "metadata": {},
        "items": [provider],
    });
    ("v1alpha3/providers", list)
}

async fn says(objects: &[(&str, Value)]) -> String {
    says_where(objects, VcenterAccess::Any).await
}

async fn says_where(objects: &[(&str, Value)], allowed: VcenterAccess) -> String {
    let at = ImageAt {
        template: TemplateRef {
            group: "infrastructure.cluster.x-k8s.io".to_owned(),
            kind: "VSphereMachineTemplate".to_owned(),
            name: "t".to_owned(),
        },
        image: "/DC0/vm/i".to_owned(),
        datacenter: None,
        server: None,
    };
    let wanted = Wanted {
        secret: None,
        probes: BTreeSet::from([Probe::Images]),
        settled: BTreeSet::new(),
        deadlines: instar_preflight::workload::Deadlines::default(),
        gates: Vec::new(),
        snapshots: Vec::new(),
        images: BTreeSet::from([at]),
        vcenters: allowed,
    };
    let found = images(&management(objects), &VCenters::default(), &Key::new("n", "c"), &wanted).await;
    match found {
        Err(problem) => problem.message,
        Ok(images) => format!("{:?}", images.found.values().collect::<Vec<_>>()),
    }
}

/// Whoever may edit a VSphereCluster doesn't decide where its credentials go.
#[tokio::test]
async fn a_server_that_no_policy_lists_is_sent_nothing() {
    let objects = [
        cluster("VSphereCluster"),
        vsphere_cluster(THUMBPRINT, "Secret"),
        template(),
    ];
    let list = |servers: &[&str]| {
        servers
            .iter()
            .map(|server| (*server).to_owned())
            .collect::<BTreeSet<String>>()
    };
    let own = || list(&["vc.example.com", "127.0.0.1:1"]);
    for (allowed, goes_on) in [
        (VcenterAccess::Any, true),
        (VcenterAccess::Listed(vec![own()]), true),
        (VcenterAccess::Listed(vec![list(&["https://127.0.0.1:1/sdk"])]), true),
        (VcenterAccess::Listed(vec![own(), list(&["vc.example.com"])]), false),
        (VcenterAccess::Listed(vec![list(&[])]), false),
        (VcenterAccess::Listed(vec![list(&["127.0.0.1"])]), false),
        (VcenterAccess::Listed(vec![list(&["u@127.0.0.1:1"])]), false),
    ] {
        let said = says_where(&objects, allowed.clone()).await;
        // The next thing is the Secret, which nothing here lets be read.
        assert_eq!(said.contains("no right to read Secret"), goes_on, "{allowed:?}: {said}");
        assert_eq!(said.contains("spec.vsphere.servers"), !goes_on, "{allowed:?}: {said}");
    }
    let unclear = VcenterAccess::Unclear("UpgradePolicy p can't be read".to_owned());
    assert!(
        says_where(&objects, unclear)
            .await
            .contains("UpgradePolicy p can't be read")
    );
}

const THUMBPRINT: &str = "A9:99:3E:36:47:06:81:6A:BA:3E:25:71:78:50:C2:6C:9C:D0:D8:9D";

fn template() -> (&'static str, Value) {
    let spec = json!({ "template": { "spec": { "template": "/DC0/vm/h" } } });
    (
        "vspheremachinetemplates/t",
        object("VSphereMachineTemplate", "t", &spec),
    )
}

fn secret(data: &Value) -> (&'static str, Value) {
    ("secrets/i", secret_of("VSphereCluster", "vc", data))
}

/// The Secret of an owner, as the provider marks it.
fn secret_of(kind: &str, name: &str, data: &Value) -> Value {
    let owner = json!({
        "apiVersion": "infrastructure.cluster.x-k8s.io/v1beta1", "kind": kind, "name": name, "uid": format!("uid-{name}"),
    });
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "i", "ownerReferences": [owner] }, "data": data,
    })
}

fn not_its(secret: &str, kind: &str, name: &str) -> String {
    format!(
        "Secret {secret} isn't this {kind}'s: its metadata.ownerReferences don't name {kind} {name} with its uid, as Cluster \
         API Provider vSphere sets it for the one that the Secret is for"
    )
}

fn no_right(namespace: &str, name: &str) -> String {
    format!(
        "the controller has no right to read Secret {namespace}/{name}: kubectl -n {namespace} create role \
         instar-vcenter-{name} --verb get --resource secrets --resource-name {name} && kubectl -n {namespace} create \
         rolebinding instar-vcenter-{name} --role instar-vcenter-{name} --serviceaccount instar-system:instar-controller"
    )
}

#[tokio::test]
async fn what_is_missing_is_told_with_the_command_for_it() {
    let vsphere = || cluster("VSphereCluster");
    let of_secret = || vsphere_cluster(THUMBPRINT, "Secret");
    for (objects, message) in [
        (
            vec![vsphere()],
            "the controller has no right to read VSphereCluster vc: kubectl apply -k config/vsphere".to_owned(),
        ),
        (
            vec![vsphere(), ("vsphereclusters/vc", Value::Null)],
            "VSphereCluster vc, by which images are looked for, is not there".to_owned(),
        ),
        (
            vec![cluster("DevCluster")],
            "Cluster c is of DevCluster vc, which says of no vCenter where VM templates would be".to_owned(),
        ),
        (
            vec![vsphere(), vsphere_cluster("", "Secret")],
            "VSphereCluster vc: it has no spec.thumbprint, so nothing tells its vCenter from another server, and no \
             credentials are sent: set the SHA-1 thumbprint of the vCenter's certificate there"
                .to_owned(),
        ),
        (
            vec![vsphere(), of_secret(), ("vspheremachinetemplates/t", Value::Null)],
            "[Unclear(\"VSphereMachineTemplate t, which says where, isn't there\")]".to_owned(),
        ),
        (
            vec![vsphere(), of_secret()],
            "the controller has no right to read VSphereMachineTemplate t: kubectl apply -k config/providers/vsphere"
                .to_owned(),
        ),
        (vec![vsphere(), of_secret(), template()], no_right("n", "i")),
        (
            vec![vsphere(), of_secret(), template(), ("secrets/i", Value::Null)],
            "Secret n/i with the credentials for the vCenter is not there".to_owned(),
        ),
        (
            vec![
                vsphere(),
                of_secret(),
                template(),
                secret(&json!({ "username": "dQ==" })),
            ],
            "Secret n/i can't be used for the vCenter: it has no key password".to_owned(),
        ),
    ] {
        assert_eq!(says(&objects).await, message);
    }
    let credentials = secret(&json!({ "username": "dQ==", "password": "cA==" }));
    let unreachable = says(&[vsphere(), of_secret(), template(), credentials]).await;
    let begins = "the images on the way were not looked for in the vCenter of VSphereCluster vc: 127.0.0.1:1 can't be \
                  reached: ";
    assert!(unreachable.starts_with(begins), "{unreachable}");
}

#[tokio::test]
async fn a_secret_of_another_owner_is_not_used() {
    let data = json!({ "username": "dQ==", "password": "cA==" });
    for (kind, name) in [("VSphereCluster", "other"), ("VSphereClusterIdentity", "vc")] {
        let secret = ("secrets/i", secret_of(kind, name, &data));
        let of_secret = vsphere_cluster(THUMBPRINT, "Secret");
        let said = says(&[cluster("VSphereCluster"), of_secret, template(), secret]).await;
        assert_eq!(said, not_its("n/i", "VSphereCluster", "vc"));
    }
}

#[tokio::test]
async fn an_identity_is_used_where_it_lets_the_namespace_and_its_secret_is_the_provider_s() {
    let vsphere = || cluster("VSphereCluster");
    let of_identity = || vsphere_cluster(THUMBPRINT, "VSphereClusterIdentity");
    let prod = || json!({ "tier": "prod" });
    for (objects, message) in [
        (
            vec![
                vsphere(),
                of_identity(),
                template(),
                identity(&json!({ "tier": "dev" })),
                namespaces(),
            ],
            "VSphereClusterIdentity i: spec.allowedNamespaces doesn't let namespace n use it".to_owned(),
        ),
        (
            vec![
                vsphere(),
                of_identity(),
                template(),
                identity(&prod()),
                namespaces(),
                providers(),
            ],
            no_right("vsphere-system", "s"),
        ),
        (
            vec![vsphere(), of_identity(), template(), identity(&prod())],
            "the controller has no right to read Namespace n: kubectl apply -k config/rbac".to_owned(),
        ),
        (
            vec![vsphere(), of_identity(), template(), identity(&prod()), namespaces()],
            "the controller has no right to read Provider infrastructure-vsphere: kubectl apply -k config/rbac"
                .to_owned(),
        ),
        (
            vec![
                vsphere(),
                of_identity(),
                template(),
                identity(&prod()),
                namespaces(),
                providers(),
                (
                    "secrets/s",
                    secret_of("VSphereCluster", "vc", &json!({ "username": "dQ==" })),
                ),
            ],
            not_its("vsphere-system/s", "VSphereClusterIdentity", "i"),
        ),
        (
            vec![
                vsphere(),
                of_identity(),
                template(),
                identity(&prod()),
                namespaces(),
                providers(),
                (
                    "secrets/s",
                    secret_of("VSphereClusterIdentity", "i", &json!({ "username": "dQ==" })),
                ),
            ],
            "Secret vsphere-system/s can't be used for the vCenter: it has no key password".to_owned(),
        ),
        (
            vec![
                vsphere(),
                of_identity(),
                template(),
                identity(&prod()),
                namespaces(),
                ("v1alpha3/providers", Value::Null),
            ],
            no_right("capv-system", "s"),
        ),
    ] {
        assert_eq!(says(&objects).await, message);
    }
}

#[test]
fn the_release_s_place_counts_more_than_the_template_s_and_another_server_is_not_asked() {
    let at = |datacenter: Option<&str>, server: Option<&str>| ImageAt {
        template: TemplateRef {
            group: "g".to_owned(),
            kind: "VSphereMachineTemplate".to_owned(),
            name: "t".to_owned(),
        },
        image: "i".to_owned(),
        datacenter: datacenter.map(str::to_owned),
        server: server.map(str::to_owned),
    };
    let location = |datacenter: Option<&str>, server: Option<&str>| {
        Ok(Location {
            datacenter: datacenter.map(str::to_owned),
            server: server.map(str::to_owned),
        })
    };
    let address = Address::parse("vc").unwrap();
    let datacenter = |at: &ImageAt, location| place(at, Some(&location), &address).map(|image| image.datacenter);
    assert_eq!(datacenter(&at(None, None), location(None, None)), Ok(String::new()));
    assert_eq!(
        datacenter(&at(None, None), location(Some("DC0"), None)),
        Ok("DC0".to_owned())
    );
    assert_eq!(
        datacenter(&at(Some("DC1"), None), location(Some("DC0"), Some("https://vc/sdk"))),
        Ok("DC1".to_owned())
    );
    let elsewhere = "VSphereMachineTemplate t is for another server (spec.template.spec.server) than the VSphereCluster's, \
                     and credentials go to that one alone";
    for (at, location) in [
        (at(None, None), location(None, Some("vc2"))),
        (at(None, Some("vc2")), location(None, Some("vc"))),
        (at(None, Some("http://vc")), location(None, None)),
    ] {
        assert_eq!(datacenter(&at, location), Err(elsewhere.to_owned()));
    }
    let gone = Err("t isn't there".to_owned());
    assert_eq!(datacenter(&at(None, None), gone), Err("t isn't there".to_owned()));
}
