//! What is served, all of it by GET.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::{
    Json, Router,
    extract::{Path, RawQuery, State},
    http::{StatusCode, header},
    middleware,
    response::{Html, IntoResponse, Redirect, Response, Sse, sse::KeepAlive},
    routing::get,
};
use instar_report::html::{self, Listed, Live};
use jiff::Timestamp;
use tokio::sync::Semaphore;

use super::{
    guard,
    secret::Secret,
    stream,
    subject::{self, Scope, Subject},
};
use crate::{Error, connection::Connection};

/// So many pages are kept up to date at once.
const MOST_PAGES: usize = 32;

/// What the routes share.
pub(super) struct Served {
    connection: Connection,
    scope: Scope,
    pub(super) token: Arc<Secret>,
    pub(super) ticket: Arc<Secret>,
    ticket_used: AtomicBool,
    pages: Arc<Semaphore>,
}

impl Served {
    pub(super) fn new(connection: Connection, scope: Scope) -> Result<Self, Error> {
        Ok(Self {
            connection,
            scope,
            token: Arc::new(Secret::new()?),
            ticket: Arc::new(Secret::new()?),
            ticket_used: AtomicBool::new(false),
            pages: Arc::new(Semaphore::new(MOST_PAGES)),
        })
    }

    fn in_namespace(&self, namespace: &str) -> Connection {
        self.connection.in_namespace(namespace)
    }
}

pub(super) fn router(served: Arc<Served>) -> Router {
    let token = Arc::clone(&served.token);
    let secrets = guard::Secrets {
        token: Arc::clone(&token),
        ticket: Arc::clone(&served.ticket),
    };
    Router::new()
        .route("/{token}/", get(fleet))
        .route("/{token}/events", get(fleet_events))
        .route("/{token}/page.css", get(style))
        .route("/{token}/page.js", get(script))
        .route("/{token}/c/{namespace}/{name}", get(cluster))
        .route("/{token}/c/{namespace}/{name}/events", get(cluster_events))
        .route("/{token}/c/{namespace}/{name}/report.json", get(report))
        .route("/{token}/c/{namespace}/{name}/report.html", get(export))
        // Not before the routes below: they have the ticket. A path that fits none of them, such as /open/events, may fit
        // one above.
        .route_layer(middleware::from_fn_with_state(token, guard::token_alone))
        .route("/open/{ticket}", get(open))
        .route("/open/{ticket}/{namespace}/{name}", get(open_cluster))
        .fallback(nothing)
        .with_state(served)
        .layer(middleware::from_fn_with_state(secrets, guard::guard))
}

async fn nothing() -> Response {
    (StatusCode::NOT_FOUND, "nothing is here: the first page is at /TOKEN/\n").into_response()
}

async fn style() -> Response {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], html::STYLE).into_response()
}

async fn script() -> Response {
    ([(header::CONTENT_TYPE, "text/javascript; charset=utf-8")], html::SCRIPT).into_response()
}

async fn open(State(served): State<Arc<Served>>, Path(ticket): Path<String>) -> Response {
    redeem(&served, &ticket, "")
}

async fn open_cluster(
    State(served): State<Arc<Served>>,
    Path((ticket, namespace, name)): Path<(String, String, String)>,
) -> Response {
    if is_name(&namespace) && is_name(&name) {
        redeem(&served, &ticket, &format!("c/{namespace}/{name}"))
    } else {
        nothing().await
    }
}

/// A ticket leads to the page once.
fn redeem(served: &Served, ticket: &str, page: &str) -> Response {
    if !served.ticket.is(ticket) || served.ticket_used.swap(true, Ordering::SeqCst) {
        let why = "refused: this link was used already. Open the address that `kubectl instar ui` printed; if it wasn't your \
                   browser that used it, end the program and start it again.\n";
        return (StatusCode::FORBIDDEN, why).into_response();
    }
    Redirect::to(&format!("/{}/{page}", served.token.as_str())).into_response()
}

/// As Kubernetes names objects: nothing in it means anything to a path.
fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
    (1..=253).contains(&name.len()) && name.bytes().all(allowed) && !name.starts_with('.')
}

