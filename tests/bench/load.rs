//! The load that wrk cannot make: at a fixed rate, one request at a time, large bodies, an exact number of requests.
//! Compiled with `rustc -O` by the benchmark; a thread per connection, plain HTTP/1.1 with keep-alive.
//!
//!     load pace   ADDRESS HEAD RATE CONNECTIONS SECONDS    open loop: a request's time begins when it is due, not when it is sent
//!     load serial ADDRESS HEAD COUNT                       one connection, one request at a time
//!     load bulk   ADDRESS HEAD BODY CONNECTIONS SECONDS    as fast as it goes; what was begun is finished
//!
//! HEAD is a request's head with "\n" for line ends and no empty line; BODY is the size of the request's body.
//! pace and serial print microseconds: the 50th, 90th and 99th percentile; bulk prints requests, bytes received and sent.

use std::env;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    fn open(address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap_or_else(|e| fail(&format!("{address}: {e}")));
        stream.set_nodelay(true).expect("TCP_NODELAY");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("timeout");
        Self { stream, buffer: vec![0; 64 * 1024] }
    }

    /// One request and its answer, which has to be a success with a known length; returns the length.
    fn exchange(&mut self, head: &[u8], body: &[u8]) -> usize {
        self.stream.write_all(head).unwrap_or_else(|e| fail(&format!("write: {e}")));
        if !body.is_empty() {
            self.stream.write_all(body).unwrap_or_else(|e| fail(&format!("write: {e}")));
        }
        let (mut filled, mut parsed) = (0, None);
        loop {
            let read = match self.stream.read(&mut self.buffer[filled..]) {
                Ok(0) => fail("the connection was closed"),
                Ok(read) => read,
                Err(e) => fail(&format!("read: {e}")),
            };
            match parsed {
                None => {
                    filled += read;
                    let Some(end) = self.buffer[..filled].windows(4).position(|w| w == b"\r\n\r\n") else { continue };
                    let length = length_of(&self.buffer[..end]);
                    // From here on the body is counted, not kept.
                    let received = filled - end - 4;
                    parsed = Some((length, received));
                    filled = 0;
                }
                Some((length, received)) => parsed = Some((length, received + read)),
            }
            if let Some((length, received)) = parsed {
                if received >= length {
                    return length;
                }
            }
        }
    }
}

fn length_of(head: &[u8]) -> usize {
    let text = String::from_utf8_lossy(head);
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).unwrap_or("");
    if !status.starts_with('2') {
        fail(&format!("not a success:\n{text}"));
    }
    if status == "204" {
        return 0;
    }
    lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse().ok())
        .unwrap_or_else(|| fail(&format!("no Content-Length:\n{text}")))
}

fn fail(why: &str) -> ! {
    eprintln!("{why}");
    std::process::exit(1);
}

fn number(text: &str) -> u64 {
    text.parse().unwrap_or_else(|_| fail(&format!("{text} is no number")))
}

fn print_percentiles(mut times: Vec<Duration>) {
    times.sort();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100].as_nanos() as f64 / 1e3;
    println!("{:.1} {:.1} {:.1}", at(50), at(90), at(99));
}

fn pace(address: &str, head: &[u8], rate: u64, connections: u64, seconds: u64) {
    let (total, warm) = (rate * seconds, rate / 4);
    // All connections are open before the first request is due.
    let begin = Instant::now() + Duration::from_millis(50);
    let threads: Vec<_> = (0..connections)
        .map(|first| {
            let (address, head) = (address.to_string(), head.to_vec());
            thread::spawn(move || {
                let mut connection = Connection::open(&address);
                let mut times = Vec::new();
                for due in (first..warm + total).step_by(connections as usize) {
                    let at = begin + Duration::from_nanos(due * 1_000_000_000 / rate);
                    thread::sleep(at.saturating_duration_since(Instant::now()));
                    connection.exchange(&head, b"");
                    if due >= warm {
                        times.push(at.elapsed());
                    }
                }
                times
            })
        })
        .collect();
    print_percentiles(threads.into_iter().flat_map(|t| t.join().unwrap_or_else(|_| fail("a thread failed"))).collect());
}

fn serial(address: &str, head: &[u8], count: u64) {
    let mut connection = Connection::open(address);
    let times = (0..count)
        .map(|_| {
            let begin = Instant::now();
            connection.exchange(head, b"");
            begin.elapsed()
        })
        .collect();
    print_percentiles(times);
}

fn bulk(address: &str, head: &[u8], size: usize, connections: u64, seconds: u64) {
    let end = Instant::now() + Duration::from_secs(seconds);
    let threads: Vec<_> = (0..connections)
        .map(|_| {
            let (address, head) = (address.to_string(), head.to_vec());
            thread::spawn(move || {
                let body = vec![b'x'; size];
                let mut connection = Connection::open(&address);
                let (mut requests, mut received) = (0, 0);
                while Instant::now() < end {
                    received += connection.exchange(&head, &body);
                    requests += 1;
                }
                (requests, received)
            })
        })
        .collect();
    let (mut requests, mut received) = (0, 0);
    for thread in threads {
        let (r, b) = thread.join().unwrap_or_else(|_| fail("a thread failed"));
        requests += r;
        received += b;
    }
    println!("{requests} {received} {}", requests * size);
}

fn main() {
    // A thread that sleeps may otherwise wake 50 µs late; threads inherit it.
    let _ = std::fs::write("/proc/self/timerslack_ns", "1");
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let head_of = |text: &str| format!("{}\r\n\r\n", text.replace('\n', "\r\n")).into_bytes();
    match arguments[..] {
        ["pace", address, head, rate, connections, seconds] => {
            pace(address, &head_of(head), number(rate), number(connections), number(seconds));
        }
        ["serial", address, head, count] => serial(address, &head_of(head), number(count)),
        ["bulk", address, head, size, connections, seconds] => {
            bulk(address, &head_of(head), number(size) as usize, number(connections), number(seconds));
        }
        _ => fail("load pace|serial|bulk …"),
    }
}
