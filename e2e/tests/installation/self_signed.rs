//! The controller keeps the certificates of two servers: made, changed, deleted, renewed, while requests come in.
//!
//! The journey takes the place of what is missing here: it writes the EndpointSlice of the Service, copies the Secret into
//! each server's files as kubelet does, and passes the API server's connections on to one server after the other.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use instar_e2e::{
    Context, Result,
    certificates::Pair,
    instar::{program, shipped},
    manifests::{self, kind},
    ports,
    process::{Launch, Process},
    progress::say,
    support::{
        fixtures::{CLUSTER_CLASS, TopologyCluster},
        journeys::JourneyContext,
        topology::{apply_rows, apply_wired, edit_in_dry_runs},
    },
    wait::wait_for,
};
use k8s_openapi::api::{
    admissionregistration::v1::ValidatingWebhookConfiguration, core::v1::Secret, discovery::v1::EndpointSlice,
};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::{Value, json};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    process::Command,
    task::JoinSet,
    time::sleep,
};

const NAMESPACE: &str = "instar-system";
const SERVICE: &str = "instar-webhook";
const CERTIFICATE: &str = "instar-webhook-cert";
const AUTHORITY: &str = "instar-webhook-ca";
const ROLE: &str = "instar-controller-certificates";

/// Of the documentation's range: an EndpointSlice takes none of loopback.
const SERVERS: [&str; 2] = ["198.51.100.1", "198.51.100.2"];

/// Where each of them serves.
const PORT: u16 = 9443;

/// How long it may take until one CA alone is trusted: a server reads its files every ten seconds.
const CHANGED: Duration = Duration::from_mins(4);

pub(crate) async fn kept_under_load(scene: JourneyContext) -> Result<()> {
    let rows = scene.rows()?;
    apply_rows(&scene, &rows.all()).await?;
    apply_wired(&scene, CLUSTER_CLASS, &rows.all()).await?;
    let mut object = TopologyCluster {
        name: "c",
        version: &rows.version(34),
        control_planes: 1,
        workers: &[("md-0", 1)],
    }
    .object();
    object["spec"]["paused"] = json!(true);
    scene.apply_object(object).await?;
    grant(&scene).await?;
    for address in SERVERS {
        addresses("add", address).await?;
    }
    let (controller, webhook) = (scene.mgmt.controller(), scene.mgmt.webhook());
    let installed = controller.arguments().await?;
    webhook.stop().await?;
    let seen = seen(&scene, &installed).await;
    // What others find again: their certificates, and one server.
    controller.with_arguments(installed).await?;
    controller.restart().await?;
    for address in SERVERS {
        addresses("delete", address).await?;
    }
    for name in [CERTIFICATE, AUTHORITY] {
        secrets(&scene).delete(name, &DeleteParams::default()).await?;
    }
    slices(&scene).delete(SERVICE, &DeleteParams::default()).await?;
    webhook.start().await?;
    scene.mgmt.apply_instar(&shipped()).await?;
    seen
}

async fn seen(scene: &JourneyContext, installed: &[String]) -> Result<()> {
    with_lifetime(scene, installed, 600).await?;
    wait_for("the Secret", Duration::from_mins(1), || async {
        secrets(scene)
            .get(CERTIFICATE)
            .await
            .map(drop)
            .map_err(|error| error.to_string().into())
    })
    .await?;
    write_slice(scene).await?;
    let directory = tempfile::tempdir()?;
    let files = SERVERS.map(|address| directory.path().join(address));
    copy(scene, &files).await?;
    let mut servers = Vec::new();
    for (address, files) in SERVERS.iter().zip(&files) {
        servers.push(start(scene, address, files).await?);
    }
    let mut load = Load::start(scene, files.to_vec()).await?;
    let changed = changes(scene, installed, &load).await;
    let calls = load.stop().await?;
    changed?;
    say(format!(
        "self-signed certificates: {calls} calls by the API server, 0 failed"
    ));
    drop(servers);
    Ok(())
}

/// Each of them ends with one CA that is trusted, and with requests that go on.
async fn changes(scene: &JourneyContext, installed: &[String], load: &Load) -> Result<()> {
    let first = settled(scene, "").await?;
    load.go_on().await?;
    let secrets = secrets(scene);

    secrets.delete(AUTHORITY, &DeleteParams::default()).await?;
    let second = settled(scene, &first).await?;
    load.go_on().await?;

    for name in [AUTHORITY, CERTIFICATE] {
        secrets.delete(name, &DeleteParams::default()).await?;
    }
    let third = settled(scene, &second).await?;
    load.go_on().await?;

    // Both are valid for longer than is asked for now, and the leaf is renewed each minute from then on.
    with_lifetime(scene, installed, 120).await?;
    settled(scene, &third).await?;
    for _ in 0..2 {
        let before = member(scene, CERTIFICATE, "tls.crt").await?;
        wait_for("the certificate to be renewed", CHANGED, || async {
            match member(scene, CERTIFICATE, "tls.crt").await {
                Ok(now) if now != before => Ok(()),
                Ok(_) => Err("it is the same".into()),
                Err(error) => Err(error.to_string().into()),
            }
        })
        .await?;
        load.go_on().await?;
    }
    Ok(())
}

