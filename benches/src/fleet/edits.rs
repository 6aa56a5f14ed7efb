//! What admission answers among many topology Clusters of one ClusterClass: edits of the class, which every Cluster's pins
//! are held against, and many edits of versions at once.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use futures::{StreamExt, TryStreamExt, future, stream};
use instar_capi::Cluster;
use instar_e2e::{
    Context, Result,
    instar::{program, shipped},
    mgmt::Mgmt,
    progress::say,
    support::{
        catalog::Rows,
        fixtures::{CLUSTER_CLASS, core_kind},
    },
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
    core::DynamicObject,
};
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, process::Command};

use super::{
    measure::{Program, started},
    objects::{CLUSTER, CONTROL_PLANE, Running, WRITERS, create},
    print_row,
};

const NAMESPACE: &str = "topology";

/// How many edit versions at once, and how long.
const EDITORS: usize = 8;
const FLOOD: Duration = Duration::from_secs(30);

/// How often the class is edited alone.
const CLASS_EDITS: usize = 20;

/// How long the API server waited for each of our webhooks, as its own histogram has it.
const WAITED: &str = "apiserver_admission_webhook_admission_duration_seconds";

/// Beyond this a verdict is late, in seconds: a bound of that histogram.
const LATE: &str = "0.1";

/// Writes topology Clusters of one wired class, and edits them and the class as dry runs: nothing of it stays.
pub(crate) async fn measure(mgmt: &Mgmt, rows: &Rows, clusters: usize, classic: usize) -> Result<()> {
    for program in Program::ALL {
        program.stop(mgmt).await?;
    }
    let class = wired_class(mgmt, rows).await?;
    write(mgmt.client(), rows, clusters).await?;
    let row = started(mgmt, Program::Webhook).await?;
    print_row(clusters, Program::Webhook, &row, classic + 2 * clusters);
    // Now edits are asked of it.
    mgmt.apply_instar(&shipped()).await?;
    let classes = Classes {
        api: Api::namespaced_with(mgmt.client(), NAMESPACE, &core_kind("ClusterClass", "clusterclasses")),
        class,
    };
    let mut alone = Times::default();
    let before = waited(&mgmt.client()).await?;
    for _ in 0..CLASS_EDITS {
        classes.edit(&mut alone).await?;
    }
    alone.print("the class, nothing else");
    let between = waited(&mgmt.client()).await?;
    print_waited(&before, &between);
    flood(mgmt, rows, clusters, &classes).await?;
    print_waited(&between, &waited(&mgmt.client()).await?);
    let memory = instar_benches::process::memory(Program::Webhook.pid(mgmt).await?)?;
    println!(
        "{:>19} webhook after it: {:.1} MiB, peak {:.1}",
        "", memory.now, memory.peak
    );
    Ok(())
}

async fn flood(mgmt: &Mgmt, rows: &Rows, clusters: usize, classes: &Classes) -> Result<()> {
    let (ended, next) = (AtomicBool::new(false), AtomicUsize::new(0));
    let target = rows.version(34);
    let editors = future::try_join_all((0..EDITORS).map(|_| async {
        let api: Api<Cluster> = Api::namespaced(mgmt.client(), NAMESPACE);
        let mut times = Times::default();
        while !ended.load(Ordering::Relaxed) {
            let name = name(next.fetch_add(1, Ordering::Relaxed) % clusters);
            let patch = Patch::Merge(json!({ "spec": { "topology": { "version": target } } }));
            let began = Instant::now();
            api.patch(&name, &dry_run(), &patch)
                .await
                .context("an edit of a version")?;
            times.0.push(began.elapsed());
        }
        Ok::<_, anyhow::Error>(times)
    }));
    let class = async {
        let (mut times, began) = (Times::default(), Instant::now());
        let mut edited = Ok(());
        while began.elapsed() < FLOOD && edited.is_ok() {
            edited = classes.edit(&mut times).await;
        }
        ended.store(true, Ordering::Relaxed);
        edited.map(|()| times)
    };
    let (editors, class) = future::try_join(editors, class).await?;
    class.print("the class, beside them");
    let versions = Times(editors.into_iter().flat_map(|times| times.0).collect());
    versions.print(&format!("versions, {EDITORS} at once"));
    Ok(())
}

