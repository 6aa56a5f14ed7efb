//! Whether Cluster API asks Instar before each step of a topology Cluster, and the ExtensionConfig by which it does.
//!
//! Cluster API refuses an ExtensionConfig while its feature gate RuntimeSDK is off, so it is applied in a dry run first: that
//! is also how the gate is known. And at its start Cluster API's core asks each extension that there is, and ends if one
//! doesn't answer for a minute. So there is one only while a namespace has opted in.

mod extension;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use instar_api::{HOOKS_ENABLED, HOOKS_LABEL};
use instar_planner::{ClusterKind, Observed, RuntimeHooks, Snapshot};
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, ResourceExt, api::ListParams};
use tokio::{sync::watch, time::sleep};

use crate::{
    api::{Error, call},
    caches::Caches,
    lease::Leads,
    scope::Scope,
};
use extension::Found;
pub use extension::{ExtensionCa, ExtensionServer, remove_extension_config};
pub(crate) use extension::{NAME as EXTENSION, api as extension_api};

/// How often all is looked at.
const ROUND: Duration = Duration::from_mins(1);

/// The same while Cluster API has yet to find the server, or something failed.
const SOON: Duration = Duration::from_secs(5);

/// What is known, of all Clusters together.
pub(crate) struct Hooks {
    /// Absent where nothing says how Cluster API reaches the server.
    server: Option<ExtensionServer>,
    /// Where it isn't every Cluster, another controller may know of a server.
    scope: Scope,
    known: watch::Sender<Known>,
}

/// What the last look found.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Known {
    /// The first look hasn't ended.
    NotLooked,
    /// Cluster API asks for no Cluster, and this is why.
    Off(String),
    /// Nothing, and this is why.
    Unknown(String),
    /// Cluster API asks for the Clusters of some namespaces.
    OptedIn {
        namespaces: BTreeSet<String>,
        server: Server,
    },
}

/// Whether Cluster API reaches the server.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Server {
    Found,
    Unknown(String),
}

/// Which Clusters are looked at again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wakes {
    All,
    /// Those with an upgrade that isn't over.
    Open,
    None,
}

impl Hooks {
    pub(crate) fn new(server: Option<ExtensionServer>, scope: &Scope) -> Self {
        let known = match &server {
            Some(_) => Known::NotLooked,
            None => Known::Off(
                "the controller runs without --extension-service or --extension-url, so Cluster API is told of no server"
                    .to_owned(),
            ),
        };
        Self {
            server,
            scope: scope.clone(),
            known: watch::Sender::new(known),
        }
    }

    /// Writes into a snapshot whether Cluster API asks.
    pub(crate) fn note(&self, snapshot: &mut Snapshot) {
        if let ClusterKind::Topology(topology) = &mut snapshot.cluster.kind
            && let Observed::Read(topology) = topology.as_mut()
        {
            topology.hooks = self.known.borrow().of(&snapshot.cluster.namespace);
        }
    }

    /// Whether the first look since this process began hasn't ended. It ends by the deadlines of its calls.
    pub(crate) fn awaits_first_look(&self) -> bool {
        *self.known.borrow() == Known::NotLooked
    }

    /// Looks again and again, and wakes all Clusters when something has changed for one of them.
    pub(crate) async fn run(&self, client: &Client, caches: &Arc<Caches>, leads: &Leads) {
        let Some(server) = &self.server else {
            return self.without_server(client, leads).await;
        };
        loop {
            if !leads.now() {
                sleep(SOON).await;
                continue;
            }
            let before = self.known.borrow().clone();
            let known = match look(client, server).await {
                Ok(known) => known,
                Err(error) => before.clone().after(&error),
            };
            let next = match known {
                Known::Off(_)
                | Known::OptedIn {
                    server: Server::Found, ..
                } => ROUND,
                Known::NotLooked
                | Known::Unknown(_)
                | Known::OptedIn {
                    server: Server::Unknown(_),
                    ..
                } => SOON,
            };
            if known != before {
                known.log();
                let wakes = known.wakes(&before);
                self.known.send_replace(known);
                match wakes {
                    Wakes::All => caches.wake_all(),
                    Wakes::Open => caches.wake_open(),
                    Wakes::None => {}
                }
            }
            sleep(next).await;
        }
    }

