//! Clients: one that keeps the rules, and one that need not.

use std::{io, net::SocketAddr, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{
    soon,
    volume::{Authority, Issued},
};

/// A client that trusts the authority.
pub(super) fn builder(authority: &Authority) -> reqwest::ClientBuilder {
    // Another test may have been first.
    let _ = ring::default_provider().install_default();
    let root = reqwest::Certificate::from_der(authority.der()).unwrap();
    reqwest::Client::builder().tls_certs_only([root])
}

/// How a raw client introduces itself.
#[derive(Default)]
pub(super) struct Hello<'a> {
    /// In ALPN; none is HTTP/1.1.
    pub(super) protocol: Option<&'a [u8]>,
    pub(super) certificate: Option<&'a Issued>,
}

/// What is said on a connection, by hand.
pub(super) struct Client(TlsStream<TcpStream>);

impl Client {
    pub(super) async fn connect(addr: SocketAddr, authority: &Authority) -> io::Result<Self> {
        Self::introduced(addr, authority, Hello::default()).await
    }

    pub(super) async fn introduced(addr: SocketAddr, authority: &Authority, hello: Hello<'_>) -> io::Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(authority.der().to_vec())).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match hello.certificate {
            None => config.with_no_client_auth(),
            Some(issued) => {
                let chain = vec![CertificateDer::from(issued.leaf.clone())];
                let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap();
                config.with_client_auth_cert(chain, key).unwrap()
            }
        };
        config.alpn_protocols.extend(hello.protocol.map(<[u8]>::to_vec));
        let stream = soon(TcpStream::connect(addr)).await?;
        let name = ServerName::from(addr.ip());
        let tls = TlsConnector::from(Arc::new(config)).connect(name, stream);
        Ok(Self(soon(tls).await?))
    }

    /// The server's own certificate.
    pub(super) fn certificate(&self) -> Vec<u8> {
        self.0.get_ref().1.peer_certificates().unwrap()[0].to_vec()
    }

    pub(super) async fn send(&mut self, text: &str) {
        soon(self.0.write_all(text.as_bytes())).await.unwrap();
    }

    /// Sends bytes, as long as the server takes them.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        soon(self.0.write_all(bytes)).await?;
        soon(self.0.flush()).await
    }

    /// Reads that many bytes.
    pub(super) async fn read(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        soon(self.0.read_exact(&mut bytes)).await?;
        Ok(bytes)
    }

    /// A whole request to echo a body.
    pub(super) async fn post(&mut self, body: &str) {
        let length = body.len();
        self.send(&format!("{POST}Content-Length: {length}\r\n\r\n{body}"))
            .await;
    }

    /// Reads one answer and checks how it begins and ends. Gives back its head.
    pub(super) async fn expect(&mut self, status: u16, body_end: &str) -> String {
        let mut answer = String::new();
        let start = format!("HTTP/1.1 {status} ");
        while !(answer.contains("\r\n\r\n") && answer.ends_with(body_end)) {
            let byte = soon(self.0.read_u8()).await;
            answer.push(byte.unwrap_or_else(|_| panic!("closed after {answer:?}")).into());
        }
        assert!(answer.starts_with(&start), "{answer}");
        answer.to_lowercase()
    }

    /// Reads to the end, whether it is a clean one or not, and gives back what came.
    pub(super) async fn closed(&mut self) -> String {
        let mut rest = Vec::new();
        let _ = soon(self.0.read_to_end(&mut rest)).await;
        String::from_utf8(rest).unwrap()
    }
}

/// The beginning of a request to echo.
pub(super) const POST: &str = "POST /echo HTTP/1.1\r\nHost: test\r\n";
