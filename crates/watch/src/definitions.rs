//! Whether our CustomResourceDefinitions fit this program, looked at again and again.
//!
//! Nothing is known before the first answer, and then nothing may be written: what older definitions don't have is dropped
//! without a word. An answer that fails to come later changes nothing.

use std::{sync::Arc, time::Duration};

use instar_api::{
    CrdSkew, Definition, FoundDefinition, INSTAR_VERSION_ANNOTATION, STORED_VERSION, SkewVerdict, instar_version,
    missing_fields, schema_at,
};
use instar_serve::Part;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{Api, Client, ResourceExt};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};

use crate::ErrorText;

/// What readiness calls the definitions.
pub const DEFINITIONS: &str = "customresourcedefinitions";

/// How often they are looked at.
const ROUND: Duration = Duration::from_secs(30);
/// The same while they don't fit, or nothing is known of them.
const SOON: Duration = Duration::from_secs(5);
/// How long a call may take.
const DEADLINE: Duration = Duration::from_secs(15);

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
    /// What is wrong with it, and what to do.
    pub message: String,
}

/// For how long a program that was ready stays so while the definitions don't fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grace {
    /// Not at all.
    None,
    /// So long: whoever upgrades Instar applies the definitions first, and the programs of before go on until they are
    /// replaced.
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

    /// Waits for the first answer.
    pub async fn answered(&mut self) {
        let known = self.0.wait_for(|known| match known {
            DefinitionsAre::Unknown(_) => false,
            DefinitionsAre::Fit | DefinitionsAre::Refused(_) => true,
        });
        if known.await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Waits until something else is known.
    pub async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Of definitions that fit, for a test.
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
        loop {
            let before = self.0.borrow().clone();
            let now = after(&before, look(client).await);
            if now != before {
                log(&now);
                self.0.send_replace(now.clone());
            }
            match standing.reason(&now, Instant::now()) {
                None => part.ready(),
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
        let reason = match now {
            DefinitionsAre::Fit => {
                self.was_ready = true;
                self.refused_since = None;
                return None;
            }
            DefinitionsAre::Unknown(why) => why.clone(),
            DefinitionsAre::Refused(refused) => joined(refused),
        };
        let since = *self.refused_since.get_or_insert(at);
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

/// What was found of a definition; nothing where it is missing.
struct Answer {
    definition: Definition,
    uid: Option<String>,
    found: Option<FoundDefinition>,
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

async fn look(client: &Client) -> Result<Vec<Answer>, String> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let mut all = Vec::with_capacity(Definition::ALL.len());
    for definition in Definition::ALL {
        let name = definition.name();
        let found = match timeout(DEADLINE, api.get_opt(name)).await {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => {
                return Err(format!(
                    "cannot get CustomResourceDefinition {name}: {}",
                    ErrorText(&error)
                ));
            }
            Err(_) => {
                let seconds = DEADLINE.as_secs();
                return Err(format!(
                    "cannot get CustomResourceDefinition {name}: no answer in {seconds} s"
                ));
            }
        };
        all.push(Answer {
            definition,
            uid: found.as_ref().and_then(ResourceExt::uid),
            found: found.map(|found| read(definition, &found)),
        });
    }
    Ok(all)
}

fn read(definition: Definition, found: &CustomResourceDefinition) -> FoundDefinition {
    let stored = found.status.as_ref().and_then(|status| status.stored_versions.clone());
    // What can't be written as JSON has no fields; it can't come from an API server.
    let value = serde_json::to_value(found).unwrap_or_default();
    let theirs = schema_at(&value, STORED_VERSION).unwrap_or_default();
    FoundDefinition {
        version: found.annotations().get(INSTAR_VERSION_ANNOTATION).cloned(),
        stored: stored.unwrap_or_default(),
        missing_fields: missing_fields(&theirs, &definition.schema()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

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
        judged(&found("v9.0.0"))
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
    fn what_is_applied_reads_as_what_it_was_made_from() {
        for definition in Definition::ALL {
            let object: CustomResourceDefinition = serde_json::from_value(definition.object()).unwrap();
            let found = read(definition, &object);
            assert_eq!(found.missing_fields, BTreeSet::new(), "{definition:?}");
            assert_eq!(CrdSkew::of(Some(&found), &instar_version()), CrdSkew::Same);
        }
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
            reason.contains("newer than this program by a minor version"),
            "{reason}"
        );
        assert!(ran.reason(&refused(), at(311)).is_some());
        assert_eq!(ran.reason(&DefinitionsAre::Fit, at(320)), None);
        assert_eq!(ran.reason(&refused(), at(330)), None);
        let mut without = Standing::new(Grace::None);
        assert_eq!(without.reason(&DefinitionsAre::Fit, at(0)), None);
        assert!(without.reason(&refused(), at(1)).is_some());
    }
}
