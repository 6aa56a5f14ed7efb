//! The certificates of the admission server, where nobody else keeps them: a CA, the server's certificate in the Secret that
//! its pods mount, and the CA in everything that calls the server.
//!
//! ```text
//! read ─▶ next_step ─▶ one step ─▶ read ...      until nothing is left to do
//! (Secrets, configurations, servers)  (pure)
//! ```
//!
//! The Secret of the CA is a Secret of its own, so that no pod mounts the key that signs. Nothing is listed or watched but
//! the EndpointSlices of the Service.

mod configurations;
mod decision;
mod endpoints;
mod issue;
mod metrics;
mod read;
mod store;
mod told;

use std::{net::IpAddr, time::Duration};

use instar_api::EventReason;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ObjectReference, Secret};
use kube::{Api, Client, runtime::events::Recorder};
use rustls::pki_types::ServerName;
use tokio::time::{Instant, sleep};

pub use configurations::WebhookConfiguration;
pub(crate) use metrics::CertificateMetrics;
pub(crate) use told::Told;

use crate::{
    api,
    events::{event, post},
    hooks::{EXTENSION, extension_api},
    lease::Leads,
};
use decision::{
    Certified, Configuration, Endpoints, Entry, Extension, Lifetimes, Rewrite, Seen, Signer, Step, Stored, next_step,
};
use metrics::Kept;
use told::{LONG, Say};

/// How often all is looked at.
const ROUND: Duration = Duration::from_mins(1);

/// The same while something is under way, or failed.
const SOON: Duration = Duration::from_secs(5);

/// How many steps are made without a pause. It takes four from nothing; more mean that another client undoes them.
const STEPS: usize = 6;

/// How much longer a CA is valid than what it signs.
const AUTHORITY_LIVES: i32 = 10;

/// Which certificates are kept, and for whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookCertificates {
    /// The namespace of the Secrets and the Service.
    pub namespace: String,
    /// The Service of the admission server.
    pub service: String,
    /// The Secret that the server's pods mount.
    pub secret: String,
    /// The Secret of the CA.
    pub authority_secret: String,
    /// Further names and addresses of the server, as [`webhook_host`] reads them.
    pub hosts: Vec<String>,
    /// What calls the server.
    pub configurations: Vec<WebhookConfiguration>,
    /// How long a certificate is valid; a CA is ten times as long.
    pub seconds: u32,
}

/// Reads a name or an address of a server, as a certificate has it.
pub fn webhook_host(text: &str) -> Result<String, String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(address.to_string());
    }
    match ServerName::try_from(text) {
        Ok(_) => Ok(text.to_lowercase()),
        Err(_) => Err("it is neither a DNS name nor an IP address".to_owned()),
    }
}

/// Why a pass failed.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Call(#[from] api::Error),
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
    #[error(
        "the CA in Secret {secret} can't be used: a client that trusts it would refuse the certificates that it signs for \
         {host}, for instance since its name constraints or key usages don't allow them. Delete that Secret, and the \
         controller makes another CA"
    )]
    Refused { secret: String, host: String },
}

/// What keeps them.
pub(crate) struct Keeper<'a> {
    pub(crate) certificates: &'a WebhookCertificates,
    pub(crate) client: &'a Client,
    pub(crate) leads: &'a Leads,
    pub(crate) recorder: &'a Recorder,
    pub(crate) metrics: &'a CertificateMetrics,
}

/// What a pass has read.
struct World {
    authority: Stored<read::Authority>,
    authority_secret: store::Found,
    secret: store::Found,
    configurations: Vec<configurations::Found>,
    seen: Seen,
}

