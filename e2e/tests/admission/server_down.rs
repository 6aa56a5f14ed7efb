//! With the server stopped, slow, behind a certificate that nobody trusts, or told to trust nobody who
//! asks: exactly the guarded edits are refused, and nothing else, through each version that is served.

mod edit;

use std::path::Path;

use futures::future::join_all;
use instar_e2e::{
    Context, Result,
    certificates::Certificates,
    components::Component,
    instar::shipped,
    kubeconfig::client_as,
    procfs::Identity,
    progress::say,
    support::{
        catalog::Rows,
        classic::machine_template,
        fixtures::{CLUSTER_CLASS, TopologyCluster},
        journeys::JourneyContext,
        topology::{apply_rows, apply_wired},
    },
};
use kube::Client;
use rustix::process::Signal;
use serde_json::{Value, json};

use self::edit::{
    BOOTSTRAP, CLASS, CLUSTER, CONFIG_MAP, CONFIG_TEMPLATE, CONTROL_PLANE, DEPLOYMENT, Edit, How, Kind, MACHINE,
    POLICY, POOL, RELEASE, SET, TEMPLATE, UPGRADE,
};

const CAPI_MANAGER: &str = "system:serviceaccount:capi-system:capi-manager";

/// Instar's controller, in a namespace that an installer has chosen.
const INSTAR: &str = "system:serviceaccount:elsewhere:instar-controller";

/// Who may edit pools in one namespace, and nothing else.
const TEAM: &str = "journey-team";

/// What is wrong with the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    /// It isn't there.
    Stopped,
    /// It takes connections, and never answers.
    Slow,
    /// Its certificate is of an authority that the API server wasn't told of.
    BadCertificate,
    /// It answers clients of an authority only, which the API server's certificate isn't of.
    ForeignClient,
}

const ALL: [Trouble; 4] = [
    Trouble::Stopped,
    Trouble::Slow,
    Trouble::BadCertificate,
    Trouble::ForeignClient,
];

pub(crate) async fn exactly_the_guarded_edits(scene: JourneyContext) -> Result<()> {
    let rows = scene.rows()?;
    apply_rows(&scene, &rows.all()).await?;
    apply_wired(&scene, CLUSTER_CLASS, &rows.all()).await?;
    let world = World {
        scene: &scene,
        rows: &rows,
        controller: client_as(&scene.mgmt.run().kubeconfig(), CAPI_MANAGER, "system:masters").await?,
        instar: client_as(&scene.mgmt.run().kubeconfig(), INSTAR, "system:masters").await?,
        forger: client_as(&scene.mgmt.run().kubeconfig(), INSTAR, TEAM).await?,
    };
    world.create().await?;
    for trouble in ALL {
        let guarded = world.guarded();
        let free = world.free();
        begin(&scene, trouble).await?;
        let result = async {
            let refused = join_all(guarded.iter().map(Edit::refused)).await;
            refused.into_iter().collect::<Result<Vec<_>>>()?;
            for edit in &free {
                edit.passes()
                    .await
                    .with_context(|| format!("with the server {trouble:?}"))?;
            }
            let again = scene.mgmt.apply_instar(&shipped()).await;
            again.context("applying all that we ship once more")
        }
        .await;
        end(&scene, trouble).await?;
        result.with_context(|| format!("with the server {trouble:?}"))?;
        say(format!(
            "server {trouble:?}: {} guarded edits refused, {} others passed, all that we ship applied again",
            guarded.len(),
            free.len()
        ));
    }
    // Nothing of it stays: the same edits get their verdicts again, also where the API server has to show
    // that it is the one who asks.
    let authority = scene.mgmt.certificates().authority_file();
    world.is_judged().await?;
    for clients in [Some(authority.as_path()), None] {
        ask_for_certificates(&scene, clients).await?;
        world.is_judged().await?;
    }
    Ok(())
}