/// The class, and what is edited in it.
struct Classes {
    api: Api<DynamicObject>,
    class: Value,
}

impl Classes {
    /// One edit that passes, and one that is refused: a patch of the wiring is missing.
    async fn edit(&self, times: &mut Times) -> Result<()> {
        let patches = self.class["spec"]["patches"].as_array().context("no patches")?;
        let mut more = patches.clone();
        more.push(json!({ "name": "more", "definitions": [{
            "selector": {
                "apiVersion": "controlplane.cluster.x-k8s.io/v1beta2",
                "kind": "KubeadmControlPlaneTemplate",
                "matchResources": { "controlPlane": true },
            },
            "jsonPatches": [{ "op": "add", "path": "/spec/template/spec/rollout", "value": {} }],
        }] }));
        self.patch(&more, times).await.context("a patch more in the class")?;
        let fewer = patches.get(1..).unwrap_or_default();
        match self.patch(fewer, times).await {
            Ok(()) => anyhow::bail!("a class without a patch of its wiring was accepted"),
            Err(kube::Error::Api(status)) if status.code == 403 => Ok(()),
            Err(error) => Err(error).context("a patch fewer in the class"),
        }
    }

    async fn patch(&self, patches: &[Value], times: &mut Times) -> Result<(), kube::Error> {
        let name = self.class["metadata"]["name"].as_str().unwrap_or_default();
        let patch = Patch::Merge(json!({ "spec": { "patches": patches } }));
        let began = Instant::now();
        let answer = self.api.patch(name, &dry_run(), &patch).await;
        times.0.push(began.elapsed());
        answer.map(|_| ())
    }
}

fn dry_run() -> PatchParams {
    PatchParams {
        dry_run: true,
        ..PatchParams::default()
    }
}

/// What the client waited for each edit.
#[derive(Default)]
struct Times(Vec<Duration>);

impl Times {
    fn print(&self, what: &str) {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let at = |part: usize| {
            let time = sorted.get(sorted.len().saturating_sub(1) * part / 100);
            time.map_or(0.0, |time| time.as_secs_f64() * 1000.0)
        };
        println!(
            "{:>19} edits of {what}: {} asked, median {:.1} ms, 99 % {:.1}, longest {:.1}",
            "",
            sorted.len(),
            at(50),
            at(99),
            at(100)
        );
    }
}

/// Of each webhook of ours: calls, seconds, and calls within [`LATE`].
async fn waited(client: &Client) -> Result<BTreeMap<String, [f64; 3]>> {
    let page = client
        .request_text(http::Request::get("/metrics").body(Vec::new())?)
        .await?;
    let mut webhooks = BTreeMap::<String, [f64; 3]>::new();
    for line in page.lines().filter_map(|line| line.strip_prefix(WAITED)) {
        let Some((series, value)) = line.rsplit_once(' ') else {
            continue;
        };
        let label = |name: &str| {
            let (_, rest) = series.split_once(&format!("{name}=\""))?;
            rest.split_once('"').map(|(value, _)| value.to_owned())
        };
        let Some(name) = label("name").filter(|name| name.ends_with("upgrade.cluster.x-k8s.io")) else {
            continue;
        };
        let figure = if series.starts_with("_count") {
            0
        } else if series.starts_with("_sum") {
            1
        } else if label("le").as_deref() == Some(LATE) {
            2
        } else {
            continue;
        };
        webhooks.entry(name).or_default()[figure] += value.parse::<f64>()?;
    }
    Ok(webhooks)
}

