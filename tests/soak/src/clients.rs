//! Clients that never stop asking, each in a way of its own, and the board on which they note what became of it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use h2::client::SendRequest;
use h2::{RecvStream, SendStream};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{Duration, Instant, sleep, timeout};
use tokio_rustls::TlsConnector;

use crate::proxy::Proxy;

/// An answer that takes longer is lost.
const PATIENCE: Duration = Duration::from_secs(20);
/// The pause of a client between two requests: what is looked for takes time, not load.
const PAUSE: Duration = Duration::from_millis(5);
/// How long after the end of a server its last requests may still fail.
const AFTERMATH: Duration = Duration::from_secs(1);

/// What became of requests.
#[derive(Default)]
pub(crate) struct Board {
    pub(crate) done: RefCell<BTreeMap<&'static str, u64>>,
    /// Those that were under way when a server was killed.
    pub(crate) excused: RefCell<BTreeMap<&'static str, u64>>,
    pub(crate) lost: RefCell<Vec<String>>,
    kills: RefCell<Vec<Instant>>,
    stopped: Cell<bool>,
}

impl Board {
    pub(crate) fn killed(&self) {
        self.kills.borrow_mut().push(Instant::now());
    }

    pub(crate) fn stop(&self) {
        self.stopped.set(true);
    }

    pub(crate) fn summary(&self) -> String {
        let sum = |of: &RefCell<BTreeMap<_, u64>>| of.borrow().values().sum::<u64>();
        let lost = self.lost.borrow().len();
        format!("{} answered, {} cut by a kill, {lost} lost", sum(&self.done), sum(&self.excused))
    }

    fn note(&self, kind: &'static str, begun: Instant, outcome: Result<()>) {
        let Err(error) = outcome else {
            *self.done.borrow_mut().entry(kind).or_default() += 1;
            return;
        };
        let now = Instant::now();
        let cut = self.kills.borrow().iter().any(|kill| *kill + AFTERMATH >= begun && *kill <= now);
        if cut && may_be_cut(kind) {
            *self.excused.borrow_mut().entry(kind).or_default() += 1;
        } else {
            self.lost.borrow_mut().push(format!("{kind}: {error:#}"));
        }
    }
}

/// What is safe to repeat has to survive even that.
fn may_be_cut(kind: &str) -> bool {
    !matches!(kind, "GET, kept" | "GET, closed" | "GET, HTTP/2")
}

/// Starts all of them.
pub(crate) async fn start(proxy: &Rc<Proxy>, board: &Rc<Board>) -> Result<Vec<JoinHandle<()>>> {
    let mut clients = Vec::new();
    for number in 0..4 {
        clients.push(repeat(board, "GET, kept", Kept::new(proxy.plain, "GET", number)));
        clients.push(repeat(board, "POST, kept", Kept::new(proxy.plain, "POST", number)));
    }
    for number in 0..2 {
        clients.push(repeat(board, "GET, closed", Closed { address: proxy.plain, number, count: 0 }));
        clients.push(repeat(board, "events", Events { address: proxy.plain, stream: None }));
        clients.push(repeat(board, "GET, HTTP/2", Http2::new(proxy, "GET")));
        clients.push(repeat(board, "POST, HTTP/2", Http2::new(proxy, "POST")));
        clients.push(repeat(
            board,
            "gRPC",
            Grpc { address: proxy.tls, tls: proxy.trust.clone(), call: None, count: 0 },
        ));
    }
    // A release may not carry it yet; one that does has to carry it all the time.
    let mut socket = WebSocket { address: proxy.plain, stream: None, count: 0 };
    if socket.once().await.is_ok() {
        clients.push(repeat(board, "WebSocket", socket));
        clients.push(repeat(board, "WebSocket", WebSocket { address: proxy.plain, stream: None, count: 0 }));
    } else {
        eprintln!("soak: the proxy carries no WebSocket, so there is none in this run");
    }
    Ok(clients)
}

trait Client {
    /// One request, or one piece of what has no end.
    async fn once(&mut self) -> Result<()>;
}

fn repeat(board: &Rc<Board>, kind: &'static str, mut client: impl Client + 'static) -> JoinHandle<()> {
    let board = board.clone();
    spawn_local(async move {
        while !board.stopped.get() {
            let begun = Instant::now();
            let outcome = timeout(PATIENCE, client.once()).await.context("no answer in time").flatten();
            board.note(kind, begun, outcome);
            sleep(PAUSE).await;
        }
    })
}

/// HTTP/1.1 on a connection that is kept.
struct Kept {
    address: SocketAddr,
    method: &'static str,
    number: usize,
    count: usize,
    stream: Option<BufReader<TcpStream>>,
}

