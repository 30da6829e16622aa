//! One question to the servers, over UDP, and over TCP where the answer does not fit.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::message::{self, Bad, Kind, Reply};

/// Rounds over all servers before it is given up.
const ROUNDS: usize = 2;
/// The most bytes of a packet. Without EDNS, which we do not speak, servers send 512 at most.
const PACKET: usize = 4096;

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Failed {
    /// No name of DNS.
    Name,
    Silent,
    Io(io::Error),
    /// The server says that it cannot, by this code.
    Code(u8),
    Malformed,
}

/// Asks one server after another until one answers.
pub(super) async fn ask(servers: &[SocketAddr], limit: Duration, name: &str, kind: Kind) -> Result<Reply, Failed> {
    let mut failed = Failed::Silent;
    for server in (0..ROUNDS).flat_map(|_| servers) {
        // A number that cannot be guessed, beside the port, is what keeps others from answering.
        let mut id = [0; 2];
        getrandom::fill(&mut id).map_err(|error| Failed::Io(io::Error::other(error.to_string())))?;
        let question = message::question(u16::from_be_bytes(id), name, kind).ok_or(Failed::Name)?;
        let asked = async {
            match packet(*server, &question).await? {
                Reply::Truncated => stream(*server, &question).await,
                reply => Ok(reply),
            }
        };
        failed = match timeout(limit, asked).await {
            Ok(Ok(Reply::Failed(code))) => Failed::Code(code),
            Ok(Ok(Reply::Truncated)) => Failed::Malformed,
            Ok(Ok(reply)) => return Ok(reply),
            Ok(Err(failed)) => failed,
            Err(_) => Failed::Silent,
        };
    }
    Err(failed)
}

async fn packet(server: SocketAddr, question: &[u8]) -> Result<Reply, Failed> {
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    // From now on, packets of others do not come here.
    socket.connect(server).await?;
    socket.send(question).await?;
    let mut buffer = vec![0; PACKET];
    loop {
        let length = socket.recv(&mut buffer).await?;
        match message::read(&buffer[..length], question) {
            // A late answer to somebody before us, or a forged one: the right one may still come.
            Err(Bad::Other) => {}
            Err(Bad::Malformed) => return Err(Failed::Malformed),
            Ok(reply) => return Ok(reply),
        }
    }
}

async fn stream(server: SocketAddr, question: &[u8]) -> Result<Reply, Failed> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(question.len()).map_err(|_| Failed::Name)?;
    stream.write_all(&[&length.to_be_bytes(), question].concat()).await?;
    let mut answer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut answer).await?;
    message::read(&answer, question).map_err(|_| Failed::Malformed)
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name => f.write_str("no name that can be asked for"),
            Self::Silent => f.write_str("no server answers in time"),
            Self::Io(error) => write!(f, "no server answers: {error}"),
            Self::Code(code) => write!(f, "the server cannot say (code {code})"),
            Self::Malformed => f.write_str("the server answers nonsense"),
        }
    }
}
