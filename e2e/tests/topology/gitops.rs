//! Tools that apply from Git: what Flux with `force: true`, and kubectl as Argo CD runs it, make of a refusal, of a commit that brings
//! its releases, and of a commit from before an upgrade. No object is ever deleted.

use std::{collections::BTreeMap, time::Duration};

use instar_e2e::{
    Result,
    support::{
        catalog::Rows,
        classic::{bootstrap_template, control_plane, deployment, machine_template},
        commands::{Force, Printed, flux_apply, kubectl},
        fixtures::{CLUSTER_CLASS, COMES_UP, TopologyCluster, wait_counted},
        journeys::JourneyContext,
        ledger::{Ledger, Pool},
        topology::{UPGRADE, apply_rows, assert_rolled, running, wire},
    },
    wait::wait_for,
};
use serde_json::{Value, json};

/// How long a Git tool may have to try again.
const CONVERGES: Duration = Duration::from_mins(3);

/// What the control plane that is only edited has.
const CORE_DNS: &str = "v1.12.0";

const CLUSTERS: &str = "clusters.cluster.x-k8s.io";
const CONTROL_PLANES: &str = "kubeadmcontrolplanes.controlplane.cluster.x-k8s.io";
const DEPLOYMENTS: &str = "machinedeployments.cluster.x-k8s.io";
const RELEASES: &str = "kubernetesreleases.upgrade.cluster.x-k8s.io";

pub(crate) async fn nothing_is_deleted(scene: JourneyContext) -> Result<()> {
    let rows = scene.rows()?;
    let git = Git {
        scene: &scene,
        rows: &rows,
    };
    git.flux_deletes_what_cluster_api_refuses().await?;
    git.prepare().await?;
    git.each_refusal_deletes_nothing().await?;
    git.one_commit_brings_releases_and_the_version().await
}

struct Git<'a> {
    scene: &'a JourneyContext,
    rows: &'a Rows,
}

