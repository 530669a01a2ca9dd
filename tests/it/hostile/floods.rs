//! Floods over HTTP/2, frame by frame: each one ends its own connection, or waits, and another connection is served.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::bench::{Bench, Setup, TENANT};
use crate::peer::{Peer, Stage};
use crate::wire::{OK, Seen, Wire, recorder};

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

const CANCEL: [u8; 4] = [0, 0, 0, 8];
const ENHANCE_YOUR_CALM: u32 = 11;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A header block: indexed method and scheme, the rest in letters.
fn block(method: u8, path: &str) -> Vec<u8> {
    let literal = |index: u8, value: &str| [&[index, u8::try_from(value.len()).unwrap()], value.as_bytes()].concat();
    [&[method, 0x86][..], &literal(4, path), &literal(1, "localhost")].concat()
}

const GET: u8 = 0x82;
const POST: u8 = 0x83;

fn get(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &block(GET, &format!("/{TENANT}/api/v1/x")))
}

/// A frame that came: kind, flags, stream, payload.
type Frame = (u8, u8, u32, Vec<u8>);

/// A connection that is not friendly. What comes is read all the time, if it is read at all.
struct Attack {
    writer: OwnedWriteHalf,
    came: Arc<Mutex<Vec<Frame>>>,
    reading: JoinHandle<()>,
}

impl Attack {
    async fn on(proxy: SocketAddr, settings: &[u8]) -> Attack {
        let mut attack = Attack::deaf(proxy, settings).await;
        let (mut reader, writer) = TcpStream::connect(proxy).await.unwrap().into_split();
        let came = attack.came.clone();
        attack.writer = writer;
        attack.reading = tokio::spawn(async move {
            loop {
                let mut head = [0; 9];
                if reader.read_exact(&mut head).await.is_err() {
                    return;
                }
                let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
                if reader.read_exact(&mut payload).await.is_err() {
                    return;
                }
                let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
                came.lock().unwrap().push((head[3], head[4], stream, payload));
            }
        });
        attack.begin(settings).await;
        attack
    }

    /// One that reads nothing. (Its own side of the connection stays open.)
    async fn deaf(proxy: SocketAddr, settings: &[u8]) -> Attack {
        let (reader, writer) = TcpStream::connect(proxy).await.unwrap().into_split();
        let reading = tokio::spawn(async move {
            let _held = reader;
            std::future::pending().await
        });
        let mut attack = Attack { writer, came: Arc::default(), reading };
        attack.begin(settings).await;
        attack
    }

    async fn begin(&mut self, settings: &[u8]) {
        self.send(&[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &frame(SETTINGS, 0, 0, settings)[..]].concat()).await;
    }

    /// Whether it could be sent.
    async fn send(&mut self, bytes: &[u8]) -> bool {
        self.writer.write_all(bytes).await.is_ok()
    }

    /// Sends something again and again, at most so often, until the connection ends.
    async fn flood(&mut self, times: usize, mut bytes: impl FnMut(usize) -> Vec<u8>) {
        for number in 0..times {
            if self.reading.is_finished() || !self.send(&bytes(number)).await {
                return;
            }
        }
    }

    fn frames(&self, kind: u8) -> Vec<Frame> {
        self.came.lock().unwrap().iter().filter(|frame| frame.0 == kind).cloned().collect()
    }

    /// The connection ends, and with which error it was taken leave of.
    async fn end(&mut self) -> Option<u32> {
        timeout(Duration::from_secs(10), &mut self.reading).await.expect("the connection ends").unwrap();
        self.frames(GOAWAY).last().map(|(_, _, _, payload)| u32::from_be_bytes(payload[4..8].try_into().unwrap()))
    }

    /// All that was sent so far has been looked at.
    async fn settled(&mut self) {
        let before = self.frames(PING).len();
        assert!(self.send(&frame(PING, 0, 0, b"look at!")).await);
        for _ in 0..1000 {
            if self.frames(PING).len() > before {
                return;
            }
            sleep(Duration::from_millis(5)).await;
        }
        panic!("no PING came back: {:?}", self.came.lock().unwrap());
    }
}

