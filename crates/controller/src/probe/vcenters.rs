//! Turns at vCenters. One that is gone costs a few seconds now and then, however many Clusters it has, and nothing to a
//! Cluster of another one; one that is slow takes turns of its own; and a user whose login was refused is spared, since each
//! further try would bring the account nearer to being locked, whichever Secret it comes from.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use instar_vsphere::{Address, LoginMark, LookError};
use tokio::{sync::Semaphore, time::Instant};

/// How many sessions a vCenter has of us at once.
const SESSIONS: usize = 2;

/// How many sessions there are of all vCenters together, of those that were never asked, of those that answered soon the last
/// time, and of the others: an answer may have 2 MiB.
const ALL_SESSIONS: [usize; 3] = [8, 12, 4];

/// One that answers takes no longer.
const PROMPT: Duration = Duration::from_secs(5);

/// How long it is known whether one is slow.
const PACE: Duration = Duration::from_hours(1);

/// How long one that didn't answer is left alone.
const DEAD: Duration = Duration::from_secs(30);

/// How long a login that was refused isn't tried again, unless the user or the password is another one. A vCenter locks an
/// account after 5 in 3 minutes, by default, and Cluster API Provider vSphere tries too.
const REFUSED: Duration = Duration::from_mins(10);

/// So many passwords of one user may be refused in that time. Those of other Secrets are not tried then.
const MOST_REFUSALS: usize = 2;

/// How long a login that was taken is tried whatever other Secrets of its user come to.
const TAKEN: Duration = Duration::from_hours(1);

#[derive(Clone)]
pub(super) struct VCenters {
    servers: Arc<Mutex<HashMap<Address, Arc<Server>>>>,
    new: Arc<Semaphore>,
    prompt: Arc<Semaphore>,
    slow: Arc<Semaphore>,
}

struct Server {
    sessions: Arc<Semaphore>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    pace: Option<(Instant, Pace)>,
    dead: Option<(Instant, LookError)>,
    refused: HashMap<LoginMark, (Instant, LookError)>,
    taken: HashMap<LoginMark, Instant>,
}

/// How soon it answered the last time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    Prompt,
    Slow,
}

impl Default for VCenters {
    fn default() -> Self {
        let [new, prompt, slow] = ALL_SESSIONS.map(|most| Arc::new(Semaphore::new(most)));
        Self {
            servers: Arc::default(),
            new,
            prompt,
            slow,
        }
    }
}

impl VCenters {
    /// Looks when it is its turn. A look that nobody waits for any more goes on to its logout.
    pub(super) async fn in_turn<T: Send + 'static>(
        &self,
        address: &Address,
        login: LoginMark,
        look: impl Future<Output = Result<T, LookError>> + Send + 'static,
    ) -> Result<T, LookError> {
        let server = self.server(address);
        let turn = Arc::clone(&server.sessions).acquire_owned().await;
        // Those that waited in front may have found out.
        if let Some(error) = server.known(address, &login) {
            return Err(error);
        }
        let all = match server.pace() {
            None => &self.new,
            Some(Pace::Prompt) => &self.prompt,
            Some(Pace::Slow) => &self.slow,
        };
        let all = Arc::clone(all).acquire_owned().await;
        let keeper = Arc::clone(&server);
        let looking = tokio::spawn(async move {
            let _turns = (turn, all);
            let began = Instant::now();
            let found = look.await;
            keeper.note(login, found.as_ref().err(), began.elapsed());
            found
        });
        looking.await.unwrap_or_else(|panicked| {
            tracing::error!("Looking into a vCenter panicked, please report this: {panicked}");
            Err(LookError::Unreachable {
                host: address.to_string(),
                why: "looking into it panicked".to_owned(),
            })
        })
    }

    /// Who isn't asked any more is forgotten.
    fn server(&self, address: &Address) -> Arc<Server> {
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        servers.retain(|_, server| Arc::strong_count(server) > 1 || server.knows_something());
        let new = || {
            Arc::new(Server {
                sessions: Arc::new(Semaphore::new(SESSIONS)),
                known: Mutex::default(),
            })
        };
        Arc::clone(servers.entry(address.clone()).or_insert_with(new))
    }
}

impl Server {
    fn known(&self, address: &Address, login: &LoginMark) -> Option<LookError> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.forget();
        let dead = known.dead.as_ref();
        let found = dead.or_else(|| known.refused.get(login));
        found.map(|(_, error)| error.clone()).or_else(|| {
            let of_user = known.refused.keys().filter(|refused| refused.is_of_user_of(login));
            let is_spared = of_user.count() >= MOST_REFUSALS && !known.taken.contains_key(login);
            is_spared.then(|| LookError::LoginSpared {
                host: address.to_string(),
                minutes: REFUSED.as_secs() / 60,
            })
        })
    }

    fn pace(&self) -> Option<Pace> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.forget();
        known.pace.map(|(_, pace)| pace)
    }

    fn knows_something(&self) -> bool {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.forget();
        let Known {
            pace,
            dead,
            refused,
            taken,
        } = &*known;
        pace.is_some() || dead.is_some() || !refused.is_empty() || !taken.is_empty()
    }

    fn note(&self, login: LoginMark, error: Option<&LookError>, took: Duration) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let pace = if took <= PROMPT { Pace::Prompt } else { Pace::Slow };
        known.pace = Some((now + PACE, pace));
        match error {
            None => {
                known.taken.insert(login, now + TAKEN);
            }
            Some(error) if error.is_of_dead_server() => known.dead = Some((now + DEAD, error.clone())),
            Some(error @ LookError::LoginRefused { .. }) => {
                known.taken.remove(&login);
                known.refused.insert(login, (now + REFUSED, error.clone()));
            }
            Some(_) => {}
        }
    }
}

impl Known {
    fn forget(&mut self) {
        let now = Instant::now();
        self.pace = self.pace.filter(|(until, _)| *until > now);
        self.dead = self.dead.take().filter(|(until, _)| *until > now);
        self.refused.retain(|_, (until, _)| *until > now);
        self.taken.retain(|_, until| *until > now);
    }
}

#[cfg(test)]
mod tests;