fn print_waited(before: &BTreeMap<String, [f64; 3]>, after: &BTreeMap<String, [f64; 3]>) {
    for (name, after) in after {
        let before = before.get(name).copied().unwrap_or_default();
        let [calls, seconds, within] = [0, 1, 2].map(|figure| after[figure] - before[figure]);
        if calls > 0.0 {
            println!(
                "{:>19} {name}: {calls} calls, {:.2} ms each, {} after more than {LATE} s",
                "",
                seconds * 1000.0 / calls,
                calls - within
            );
        }
    }
}

/// The class of the journeys, wired for all rows as `instar wire` writes it.
async fn wired_class(mgmt: &Mgmt, rows: &Rows) -> Result<Value> {
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE } });
    mgmt.applier().one(serde_json::from_value(namespace)?, None).await?;
    mgmt.apply(NAMESPACE, CLUSTER_CLASS).await?;
    let mut documents = vec![CLUSTER_CLASS.to_owned()];
    documents.extend(rows.all().iter().map(Value::to_string));
    let mut wire = Command::new(program()?)
        .args(["wire", "-f", "-", "-o", "json"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()?;
    let mut input = wire.stdin.take().context("no input")?;
    input.write_all(documents.join("\n---\n").as_bytes()).await?;
    drop(input);
    let printed = wire.wait_with_output().await?;
    anyhow::ensure!(printed.status.success(), "instar wire failed");
    let wired = String::from_utf8(printed.stdout)?;
    mgmt.apply(NAMESPACE, &wired).await?;
    Ok(serde_json::from_str(&wired)?)
}

fn name(number: usize) -> String {
    format!("topology-{number}")
}

/// Each with the pins that admission gave it, and its control plane.
async fn write(client: Client, rows: &Rows, clusters: usize) -> Result<()> {
    say(format!("writing {clusters} topology Clusters"));
    let running = Running::of(rows);
    let pins = |text: &Value| -> Result<Value> {
        let mut pins: Value = serde_json::from_str(text.as_str().context("no pins")?)?;
        pins["adopted"] = json!("");
        let release = &mut pins["releases"][&running.version];
        release["release"] = json!(rows.name(33, 1));
        release["workers"] = release["controlPlane"].clone();
        release["machineDeployments"] = json!({});
        Ok(json!(pins.to_string()))
    };
    let one = |number: usize| {
        let (client, name) = (client.clone(), name(number));
        let (running, pins) = (&running, &pins);
        async move {
            let filled = |text: &str, uid: &str| -> Result<Value> {
                let text = running.filled(text).replace("@C", &name).replace("@N", NAMESPACE);
                Ok(serde_json::from_str(&text.replace("@U", uid))?)
            };
            let mut cluster = filled(CLUSTER, "")?;
            let annotations = &mut cluster["metadata"]["annotations"];
            *annotations = json!({
                instar_api::RELEASES_ANNOTATION: pins(&annotations[instar_api::RELEASES_ANNOTATION])?,
            });
            cluster["metadata"]["labels"] = json!({ "topology.cluster.x-k8s.io/owned": "" });
            cluster["spec"]["topology"] = json!({
                "classRef": { "name": "fixture" },
                "version": running.version,
                "controlPlane": { "replicas": 3 },
                "workers": { "machineDeployments": [
                    { "class": "default-worker", "name": "md-0", "replicas": 3 },
                    { "class": "default-worker", "name": "md-1", "replicas": 3 },
                ] },
            });
            let created = create(&client, NAMESPACE, &name, "clusters", &cluster).await?;
            let mut control_plane = filled(CONTROL_PLANE, &created.metadata.uid.unwrap_or_default())?;
            control_plane["metadata"]["labels"]["topology.cluster.x-k8s.io/owned"] = json!("");
            create(&client, NAMESPACE, &name, "kubeadmcontrolplanes", &control_plane).await?;
            Ok::<_, anyhow::Error>(())
        }
    };
    let written = stream::iter(0..clusters).map(one).buffer_unordered(WRITERS);
    written.try_collect::<()>().await
}
