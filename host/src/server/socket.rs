//! Sockets that listen: TCP and Unix, as they are bound, passed between threads and processes, and accepted on.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use socket2::{Domain, Protocol, SockAddr, Type};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::config::Address;
use crate::transport::socket::Socket;

/// Connections that wait to be accepted. The kernel cuts it to `net.core.somaxconn`.
const BACKLOG: i32 = 1024;

/// Whom both sides of a Unix socket count as: this machine.
pub(crate) const LOCAL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A socket that listens, which nobody accepts on yet.
#[derive(Debug)]
pub enum Listening {
    /// On an address and a port.
    Tcp(std::net::TcpListener),
    /// On a path.
    Unix(std::os::unix::net::UnixListener),
}

/// The same, accepted on by a runtime.
#[derive(Debug)]
pub(crate) enum Acceptor {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// A connection that is passed to another runtime.
#[derive(Debug)]
pub(crate) enum Parked {
    Tcp(std::net::TcpStream),
    Unix(std::os::unix::net::UnixStream),
}

/// Sockets that share an address, one for each worker. With port 0 the first one decides the port. A Unix socket is one,
/// which the workers accept on together; its file has `mode`, and takes the place of one that nobody listens on.
///
/// # Errors
/// The address cannot be had. That includes another process of ours that shares its sockets on it: the kernel would let
/// us have a part of its connections, and neither would know.
pub fn bind(address: &Address, mode: u32, sockets: usize) -> io::Result<Vec<Listening>> {
    match address {
        Address::Tcp(address) => Ok(bind_tcp(*address, sockets)?.into_iter().map(Listening::Tcp).collect()),
        Address::Unix(path) => {
            let first = bind_unix(path, mode)?;
            let others = (1..sockets).map(|_| first.try_clone()).collect::<io::Result<Vec<_>>>()?;
            Ok(std::iter::once(first).chain(others).map(Listening::Unix).collect())
        }
    }
}

/// As [`bind`], for TCP alone.
///
/// # Errors
/// As there.
pub fn bind_tcp(address: SocketAddr, sockets: usize) -> io::Result<Vec<std::net::TcpListener>> {
    let mut address = address;
    let mut bound = Vec::with_capacity(sockets);
    for place in 0..sockets {
        let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        // A restart must not wait for connections of the last run that linger.
        socket.set_reuse_address(true)?;
        // The first one is bound without the right to share, so that it meets everyone who has the port already, and
        // opens it to the others when it is ours.
        if place > 0 {
            socket.set_reuse_port(true)?;
        }
        socket.bind(&SockAddr::from(address))?;
        if place == 0 {
            socket.set_reuse_port(true)?;
        }
        socket.listen(BACKLOG)?;
        let listener = std::net::TcpListener::from(socket);
        address = listener.local_addr()?;
        bound.push(listener);
    }
    Ok(bound)
}

fn bind_unix(path: &Path, mode: u32) -> io::Result<std::os::unix::net::UnixListener> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is another file, which is no socket"));
        }
        Ok(_) => match std::os::unix::net::UnixStream::connect(path) {
            Ok(_) => return Err(io::ErrorKind::AddrInUse.into()),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
            Err(error) => return Err(error),
        },
    }
    // Beside, and renamed there: it appears with its mode, and the other file is never missing.
    let beside = beside(path);
    let _ = std::fs::remove_file(&beside);
    let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::unix(&beside)?)?;
    socket.listen(BACKLOG)?;
    std::fs::set_permissions(&beside, std::fs::Permissions::from_mode(mode))?;
    std::fs::rename(&beside, path)?;
    Ok(OwnedFd::from(socket).into())
}

/// Changes the permissions of the file of a Unix socket; other addresses have none.
///
/// # Errors
/// The file is gone, or not ours.
pub(crate) fn set_mode(address: &Address, mode: u32) -> io::Result<()> {
    match address {
        Address::Tcp(_) => Ok(()),
        Address::Unix(path) => std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)),
    }
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("~");
    name.into()
}

