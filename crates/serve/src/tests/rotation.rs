//! Certificates that change while requests come in.

use std::{
    fs,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use axum::http::Version;

use super::{client, fixture::Fixture, until};

const LOADED: &str = r#"instar_certificate_reloads_total{outcome="loaded"}"#;
const REFUSED: &str = r#"instar_certificate_reloads_total{outcome="refused"}"#;
const ROTATIONS: i64 = 50;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_certificates_rotate() {
    let fixture = Fixture::start(|_| {}).await;
    let builder = || client::builder(&fixture.authority);
    let clients = [
        (builder(), Version::HTTP_2),
        (builder().http1_only(), Version::HTTP_11),
        (builder().pool_max_idle_per_host(0), Version::HTTP_2),
        (builder().http1_only().pool_max_idle_per_host(0), Version::HTTP_11),
    ];
    let rotated = AtomicBool::new(false);
    let answered = [const { AtomicU64::new(0) }; 4];

    let load = clients.into_iter().zip(&answered).map(|((client, version), answered)| {
        let (client, fixture, rotated) = (client.build().unwrap(), &fixture, &rotated);
        async move {
            while !rotated.load(Ordering::Relaxed) {
                let request = client.post(fixture.url("/echo")).body("hello");
                let response = request.send().await.expect("no request fails");
                assert_eq!(response.version(), version);
                assert_eq!(response.text().await.unwrap(), "hello");
                answered.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    let rotate = async {
        for _ in 0..ROTATIONS {
            let before: Vec<u64> = answered.iter().map(|n| n.load(Ordering::Relaxed)).collect();
            let next = fixture.authority.issue(2100);
            fixture.volume.publish(&next.chain, &next.key);
            until("the new certificate", async || fixture.certificate().await == next.leaf).await;
            until("an answer to each client", async || {
                let after = answered.iter().map(|n| n.load(Ordering::Relaxed));
                after.zip(&before).all(|(after, before)| after > *before)
            })
            .await;
        }
        rotated.store(true, Ordering::Relaxed);
    };
    futures::join!(rotate, futures::future::join_all(load));

    assert_eq!(fixture.metric(LOADED).await, ROTATIONS);
    assert_eq!(fixture.metric(REFUSED).await, 0);
}

#[tokio::test]
async fn a_bad_pair_is_refused_and_the_old_one_kept() {
    let fixture = Fixture::start(|_| {}).await;
    let good = &fixture.issued;
    let other = fixture.authority.issue(2100);
    let expired = fixture.authority.issue(2020);
    let half = &other.chain[..other.chain.len() - 40];

    for (what, chain, key) in [
        ("another's key", &*other.chain, &*good.key),
        ("garbage", "not PEM", &*other.key),
        ("no certificate", "", &*other.key),
        ("no key", &*other.chain, ""),
        ("half-written", half, &*other.key),
        ("expired", &*expired.chain, &*expired.key),
    ] {
        fixture.volume.publish(chain, key);
        refused(&fixture, what).await;
    }
    fs::remove_file(fixture.volume.path().join("..data")).unwrap();
    refused(&fixture, "missing").await;
    assert_eq!(fixture.metric(LOADED).await, 0);

    fixture.volume.publish(&other.chain, &other.key);
    until("the good pair", async || fixture.certificate().await == other.leaf).await;
    assert_eq!(fixture.metric(LOADED).await, 1);
}

async fn refused(fixture: &Fixture, what: &str) {
    let before = fixture.metric(REFUSED).await;
    // The second one from here on must be about what is there now.
    until(what, async || fixture.metric(REFUSED).await > before + 1).await;
    assert_eq!(fixture.certificate().await, fixture.issued.leaf, "{what}");
}

#[tokio::test]
async fn the_expiry_is_a_metric_and_follows_the_certificate() {
    const NOT_AFTER: &str = "instar_certificate_not_after_seconds";
    const YEAR_2100: i64 = 4_102_444_800;
    const YEAR_2090: i64 = 3_786_912_000;

    let fixture = Fixture::start(|_| {}).await;
    assert_eq!(fixture.metric(NOT_AFTER).await, YEAR_2100);

    let next = fixture.authority.issue(2090);
    fixture.volume.publish(&next.chain, &next.key);
    until("the new expiry", async || fixture.metric(NOT_AFTER).await == YEAR_2090).await;
}
