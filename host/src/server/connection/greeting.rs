//! The begin of a connection: who it comes from, and what is spoken on it.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::BytesMut;
use http::Response;
use tokio::io::AsyncReadExt as _;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use super::ended::Ended;
use super::{Connections, Peer, Protocol, Received};
use crate::body::Body;
use crate::deadline::{Deadline, after};
use crate::proxy_protocol::{self, Source, Step};
use crate::server::clients::Counted;
use crate::server::drain::{Open, Phase, QUIET};
use crate::server::socket::LOCAL;
use crate::server::tls::{ClientCertificate, Policy, Tls};
use crate::transport::io::Io;
use crate::transport::socket::Socket;

/// A connection of which it is clear what is spoken on it.
pub(super) struct Greeted {
    pub(super) io: Io,
    /// What was read to find that out.
    pub(super) begin: BytesMut,
    pub(super) peer: Peer,
    pub(super) deadline: Deadline,
    /// Its place among those of its client.
    pub(super) counted: Option<Counted>,
}

impl<C, F> Connections<C>
where
    C: Fn(Received, Rc<Peer>) -> F + 'static,
    F: Future<Output = Response<Body>> + 'static,
{
    /// Finds out who is there and what is spoken: by TLS, or by the first bytes. What of it is large is boxed, so that a
    /// client which says nothing costs nothing of that.
    pub(super) async fn greet(
        &self,
        mut socket: Socket,
        address: SocketAddr,
        open: &Open,
    ) -> Result<Box<Greeted>, Ended> {
        let mut from = address;
        let mut to = socket.local_address().unwrap_or(LOCAL);
        if self.entrance.proxies.iter().any(|network| network.contains(address.ip())) {
            let until = after(Instant::now(), self.limits.handshake_time);
            let header = Box::pin(timeout_at(until, header(&mut socket)));
            let header = unless_over(open, header).await.ok_or(Ended::Cut)?;
            if let Source::Client(client, local) = header.map_err(|_| Ended::Handshake)?? {
                (from, to) = (client, local);
            }
        }
        let counted = match &self.entrance.clients {
            Some(clients) => Some(clients.enter(from.ip()).ok_or(Ended::Crowded)?),
            None => None,
        };
        let mut deadline = Deadline::new();
        let Some(certificates) = &self.certificates else {
            let (begin, http2) = self.first_bytes(&socket, open, &mut deadline).await?;
            let mut peer = Peer::new(from, to);
            peer.protocol = if http2 { Protocol::Http2 } else { Protocol::Http1 };
            let io = Io::Plain(socket);
            return Ok(Box::new(Greeted { io, begin, peer, deadline, counted }));
        };
        let tls = certificates.borrow().clone();
        let until = after(Instant::now(), self.limits.handshake_time);
        let handshake = Box::pin(timeout_at(until, handshake(&tls, socket)));
        let (stream, policy) =
            unless_over(open, handshake).await.ok_or(Ended::Cut)?.map_err(|_| Ended::Handshake)?.map_err(Ended::Tls)?;
        let session = stream.get_ref().1;
        let mut peer = Peer::new(from, to);
        peer.tls = true;
        peer.policy = policy;
        peer.server_name = session.server_name().map(Box::from);
        let shown = session.peer_certificates().and_then(|chain| chain.first());
        peer.certificate = shown.map(|certificate| Arc::new(ClientCertificate::read(certificate)));
        if session.alpn_protocol() == Some(b"h2") {
            peer.protocol = Protocol::Http2;
        }
        let io = Io::Tls(Box::new(stream.into()));
        Ok(Box::new(Greeted { io, begin: BytesMut::new(), peer, deadline, counted }))
    }

    /// Reads until it is clear whether the client begins with the preface of HTTP/2 (RFC 9113, section 3.4).
    async fn first_bytes(
        &self,
        socket: &Socket,
        open: &Open,
        deadline: &mut Deadline,
    ) -> Result<(BytesMut, bool), Ended> {
        const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        let begun = Instant::now();
        let mut until = after(begun, self.limits.keep_alive);
        let mut begin = BytesMut::new();
        loop {
            poll_fn(|context| {
                if socket.poll_read_ready(context).is_ready() {
                    return Poll::Ready(Ok(()));
                }
                let until = match open.phase(context) {
                    Phase::Serving => until,
                    Phase::Draining => until.min(after(begun, QUIET)),
                    Phase::Over => return Poll::Ready(Err(Ended::Cut)),
                };
                deadline.poll(context, until).map(|()| Err(Ended::Idle))
            })
            .await?;
            match read_first(socket, &mut begin) {
                Ok(0) => return Err(Ended::Gone),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => return Err(Ended::Tls(error)),
            }
            let length = begin.len().min(PREFACE.len());
            if begin[..length] != PREFACE[..length] {
                return Ok((begin, false));
            }
            if length == PREFACE.len() {
                return Ok((begin, true));
            }
            until = after(Instant::now(), self.limits.head_time);
        }
    }
}

/// Reads what is there, and takes memory for that alone.
fn read_first(socket: &Socket, begin: &mut BytesMut) -> io::Result<usize> {
    // Most heads fit, and it does not matter when one does not.
    let mut bytes = [0; 2048];
    let read = socket.try_read(&mut bytes)?;
    begin.extend_from_slice(&bytes[..read]);
    Ok(read)
}

/// Reads a header of the PROXY protocol, and nothing behind it.
async fn header(socket: &mut Socket) -> Result<Source, Ended> {
    let mut bytes = BytesMut::new();
    loop {
        match proxy_protocol::read(&bytes).map_err(Ended::Header)? {
            Step::Whole(_, source) => return Ok(source),
            Step::More(more) => {
                let begin = bytes.len();
                bytes.resize(begin + more, 0);
                socket.read_exact(&mut bytes[begin..]).await.map_err(|_| Ended::Header("it is not whole"))?;
            }
        }
    }
}

/// A handshake, and what it was made under where that is not the same for all names.
async fn handshake(tls: &Tls, socket: Socket) -> io::Result<(TlsStream<Socket>, Option<Policy>)> {
    let hello = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), socket).await?;
    let (policy, config) = tls.choose(&hello.client_hello());
    Ok((hello.into_stream(config).await?, policy))
}

/// Waits for a future as long as connections may live.
pub(super) async fn unless_over<F: Future>(open: &Open, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|context: &mut Context<'_>| match future.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending if open.phase(context) == Phase::Over => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    })
    .await
}
