//! Whether our CustomResourceDefinitions fit this program, looked at again and again.
//!
//! Nothing is known before the first answer, and then nothing may be written: what older definitions don't have is dropped
//! without a word. An answer that fails to come later changes nothing.

mod look;

use std::{sync::Arc, time::Duration};

use instar_api::{CrdSkew, Definition, ServerStays, SkewVerdict, instar_version};
use instar_serve::Part;
use kube::Client;
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};

use self::look::{Answer, Reader};

/// What readiness calls the definitions.
pub const DEFINITIONS: &str = "customresourcedefinitions";

/// How often they are looked at.
const ROUND: Duration = Duration::from_secs(30);
/// The same while they don't fit, or nothing is known of them.
const SOON: Duration = Duration::from_secs(5);

/// What is known of the definitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DefinitionsAre {
    /// Nothing yet, and why.
    Unknown(String),
    /// They fit.
    Fit,
    /// These don't fit.
    Refused(Vec<Refusal>),
}

/// A definition that doesn't fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Which.
    pub definition: Definition,
    /// Its uid; absent where it is missing.
    pub uid: Option<String>,
    /// How it doesn't fit.
    pub skew: CrdSkew,
    /// What is wrong with it, and what to do.
    pub message: String,
}

/// For how long a program that was ready stays so while the definitions don't fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grace {
    /// Not at all.
    None,
    /// So long: whoever upgrades Instar applies the definitions first, and the programs of before go on until they are
    /// replaced. Without a limit while the definitions are newer and nothing else is wrong with them.
    For(Duration),
}

/// Looks at the definitions; a clone knows the same.
#[derive(Clone, Debug)]
pub struct Definitions(Arc<watch::Sender<DefinitionsAre>>);

/// What is known of the definitions, for who asks before each write.
#[derive(Clone, Debug)]
pub struct DefinitionsFit(watch::Receiver<DefinitionsAre>);

impl Default for Definitions {
    fn default() -> Self {
        let unknown = DefinitionsAre::Unknown("they have not been read yet".to_owned());
        Self(Arc::new(watch::Sender::new(unknown)))
    }
}

impl DefinitionsFit {
    /// Whether they fit.
    #[must_use]
    pub fn now(&self) -> bool {
        *self.0.borrow() == DefinitionsAre::Fit
    }

    /// What is known.
    #[must_use]
    pub fn known(&self) -> DefinitionsAre {
        self.0.borrow().clone()
    }

    /// Waits until they fit.
    pub async fn fits(&mut self) {
        self.is(|known| *known == DefinitionsAre::Fit).await;
    }

    /// Waits until they have not fitted for so long without a break.
    pub async fn refused_for(&mut self, long: Duration) {
        let refused = |known: &DefinitionsAre| matches!(known, DefinitionsAre::Refused(_));
        loop {
            self.is(refused).await;
            if timeout(long, self.is(|known| !refused(known))).await.is_err() {
                return;
            }
        }
    }

    async fn is(&mut self, wanted: impl FnMut(&DefinitionsAre) -> bool) {
        if self.0.wait_for(wanted).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Waits until something else is known.
    pub async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Of definitions that fit, for who depends on none.
    #[must_use]
    pub fn fitting() -> Self {
        Self(watch::channel(DefinitionsAre::Fit).1)
    }
}

impl Definitions {
    /// What is known, for who asks.
    #[must_use]
    pub fn fit(&self) -> DefinitionsFit {
        DefinitionsFit(self.0.subscribe())
    }

    /// Looks again and again, without end. `part` is ready while they fit, and for a while after.
    pub async fn watch(&self, client: &Client, part: &Part, grace: Grace) {
        let mut standing = Standing::new(grace);
        let mut reader = Reader::new(client);
        loop {
            let before = self.0.borrow().clone();
            let now = after(&before, reader.look().await);
            if now != before {
                log(&now);
                self.0.send_replace(now.clone());
            }
            match standing.reason(&now, Instant::now()) {
                None => {
                    if now != before && now != DefinitionsAre::Fit {
                        tracing::warn!(
                            "Stays ready with CustomResourceDefinitions that don't fit, since it was ready before"
                        );
                    }
                    part.ready();
                }
                Some(reason) => part.not_ready(&reason),
            }
            let next = match now {
                DefinitionsAre::Fit => ROUND,
                DefinitionsAre::Unknown(_) | DefinitionsAre::Refused(_) => SOON,
            };
            sleep(next).await;
        }
    }
}

/// Since when a program that was ready has had definitions that don't fit.
#[derive(Debug)]
struct Standing {
    grace: Grace,
    was_ready: bool,
    refused_since: Option<Instant>,
}

impl Standing {
    const fn new(grace: Grace) -> Self {
        Self {
            grace,
            was_ready: false,
            refused_since: None,
        }
    }

