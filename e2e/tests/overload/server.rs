//! The server under attack: `instar webhook` as it is shipped, and an API server that has nothing.

use std::{
    convert::Infallible,
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    time::Duration,
};

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::Request,
    response::{IntoResponse, Response},
};
use instar_api::Definition;
use instar_e2e::{
    Context, Result,
    certificates::Certificates,
    instar,
    process::{Launch, Process},
    wait::wait_for,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;

/// A running server.
pub(crate) struct Server {
    pub(crate) certificates: Certificates,
    pub(crate) tls: SocketAddr,
    pub(crate) health: SocketAddr,
    process: Process,
    _dir: TempDir,
}

impl Server {
    /// Starts it and waits until it is ready.
    pub(crate) async fn start() -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let path = |name: &str| dir.path().join(name);
        let certificates = Certificates::create(dir.path())?;
        certificates.issue_server("instar")?.write(&path("serving"))?;
        let kubeconfig = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{ "name": "none", "cluster": { "server": format!("http://{}", api_server().await?) } }],
            "contexts": [{ "name": "none", "context": { "cluster": "none", "user": "" } }],
            "current-context": "none",
        });
        fs::write(path("kubeconfig"), kubeconfig.to_string())?;
        let log = path("log");
        let argument = |name: &str, value: &Path| format!("--{name}={}", value.display());
        let process = Process::start(Launch {
            name: "instar-webhook".to_owned(),
            program: instar::program()?,
            arguments: vec![
                "webhook".to_owned(),
                "--bind-address=127.0.0.1".to_owned(),
                "--port=0".to_owned(),
                "--health-port=0".to_owned(),
                "--log-format=json".to_owned(),
                argument("cert-dir", &path("serving")),
            ],
            environment: vec![("KUBECONFIG".to_owned(), path("kubeconfig").into())],
            log: log.clone(),
        })
        .await?;
        let addresses = wait_for("the server to listen", Duration::from_secs(20), || async {
            process.check_runs()?;
            let text = fs::read_to_string(&log)?;
            let serving = text
                .lines()
                .filter_map(|line| serde_json::from_str::<Value>(line).ok())
                .find(|line| line["message"] == "Serving");
            let serving = serving.context("it doesn't say that it serves")?;
            let address = |name: &str| serving[name].as_str().unwrap_or_default().parse::<SocketAddr>();
            Ok((address("tls_addr")?, address("health_addr")?))
        })
        .await?;
        let server = Self {
            certificates,
            tls: addresses.0,
            health: addresses.1,
            process,
            _dir: dir,
        };
        let client = instar_e2e::mgmt::http_client(server.certificates.authority())?;
        wait_for("the server to be ready", Duration::from_secs(20), || async {
            server.check_runs()?;
            let answer = client.get(format!("http://{}/readyz", server.health)).send().await?;
            // Where there are no clusters, nobody refers to a template.
            let ready = answer.status().is_success();
            let awaited = answer.text().await?;
            if ready || awaited.trim() == "templates" {
                Ok(())
            } else {
                Err(awaited.into())
            }
        })
        .await?;
        Ok(server)
    }

    /// Fails if it has ended, with the end of its log.
    pub(crate) fn check_runs(&self) -> Result<()> {
        self.process.check_runs()
    }

    /// Counts its peak from here.
    pub(crate) fn forget_peak(&self) -> Result<()> {
        let file = format!("/proc/{}/clear_refs", self.pid());
        fs::write(&file, "5").context(file)
    }

    /// The most memory that it had, in KiB.
    pub(crate) fn peak(&self) -> Result<u64> {
        self.status("VmHWM:")
    }

    /// How much of it are pages of its program's file, in KiB.
    pub(crate) fn file(&self) -> Result<u64> {
        self.status("RssFile:")
    }

    fn status(&self, field: &str) -> Result<u64> {
        let file = format!("/proc/{}/status", self.pid());
        let status = fs::read_to_string(&file).with_context(|| file.clone())?;
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let kib = line.and_then(|line| line.split_whitespace().next());
        Ok(kib.with_context(|| format!("{file} has no {field}"))?.parse()?)
    }

    fn pid(&self) -> u32 {
        self.process.identity().pid
    }
}

/// An API server with no object of any kind, now or later, but the definitions of ours.
async fn api_server() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(nothing)).await });
    Ok(address)
}

async fn nothing(request: Request) -> Response {
    let name = |definition: &Definition| definition.object()["metadata"]["name"].clone();
    let asked = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
    if let Some(definition) = Definition::ALL.into_iter().find(|definition| name(definition) == asked) {
        return Json(definition.object()).into_response();
    }
    if request.uri().query().is_some_and(|query| query.contains("watch=true")) {
        return Body::from_stream(futures::stream::pending::<Result<Bytes, Infallible>>()).into_response();
    }
    Json(json!({
        "apiVersion": "v1",
        "kind": "List",
        "metadata": { "resourceVersion": "1" },
        "items": [],
    }))
    .into_response()
}
