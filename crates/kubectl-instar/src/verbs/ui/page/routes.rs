//! What is served: by GET all that is shown, by POST what the user has allowed the page to do.

use std::sync::{Arc, atomic::Ordering};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, RawQuery, State},
    http::{HeaderMap, StatusCode, header},
    middleware,
    response::{Html, IntoResponse, Redirect, Response, Sse, sse::KeepAlive},
    routing::{get, post},
};
use instar_report::{
    Action,
    html::{self, Listed, Live, Writes},
};
use jiff::Timestamp;

use super::{
    actions, guard,
    served::{MOST_PAGES, Served, is_name, nothing},
    stream,
    subject::{self, Subject},
};
use crate::connection::Connection;

pub(super) fn router(served: Arc<Served>) -> Router {
    let shown = Router::new()
        .route("/{token}/", get(fleet))
        .route("/{token}/events", get(fleet_events))
        .route("/{token}/page.css", get(style))
        .route("/{token}/page.js", get(script))
        .route("/{token}/c/{namespace}/{name}", get(cluster))
        .route("/{token}/c/{namespace}/{name}/events", get(cluster_events))
        .route("/{token}/c/{namespace}/{name}/report.json", get(report))
        .route("/{token}/c/{namespace}/{name}/report.html", get(export));
    let writes = served.writes();
    let routes = match writes {
        Writes::Nothing => shown,
        Writes::Actions => with_actions(shown),
    };
    let token = Arc::clone(&served.token);
    let guarded = guard::Guarded {
        token: Arc::clone(&token),
        ticket: Arc::clone(&served.ticket),
        writes,
    };
    routes
        // Not before the routes below: they have the ticket. A path that fits none of them, such as /open/events, may fit
        // one above.
        .route_layer(middleware::from_fn_with_state(token, guard::token_alone))
        .route("/open/{ticket}", get(open))
        .route("/open/{ticket}/{namespace}/{name}", get(open_cluster))
        .fallback(nothing)
        .with_state(served)
        .layer(middleware::from_fn_with_state(guarded, guard::guard))
}

/// An address for each action, beside those of its Cluster.
fn with_actions(mut routes: Router<Arc<Served>>) -> Router<Arc<Served>> {
    for action in Action::ALL {
        let path = format!("/{{token}}/c/{{namespace}}/{{name}}/{}", action.as_str());
        let handler = async move |State(served): State<Arc<Served>>,
                                  Path((_, namespace, name)): ClusterPath,
                                  headers: HeaderMap,
                                  body: Bytes| {
            actions::act(&served, (namespace, name), action, &headers, &body).await
        };
        routes = routes.route(&path, post(handler).layer(DefaultBodyLimit::max(actions::LONGEST)));
    }
    routes
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

async fn fleet(State(served): State<Arc<Served>>) -> Response {
    let page = Shown {
        subject: Subject::Fleet(served.scope),
        connection: served.connection.clone(),
        root: "",
        events: "events".to_owned(),
        links: Vec::new(),
    };
    page.response(&served).await
}

async fn fleet_events(State(served): State<Arc<Served>>) -> Response {
    let (subject, connection) = (Subject::Fleet(served.scope), served.connection.clone());
    events(served, subject, connection)
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
    page.response(&served).await
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
    events(served, Subject::Cluster { name, machines }, connection)
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
    async fn response(&self, served: &Served) -> Response {
        let read = self.subject.fragment(&self.connection, served.forms()).await;
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
            writes: served.writes(),
        };
        Html(html::live(&fragment, &live)).into_response()
    }
}

fn events(served: Arc<Served>, subject: Subject, connection: Connection) -> Response {
    let Ok(permit) = Arc::clone(&served.pages).try_acquire_owned() else {
        let why = format!("{MOST_PAGES} pages are open: close one\n");
        return (StatusCode::SERVICE_UNAVAILABLE, why).into_response();
    };
    Sse::new(stream::events(served, subject, connection, permit))
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
