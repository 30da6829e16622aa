//! An upstream that the test plays itself, byte by byte.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use super::PATIENCE;

/// Long enough for whatever is on its way on this machine.
const MOMENT: Duration = Duration::from_millis(200);

/// A server that accepts, and says nothing by itself.
pub(crate) struct Played {
    address: SocketAddr,
    connections: Receiver<TcpStream>,
}

/// A connection of one.
pub(crate) struct Line(pub(crate) TcpStream);

impl Played {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (given, connections) = channel();
        thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if given.send(stream).is_err() {
                    return;
                }
            }
        });
        Self { address, connections }
    }

    /// For `endpoints` of a configuration.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The next connection.
    pub(crate) fn accept(&self) -> Line {
        let stream = self.connections.recv_timeout(PATIENCE).expect("a connection in time");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout above zero");
        stream.set_nodelay(true).expect("a socket");
        Line(stream)
    }
}

impl Line {
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).expect("the proxy reads");
    }

    /// A head, in lower case, and not one byte behind it.
    pub(crate) fn head(&mut self) -> String {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            self.0.read_exact(&mut byte).expect("a head in time");
            head.push(byte[0]);
        }
        String::from_utf8_lossy(&head).to_ascii_lowercase()
    }

    /// The next bytes, so many.
    pub(crate) fn take(&mut self, length: usize) -> String {
        let mut bytes = vec![0; length];
        self.0.read_exact(&mut bytes).expect("bytes in time");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Whether the proxy ends the connection, rather than sending anything more.
    pub(crate) fn is_closed(&mut self) -> bool {
        // A reset is an end, too. Nothing in time is none.
        match self.0.read(&mut [0]) {
            Ok(read) => read == 0,
            Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        }
    }

    /// Whether nothing comes for a moment, and the connection stays open.
    pub(crate) fn is_silent(&mut self) -> bool {
        self.0.set_read_timeout(Some(MOMENT)).expect("a timeout above zero");
        let read = self.0.read(&mut [0]);
        self.0.set_read_timeout(Some(PATIENCE)).expect("a timeout above zero");
        read.is_err_and(|error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
    }
}
