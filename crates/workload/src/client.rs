//! The client of one workload cluster.

mod metrics;
mod tunnel;

use std::time::Duration;

use http::{Request, StatusCode, header::CONTENT_TYPE};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Bytes;
use instar_watch::ErrorChain;
use kube::{
    Client, Config,
    api::ListParams,
    client::Body,
    core::{Request as Listing, Status},
};
use rustls::pki_types::CertificateDer;
use secrecy::{ExposeSecret, SecretString};
use serde::{
    Deserialize,
    de::{DeserializeOwned, IgnoredAny},
};
use serde_json::Value;
use tokio::time::timeout;
use tracing::{instrument::WithSubscriber, subscriber::NoSubscriber};

use crate::{discovery::Discovery, kubeconfig::Kubeconfig};

/// How long it may take to connect, TLS included.
const CONNECT: Duration = Duration::from_secs(5);

/// How long one request may take, from the connection to the last byte.
const REQUEST: Duration = Duration::from_secs(10);

/// How long a body may be. Eight clusters are read at once, and the controller has 256 MiB.
const MOST_BODY: usize = 2 * 1024 * 1024;

/// How many objects a page has at first. A Node lists up to 50 images, which makes some 20 KiB.
const PAGE: u32 = 50;

/// How many it has where it was too long: one object may have most of a body, as a webhook configuration with many
/// certificates does.
const SMALL_PAGE: u32 = 1;

/// How much of what a server says is passed on.
const MOST_MESSAGE: usize = 300;

/// Why a workload cluster was not read.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No client can be made of the kubeconfig.
    #[error("no client can be made of it: {why}")]
    Unusable {
        /// What is wrong.
        why: String,
    },
    /// The server can't be reached, or the connection broke.
    #[error("{host} can't be reached: {why}")]
    Unreachable {
        /// Its host and port.
        host: String,
        /// What went wrong.
        why: String,
    },
    /// It took too long.
    #[error("{host} gave no answer to {request} in {} s", REQUEST.as_secs())]
    Silence {
        /// The server's host and port.
        host: String,
        /// What was asked for.
        request: String,
    },
    /// The server refused.
    #[error("{host} answered {request} with HTTP {code}: {message}")]
    Refused {
        /// The server's host and port.
        host: String,
        /// What was asked for.
        request: String,
        /// The status code.
        code: u16,
        /// What the server says.
        message: String,
    },
    /// A redirect, or another answer without a body to read.
    #[error("{host} answered {request} with HTTP {code}, and redirects are not followed: name the API server itself")]
    Redirected {
        /// The server's host and port.
        host: String,
        /// What was asked for.
        request: String,
        /// The status code.
        code: u16,
    },
    /// A body without end.
    #[error("the answer of {host} to {request} is longer than {most} bytes")]
    TooLong {
        /// The server's host and port.
        host: String,
        /// What was asked for.
        request: String,
        /// How long it may be.
        most: usize,
    },
    /// Not what an API server answers.
    #[error("the answer of {host} to {request} can't be read: line {line}, column {column}")]
    Garbled {
        /// The server's host and port.
        host: String,
        /// What was asked for.
        request: String,
        /// Where in the body.
        line: usize,
        /// Where in the line.
        column: usize,
    },
}

/// How much of a list was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    Whole,
    /// There is more.
    Bounded,
}

/// A client that sends the credentials of one kubeconfig to the server in it, and nothing else to nobody else.
pub struct WorkloadClient {
    client: Client,
    /// By which the end of a tunnel is trusted; the management cluster has none.
    config: Option<Config>,
    host: String,
    authorities: Vec<CertificateDer<'static>>,
    /// What a server could say back.
    token: Option<SecretString>,
    discovery: Discovery,
}

/// What of each item is listed.
#[derive(Clone, Copy)]
enum Part {
    Whole,
    Metadata,
}

#[derive(Deserialize)]
struct Page<T> {
    #[serde(default)]
    metadata: PageMetadata,
    items: Option<Vec<T>>,
}

#[derive(Deserialize, Default)]
struct PageMetadata {
    #[serde(default, rename = "continue")]
    next: Option<String>,
}

