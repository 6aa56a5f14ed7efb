//! The Helm chart of a release: what it renders is what kustomize renders, and Helm installs it, upgrades it, and takes it
//! away without what users have written.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use instar_e2e::{
    Context, Result,
    binaries::Binary,
    clusterctl::cert_manager,
    manifests,
    progress::say,
    support::{journeys::JourneyContext, second_cluster::SecondCluster},
};
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, Client, ResourceExt,
    api::{DynamicObject, PostParams},
    core::GroupVersionKind,
    discovery::ApiResource,
};
use serde_json::{Value, json};
use tokio::process::Command;
use xtask::release::Release;

use crate::clusterctl::{images, kinds};

/// The namespace that the files of `config/` have.
const DEFAULT: &str = "instar-system";

/// Where the user wants it.
const ELSEWHERE: &str = "elsewhere";

/// The image that the kustomizations have.
const IMAGE: &str = "image.repository=instar,image.tag=dev";

type Objects = BTreeMap<String, Value>;

/// Needs no cluster, only the programs that are built beside it.
pub(crate) async fn renders_what_kustomize_renders(scene: JourneyContext) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let helm = Helm::new(&scene, directory.path())?;
    let chart = package(directory.path(), "0.1.0")?;

    let default = helm.template(&chart, DEFAULT, &["--set", IMAGE]).await?;
    let mut wanted = kustomized(&scene, "default").await?;
    same(&default, &wanted);

    let own = format!("{IMAGE},certificates.mode=self-signed");
    let own = helm.template(&chart, DEFAULT, &["--set", &own]).await?;
    same(&own, &kustomized(&scene, "without-cert-manager").await?);

    let providers = providers()?;
    let listed = format!("providers={{{}}}", providers.join(","));
    let all = [
        "--set",
        IMAGE,
        "--set",
        &listed,
        "--set",
        "policies.enabled=true,workload.enabled=true",
        "--set",
        "metrics.podMonitor.enabled=true,metrics.rules.enabled=true,dashboard.enabled=true",
    ];
    for folder in ["policy", "workload", "monitoring"] {
        wanted.extend(kustomized(&scene, folder).await?);
    }
    for provider in &providers {
        wanted.extend(kustomized(&scene, &format!("providers/{provider}")).await?);
    }
    same(&helm.template(&chart, DEFAULT, &all).await?, &wanted);

    for (name, object) in helm.template(&chart, ELSEWHERE, &all).await? {
        assert!(!object.to_string().contains(DEFAULT), "{name} {object}");
    }
    provided_certificates(&helm, &chart).await?;
    switches(&helm, &chart).await?;
    for (wrong, why) in [
        ("image.tga=v1", "additional properties 'tga' not allowed"),
        ("providers={vsphare}", "value must be one of"),
        ("certificates.mode=provided", "minLength"),
        ("webhook.replicas=two", "got string, want integer"),
    ] {
        let refused = helm.run(&["template", "instar", &chart, "--set", wrong]).await;
        let refused = refused.err().with_context(|| format!("{wrong} was accepted"))?;
        assert!(refused.to_string().contains(why), "{refused}");
    }
    Ok(())
}

/// A Secret and an authority of the user's own, and nothing of cert-manager.
async fn provided_certificates(helm: &Helm, chart: &str) -> Result<()> {
    let own = "certificates.mode=provided,certificates.provided.secretName=own,certificates.provided.caBundle=Y2E=";
    let objects = helm.template(chart, ELSEWHERE, &["--set", own]).await?;
    let mut webhooks = 0;
    for (name, object) in &objects {
        assert!(!object.to_string().contains("cert-manager"), "{name}");
        for webhook in object["webhooks"].as_array().into_iter().flatten() {
            assert_eq!(webhook["clientConfig"]["caBundle"], "Y2E=", "{name}");
            webhooks += 1;
        }
    }
    assert!(webhooks > 20, "{webhooks}");
    let pod = |name: &str| &objects[&format!("Deployment {name}")]["spec"]["template"]["spec"];
    assert_eq!(pod("instar-webhook")["volumes"][0]["secret"]["secretName"], "own");
    let arguments = pod("instar-controller")["containers"][0]["args"].to_string();
    assert!(arguments.contains("--extension-ca-secret=own"), "{arguments}");
    Ok(())
}

