//! Which clients may connect, and how.

use std::{fs, net::SocketAddr};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{
    client::{Client, Hello},
    fixture::Fixture,
    soon, until,
    volume::{Authority, Issued},
};
use crate::{Error, Metrics, Options, Readiness, serve};
use tokio_util::sync::CancellationToken;

const REFUSED: &str = r#"instar_certificate_reloads_total{outcome="refused"}"#;
const LOADED: &str = r#"instar_certificate_reloads_total{outcome="loaded"}"#;

/// A server whose clients need a certificate that one of these CAs has signed.
async fn fixture(authorities: &str) -> (Fixture, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ca.crt");
    fs::write(&file, authorities).unwrap();
    (Fixture::start(|options| options.client_ca = Some(file)).await, dir)
}

/// Whether a client with this certificate gets a response.
async fn answered(fixture: &Fixture, certificate: Option<&Issued>) -> bool {
    let hello = Hello {
        certificate,
        protocol: None,
    };
    let Ok(mut client) = fixture.introduced(hello).await else {
        return false;
    };
    // In TLS 1.3 a client learns only now that it was refused.
    let sent = client
        .write(b"POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\nhi")
        .await;
    sent.is_ok() && client.read(12).await.is_ok_and(|head| head == b"HTTP/1.1 200")
}

#[tokio::test]
async fn only_clients_with_a_certificate_are_answered() {
    let clients = Authority::new();
    let (fixture, _dir) = fixture(&clients.pem()).await;
    let (signed, foreign) = (clients.issue_client(2100), Authority::new().issue_client(2100));
    assert!(answered(&fixture, Some(&signed)).await);
    for (what, certificate) in [
        ("none", None),
        ("another authority's", Some(&foreign)),
        (
            "the server's own authority's",
            Some(&fixture.authority.issue_client(2100)),
        ),
        ("an expired one", Some(&clients.issue_client(2020))),
        ("a server's", Some(&clients.issue(2100))),
    ] {
        assert!(!answered(&fixture, certificate).await, "{what}");
    }
    // Probes and scrapes come without one.
    assert_eq!(fixture.health("/healthz").await, (200, "ok\n".to_owned()));
}

#[tokio::test]
async fn client_ca_certificates_follow_their_file_and_bad_ones_are_refused() {
    let (old, new) = (Authority::new(), Authority::new());
    let (fixture, dir) = fixture(&old.pem()).await;
    let (old_client, new_client) = (old.issue_client(2100), new.issue_client(2100));
    let publish = |text: &str| {
        fs::write(dir.path().join("next"), text).unwrap();
        fs::rename(dir.path().join("next"), dir.path().join("ca.crt")).unwrap();
    };

    let not_one = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for bad in ["", "not PEM", &new.pem()[..100], not_one] {
        publish(bad);
        let before = fixture.metric(REFUSED).await;
        until("the bad file is refused", async || {
            fixture.metric(REFUSED).await > before + 1
        })
        .await;
        assert!(answered(&fixture, Some(&old_client)).await, "{bad}");
        assert!(!answered(&fixture, None).await, "{bad}");
    }
    assert_eq!(fixture.metric(LOADED).await, 0);

    publish(&(old.pem() + &new.pem()));
    until("both authorities", async || answered(&fixture, Some(&new_client)).await).await;
    assert!(answered(&fixture, Some(&old_client)).await);
    publish(&new.pem());
    until("only the new one", async || {
        !answered(&fixture, Some(&old_client)).await
    })
    .await;
    assert!(answered(&fixture, Some(&new_client)).await);
}

