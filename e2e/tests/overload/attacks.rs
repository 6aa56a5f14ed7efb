//! What attackers do.

use std::{io, sync::Arc, time::Duration};

use anyhow::Result;
use futures::future::BoxFuture;
use tokio::{
    io::{AsyncWriteExt, split},
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::peer::{Answer, Answers, Connection, Peers, gone, status};

const MIB: usize = 1024 * 1024;

/// The largest body that is read.
const LIMIT: usize = 7 * MIB;

/// Longer than the server takes for any request.
const ANSWERED: Duration = Duration::from_secs(8);

/// How long connections are held.
const HELD: Duration = Duration::from_secs(3);

const ENHANCE_YOUR_CALM: u32 = 11;

const ROUTES: [&str; 6] = [
    "/mutate/cluster",
    "/validate/cluster",
    "/validate/cluster-class",
    "/validate/machine-template",
    "/validate/worker",
    "/validate/kubernetes-release",
];

type Run = fn(Peers) -> BoxFuture<'static, Result<Answers>>;

/// One way to attack.
pub(crate) struct Attack {
    pub(crate) what: &'static str,
    /// Each answer has to be one of these.
    pub(crate) answers: &'static [Answer],
    pub(crate) run: Run,
}

const REFUSED: &[Answer] = &[Answer::Status(413)];
/// Read to its end, or given up for it came too slowly.
const READ: &[Answer] = &[
    Answer::Status(200),
    Answer::Status(400),
    Answer::Status(408),
    Answer::Status(503),
];
const CUT: &[Answer] = &[
    Answer::Status(408),
    Answer::Status(413),
    Answer::Status(503),
    Answer::Closed,
];
const HOLDING: &[Answer] = &[Answer::Closed, Answer::Nothing];
const CALMED: &[Answer] = &[Answer::GoAway(ENHANCE_YOUR_CALM), Answer::Closed];

pub(crate) const ALL: &[Attack] = &[
    Attack {
        what: "bodies of 20 MiB",
        answers: REFUSED,
        run: |peers| Box::pin(many(8, peers, large)),
    },
    Attack {
        what: "chunked bodies without an end",
        answers: CUT,
        run: |peers| Box::pin(many(8, peers, |peers| chunked(peers, 16 * 1024))),
    },
    Attack {
        what: "chunked bodies in chunks of one byte",
        answers: CUT,
        run: |peers| Box::pin(many(8, peers, |peers| chunked(peers, 1))),
    },
    Attack {
        what: "requests in TLS records of one byte",
        answers: READ,
        run: |peers| Box::pin(many(8, peers, records)),
    },
    Attack {
        what: "bodies in gzip",
        answers: &[Answer::Status(415)],
        run: |peers| Box::pin(bodies(peers, "Content-Encoding: gzip\r\n", vec![0x1f; MIB])),
    },
    Attack {
        what: "JSON of a depth of a million",
        answers: CUT,
        run: |peers| Box::pin(bodies(peers, "", object(&"[".repeat(1_000_000), "", 1))),
    },
    Attack {
        what: "objects of a depth of a million",
        answers: CUT,
        run: |peers| Box::pin(bodies(peers, "", object(&r#"{"a":"#.repeat(1_000_000), "", 1))),
    },
    Attack {
        what: "a hundred thousand keys",
        answers: CUT,
        run: |peers| Box::pin(bodies(peers, "", keys())),
    },
    Attack {
        what: "a hundred thousand times the same key",
        answers: CUT,
        run: |peers| Box::pin(bodies(peers, "", object("{", r#""spec":{"a":1},"#, 100_000))),
    },
    Attack {
        what: "millions of empty things in metadata",
        answers: CUT,
        run: |peers| {
            let list = r#"{"metadata":{"name":"n","managedFields":["#;
            Box::pin(bodies(peers, "", object(list, "{},", LIMIT / 3 - 100)))
        },
    },
    Attack {
        what: "millions of empty things in spec",
        answers: CUT,
        run: |peers| {
            let list = r#"{"metadata":{"name":"n"},"spec":{"topology":{"workers":{"machineDeployments":["#;
            Box::pin(bodies(peers, "", object(list, "{},", LIMIT / 3 - 100)))
        },
    },
    Attack {
        what: "as many empty things as are read",
        answers: READ,
        run: |peers| {
            let list = r#"{"metadata":{"name":"n","managedFields":["#;
            Box::pin(bodies(peers, "", object(list, "{},", 24_900)))
        },
    },
    Attack {
        what: "as deep as it is read",
        answers: READ,
        run: |peers| Box::pin(bodies(peers, "", object(&"[".repeat(49_900), "", 1))),
    },
    Attack {
        what: "1,000 connections with slow heads",
        answers: HOLDING,
        run: |peers| Box::pin(many(1000, peers, slow_head)),
    },
    Attack {
        what: "200 connections with slow bodies",
        answers: CUT,
        run: |peers| Box::pin(many(200, peers, slow_body)),
    },
    Attack {
        what: "100 connections that read no answer",
        answers: HOLDING,
        run: |peers| Box::pin(many(100, peers, deaf)),
    },
    Attack {
        what: "2,000 idle connections",
        answers: HOLDING,
        run: |peers| Box::pin(many(2000, peers, idle)),
    },
    Attack {
        what: "HTTP/2: streams that are reset at once",
        answers: CALMED,
        run: |peers| Box::pin(many(50, peers, rapid_reset)),
    },
    Attack {
        what: "HTTP/2: heads without an end",
        answers: CALMED,
        run: |peers| Box::pin(many(50, peers, continuation)),
    },
    Attack {
        what: "HTTP/2: pings that nobody reads the answers to",
        answers: HOLDING,
        run: |peers| Box::pin(many(50, peers, pings)),
    },
    Attack {
        what: "HTTP/2: 100 slow bodies on each of 50 connections",
        answers: HOLDING,
        run: |peers| Box::pin(many(50, peers, slow_streams)),
    },
];

/// The same from many connections at once.
async fn many<Fut>(connections: usize, peers: Peers, attack: fn(Peers) -> Fut) -> Result<Answers>
where
    Fut: Future<Output = io::Result<Answer>> + Send + 'static,
{
    let mut attackers = JoinSet::new();
    for _ in 0..connections {
        attackers.spawn(attack(peers.clone()));
    }
    collect(attackers).await
}

async fn collect(mut attackers: JoinSet<io::Result<Answer>>) -> Result<Answers> {
    let mut answers = Answers::default();
    while let Some(answer) = attackers.join_next().await {
        // Whatever it was doing, it was cut off.
        answers.add(answer?.unwrap_or(Answer::Closed));
    }
    Ok(answers)
}

fn head(route: &str, fields: &str) -> String {
    format!("POST {route} HTTP/1.1\r\nHost: instar\r\n{fields}\r\n")
}

/// A body to each route, three times at once.
async fn bodies(peers: Peers, fields: &str, body: Vec<u8>) -> Result<Answers> {
    let body = Arc::new(body);
    let mut attackers = JoinSet::new();
    for route in ROUTES.into_iter().cycle().take(3 * ROUTES.len()) {
        let head = head(route, &format!("{fields}Content-Length: {}\r\n", body.len()));
        let (peers, body) = (peers.clone(), Arc::clone(&body));
        attackers.spawn(async move {
            let (mut read, mut write) = split(peers.http1().await?);
            write.write_all(head.as_bytes()).await?;
            // It may answer before it has read all of it.
            let writes = async {
                let _ = write.write_all(&body).await;
                let _ = write.flush().await;
                std::future::pending().await
            };
            tokio::select! {
                answer = status(&mut read, ANSWERED) => Ok(answer),
                never = writes => never,
            }
        });
    }
    collect(attackers).await
}

/// A review of an object with a beginning, and then the same many times, and no end.
fn object(begin: &str, again: &str, times: usize) -> Vec<u8> {
    let review = r#"{"request":{"uid":"u","kind":{},"operation":"CREATE","userInfo":{},"object":"#;
    let mut body = format!("{review}{begin}");
    body.extend(std::iter::repeat_n(again, times));
    body.truncate(LIMIT);
    body.into_bytes()
}

fn keys() -> Vec<u8> {
    let annotations: Vec<String> = (0..100_000).map(|key| format!(r#""k{key}":"""#)).collect();
    let metadata = format!(r#"{{"metadata":{{"annotations":{{{}}}}}}}}}}}"#, annotations.join(","));
    object(&metadata, "", 1)
}

async fn large(peers: Peers) -> io::Result<Answer> {
    let mut connection = peers.http1().await?;
    let head = head(ROUTES[0], &format!("Content-Length: {}\r\n", 20 * MIB));
    connection.write_all(head.as_bytes()).await?;
    let _ = connection.write_all(&vec![b' '; 64 * 1024]).await;
    Ok(status(&mut connection, ANSWERED).await)
}

async fn chunked(peers: Peers, size: usize) -> io::Result<Answer> {
    let (mut read, mut write) = split(peers.http1().await?);
    let chunk = format!("{size:x}\r\n{}\r\n", " ".repeat(size));
    let chunks = chunk.repeat((64 * 1024 / chunk.len()).max(1));
    write
        .write_all(head(ROUTES[0], "Transfer-Encoding: chunked\r\n").as_bytes())
        .await?;
    let writes = async {
        while write.write_all(chunks.as_bytes()).await.is_ok() {}
        std::future::pending().await
    };
    tokio::select! {
        answer = status(&mut read, ANSWERED) => Ok(answer),
        never = writes => never,
    }
}

async fn records(peers: Peers) -> io::Result<Answer> {
    let mut connection = peers.http1().await?;
    let body = crate::honest::review().to_string();
    let head = head(
        "/validate/kubernetes-release",
        &format!("Content-Length: {}\r\n", body.len()),
    );
    for byte in head.bytes().chain(body.bytes()) {
        connection.write_u8(byte).await?;
        connection.flush().await?;
    }
    Ok(status(&mut connection, ANSWERED).await)
}

/// Sends a byte now and then until it is answered or has been held for long enough.
async fn dribble(connection: Connection, byte: u8, held: Duration) -> io::Result<Answer> {
    let (mut read, mut write) = split(connection);
    let writes = async {
        while write.write_u8(byte).await.is_ok() && write.flush().await.is_ok() {
            sleep(Duration::from_millis(300)).await;
        }
        std::future::pending().await
    };
    tokio::select! {
        answer = status(&mut read, held) => Ok(answer),
        never = writes => never,
    }
}

async fn slow_head(peers: Peers) -> io::Result<Answer> {
    let mut connection = peers.http1().await?;
    connection.write_all(b"POST /validate/cluster HTTP/1.1\r\nX: ").await?;
    dribble(connection, b'x', HELD).await
}

async fn slow_body(peers: Peers) -> io::Result<Answer> {
    let mut connection = peers.http1().await?;
    let head = head(ROUTES[0], &format!("Content-Length: {LIMIT}\r\n"));
    connection.write_all(head.as_bytes()).await?;
    connection.write_all(&vec![b' '; 256 * 1024]).await?;
    dribble(connection, b' ', ANSWERED).await
}

async fn idle(peers: Peers) -> io::Result<Answer> {
    let mut connection = peers.http1().await?;
    Ok(status(&mut connection, HELD).await)
}

/// Sends the same until that can't go on, and says how that was.
async fn pour(connection: &mut Connection, bytes: &[u8]) -> Answer {
    let pours = async { while connection.write_all(bytes).await.is_ok() {} };
    match timeout(HELD, pours).await {
        Ok(()) => Answer::Closed,
        Err(_) => Answer::Nothing,
    }
}

async fn deaf(peers: Peers) -> io::Result<Answer> {
    let mut connection = peers.http1().await?;
    let request = head("/validate/cluster", "Content-Length: 2\r\n") + "{}";
    Ok(pour(&mut connection, request.repeat(100).as_bytes()).await)
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, length @ ..] = u32::try_from(payload.len()).unwrap_or_default().to_be_bytes();
    [&length, &[kind, flags][..], &stream.to_be_bytes(), payload].concat()
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// `POST https://a/validate/cluster`, as HPACK.
fn fields() -> Vec<u8> {
    let path = b"/validate/cluster";
    let length = u8::try_from(path.len()).unwrap_or_default();
    [&[0x83, 0x87, 0x04, length], &path[..], &[0x41, 1, b'a']].concat()
}

/// Odd numbers are the client's.
fn streams(count: u32) -> impl Iterator<Item = u32> {
    (0..count).map(|stream| 2 * stream + 1)
}

async fn rapid_reset(peers: Peers) -> io::Result<Answer> {
    let (mut read, mut write) = split(peers.http2().await?);
    let burst: Vec<u8> = streams(10_000)
        .flat_map(|stream| {
            let reset = frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes());
            [frame(HEADERS, END_HEADERS, stream, &fields()), reset].concat()
        })
        .collect();
    let (answer, _) = tokio::join!(gone(&mut read, ANSWERED), write.write_all(&burst));
    Ok(answer)
}

async fn continuation(peers: Peers) -> io::Result<Answer> {
    let (mut read, mut write) = split(peers.http2().await?);
    let more = frame(CONTINUATION, 0, 1, &[0x00, 1, b'x', 1, b'y'].repeat(1000));
    let flood = [frame(HEADERS, 0, 1, &fields()), more.repeat(1000)].concat();
    let (answer, _) = tokio::join!(gone(&mut read, ANSWERED), write.write_all(&flood));
    Ok(answer)
}

async fn pings(peers: Peers) -> io::Result<Answer> {
    let mut connection = peers.http2().await?;
    Ok(pour(&mut connection, &frame(PING, 0, 0, &[7; 8]).repeat(1000)).await)
}

/// As much of 100 bodies as the windows let through, and then nothing.
async fn slow_streams(peers: Peers) -> io::Result<Answer> {
    let mut connection = peers.http2().await?;
    let flood: Vec<u8> = streams(100)
        .flat_map(|stream| {
            let piece = frame(DATA, 0, stream, &[b' '; 600]);
            [frame(HEADERS, END_HEADERS, stream, &fields()), piece].concat()
        })
        .collect();
    connection.write_all(&flood).await?;
    connection.flush().await?;
    Ok(gone(&mut connection, HELD).await)
}