async fn begin(scene: &JourneyContext, trouble: Trouble) -> Result<()> {
    match trouble {
        Trouble::Stopped => scene.mgmt.webhook().stop().await,
        Trouble::Slow => signal(scene, Signal::STOP).await,
        Trouble::BadCertificate => {
            let other = tempfile::tempdir()?;
            let other = Certificates::create(other.path())?;
            serve(scene, &other).await
        }
        Trouble::ForeignClient => {
            let other = tempfile::tempdir()?;
            let authority = Certificates::create(other.path())?.authority_file();
            ask_for_certificates(scene, Some(&authority)).await
        }
    }
}

async fn end(scene: &JourneyContext, trouble: Trouble) -> Result<()> {
    match trouble {
        Trouble::Stopped => scene.mgmt.webhook().start().await,
        Trouble::Slow => signal(scene, Signal::CONT).await,
        Trouble::BadCertificate => serve(scene, scene.mgmt.certificates()).await,
        Trouble::ForeignClient => ask_for_certificates(scene, None).await,
    }
}

async fn signal(scene: &JourneyContext, signal: Signal) -> Result<()> {
    let pid = scene.mgmt.pid(Component::InstarWebhook).await.context("the server")?;
    Identity::of(pid).context("the server's process")?.signal(signal)
}

/// Lets the server begin anew with a certificate of an authority. Connections that the API server has
/// already made are as good as they were, so a certificate that changes beneath them says nothing.
async fn serve(scene: &JourneyContext, authority: &Certificates) -> Result<()> {
    let pair = authority.issue_server("instar")?;
    pair.write(&scene.mgmt.run().instar_certs())?;
    scene.mgmt.webhook().restart().await
}

/// Lets the server begin anew, with an authority that signs who may ask it.
async fn ask_for_certificates(scene: &JourneyContext, authority: Option<&Path>) -> Result<()> {
    scene.mgmt.webhook().with_client_ca(authority).await?;
    scene.mgmt.webhook().restart().await
}

struct World<'a> {
    scene: &'a JourneyContext,
    rows: &'a Rows,
    controller: Client,
    /// It has the rights of Instar's controller, among others.
    instar: Client,
    /// It has the name of Instar's controller, and the rights of a team.
    forger: Client,
}