#[tokio::test]
async fn without_client_ca_certificates_it_does_not_start() {
    let fixture = Fixture::start(|_| {}).await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ca.crt");
    let start = async || {
        let options = Options {
            bind: fixture.running.tls_addr().ip(),
            port: 0,
            health_port: 0,
            cert_dir: fixture.volume.path().to_owned(),
            client_ca: Some(file.clone()),
            ..Options::default()
        };
        let (metrics, readiness) = (Metrics::default(), Readiness::default());
        let served = serve(
            axum::Router::default(),
            options,
            metrics,
            readiness,
            CancellationToken::new(),
        );
        let Error::Certificate(error) = soon(served).await.unwrap_err() else {
            panic!("it failed for another reason");
        };
        error.to_string()
    };
    let path = file.display();
    assert_eq!(
        start().await,
        format!("cannot read {path}: put the CA certificates of the clients there")
    );
    fs::write(&file, "nothing").unwrap();
    assert_eq!(
        start().await,
        format!("{path} contains no certificate: put the CA certificates of the clients there")
    );
    fs::write(&file, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    assert_eq!(
        start().await,
        format!("a certificate in {path} is not a CA certificate: put the CA certificates of the clients there")
    );
}

#[tokio::test]
async fn old_versions_and_weak_suites_are_refused() {
    const PROTOCOL_VERSION: u8 = 70;
    const HANDSHAKE_FAILURE: u8 = 40;
    const ECDHE_ECDSA_AES128_GCM: u16 = 0xc02b;
    const ECDHE_ECDSA_AES128_CBC: u16 = 0xc009;
    const RSA_AES128_GCM: u16 = 0x009c;
    const RSA_3DES: u16 = 0x000a;

    let fixture = Fixture::start(|_| {}).await;
    let addr = fixture.running.tls_addr();
    let (tls10, tls11, tls12) = (0x0301, 0x0302, 0x0303);
    assert_eq!(
        server_reply(addr, tls12, ECDHE_ECDSA_AES128_GCM).await,
        ServerReply::Hello
    );
    for version in [tls10, tls11] {
        let reply = server_reply(addr, version, ECDHE_ECDSA_AES128_GCM).await;
        assert_eq!(reply, ServerReply::Alert(PROTOCOL_VERSION));
    }
    for suite in [ECDHE_ECDSA_AES128_CBC, RSA_AES128_GCM, RSA_3DES] {
        assert_eq!(
            server_reply(addr, tls12, suite).await,
            ServerReply::Alert(HANDSHAKE_FAILURE),
            "{suite:#06x}"
        );
    }
}

#[derive(Debug, PartialEq)]
enum ServerReply {
    Hello,
    Alert(u8),
}

/// The server's reply to a client that offers one version and one cipher suite.
async fn server_reply(addr: SocketAddr, version: u16, suite: u16) -> ServerReply {
    let sized = |bytes: &[u8]| [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat();
    let extension = |kind: u16, data: &[u8]| [&kind.to_be_bytes()[..], &sized(data)].concat();
    let (p256, uncompressed, ecdsa_sha256) = (0x0017_u16, 0_u8, 0x0403_u16);
    let extensions = [
        extension(10, &sized(&p256.to_be_bytes())),
        extension(11, &[1, uncompressed]),
        extension(13, &sized(&ecdsa_sha256.to_be_bytes())),
        extension(23, &[]),
    ];
    let body = [
        &version.to_be_bytes()[..],
        &[7; 32],
        &[0],
        &sized(&suite.to_be_bytes()),
        &[1, 0],
        &sized(&extensions.concat()),
    ]
    .concat();
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    let hello = [&[1][..], &length[1..], &body].concat();
    let record = [&[22, 3, 1][..], &sized(&hello)].concat();

    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(&record).await.unwrap();
    let mut answer = [0; 7];
    soon(stream.read_exact(&mut answer)).await.unwrap();
    match answer {
        [22, ..] => ServerReply::Hello,
        [21, _, _, 0, 2, 2, alert] => ServerReply::Alert(alert),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_handshake_without_an_end_is_cut_off() {
    let short = std::time::Duration::from_millis(300);
    let fixture = Fixture::start(|options| options.header_deadline = short).await;
    for start in [&b""[..], &[22, 3, 1, 2, 0, 1]] {
        let mut stream = TcpStream::connect(fixture.running.tls_addr()).await.unwrap();
        stream.write_all(start).await.unwrap();
        let mut rest = Vec::new();
        soon(stream.read_to_end(&mut rest)).await.unwrap();
    }
    // It is still there for others.
    let mut client: Client = fixture.connect().await;
    client.post("hello").await;
    client.expect(200, "hello").await;
}
