//! Addresses and limits of a server.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    time::Duration,
};

const MIB: usize = 1024 * 1024;

/// Addresses and limits of a server. [`Default`] is what production runs with.
#[derive(Clone, Debug)]
pub struct Options {
    /// The address of both ports.
    pub bind: IpAddr,
    /// The TLS port; 0 takes a free one.
    pub port: u16,
    /// The plain port of `/healthz`, `/readyz` and `/metrics`; 0 takes a free one.
    pub health_port: u16,
    /// The directory of `tls.crt` and `tls.key`.
    pub cert_dir: PathBuf,
    /// A file of CA certificates, in PEM, one of which must have signed a client's certificate. Without
    /// it clients need no certificate.
    pub client_ca: Option<PathBuf>,
    /// How often these files are read again.
    pub reload_every: Duration,
    /// The largest body of a request in bytes, with or without a `Content-Length`; beyond it: 413.
    pub body_limit: usize,
    /// The bytes that all bodies on the TLS port may hold at once. Beyond it, a body waits until others
    /// have been answered, and the one that arrives slowest is cancelled with 503. Never less than
    /// `body_limit`.
    pub body_budget: usize,
    /// How many JSON values a body may have; beyond it: 413. A decoded empty value takes a hundred times
    /// its bytes, and no object that an API server stores has nearly as many.
    pub values_limit: usize,
    /// From accept to the end of the first request's head, TLS handshake included.
    pub header_deadline: Duration,
    /// From a request's head to its response; beyond it: 408. Keep it below the webhooks' timeout.
    pub request_deadline: Duration,
    /// From the first byte of a response that the client does not read at once to its last byte.
    pub answer_deadline: Duration,
    /// How many connections the TLS port holds. A further one displaces a connection without a request
    /// under way; if there is none, it is closed at once. An API server needs one connection.
    pub max_connections: usize,
    /// How long the server still accepts connections after a shutdown began, so that no client is refused
    /// before the Service's endpoints have dropped it. Responses in this time ask the client to reconnect.
    pub linger: Duration,
    /// After that, how long requests in flight may take before they are cut off.
    pub drain: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            bind: Ipv4Addr::UNSPECIFIED.into(),
            port: 9443,
            health_port: 8081,
            cert_dir: "/tmp/k8s-webhook-server/serving-certs".into(),
            client_ca: None,
            reload_every: Duration::from_secs(10),
            body_limit: 7 * MIB,
            body_budget: 10 * MIB,
            values_limit: 50_000,
            header_deadline: Duration::from_secs(10),
            request_deadline: Duration::from_secs(4),
            answer_deadline: Duration::from_secs(10),
            max_connections: 256,
            linger: Duration::from_secs(3),
            drain: Duration::from_secs(10),
        }
    }
}
