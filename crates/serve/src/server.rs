//! The two ports, from bind to the last response.

use std::{io, net::SocketAddr, time::Duration};

use axum::Router;
use axum_server::{
    Handle, Server,
    accept::{Accept, NoDelayAcceptor},
    tls_rustls::RustlsAcceptor,
};
use hyper_util::rt::TokioTimer;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    task::{JoinError, JoinHandle},
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use crate::{
    connection_limiter::{ConnectionLimiter, ConnectionMetrics},
    connections::{Deadlines, IDLE, LimitedAcceptor},
    health,
    metrics::Metrics,
    options::Options,
    read_ahead::ReadAheadAcceptor,
    readiness::Readiness,
    requests::Limits,
    tls::{self, Tls, TlsMetrics},
};

/// Enough for kubelet, Prometheus and a few people with curl.
const HEALTH_CONNECTIONS: usize = 64;
/// Probes and scrapes take milliseconds.
const HEALTH_DRAIN: Duration = Duration::from_secs(1);

/// Why the server did not start, or ended.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum Error {
    #[error("cannot listen on {addr} for {what}: free that port or choose another")]
    Bind {
        what: &'static str,
        addr: SocketAddr,
        source: io::Error,
    },
    #[error("cannot serve TLS")]
    Certificate(#[from] tls::Error),
    #[error("serving {what} ended")]
    Ended { what: &'static str, source: io::Error },
    #[error("serving panicked: please report this")]
    Panicked(#[source] JoinError),
}

/// Serves `app` until `shutdown`, then answers all requests in flight and returns.
pub async fn serve(
    app: Router,
    options: Options,
    metrics: Metrics,
    readiness: Readiness,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let running = start(app, options, metrics, readiness, shutdown).await?;
    running.stopped().await
}

/// Like [`serve`], but returns as soon as both ports are bound.
///
/// Connections are kept alive: only the client, a deadline, the connection limit or the shutdown closes
/// one after a request. On `shutdown`, `/readyz` answers 503 at once, the TLS port accepts connections
/// for [`linger`](Options::linger) and then drains, and the health port stops last.
pub async fn start(
    app: Router,
    options: Options,
    metrics: Metrics,
    readiness: Readiness,
    shutdown: CancellationToken,
) -> Result<Running, Error> {
    // Added before the first probe can arrive.
    let listening = readiness.part("tls");
    let health = Port::bind("health", (options.bind, options.health_port)).await?;
    let certificate = Tls::load(&options.cert_dir, options.client_ca.as_deref(), &metrics)?;
    let tls = Port::bind("TLS", (options.bind, options.port)).await?;
    let (tls_addr, health_addr) = (tls.addr, health.addr);
    let (tls_handle, health_handle) = (tls.handle.clone(), health.handle.clone());

    let connection_metrics = connection_metrics(&metrics);
    let deadlines = Deadlines {
        first_request: options.header_deadline,
        answer: options.answer_deadline,
    };
    let handshake = RustlsAcceptor::new(certificate.config())
        .handshake_timeout(options.header_deadline)
        .acceptor(ReadAheadAcceptor);
    let limiter = ConnectionLimiter::new(options.max_connections, connection_metrics.clone());
    let serving_tls = tls.serve(
        LimitedAcceptor::new(handshake, limiter, deadlines, Limits::of(&options, shutdown.clone())),
        app,
    );
    let probes = health::router(metrics, readiness, shutdown.clone());
    let health_limiter = ConnectionLimiter::new(HEALTH_CONNECTIONS, connection_metrics);
    let serving_health = health.serve(
        LimitedAcceptor::new(
            NoDelayAcceptor,
            health_limiter,
            deadlines,
            Limits::of(&options, shutdown.clone()),
        ),
        probes,
    );

    let task = tokio::spawn(async move {
        let ready = async {
            if tls_handle.listening().await.is_some() {
                listening.ready();
            }
            Ok(())
        };
        let stopping = async {
            shutdown.cancelled().await;
            tracing::info!(linger = ?options.linger, drain = ?options.drain, "Shutting down");
            sleep(options.linger).await;
            tls_handle.graceful_shutdown(Some(options.drain));
            Ok(())
        };
        let serving = async {
            serving_tls.await?;
            match tls_handle.connection_count() {
                0 => tracing::info!("Stopped after every request was answered"),
                connections => tracing::warn!(
                    connections,
                    "Stopped and closed connections whose requests took too long"
                ),
            }
            health_handle.graceful_shutdown(Some(HEALTH_DRAIN));
            Ok(())
        };
        tokio::select! {
            ended = async { tokio::try_join!(serving, serving_health, ready, stopping) } => {
                ended.map(drop)
            }
            never = certificate.watch(options.reload_every) => match never {},
        }
    });
    tracing::info!(%tls_addr, %health_addr, "Serving");
    Ok(Running {
        tls_addr,
        health_addr,
        task,
    })
}

/// Registers the metrics of a server, as [`start`] does.
pub fn register(metrics: &Metrics) {
    drop((connection_metrics(metrics), TlsMetrics::register(metrics)));
}

fn connection_metrics(metrics: &Metrics) -> ConnectionMetrics {
    let ConnectionMetrics { refused, displaced } = ConnectionMetrics::default();
    ConnectionMetrics {
        refused: metrics.register(
            "connections_refused",
            "Connections refused because the limit was reached and every open connection had a request under way",
            refused,
        ),
        displaced: metrics.register(
            "connections_displaced",
            "Connections without a request under way that were closed to make room for a new one",
            displaced,
        ),
    }
}

/// A server that [`start`] has started. Dropping this does not stop it.
#[derive(Debug)]
pub struct Running {
    tls_addr: SocketAddr,
    health_addr: SocketAddr,
    task: JoinHandle<Result<(), Error>>,
}

impl Running {
    /// The bound address of the TLS port.
    #[must_use]
    pub fn tls_addr(&self) -> SocketAddr {
        self.tls_addr
    }

    /// The bound address of the health port.
    #[must_use]
    pub fn health_addr(&self) -> SocketAddr {
        self.health_addr
    }

    /// Waits until both ports have stopped.
    pub async fn stopped(self) -> Result<(), Error> {
        self.task.await.map_err(Error::Panicked)?
    }
}

/// A bound port. Clients can connect already; they are accepted once it is served.
struct Port {
    what: &'static str,
    addr: SocketAddr,
    server: Server<SocketAddr>,
    handle: Handle<SocketAddr>,
}

impl Port {
    async fn bind(what: &'static str, addr: impl Into<SocketAddr>) -> Result<Self, Error> {
        let addr = addr.into();
        let bound = async {
            let listener = TcpListener::bind(addr).await?;
            Ok((listener.local_addr()?, listener))
        };
        let (addr, listener) = bound.await.map_err(|source| Error::Bind { what, addr, source })?;

        let handle = Handle::new();
        let mut server = Server::<SocketAddr>::from_listener(listener).handle(handle.clone());
        bound_protocols(&mut server);
        Ok(Self {
            what,
            addr,
            server,
            handle,
        })
    }

    async fn serve<A>(self, acceptor: LimitedAcceptor<A>, app: Router) -> Result<(), Error>
    where
        A: Accept<TcpStream, Router, Service = Router> + Clone + Send + Sync + 'static,
        A::Stream: AsyncRead + AsyncWrite + Unpin + Send,
        A::Future: Send + 'static,
    {
        let served = self.server.acceptor(acceptor).serve(app.into_make_service());
        served.await.map_err(|source| Error::Ended {
            what: self.what,
            source,
        })
    }
}

/// The largest head of a request, in bytes. That of an API server has a path and a few fields.
const MAX_HEAD: u16 = 16 * 1024;

/// Limits that are enough for webhooks, whose clients are one network hop away; far below hyper's defaults.
///
/// hyper and h2 limit without an option: CONTINUATION frames (5 for a head), answers to PING and
/// SETTINGS (one waits at a time, and nothing is read until it is written), empty and tiny DATA
/// frames, the fields of a head in HTTP/1.1 (100), the table of HPACK (4 KiB).
fn bound_protocols(server: &mut Server<SocketAddr>) {
    let http = server.http_builder();
    http.http1()
        .timer(TokioTimer::new())
        // hyper counts the time between two requests as well.
        .header_read_timeout(IDLE)
        .max_buf_size(MAX_HEAD.into());
    http.http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(10))
        .max_concurrent_streams(100)
        // Bytes that wait here are not counted in the memory for bodies.
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_header_list_size(MAX_HEAD.into())
        // Responses are short as well.
        .max_send_buf_size(64 * 1024)
        // Streams that the client reset before they were handled (CVE-2023-44487), and streams that
        // broke the protocol. Not 0: an API server cancels a request now and then.
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(100);
}

/// The smallest initial window of HTTP/2.
const WINDOW: u32 = u16::MAX as u32;
