//! Who is answered: a browser of this machine that knows the token, on a page of this server.

use std::{fmt, sync::Arc};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use instar_report::html::Writes;

use super::secret::Secret;

/// The first part of the path of a ticket.
const OPEN: &str = "open";

/// Nothing but what this server sends is loaded or run, and no other page may show it in a frame.
macro_rules! policy {
    ($forms:literal) => {
        concat!(
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; form-action ",
            $forms,
            "; frame-ancestors 'none'"
        )
    };
}

/// Of pages without forms, and of pages with.
const POLICY: (&str, &str) = (policy!("'none'"), policy!("'self'"));

const HEADERS: [(HeaderName, &str); 5] = [
    (header::CACHE_CONTROL, "no-store"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Why a request isn't answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    /// It is for another host: a name of somebody else's that was made to lead here.
    Host,
    /// A page of another origin asks.
    Origin,
    /// What isn't read only comes from no page of this server.
    Unasked,
    /// The path begins with neither the token nor the ticket.
    Token,
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Host => {
                "refused: the header Host must be 127.0.0.1 or localhost. Open the address that `kubectl instar ui` printed.\n"
            }
            Self::Origin => "refused: a page of another origin asks. Paste the address into the browser's address bar.\n",
            Self::Unasked => {
                "refused: the header Origin must be that of the page, as a browser sends it with a form. Use the command that stands beside the form.\n"
            }
            Self::Token => {
                "refused: the address has no token, or one of an earlier run. Open the address that `kubectl instar ui` printed.\n"
            }
        })
    }
}

/// What a request has to know, one of both, and what is answered.
#[derive(Clone)]
pub(super) struct Guarded {
    pub(super) token: Arc<Secret>,
    /// It leads to the token once; whether it did already is known to its route.
    pub(super) ticket: Arc<Secret>,
    pub(super) writes: Writes,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (StatusCode::FORBIDDEN, self.to_string()).into_response()
    }
}

/// Before every route, and also where there is none.
pub(super) async fn guard(State(guarded): State<Guarded>, request: Request, next: Next) -> Response {
    let writes = guarded.writes;
    let mut response = match judge(&guarded, &request) {
        Err(refusal) => refusal.into_response(),
        Ok(()) => next.run(request).await,
    };
    let headers = response.headers_mut();
    // Without a referrer a browser would name no origin with a form.
    let (policy, referrer) = match writes {
        Writes::Nothing => (POLICY.0, "no-referrer"),
        Writes::Actions => (POLICY.1, "same-origin"),
    };
    let own = [
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::REFERRER_POLICY, referrer),
    ];
    for (name, value) in HEADERS.into_iter().chain(own) {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Before the routes that show something, once more: a router may take any word for the token.
pub(super) async fn token_alone(State(token): State<Arc<Secret>>, request: Request, next: Next) -> Response {
    if parts(request.uri().path()).next().is_some_and(|given| token.is(given)) {
        next.run(request).await
    } else {
        Refusal::Token.into_response()
    }
}

fn parts(path: &str) -> impl Iterator<Item = &str> {
    path.trim_start_matches('/').split('/')
}

fn judge(guarded: &Guarded, request: &Request) -> Result<(), Refusal> {
    let (path, headers) = (request.uri().path(), request.headers());
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let host = text(headers, &header::HOST).ok_or(Refusal::Host)?;
    if !is_loopback(host) {
        return Err(Refusal::Host);
    }
    match headers.get(header::ORIGIN) {
        Some(origin) => {
            let own = origin.to_str().ok().and_then(|origin| origin.strip_prefix("http://"));
            if own != Some(host) {
                return Err(Refusal::Origin);
            }
        }
        None if !reads => return Err(Refusal::Unasked),
        None => {}
    }
    // What a page of another site embeds has no Origin, but the browser says where it comes from. A link is let through: its
    // page can't read what it leads to.
    let site = text(headers, &HeaderName::from_static("sec-fetch-site"));
    let is_link = reads
        && text(headers, &HeaderName::from_static("sec-fetch-mode")) == Some("navigate")
        && text(headers, &HeaderName::from_static("sec-fetch-dest")) == Some("document");
    if !matches!(site, None | Some("same-origin" | "none")) && !is_link {
        return Err(Refusal::Origin);
    }
    let mut parts = parts(path);
    let (secret, given) = match parts.next() {
        Some(OPEN) => (&guarded.ticket, parts.next()),
        first => (&guarded.token, first),
    };
    if given.is_some_and(|given| secret.is(given)) {
        Ok(())
    } else {
        Err(Refusal::Token)
    }
}

/// A header that comes once, as text.
fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

/// The port is not compared: a tunnel has another one at its other end.
fn is_loopback(host: &str) -> bool {
    let (name, port) = host.rsplit_once(':').unwrap_or((host, ""));
    let is_port = port.bytes().all(|byte| byte.is_ascii_digit());
    is_port && (name == "127.0.0.1" || name.eq_ignore_ascii_case("localhost"))
}