/// Waits until one CA alone is trusted, by the webhooks and in the Secret, and another one than before. This is its text.
async fn settled(scene: &JourneyContext, before: &str) -> Result<String> {
    wait_for("one CA to be trusted, a new one", CHANGED, || async {
        let trusted = trusted(scene).await.map_err(|error| error.to_string())?;
        let stored = member(scene, CERTIFICATE, "ca.crt")
            .await
            .map_err(|error| error.to_string())?;
        let count = trusted.matches("BEGIN CERTIFICATE").count();
        if trusted == stored && count == 1 && trusted != before {
            Ok(())
        } else {
            Err(format!("{count} are trusted").into())
        }
    })
    .await?;
    trusted(scene).await
}

async fn trusted(scene: &JourneyContext) -> Result<String> {
    let api: Api<ValidatingWebhookConfiguration> = Api::all(scene.mgmt.client());
    let configuration = api.get("instar-validating-webhook-configuration").await?;
    let mut bundles = configuration.webhooks.into_iter().flatten();
    let bundle = bundles.next().and_then(|webhook| webhook.client_config.ca_bundle);
    Ok(String::from_utf8(bundle.context("no bundle")?.0)?)
}

fn secrets(scene: &JourneyContext) -> Api<Secret> {
    Api::namespaced(scene.mgmt.client(), NAMESPACE)
}

fn slices(scene: &JourneyContext) -> Api<EndpointSlice> {
    Api::namespaced(scene.mgmt.client(), NAMESPACE)
}

async fn member(scene: &JourneyContext, secret: &str, name: &str) -> Result<String> {
    let secret = secrets(scene).get(secret).await?;
    let found = secret.data.unwrap_or_default().remove(name);
    Ok(String::from_utf8(found.with_context(|| format!("no {name}"))?.0)?)
}

/// Applies the roles of the installation without cert-manager.
async fn grant(scene: &JourneyContext) -> Result<()> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/without-cert-manager");
    let rendered = manifests::kustomize(scene.mgmt.built().program(manifests::RENDERER)?, &directory).await?;
    let is_issued = |object: &&Value| {
        object["apiVersion"]
            .as_str()
            .is_some_and(|version| version.contains("cert-manager"))
    };
    anyhow::ensure!(
        rendered.iter().find(is_issued).is_none(),
        "it has something of cert-manager's"
    );
    let roles: Vec<Value> = rendered
        .into_iter()
        .filter(|object| kind(object).contains("Role") && object["metadata"]["name"] == ROLE)
        .collect();
    anyhow::ensure!(roles.len() == 4, "{roles:?}");
    let roles = manifests::trusting(&roles, "")?;
    scene.mgmt.applier().all(roles, None).await?;
    Ok(())
}

/// Starts the controller again, so that it keeps certificates of this life.
async fn with_lifetime(scene: &JourneyContext, installed: &[String], seconds: u32) -> Result<()> {
    let controller = scene.mgmt.controller();
    let kept = installed
        .iter()
        .filter(|argument| !argument.starts_with("--extension-"));
    let mut arguments: Vec<String> = kept.cloned().collect();
    arguments.extend([
        format!("--extension-service={SERVICE}"),
        format!("--extension-ca-secret={CERTIFICATE}"),
        "--webhook-certificates=self-signed".to_owned(),
        "--webhook-host=127.0.0.1".to_owned(),
        format!("--webhook-certificate-seconds={seconds}"),
    ]);
    controller.with_arguments(arguments).await?;
    controller.restart().await
}

async fn addresses(verb: &str, address: &str) -> Result<()> {
    let address = format!("{address}/32");
    let words = ["address", verb, address.as_str(), "dev", "lo"];
    let output = Command::new("ip").args(words).output().await?;
    anyhow::ensure!(
        output.status.success(),
        "ip {}: {}",
        words.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

async fn write_slice(scene: &JourneyContext) -> Result<()> {
    let endpoints = SERVERS.map(|address| json!({ "addresses": [address], "conditions": { "ready": true } }));
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": { "name": SERVICE, "labels": { "kubernetes.io/service-name": SERVICE } },
        "addressType": "IPv4", "endpoints": endpoints,
        "ports": [{ "name": "webhook", "port": PORT, "protocol": "TCP" }],
    });
    let parameters = PatchParams::apply("journey");
    slices(scene).patch(SERVICE, &parameters, &Patch::Apply(&slice)).await?;
    Ok(())
}