impl Git<'_> {
    /// What this is about: without Instar, Flux deletes a control plane for an edit that Cluster API refuses.
    async fn flux_deletes_what_cluster_api_refuses(&self) -> Result<()> {
        let labels = BTreeMap::from([("upgrade.cluster.x-k8s.io/admission".to_owned(), "disabled".to_owned())]);
        let beside = self.scene.within(&self.scene.another_namespace(labels).await?);
        let alone = |minor| within(&beside, control_plane("alone", &self.rows.version(minor), 1));
        let applied = flux_apply(&beside, &[alone(33)], Force::Yes).await?;
        assert!(applied.succeeded, "{}", applied.stderr);
        let before = uid(&beside, CONTROL_PLANES, "alone").await?;
        let refused = flux_apply(&beside, &[alone(35)], Force::No).await?;
        says(&refused, "cannot update Kubernetes version");
        assert_eq!(uid(&beside, CONTROL_PLANES, "alone").await?, before, "without force");
        flux_apply(&beside, &[alone(35)], Force::Yes).await?;
        assert_ne!(
            uid(&beside, CONTROL_PLANES, "alone").await?,
            before,
            "Flux no longer deletes what is refused with 422, so this journey shows nothing"
        );
        Ok(())
    }

    /// The Cluster that is upgraded, and paused ones that are only edited.
    async fn prepare(&self) -> Result<()> {
        let known: Vec<Value> = [33, 34, 35].into_iter().map(|minor| self.rows.row(minor, 1)).collect();
        apply_rows(self.scene, &known[..1]).await?;
        self.scene.apply(CLUSTER_CLASS).await?;
        self.scene
            .apply(&wire(self.scene, CLUSTER_CLASS, &known).await?)
            .await?;
        let (named, bare) = (
            "kind: ClusterClass\nmetadata:\n  name: fixture",
            "kind: ClusterClass\nmetadata:\n  name: bare",
        );
        anyhow::ensure!(
            CLUSTER_CLASS.contains(named),
            "the class of the journeys has another name"
        );
        let documents = CLUSTER_CLASS.split("\n---\n");
        let class = documents
            .filter(|text| text.contains(named))
            .map(|text| text.replace(named, bare));
        self.scene.apply(&class.collect::<String>()).await?;

        let mut objects = vec![self.cluster(33), self.bare(&self.rows.version(33))];
        objects.extend([
            machine_template("cp", "1s"),
            machine_template("md-k", "1s"),
            bootstrap_template("md-k"),
            Self::classic(),
            self.control_plane(&self.rows.version(33), CORE_DNS),
            self.deployment(&self.rows.version(33)),
        ]);
        let objects: Vec<Value> = objects.into_iter().map(|object| within(self.scene, object)).collect();
        self.flux_until_it_converges(&objects).await
    }

    fn topology() -> TopologyCluster<'static> {
        TopologyCluster {
            name: "c",
            version: "",
            control_planes: 1,
            workers: &[("md-0", 1)],
        }
    }

    fn cluster(&self, minor: u8) -> Value {
        let version = self.rows.version(minor);
        let cluster = TopologyCluster {
            version: &version,
            ..Self::topology()
        };
        within(self.scene, cluster.object())
    }

    fn bare(&self, version: &str) -> Value {
        let mut cluster = TopologyCluster {
            name: "bare",
            version,
            ..Self::topology()
        }
        .object();
        cluster["spec"]["paused"] = json!(true);
        cluster["spec"]["topology"]["classRef"]["name"] = json!("bare");
        within(self.scene, cluster)
    }

    fn classic() -> Value {
        json!({
            "apiVersion": "cluster.x-k8s.io/v1beta2",
            "kind": "Cluster",
            "metadata": { "name": "k" },
            "spec": {
                "paused": true,
                "controlPlaneRef": { "apiGroup": "controlplane.cluster.x-k8s.io", "kind": "KubeadmControlPlane", "name": "k" },
                "infrastructureRef": { "apiGroup": "infrastructure.cluster.x-k8s.io", "kind": "DevCluster", "name": "k" },
            },
        })
    }

    fn control_plane(&self, version: &str, core_dns: &str) -> Value {
        let mut object = control_plane("k", version, 1);
        object["metadata"]["labels"] = json!({ "cluster.x-k8s.io/cluster-name": "k" });
        object["spec"]["kubeadmConfigSpec"]["clusterConfiguration"]["dns"]["imageTag"] = json!(core_dns);
        within(self.scene, object)
    }

    fn deployment(&self, version: &str) -> Value {
        within(self.scene, deployment("k", "md-k", "md-k", version, 1))
    }

    /// Flux applies a commit again at each interval.
    async fn flux_until_it_converges(&self, commit: &[Value]) -> Result<()> {
        wait_for("Flux to apply the commit", CONVERGES, || async {
            let printed = flux_apply(self.scene, commit, Force::Yes).await?;
            if printed.succeeded {
                Ok(())
            } else {
                Err(printed.stderr.into())
            }
        })
        .await
    }

    async fn each_refusal_deletes_nothing(&self) -> Result<()> {
        let mut row = self.rows.row(33, 1);
        row["spec"]["machineImages"][1]["values"][0]["value"] = json!("0.9s");
        let older = self.rows.version(33).replace("v1.33.", "v1.32.");
        let skipped = self.rows.version(35);
        let table = [
            (CLUSTERS, "c", self.cluster(36), "release-in-catalog"),
            (CLUSTERS, "bare", self.bare(&older), "no-downgrade"),
            (CLUSTERS, "bare", self.bare(&skipped), "path"),
            (CLUSTERS, "bare", self.bare("v1.34.x"), "version-readable"),
            (
                CONTROL_PLANES,
                "k",
                self.control_plane(&skipped, CORE_DNS),
                "api-servers-together",
            ),
            (
                CONTROL_PLANES,
                "k",
                self.control_plane("v1.34", CORE_DNS),
                "version-readable",
            ),
            (
                CONTROL_PLANES,
                "k",
                self.control_plane(&self.rows.version(33), "v1.11.3"),
                "core-dns-step",
            ),
            (DEPLOYMENTS, "md-k", self.deployment("v1.33,9"), "version-readable"),
            (RELEASES, &self.rows.name(33, 1), row, "release-spec"),
        ];
        for (kind, name, edited, rule) in table {
            let before = uid(self.scene, kind, name).await?;
            let refused = flux_apply(self.scene, &[edited], Force::Yes).await?;
            assert!(
                !refused.succeeded,
                "{kind} {name}: {rule} did not refuse: {}",
                refused.stdout
            );
            says(&refused, &format!("[rule {rule}]"));
            says(&refused, "(Forbidden)");
            assert_eq!(
                uid(self.scene, kind, name).await?,
                before,
                "{kind} {name} was made again for {rule}"
            );
        }
        Ok(())
    }

    /// A commit has a new release and the Cluster at it: one for Flux, the next for Argo CD. Then an older one comes back.
    async fn one_commit_brings_releases_and_the_version(&self) -> Result<()> {
        let [first, second, last] = [33, 34, 35].map(|minor| self.rows.version(minor));
        let at = |version| TopologyCluster {
            version,
            ..Self::topology()
        };
        running(self.scene, &at(&first), COMES_UP).await?;
        wait_counted(&self.scene.mgmt, &self.scene.namespace, "c", COMES_UP).await?;
        let before = uid(self.scene, CLUSTERS, "c").await?;
        let ledger = Ledger::start(&self.scene.mgmt.client(), &self.scene.namespace).await?;

        let commit = [self.rows.row(34, 1), self.cluster(34)];
        self.flux_until_it_converges(&commit).await?;
        // While it goes on, and when it is done.
        self.the_older_commit_is_refused(&before).await?;
        running(self.scene, &at(&second), UPGRADE).await?;
        self.the_older_commit_is_refused(&before).await?;
        self.flux_until_it_converges(&commit).await?;

        self.argo_syncs(&[&self.rows.row(35, 1), &self.cluster(35)]).await?;
        running(self.scene, &at(&last), UPGRADE).await?;
        self.the_older_commit_is_refused(&before).await?;

        ledger.caught_up().await?;
        let versions = [(33, Some(1)), (34, Some(1)), (35, Some(1))];
        assert_rolled(&ledger, "c", self.rows, &Pool::ControlPlane, 1, &versions)?;
        let workers = Pool::Workers("md-0".to_owned());
        assert_rolled(&ledger, "c", self.rows, &workers, 1, &versions)
    }

    /// Argo CD dries a whole sync run with the client first, where nothing is refused for what isn't there yet. Then
    /// it applies wave after wave, here each of one object, and syncs again if one fails.
    async fn argo_syncs(&self, waves: &[&Value]) -> Result<()> {
        for object in waves {
            let dry = apply(self.scene, &["apply", "--dry-run=client"], object).await?;
            assert!(dry.succeeded, "{}", dry.stderr);
        }
        wait_for("Argo CD's waves to be applied", CONVERGES, || async {
            for object in waves {
                let applied = apply(self.scene, &["apply"], object).await?;
                if !applied.succeeded {
                    return Err(applied.stderr.into());
                }
            }
            Ok(())
        })
        .await
    }

    async fn the_older_commit_is_refused(&self, before: &str) -> Result<()> {
        let older = self.cluster(33);
        let flux = flux_apply(self.scene, std::slice::from_ref(&older), Force::Yes).await?;
        // Argo CD looks at the difference first, and applies with `--force` where an Application says `Force=true`.
        let dry = apply(self.scene, &["apply", "--dry-run=client"], &older).await?;
        assert!(dry.succeeded, "{}", dry.stderr);
        let argo = apply(self.scene, &["apply", "--force"], &older).await?;
        for refused in [flux, argo] {
            assert!(!refused.succeeded, "an older version was taken: {}", refused.stdout);
            says(&refused, "[rule no-downgrade]");
        }
        assert_eq!(
            uid(self.scene, CLUSTERS, "c").await?,
            before,
            "the Cluster was made again"
        );
        Ok(())
    }
}

/// As a Git tool has it: with its namespace.
fn within(scene: &JourneyContext, mut object: Value) -> Value {
    object["metadata"]["namespace"] = json!(scene.namespace);
    object
}

async fn apply(scene: &JourneyContext, options: &[&str], object: &Value) -> Result<Printed> {
    let arguments: Vec<&str> = options.iter().copied().chain(["-f", "-"]).collect();
    kubectl(scene, &arguments, &object.to_string()).await
}

async fn uid(scene: &JourneyContext, kind: &str, name: &str) -> Result<String> {
    let printed = kubectl(scene, &["get", kind, name, "-o", "jsonpath={.metadata.uid}"], "").await?;
    anyhow::ensure!(printed.succeeded, "{}", printed.stderr);
    Ok(printed.stdout)
}

fn says(printed: &Printed, part: &str) {
    assert!(printed.stderr.contains(part), "{part:?} is not in: {}", printed.stderr);
}