/// What else a user can set of the Pods, and of what stands around them.
async fn switches(helm: &Helm, chart: &str) -> Result<()> {
    let set = [
        "crds.install=false,networkPolicies.enabled=false,webhook.replicas=1",
        "image.digest=sha256:0123,image.pullPolicy=Always,imagePullSecrets[0].name=pull",
        "priorityClass=,controller.extraArgs={--one,--two}",
    ]
    .join(",");
    let objects = helm.template(chart, ELSEWHERE, &["--set", &set]).await?;
    for name in objects.keys() {
        for kind in ["CustomResourceDefinition", "NetworkPolicy", "PodDisruptionBudget"] {
            assert!(!name.starts_with(kind), "{name}");
        }
    }
    let pod = &objects["Deployment instar-controller"]["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    assert_eq!(container["image"], "registry.example.org/instar@sha256:0123");
    assert_eq!(container["imagePullPolicy"], "Always");
    assert_eq!(pod["imagePullSecrets"], json!([{ "name": "pull" }]));
    assert_eq!(pod["priorityClassName"], Value::Null);
    let arguments = container["args"].to_string();
    assert!(arguments.ends_with(r#""--one","--two"]"#), "{arguments}");

    let egress = "webhook.egress[0].ports[0].port=6443";
    let objects = helm.template(chart, ELSEWHERE, &["--set", egress]).await?;
    let policy = |name: &str| objects[&format!("NetworkPolicy {name}")]["spec"].clone();
    assert_eq!(policy("instar-webhook")["policyTypes"], json!(["Ingress", "Egress"]));
    assert_eq!(
        policy("instar-webhook")["egress"],
        json!([{ "ports": [{ "port": 6443 }] }])
    );
    assert_eq!(policy("instar-controller")["policyTypes"], json!(["Ingress"]));
    Ok(())
}

/// Installed, upgraded from the version before, and taken away: first with the kinds and what is written of them left, then
/// with all of it gone.
pub(crate) async fn installs_upgrades_and_uninstalls(scene: JourneyContext) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let first = package(directory.path(), "0.1.0")?;
    let second = package(directory.path(), "0.1.1")?;
    let cluster = SecondCluster::start_with(&scene.mgmt, |_| false).await?;
    let client = cluster.client();
    cert_manager(&client).await?;
    let mut helm = Helm::new(&scene, directory.path())?;
    helm.kubeconfig = Some(cluster.kubeconfig());

    let providers = "providers={vsphere,docker}";
    let into = ["instar", &first, "--namespace", ELSEWHERE, "--create-namespace"];
    helm.run(&[&["install"], &into[..], &["--set", providers]].concat())
        .await?;
    let installed = images(&client, ELSEWHERE).await?;
    assert_eq!(installed.len(), 2, "{installed:?}");
    assert!(
        installed.values().all(|image| image.ends_with(":v0.1.0")),
        "{installed:?}"
    );
    let definitions = kinds(&client).await?;
    assert_eq!(definitions.len(), 3, "{definitions:?}");
    let written = policy(&client).await?;

    let upgrade = [
        "upgrade",
        "instar",
        &second,
        "--namespace",
        ELSEWHERE,
        "--reset-then-reuse-values",
    ];
    helm.run(&upgrade).await?;
    let upgraded = images(&client, ELSEWHERE).await?;
    assert!(
        upgraded.values().all(|image| image.ends_with(":v0.1.1")),
        "{upgraded:?}"
    );
    assert_eq!(kinds(&client).await?, definitions);
    let uninstall = ["uninstall", "instar", "--namespace", ELSEWHERE];
    helm.run(&uninstall).await?;
    assert_eq!(images(&client, ELSEWHERE).await?, BTreeMap::new());
    assert_eq!(kinds(&client).await?, definitions);
    let left = policies(&client).get("kept").await?;
    assert_eq!(left.uid(), written.uid());

    // What stayed is taken over by the same release.
    helm.run(&[&["install"], &into[..], &["--set", "crds.keep=false"]].concat())
        .await?;
    assert_eq!(kinds(&client).await?, definitions);
    helm.run(&[&uninstall[..], &["--wait"]].concat()).await?;
    assert_eq!(kinds(&client).await?, BTreeMap::new());
    say(format!(
        "Helm installed, upgraded and uninstalled the chart in {ELSEWHERE}"
    ));
    cluster.stop().await
}

fn policies(client: &Client) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk(instar_api::GROUP, "v1alpha1", "UpgradePolicy");
    Api::namespaced_with(
        client.clone(),
        "open",
        &ApiResource::from_gvk_with_plural(&kind, "upgradepolicies"),
    )
}

/// A policy in a namespace that has opted out: no server answers here.
async fn policy(client: &Client) -> Result<DynamicObject> {
    let namespace: Namespace = serde_json::from_value(json!({
        "metadata": { "name": "open", "labels": { "upgrade.cluster.x-k8s.io/admission": "disabled" } },
    }))?;
    let namespaces: Api<Namespace> = Api::all(client.clone());
    namespaces.create(&PostParams::default(), &namespace).await?;
    let policy = serde_json::from_value(json!({
        "apiVersion": format!("{}/v1alpha1", instar_api::GROUP),
        "kind": "UpgradePolicy",
        "metadata": { "name": "kept" },
        "spec": { "clusterSelector": {}, "rules": [{ "rule": "one-rollout", "enforcement": "Warn" }] },
    }))?;
    Ok(policies(client).create(&PostParams::default(), &policy).await?)
}

/// What is rendered of a release is in its files alone, so any program does.
fn package(directory: &Path, version: &str) -> Result<String> {
    let release = Release {
        version: version.parse()?,
        image: "registry.example.org/instar".to_owned(),
        provider: "instar".to_owned(),
        program: b"none".to_vec(),
        plugin: b"none".to_vec(),
        url: "https://registry.example.org/instar".to_owned(),
        epoch: 1_800_000_000,
    };
    let out = directory.join(version);
    release.write(&out)?;
    let package = out.join(format!("charts/instar-{version}.tgz"));
    Ok(package.display().to_string())
}

fn providers() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(xtask::root().join("config/providers"))? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// What kustomize renders, by kind and name, in the chart's form: the Namespace is Helm's to choose, and what is applied
/// beside `config/default` has the label of clusterctl too.
async fn kustomized(scene: &JourneyContext, folder: &str) -> Result<Objects> {
    let folder = xtask::root().join("config").join(folder);
    let mut objects = manifests::kustomize(scene.mgmt.built().program(manifests::RENDERER)?, &folder).await?;
    objects.retain(|object| manifests::kind(object) != "Namespace");
    for object in &mut objects {
        object["metadata"]["labels"]["cluster.x-k8s.io/provider"] = json!("runtime-extension-instar");
    }
    Ok(by_name(objects))
}

fn by_name(objects: Vec<Value>) -> Objects {
    let named = objects.into_iter().map(|object| {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        (format!("{} {name}", manifests::kind(&object)), object)
    });
    named.collect()
}

/// The same objects with the same content, but for the annotation by which Helm keeps a definition.
fn same(chart: &Objects, kustomize: &Objects) {
    const KEEP: &str = "helm.sh/resource-policy";
    for (name, wanted) in kustomize {
        let mut object = chart.get(name).cloned().unwrap_or_default();
        if let Some(metadata) = object["metadata"].as_object_mut()
            && let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut)
            && annotations.remove(KEEP) == Some(json!("keep"))
            && annotations.is_empty()
        {
            metadata.remove("annotations");
        }
        assert_eq!(&object, wanted, "{name}");
    }
    let names = |objects: &Objects| -> Vec<String> { objects.keys().cloned().collect() };
    assert_eq!(names(chart), names(kustomize));
}

struct Helm {
    program: PathBuf,
    home: PathBuf,
    kubeconfig: Option<PathBuf>,
}

impl Helm {
    fn new(scene: &JourneyContext, directory: &Path) -> Result<Self> {
        Ok(Self {
            program: scene.mgmt.built().program(Binary::Helm)?.to_owned(),
            home: directory.join("helm"),
            kubeconfig: None,
        })
    }

    /// What it prints.
    async fn run(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(&self.program);
        command.args(arguments).kill_on_drop(true);
        for variable in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
            command.env(variable, &self.home);
        }
        command.env(
            "KUBECONFIG",
            self.kubeconfig.as_deref().unwrap_or_else(|| Path::new("/dev/null")),
        );
        let output = command.output().await?;
        let told = String::from_utf8_lossy(&output.stderr);
        anyhow::ensure!(output.status.success(), "helm {}: {told}", arguments.join(" "));
        String::from_utf8(output.stdout).context("what helm prints")
    }

    async fn template(&self, chart: &str, namespace: &str, set: &[&str]) -> Result<Objects> {
        let arguments = [&["template", "instar", chart, "--namespace", namespace], set].concat();
        let text = self.run(&arguments).await?;
        Ok(by_name(manifests::documents(&text)?))
    }
}