    /// Without a server Cluster API would go on asking by an ExtensionConfig of before, and nothing would answer any more.
    async fn without_server(&self, client: &Client, leads: &Leads) {
        if !self.scope.is_whole() {
            return std::future::pending().await;
        }
        while !leads.now() {
            sleep(SOON).await;
        }
        let why = "the controller knows of no server for it";
        while let Err(error) = extension::remove(client, why, extension::Write::Made).await {
            tracing::warn!("Cannot delete the ExtensionConfig of before: {error}");
            sleep(ROUND).await;
        }
        std::future::pending::<()>().await;
    }
}

impl Known {
    fn of(&self, namespace: &str) -> RuntimeHooks {
        match self {
            Self::NotLooked => RuntimeHooks::NotLooked,
            Self::Off(why) => RuntimeHooks::Off(why.clone()),
            Self::OptedIn { namespaces, .. } if !namespaces.contains(namespace) => RuntimeHooks::Off(format!(
                "namespace {namespace} doesn't have the label {HOOKS_LABEL}: {HOOKS_ENABLED}"
            )),
            Self::Unknown(why)
            | Self::OptedIn {
                server: Server::Unknown(why),
                ..
            } => RuntimeHooks::Unknown(why.clone()),
            Self::OptedIn {
                server: Server::Found, ..
            } => RuntimeHooks::On,
        }
    }

    /// What is known when a look failed: who has opted in is not forgotten by that.
    fn after(self, error: &Error) -> Self {
        let why = error.to_string();
        match self {
            Self::NotLooked | Self::Off(_) | Self::Unknown(_) => Self::Unknown(why),
            Self::OptedIn { namespaces, .. } => Self::OptedIn {
                namespaces,
                server: Server::Unknown(why),
            },
        }
    }

    fn has_namespaces(&self) -> bool {
        match self {
            Self::NotLooked | Self::Off(_) | Self::Unknown(_) => false,
            Self::OptedIn { namespaces, .. } => !namespaces.is_empty(),
        }
    }

    /// Whom it concerns that this is known now, and something else was before.
    fn wakes(&self, before: &Self) -> Wakes {
        if before.has_namespaces() || self.has_namespaces() {
            return Wakes::All;
        }
        // Where no namespace opts in, nothing is decided by it, but statuses wait for the first look, or say that it isn't
        // known.
        match (before, self) {
            (Self::NotLooked, _) | (Self::Unknown(_), Self::Off(_) | Self::OptedIn { .. }) => Wakes::Open,
            (Self::Unknown(_), Self::NotLooked | Self::Unknown(_)) | (Self::Off(_) | Self::OptedIn { .. }, _) => {
                Wakes::None
            }
        }
    }

    fn log(&self) {
        match self {
            Self::OptedIn {
                namespaces,
                server: Server::Found,
            } => tracing::info!(namespaces = namespaces.len(), "Runtime Hooks are on"),
            Self::NotLooked => {}
            Self::Off(why) => tracing::info!("Runtime Hooks are off: {why}"),
            Self::Unknown(why)
            | Self::OptedIn {
                server: Server::Unknown(why),
                ..
            } => tracing::warn!("Runtime Hooks can't be relied on: {why}"),
        }
    }
}

async fn look(client: &Client, server: &ExtensionServer) -> Result<Known, Error> {
    // It is one object for all controllers that run: read before the namespaces, so that one that another controller has
    // applied for a namespace that opted in meanwhile isn't deleted.
    let before = extension::ours(client).await?;
    let namespaces = opted_in(client).await?;
    let found = if namespaces.is_empty() {
        if let Some(unused) = before {
            let why = "no namespace opts in to Runtime Hooks";
            extension::delete(client, &unused, why, extension::Write::Made).await?;
        }
        extension::apply(client, server, extension::Write::Tried).await?
    } else {
        extension::apply(client, server, extension::Write::Made).await?
    };
    let server = match found {
        Found::Refused(why) => return Ok(Known::Off(why)),
        Found::Applied => Server::Found,
        // In a dry run nothing is discovered.
        Found::Undiscovered(_) if namespaces.is_empty() => Server::Found,
        Found::Undiscovered(why) => Server::Unknown(why),
    };
    Ok(Known::OptedIn { namespaces, server })
}