impl Kept {
    fn new(address: SocketAddr, method: &'static str, number: usize) -> Self {
        Self { address, method, number, count: 0, stream: None }
    }
}

impl Client for Kept {
    async fn once(&mut self) -> Result<()> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => connect(self.address).await?,
        };
        self.count += 1;
        // Up to 200 kB, so that some fit into a packet and some into no buffer.
        let body = if self.method == "POST" { vec![b'x'; self.count * 7919 % 200_000] } else { Vec::new() };
        let target = format!("/{}/{}", self.number, self.count);
        exchange(&mut stream, self.method, &target, &body, "").await?;
        self.stream = Some(stream);
        Ok(())
    }
}

/// A connection for each request.
struct Closed {
    address: SocketAddr,
    number: usize,
    count: usize,
}

impl Client for Closed {
    async fn once(&mut self) -> Result<()> {
        self.count += 1;
        let mut stream = connect(self.address).await?;
        exchange(&mut stream, "GET", &format!("/{}/{}", self.number, self.count), b"", "connection: close\r\n").await?;
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await?;
        ensure!(rest.is_empty(), "bytes behind the answer");
        Ok(())
    }
}

async fn connect(address: SocketAddr) -> Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(BufReader::new(stream))
}

async fn exchange(
    stream: &mut BufReader<TcpStream>,
    method: &str,
    target: &str,
    body: &[u8],
    fields: &str,
) -> Result<()> {
    let head = format!("{method} {target} HTTP/1.1\r\nhost: soak\r\n{fields}content-length: {}\r\n\r\n", body.len());
    stream.get_mut().write_all(&[head.as_bytes(), body].concat()).await?;
    let (status, length) = head_of(stream).await?;
    let mut answer = vec![0; length.context("an answer without a length")?];
    stream.read_exact(&mut answer).await?;
    check(status, &answer, target, body.len())
}

fn check(status: u16, answer: &[u8], target: &str, sent: usize) -> Result<()> {
    let text = String::from_utf8_lossy(answer);
    ensure!(status == 200, "{status} {text}");
    ensure!(text == format!("{target} {sent}"), "another answer than that to {target}: {text}");
    Ok(())
}

/// The status of a response, and its length.
async fn head_of(stream: &mut BufReader<TcpStream>) -> Result<(u16, Option<usize>)> {
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.with_context(|| format!("no status line: {line:?}"))?;
    let mut length = None;
    loop {
        line.clear();
        ensure!(stream.read_line(&mut line).await? > 0, "the connection ended in a head");
        let Some((name, value)) = line.trim_end().split_once(':') else { return Ok((status, length)) };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().ok();
        }
    }
}

/// Server-sent events, which are to come one by one and in order, through every reload.
struct Events {
    address: SocketAddr,
    stream: Option<(BufReader<TcpStream>, u64)>,
}

impl Client for Events {
    async fn once(&mut self) -> Result<()> {
        let (mut stream, next) = match self.stream.take() {
            Some(streaming) => streaming,
            None => {
                let mut stream = connect(self.address).await?;
                stream.get_mut().write_all(b"GET /events HTTP/1.1\r\nhost: soak\r\n\r\n").await?;
                let (status, _) = head_of(&mut stream).await?;
                ensure!(status == 200, "{status}");
                (stream, 0)
            }
        };
        let expected = format!("data: {next}");
        let mut line = String::new();
        loop {
            line.clear();
            ensure!(stream.read_line(&mut line).await? > 0, "the stream ended");
            if line.starts_with("data:") {
                ensure!(line.trim_end() == expected, "{line:?} in place of {expected:?}");
                self.stream = Some((stream, next + 1));
                return Ok(());
            }
        }
    }
}

/// A tunnel, of which each piece has to come back.
struct WebSocket {
    address: SocketAddr,
    stream: Option<BufReader<TcpStream>>,
    count: u64,
}

impl Client for WebSocket {
    async fn once(&mut self) -> Result<()> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => {
                let mut stream = connect(self.address).await?;
                let ask = b"GET /socket HTTP/1.1\r\nhost: soak\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                    sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
                stream.get_mut().write_all(ask).await?;
                let (status, _) = head_of(&mut stream).await?;
                ensure!(status == 101, "{status}");
                stream
            }
        };
        self.count += 1;
        let piece = self.count.to_be_bytes();
        stream.get_mut().write_all(&piece).await?;
        let mut back = [0; 8];
        stream.read_exact(&mut back).await?;
        ensure!(back == piece, "another piece came back");
        self.stream = Some(stream);
        Ok(())
    }
}

/// HTTP/2 over TLS, some requests after another on one connection.
struct Http2 {
    address: SocketAddr,
    tls: Arc<rustls::ClientConfig>,
    method: &'static str,
    sender: Option<SendRequest<Bytes>>,
    count: usize,
}

