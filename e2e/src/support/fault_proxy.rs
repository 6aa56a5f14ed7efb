//! A proxy between a client and kube-apiserver, that makes things go wrong.
//!
//! It ends TLS with a certificate of the cluster's authority and passes each request on with the
//! client's own token, so that what the client may do stays what it may do. It serves HTTP/1.1
//! only: each request has a connection for itself, and closing it concerns no other. Every request
//! is numbered and kept; without a rule all pass as they are, but for upgrades (`exec`, `attach`).
//!
//! ```no_run
//! # async fn example(mgmt: &instar_e2e::mgmt::Mgmt) -> instar_e2e::Result<()> {
//! use instar_e2e::support::fault_proxy::{Class, Fault, FaultProxy, Matcher, Rule, Which};
//!
//! let proxy = FaultProxy::start(mgmt, 0).await?;
//! mgmt.webhook().with_kubeconfig(&proxy.kubeconfig(&mgmt.webhook().kubeconfig())?).await?;
//! proxy.add(Rule {
//!     when: Matcher::on(Class::Write).which(Which::Every { first: 1, step: 2 }),
//!     what: Fault::DropReply,
//! });
//! mgmt.webhook().restart().await?;
//! # Ok(()) }
//! ```

mod answer;
mod body;
mod exchange;
mod fault;
mod record;
mod request;
mod rule;

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result};
use axum_server::{Handle, tls_rustls::RustlsConfig};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::{certificates::replace, mgmt::Mgmt, wait::wait_for};
use exchange::{Exchange, Front, Fronts};

pub use answer::Answer;
pub use fault::{Cut, Fault, Hook, Next};
pub use record::{FaultKind, Record};
pub use request::{Class, DryRun, ObservedRequest, Verb};
pub use rule::{Matcher, Rule, Verbs, Which};

/// A running proxy. Dropped, it stops.
#[derive(Debug)]
pub struct FaultProxy {
    exchange: Arc<Exchange>,
    address: SocketAddr,
    handle: Handle<SocketAddr>,
    serving: JoinHandle<std::io::Result<()>>,
}

impl FaultProxy {
    /// Starts it on loopback; 0 takes a free port.
    pub async fn start(mgmt: &Mgmt, port: u16) -> Result<Self> {
        let pair = mgmt.certificates().issue_server("fault-proxy")?;
        let tls = RustlsConfig::from_pem(pair.certificate.into(), pair.key.into()).await?;
        let mut config = (*tls.get_inner()).clone();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        tls.reload_from_config(Arc::new(config));

        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).context("binding the fault proxy")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let exchange = Arc::new(Exchange::new(mgmt)?);
        let handle = Handle::new();
        let serving = axum_server::from_tcp_rustls(listener, tls)?
            .handle(handle.clone())
            .serve(Fronts(Front(Arc::clone(&exchange))));
        Ok(Self {
            exchange,
            address,
            handle,
            serving: tokio::spawn(serving),
        })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Writes a copy of a kubeconfig whose server is the proxy, beside it. Its user must have a
    /// token: a client's certificate ends here.
    pub fn kubeconfig(&self, of: &Path) -> Result<PathBuf> {
        let text = std::fs::read_to_string(of).with_context(|| of.display().to_string())?;
        let mut config: Value = serde_saphyr::from_str(&text).with_context(|| of.display().to_string())?;
        let clusters = config.get_mut("clusters").and_then(Value::as_array_mut);
        for cluster in clusters.context("a kubeconfig without clusters")? {
            cluster["cluster"]["server"] = json!(format!("https://{}", self.address));
        }
        let name = of.file_name().context("a kubeconfig without a name")?;
        let copy = of.with_file_name(format!("{}-through-{}", name.display(), self.address.port()));
        replace(&copy, &serde_json::to_string_pretty(&config)?)?;
        Ok(copy)
    }

    /// Puts rules in the place of all earlier ones; requests under way keep their faults.
    pub fn set(&self, rules: impl IntoIterator<Item = Rule>) {
        self.exchange.rules.set(rules);
    }

    /// Adds a rule after the earlier ones: the first one that strikes decides.
    pub fn add(&self, rule: Rule) {
        self.exchange.rules.add(rule);
    }

    /// Removes all rules.
    pub fn clear(&self) {
        self.set([]);
    }

    /// Every request until now.
    #[must_use]
    pub fn records(&self) -> Vec<Record> {
        self.exchange.log.records()
    }

    /// Every request to write until now, dry runs and failures too.
    #[must_use]
    pub fn writes(&self) -> Vec<Record> {
        let mut records = self.records();
        records.retain(|record| record.request.verb.class() == Class::Write);
        records
    }

    /// Waits until there is such a record, and returns the first one.
    pub async fn wait_for_record(
        &self,
        what: &str,
        deadline: Duration,
        is_it: impl Fn(&Record) -> bool,
    ) -> Result<Record> {
        self.exchange.log.wait_for(what, deadline, is_it).await
    }

    /// Closes all connections, and waits until they are.
    pub async fn stop(mut self) -> Result<()> {
        self.handle.shutdown();
        (&mut self.serving).await??;
        wait_for(
            "the fault proxy's connections to end",
            Duration::from_secs(10),
            || async {
                match self.handle.connection_count() {
                    0 => Ok(()),
                    count => Err(format!("{count} connections").into()),
                }
            },
        )
        .await
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.handle.shutdown();
    }
}
