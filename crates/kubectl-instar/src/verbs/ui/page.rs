//! The page of `kubectl instar ui`: a server for one user of this machine.
//!
//! ```text
//! browser ─▶ guard ─▶ routes ─▶ subject ─▶ read ─▶ Report ─▶ instar_report::html
//!                        ├─▶ actions ─▶ the verbs, where the user has allowed that
//!                        └─▶ stream: the same again every two seconds, as server-sent events
//! ```
//!
//! Invariants: it listens on loopback alone, answers nothing without the token or the ticket that leads to
//! it, and without `--allow-actions` has no route that writes. What writes is a form of its own page: a POST with this
//! server's Origin and a secret that stands in no address.
//!
//! The token is the first part of every path. A cookie would be sent by the browser itself, whoever asks, and to every
//! other server on 127.0.0.1, since cookies know no ports; a path is sent by nobody who doesn't know it. It lives as long as
//! the program, and no answer is stored or names it to another page (`no-store`, `no-referrer`).

mod actions;
mod guard;
mod routes;
mod secret;
mod served;
mod stream;
mod subject;
#[cfg(test)]
mod tests;

use std::{net::Ipv4Addr, sync::Arc};

use tokio::net::TcpListener;

use self::served::Served;
use crate::{Error, connection::Connection};

pub(crate) use served::MayWrite;
pub(crate) use subject::Scope;

/// What is served, and how.
#[derive(Debug)]
pub(crate) struct Options {
    /// The port; 0 takes one that is free.
    pub(crate) port: u16,
    /// Of which namespaces the first page lists the Clusters.
    pub(crate) scope: Scope,
    /// Whether its pages have forms.
    pub(crate) may: MayWrite,
}

/// A server that listens already.
pub(crate) struct Page {
    listener: TcpListener,
    served: Arc<Served>,
    port: u16,
}

impl Page {
    /// Takes the port, and makes the token.
    pub(crate) async fn bind(connection: Connection, options: Options) -> Result<Self, Error> {
        let Options { port, scope, may } = options;
        let at = |source| Error::Listen { port, source };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(at)?;
        let port = listener.local_addr().map_err(at)?.port();
        let served = Arc::new(Served::new(connection, scope, may)?);
        Ok(Self { listener, served, port })
    }

    /// The address of the first page, or of a Cluster's.
    pub(crate) fn address(&self, cluster: Option<(&str, &str)>) -> String {
        let root = format!("http://127.0.0.1:{}/{}/", self.port, self.served.token.as_str());
        match cluster {
            None => root,
            Some((namespace, name)) => format!("{root}c/{namespace}/{name}"),
        }
    }

    /// An address that leads to the other one once: a program that is given it shows it to every user of this machine in
    /// the list of processes, for as long as it runs.
    pub(crate) fn ticket(&self, cluster: Option<(&str, &str)>) -> String {
        let root = format!("http://127.0.0.1:{}/open/{}", self.port, self.served.ticket.as_str());
        match cluster {
            None => root,
            Some((namespace, name)) => format!("{root}/{namespace}/{name}"),
        }
    }

    /// Answers until the program ends.
    pub(crate) async fn serve(self) -> Result<(), Error> {
        let Self { listener, served, port } = self;
        let served = axum::serve(listener, routes::router(served)).await;
        served.map_err(|source| Error::Listen { port, source })
    }
}
