//! HTTP/2 by hand: what no client that keeps the rules would send.

use super::{
    client::{Client, Hello},
    fixture::Fixture,
};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

const REFUSED_STREAM: u32 = 7;
const ENHANCE_YOUR_CALM: u32 = 11;

const MAX_CONCURRENT_STREAMS: u16 = 3;
const MAX_HEADER_LIST_SIZE: u16 = 6;

/// `GET https://a/hold`, as HPACK: three fields of its table, and an authority.
const GET_HOLD: &[u8] = &[0x82, 0x87, 0x04, 5, b'/', b'h', b'o', b'l', b'd', 0x41, 1, b'a'];

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

struct Frame {
    kind: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl Frame {
    /// The error code at a place of the payload.
    fn code(&self, at: usize) -> u32 {
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }
}

/// A connection whose preface has been said.
struct Http2(Client);

impl Http2 {
    async fn connect(fixture: &Fixture) -> Self {
        let hello = Hello {
            protocol: Some(b"h2"),
            certificate: None,
        };
        let mut client = fixture.introduced(hello).await.unwrap();
        let preface = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(SETTINGS, 0, 0, &[])].concat();
        client.write(&preface).await.unwrap();
        Self(client)
    }

    /// The server may have gone already, which the next read will tell.
    async fn send(&mut self, bytes: &[u8]) {
        let _ = self.0.write(bytes).await;
    }

    async fn read(&mut self) -> Frame {
        let head = self.0.read(9).await.expect("no frame before the end");
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        Frame {
            kind: head[3],
            stream: u32::from_be_bytes(head[5..9].try_into().unwrap()),
            payload: self.0.read(length as usize).await.unwrap(),
        }
    }

    async fn read_until(&mut self, kind: u8) -> Frame {
        loop {
            let frame = self.read().await;
            if frame.kind == kind {
                return frame;
            }
        }
    }

    /// Why the server ends the connection.
    async fn gone(&mut self) -> u32 {
        self.read_until(GOAWAY).await.code(4)
    }
}

#[tokio::test]
async fn the_limits_are_sent_in_settings() {
    let fixture = Fixture::start(|_| {}).await;
    let settings = Http2::connect(&fixture).await.read_until(SETTINGS).await.payload;
    let setting = |wanted: u16| {
        let mut settings = settings.chunks(6);
        let found = settings.find(|setting| setting[..2] == wanted.to_be_bytes())?;
        Some(u32::from_be_bytes(found[2..].try_into().unwrap()))
    };
    assert_eq!(setting(MAX_CONCURRENT_STREAMS), Some(100));
    assert_eq!(setting(MAX_HEADER_LIST_SIZE), Some(16 * 1024));
    // Windows of 65,535 bytes are what HTTP/2 begins with, which is not told.
    let initial_window_size = 4;
    assert!(matches!(setting(initial_window_size), None | Some(65_535)));
}

#[tokio::test]
async fn a_stream_more_than_a_hundred_is_refused() {
    let fixture = Fixture::start(|_| {}).await;
    let mut http2 = Http2::connect(&fixture).await;
    // The server's limit holds once the client has acknowledged it.
    http2.read_until(SETTINGS).await;
    http2.send(&frame(SETTINGS, 1, 0, &[])).await;
    for stream in 0..101 {
        http2
            .send(&frame(HEADERS, END_STREAM | END_HEADERS, 2 * stream + 1, GET_HOLD))
            .await;
    }
    let refused = http2.read_until(RST_STREAM).await;
    assert_eq!((refused.stream, refused.code(0)), (201, REFUSED_STREAM));
    // The others are as they were.
    let entered = super::soon(fixture.entered.acquire_many(100)).await.unwrap();
    entered.forget();
    fixture.release.add_permits(1);
    assert_eq!(http2.read_until(DATA).await.payload, b"released");
}

#[tokio::test]
async fn streams_that_are_reset_at_once_end_the_connection() {
    let fixture = Fixture::start(|_| {}).await;
    let mut http2 = Http2::connect(&fixture).await;
    let mut burst = Vec::new();
    for stream in 0..1000 {
        burst.extend(frame(HEADERS, END_STREAM | END_HEADERS, 2 * stream + 1, GET_HOLD));
        burst.extend(frame(RST_STREAM, 0, 2 * stream + 1, &8_u32.to_be_bytes()));
    }
    http2.send(&burst).await;
    assert_eq!(http2.gone().await, ENHANCE_YOUR_CALM);
}

#[tokio::test]
async fn streams_that_break_the_protocol_end_the_connection() {
    let fixture = Fixture::start(|_| {}).await;
    let mut http2 = Http2::connect(&fixture).await;
    let mut burst = Vec::new();
    for stream in 0..200 {
        burst.extend(frame(HEADERS, END_HEADERS, 2 * stream + 1, GET_HOLD));
        // A window that is too large: an error of the stream, which the server resets (RUSTSEC-2024-0003).
        burst.extend(frame(WINDOW_UPDATE, 0, 2 * stream + 1, &0x7fff_ffff_u32.to_be_bytes()));
    }
    http2.send(&burst).await;
    assert_eq!(http2.gone().await, ENHANCE_YOUR_CALM);
}

#[tokio::test]
async fn a_head_without_an_end_ends_the_connection() {
    let fixture = Fixture::start(|_| {}).await;
    let mut http2 = Http2::connect(&fixture).await;
    let mut burst = frame(HEADERS, END_STREAM, 1, GET_HOLD);
    for _ in 0..1000 {
        burst.extend(frame(CONTINUATION, 0, 1, &[0x40, 1, b'x', 1, b'y']));
    }
    http2.send(&burst).await;
    assert_eq!(http2.gone().await, ENHANCE_YOUR_CALM);
}

#[tokio::test]
async fn a_head_that_is_too_long_is_answered_431() {
    let fixture = Fixture::start(|_| {}).await;
    let mut http2 = Http2::connect(&fixture).await;
    let mut fields = GET_HOLD.to_vec();
    // Each counts as 32 bytes and its text.
    for _ in 0..500 {
        fields.extend([0x00, 1, b'x', 1, b'y']);
    }
    http2.send(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &fields)).await;
    let answer = http2.read_until(HEADERS).await;
    // `:status` is in the table of HPACK, 431 is not: it comes in the code of Huffman.
    let status_431 = [0x48, 0x83, 0x69, 0x90, 0xff];
    assert!(answer.payload.starts_with(&status_431), "{:x?}", answer.payload);
    assert_eq!(fixture.entered.available_permits(), 0);
}

#[tokio::test]
async fn ping_responses_that_are_not_read_are_not_collected() {
    let fixture = Fixture::start(|options| options.answer_deadline = std::time::Duration::from_millis(300)).await;
    let mut http2 = Http2::connect(&fixture).await;
    let pings = frame(PING, 0, 0, &[7; 8]).repeat(10_000);
    let mut cut = false;
    for _ in 0..500 {
        cut = http2.0.write(&pings).await.is_err();
        if cut {
            break;
        }
    }
    assert!(cut, "it still accepts pings");
}