/// Requests on one connection, so that handshakes go on, too.
const PER_CONNECTION: usize = 50;

impl Http2 {
    fn new(proxy: &Proxy, method: &'static str) -> Self {
        Self { address: proxy.tls, tls: proxy.trust.clone(), method, sender: None, count: 0 }
    }

    async fn sender(&mut self) -> Result<SendRequest<Bytes>> {
        if let Some(sender) = self.sender.take().filter(|_| !self.count.is_multiple_of(PER_CONNECTION)) {
            // A connection that a reload has ended in good order is no loss.
            if let Ok(sender) = sender.ready().await {
                return Ok(sender);
            }
        }
        http2(self.address, &self.tls).await
    }
}

/// A connection of HTTP/2.
async fn http2(address: SocketAddr, tls: &Arc<rustls::ClientConfig>) -> Result<SendRequest<Bytes>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let name = ServerName::try_from("localhost")?;
    let stream = TlsConnector::from(tls.clone()).connect(name, stream).await?;
    let (sender, connection) = h2::client::handshake(stream).await?;
    spawn_local(async move {
        // What ends it shows in the requests.
        let _ = connection.await;
    });
    Ok(sender.ready().await?)
}

impl Client for Http2 {
    async fn once(&mut self) -> Result<()> {
        let mut sender = self.sender().await?;
        self.count += 1;
        let target = format!("/h2/{}", self.count);
        let request = http::Request::builder().method(self.method).uri(format!("https://localhost{target}")).body(())?;
        // Less than a window, so that it goes out at once.
        let body = Bytes::from(vec![b'y'; if self.method == "POST" { self.count * 997 % 50_000 } else { 0 }]);
        let (response, mut stream) = sender.send_request(request, body.is_empty())?;
        if !body.is_empty() {
            stream.send_data(body.clone(), true)?;
        }
        let response = response.await?;
        let status = response.status().as_u16();
        let mut incoming = response.into_body();
        let mut answer = Vec::new();
        while let Some(piece) = incoming.data().await {
            let piece = piece?;
            incoming.flow_control().release_capacity(piece.len())?;
            answer.extend_from_slice(&piece);
            if answer.len() > 1 << 20 {
                bail!("an answer without an end");
            }
        }
        check(status, &answer, &target, body.len())?;
        self.sender = Some(sender);
        Ok(())
    }
}

/// A call of gRPC that goes on for many messages, each of which has to come back, and ends with its trailers.
struct Grpc {
    address: SocketAddr,
    tls: Arc<rustls::ClientConfig>,
    call: Option<(SendStream<Bytes>, RecvStream)>,
    /// Messages of this call.
    count: u64,
}

/// Messages of one call: seconds of it, so that reloads come while it goes on.
const PER_CALL: u64 = 500;

impl Grpc {
    async fn begin(&mut self) -> Result<(SendStream<Bytes>, RecvStream)> {
        self.count = 0;
        let mut sender = http2(self.address, &self.tls).await?;
        let request = http::Request::post("https://localhost/grpc/echo");
        let request = request.header("content-type", "application/grpc").header("te", "trailers").body(())?;
        let (response, out) = sender.send_request(request, false)?;
        let response = response.await?;
        ensure!(response.status() == 200, "{}", response.status());
        if let Some(status) = response.headers().get("grpc-status") {
            bail!("grpc-status {status:?} before the first message");
        }
        Ok((out, response.into_body()))
    }
}

impl Client for Grpc {
    async fn once(&mut self) -> Result<()> {
        let (mut out, mut back) = match self.call.take() {
            Some(call) => call,
            None => self.begin().await?,
        };
        self.count += 1;
        // Not compressed, and eight bytes.
        let message = [&[0, 0, 0, 0, 8][..], &self.count.to_be_bytes()].concat();
        out.send_data(Bytes::from(message.clone()), false)?;
        let mut echo = Vec::new();
        while echo.len() < message.len() {
            let piece = back.data().await.context("the call ended")??;
            back.flow_control().release_capacity(piece.len())?;
            echo.extend_from_slice(&piece);
        }
        ensure!(echo == message, "another message came back");
        if self.count < PER_CALL {
            self.call = Some((out, back));
            return Ok(());
        }
        out.send_data(Bytes::new(), true)?;
        ensure!(back.data().await.is_none(), "more came back than was sent");
        let trailers = back.trailers().await?.context("no trailers")?;
        let told = ["grpc-status", "x-bytes"].map(|name| trailers.get(name).and_then(|value| value.to_str().ok()));
        let bytes = (PER_CALL * message.len() as u64).to_string();
        ensure!(told == [Some("0"), Some(&bytes)], "{trailers:?}");
        Ok(())
    }
}