impl Drop for Attack {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

async fn recorded() -> (Bench, Peer, Seen) {
    let (peer, seen) = recorder(OK).await;
    let bench = Setup::new().api_at(peer.address).set("listen.workers", "1").start().await;
    (bench, peer, seen)
}

/// Another connection of the same worker.
async fn assert_served(bench: &Bench) {
    assert_eq!(Wire::to(bench.proxy).await.get("/v1/good", "").await.status(), 200);
}

fn stream(number: usize) -> u32 {
    2 * u32::try_from(number).unwrap() + 1
}

#[tokio::test]
async fn streams_that_are_reset_as_they_are_opened_end_the_connection() {
    let (bench, _peer, seen) = recorded().await;
    let mut attack = Attack::on(bench.proxy, &[]).await;
    let burst = |number| {
        (0..50).flat_map(|at| [get(stream(number * 50 + at)), frame(RST_STREAM, 0, stream(number * 50 + at), &CANCEL)].concat()).collect()
    };
    attack.flood(400, burst).await;
    assert_eq!(attack.end().await, Some(ENHANCE_YOUR_CALM));
    assert!(seen.count() < 500, "{} of 20,000 reached upstream", seen.count());
    assert_served(&bench).await;
}

#[tokio::test]
async fn a_caller_that_gives_up_most_of_what_it_asks_for_is_closed() {
    let stage = Stage::new().await;
    let bench = Setup::new().api_at(stage.address).set("listen.workers", "1").start().await;
    // Each comes to upstream, which takes its time, before it is reset: no bound of h2's counts these.
    let mut attack = Attack::on(bench.proxy, &[]).await;
    let mut asked = 0;
    while asked < 300 && !attack.reading.is_finished() {
        if !attack.send(&get(stream(asked))).await {
            break;
        }
        let Ok(up) = timeout(Duration::from_secs(5), stage.accept()).await else { break };
        if !attack.send(&frame(RST_STREAM, 0, stream(asked), &CANCEL)).await {
            break;
        }
        Wire::of(up).end().await;
        asked += 1;
    }
    attack.end().await;
    assert!((90..150).contains(&asked), "{asked}");
}

#[tokio::test]
async fn headers_without_an_end_are_not_taken() {
    let (bench, _peer, seen) = recorded().await;
    let field = [&[0x00, 0x03][..], b"x-y", &[0x7f, 0x80 | 0x61, 0x1e], &[b'z'; 4064]].concat();
    // Full frames, small ones, and frames with nothing in them.
    for (payload, times) in [(field.as_slice(), 20_000), (&field[..0], 200_000), (&[0x00, 0x01, b'a', 0x01, b'b'][..], 200_000)] {
        let mut attack = Attack::on(bench.proxy, &[]).await;
        assert!(attack.send(&frame(HEADERS, END_STREAM, 1, &block(GET, "/x"))).await);
        let many: Vec<u8> = (0..10).flat_map(|_| frame(CONTINUATION, 0, 1, payload)).collect();
        attack.flood(times / 10, |_| many.clone()).await;
        let end = attack.end().await;
        assert!(end.is_some_and(|code| code != 0), "{end:?}");
    }
    assert_eq!(seen.count(), 0);
    assert_served(&bench).await;
}

#[tokio::test]
async fn a_small_block_that_stands_for_many_headers_is_refused() {
    let (bench, _peer, seen) = recorded().await;
    let mut attack = Attack::on(bench.proxy, &[]).await;
    // One header of 4000 bytes, put into the table, and asked for 10,000 times with a byte each: 40 MB.
    let bomb = [&[0x40, 0x01, b'x', 0x7f, 0xa1, 0x1e][..], &[b'z'; 4000], &[0xbe; 10_000]].concat();
    assert!(attack.send(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &[block(GET, "/x"), bomb].concat())).await);
    let mut refused = false;
    for _ in 0..1000 {
        let answered =
            attack.frames(HEADERS).iter().any(|(_, _, stream, payload)| *stream == 1 && payload.windows(3).any(|part| part == b"431"));
        refused = answered || attack.reading.is_finished() || !attack.frames(RST_STREAM).is_empty() || attack.frames(HEADERS).len() == 1;
        if refused {
            break;
        }
        sleep(Duration::from_millis(5)).await;
    }
    assert!(refused && seen.count() == 0);
    assert_served(&bench).await;
}

#[tokio::test]
async fn data_without_anything_in_it_ends_the_connection() {
    let (bench, _peer, _) = recorded().await;
    for payload in [&b""[..], b"x"] {
        let mut attack = Attack::on(bench.proxy, &[]).await;
        assert!(attack.send(&frame(HEADERS, END_HEADERS, 1, &block(POST, &format!("/{TENANT}/api/v1/x")))).await);
        let many: Vec<u8> = (0..100).flat_map(|_| frame(DATA, 0, 1, payload)).collect();
        attack.flood(10_000, |_| many.clone()).await;
        assert_eq!(attack.end().await, Some(ENHANCE_YOUR_CALM), "{payload:?}");
    }
    assert_served(&bench).await;
}