async fn opted_in(client: &Client) -> Result<BTreeSet<String>, Error> {
    let api: Api<Namespace> = Api::all(client.clone());
    let parameters = ListParams::default().labels(&format!("{HOOKS_LABEL}={HOOKS_ENABLED}"));
    let listed = call(
        || "listing the namespaces that opt in to Runtime Hooks".to_owned(),
        api.list_metadata(&parameters),
    )
    .await?;
    Ok(listed.items.iter().map(ResourceExt::name_any).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_that_did_not_opt_in_has_none() {
        let why = || "why".to_owned();
        let opted_in = |server| Known::OptedIn {
            namespaces: ["in".to_owned()].into(),
            server,
        };
        let not_opted = RuntimeHooks::Off(
            "namespace out doesn't have the label upgrade.cluster.x-k8s.io/runtime-hooks: enabled".to_owned(),
        );
        let (off, unknown) = (RuntimeHooks::Off(why()), RuntimeHooks::Unknown(why()));
        let not_looked = RuntimeHooks::NotLooked;
        for (known, inside, outside) in [
            (opted_in(Server::Found), RuntimeHooks::On, not_opted.clone()),
            (opted_in(Server::Unknown(why())), unknown.clone(), not_opted),
            (Known::Off(why()), off.clone(), off),
            // Before the first look it isn't known who has opted in: nothing that was answered is taken back.
            (Known::Unknown(why()), unknown.clone(), unknown),
            (Known::NotLooked, not_looked.clone(), not_looked),
        ] {
            assert_eq!(known.of("in"), inside, "{known:?}");
            assert_eq!(known.of("out"), outside, "{known:?}");
        }
    }

    #[test]
    fn what_is_known_now_wakes_those_whose_status_says_otherwise() {
        let why = || "why".to_owned();
        let opted_in = |namespaces: &[&str], server| Known::OptedIn {
            namespaces: namespaces.iter().map(ToString::to_string).collect(),
            server,
        };
        let (off, unknown) = (Known::Off(why()), Known::Unknown(why()));
        let (none, some) = (opted_in(&[], Server::Found), opted_in(&["in"], Server::Found));
        let lost = opted_in(&["in"], Server::Unknown(why()));
        for (before, after, wakes) in [
            (&Known::NotLooked, &off, Wakes::Open),
            (&Known::NotLooked, &none, Wakes::Open),
            (&Known::NotLooked, &unknown, Wakes::Open),
            (&Known::NotLooked, &some, Wakes::All),
            (&unknown, &off, Wakes::Open),
            (&unknown, &none, Wakes::Open),
            (&unknown, &some, Wakes::All),
            (&off, &unknown, Wakes::None),
            (&off, &none, Wakes::None),
            (&none, &off, Wakes::None),
            (&none, &some, Wakes::All),
            (&some, &lost, Wakes::All),
            (&some, &off, Wakes::All),
        ] {
            assert_eq!(after.wakes(before), wakes, "{before:?} {after:?}");
        }
    }

    #[test]
    fn a_look_that_fails_forgets_no_namespace() {
        let error = Error::NotLeader;
        let known = Known::OptedIn {
            namespaces: ["in".to_owned()].into(),
            server: Server::Found,
        };
        let after = known.after(&error);
        assert_eq!(after.of("in"), RuntimeHooks::Unknown(error.to_string()));
        assert!(after.has_namespaces());
        assert_eq!(
            Known::Off(String::new()).after(&error),
            Known::Unknown(error.to_string())
        );
    }
}
