//! A client that costs little: it shares the cores with what it measures.

use std::{
    fmt,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use axum::{
    body::Bytes,
    http::{
        Request, StatusCode,
        header::{CONTENT_LENGTH, CONTENT_TYPE},
    },
};
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{bodies::Body, server};

/// How requests come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Protocol {
    /// Eight connections, one request at a time on each.
    Http1,
    /// Two connections, ten streams on each.
    Http2,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http1 => "HTTP/1.1",
            Self::Http2 => "HTTP/2",
        })
    }
}

impl Protocol {
    pub(crate) const ALL: [Self; 2] = [Self::Http1, Self::Http2];

    const fn connections(self) -> usize {
        match self {
            Self::Http1 => 8,
            Self::Http2 => 2,
        }
    }
}

/// When to stop asking.
#[derive(Clone, Copy)]
pub(crate) enum Amount {
    /// As many requests as there is time for.
    Time(Duration),
    /// So many on each connection, or on each stream of HTTP/2.
    Requests(u64),
}

/// The same, once the clock runs.
#[derive(Clone, Copy)]
enum Until {
    Moment(Instant),
    Requests(u64),
}

impl Until {
    fn goes_on(self, requests: u64) -> bool {
        match self {
            Self::Moment(end) => Instant::now() < end,
            Self::Requests(all) => requests < all,
        }
    }
}

/// What was asked.
pub(crate) struct Load {
    pub(crate) requests: u64,
    pub(crate) took: Duration,
}

/// A client of one server, for one body.
pub(crate) struct Client {
    address: SocketAddr,
    protocol: Protocol,
    tls: Arc<ClientConfig>,
    path: &'static str,
    text: Bytes,
}

impl Client {
    pub(crate) fn new(address: SocketAddr, protocol: Protocol, roots: &RootCertStore, body: &Body) -> Result<Self> {
        let alpn = match protocol {
            Protocol::Http1 => "http/1.1",
            Protocol::Http2 => "h2",
        };
        Ok(Self {
            address,
            protocol,
            tls: server::tls(roots, alpn)?,
            path: body.route.path(),
            text: Bytes::from(body.text.clone()),
        })
    }

    async fn connect(&self) -> Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from("localhost")?;
        Ok(TlsConnector::from(Arc::clone(&self.tls)).connect(name, stream).await?)
    }

    pub(crate) async fn ask(&self) -> Result<Vec<u8>> {
        let stream = self.connect().await?;
        match self.protocol {
            Protocol::Http1 => {
                let mut connection = Http1::new(stream, self.path, &self.text);
                connection.ask().await?;
                Ok(connection.answer().to_vec())
            }
            Protocol::Http2 => {
                let (client, connection) = h2::client::handshake(stream).await?;
                tokio::spawn(connection);
                Ok(self.stream(client).ask().await?.concat())
            }
        }
    }

    fn stream(&self, client: h2::client::SendRequest<Bytes>) -> Http2 {
        Http2 {
            client,
            uri: format!("https://localhost{}", self.path),
            text: self.text.clone(),
        }
    }

    /// An answer that isn't 200 ends it.
    pub(crate) async fn load(&self, amount: Amount) -> Result<Load> {
        let mut streams = Vec::new();
        for _ in 0..self.protocol.connections() {
            streams.push(self.connect().await?);
        }
        let began = Instant::now();
        let until = match amount {
            Amount::Time(time) => Until::Moment(began + time),
            Amount::Requests(requests) => Until::Requests(requests),
        };
        let mut tasks = JoinSet::new();
        for stream in streams {
            match self.protocol {
                Protocol::Http1 => {
                    let connection = Http1::new(stream, self.path, &self.text);
                    tasks.spawn(connection.ask_until(until));
                }
                Protocol::Http2 => {
                    let (client, connection) = h2::client::handshake(stream).await?;
                    tokio::spawn(connection);
                    for _ in 0..10 {
                        tasks.spawn(self.stream(client.clone()).ask_until(until));
                    }
                }
            }
        }
        let mut requests = 0;
        while let Some(done) = tasks.join_next().await {
            requests += done??;
        }
        Ok(Load {
            requests,
            took: began.elapsed(),
        })
    }
}

/// A connection of HTTP/1.1 that is kept.
struct Http1 {
    stream: TlsStream<TcpStream>,
    request: Vec<u8>,
    read: Vec<u8>,
    body_at: usize,
}

impl Http1 {
    fn new(stream: TlsStream<TcpStream>, path: &str, text: &[u8]) -> Self {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: kube-apiserver-admission\r\nContent-Length: {}\r\nAccept: application/json, */*\r\nContent-Type: application/json\r\n\r\n",
            text.len()
        );
        Self {
            stream,
            request: [head.as_bytes(), text].concat(),
            read: Vec::with_capacity(64 * 1024),
            body_at: 0,
        }
    }

    async fn ask_until(mut self, until: Until) -> Result<u64> {
        let mut requests = 0;
        while until.goes_on(requests) {
            self.ask().await?;
            requests += 1;
        }
        Ok(requests)
    }

    async fn ask(&mut self) -> Result<()> {
        self.stream.write_all(&self.request).await?;
        self.stream.flush().await?;
        self.read.clear();
        let length = loop {
            let read = self.stream.read_buf(&mut self.read).await?;
            ensure!(read > 0, "closed before it answered");
            let ends = self.read.windows(4).position(|bytes| bytes == b"\r\n\r\n");
            let Some(ends) = ends else { continue };
            self.body_at = ends + 4;
            let head = std::str::from_utf8(self.read.get(..ends).unwrap_or_default())?;
            if !head.starts_with("HTTP/1.1 200") {
                bail!("{head}");
            }
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length").then(|| value.trim())
            });
            break length.context("an answer without a length")?.parse::<usize>()?;
        };
        while self.read.len() < self.body_at + length {
            let read = self.stream.read_buf(&mut self.read).await?;
            ensure!(read > 0, "closed in the middle of an answer");
        }
        Ok(())
    }

    fn answer(&self) -> &[u8] {
        self.read.get(self.body_at..).unwrap_or_default()
    }
}

/// A stream of HTTP/2 after the other, on one connection.
struct Http2 {
    client: h2::client::SendRequest<Bytes>,
    uri: String,
    text: Bytes,
}

impl Http2 {
    async fn ask_until(mut self, until: Until) -> Result<u64> {
        let mut requests = 0;
        while until.goes_on(requests) {
            self.ask().await?;
            requests += 1;
        }
        Ok(requests)
    }

    /// The chunks of the answer.
    async fn ask(&mut self) -> Result<Vec<Bytes>> {
        std::future::poll_fn(|cx| self.client.poll_ready(cx)).await?;
        let request = Request::post(&self.uri)
            .header(CONTENT_TYPE, "application/json")
            .header(CONTENT_LENGTH, self.text.len())
            .body(())?;
        let (response, mut body) = self.client.send_request(request, false)?;
        body.send_data(self.text.clone(), true)?;
        let response = response.await?;
        ensure!(response.status() == StatusCode::OK, "{}", response.status());
        let mut answer = response.into_body();
        let mut chunks = Vec::new();
        while let Some(chunk) = answer.data().await {
            let chunk = chunk?;
            answer.flow_control().release_capacity(chunk.len())?;
            chunks.push(chunk);
        }
        Ok(chunks)
    }
}