/// As kubelet does it: each file is replaced whole. Without a Secret the files stay.
async fn copy(scene: &JourneyContext, files: &[PathBuf]) -> Result<()> {
    let Some(secret) = secrets(scene).get_opt(CERTIFICATE).await? else {
        return Ok(());
    };
    let mut data = secret.data.unwrap_or_default();
    let mut text = |name: &str| -> Result<String> {
        let found = data.remove(name).with_context(|| format!("no {name}"))?;
        Ok(String::from_utf8(found.0)?)
    };
    let pair = Pair {
        certificate: text("tls.crt")?,
        key: text("tls.key")?,
    };
    for directory in files {
        let served = fs::read_to_string(directory.join("tls.crt")).unwrap_or_default();
        if served != pair.certificate {
            pair.write(directory)?;
        }
    }
    Ok(())
}

async fn start(scene: &JourneyContext, address: &str, files: &Path) -> Result<Process> {
    let launch = Launch {
        name: format!("webhook at {address}"),
        program: program()?,
        arguments: vec![
            "webhook".to_owned(),
            format!("--bind-address={address}"),
            format!("--port={PORT}"),
            format!("--health-port={}", ports::WEBHOOK_HEALTH),
            format!("--cert-dir={}", files.display()),
        ],
        environment: vec![("KUBECONFIG".to_owned(), scene.mgmt.webhook().kubeconfig().into())],
        log: scene.mgmt.run().log("webhook"),
    };
    let process = Process::start(launch).await?;
    let url = format!("http://{address}:{}/readyz", ports::WEBHOOK_HEALTH);
    wait_for("the server to be ready", Duration::from_mins(1), || async {
        let answer = scene.mgmt.http().get(&url).send().await;
        match answer.and_then(reqwest::Response::error_for_status) {
            Ok(_) => Ok(()),
            Err(error) => Err(error.to_string().into()),
        }
    })
    .await?;
    Ok(process)
}

/// Requests without a pause, while the Secret is copied and connections are passed on.
struct Load {
    ends: Arc<AtomicBool>,
    calls: Arc<AtomicUsize>,
    requests: JoinSet<Result<()>>,
    helpers: JoinSet<Result<()>>,
}

impl Load {
    async fn start(scene: &JourneyContext, files: Vec<PathBuf>) -> Result<Self> {
        let mut load = Self {
            ends: Arc::default(),
            calls: Arc::default(),
            requests: JoinSet::new(),
            helpers: JoinSet::new(),
        };
        let kubelet = scene.clone();
        load.helpers.spawn(async move {
            loop {
                copy(&kubelet, &files).await?;
                sleep(Duration::from_millis(500)).await;
            }
        });
        let listener = TcpListener::bind(("127.0.0.1", ports::WEBHOOK)).await?;
        load.helpers.spawn(pass_on(listener));
        for _ in 0..4 {
            let (scene, ends, calls) = (scene.clone(), load.ends.clone(), load.calls.clone());
            load.requests.spawn(edit_in_dry_runs(scene, ends, calls));
        }
        Ok(load)
    }

    async fn go_on(&self) -> Result<()> {
        let before = self.calls.load(Ordering::Relaxed);
        wait_for("requests to go on", Duration::from_secs(20), || async {
            let now = self.calls.load(Ordering::Relaxed);
            if now > before + 20 {
                Ok(())
            } else {
                Err(format!("{now} after {before}").into())
            }
        })
        .await
    }

    /// Ends it, and says how many requests there were. One that failed is the error.
    async fn stop(&mut self) -> Result<usize> {
        self.ends.store(true, Ordering::Relaxed);
        while let Some(ended) = self.requests.join_next().await {
            ended??;
        }
        if let Some(ended) = self.helpers.try_join_next() {
            ended??;
        }
        self.helpers.shutdown().await;
        Ok(self.calls.load(Ordering::Relaxed))
    }
}

/// To one server after the other. With another bundle an API server makes new connections.
async fn pass_on(listener: TcpListener) -> Result<()> {
    let mut next = 0;
    loop {
        let (mut client, _) = listener.accept().await?;
        next = (next + 1) % SERVERS.len();
        let address = (SERVERS[next], PORT);
        drop(tokio::spawn(async move {
            if let Ok(mut server) = TcpStream::connect(address).await {
                drop(copy_bidirectional(&mut client, &mut server).await);
            }
        }));
    }
}
