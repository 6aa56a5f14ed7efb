//! A peer of the server that keeps no rules, and what it hears.

use std::{collections::BTreeMap, fmt, io, net::Ipv4Addr, sync::Arc, time::Duration};

use anyhow::Result;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::server::Server;

/// Attackers are somewhere else than the API server.
const ATTACKER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// What connections are made with.
#[derive(Clone)]
pub(crate) struct Peers {
    http1: TlsConnector,
    http2: TlsConnector,
    addr: std::net::SocketAddr,
}

pub(crate) type Connection = TlsStream<TcpStream>;

impl Peers {
    pub(crate) fn of(server: &Server) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(
            server.certificates.authority().as_bytes(),
        )?)?;
        let connector = |protocol: &[u8]| {
            let mut config = ClientConfig::builder()
                .with_root_certificates(roots.clone())
                .with_no_client_auth();
            config.alpn_protocols.push(protocol.to_vec());
            TlsConnector::from(Arc::new(config))
        };
        Ok(Self {
            http1: connector(b"http/1.1"),
            http2: connector(b"h2"),
            addr: server.tls,
        })
    }

    pub(crate) async fn http1(&self) -> io::Result<Connection> {
        self.connect(&self.http1).await
    }

    /// With HTTP/2's preface said.
    pub(crate) async fn http2(&self) -> io::Result<Connection> {
        let mut connection = self.connect(&self.http2).await?;
        let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
        connection.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await?;
        connection.write_all(&settings).await?;
        connection.flush().await?;
        Ok(connection)
    }

    async fn connect(&self, connector: &TlsConnector) -> io::Result<Connection> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((ATTACKER, 0).into())?;
        let stream = socket.connect(self.addr).await?;
        stream.set_nodelay(true)?;
        connector.connect(ServerName::from(self.addr.ip()), stream).await
    }
}

/// How the server answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Answer {
    /// With this status.
    Status(u16),
    /// With GOAWAY and this error code.
    GoAway(u32),
    /// By closing the connection.
    Closed,
    /// Not yet.
    Nothing,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "{status}"),
            Self::GoAway(code) => write!(f, "GOAWAY {code}"),
            Self::Closed => f.write_str("closed"),
            Self::Nothing => f.write_str("nothing yet"),
        }
    }
}

/// All answers to an attack.
#[derive(Debug, Default)]
pub(crate) struct Answers(pub(crate) BTreeMap<Answer, usize>);

impl Answers {
    pub(crate) fn add(&mut self, answer: Answer) {
        *self.0.entry(answer).or_default() += 1;
    }
}

impl fmt::Display for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let listed = self.0.iter().map(|(answer, times)| format!("{times} x {answer}"));
        f.write_str(&listed.collect::<Vec<_>>().join(", "))
    }
}

/// The status of the answer that comes within this time.
pub(crate) async fn status(stream: &mut (impl AsyncReadExt + Unpin), within: Duration) -> Answer {
    let mut head = [0; 12];
    match timeout(within, stream.read_exact(&mut head)).await {
        Err(_) => Answer::Nothing,
        Ok(Err(_)) => Answer::Closed,
        Ok(Ok(_)) => {
            let status = head.get(9..).and_then(|digits| str::from_utf8(digits).ok());
            let status = status.and_then(|digits| digits.parse().ok());
            status.map_or(Answer::Closed, Answer::Status)
        }
    }
}

/// Reads frames until the one that ends the connection.
pub(crate) async fn gone(stream: &mut (impl AsyncReadExt + Unpin), within: Duration) -> Answer {
    let read = async {
        loop {
            let mut head = [0; 9];
            stream.read_exact(&mut head).await?;
            let [high, middle, low, kind, ..] = head;
            let length = u32::from_be_bytes([0, high, middle, low]);
            let mut payload = vec![0; length as usize];
            stream.read_exact(&mut payload).await?;
            if let (7, Some(code)) = (kind, payload.get(4..8)) {
                let code = code.iter().fold(0, |code, byte| code << 8 | u32::from(*byte));
                return io::Result::Ok(Answer::GoAway(code));
            }
        }
    };
    match timeout(within, read).await {
        Err(_) => Answer::Nothing,
        Ok(read) => read.unwrap_or(Answer::Closed),
    }
}