impl WorkloadClient {
    /// A client that hasn't asked for anything yet.
    ///
    /// # Errors
    /// Where TLS can't use the certificates.
    pub fn new(kubeconfig: &Kubeconfig) -> Result<Self, CallError> {
        let mut config = Config::new(kubeconfig.server.clone());
        let authorities = &kubeconfig.authorities;
        config.root_cert = Some(authorities.iter().map(|authority| authority.to_vec()).collect());
        config.connect_timeout = Some(CONNECT);
        config.read_timeout = Some(REQUEST);
        config.write_timeout = Some(REQUEST);
        // A retry inside would hide the error, and multiply the requests.
        config.default_retry = false;
        if let Some(certificate) = &kubeconfig.certificate {
            config.auth_info.client_certificate_data = Some(certificate.chain.clone());
            config.auth_info.client_key_data = Some(certificate.key.clone());
        }
        config.auth_info.token.clone_from(&kubeconfig.token);
        let client = Client::try_from(config.clone()).map_err(|error| CallError::Unusable {
            why: ErrorChain(&error).to_string(),
        })?;
        Ok(Self {
            client,
            config: Some(config),
            host: kubeconfig.host().to_owned(),
            authorities: authorities.clone(),
            token: kubeconfig.token.clone(),
            discovery: Discovery::default(),
        })
    }

    /// A client of the management cluster, with its own credentials and the bounds of this one.
    #[must_use]
    pub fn of_management(client: Client) -> Self {
        Self {
            client,
            config: None,
            host: "the management cluster".to_owned(),
            authorities: Vec::new(),
            token: None,
            discovery: Discovery::default(),
        }
    }

    /// What this client has learnt of kinds.
    pub(crate) const fn discovery(&self) -> &Discovery {
        &self.discovery
    }

    /// Asks for the version, which every user may, and for one Node: an API server without its etcd answers the first and
    /// not the second. That the user may not read Nodes is an answer.
    ///
    /// # Errors
    /// Where nothing answers, or not as an API server that works.
    pub async fn reach(&self) -> Result<(), CallError> {
        self.one::<IgnoredAny>("/version").await?;
        match self.one::<IgnoredAny>("/api/v1/nodes?limit=1").await {
            Err(CallError::Refused { code, .. }) if code < 500 => Ok(()),
            answer => answer.map(drop),
        }
    }

    /// The server's host and port.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// The certificates that those of the server are signed with, as DER.
    pub(crate) fn authorities(&self) -> impl Iterator<Item = &[u8]> {
        self.authorities.iter().map(AsRef::as_ref)
    }

    /// Reads one object.
    pub(crate) async fn one<T: DeserializeOwned>(&self, path: &str) -> Result<T, CallError> {
        let request = Request::get(path).body(Vec::new());
        self.get(request.map_err(|error| self.unreachable(&error))?).await
    }

    /// Reads the items of a list page by page, up to so many of them.
    pub(crate) async fn each<T: DeserializeOwned>(
        &self,
        path: &str,
        most: usize,
        take: impl FnMut(T),
    ) -> Result<Extent, CallError> {
        self.each_selected(path, ListParams::default(), most, take).await
    }

    /// The same for those that selectors select.
    pub(crate) async fn each_selected<T: DeserializeOwned>(
        &self,
        path: &str,
        selected: ListParams,
        most: usize,
        take: impl FnMut(T),
    ) -> Result<Extent, CallError> {
        self.pages(path, selected, Part::Whole, most, take).await
    }

    /// The metadata alone of the items of a list.
    pub(crate) async fn each_metadata<T: DeserializeOwned>(
        &self,
        path: &str,
        most: usize,
        take: impl FnMut(T),
    ) -> Result<Extent, CallError> {
        self.pages(path, ListParams::default(), Part::Metadata, most, take)
            .await
    }

    async fn pages<T: DeserializeOwned>(
        &self,
        path: &str,
        selected: ListParams,
        part: Part,
        most: usize,
        mut take: impl FnMut(T),
    ) -> Result<Extent, CallError> {
        let (mut taken, mut next, mut limit, mut pages) = (0, None, PAGE, 0);
        // A page may be empty and not be the last one.
        while pages < most.div_ceil(limit as usize) + 1 {
            let parameters = ListParams {
                limit: Some(limit),
                continue_token: next.clone(),
                ..selected.clone()
            };
            let listing = Listing::new(path);
            let request = match part {
                Part::Whole => listing.list(&parameters),
                Part::Metadata => listing.list_metadata(&parameters),
            };
            let request = request.map_err(|error| self.unreachable(&error))?;
            let page: Page<T> = match self.get(request).await {
                Err(CallError::TooLong { .. }) if limit > SMALL_PAGE => {
                    limit = SMALL_PAGE;
                    continue;
                }
                answer => answer?,
            };
            pages += 1;
            for item in page.items.into_iter().flatten() {
                if taken == most {
                    return Ok(Extent::Bounded);
                }
                taken += 1;
                take(item);
            }
            next = page.metadata.next.filter(|next| !next.is_empty());
            if next.is_none() {
                return Ok(Extent::Whole);
            }
        }
        Ok(Extent::Bounded)
    }

