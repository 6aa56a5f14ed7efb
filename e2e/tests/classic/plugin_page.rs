//! The page of the kubectl plugin, asked as a browser asks for it: on a real API server, from no upgrade to no Cluster.

use std::time::Duration;

use instar_e2e::{
    Context, Result,
    support::{
        classic::{self, NAME},
        commands::{Served, kubectl, plugin, plugin_serving},
        fixtures::Shape,
        journeys::JourneyContext,
    },
};
use reqwest::StatusCode;
use serde_json::Value;
use tokio::time::timeout;

const SHAPE: Shape<'_> = Shape {
    control_plane: 1,
    pools: &[],
};

const DEADLINE: Duration = Duration::from_mins(5);

/// The page says what `status` says, to who knows the token alone, follows the upgrade that its own form begins, pauses and
/// resumes it, says what admission refuses, and that the Cluster is gone.
pub(crate) async fn follows(scene: JourneyContext) -> Result<()> {
    let rows = scene.rows()?;
    for minor in [33, 34] {
        scene.apply_object(rows.row(minor, 1)).await?;
    }
    classic::create_with(&scene, &rows, &SHAPE).await?;
    let Served { address, child } = plugin_serving(&scene, &["ui", NAME, "--no-open", "--allow-actions"]).await?;
    let http = plain()?;
    refused(&http, &address).await?;

    let page = http.get(&address).send().await?.text().await?;
    assert!(page.contains("No upgrade"), "{page}");
    let live = http.get(format!("{address}/report.json")).send().await?.text().await?;
    let live: Value = serde_json::from_str(&live)?;
    let status = plugin(&scene, &["status", NAME, "-o", "json"]).await?.stdout;
    assert_eq!(
        live,
        serde_json::from_str::<Value>(&status)?,
        "the page has another opinion"
    );
    let file = http.get(format!("{address}/report.html")).send().await?.text().await?;
    assert!(file.contains("default-src 'none'") && !file.contains("<link"), "{file}");

    let mut events = Events::open(&http, &address).await?;
    events.until("No upgrade").await?;
    let target = rows.version(34);
    let (status, refused) = act(&http, &address, "upgrade", &[("target", " ")]).await?;
    assert!(status.is_client_error(), "{status}: {refused}");
    assert!(
        refused.contains("Not done") && refused.contains("the target is empty"),
        "{refused}"
    );
    // It is created, and admission warns of it; the controller would wait for the release.
    let (status, warned) = act(&http, &address, "upgrade", &[("target", "v1.99.9")]).await?;
    assert!(status.is_success() && warned.contains("created"), "{status}: {warned}");
    assert!(warned.contains("[rule upgrade-target]"), "{warned}");
    kubectl(&scene, &["delete", "clusterupgrade", &format!("{NAME}-v1.99.9")], "").await?;
    let (status, begun) = act(&http, &address, "upgrade", &[("target", &target)]).await?;
    assert!(status.is_success() && begun.contains("created"), "{status}: {begun}");
    let command = format!("kubectl instar upgrade {NAME} -n {} --to {target}", scene.namespace);
    assert!(begun.contains(&command), "{begun}");
    events.until(&format!("Upgrade to {target}")).await?;
    events.until("The machines of the control plane are replaced.").await?;
    let (status, paused) = act(&http, &address, "pause", &[]).await?;
    assert!(status.is_success() && paused.contains("paused"), "{status}: {paused}");
    events.until("It is paused by spec.paused").await?;
    let (status, resumed) = act(&http, &address, "resume", &[]).await?;
    assert!(
        status.is_success() && resumed.contains("resumed"),
        "{status}: {resumed}"
    );
    let spec = kubectl(
        &scene,
        &["get", "clusterupgrades", "-o", "jsonpath={.items[*].spec.paused}"],
        "",
    )
    .await?;
    assert_ne!(spec.stdout.trim(), "true", "it was resumed");

    kubectl(
        &scene,
        &["delete", "clusters.cluster.x-k8s.io", NAME, "--wait=false"],
        "",
    )
    .await?;
    events.until("event: lost").await?;
    events.until(&format!("Cluster {NAME} was not found")).await?;
    drop(child);
    Ok(())
}

/// What the form of an action on the page sends when it is clicked, with what the user has typed.
async fn act(
    http: &reqwest::Client,
    address: &str,
    action: &str,
    typed: &[(&str, &str)],
) -> Result<(StatusCode, String)> {
    let page = http.get(address).send().await?.text().await?;
    let start = format!("action=\"{NAME}/{action}\"");
    let form = page.split("<form").find(|form| form.contains(&start));
    let form = form.with_context(|| format!("the page has no form of {action}: {page}"))?;
    let form = form.split("</form>").next().unwrap_or_default();
    let attribute = |input: &str, name: &str| {
        let value = input.split(&format!("{name}=\"")).nth(1)?;
        value.split('"').next().map(|value| value.replace("&quot;", "\""))
    };
    let hidden = form
        .split("<input ")
        .filter_map(|input| Some((attribute(input, "name")?, attribute(input, "value")?)));
    let typed = typed
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let body = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(hidden.chain(typed))
        .finish();
    let origin = address.split('/').take(3).collect::<Vec<&str>>().join("/");
    let request = http.post(format!("{address}/{action}")).header("origin", origin);
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    let response = request.body(body).send().await?;
    Ok((response.status(), response.text().await?))
}

/// Another user of the machine knows the port; another page knows even the address.
async fn refused(http: &reqwest::Client, address: &str) -> Result<()> {
    let (origin, path) = address.split_at(address.find("/c/").context("the address has no Cluster")?);
    let port = origin.rsplit_once('/').context("the address has no token")?.0;
    for (url, origin) in [
        (format!("{port}{path}"), None),
        (address.to_owned(), Some("http://evil.test")),
    ] {
        let mut request = http.get(&url);
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        let response = request.send().await?;
        assert_eq!(response.status(), StatusCode::FORBIDDEN, "{url}");
        let text = response.text().await?;
        assert!(text.starts_with("refused: "), "{text}");
    }
    Ok(())
}

/// The page has no certificate, and its stream no end.
fn plain() -> Result<reqwest::Client> {
    Ok(reqwest::Client::builder().tls_certs_only([]).no_proxy().build()?)
}

/// Server-sent events, as they come.
struct Events {
    response: reqwest::Response,
    read: String,
}

impl Events {
    async fn open(http: &reqwest::Client, address: &str) -> Result<Self> {
        let response = http.get(format!("{address}/events")).send().await?;
        assert_eq!(response.status(), StatusCode::OK);
        Ok(Self {
            response,
            read: String::new(),
        })
    }

    /// Reads until a text comes.
    async fn until(&mut self, text: &str) -> Result<()> {
        let waited = timeout(DEADLINE, async {
            while !self.read.contains(text) {
                let chunk = self.response.chunk().await?.context("the stream has ended")?;
                self.read.push_str(&String::from_utf8_lossy(&chunk));
            }
            Ok(())
        });
        let result = waited.await;
        result.with_context(|| format!("{text:?} didn't come; last: {}", self.read))?
    }
}