    /// Why the program isn't ready; nothing where it is.
    fn reason(&mut self, now: &DefinitionsAre, at: Instant) -> Option<String> {
        let (reason, stays) = match now {
            DefinitionsAre::Fit => {
                self.was_ready = true;
                self.refused_since = None;
                return None;
            }
            DefinitionsAre::Unknown(why) => (why.clone(), ServerStays::AWhile),
            DefinitionsAre::Refused(refused) => (joined(refused), stays(refused)),
        };
        let since = match stays {
            ServerStays::AWhile => *self.refused_since.get_or_insert(at),
            // The time begins when it is limited.
            ServerStays::Ready => {
                self.refused_since = None;
                at
            }
        };
        let spared = match self.grace {
            Grace::None => false,
            Grace::For(grace) => self.was_ready && at.duration_since(since) < grace,
        };
        if spared {
            return None;
        }
        // One that has given up isn't ready again by itself, as if it had just started.
        self.was_ready = false;
        Some(reason)
    }
}

/// One that has a limit is enough.
fn stays(refused: &[Refusal]) -> ServerStays {
    let mut stays = refused.iter().map(|refusal| refusal.skew.server_stays());
    stays
        .find(|stays| *stays == ServerStays::AWhile)
        .unwrap_or(ServerStays::Ready)
}

fn joined(refused: &[Refusal]) -> String {
    let messages: Vec<&str> = refused.iter().map(|refusal| refusal.message.as_str()).collect();
    messages.join("; ")
}

fn log(now: &DefinitionsAre) {
    match now {
        DefinitionsAre::Fit => tracing::info!("CustomResourceDefinitions fit this program"),
        DefinitionsAre::Unknown(why) => tracing::warn!("CustomResourceDefinitions are not known: {why}"),
        DefinitionsAre::Refused(refused) => {
            for refusal in refused {
                tracing::error!(
                    definition = refusal.definition.name(),
                    "Nothing is written: {}",
                    refusal.message
                );
            }
        }
    }
}

/// What is known after a look: a failure forgets nothing.
fn after(before: &DefinitionsAre, look: Result<Vec<Answer>, String>) -> DefinitionsAre {
    match (look, before) {
        (Ok(found), _) => judged(&found),
        (Err(why), DefinitionsAre::Unknown(_)) => DefinitionsAre::Unknown(why),
        (Err(_), DefinitionsAre::Fit | DefinitionsAre::Refused(_)) => before.clone(),
    }
}

fn judged(found: &[Answer]) -> DefinitionsAre {
    let program = instar_version();
    let mut refused = Vec::new();
    for Answer { definition, uid, found } in found {
        let skew = CrdSkew::of(found.as_ref(), &program);
        let message = skew.message(*definition, found.as_ref(), &program);
        match skew.verdict() {
            SkewVerdict::Refused => refused.push(Refusal {
                definition: *definition,
                uid: uid.clone(),
                skew,
                message,
            }),
            SkewVerdict::Allowed => tracing::debug!("{message}"),
        }
    }
    if refused.is_empty() {
        DefinitionsAre::Fit
    } else {
        DefinitionsAre::Refused(refused)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use instar_api::{FoundDefinition, STORED_VERSION};

    use super::*;

    fn found(version: &str) -> Vec<Answer> {
        let found = FoundDefinition {
            version: Some(version.to_owned()),
            stored: vec![STORED_VERSION.to_owned()],
            missing_fields: BTreeSet::new(),
        };
        let found = Definition::ALL.map(|definition| Answer {
            definition,
            uid: Some("uid".to_owned()),
            found: Some(found.clone()),
        });
        Vec::from(found)
    }

    fn refused() -> DefinitionsAre {
        judged(&found("v0.0.1"))
    }

    #[test]
    fn one_that_does_not_fit_is_enough() {
        assert_eq!(judged(&found(instar_api::INSTAR_VERSION)), DefinitionsAre::Fit);
        let mut one_is_missing = found(instar_api::INSTAR_VERSION);
        one_is_missing[1].found = None;
        let DefinitionsAre::Refused(refused) = judged(&one_is_missing) else {
            panic!("it fits");
        };
        assert_eq!(refused.len(), 1);
        assert!(
            joined(&refused).starts_with(
                "CustomResourceDefinition kubernetesreleases.upgrade.cluster.x-k8s.io is missing: nothing of the kind"
            ),
            "{refused:?}"
        );
    }

    #[test]
    fn a_failure_forgets_nothing() {
        let failed = || Err("why".to_owned());
        let unknown = || DefinitionsAre::Unknown("why".to_owned());
        for (before, now) in [
            (DefinitionsAre::Unknown("not yet".to_owned()), unknown()),
            (DefinitionsAre::Fit, DefinitionsAre::Fit),
            (refused(), refused()),
        ] {
            assert_eq!(after(&before, failed()), now);
        }
        assert_eq!(
            after(&refused(), Ok(found(instar_api::INSTAR_VERSION))),
            DefinitionsAre::Fit
        );
    }

    #[test]
    fn a_program_that_was_ready_has_its_grace_and_one_that_starts_has_none() {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let grace = Grace::For(Duration::from_mins(5));
        let mut starts = Standing::new(grace);
        assert!(starts.reason(&refused(), at(0)).is_some());
        let mut ran = Standing::new(grace);
        assert_eq!(ran.reason(&DefinitionsAre::Fit, at(0)), None);
        assert_eq!(ran.reason(&refused(), at(10)), None);
        assert_eq!(ran.reason(&refused(), at(309)), None);
        let reason = ran.reason(&refused(), at(310)).unwrap();
        assert!(
            reason.contains("older than this program by a minor version"),
            "{reason}"
        );
        assert!(ran.reason(&refused(), at(311)).is_some());
        assert_eq!(ran.reason(&DefinitionsAre::Fit, at(320)), None);
        assert_eq!(ran.reason(&refused(), at(330)), None);
        let mut without = Standing::new(Grace::None);
        assert_eq!(without.reason(&DefinitionsAre::Fit, at(0)), None);
        assert!(without.reason(&refused(), at(1)).is_some());
    }

    #[test]
    fn newer_definitions_leave_a_server_ready_without_a_limit() {
        let begin = Instant::now();
        let at = |minutes| begin + Duration::from_mins(minutes);
        let grace = Grace::For(Duration::from_mins(5));
        let newer = judged(&found("v9.0.0"));
        let mut ran = Standing::new(grace);
        assert_eq!(ran.reason(&DefinitionsAre::Fit, at(0)), None);
        assert_eq!(ran.reason(&newer, at(1)), None);
        assert_eq!(ran.reason(&newer, at(600)), None);
        // From when something else is wrong, that has its time.
        let mut one_is_missing = found("v9.0.0");
        one_is_missing[1].found = None;
        let missing = judged(&one_is_missing);
        assert_eq!(ran.reason(&missing, at(601)), None);
        assert!(ran.reason(&missing, at(606)).is_some());
        assert!(ran.reason(&newer, at(607)).is_some(), "ready again by itself");
        assert!(
            Standing::new(grace).reason(&newer, at(0)).is_some(),
            "it has just started"
        );
        let mut without = Standing::new(Grace::None);
        assert_eq!(without.reason(&DefinitionsAre::Fit, at(0)), None);
        assert!(without.reason(&newer, at(1)).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_fit_is_told_when_it_stays_so() {
        let definitions = Definitions::default();
        let mut fit = definitions.fit();
        let begin = Instant::now();
        let told = tokio::spawn(async move {
            fit.fits().await;
            fit.refused_for(Duration::from_secs(30)).await;
            Instant::now().duration_since(begin).as_secs()
        });
        for (seconds, known) in [
            (1, DefinitionsAre::Fit),
            (10, refused()),
            (20, DefinitionsAre::Fit),
            (10, refused()),
        ] {
            sleep(Duration::from_secs(seconds)).await;
            definitions.0.send_replace(known);
        }
        assert_eq!(told.await.unwrap(), 71);
    }
}