impl Keeper<'_> {
    /// Looks again and again, and makes what is missing or about to end.
    pub(crate) async fn run(&self) {
        let mut told = Told::default();
        loop {
            sleep(self.round(&mut told).await).await;
        }
    }

    /// Makes what is missing or about to end, and says when to look again.
    pub(crate) async fn round(&self, told: &mut Told) -> Duration {
        match self.steps().await {
            Ok(Step::Settled(until)) => {
                told.clear();
                pause(Timestamp::now(), until)
            }
            Ok(Step::Wait(what)) => {
                match told.waits(&what, Instant::now()) {
                    Say::Nothing => {}
                    Say::Logged => tracing::info!("Waiting with the webhooks' certificates: {what}"),
                    Say::Published => {
                        let minutes = LONG.as_secs() / 60;
                        let text = format!("Waiting for more than {minutes} minutes: {what}");
                        tracing::warn!("{text}");
                        self.publish(EventReason::CertificatesFailed, &text).await;
                    }
                }
                if told.waits_long() { ROUND } else { SOON }
            }
            Ok(Step::MakeAuthority(_) | Step::Trust { .. } | Step::MakeLeaf { .. } | Step::AskEndpoints) => SOON,
            Err(Error::Call(error)) if error.is_written_by_another() => {
                tracing::debug!("{error}");
                SOON
            }
            Err(error) => {
                let text = error.to_string();
                if told.is_news(&text) {
                    tracing::warn!("Cannot keep the webhooks' certificates: {text}");
                    self.publish(EventReason::CertificatesFailed, &text).await;
                }
                SOON
            }
        }
    }

    /// One step after the other, and the last of them.
    async fn steps(&self) -> Result<Step, Error> {
        let mut step = self.pass().await?;
        for _ in 1..STEPS {
            match step {
                Step::Settled(_) | Step::Wait(_) => break,
                Step::MakeAuthority(_) | Step::Trust { .. } | Step::MakeLeaf { .. } | Step::AskEndpoints => {
                    step = self.pass().await?;
                }
            }
        }
        Ok(step)
    }

    async fn pass(&self) -> Result<Step, Error> {
        let mut world = self.read().await?;
        let mut step = next_step(&world.seen);
        if step == Step::AskEndpoints {
            world.seen.endpoints = self.ask(&world.seen).await;
            step = next_step(&world.seen);
        }
        self.act(&world, &step).await?;
        Ok(step)
    }

    async fn read(&self) -> Result<World, Error> {
        let certificates = self.certificates;
        let secrets = self.secrets();
        let authority_secret = store::read(&secrets, &certificates.authority_secret).await?;
        let secret = store::read(&secrets, &certificates.secret).await?;
        let configurations = configurations::read(self.client, &certificates.configurations).await?;
        let extension = configurations::extension(&extension_api(self.client), EXTENSION).await;
        // What can't be read isn't known to have anything: it is waited for, but not without end.
        let extension = extension.unwrap_or_else(|error| {
            tracing::debug!("{error}");
            Extension::Present(Vec::new())
        });

        let authority = stored(&authority_secret, |found| {
            read::authority(found.certificate(), found.key())
        });
        let known = match &authority {
            Stored::Missing => Stored::Missing,
            Stored::Unusable(why) => Stored::Unusable(why.clone()),
            Stored::Usable(authority) => Stored::Usable(authority.certificate.clone()),
        };
        let signer = match &known {
            Stored::Usable(authority) => Some(authority),
            Stored::Missing | Stored::Unusable(_) => None,
        };
        let leaf = stored(&secret, |found| {
            read::leaf(found.certificate(), found.key(), &certificates.all_hosts(), signer)
        });
        self.metrics.set(Kept::Authority, signer);
        self.metrics.set(
            Kept::Serving,
            match &leaf {
                Stored::Usable(leaf) => Some(&leaf.certificate),
                Stored::Missing | Stored::Unusable(_) => None,
            },
        );
        let seen = Seen {
            authority: known,
            leaf,
            bundle: read::bundle(secret.bundle()),
            configurations: configurations.iter().map(configurations::Found::seen).collect(),
            extension,
            endpoints: Endpoints::NotAsked,
            lifetimes: certificates.lifetimes(),
            now: Timestamp::now(),
        };
        Ok(World {
            authority,
            authority_secret,
            secret,
            configurations,
            seen,
        })
    }

    /// While the servers can't be found, all else goes on.
    async fn ask(&self, seen: &Seen) -> Endpoints {
        let certificates = self.certificates;
        let configured = seen.configurations.iter();
        let configured = configured.flat_map(|Configuration { bundles, .. }| bundles.iter().flatten());
        let trusted: Vec<Certified> = configured
            .chain(&seen.bundle)
            .filter_map(|entry| match entry {
                Entry::Authority(authority) => Some(authority.clone()),
                Entry::Unreadable => None,
            })
            .collect();
        let slices = Api::namespaced(self.client.clone(), &certificates.namespace);
        let (service, host) = (&certificates.service, certificates.host());
        let asked = endpoints::ask(&slices, service, &host, &trusted).await;
        asked.map_or_else(|error| Endpoints::Unknown(error.to_string()), Endpoints::Asked)
    }

    async fn act(&self, world: &World, step: &Step) -> Result<(), Error> {
        match step {
            Step::AskEndpoints | Step::Wait(_) | Step::Settled(_) => Ok(()),
            Step::MakeAuthority(why) => self.make_authority(world, why).await,
            Step::Trust {
                bundle,
                configurations,
                secret,
            } => self.trust(world, bundle, configurations, *secret).await,
            Step::MakeLeaf { why, bundle } => self.make_leaf(world, why, bundle).await,
        }
    }

    async fn make_authority(&self, world: &World, why: &str) -> Result<(), Error> {
        let certificates = self.certificates;
        let name = &certificates.authority_secret;
        self.still_leads()?;
        tracing::info!(secret = name, "Making a CA for the webhooks: {why}");
        let made = issue::authority(name, world.seen.lifetimes, world.seen.now)?;
        let (secrets, found) = (self.secrets(), &world.authority_secret);
        store::write_pair(&secrets, name, found, &made.certificate, &made.key, None).await?;
        let note = format!("Made a CA for the webhooks and stored it in Secret {name}: {why}");
        self.publish(EventReason::MadeAuthority, &note).await;
        Ok(())
    }

    async fn trust(
        &self,
        world: &World,
        bundle: &[Certified],
        configurations: &[String],
        secret: Rewrite,
    ) -> Result<(), Error> {
        let text = read::pem(bundle);
        for found in &world.configurations {
            let name = found.seen().name;
            if configurations.contains(&name) {
                self.still_leads()?;
                tracing::info!(
                    configuration = name,
                    authorities = bundle.len(),
                    "Writing the CA bundle"
                );
                found.trust(self.client, &text).await?;
            }
        }
        match secret {
            Rewrite::No => Ok(()),
            Rewrite::Yes => {
                let name = &self.certificates.secret;
                self.still_leads()?;
                tracing::info!(secret = name, authorities = bundle.len(), "Writing the CA bundle");
                Ok(store::write_bundle(&self.secrets(), name, &world.secret, &text).await?)
            }
        }
    }

    async fn make_leaf(&self, world: &World, why: &str, bundle: &[Certified]) -> Result<(), Error> {
        let Stored::Usable(authority) = &world.authority else {
            return Ok(());
        };
        let certificates = self.certificates;
        let name = &certificates.secret;
        self.still_leads()?;
        let hosts = certificates.all_hosts();
        let made = issue::leaf(authority, &hosts, world.seen.lifetimes, world.seen.now)?;
        // Stored, it would be made again and again.
        let (certificate, key) = (made.certificate.as_bytes(), made.key.as_bytes());
        let read = read::leaf(certificate, key, &hosts, Some(&authority.certificate));
        if !read.is_ok_and(|leaf| leaf.signer == Signer::Current) {
            return Err(Error::Refused {
                secret: certificates.authority_secret.clone(),
                host: certificates.host(),
            });
        }
        tracing::info!(secret = name, "Making a certificate for the admission server: {why}");
        let text = read::pem(bundle);
        let secrets = self.secrets();
        store::write_pair(&secrets, name, &world.secret, &made.certificate, &made.key, Some(&text)).await?;
        let note = format!("Made a certificate for the admission server and stored it in Secret {name}: {why}");
        self.publish(EventReason::MadeCertificate, &note).await;
        Ok(())
    }

    fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.client.clone(), &self.certificates.namespace)
    }

    fn still_leads(&self) -> Result<(), Error> {
        if self.leads.now() {
            return Ok(());
        }
        Err(Error::Call(api::Error::NotLeader))
    }

    async fn publish(&self, reason: EventReason, note: &str) {
        let secret = ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Secret".to_owned()),
            namespace: Some(self.certificates.namespace.clone()),
            name: Some(self.certificates.secret.clone()),
            ..ObjectReference::default()
        };
        post(self.recorder, &event(reason, note, "KeepCertificates"), &secret).await;
    }
}

