mod floods;
mod limits;
mod rules;

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::harness::{Origin, PATIENCE, Proxy};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// A client that writes HTTP/2 frame by frame, right ones and wrong ones.
pub(crate) struct Raw {
    stream: Box<dyn Stream>,
    next: u32,
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// One frame.
#[derive(Debug)]
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// A response with this status.
    Status(u16),
    /// The stream was reset, for this reason.
    Reset(u32),
    /// The connection is over, for this reason.
    GoAway(u32),
    /// The connection ended without a word.
    Closed,
}

fn socket(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("it accepts");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout above zero");
    stream.set_write_timeout(Some(PATIENCE)).expect("a timeout above zero");
    stream.set_nodelay(true).expect("a socket");
    stream
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short frame").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Fields as HPACK has them without any art: each literally.
fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in fields {
        out.push(0);
        for text in [name, value] {
            integer(&mut out, text.len());
            out.extend_from_slice(text.as_bytes());
        }
    }
    out
}

/// With a prefix of seven bits (RFC 7541, section 5.1).
fn integer(out: &mut Vec<u8>, value: usize) {
    if value < 127 {
        return out.push(value as u8);
    }
    out.push(127);
    let mut rest = value - 127;
    while rest >= 128 {
        out.push((rest % 128) as u8 | 128);
        rest /= 128;
    }
    out.push(rest as u8);
}

/// The fields of a GET, with others behind them.
fn get<'a>(path: &'a str, more: &[(&'a str, &'a str)]) -> Vec<u8> {
    block(&[&[(":method", "GET"), (":scheme", "http"), (":authority", "api.test"), (":path", path)], more].concat())
}

/// The status of a response, which is its first field. We allow no dynamic table, so that it says itself what it is.
fn status(mut block: &[u8]) -> u16 {
    while block[0] & 0xe0 == 0x20 {
        block = &block[1..];
    }
    match block[0] {
        known @ 0x88..=0x8e => [200, 204, 206, 304, 400, 404, 500][usize::from(known - 0x88)],
        0x08 | 0x48 | 0x18 => digits(&block[2..2 + usize::from(block[1] & 0x7f)], block[1] & 0x80 != 0),
        other => panic!("not a status: {other:#x}"),
    }
}

fn digits(text: &[u8], huffman: bool) -> u16 {
    if !huffman {
        return str::from_utf8(text).expect("digits").parse().expect("a status");
    }
    // 0 to 2 have five bits, the others six (RFC 7541, appendix B).
    let bits = text.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte)) << (64 - 8 * text.len());
    let (mut at, mut out) = (0, 0);
    for _ in 0..3 {
        let five = (bits << at >> 59) as u16;
        let digit = if five <= 2 { five } else { (bits << at >> 58) as u16 - 25 + 3 };
        at += if five <= 2 { 5 } else { 6 };
        out = out * 10 + digit;
    }
    out
}

impl Raw {
    /// On a connection of its own.
    fn connect(proxy: &Proxy) -> Self {
        Self::over(socket(proxy.address("public")))
    }

    /// On one that is there.
    pub(crate) fn over(stream: impl Read + Write + 'static) -> Self {
        Self::with(stream, &[])
    }

    /// With these settings beside that of the table.
    fn with(stream: impl Read + Write + 'static, settings: &[(u16, u32)]) -> Self {
        let mut raw = Self { stream: Box::new(stream), next: 1 };
        let settings = [&[(1, 0)], settings].concat();
        let settings: Vec<u8> =
            settings.iter().flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat()).collect();
        raw.send([PREFACE, &frame(SETTINGS, 0, 0, &settings)].concat()).expect("it reads");
        raw
    }

    fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    /// The next frame that is not about the connection itself; none at the end. Settings are acknowledged.
    fn read(&mut self) -> Option<Frame> {
        loop {
            let mut head = [0; 9];
            match self.stream.read_exact(&mut head) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => panic!("nothing comes"),
                Err(_) => return None,
            }
            let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
            self.stream.read_exact(&mut payload).ok()?;
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            let (kind, flags) = (head[3], head[4]);
            match kind {
                SETTINGS if flags & ACK == 0 => _ = self.send(frame(SETTINGS, ACK, 0, &[])),
                PING if flags & ACK == 0 => _ = self.send(frame(PING, ACK, 0, &payload)),
                SETTINGS | PING | WINDOW_UPDATE => {}
                _ => return Some(Frame { kind, flags, stream, payload }),
            }
        }
    }

    /// Begins a stream with a whole head.
    fn begin(&mut self, block: &[u8], flags: u8) -> u32 {
        let stream = self.next;
        self.next += 2;
        // Where the proxy has ended the connection, that is what is read then.
        let _ = self.send(frame(HEADERS, END_HEADERS | flags, stream, block));
        stream
    }

    /// What becomes of a stream.
    fn answer(&mut self, stream: u32) -> Answer {
        let code = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().expect("four bytes"));
        loop {
            let Some(frame) = self.read() else { return Answer::Closed };
            match frame.kind {
                HEADERS if frame.stream == stream => return Answer::Status(status(&frame.payload)),
                RST_STREAM if frame.stream == stream => return Answer::Reset(code(&frame.payload)),
                // The first of two that announce an orderly end.
                GOAWAY if code(&frame.payload[4..8]) == 0 => {}
                GOAWAY => return Answer::GoAway(code(&frame.payload[4..8])),
                _ => {}
            }
        }
    }

    /// The status of a GET.
    pub(crate) fn get(&mut self, host: &str, path: &str) -> u16 {
        let fields = [(":method", "GET"), (":scheme", "http"), (":authority", host), (":path", path)];
        let stream = self.begin(&block(&fields), END_STREAM);
        match self.answer(stream) {
            Answer::Status(status) => status,
            other => panic!("{other:?}"),
        }
    }
}

fn config(origin: &Origin, more: &str) -> String {
    format!(
        "{more}\nupstream.o.endpoints = [\"{}\"]\nroute.all = {{ path-prefix = \"/\", upstream = \"o\" }}\n",
        origin.url()
    )
}
