//! One connection to a vCenter, and the calls on it.

use std::{io, sync::Arc, time::Duration};

use http::{
    Request, Response, StatusCode,
    header::{CONTENT_TYPE, COOKIE, HOST, SET_COOKIE, USER_AGENT},
};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::{
    body::{Bytes, Incoming},
    client::conn::http1::{SendRequest, handshake},
};
use hyper_util::rt::TokioIo;
use instar_watch::ErrorChain;
use rustls::{ClientConfig, crypto::ring, pki_types::ServerName};
use secrecy::{ExposeSecret, SecretString};
use tokio::{net::TcpStream, task::JoinSet, time::timeout};
use tokio_rustls::TlsConnector;
use tracing::{instrument::WithSubscriber, subscriber::NoSubscriber};

use crate::{
    address::Address,
    error::{CALL, LookError},
    soap::{self, Call, Fault, Garbled},
    thumbprint::{Pinned, Thumbprint},
};

/// How long it may take to connect, TLS included.
const CONNECT: Duration = Duration::from_secs(5);

/// How long an answer may be. A page of names has some 400 KiB.
const MOST_BODY: usize = 2 * 1024 * 1024;

/// As what a vCenter lists our sessions.
const AGENT: &str = concat!("instar/", env!("CARGO_PKG_VERSION"));

const SESSION: &str = "vmware_soap_session=";

/// How long the cookie of a session may be.
const MOST_COOKIE: usize = 1024;

/// An answer, or a fault that its caller knows what to do with.
pub(crate) enum Answer {
    Text(String),
    NotFound,
}

/// A connection to the server that has the certificate. It ends with this value.
pub(crate) struct Connection {
    host: String,
    sender: SendRequest<Full<Bytes>>,
    session: Option<SecretString>,
    _driver: JoinSet<()>,
}

impl Connection {
    /// Connects. Nothing is sent before the certificate was compared.
    pub(crate) async fn open(address: &Address, thumbprint: &Thumbprint) -> Result<Self, LookError> {
        let opening = Self::opened(address, thumbprint).with_subscriber(NoSubscriber::default());
        let opened = timeout(CONNECT, opening).await;
        opened.unwrap_or_else(|_| {
            Err(LookError::Unreachable {
                host: address.to_string(),
                why: format!("no answer in {} s", CONNECT.as_secs()),
            })
        })
    }