impl World<'_> {
    /// A paused classic Cluster with one object of each kind, and a paused topology Cluster.
    async fn create(&self) -> Result<()> {
        let scene = self.scene;
        scene
            .apply_object(machine_template("t", &self.rows.image(33, 1)))
            .await?;
        scene.apply_object(config_template("t")).await?;
        scene
            .apply_object(json!({
                "apiVersion": "infrastructure.cluster.x-k8s.io/v1beta2", "kind": "DevCluster",
                "metadata": { "name": "c" }, "spec": { "backend": { "inMemory": {} } },
            }))
            .await?;
        scene
            .apply_object(json!({
                "apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Cluster", "metadata": { "name": "c" },
                "spec": {
                    "paused": true,
                    "controlPlaneRef": { "apiGroup": CONTROL_PLANE.group, "kind": CONTROL_PLANE.kind, "name": "c" },
                    "infrastructureRef": { "apiGroup": TEMPLATE.group, "kind": "DevCluster", "name": "c" },
                },
            }))
            .await?;
        scene.apply_object(self.control_plane()).await?;
        let mut deployment = self.set("md");
        deployment["kind"] = json!(DEPLOYMENT.kind);
        scene.apply_object(deployment).await?;
        let mut topology = TopologyCluster {
            name: "topology",
            version: &self.rows.version(33),
            control_planes: 1,
            workers: &[("md-0", 1)],
        }
        .object();
        topology["spec"]["paused"] = json!(true);
        scene.apply_object(topology).await?;
        let group = "rbac.authorization.k8s.io";
        scene
            .apply_object(json!({
                "apiVersion": format!("{group}/v1"), "kind": "Role", "metadata": { "name": TEAM },
                "rules": [{
                    "apiGroups": [DEPLOYMENT.group], "resources": ["machinedeployments"],
                    "verbs": ["get", "patch"],
                }],
            }))
            .await?;
        scene
            .apply_object(json!({
                "apiVersion": format!("{group}/v1"), "kind": "RoleBinding", "metadata": { "name": TEAM },
                "roleRef": { "apiGroup": group, "kind": "Role", "name": TEAM },
                "subjects": [{ "apiGroup": group, "kind": "Group", "name": TEAM }],
            }))
            .await?;
        Ok(())
    }

    fn control_plane(&self) -> Value {
        json!({
            "apiVersion": "controlplane.cluster.x-k8s.io/v1beta2",
            "kind": "KubeadmControlPlane",
            "metadata": { "name": "c", "labels": { "cluster.x-k8s.io/cluster-name": "c" } },
            "spec": {
                "replicas": 1,
                "version": self.rows.version(33),
                "machineTemplate": { "spec": { "infrastructureRef": reference("t") } },
                "kubeadmConfigSpec": { "clusterConfiguration": {
                    "etcd": { "local": { "imageTag": "3.5.26-0" } },
                    "dns": { "imageTag": "v1.12.0" },
                } },
            },
        })
    }

    /// A MachineSet, from which the other kinds are made.
    fn set(&self, name: &str) -> Value {
        json!({
            "apiVersion": "cluster.x-k8s.io/v1beta2",
            "kind": "MachineSet",
            "metadata": { "name": name, "labels": { "cluster.x-k8s.io/cluster-name": "c" } },
            "spec": {
                "clusterName": "c",
                "replicas": 0,
                "selector": { "matchLabels": { "set": name } },
                "template": { "metadata": { "labels": { "set": name } }, "spec": self.machine() },
            },
        })
    }

    fn machine(&self) -> Value {
        json!({
            "clusterName": "c",
            "version": self.rows.version(33),
            "bootstrap": { "configRef": { "apiGroup": BOOTSTRAP, "kind": "KubeadmConfigTemplate", "name": "t" } },
            "infrastructureRef": reference("t"),
        })
    }

    fn edit(&self, what: &'static str, kind: Kind, how: How) -> Edit {
        let is_global = kind.kind == RELEASE.kind;
        Edit {
            what,
            kind,
            namespace: (!is_global).then(|| self.scene.namespace.clone()),
            how,
            client: self.scene.mgmt.client(),
        }
    }

    /// One edit for each webhook and each change that it is for, in each version in which it is served.
    fn guarded(&self) -> Vec<Edit> {
        in_both_versions(self.stored())
    }

    fn stored(&self) -> Vec<Edit> {
        let next = self.rows.version(34);
        let topology = |name: &str| {
            TopologyCluster {
                name,
                version: &next,
                control_planes: 1,
                workers: &[("md-0", 1)],
            }
            .object()
        };
        let machines = |patch: Value| json!({ "spec": { "template": { "spec": patch } } });
        let mut machine = json!({ "metadata": { "name": "m" }, "spec": self.machine() });
        machine["spec"]["bootstrap"] = json!({ "dataSecretName": "none" });
        machine["spec"]["infrastructureRef"]["kind"] = json!("DevMachine");
        let mut pool = json!({ "metadata": { "name": "p" }, "spec": { "clusterName": "c", "replicas": 0, "template": { "spec": self.machine() } } });
        pool["spec"]["template"]["spec"]["bootstrap"] = json!({ "dataSecretName": "none" });
        pool["spec"]["template"]["spec"]["infrastructureRef"]["kind"] = json!("DevMachinePool");
        let version = json!({ "spec": { "version": next } });
        let etcd = json!({ "spec": { "kubeadmConfigSpec": { "clusterConfiguration": { "etcd": { "local": { "imageTag": "3.5.27-0" } } } } } });
        // In v1beta1 it is a field of the machine template itself; each version drops what it doesn't know.
        let name = json!({ "name": "t2" });
        let elsewhere = json!({ "spec": { "machineTemplate": { "spec": { "infrastructureRef": name }, "infrastructureRef": name } } });
        let row = self.rows.row(33, 9);
        vec![
            self.edit("a Cluster's version", CLUSTER, How::Merge("topology", json!({ "spec": { "topology": { "version": next } } }))),
            self.edit("a Cluster's pools", CLUSTER, How::Merge("topology", json!({ "spec": { "topology": { "workers": { "machineDeployments": [{ "class": "default-worker", "name": "md-1", "replicas": 1 }] } } } }))),
            self.edit("a Cluster's pins", CLUSTER, How::Merge("topology", json!({ "metadata": { "annotations": { "upgrade.cluster.x-k8s.io/releases": null } } }))),
            self.edit("a topology Cluster's creation", CLUSTER, How::Create(topology("new"))),
            self.edit("a control plane's version", CONTROL_PLANE, How::Merge("c", version)),
            self.edit("a control plane's etcd", CONTROL_PLANE, How::Merge("c", etcd)),
            self.edit("a control plane's template", CONTROL_PLANE, How::Merge("c", elsewhere)),
            self.edit("a pool's version", DEPLOYMENT, How::Merge("md", machines(json!({ "version": next })))),
            Edit {
                client: self.forger.clone(),
                ..self.edit("a pool's version, by the name of Instar's controller", DEPLOYMENT, How::Merge("md", machines(json!({ "version": next }))))
            },
            self.edit("a pool's template", DEPLOYMENT, How::Merge("md", machines(json!({ "infrastructureRef": { "name": "t2" } })))),
            self.edit("a pool's creation", DEPLOYMENT, How::Create(self.set("new"))),
            self.edit("a MachineSet's creation", SET, How::Create(self.set("new"))),
            self.edit("a MachinePool's creation", POOL, How::Create(pool)),
            self.edit("a Machine's creation", MACHINE, How::Create(machine)),
            self.edit("a class' patches", CLASS, How::Merge("fixture", json!({ "spec": { "patches": null } }))),
            // The provider refuses another spec by itself, whoever is there.
            self.edit("a template's metadata", TEMPLATE, How::Merge("t", json!({ "spec": { "template": { "metadata": { "labels": { "a": "b" } } } } }))),
            self.edit("a template's deletion", TEMPLATE, How::Delete("t".to_owned())),
            self.edit("a bootstrap template's spec", CONFIG_TEMPLATE, How::Merge("t", json!({ "spec": { "template": { "spec": { "verbosity": 3 } } } }))),
            self.edit("a bootstrap template's deletion", CONFIG_TEMPLATE, How::Delete("t".to_owned())),
            self.edit("a release's creation", RELEASE, How::Create(row)),
            self.edit("a release's deletion", RELEASE, How::Delete(self.rows.name(36, 1))),
            self.edit("an upgrade's creation", UPGRADE, How::Create(json!({ "metadata": { "name": "u" }, "spec": { "clusterName": "c", "target": next } }))),
            self.edit("a policy's creation", POLICY, How::Create(json!({ "metadata": { "name": "p" }, "spec": {} }))),
        ]
    }

    /// Every guarded edit gets a verdict, and the same one in each version.
    async fn is_judged(&self) -> Result<()> {
        let mut refused = 0;
        for edit in self.stored() {
            let verdict = edit.verdict().await?;
            let Some(older) = edit.through_v1beta1() else { continue };
            assert_eq!(older.verdict().await?, verdict, "{}", older.name());
            refused += usize::from(verdict.is_some());
        }
        assert!(refused > 1, "{refused} refusals are too few to compare");
        Ok(())
    }

    /// Edits of the same objects that nothing guards, and objects that are nobody's business.
    fn free(&self) -> Vec<Edit> {
        in_both_versions(self.unguarded())
    }

    fn unguarded(&self) -> Vec<Edit> {
        let labels = |name| {
            How::Merge(
                name,
                json!({ "metadata": { "labels": { "journey.example.org/label": "yes" } } }),
            )
        };
        let in_namespace = |namespace: &str, edit: Edit| Edit {
            namespace: Some(namespace.to_owned()),
            ..edit
        };
        let by_controller = |edit: Edit| Edit {
            client: self.controller.clone(),
            ..edit
        };
        let mut owned = self.set("owned");
        owned["metadata"]["labels"]["cluster.x-k8s.io/deployment-name"] = json!("md");
        let pool = json!({ "apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "MachineDeployment", "name": "md", "uid": "x", "controller": true });
        owned["metadata"]["ownerReferences"] = json!([pool]);
        let classic = json!({ "metadata": { "name": "new" }, "spec": {
            "controlPlaneRef": { "apiGroup": CONTROL_PLANE.group, "kind": CONTROL_PLANE.kind, "name": "new" },
            "infrastructureRef": { "apiGroup": TEMPLATE.group, "kind": "DevCluster", "name": "new" },
        } });
        let size = |name, replicas: u32| How::Merge(name, json!({ "spec": { "replicas": replicas } }));
        let config_map = || json!({ "metadata": { "name": "journey" }, "data": { "a": "b" } });
        vec![
            self.edit("a Cluster's labels", CLUSTER, labels("topology")),
            self.edit(
                "a Cluster's size",
                CLUSTER,
                How::Merge(
                    "topology",
                    json!({ "spec": { "topology": { "controlPlane": { "replicas": 3 } } } }),
                ),
            ),
            self.edit(
                "a Cluster's pause",
                CLUSTER,
                How::Merge("topology", json!({ "spec": { "paused": false } })),
            ),
            self.edit("a classic Cluster's creation", CLUSTER, How::Create(classic)),
            self.edit("a Cluster's deletion", CLUSTER, How::Delete("c".to_owned())),
            self.edit("a control plane's size", CONTROL_PLANE, size("c", 3)),
            self.edit("a control plane's labels", CONTROL_PLANE, labels("c")),
            self.edit("a control plane's deletion", CONTROL_PLANE, How::Delete("c".to_owned())),
            self.edit("a pool's size", DEPLOYMENT, size("md", 1)),
            self.edit("a pool's labels", DEPLOYMENT, labels("md")),
            self.edit("a pool's deletion", DEPLOYMENT, How::Delete("md".to_owned())),
            by_controller(self.edit("a MachineSet of a pool", SET, How::Create(owned))),
            self.edit("a class' labels", CLASS, labels("fixture")),
            self.edit("a template's labels", TEMPLATE, labels("t")),
            self.edit(
                "a template's creation",
                TEMPLATE,
                How::Create(machine_template("new", "1s")),
            ),
            self.edit(
                "a bootstrap template's creation",
                CONFIG_TEMPLATE,
                How::Create(config_template("new")),
            ),
            in_namespace(
                "kube-system",
                self.edit("a pool in kube-system", DEPLOYMENT, How::Create(self.set("md"))),
            ),
            Edit {
                client: self.instar.clone(),
                ..self.edit(
                    "a pool's creation by Instar's controller",
                    DEPLOYMENT,
                    How::Create(self.set("by-instar")),
                )
            },
            in_namespace(
                "instar-system",
                self.edit(
                    "a ConfigMap in our own namespace",
                    CONFIG_MAP,
                    How::Create(config_map()),
                ),
            ),
            in_namespace(
                "kube-system",
                self.edit(
                    "a policy in kube-system",
                    POLICY,
                    How::Create(json!({ "metadata": { "name": "p" }, "spec": {} })),
                ),
            ),
            self.edit("a ConfigMap", CONFIG_MAP, How::Create(config_map())),
            in_namespace(
                "kube-system",
                self.edit("a ConfigMap in kube-system", CONFIG_MAP, How::Create(config_map())),
            ),
        ]
    }
}

fn in_both_versions(edits: Vec<Edit>) -> Vec<Edit> {
    let older: Vec<Edit> = edits.iter().filter_map(Edit::through_v1beta1).collect();
    edits.into_iter().chain(older).collect()
}

fn reference(name: &str) -> Value {
    json!({ "apiGroup": TEMPLATE.group, "kind": TEMPLATE.kind, "name": name })
}

fn config_template(name: &str) -> Value {
    json!({
        "apiVersion": "bootstrap.cluster.x-k8s.io/v1beta2",
        "kind": "KubeadmConfigTemplate",
        "metadata": { "name": name },
        "spec": { "template": { "spec": { "verbosity": 2 } } },
    })
}
