//! The load: a closed loop over kept-alive connections on one thread, or a steady rate. Every answer's status and length
//! are checked, and one that is not as expected ends the run.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use rustls::pki_types::ServerName;
use serde::{Deserialize, Serialize};
use socket2::{Domain, Socket, Type};

use crate::process;
use crate::stream::{self, Stream};
use crate::timer::Timer;
use crate::websocket;

/// The most that is read at once.
const PIECE: usize = 256 << 10;
/// What the timer of a rate is called among the connections.
const TIMER: Token = Token(usize::MAX);
/// An answer that takes longer is lost.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is asked, and what has to be answered.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
    /// A body of so many bytes in place of `body`.
    pub(crate) size: usize,
    pub(crate) status: u16,
    /// The length of the answer's body, where it is known.
    pub(crate) length: Option<u64>,
    /// The connection goes on with WebSocket, and what is measured is a message of so many bytes that comes back.
    pub(crate) message: u16,
}

/// One measurement.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) address: SocketAddr,
    /// The certificate to trust; without one there is no TLS.
    pub(crate) tls: Option<PathBuf>,
    pub(crate) request: Request,
    pub(crate) connections: usize,
    /// A connection of its own for each request.
    pub(crate) handshakes: bool,
    /// Requests each second over all connections, whatever the answers do; none for as fast as they come.
    pub(crate) rate: Option<u32>,
    pub(crate) warm_up: Duration,
    pub(crate) time: Duration,
    /// The process whose time is taken.
    pub(crate) watch: u32,
}

/// What came out.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Sample {
    pub(crate) requests: u64,
    pub(crate) seconds: f64,
    /// Microseconds of the watched process.
    pub(crate) user: u64,
    pub(crate) kernel: u64,
    /// Microseconds.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

impl Sample {
    /// CPU microseconds of the proxy for each request.
    pub(crate) fn cost(&self) -> f64 {
        (self.user + self.kernel) as f64 / self.requests as f64
    }

    /// Of these, the ones in user space.
    pub(crate) fn user(&self) -> f64 {
        self.user as f64 / self.requests as f64
    }

    /// Requests a second.
    pub(crate) fn rate(&self) -> f64 {
        self.requests as f64 / self.seconds
    }
}

/// Carries out a job.
pub(crate) fn run(job: &Job) -> Result<Sample> {
    let mut load = Load::new(job)?;
    load.until(Instant::now() + job.warm_up)?;
    load.latencies.clear();
    let (before, begun) = (process::spent(job.watch)?, Instant::now());
    load.until(begun + job.time)?;
    let (spent, seconds) = (process::spent(job.watch)?.since(before), begun.elapsed().as_secs_f64());
    let mut latencies = std::mem::take(&mut load.latencies);
    ensure!(!latencies.is_empty(), "no request was answered");
    latencies.sort_unstable();
    let at = |part: f64| f64::from(latencies[((latencies.len() - 1) as f64 * part) as usize]) / 1000.0;
    Ok(Sample {
        requests: latencies.len() as u64,
        seconds,
        user: spent.user,
        kernel: spent.kernel,
        p50: at(0.5),
        p99: at(0.99),
    })
}

/// Opens connections, has each answer one request, and holds them until standard input ends.
pub(crate) fn hold(job: &Job) -> Result<()> {
    let mut load = Load::new(job)?;
    for index in 0..load.connections.len() {
        load.start(index, Instant::now())?;
        // A few at a time, so that no queue of connections overflows.
        if index % 64 == 63 {
            load.settle()?;
        }
    }
    load.settle()?;
    println!("held");
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    Ok(())
}

struct Load<'a> {
    job: &'a Job,
    bytes: Vec<u8>,
    /// What a tunnel sends, and what has to come back; nothing where there is none.
    message: Vec<u8>,
    echo: Vec<u8>,
    tls: Option<Arc<rustls::ClientConfig>>,
    poll: Poll,
    events: Events,
    connections: Vec<Connection>,
    buffer: Vec<u8>,
    /// Nanoseconds of each answer.
    latencies: Vec<u32>,
    /// With a rate: connections that wait, when the next request is due, and what wakes for it.
    idle: Vec<usize>,
    due: Instant,
    timer: Timer,
    begun: bool,
    /// Connections opened so far: each comes from another loopback address than the one before.
    opened: u32,
}

struct Connection {
    stream: Stream,
    sent: usize,
    busy: bool,
    since: Instant,
    head: Vec<u8>,
    /// Bytes of the answer's body that are still to come.
    body: Option<u64>,
    /// It goes on with WebSocket.
    tunnel: bool,
}

