//! A stream to a port of a Pod, which the API server forwards in a WebSocket.
//!
//! kube has this too, but bounds neither the answer to a refused request nor the messages of the socket.
//! Source: `pkg/portforward/websocket.go` of k8s.io/cri-streaming, of the protocol `v4.channel.k8s.io`: each message begins
//! with a channel, 0 for data and 1 for an error, and the first one of each channel has the port.

use futures::{SinkExt, StreamExt};
use http::{
    HeaderMap, HeaderValue, Request, StatusCode,
    header::{
        CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
    },
};
use hyper_util::rt::TokioIo;
use kube::client::Body;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex, split};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        handshake::{client::generate_key, derive_accept_key},
        protocol::{Role, WebSocketConfig},
    },
};

use super::{CallError, WorkloadClient};

/// How much is on its way in each direction.
const BUFFER: usize = 64 * 1024;

/// How long a message may be. API servers and kubelets send 32 KiB at once.
const MOST_MESSAGE: usize = 1024 * 1024;

const PROTOCOL: &str = "v4.channel.k8s.io";

const DATA: u8 = 0;
const ERROR: u8 = 1;

impl WorkloadClient {
    /// A stream to a port of a Pod of kube-system, and what has to run for as long as it is used. That ends when either
    /// end is closed, with what the kubelet says where it can't reach the port.
    pub(super) async fn tunnel(
        &self,
        pod: &str,
        port: u16,
        asked: &str,
    ) -> Result<(DuplexStream, impl Future<Output = Result<(), String>> + use<>), CallError> {
        let key = generate_key();
        let path = format!("/api/v1/namespaces/kube-system/pods/{pod}/portforward?ports={port}");
        let request = Request::get(path)
            .header(CONNECTION, "Upgrade")
            .header(UPGRADE, "websocket")
            .header(SEC_WEBSOCKET_VERSION, "13")
            .header(SEC_WEBSOCKET_KEY, &key)
            .header(SEC_WEBSOCKET_PROTOCOL, PROTOCOL)
            .body(Body::empty());
        let request = request.map_err(|error| self.unreachable(&error))?;
        let answer = self.client.send(request).await;
        let answer = answer.map_err(|error| self.unreachable(&error))?;
        let code = answer.status();
        if code != StatusCode::SWITCHING_PROTOCOLS {
            let bytes = self.bounded(answer.into_body(), asked).await?;
            return Err(self.refused(code, &bytes, asked));
        }
        if !forwards_ports(answer.headers(), &key) {
            return Err(self.broken("it opens no WebSocket that forwards ports"));
        }
        let upgraded = hyper::upgrade::on(answer).await;
        let upgraded = TokioIo::new(upgraded.map_err(|error| self.unreachable(&error))?);
        let bounds = WebSocketConfig::default()
            .max_message_size(Some(MOST_MESSAGE))
            .max_frame_size(Some(MOST_MESSAGE));
        let socket = WebSocketStream::from_raw_socket(upgraded, Role::Client, Some(bounds)).await;
        let (ours, theirs) = duplex(BUFFER);
        Ok((ours, pump(socket, theirs)))
    }

    pub(super) fn broken(&self, why: &str) -> CallError {
        CallError::Unreachable {
            host: self.host.clone(),
            why: self.quoted(why),
        }
    }
}

/// Whether an answer takes up the key and the protocol of a request.
fn forwards_ports(headers: &HeaderMap, key: &str) -> bool {
    let header = |name| headers.get(name).map(HeaderValue::as_bytes);
    header(SEC_WEBSOCKET_ACCEPT) == Some(derive_accept_key(key.as_bytes()).as_bytes())
        && header(SEC_WEBSOCKET_PROTOCOL) == Some(PROTOCOL.as_bytes())
}

type Socket = WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>;

/// Takes bytes from one to the other until one of them has no more.
async fn pump(socket: Socket, stream: DuplexStream) -> Result<(), String> {
    let (mut to_pod, mut from_pod) = socket.split();
    let (mut to_send, mut received) = split(stream);
    let up = async {
        let mut message = vec![DATA; BUFFER];
        while let Some(buffer) = message.get_mut(1..) {
            let read = to_send.read(buffer).await.map_err(|error| error.to_string())?;
            if read == 0 {
                break;
            }
            let message: Vec<u8> = message.iter().take(read + 1).copied().collect();
            let sent = to_pod.send(Message::binary(message)).await;
            sent.map_err(|error| error.to_string())?;
        }
        Ok(())
    };
    let down = async {
        let (mut data, mut errors) = (Opened::NotYet, Opened::NotYet);
        while let Some(message) = from_pod.next().await {
            let message = match message.map_err(|error| error.to_string())? {
                Message::Binary(message) => message,
                Message::Close(_) => break,
                Message::Text(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => continue,
            };
            match message.split_first() {
                Some((&DATA, bytes)) => {
                    if data.opens() == Opened::Before {
                        // It was closed on this side.
                        let Ok(()) = received.write_all(bytes).await else { break };
                    }
                }
                Some((&ERROR, bytes)) => {
                    if errors.opens() == Opened::Before && !bytes.is_empty() {
                        return Err(String::from_utf8_lossy(bytes).into_owned());
                    }
                }
                Some(_) | None => {}
            }
        }
        Ok(())
    };
    tokio::select! {
        ended = up => ended,
        ended = down => ended,
    }
}

/// Whether a channel's first message has come, which has no bytes of the stream.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Opened {
    NotYet,
    Before,
}

impl Opened {
    /// What it was before this message.
    const fn opens(&mut self) -> Self {
        std::mem::replace(self, Self::Before)
    }
}
