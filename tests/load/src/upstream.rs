//! The upstream: answers as fast as one thread can, so that what is measured is the proxy.
//!
//! The last segment of a path says what the answer is: `1k`, `1m` or `10m`, in bytes of JSON; behind `echo` the connection
//! goes on with WebSocket, and every message comes back.

use std::collections::HashMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;

use anyhow::{Context as _, Result, bail};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, Socket, Type};

use crate::websocket;

/// The last segment that stands for an echo, and the place of its answer behind those of [`SIZES`].
pub(crate) const ECHO: &str = "echo";
const AGREED: usize = SIZES.len();

/// Connections that wait to be accepted.
const BACKLOG: i32 = 1024;
const LISTENER: Token = Token(usize::MAX);
/// The most that is read at once.
const PIECE: usize = 256 << 10;
/// The longest head that is looked at.
const MAX_HEAD: usize = 64 << 10;

/// The bytes of the answers, by the last segment of a path.
pub(crate) const SIZES: [(&str, usize); 3] = [("1k", 1 << 10), ("1m", 1 << 20), ("10m", 10 << 20)];

struct Connection {
    stream: TcpStream,
    /// A head that has come in part.
    head: Vec<u8>,
    /// Bytes of the request's body that are still to come, once the head is there.
    body: Option<u64>,
    /// The answer, and how much of it has gone out.
    answer: usize,
    sent: usize,
    sending: bool,
    /// Messages that go back, once the connection goes on with WebSocket.
    echo: Option<Vec<u8>>,
}

/// What it prints once it listens.
pub(crate) const READY: &str = "ready";

/// Serves until it is ended. Several may listen on one address: each takes the connections that are opened on its CPU,
/// where it runs, so that no proxy pays for waking another one.
pub(crate) fn run(address: SocketAddr, cpu: usize) -> Result<()> {
    let mut answers: Vec<Vec<u8>> = SIZES.iter().map(|(_, size)| answer(*size)).collect();
    answers.push(websocket::AGREED.to_vec());
    let mut poll = Poll::new()?;
    let mut listener = listen(address, cpu).with_context(|| format!("the upstream cannot listen on {address}"))?;
    println!("{READY}");
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut events = Events::with_capacity(1024);
    let mut connections: HashMap<Token, Connection> = HashMap::new();
    let mut next = 0;
    let mut buffer = vec![0; PIECE];
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            polled => polled?,
        }
        for event in &events {
            if event.token() == LISTENER {
                while let Ok((mut stream, _)) = listener.accept() {
                    stream.set_nodelay(true)?;
                    let token = Token(next);
                    next += 1;
                    poll.registry().register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
                    connections.insert(token, Connection::new(stream));
                }
            } else if let Some(connection) = connections.get_mut(&event.token())
                && !connection.ready(&answers, &mut buffer).unwrap_or(false)
            {
                connections.remove(&event.token());
            }
        }
    }
}

fn listen(address: SocketAddr, cpu: usize) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_cpu_affinity(cpu)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(TcpListener::from_std(socket.into()))
}

impl Connection {
    fn new(stream: TcpStream) -> Self {
        Self { stream, head: Vec::new(), body: None, answer: 0, sent: 0, sending: false, echo: None }
    }

    /// Does what can be done now. False when the connection has ended.
    fn ready(&mut self, answers: &[Vec<u8>], buffer: &mut [u8]) -> Result<bool> {
        loop {
            if self.sending && !self.send(answers)? {
                return Ok(true);
            }
            let read = match self.stream.read(buffer) {
                Ok(0) => return Ok(false),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
                Err(error) => return Err(error.into()),
            };
            if self.echo.is_some() {
                self.talk(&buffer[..read])?;
            } else {
                self.take(&buffer[..read])?;
            }
            if !self.sending && read < buffer.len() {
                // A short read has emptied the socket.
                return Ok(true);
            }
        }
    }

    /// Takes messages, and sends them back.
    fn talk(&mut self, bytes: &[u8]) -> Result<()> {
        self.head.extend_from_slice(bytes);
        let mut back = self.echo.take().unwrap_or_default();
        websocket::echo(&mut self.head, &mut back)?;
        self.sending = !back.is_empty();
        self.echo = Some(back);
        Ok(())
    }

    /// Proxies send one request at a time over a connection, so that nothing follows a body.
    fn take(&mut self, bytes: &[u8]) -> Result<()> {
        let left = match self.body {
            Some(left) => left.checked_sub(bytes.len() as u64).context("bytes behind a body")?,
            None if self.head.is_empty() => match self.begin(bytes)? {
                Some(left) => left,
                None => {
                    self.head.extend_from_slice(bytes);
                    return Ok(());
                }
            },
            None => {
                let mut head = std::mem::take(&mut self.head);
                head.extend_from_slice(bytes);
                match self.begin(&head)? {
                    Some(left) => left,
                    None => {
                        self.head = head;
                        return Ok(());
                    }
                }
            }
        };
        self.body = Some(left);
        if left == 0 {
            (self.body, self.sent, self.sending) = (None, 0, true);
        }
        Ok(())
    }

    /// Reads a head: what is to be answered, and how much of the body is still to come.
    fn begin(&mut self, bytes: &[u8]) -> Result<Option<u64>> {
        let mut fields = [httparse::EMPTY_HEADER; 64];
        let mut request = httparse::Request::new(&mut fields);
        let httparse::Status::Complete(head) = request.parse(bytes)? else {
            if bytes.len() > MAX_HEAD {
                bail!("a head of more than {MAX_HEAD} bytes");
            }
            return Ok(None);
        };
        let path = request.path.unwrap_or_default();
        let last = path.rsplit_once('/').map_or(path, |(_, last)| last);
        let size = SIZES.iter().position(|(name, _)| *name == last);
        self.answer = size.or((last == ECHO).then_some(AGREED)).context("a path that is not known")?;
        let mut length: u64 = 0;
        for field in request.headers.iter() {
            if field.name.eq_ignore_ascii_case("content-length") {
                length = std::str::from_utf8(field.value)?.parse()?;
            } else if field.name.eq_ignore_ascii_case("transfer-encoding") {
                bail!("a body of unknown length, which no row sends");
            }
        }
        let here = (bytes.len() - head) as u64;
        Ok(Some(length.checked_sub(here).context("bytes behind a body")?))
    }

    /// True when all has gone out.
    fn send(&mut self, answers: &[Vec<u8>]) -> Result<bool> {
        let answer = self.echo.as_ref().unwrap_or(&answers[self.answer]);
        while self.sent < answer.len() {
            match self.stream.write(&answer[self.sent..]) {
                Ok(sent) => self.sent += sent,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
        self.sending = false;
        match &mut self.echo {
            Some(back) => back.clear(),
            None if self.answer == AGREED => self.echo = Some(Vec::new()),
            None => return Ok(true),
        }
        self.sent = 0;
        Ok(true)
    }
}

/// A whole answer, head and body: JSON of exactly `size` bytes.
fn answer(size: usize) -> Vec<u8> {
    let (before, after) = ("{\"text\":\"", "\"}");
    let text = "x".repeat(size - before.len() - after.len());
    let head = format!(
        "HTTP/1.1 200 OK\r\ndate: Thu, 01 Jan 2026 00:00:00 GMT\r\ncontent-type: application/json\r\n\
         cache-control: no-store\r\ncontent-length: {size}\r\n\r\n"
    );
    [&head, before, &text, after].concat().into_bytes()
}
