//! What the routes of the page share.

use std::sync::{Arc, atomic::AtomicBool};

use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};
use instar_report::html::{Forms, Writes};
use tokio::sync::Semaphore;

use super::{secret::Secret, subject::Scope};
use crate::{Error, connection::Connection};

/// What a page may write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MayWrite {
    /// Nothing.
    Nothing,
    /// What its user asks for by a form.
    Actions,
}

/// Whether the page may write.
pub(super) enum Actions {
    /// It has no form, and no address takes one.
    Refused,
    /// It has forms, with this secret in each.
    Allowed(Secret),
}

/// So many pages are kept up to date at once.
pub(super) const MOST_PAGES: usize = 32;

/// What the routes share.
pub(super) struct Served {
    pub(super) connection: Connection,
    pub(super) scope: Scope,
    pub(super) token: Arc<Secret>,
    pub(super) ticket: Arc<Secret>,
    pub(super) ticket_used: AtomicBool,
    pub(super) pages: Arc<Semaphore>,
    pub(super) actions: Actions,
}

impl Served {
    pub(super) fn new(connection: Connection, scope: Scope, may: MayWrite) -> Result<Self, Error> {
        Ok(Self {
            actions: match may {
                MayWrite::Nothing => Actions::Refused,
                MayWrite::Actions => Actions::Allowed(Secret::new()?),
            },
            connection,
            scope,
            token: Arc::new(Secret::new()?),
            ticket: Arc::new(Secret::new()?),
            ticket_used: AtomicBool::new(false),
            pages: Arc::new(Semaphore::new(MOST_PAGES)),
        })
    }

    pub(super) fn writes(&self) -> Writes {
        match self.actions {
            Actions::Refused => Writes::Nothing,
            Actions::Allowed(_) => Writes::Actions,
        }
    }

    /// What the pages have.
    pub(super) fn forms(&self) -> Forms<'_> {
        match &self.actions {
            Actions::Refused => Forms::None,
            Actions::Allowed(secret) => Forms::With {
                secret: secret.as_str(),
            },
        }
    }

    pub(super) fn in_namespace(&self, namespace: &str) -> Connection {
        self.connection.in_namespace(namespace)
    }
}

/// As Kubernetes names objects: nothing in it means anything to a path.
pub(super) fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
    (1..=253).contains(&name.len()) && name.bytes().all(allowed) && !name.starts_with('.')
}

pub(super) async fn nothing() -> Response {
    (StatusCode::NOT_FOUND, "nothing is here: the first page is at /TOKEN/\n").into_response()
}