    /// Sends a write that is only tried: the path has the query `dryRun=All`.
    pub(crate) async fn try_write(&self, path: &str, body: &Value) -> Result<(), CallError> {
        let request = Request::post(format!("{path}?dryRun=All"))
            .header(CONTENT_TYPE, "application/json")
            .body(body.to_string().into_bytes());
        let request = request.map_err(|error| self.unreachable(&error))?;
        self.get::<IgnoredAny>(request).await.map(drop)
    }

    /// Sends a patch, and gives the object that comes of it.
    pub(crate) async fn patch(&self, path: &str, content_type: &str, body: &Value) -> Result<Value, CallError> {
        let request = Request::patch(path)
            .header(CONTENT_TYPE, content_type)
            .body(body.to_string().into_bytes());
        let request = request.map_err(|error| self.unreachable(&error))?;
        self.get(request).await
    }

    async fn get<T: DeserializeOwned>(&self, request: Request<Vec<u8>>) -> Result<T, CallError> {
        let asked = format!("{} {}", request.method(), request.uri().path());
        let answer = self.answer(request.map(Body::from), &asked);
        let bytes = self.in_time(answer, &asked).await?;
        serde_json::from_slice(&bytes).map_err(|error| CallError::Garbled {
            host: self.host.clone(),
            request: asked,
            line: error.line(),
            column: error.column(),
        })
    }

    /// A call that ends by the deadline, and of which nothing is logged.
    async fn in_time<T>(&self, call: impl Future<Output = Result<T, CallError>>, asked: &str) -> Result<T, CallError> {
        // What kube and hyper log of a request is nobody's business, and a dead cluster would fill the log.
        let call = call.with_subscriber(NoSubscriber::default());
        timeout(REQUEST, call).await.map_err(|_| CallError::Silence {
            host: self.host.clone(),
            request: asked.to_owned(),
        })?
    }

    async fn answer(&self, request: Request<Body>, asked: &str) -> Result<Vec<u8>, CallError> {
        let answer = self.client.send(request).await;
        let answer = answer.map_err(|error| self.unreachable(&error))?;
        let code = answer.status();
        let bytes = self.bounded(answer.into_body(), asked).await?;
        if code == StatusCode::OK || code == StatusCode::CREATED {
            return Ok(bytes.into());
        }
        Err(self.refused(code, &bytes, asked))
    }

    /// A body that is kept whole.
    async fn bounded<B>(&self, body: B, asked: &str) -> Result<Bytes, CallError>
    where
        B: hyper::body::Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        match Limited::new(body, MOST_BODY).collect().await {
            Ok(body) => Ok(body.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => Err(CallError::TooLong {
                host: self.host.clone(),
                request: asked.to_owned(),
                most: MOST_BODY,
            }),
            Err(error) => Err(self.unreachable(&*error)),
        }
    }

    /// What an answer says that isn't what was asked for.
    fn refused(&self, code: StatusCode, bytes: &[u8], asked: &str) -> CallError {
        let (host, request, code) = (self.host.clone(), asked.to_owned(), code.as_u16());
        if code < 400 {
            return CallError::Redirected { host, request, code };
        }
        // Of what isn't an API server's own answer, such as a proxy's page, the code says enough.
        let status: Option<Status> = serde_json::from_slice(bytes).ok();
        let message = status.map_or_else(|| "no reason given".to_owned(), |status| self.quoted(&status.message));
        CallError::Refused {
            host,
            request,
            code,
            message,
        }
    }

    fn unreachable(&self, error: &(dyn std::error::Error + 'static)) -> CallError {
        CallError::Unreachable {
            host: self.host.clone(),
            why: self.quoted(without_time(&ErrorChain(error).to_string())),
        }
    }

    /// What a server says, on one line and without the token that it was sent.
    fn quoted(&self, text: &str) -> String {
        let text = match &self.token {
            Some(token) => text.replace(token.expose_secret(), "(token)"),
            None => text.to_owned(),
        };
        let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
        line.chars()
            .filter(|character| !character.is_control())
            .take(MOST_MESSAGE)
            .collect()
    }
}

/// Of an expired certificate rustls says how long ago that was, which would be news each time.
fn without_time(error: &str) -> &str {
    error.split(": verification time").next().unwrap_or(error)
}

#[cfg(test)]
mod tests;
