//! An upstream that answers what the test tells it to, and remembers what it was asked.

use std::io::{BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::client::Stream;
use super::{Identity, Message, PATIENCE};

/// A server on a port of its own, with a thread for each connection. Dropping it stops it.
pub(crate) struct Origin {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Message>>>,
    accepted: Arc<AtomicUsize>,
    stopping: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

/// What to answer, and whether to close the connection then.
type Script = dyn Fn(&Message) -> (Vec<u8>, bool) + Send + Sync;

/// A whole 200 with this body.
pub(crate) fn answer(content_type: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\n\r\n{body}").into_bytes()
}

impl Origin {
    /// Begins to answer each request with the bytes that `script` makes for it.
    pub(crate) fn start(script: impl Fn(&Message) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::listen(move |request| (script(request), false), |stream| Some(Box::new(stream)))
    }

    /// One that answers each connection's first request with these bytes, and then closes it.
    pub(crate) fn once(bytes: &[u8]) -> Self {
        let bytes = bytes.to_vec();
        Self::listen(move |_| (bytes.clone(), true), |stream| Some(Box::new(stream)))
    }

    /// As [`start`](Self::start), over TLS, with this certificate.
    pub(crate) fn start_tls(identity: &Identity, script: impl Fn(&Message) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::start_tls_with(identity.server(), script)
    }

    /// The same, by this configuration.
    pub(crate) fn start_tls_with(
        config: Arc<ServerConfig>,
        script: impl Fn(&Message) -> Vec<u8> + Send + Sync + 'static,
    ) -> Self {
        Self::listen(
            move |request| (script(request), false),
            move |stream| {
                let connection = ServerConnection::new(config.clone()).ok()?;
                Some(Box::new(StreamOwned::new(connection, stream)))
            },
        )
    }

    fn listen(
        script: impl Fn(&Message) -> (Vec<u8>, bool) + Send + Sync + 'static,
        open: impl Fn(TcpStream) -> Option<Box<dyn Stream>> + Send + 'static,
    ) -> Self {
        Self::accept(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port"), script, open)
    }

    /// As [`start`](Self::start), on a socket that is there.
    pub(crate) fn start_on(
        listener: TcpListener,
        script: impl Fn(&Message) -> Vec<u8> + Send + Sync + 'static,
    ) -> Self {
        Self::accept(listener, move |request| (script(request), false), |stream| Some(Box::new(stream)))
    }

    fn accept(
        listener: TcpListener,
        script: impl Fn(&Message) -> (Vec<u8>, bool) + Send + Sync + 'static,
        open: impl Fn(TcpStream) -> Option<Box<dyn Stream>> + Send + 'static,
    ) -> Self {
        let address = listener.local_addr().expect("an address");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let accepted = Arc::new(AtomicUsize::new(0));
        let stopping = Arc::new(AtomicBool::new(false));
        let script: Arc<Script> = Arc::new(script);
        let accepting = thread::spawn({
            let (seen, accepted, stopping) = (seen.clone(), accepted.clone(), stopping.clone());
            move || {
                while let Ok((stream, _)) = listener.accept() {
                    if stopping.load(Ordering::SeqCst) {
                        return;
                    }
                    accepted.fetch_add(1, Ordering::SeqCst);
                    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout above zero");
                    let Some(stream) = open(stream) else { return };
                    let (seen, script) = (seen.clone(), script.clone());
                    thread::spawn(move || serve(stream, &seen, &*script));
                }
            }
        });
        Self { address, seen, accepted, stopping, accepting: Some(accepting) }
    }

    /// One that always says `text/plain` "fine".
    pub(crate) fn fine() -> Self {
        Self::start(|_| answer("text/plain", "fine"))
    }

    /// `127.0.0.1:…`
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// For `endpoints` of a configuration.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Every request so far.
    pub(crate) fn seen(&self) -> Vec<Message> {
        self.seen.lock().expect("no thread panicked").clone()
    }

    /// Connections so far.
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    /// The latest request.
    pub(crate) fn last(&self) -> Message {
        self.seen().pop().expect("a request")
    }
}

fn serve(stream: Box<dyn Stream>, seen: &Mutex<Vec<Message>>, script: &Script) {
    let mut stream = BufReader::new(stream);
    // A connection that breaks is the test's own doing, or shows in what the client gets.
    while let Ok(Some(request)) = Message::read(&mut stream) {
        let (response, last) = script(&request);
        seen.lock().expect("no thread panicked").push(request);
        if stream.get_mut().write_all(&response).is_err() || last {
            return;
        }
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts.
        let woken = TcpStream::connect(self.address).is_ok();
        if let Some(accepting) = self.accepting.take().filter(|_| woken) {
            let _ = accepting.join();
        }
    }
}
