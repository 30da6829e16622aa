//! A client that sends the bytes it is given.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::ops::DerefMut;

use rustls::{ConnectionCommon, SideData, StreamOwned};

use super::{Message, PATIENCE};

/// One connection, with TLS or without.
pub(crate) struct Client(BufReader<Box<dyn Stream>>);

/// Bytes both ways.
pub(crate) trait Stream: Read + Write + Send {
    /// The connection below.
    fn socket(&self) -> &TcpStream;
}

impl Stream for TcpStream {
    fn socket(&self) -> &TcpStream {
        self
    }
}

impl<C: DerefMut<Target = ConnectionCommon<D>> + Send, D: SideData> Stream for StreamOwned<C, TcpStream> {
    fn socket(&self) -> &TcpStream {
        &self.sock
    }
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::over(socket(address))
    }

    /// A client on a connection that is there.
    pub(crate) fn over(stream: impl Stream + 'static) -> Self {
        Self(BufReader::new(Box::new(stream)))
    }

    /// Sends these bytes as they are.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.get_mut().write_all(bytes.as_ref()).expect("the proxy reads");
    }

    /// Sends a request with a `Host`, these lines of headers, and a body with its length where there is one.
    pub(crate) fn request(&mut self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Message {
        let mut bytes = format!("{method} {target} HTTP/1.1\r\nhost: api.test\r\n").into_bytes();
        for (name, value) in headers {
            bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        if !body.is_empty() {
            bytes.extend_from_slice(format!("content-length: {}\r\n", body.len()).as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(body);
        self.send(bytes);
        self.response()
    }

    /// The response to a GET, whole; none where the connection ended before the first byte of it.
    pub(crate) fn try_get(&mut self, target: &str) -> Option<Message> {
        let request = format!("GET {target} HTTP/1.1\r\nhost: api.test\r\n\r\n");
        if self.0.get_mut().write_all(request.as_bytes()).is_err() || self.is_closed() {
            return None;
        }
        Some(self.response())
    }

    /// The next response, whole.
    pub(crate) fn response(&mut self) -> Message {
        Message::read(&mut self.0).expect("a response in time").expect("a response, not the end of the connection")
    }

    /// The next response, if it comes whole.
    pub(crate) fn try_response(&mut self) -> Option<Message> {
        Message::read(&mut self.0).ok().flatten()
    }

    /// Everything that comes until the proxy closes the connection.
    pub(crate) fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        // A reset is an end, too.
        let _ = self.0.read_to_end(&mut rest);
        String::from_utf8_lossy(&rest).into_owned()
    }

    /// The next bytes, so many.
    pub(crate) fn take(&mut self, length: usize) -> String {
        let mut bytes = vec![0; length];
        self.0.read_exact(&mut bytes).expect("bytes in time");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Says that nothing more is sent.
    pub(crate) fn end(&mut self) {
        self.0.get_ref().socket().shutdown(Shutdown::Write).expect("an open connection");
    }

    /// Whether the proxy closes the connection, rather than sending anything more.
    pub(crate) fn is_closed(&mut self) -> bool {
        // A reset is an end, too.
        self.0.fill_buf().map_or(true, <[u8]>::is_empty)
    }
}

/// A connection on which no read waits longer than the tests do.
pub(super) fn socket(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the proxy accepts");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout above zero");
    stream.set_nodelay(true).expect("a socket");
    stream
}
