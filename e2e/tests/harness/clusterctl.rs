//! A release from a local repository: clusterctl installs it into a namespace of the user's choice, upgrades it, and
//! deletes it. Nothing is fetched from elsewhere.

use std::{collections::BTreeMap, fs, path::Path};

use instar_e2e::{
    Result,
    clusterctl::{Repository, cert_manager},
    manifests,
    progress::say,
    support::{journeys::JourneyContext, second_cluster::SecondCluster},
};
use k8s_openapi::{
    api::{apps::v1::Deployment, core::v1::Namespace},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, ResourceExt,
    api::{DynamicObject, ListParams},
    discovery::ApiResource,
};
use serde_json::{Value, json};
use xtask::release::Release;

/// Where the user wants it.
const ELSEWHERE: &str = "elsewhere";

const PROVIDER: &str = "example-instar";

pub(crate) async fn installs_upgrades_and_deletes(scene: JourneyContext) -> Result<()> {
    let repository = Repository::new(&scene.mgmt, PROVIDER)?;
    let directory = tempfile::tempdir()?;
    let first = release("0.1.0")?;
    let second = release("0.1.1")?;
    same_as_kustomize(&scene, &first).await?;
    for release in [&first, &second] {
        let out = directory.path().join(release.version.to_string());
        release.write(&out)?;
        copied(&out.join("clusterctl"), repository.path())?;
    }

    let cluster = SecondCluster::start_with(&scene.mgmt, |_| false).await?;
    cert_manager(&cluster.client()).await?;
    let kubeconfig = cluster.kubeconfig();
    let clusterctl = async |arguments: &[&str]| repository.run(&scene.mgmt, &kubeconfig, arguments).await;
    let extension = format!("{PROVIDER}:v0.1.0");
    repository.init(&scene.mgmt, &kubeconfig, &extension, ELSEWHERE).await?;
    assert_eq!(
        images(&cluster.client(), ELSEWHERE).await?,
        BTreeMap::from([
            (
                "instar-controller".to_owned(),
                "registry.example.org/instar:v0.1.0".to_owned()
            ),
            (
                "instar-webhook".to_owned(),
                "registry.example.org/instar:v0.1.0".to_owned()
            ),
        ])
    );
    names_no_other_namespace(&cluster.client()).await?;
    let kinds = kinds(&cluster.client()).await?;
    assert_eq!(kinds.len(), 3, "{kinds:?}");

    let plan = clusterctl(&["upgrade", "plan"]).await?;
    let line = plan.lines().find(|line| line.contains(PROVIDER)).unwrap_or_default();
    assert!(line.contains("v0.1.0") && line.contains("v0.1.1"), "{plan}");
    let newer = format!("{ELSEWHERE}/{PROVIDER}:v0.1.1");
    clusterctl(&["upgrade", "apply", "--runtime-extension", &newer]).await?;
    let after = images(&cluster.client(), ELSEWHERE).await?;
    assert!(after.values().all(|image| image.ends_with(":v0.1.1")), "{after:?}");
    names_no_other_namespace(&cluster.client()).await?;

    clusterctl(&["delete", "--runtime-extension", PROVIDER]).await?;
    assert_eq!(images(&cluster.client(), ELSEWHERE).await?, BTreeMap::new());
    // With the kinds all records and releases would go.
    assert_eq!(self::kinds(&cluster.client()).await?, kinds);
    say(format!(
        "clusterctl installed, upgraded and deleted {PROVIDER} in {ELSEWHERE}"
    ));
    cluster.stop().await
}

/// What clusterctl asks of a release is in its files alone, so any program does.
fn release(version: &str) -> Result<Release> {
    Ok(Release {
        version: version.parse()?,
        image: "registry.example.org/instar".to_owned(),
        provider: PROVIDER.to_owned(),
        program: b"none".to_vec(),
        plugin: b"none".to_vec(),
        url: "https://registry.example.org/instar".to_owned(),
        epoch: 1_800_000_000,
    })
}

