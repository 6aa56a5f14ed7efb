use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::{
    sync::oneshot,
    task::JoinHandle,
    time::{advance, pause, sleep, timeout},
};

use super::*;

fn address(name: &str) -> Address {
    Address::parse(name).unwrap()
}

/// Of one user.
fn login(password: &str) -> LoginMark {
    LoginMark::of("instar@vsphere.local", password)
}

fn unreachable() -> LookError {
    LookError::Unreachable {
        host: "vc".to_owned(),
        why: "gone".to_owned(),
    }
}

fn refused() -> LookError {
    LookError::LoginRefused { host: "a".to_owned() }
}

async fn looked(vcenters: &VCenters, of: &str, login: LoginMark, answer: Result<(), LookError>) -> (usize, bool) {
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
async fn a_refused_login_is_tried_again_when_the_password_has_changed() {
    pause();
    let vcenters = VCenters::default();
    assert_eq!(looked(&vcenters, "a", login("1"), Err(refused())).await, (1, false));
    assert_eq!(looked(&vcenters, "a", login("1"), Ok(())).await, (0, false));
    assert_eq!(looked(&vcenters, "a", login("2"), Ok(())).await, (1, true));
    advance(REFUSED).await;
    assert_eq!(looked(&vcenters, "a", login("1"), Ok(())).await, (1, true));
}

/// A thousand Clusters have Secrets of one user, each with an old password of its own: the account isn't locked.
#[tokio::test]
async fn a_user_is_spared_whatever_secrets_it_is_in() {
    pause();
    let vcenters = VCenters::default();
    assert_eq!(looked(&vcenters, "a", login("right"), Ok(())).await, (1, true));
    let mut tries = 0;
    for password in 0..1000 {
        tries += looked(&vcenters, "a", login(&password.to_string()), Err(refused()))
            .await
            .0;
    }
    assert_eq!(tries, MOST_REFUSALS);
    let spared = vcenters.in_turn(&address("a"), login("new"), async { Ok(()) }).await;
    assert!(matches!(spared, Err(LookError::LoginSpared { .. })), "{spared:?}");
    // What was taken goes on, and so do other users and other vCenters.
    assert_eq!(looked(&vcenters, "a", login("right"), Ok(())).await, (1, true));
    let other = LoginMark::of("other@vsphere.local", "1");
    assert_eq!(looked(&vcenters, "a", other, Ok(())).await, (1, true));
    assert_eq!(looked(&vcenters, "b", login("1"), Ok(())).await, (1, true));
    advance(REFUSED).await;
    assert_eq!(looked(&vcenters, "a", login("new"), Ok(())).await, (1, true));
}

#[tokio::test]
async fn one_password_in_many_secrets_is_tried_once() {
    pause();
    let vcenters = VCenters::default();
    let mut tries = 0;
    for _ in 0..100 {
        tries += looked(&vcenters, "a", login("old"), Err(refused())).await.0;
    }
    assert_eq!(tries, 1);
    assert_eq!(looked(&vcenters, "a", login("new"), Ok(())).await, (1, true));
}

fn hanging(vcenters: &VCenters, of: String) -> JoinHandle<Result<(), LookError>> {
    let vcenters = vcenters.clone();
    tokio::spawn(async move {
        vcenters
            .in_turn(&address(&of), login("1"), std::future::pending())
            .await
    })
}

#[tokio::test]
async fn hundreds_that_hang_hold_no_other_vcenter() {
    let vcenters = VCenters::default();
    let hanging: Vec<_> = (0..200).map(|_| hanging(&vcenters, "a".to_owned())).collect();
    let other = looked(&vcenters, "b", login("1"), Ok(()));
    assert_eq!(timeout(Duration::from_mins(1), other).await, Ok((1, true)));
    assert!(hanging.iter().all(|hanging| !hanging.is_finished()));
}

/// As many vCenters hang as there are turns of any kind, some of which were slow before and some new.
#[tokio::test]
async fn vcenters_that_are_slow_take_no_turn_of_one_that_answers() {
    pause();
    let vcenters = VCenters::default();
    assert_eq!(looked(&vcenters, "prompt", login("1"), Ok(())).await, (1, true));
    for slow in 0..20 {
        let slowly = async {
            sleep(PROMPT * 2).await;
            Ok(())
        };
        let found = vcenters
            .in_turn(&address(&format!("slow-{slow}")), login("1"), slowly)
            .await;
        assert_eq!(found, Ok(()));
    }
    let of = (0..20).map(|at| format!("slow-{at}"));
    let all = of.chain((0..20).map(|at| format!("new-{at}")));
    let hanging: Vec<_> = all.map(|of| hanging(&vcenters, of)).collect();
    tokio::task::yield_now().await;
    let prompt = looked(&vcenters, "prompt", login("1"), Ok(()));
    assert_eq!(timeout(Duration::from_secs(1), prompt).await, Ok((1, true)));
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