async fn fleet(State(served): State<Arc<Served>>) -> Response {
    let page = Shown {
        subject: Subject::Fleet(served.scope),
        connection: served.connection.clone(),
        root: "",
        events: "events".to_owned(),
        links: Vec::new(),
    };
    page.response().await
}

async fn fleet_events(State(served): State<Arc<Served>>) -> Response {
    events(&served, Subject::Fleet(served.scope), served.connection.clone())
}

type ClusterPath = Path<(String, String, String)>;

async fn cluster(
    State(served): State<Arc<Served>>,
    Path((_, namespace, name)): ClusterPath,
    RawQuery(query): RawQuery,
) -> Response {
    if !is_name(&namespace) || !is_name(&name) {
        return nothing().await;
    }
    let machines = listed(query.as_deref());
    let query = match machines {
        Listed::Some => "",
        Listed::All => "?machines=all",
    };
    let page = Shown {
        connection: served.in_namespace(&namespace),
        root: "../../",
        events: format!("{name}/events{query}"),
        links: vec![
            ("As one file, for a ticket", format!("{name}/report.html")),
            ("As JSON", format!("{name}/report.json")),
        ],
        subject: Subject::Cluster { name, machines },
    };
    page.response().await
}

async fn cluster_events(
    State(served): State<Arc<Served>>,
    Path((_, namespace, name)): ClusterPath,
    RawQuery(query): RawQuery,
) -> Response {
    if !is_name(&namespace) || !is_name(&name) {
        return nothing().await;
    }
    let machines = listed(query.as_deref());
    let connection = served.in_namespace(&namespace);
    events(&served, Subject::Cluster { name, machines }, connection)
}

fn listed(query: Option<&str>) -> Listed {
    match query {
        Some("machines=all") => Listed::All,
        Some(_) | None => Listed::Some,
    }
}

/// A page as it is sent first: it is whole without a script.
struct Shown {
    subject: Subject,
    connection: Connection,
    root: &'static str,
    events: String,
    links: Vec<(&'static str, String)>,
}

impl Shown {
    async fn response(&self) -> Response {
        let read = self.subject.fragment(&self.connection).await;
        let now = Timestamp::now();
        let (fragment, lost) = match read {
            Ok(fragment) => (fragment, String::new()),
            Err(why) => (self.subject.placeholder(&self.connection), stream::lost(&why, now)),
        };
        let links: Vec<(&str, &str)> = self.links.iter().map(|(name, link)| (*name, link.as_str())).collect();
        let live = Live {
            root: self.root,
            events: &self.events,
            links: &links,
            lost: &lost,
            now,
        };
        Html(html::live(&fragment, &live)).into_response()
    }
}

fn events(served: &Served, subject: Subject, connection: Connection) -> Response {
    let Ok(permit) = Arc::clone(&served.pages).try_acquire_owned() else {
        let why = format!("{MOST_PAGES} pages are open: close one\n");
        return (StatusCode::SERVICE_UNAVAILABLE, why).into_response();
    };
    Sse::new(stream::events(subject, connection, permit))
        .keep_alive(KeepAlive::default())
        .into_response()
}

async fn report(State(served): State<Arc<Served>>, Path((_, namespace, name)): ClusterPath) -> Response {
    if !is_name(&namespace) || !is_name(&name) {
        return nothing().await;
    }
    match subject::report(&served.in_namespace(&namespace), &name).await {
        Ok(report) => Json(report).into_response(),
        Err(why) => unreadable(why),
    }
}

async fn export(State(served): State<Arc<Served>>, Path((_, namespace, name)): ClusterPath) -> Response {
    if !is_name(&namespace) || !is_name(&name) {
        return nothing().await;
    }
    let report = match subject::report(&served.in_namespace(&namespace), &name).await {
        Ok(report) => report,
        Err(why) => return unreadable(why),
    };
    match html::export(&report, Timestamp::now()) {
        Ok(page) => {
            let file = format!("attachment; filename=\"{namespace}-{name}.html\"");
            ([(header::CONTENT_DISPOSITION, file)], Html(page)).into_response()
        }
        Err(error) => unreadable(error.to_string()),
    }
}

fn unreadable(why: String) -> Response {
    (StatusCode::BAD_GATEWAY, why + "\n").into_response()
}