impl WebhookCertificates {
    /// The name by which the API server calls the Service.
    fn host(&self) -> String {
        format!("{}.{}.svc", self.service, self.namespace)
    }

    fn all_hosts(&self) -> Vec<String> {
        let host = self.host();
        let mut hosts = vec![host.clone(), format!("{host}.cluster.local")];
        hosts.extend(self.hosts.iter().cloned());
        hosts
    }

    fn lifetimes(&self) -> Lifetimes {
        let leaf = SignedDuration::from_secs(self.seconds.into());
        Lifetimes {
            leaf,
            authority: leaf * AUTHORITY_LIVES,
        }
    }
}

fn stored<T>(found: &store::Found, read: impl FnOnce(&store::Found) -> Result<T, String>) -> Stored<T> {
    if found.is_missing() {
        return Stored::Missing;
    }
    read(found).map_or_else(Stored::Unusable, Stored::Usable)
}

/// Until the next look: a minute, and a little more or less, since several installations may have begun at once.
fn pause(now: Timestamp, until: Timestamp) -> Duration {
    let jitter = Duration::from_millis(u64::from(now.subsec_nanosecond().unsigned_abs()) % 10_000);
    let left = Duration::try_from(until.duration_since(now)).unwrap_or_default();
    (ROUND + jitter).min(left.max(Duration::from_secs(1)))
}

#[cfg(test)]
mod tests;