impl<'a> Load<'a> {
    fn new(job: &'a Job) -> Result<Self> {
        let tls = job.tls.as_ref().map(stream::client).transpose()?;
        let poll = Poll::new()?;
        let mut load = Self {
            job,
            bytes: job.request.bytes(),
            message: websocket::message(job.request.message, true),
            echo: websocket::message(job.request.message, false),
            tls,
            timer: Timer::new(poll.registry(), TIMER)?,
            poll,
            events: Events::with_capacity(1024),
            connections: Vec::new(),
            buffer: vec![0; PIECE],
            latencies: Vec::with_capacity(1 << 20),
            idle: Vec::new(),
            due: Instant::now(),
            begun: false,
            opened: 0,
        };
        for index in 0..job.connections {
            let connection = load.open(index)?;
            load.connections.push(connection);
            load.idle.push(index);
        }
        Ok(load)
    }

    fn until(&mut self, end: Instant) -> Result<()> {
        if self.job.rate.is_none() && !self.begun {
            for index in 0..self.connections.len() {
                self.start(index, Instant::now())?;
            }
        }
        if !self.begun {
            (self.begun, self.due) = (true, Instant::now());
        }
        let mut last = Instant::now();
        loop {
            let now = Instant::now();
            if now >= end {
                return Ok(());
            }
            if let Some(rate) = self.job.rate {
                self.launch(rate)?;
            }
            let before = self.latencies.len();
            self.turn(end.saturating_duration_since(now))?;
            if self.latencies.len() > before {
                last = Instant::now();
            }
            ensure!(last.elapsed() < PATIENCE, "no answer for {PATIENCE:?}");
        }
    }

    /// Starts what is due, and sets the timer for what comes next. The clock of a request runs from when it was due, so
    /// that a late answer is not forgiven by a late question.
    fn launch(&mut self, rate: u32) -> Result<()> {
        loop {
            let left = self.due.saturating_duration_since(Instant::now());
            if !left.is_zero() {
                return self.timer.set(left);
            }
            // While all connections are busy it waits, and its clock runs.
            let Some(index) = self.idle.pop() else { return Ok(()) };
            self.start(index, self.due)?;
            self.due += Duration::from_secs(1) / rate;
        }
    }

    fn settle(&mut self) -> Result<()> {
        let begun = Instant::now();
        while self.connections.iter().any(|connection| connection.busy) {
            self.turn(Duration::from_millis(100))?;
            ensure!(begun.elapsed() < PATIENCE, "an answer did not come");
        }
        Ok(())
    }

    fn turn(&mut self, wait: Duration) -> Result<()> {
        match self.poll.poll(&mut self.events, Some(wait)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            polled => polled?,
        }
        let ready = self.events.iter().map(|event| event.token()).filter(|token| *token != TIMER);
        let ready: Vec<usize> = ready.map(|token| token.0).collect();
        for index in ready {
            self.ready(index)?;
        }
        Ok(())
    }

    fn start(&mut self, index: usize, since: Instant) -> Result<()> {
        let connection = &mut self.connections[index];
        (connection.since, connection.sent, connection.busy) = (since, 0, true);
        connection.send(if connection.tunnel { &self.message } else { &self.bytes })
    }

    fn ready(&mut self, index: usize) -> Result<()> {
        loop {
            let connection = &mut self.connections[index];
            connection.send(if connection.tunnel { &self.message } else { &self.bytes })?;
            let Some((read, emptied)) = connection.stream.read(&mut self.buffer)? else { return Ok(()) };
            if !connection.busy {
                ensure!(read == 0, "bytes that belong to no answer");
                bail!("the proxy closed a kept connection");
            }
            ensure!(read > 0, "the proxy closed a connection in the middle of an exchange");
            let bytes = &self.buffer[..read];
            let answered = match connection.tunnel {
                true => connection.take_echo(bytes, &self.echo)?,
                false => connection.take(bytes, &self.job.request)?,
            };
            if answered {
                connection.tunnel = self.job.request.message > 0;
                self.answered(index)?;
            }
            if emptied {
                return Ok(());
            }
        }
    }

    fn answered(&mut self, index: usize) -> Result<()> {
        let connection = &mut self.connections[index];
        let took = connection.since.elapsed().as_nanos();
        self.latencies.push(u32::try_from(took).unwrap_or(u32::MAX));
        connection.busy = false;
        if self.job.handshakes {
            self.connections[index] = self.open(index)?;
            if self.begun {
                self.start(index, Instant::now())?;
            }
            return Ok(());
        }
        if self.job.rate.is_some() {
            self.idle.push(index);
            return Ok(());
        }
        if self.begun {
            self.start(index, Instant::now())?;
        }
        Ok(())
    }

    fn open(&mut self, index: usize) -> Result<Connection> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        if self.job.handshakes {
            // One address has too few ports for all of them within TIME_WAIT.
            let host = u8::try_from(2 + self.opened % 200).unwrap_or(2);
            self.opened += 1;
            socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 0, 0, host), 0)).into())?;
        }
        socket.connect(&self.job.address.into()).with_context(|| format!("no connection to {}", self.job.address))?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        let mut stream = TcpStream::from_std(socket.into());
        self.poll.registry().register(&mut stream, Token(index), Interest::READABLE | Interest::WRITABLE)?;
        let stream = match &self.tls {
            Some(config) => {
                let name = ServerName::try_from("localhost")?;
                Stream::Tls(Box::new(rustls::ClientConnection::new(config.clone(), name)?), stream)
            }
            None => Stream::Plain(stream),
        };
        Ok(Connection {
            stream,
            sent: 0,
            busy: false,
            since: Instant::now(),
            head: Vec::new(),
            body: None,
            tunnel: false,
        })
    }
}