/// Both ways of installing give the same objects, but for the provider's name and the image.
async fn same_as_kustomize(scene: &JourneyContext, release: &Release) -> Result<()> {
    let plain = Release {
        provider: "instar".to_owned(),
        ..release.clone()
    };
    let named = |objects: Vec<Value>| -> BTreeMap<String, Value> {
        let objects = objects.into_iter().map(|mut object| {
            if let Some(image) = object.pointer_mut("/spec/template/spec/containers/0/image") {
                *image = json!("the image");
            }
            (format!("{} {}", object["kind"], object["metadata"]["name"]), object)
        });
        objects.collect()
    };
    let default = xtask::root().join("config/default");
    let rendered = manifests::kustomize(scene.mgmt.built().program(manifests::RENDERER)?, &default).await?;
    let (ours, kustomize) = (named(plain.objects()?), named(rendered));
    for (name, object) in &kustomize {
        assert_eq!(ours.get(name), Some(object), "{name}");
    }
    assert_eq!(ours.len(), kustomize.len(), "{:?}", ours.keys());
    Ok(())
}

fn copied(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copied(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// The image of each Deployment of ours.
pub(crate) async fn images(client: &Client, namespace: &str) -> Result<BTreeMap<String, String>> {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    let of_ours = ListParams::default().labels("app.kubernetes.io/name=instar");
    let listed = deployments.list(&of_ours).await?;
    let images = listed.into_iter().filter_map(|deployment| {
        let name = deployment.name_any();
        let pod = deployment.spec?.template.spec?;
        Some((name, pod.containers.into_iter().next()?.image?))
    });
    Ok(images.collect())
}

/// The uid of each kind of ours.
pub(crate) async fn kinds(client: &Client) -> Result<BTreeMap<String, Option<String>>> {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let listed = definitions.list(&ListParams::default()).await?;
    let ours = listed
        .into_iter()
        .filter(|definition| definition.spec.group == instar_api::GROUP);
    Ok(ours
        .map(|definition| (definition.name_any(), definition.uid()))
        .collect())
}

/// No object that clusterctl made of ours names the namespace that the release's files have.
async fn names_no_other_namespace(client: &Client) -> Result<()> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    assert!(namespaces.get_opt("instar-system").await?.is_none());
    let resource = |group: &str, version: &str, kind: &str, plural: &str| {
        let gvk = kube::core::GroupVersionKind::gvk(group, version, kind);
        ApiResource::from_gvk_with_plural(&gvk, plural)
    };
    let rbac = "rbac.authorization.k8s.io";
    let registration = "admissionregistration.k8s.io";
    let mut seen = 0;
    for kind in [
        resource(rbac, "v1", "ClusterRoleBinding", "clusterrolebindings"),
        resource(rbac, "v1", "RoleBinding", "rolebindings"),
        resource(
            registration,
            "v1",
            "MutatingWebhookConfiguration",
            "mutatingwebhookconfigurations",
        ),
        resource(
            registration,
            "v1",
            "ValidatingWebhookConfiguration",
            "validatingwebhookconfigurations",
        ),
        resource("cert-manager.io", "v1", "Certificate", "certificates"),
        resource("cert-manager.io", "v1", "Issuer", "issuers"),
        resource("apps", "v1", "Deployment", "deployments"),
        resource("", "v1", "Service", "services"),
    ] {
        let objects: Api<DynamicObject> = Api::all_with(client.clone(), &kind);
        let label = format!("cluster.x-k8s.io/provider=runtime-extension-{PROVIDER}");
        let of_ours = ListParams::default().labels(&label);
        let listed = objects.list(&of_ours).await?;
        assert!(!listed.items.is_empty(), "no {}", kind.kind);
        for mut object in listed {
            object.metadata.managed_fields = None;
            let text = serde_json::to_string(&object)?;
            assert!(!text.contains("instar-system"), "{} {text}", kind.kind);
            seen += usize::from(text.contains(ELSEWHERE));
        }
    }
    assert!(seen >= 10, "{seen} objects name {ELSEWHERE}");
    Ok(())
}