impl Listening {
    /// Where it listens. A Unix socket keeps the path that it was bound by, which has a `~` behind its name.
    ///
    /// # Errors
    /// The kernel does not say, or it has no path.
    pub fn address(&self) -> io::Result<Address> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(Address::Tcp),
            Self::Unix(listener) => {
                let address = listener.local_addr()?;
                let path = address.as_pathname().map(|path| path.to_string_lossy().into_owned());
                let path = path.ok_or_else(|| {
                    let what = if address.as_abstract_name().is_some() { "an abstract name" } else { "no name" };
                    io::Error::new(io::ErrorKind::Unsupported, format!("the socket has {what}, and not a path"))
                })?;
                Ok(Address::Unix(path.strip_suffix('~').unwrap_or(&path).into()))
            }
        }
    }

    /// One more handle of the same socket.
    ///
    /// # Errors
    /// There are no more file descriptors.
    pub fn try_clone(&self) -> io::Result<Self> {
        match self {
            Self::Tcp(listener) => listener.try_clone().map(Self::Tcp),
            Self::Unix(listener) => listener.try_clone().map(Self::Unix),
        }
    }

    /// A socket that another process passed.
    ///
    /// # Errors
    /// It does not listen, or is of another kind.
    pub(crate) fn passed(socket: OwnedFd) -> io::Result<Self> {
        let socket = socket2::Socket::from(socket);
        if !socket.is_listener()? || socket.r#type()? != Type::STREAM {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no socket that listens for streams"));
        }
        socket.set_nonblocking(true)?;
        socket.set_cloexec(true)?;
        let unix = socket.domain()? == Domain::UNIX;
        let socket = OwnedFd::from(socket);
        Ok(if unix { Self::Unix(socket.into()) } else { Self::Tcp(socket.into()) })
    }

    pub(crate) fn acceptor(self) -> io::Result<Acceptor> {
        match self {
            Self::Tcp(listener) => {
                // Small responses must not wait for the acknowledgement of earlier ones. On Linux connections have this
                // from their listener, so that none of them has to be told.
                let _ = socket2::SockRef::from(&listener).set_tcp_nodelay(true);
                TcpListener::from_std(listener).map(Acceptor::Tcp)
            }
            Self::Unix(listener) => UnixListener::from_std(listener).map(Acceptor::Unix),
        }
    }
}

impl AsFd for Listening {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(listener) => listener.as_fd(),
        }
    }
}

impl Acceptor {
    /// The next connection, and whom it comes from.
    pub(crate) async fn accept(&self) -> io::Result<(Socket, SocketAddr)> {
        match self {
            Self::Tcp(listener) => listener.accept().await.map(|(stream, address)| (Socket::Tcp(stream), address)),
            Self::Unix(listener) => listener.accept().await.map(|(stream, _)| (Socket::Unix(stream), LOCAL)),
        }
    }
}

impl Parked {
    pub(crate) fn park(socket: Socket) -> io::Result<Self> {
        match socket {
            Socket::Tcp(stream) => stream.into_std().map(Self::Tcp),
            Socket::Unix(stream) => stream.into_std().map(Self::Unix),
        }
    }

    pub(crate) fn resume(self) -> io::Result<Socket> {
        match self {
            Self::Tcp(stream) => TcpStream::from_std(stream).map(Socket::Tcp),
            Self::Unix(stream) => UnixStream::from_std(stream).map(Socket::Unix),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn any() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 0))
    }

    #[test]
    fn workers_share_the_port_that_the_first_one_got() {
        let bound = bind_tcp(any(), 3).unwrap();
        let address = bound[0].local_addr().unwrap();
        assert_ne!(address.port(), 0);
        assert!(bound.iter().all(|listener| listener.local_addr().unwrap() == address));
        assert!(std::net::TcpStream::connect(address).is_ok());
    }

    #[test]
    fn a_port_in_use_is_never_shared_with_others() {
        let ours = bind_tcp(any(), 2).unwrap();
        let address = ours[0].local_addr().unwrap();
        assert_eq!(bind_tcp(address, 2).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(ours);
        let plain = std::net::TcpListener::bind(any()).unwrap();
        let taken = plain.local_addr().unwrap();
        assert_eq!(bind_tcp(taken, 1).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        assert!(bind_tcp(address, 2).is_ok());
    }

    #[test]
    fn a_unix_socket_takes_the_place_of_a_dead_one_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("here");
        let address = Address::Unix(path.clone());
        let ours = bind(&address, 0o640, 2).unwrap();
        assert_eq!((ours.len(), ours[1].address().unwrap()), (2, address.clone()));
        let mode = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(), 0o640);
        assert!(std::os::unix::net::UnixStream::connect(&path).is_ok());
        assert_eq!(bind(&address, 0o600, 1).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(ours);
        let next = bind(&address, 0o600, 1).expect("nobody is there any more");
        assert_eq!(mode(), 0o600);
        drop(next);
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "precious").unwrap();
        assert_eq!(bind(&address, 0o600, 1).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    }

    #[test]
    fn what_was_passed_listens_or_is_refused() {
        let listener = std::net::TcpListener::bind(any()).unwrap();
        let address = listener.local_addr().unwrap();
        let passed = Listening::passed(listener.into()).unwrap();
        assert_eq!(passed.address().unwrap(), Address::Tcp(address));
        let stream = std::net::TcpStream::connect(address).unwrap();
        assert!(Listening::passed(stream.into()).is_err());
        assert!(Listening::passed(std::fs::File::open("/dev/null").unwrap().into()).is_err());
    }
}
