//! A server of HTTP/2, and a client.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::{PATIENCE, Proxy};

/// A server of HTTP/2 with prior knowledge, in a thread of its own until the tests end.
pub(crate) struct Backend {
    pub(crate) address: SocketAddr,
    pub(crate) connections: Arc<AtomicUsize>,
}

/// A request, where its answer goes, and the how-manieth of all it is.
pub(crate) struct Asked {
    pub(crate) request: Request<RecvStream>,
    pub(crate) respond: SendResponse<Bytes>,
    pub(crate) number: usize,
}

impl Backend {
    pub(crate) fn start<F: Future<Output = ()> + Send + 'static>(
        streams: u32,
        script: impl Fn(Asked) -> F + Send + Sync + 'static,
    ) -> Self {
        Self::start_with(streams, None, script)
    }

    /// The same, with TLS where there is a certificate.
    pub(crate) fn start_with<F: Future<Output = ()> + Send + 'static>(
        streams: u32,
        tls: Option<TlsAcceptor>,
        script: impl Fn(Asked) -> F + Send + Sync + 'static,
    ) -> Self {
        let mut settings = h2::server::Builder::new();
        settings.max_concurrent_streams(streams);
        Self::listen(settings, tls, script)
    }

    /// One that lets streams go on with another protocol (RFC 8441).
    pub(crate) fn tunnels<F: Future<Output = ()> + Send + 'static>(
        script: impl Fn(Asked) -> F + Send + Sync + 'static,
    ) -> Self {
        let mut settings = h2::server::Builder::new();
        settings.enable_connect_protocol();
        Self::listen(settings, None, script)
    }

    fn listen<F: Future<Output = ()> + Send + 'static>(
        settings: h2::server::Builder,
        tls: Option<TlsAcceptor>,
        script: impl Fn(Asked) -> F + Send + Sync + 'static,
    ) -> Self {
        let (connections, script) = (Arc::new(AtomicUsize::new(0)), Arc::new(script));
        let (bound, address) = std::sync::mpsc::channel();
        let counted = connections.clone();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async move {
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
                bound.send(listener.local_addr().expect("an address")).expect("the test waits");
                let requests = Arc::new(AtomicUsize::new(0));
                while let Ok((stream, _)) = listener.accept().await {
                    stream.set_nodelay(true).expect("a socket");
                    counted.fetch_add(1, SeqCst);
                    let (script, requests, settings) = (script.clone(), requests.clone(), settings.clone());
                    match tls.clone() {
                        None => _ = tokio::spawn(serve(stream, settings, script, requests)),
                        Some(tls) => {
                            let stream = tls.accept(stream).await.expect("a client of TLS");
                            tokio::spawn(serve(stream, settings, script, requests));
                        }
                    }
                }
            });
        });
        Self { address: address.recv().expect("it listens"), connections }
    }

    pub(crate) fn config(&self) -> String {
        format!(
            "[upstream.u]\nendpoints = [\"http://{}\"]\nprotocol = \"http2\"\n[route.all]\npath-prefix = \"/\"\n\
             upstream = \"u\"\nbody-size = \"unlimited\"\n",
            self.address
        )
    }
}

async fn serve<F: Future<Output = ()> + Send + 'static>(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    settings: h2::server::Builder,
    script: Arc<impl Fn(Asked) -> F + Send + Sync + 'static>,
    requests: Arc<AtomicUsize>,
) {
    let mut connection = settings.handshake::<_, Bytes>(stream).await.expect("a client of HTTP/2");
    while let Some(Ok((request, respond))) = connection.accept().await {
        let number = requests.fetch_add(1, SeqCst);
        // A server that goes after its first request says so.
        if request.uri().path() == "/last" {
            connection.graceful_shutdown();
        }
        tokio::spawn(script(Asked { request, respond, number }));
    }
}

/// The body, and how it ends.
pub(crate) async fn all(mut body: RecvStream) -> (Vec<u8>, Option<HeaderMap>) {
    let mut bytes = Vec::new();
    while let Some(piece) = body.data().await {
        let piece = piece.expect("a whole body");
        body.flow_control().release_capacity(piece.len()).expect("a window");
        bytes.extend_from_slice(&piece);
    }
    (bytes, body.trailers().await.expect("an end"))
}

/// Sends a body as fast as it is taken.
pub(crate) async fn send(stream: &mut SendStream<Bytes>, mut bytes: Bytes, last: bool) {
    while !bytes.is_empty() {
        stream.reserve_capacity(bytes.len());
        let room = std::future::poll_fn(|context| stream.poll_capacity(context)).await.expect("open").expect("room");
        let part = bytes.split_to(room.min(bytes.len()));
        stream.send_data(part, last && bytes.is_empty()).expect("an open stream");
    }
}

pub(crate) fn answer(respond: &mut SendResponse<Bytes>, text: String) {
    let mut stream = respond.send_response(Response::new(()), false).expect("an open stream");
    stream.send_data(text.into(), true).expect("an open stream");
}

/// Runs a client of HTTP/2, and gives up when nothing happens.
pub(crate) fn run<T>(proxy: &Proxy, test: impl AsyncFnOnce(h2::client::SendRequest<Bytes>) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let address = proxy.address("public");
    let client = async {
        let socket = TcpStream::connect(address).await.expect("it accepts");
        socket.set_nodelay(true).expect("a socket");
        let (sender, connection) = h2::client::handshake(socket).await.expect("HTTP/2");
        tokio::spawn(connection);
        test(sender.ready().await.expect("a connection")).await
    };
    runtime.block_on(async { tokio::time::timeout(PATIENCE, client).await }).expect("it ends in time")
}