impl Connection {
    /// Sends what the socket takes.
    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        while self.busy && self.sent < bytes.len() {
            match self.stream.write(&bytes[self.sent..])? {
                Some(sent) => self.sent += sent,
                None => return Ok(()),
            }
        }
        self.stream.flush()
    }

    /// True when this ends the message.
    fn take_echo(&mut self, bytes: &[u8], expected: &[u8]) -> Result<bool> {
        // Most come whole.
        let came = if self.head.is_empty() && bytes.len() == expected.len() {
            bytes
        } else {
            self.head.extend_from_slice(bytes);
            &self.head
        };
        ensure!(expected.starts_with(came), "a message that was not sent");
        let whole = came.len() == expected.len();
        if whole {
            self.head.clear();
        }
        Ok(whole)
    }

    /// True when this ends the answer.
    fn take(&mut self, bytes: &[u8], expected: &Request) -> Result<bool> {
        let left = match self.body {
            Some(left) => left.checked_sub(bytes.len() as u64).context("bytes behind an answer")?,
            None => {
                let joined;
                let whole = if self.head.is_empty() {
                    bytes
                } else {
                    self.head.extend_from_slice(bytes);
                    joined = std::mem::take(&mut self.head);
                    &joined
                };
                match begin(whole, expected)? {
                    Some(left) => left,
                    None => {
                        self.head = whole.to_vec();
                        return Ok(false);
                    }
                }
            }
        };
        self.body = (left > 0).then_some(left);
        Ok(left == 0)
    }
}

/// How much of the body is still to come, if the head is whole.
fn begin(bytes: &[u8], expected: &Request) -> Result<Option<u64>> {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut fields);
    let httparse::Status::Complete(head) = response.parse(bytes)? else { return Ok(None) };
    let code = response.code.unwrap_or_default();
    ensure!(
        code == expected.status,
        "{} {}: answered {code}, expected {}: {}",
        expected.method,
        expected.path,
        expected.status,
        String::from_utf8_lossy(&bytes[..bytes.len().min(2000)])
    );
    if expected.message > 0 {
        ensure!(websocket::is_agreed(&response), "{}: no agreement", expected.path);
        ensure!(head == bytes.len(), "bytes behind an agreement");
        return Ok(Some(0));
    }
    let length = response.headers.iter().find(|field| field.name.eq_ignore_ascii_case("content-length"));
    let length = length.context("an answer without a content-length")?;
    let length: u64 = std::str::from_utf8(length.value)?.parse()?;
    if let Some(expected_length) = expected.length {
        ensure!(length == expected_length, "{}: {length} bytes, expected {expected_length}", expected.path);
    }
    Ok(Some(length.checked_sub((bytes.len() - head) as u64).context("bytes behind an answer")?))
}

impl Request {
    /// As it goes out.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.path);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let size = self.size.max(self.body.len());
        if size > 0 {
            head.push_str(&format!("content-length: {size}\r\n"));
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        if self.size > 0 {
            bytes.resize(bytes.len() + self.size, b'x');
        } else {
            bytes.extend_from_slice(self.body.as_bytes());
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(length: Option<u64>) -> Request {
        let (method, path) = ("POST".to_owned(), "/x/1k".to_owned());
        let headers = vec![("host".to_owned(), "h".to_owned())];
        Request { method, path, headers, body: "ab".to_owned(), size: 0, status: 200, length, message: 0 }
    }

    #[test]
    fn a_request_goes_out_with_its_length() {
        assert_eq!(request(None).bytes(), b"POST /x/1k HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n\r\nab");
        let large = Request { size: 5, ..request(None) };
        assert!(large.bytes().ends_with(b"content-length: 5\r\n\r\nxxxxx"));
    }

    #[test]
    fn an_answer_that_is_not_as_expected_ends_the_run() {
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n";
        assert_eq!(begin(&head[..20], &request(Some(4))).unwrap(), None, "the rest is to come");
        assert_eq!(begin(head, &request(Some(4))).unwrap(), Some(4));
        assert_eq!(begin(&[head, &b"ab"[..]].concat(), &request(None)).unwrap(), Some(2));
        assert!(begin(head, &request(Some(5))).is_err(), "another length");
        assert!(begin(&[head, &b"abcde"[..]].concat(), &request(None)).is_err(), "bytes behind it");
        assert!(begin(b"HTTP/1.1 500 No\r\nContent-Length: 4\r\n\r\n", &request(Some(4))).is_err(), "another status");
        assert!(begin(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", &request(None)).is_err());
    }
}
