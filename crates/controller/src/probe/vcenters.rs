//! Turns at vCenters. One that is gone costs a few seconds now and then, however many Clusters it has, and nothing to a
//! Cluster of another one; and a login that was refused is not tried again soon, since that would lock the account.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use instar_vsphere::{Address, LookError};
use tokio::{sync::Semaphore, time::Instant};

/// How many sessions a vCenter has of us at once.
const SESSIONS: usize = 2;

/// How many there are of all vCenters together: an answer may have 2 MiB.
const ALL_SESSIONS: usize = 16;

/// How long one that didn't answer is left alone.
const DEAD: Duration = Duration::from_secs(30);

/// How long a login that was refused isn't tried again, unless the Secret changes. A vCenter locks an account after 5 in
/// 3 minutes, by default.
const REFUSED: Duration = Duration::from_mins(10);

/// A Secret, and its `resourceVersion`.
pub(super) type Login = (String, String);

#[derive(Clone)]
pub(super) struct VCenters {
    servers: Arc<Mutex<HashMap<Address, Arc<Server>>>>,
    all: Arc<Semaphore>,
}

struct Server {
    sessions: Arc<Semaphore>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    dead: Option<(Instant, LookError)>,
    refused: HashMap<Login, (Instant, LookError)>,
}

impl Default for VCenters {
    fn default() -> Self {
        Self {
            servers: Arc::default(),
            all: Arc::new(Semaphore::new(ALL_SESSIONS)),
        }
    }
}

impl VCenters {
    /// Looks when it is its turn. A look that nobody waits for any more goes on to its logout.
    pub(super) async fn in_turn<T: Send + 'static>(
        &self,
        address: &Address,
        login: Login,
        look: impl Future<Output = Result<T, LookError>> + Send + 'static,
    ) -> Result<T, LookError> {
        let server = self.server(address);
        let turn = Arc::clone(&server.sessions).acquire_owned().await;
        // Those that waited in front may have found out.
        if let Some(error) = server.known(&login) {
            return Err(error);
        }
        let all = Arc::clone(&self.all).acquire_owned().await;
        let keeper = Arc::clone(&server);
        let looking = tokio::spawn(async move {
            let _turns = (turn, all);
            let found = look.await;
            keeper.note(&login, found.as_ref().err());
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
    fn known(&self, login: &Login) -> Option<LookError> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.forget();
        let dead = known.dead.as_ref();
        let found = dead.or_else(|| known.refused.get(login));
        found.map(|(_, error)| error.clone())
    }

    fn knows_something(&self) -> bool {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.forget();
        known.dead.is_some() || !known.refused.is_empty()
    }

    fn note(&self, login: &Login, error: Option<&LookError>) {
        let Some(error) = error else {
            return;
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if error.is_of_dead_server() {
            known.dead = Some((now + DEAD, error.clone()));
        } else if let LookError::LoginRefused { .. } = error {
            known.refused.insert(login.clone(), (now + REFUSED, error.clone()));
        }
    }
}

impl Known {
    fn forget(&mut self) {
        let now = Instant::now();
        self.dead = self.dead.take().filter(|(until, _)| *until > now);
        self.refused.retain(|_, (until, _)| *until > now);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::{
        sync::oneshot,
        time::{advance, pause, timeout},
    };

    use super::*;

    fn address(name: &str) -> Address {
        Address::parse(name).unwrap()
    }

    fn login(version: &str) -> Login {
        ("Secret n/s".to_owned(), version.to_owned())
    }

    fn unreachable() -> LookError {
        LookError::Unreachable {
            host: "vc".to_owned(),
            why: "gone".to_owned(),
        }
    }

    async fn looked(vcenters: &VCenters, of: &str, login: Login, answer: Result<(), LookError>) -> (usize, bool) {
        let looks = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&looks);
        let look = async move {
            counted.fetch_add(1, Ordering::SeqCst);
            answer
        };
        let found = vcenters.in_turn(&address(of), login, look).await;
        (looks.load(Ordering::SeqCst), found.is_ok())
    }

    #[tokio::test]
    async fn one_that_is_gone_is_left_alone_for_a_while_and_no_other() {
        pause();
        let vcenters = VCenters::default();
        assert_eq!(looked(&vcenters, "a", login("1"), Err(unreachable())).await, (1, false));
        assert_eq!(looked(&vcenters, "a", login("2"), Ok(())).await, (0, false));
        assert_eq!(looked(&vcenters, "b", login("1"), Ok(())).await, (1, true));
        advance(DEAD).await;
        assert_eq!(looked(&vcenters, "a", login("1"), Ok(())).await, (1, true));
    }

    #[tokio::test]
    async fn a_long_search_for_one_cluster_holds_no_other() {
        let vcenters = VCenters::default();
        let slow = LookError::TooSlow {
            host: "a".to_owned(),
            seconds: 20,
        };
        assert_eq!(looked(&vcenters, "a", login("1"), Err(slow)).await, (1, false));
        assert_eq!(looked(&vcenters, "a", login("1"), Ok(())).await, (1, true));
    }

    #[tokio::test]
    async fn a_refused_login_is_tried_again_when_the_secret_has_changed() {
        pause();
        let vcenters = VCenters::default();
        let refused = LookError::LoginRefused { host: "a".to_owned() };
        assert_eq!(looked(&vcenters, "a", login("1"), Err(refused)).await, (1, false));
        assert_eq!(looked(&vcenters, "a", login("1"), Ok(())).await, (0, false));
        assert_eq!(looked(&vcenters, "a", login("2"), Ok(())).await, (1, true));
        advance(REFUSED).await;
        assert_eq!(looked(&vcenters, "a", login("1"), Ok(())).await, (1, true));
    }

    #[tokio::test]
    async fn hundreds_that_hang_hold_no_other_vcenter() {
        let vcenters = VCenters::default();
        let hanging: Vec<_> = (0..200)
            .map(|_| {
                let vcenters = vcenters.clone();
                let hang = std::future::pending::<Result<(), LookError>>();
                tokio::spawn(async move { vcenters.in_turn(&address("a"), login("1"), hang).await })
            })
            .collect();
        let other = looked(&vcenters, "b", login("1"), Ok(()));
        assert_eq!(timeout(Duration::from_mins(1), other).await, Ok((1, true)));
        assert!(hanging.iter().all(|hanging| !hanging.is_finished()));
    }

    #[tokio::test]
    async fn what_nobody_waits_for_goes_on_to_its_end() {
        let vcenters = VCenters::default();
        let (send, received) = oneshot::channel();
        let (go_on, goes_on) = oneshot::channel();
        let look = async move {
            drop(goes_on.await);
            let _ = send.send(());
            Ok::<(), LookError>(())
        };
        let at = address("a");
        let given_up = timeout(Duration::ZERO, vcenters.in_turn(&at, login("1"), look)).await;
        assert!(given_up.is_err());
        go_on.send(()).unwrap();
        assert_eq!(timeout(Duration::from_mins(1), received).await, Ok(Ok(())));
    }
}