    async fn opened(address: &Address, thumbprint: &Thumbprint) -> Result<Self, LookError> {
        let host = address.to_string();
        let unreachable = |error: &(dyn std::error::Error + 'static)| LookError::Unreachable {
            host: address.to_string(),
            why: ErrorChain(error).to_string(),
        };
        let provider = Arc::new(ring::default_provider());
        let pinned = Pinned::new(thumbprint.clone(), &provider);
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| unreachable(&error))?
            .dangerous()
            .with_custom_certificate_verifier(pinned.clone())
            .with_no_client_auth();
        let name = ServerName::try_from(address.host().to_owned()).map_err(|error| unreachable(&error))?;
        let stream = TcpStream::connect((address.host(), address.port())).await;
        let stream = stream.map_err(|error| unreachable(&error))?;
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
        let stream = stream.map_err(|error: io::Error| match pinned.other() {
            Some(shown) => LookError::WrongThumbprint {
                host: address.to_string(),
                shown: Box::new(shown.clone()),
                expected: Box::new(thumbprint.clone()),
            },
            None => unreachable(&error),
        })?;
        let (sender, connection) = handshake(TokioIo::new(stream))
            .await
            .map_err(|error| unreachable(&error))?;
        let mut driver = JoinSet::new();
        // The call that waits for it says why it ended.
        driver.spawn(async move { drop(connection.await) });
        Ok(Self {
            host,
            sender,
            session: None,
            _driver: driver,
        })
    }

    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// Another connection of the same session, for what can't wait until this one has its answer.
    pub(crate) async fn beside(&self, address: &Address, thumbprint: &Thumbprint) -> Result<Self, LookError> {
        let mut beside = Self::open(address, thumbprint).await?;
        beside.session.clone_from(&self.session);
        Ok(beside)
    }

    /// Makes a call, and reads its answer.
    pub(crate) async fn call<T>(
        &mut self,
        call: &Call,
        read: impl Fn(&str) -> Result<T, Garbled>,
    ) -> Result<T, LookError> {
        match self.answer(call).await? {
            Answer::Text(text) => read(&text).map_err(|Garbled| self.garbled(call)),
            Answer::NotFound => Err(LookError::Refused {
                host: self.host.clone(),
                call: call.name,
                code: StatusCode::INTERNAL_SERVER_ERROR.as_u16(),
            }),
        }
    }

    pub(crate) fn garbled(&self, call: &Call) -> LookError {
        LookError::Garbled {
            host: self.host.clone(),
            call: call.name,
        }
    }

    /// Makes a call.
    pub(crate) async fn answer(&mut self, call: &Call) -> Result<Answer, LookError> {
        let host = self.host.clone();
        let answering = self.answered(call).with_subscriber(NoSubscriber::default());
        let answered = timeout(CALL, answering).await;
        answered.unwrap_or(Err(LookError::Silence { host, call: call.name }))
    }

    async fn answered(&mut self, call: &Call) -> Result<Answer, LookError> {
        let (host, name) = (self.host.clone(), call.name);
        let unreachable = |error: &(dyn std::error::Error + 'static)| LookError::Unreachable {
            host: host.clone(),
            why: format!("{name}: {}", ErrorChain(error)),
        };
        let mut request = Request::post("/sdk")
            .header(HOST, &host)
            .header(USER_AGENT, AGENT)
            .header(CONTENT_TYPE, "text/xml; charset=utf-8")
            .header("SOAPAction", "urn:vim25/6.7");
        if let Some(session) = &self.session {
            request = request.header(COOKIE, session.expose_secret());
        }
        let body = Full::from(call.body.expose_secret().to_owned());
        let request = request.body(body).map_err(|error| unreachable(&error))?;
        self.sender.ready().await.map_err(|error| unreachable(&error))?;
        let answer = self.sender.send_request(request).await;
        let answer = answer.map_err(|error| unreachable(&error))?;
        if let Some(session) = session(&answer) {
            self.session = Some(session);
        }
        let code = answer.status();
        let body = match Limited::new(answer.into_body(), MOST_BODY).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => return Err(LookError::TooLong { host, call: name }),
            Err(error) => return Err(unreachable(&*error)),
        };
        if code.is_redirection() {
            return Err(LookError::Redirected { host, call: name });
        }
        let text = String::from_utf8(body.into()).map_err(|_| self.garbled(call))?;
        match code {
            StatusCode::OK => Ok(Answer::Text(text)),
            StatusCode::INTERNAL_SERVER_ERROR => match soap::fault(&text) {
                Fault::InvalidLogin => Err(LookError::LoginRefused { host }),
                Fault::NoPermission => Err(LookError::NoPermission { host, call: name }),
                Fault::NotFound => Ok(Answer::NotFound),
                Fault::Other => Err(LookError::Refused {
                    host,
                    call: name,
                    code: code.as_u16(),
                }),
            },
            _ => Err(LookError::Refused {
                host,
                call: name,
                code: code.as_u16(),
            }),
        }
    }
}

/// The cookie of the session, without its attributes.
fn session(answer: &Response<Incoming>) -> Option<SecretString> {
    let cookies = answer.headers().get_all(SET_COOKIE).iter();
    let mut cookies = cookies.filter_map(|cookie| cookie.to_str().ok());
    let cookie = cookies.find(|cookie| cookie.starts_with(SESSION) && cookie.len() <= MOST_COOKIE)?;
    let cookie = cookie.split(';').next().unwrap_or_default();
    Some(SecretString::from(cookie.trim()))
}
