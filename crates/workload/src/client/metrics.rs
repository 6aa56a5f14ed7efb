//! The metrics of an API server, line by line: they are long, and little of them counts.

use http::{
    HeaderValue, Request, StatusCode,
    header::{AUTHORIZATION, HOST},
};
use http_body_util::{BodyExt, Empty};
use hyper::{
    body::{Body as HttpBody, Bytes},
    client::conn::http1,
};
use hyper_util::rt::TokioIo;
use kube::client::{Body, ConfigExt};
use rustls::pki_types::ServerName;
use secrecy::ExposeSecret;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::JoinSet,
};
use tokio_rustls::TlsConnector;
use tracing::{instrument::WithSubscriber, subscriber::NoSubscriber};

use super::{CallError, WorkloadClient};

/// How long the metrics may be. Nothing of them is kept.
const MOST_METRICS: usize = 16 * 1024 * 1024;

/// How much of a line is looked at.
const MOST_LINE: usize = 8 * 1024;

const PATH: &str = "/metrics";

/// Every API server's certificate names the Service `kubernetes`, at whichever address it is reached.
/// Source: `GetAPIServerAltNames` of kubeadm, `DefaultServiceIPRange` and `BuildGenericConfig` of kube-apiserver.
const SERVER_NAME: &str = "kubernetes";

impl WorkloadClient {
    /// Reads the metrics of the API server that answers, and gives each line to `take`.
    pub(crate) async fn metrics(&self, take: impl FnMut(&str)) -> Result<(), CallError> {
        let asked = format!("GET {PATH}");
        let request = Request::get(PATH).body(Body::empty());
        let request = request.map_err(|error| self.unreachable(&error))?;
        let read = async {
            let answer = self.client.send(request).await;
            let (head, body) = answer.map_err(|error| self.unreachable(&error))?.into_parts();
            self.lines(head.status, body, &asked, take).await
        };
        self.in_time(read, &asked).await
    }

    /// Reads the metrics of the API server that runs in a Pod of kube-system, through a tunnel to its port.
    pub(crate) async fn metrics_of_pod(&self, pod: &str, port: u16, take: impl FnMut(&str)) -> Result<(), CallError> {
        let asked = format!("GET {PATH} of Pod kube-system/{pod}");
        let read = async {
            let (stream, pump) = self.tunnel(pod, port, &asked).await?;
            let (pumped, read) = tokio::join!(pump, self.metrics_through(stream, &asked, take));
            // What broke the tunnel says more than that it broke.
            read.map_err(|error| pumped.err().map_or(error, |why| self.broken(&why)))
        };
        self.in_time(read, &asked).await
    }

    async fn metrics_through(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        asked: &str,
        take: impl FnMut(&str),
    ) -> Result<(), CallError> {
        let config = self.config.as_ref().ok_or_else(|| CallError::Unusable {
            why: "no tunnel leads into the management cluster".to_owned(),
        })?;
        let tls = config.rustls_client_config();
        let tls = TlsConnector::from(std::sync::Arc::new(tls.map_err(|error| self.unreachable(&error))?));
        let name = ServerName::try_from(SERVER_NAME).map_err(|error| self.unreachable(&error))?;
        let stream = tls
            .connect(name, stream)
            .await
            .map_err(|error| self.unreachable(&error))?;
        let connection = http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = connection.map_err(|error| self.unreachable(&error))?;
        // It ends with this call.
        let mut tasks = JoinSet::new();
        tasks.spawn(connection.with_subscriber(NoSubscriber::default()));
        let mut request = Request::get(PATH).header(HOST, SERVER_NAME);
        if let Some(token) = &self.token {
            let bearer = HeaderValue::try_from(format!("Bearer {}", token.expose_secret()));
            let mut bearer = bearer.map_err(|error| self.unreachable(&error))?;
            bearer.set_sensitive(true);
            request = request.header(AUTHORIZATION, bearer);
        }
        let request = request.body(Empty::<Bytes>::new());
        let answer = sender.send_request(request.map_err(|error| self.unreachable(&error))?);
        let answer = answer.await.map_err(|error| self.unreachable(&error))?;
        let (head, body) = answer.into_parts();
        self.lines(head.status, body, asked, take).await
    }

    async fn lines<B>(
        &self,
        code: StatusCode,
        mut body: B,
        asked: &str,
        mut take: impl FnMut(&str),
    ) -> Result<(), CallError>
    where
        B: HttpBody<Data = Bytes> + Unpin,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        if code != StatusCode::OK {
            let bytes = self.bounded(body, asked).await?;
            return Err(self.refused(code, &bytes, asked));
        }
        let (mut read, mut line) = (0_usize, Vec::new());
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| self.unreachable(&*error.into()))?;
            // Trailers say nothing here.
            let Ok(data) = frame.into_data() else { continue };
            read += data.len();
            if read > MOST_METRICS {
                return Err(CallError::TooLong {
                    host: self.host.clone(),
                    request: asked.to_owned(),
                    most: MOST_METRICS,
                });
            }
            for part in data.split_inclusive(|byte| *byte == b'\n') {
                let room = MOST_LINE.saturating_sub(line.len());
                line.extend(part.iter().take(room));
                if part.ends_with(b"\n") {
                    take(String::from_utf8_lossy(&line).trim_end());
                    line.clear();
                }
            }
        }
        take(&String::from_utf8_lossy(&line));
        Ok(())
    }
}
