//! A server of this crate with a router that can echo and hold.

use std::{io, net::Ipv4Addr, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Bytes,
    routing::{get, post},
};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::{
    client::{self, Client, Hello},
    volume::{Authority, Issued, Volume},
};
use crate::{Metrics, Options, Readiness, Running, start};

pub(super) struct Fixture {
    pub(super) authority: Authority,
    pub(super) issued: Issued,
    pub(super) volume: Volume,
    pub(super) readiness: Readiness,
    pub(super) shutdown: CancellationToken,
    pub(super) running: Running,
    /// `/hold` takes one of `entered`'s permits away and waits for one of `release`.
    pub(super) entered: Arc<Semaphore>,
    pub(super) release: Arc<Semaphore>,
    /// Keeps its connections.
    pub(super) client: reqwest::Client,
}

impl Fixture {
    pub(super) async fn start(tweak: impl FnOnce(&mut Options)) -> Self {
        let authority = Authority::new();
        let issued = authority.issue(2100);
        let volume = Volume::new();
        volume.publish(&issued.chain, &issued.key);

        let mut options = Options {
            bind: Ipv4Addr::LOCALHOST.into(),
            port: 0,
            health_port: 0,
            cert_dir: volume.path().to_owned(),
            reload_every: Duration::from_millis(2),
            linger: Duration::ZERO,
            ..Options::default()
        };
        tweak(&mut options);

        let entered = Arc::new(Semaphore::new(0));
        let release = Arc::new(Semaphore::new(0));
        let hold = {
            let (entered, release) = (entered.clone(), release.clone());
            async move || {
                entered.add_permits(1);
                release.acquire().await.unwrap().forget();
                "released"
            }
        };
        let app = Router::new()
            .route("/echo", post(async |body: Bytes| body))
            .route("/hold", get(hold));

        let readiness = Readiness::default();
        let shutdown = CancellationToken::new();
        let running = start(app, options, Metrics::default(), readiness.clone(), shutdown.clone())
            .await
            .unwrap();
        let client = client::builder(&authority).build().unwrap();
        Self {
            authority,
            issued,
            volume,
            readiness,
            shutdown,
            running,
            entered,
            release,
            client,
        }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.running.tls_addr())
    }

    /// A new raw connection, introduced like that.
    pub(super) async fn introduced(&self, hello: Hello<'_>) -> io::Result<Client> {
        Client::introduced(self.running.tls_addr(), &self.authority, hello).await
    }

    /// A new raw connection.
    pub(super) async fn connect(&self) -> Client {
        Client::connect(self.running.tls_addr(), &self.authority).await.unwrap()
    }

    /// The certificate that a new connection is served with.
    pub(super) async fn certificate(&self) -> Vec<u8> {
        self.connect().await.certificate()
    }

    /// Status and body on the health port.
    pub(super) async fn health(&self, path: &str) -> (u16, String) {
        let url = format!("http://{}{path}", self.running.health_addr());
        let response = self.client.get(url).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    /// The value of a line of `/metrics`.
    pub(super) async fn metric(&self, series: &str) -> i64 {
        let (_, page) = self.health("/metrics").await;
        let line = page.lines().find_map(|line| line.strip_prefix(series));
        line.expect(series).trim().parse().unwrap()
    }
}