#[tokio::test]
async fn more_streams_than_there_may_be_are_refused() {
    let stage = Stage::new().await;
    let bench = Setup::new().api_at(stage.address).start().await;
    let mut attack = Attack::on(bench.proxy, &[]).await;
    attack.settled().await;
    let (_, _, _, settings) = attack.frames(SETTINGS).remove(0);
    assert!(settings.chunks(6).any(|setting| setting == [0, 3, 0, 0, 0, 200]), "the caller is told: {settings:?}");
    for number in 0..260 {
        assert!(attack.send(&get(stream(number))).await);
    }
    attack.settled().await;
    assert_eq!(attack.frames(RST_STREAM).len(), 60);
    let mut ups = Vec::new();
    for _ in 0..200 {
        ups.push(stage.accept().await);
    }
    assert!(stage.is_quiet().await);
}

/// Every PING and every SETTINGS has to be answered. Who does not take the answers is not heard, and is closed.
#[tokio::test]
async fn a_caller_that_asks_for_answers_and_takes_none_is_closed() {
    let (peer, _) = recorder(OK).await;
    let bench = Setup::new().api_at(peer.address).set("listen.body_timeout", "500ms").set("listen.workers", "1").start().await;
    for ask in [frame(PING, 0, 0, b"12345678"), frame(SETTINGS, 0, 0, &[])] {
        let mut attack = Attack::deaf(bench.proxy, &[]).await;
        let many = ask.repeat(10_000);
        let flooding = async { while attack.send(&many).await {} };
        timeout(Duration::from_secs(20), flooding).await.expect("the connection ends");
        assert_served(&bench).await;
    }
}

/// A window of 0 is no blocked socket. Both are a caller that takes nothing of its answer.
#[tokio::test]
async fn a_caller_that_opens_no_window_for_its_answer_is_closed() {
    let stage = Stage::new().await;
    let bench = Setup::new().api_at(stage.address).set("listen.body_timeout", "400ms").start().await;
    // From the beginning, or after some of it.
    for window in [[0, 0, 0, 0], [0, 0, 0, 100]] {
        let mut attack = Attack::on(bench.proxy, &[&[0, 4][..], &window].concat()).await;
        assert!(attack.send(&get(1)).await);
        let (mut up, _) = stage.request().await;
        up.say("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n").await;
        up.say("x".repeat(50_000)).await;
        // What is said besides does not help.
        for _ in 0..200 {
            if attack.reading.is_finished() {
                break;
            }
            attack.send(&frame(PING, 0, 0, b"hello...")).await;
            sleep(Duration::from_millis(20)).await;
        }
        attack.end().await;
        up.end().await;
    }
    // One that takes its time, but takes, stays.
    let mut slow = Attack::on(bench.proxy, &[0, 4, 0, 0, 0, 100]).await;
    assert!(slow.send(&get(1)).await);
    let (mut up, _) = stage.request().await;
    up.say(format!("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{}", "x".repeat(1000))).await;
    for _ in 0..9 {
        sleep(Duration::from_millis(100)).await;
        assert!(slow.send(&frame(WINDOW_UPDATE, 0, 1, &100_u32.to_be_bytes())).await);
    }
    slow.settled().await;
    assert_eq!(slow.frames(DATA).iter().map(|(_, _, _, payload)| payload.len()).sum::<usize>(), 1000);
}

/// Windows as wide as they can be, for many answers, of which nothing is read: what waits here has a bound.
#[tokio::test]
async fn what_waits_for_a_caller_that_reads_nothing_is_bounded() {
    let peer = Peer::start(|_, stream| async move {
        let mut wire = Wire::of(stream);
        if wire.message().await.is_some() {
            wire.say("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n").await;
            let piece = vec![b'x'; 1 << 20];
            while wire.stream.write_all(&piece).await.is_ok() {}
        }
    })
    .await;
    let home = crate::binary::Home::new().await.api_at(peer.address);
    let program = home.spawn(&["run"]);
    let (proxy, admin) = program.addresses().await;
    let before = crate::memory::high_water(&program);
    let widest = [&[0, 4][..], &0x7fff_ffff_u32.to_be_bytes()].concat();
    let mut attack = Attack::deaf(proxy, &widest).await;
    assert!(attack.send(&frame(WINDOW_UPDATE, 0, 0, &0x7fff_0000_u32.to_be_bytes())).await);
    for number in 0..200 {
        assert!(attack.send(&get(stream(number))).await);
    }
    sleep(Duration::from_secs(2)).await;
    assert_eq!(crate::binary::get(admin, "/livez").await.status, 200);
    let grown = crate::memory::high_water(&program) - before;
    assert!(grown < 64 << 20, "{grown} bytes for one connection");
    println!("{grown} bytes");
}
