//! Handing the listening sockets over to the next process, so that no connection is refused in between.
//!
//! The one that serves listens on a Unix socket. The next one asks there for the sockets, loads its configuration, serves,
//! and says so: from then on both accept, and the first one drains. Where the next one fails before it says so, nothing
//! has happened.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::sync::oneshot;

use super::inherit::Inherited;
use super::loader::Request;
use super::socket::Listening;

/// What each side says, one message each: messages stay apart on these sockets.
const ASK: &[u8] = b"tollgate: hand over 1";
const READY: &[u8] = b"tollgate: ready";
const DONE: &[u8] = b"tollgate: that is all";

/// The longest message: a name of a listener.
const LONGEST: usize = 256;
/// The most sockets: those of a thousand workers for a few listeners.
const MOST: usize = 10_000;

/// How long one side waits for the other's next message.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the next process may take to load everything.
const LOADING: Duration = Duration::from_secs(600);

/// A process that serves, and goes on until it hears that we do.
#[derive(Debug)]
pub struct Predecessor(Socket);

/// Asks the process that listens at a path for its sockets. None where nobody is there.
///
/// # Errors
/// Somebody is there and says something else, or nothing.
pub fn take_over(path: &Path) -> io::Result<Option<(Predecessor, Inherited)>> {
    let socket = Socket::new(Domain::UNIX, Type::SEQPACKET, None)?;
    match socket.connect(&SockAddr::unix(path)?) {
        Ok(()) => {}
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    }
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    send(&socket, ASK, None)?;
    let mut sockets = Vec::new();
    loop {
        let (message, passed) = receive(&socket)?;
        match passed {
            Some(passed) if sockets.len() < MOST => {
                let name = String::from_utf8(message).map_err(|_| io::ErrorKind::InvalidData)?;
                sockets.push((name, Listening::passed(passed)?));
            }
            None if message == DONE => break,
            _ => return Err(io::ErrorKind::InvalidData.into()),
        }
    }
    Ok(Some((Predecessor(socket), Inherited::of(sockets))))
}

impl Predecessor {
    /// Tells it that we serve. It drains from then on.
    ///
    /// # Errors
    /// It is gone.
    pub fn ready(self) -> io::Result<()> {
        send(&self.0, READY, None)
    }
}

/// Listens for the next process. Ends when dropped.
#[derive(Debug)]
pub(super) struct Upgrade {
    path: PathBuf,
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Upgrade {
    /// `superseded` hears when the next process serves.
    pub(super) fn listen(
        path: &Path,
        loader: mpsc::Sender<Request>,
        admin: Option<Listening>,
        superseded: oneshot::Sender<()>,
    ) -> io::Result<Self> {
        let socket = Socket::new(Domain::UNIX, Type::SEQPACKET, None)?;
        // Beside, and renamed there: whoever was asked at this path before is asked no more.
        let mut beside = path.as_os_str().to_owned();
        beside.push("~");
        let beside = PathBuf::from(beside);
        let _ = std::fs::remove_file(&beside);
        socket.bind(&SockAddr::unix(&beside)?)?;
        std::fs::set_permissions(&beside, std::fs::Permissions::from_mode(0o600))?;
        socket.listen(1)?;
        std::fs::rename(&beside, path)?;
        let stopping = Arc::new(AtomicBool::new(false));
        let stop = stopping.clone();
        let run = move || {
            loop {
                let Ok((next, _)) = socket.accept() else { return };
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                match hand_over(&next, &loader, admin.as_ref()) {
                    Ok(()) => {
                        // Nobody waits for it where the server is not run by `tollgate run`.
                        let _ = superseded.send(());
                        return;
                    }
                    Err(error) => tracing::warn!(%error, "another process was to take over, and did not"),
                }
            }
        };
        let thread = std::thread::Builder::new().name("tollgate-upgrade".to_owned()).spawn(run)?;
        Ok(Self { path: path.to_owned(), stopping, thread: Some(thread) })
    }
}

impl Drop for Upgrade {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        let Some(thread) = self.thread.take() else { return };
        // Wakes the thread, where the path is still ours. Where it is the next process's, the thread is over.
        if !thread.is_finished()
            && let (Ok(socket), Ok(path)) =
                (Socket::new(Domain::UNIX, Type::SEQPACKET, None), SockAddr::unix(&self.path))
        {
            let _ = socket.connect(&path);
        }
    }
}

/// Passes every socket, and waits until the other one serves.
fn hand_over(next: &Socket, loader: &mpsc::Sender<Request>, admin: Option<&Listening>) -> io::Result<()> {
    next.set_read_timeout(Some(PATIENCE))?;
    next.set_write_timeout(Some(PATIENCE))?;
    if receive(next)?.0 != ASK {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let (answer, answered) = oneshot::channel();
    let gone = |_| io::Error::from(io::ErrorKind::NotConnected);
    loader.send(Request::Sockets(answer)).map_err(|_| io::ErrorKind::NotConnected)?;
    let sockets = answered.blocking_recv().map_err(gone)?;
    for (name, socket) in &sockets {
        send(next, name.as_bytes(), Some(socket))?;
    }
    if let Some(admin) = admin {
        send(next, super::inherit::ADMIN.as_bytes(), Some(admin))?;
    }
    send(next, DONE, None)?;
    next.set_read_timeout(Some(LOADING))?;
    match receive(next)? {
        (message, None) if message == READY => Ok(()),
        _ => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it ended before it served")),
    }
}

fn send(to: &Socket, message: &[u8], passed: Option<&Listening>) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let passed = passed.map(|socket| [socket.as_fd()]);
    if let Some(passed) = &passed {
        ancillary.push(SendAncillaryMessage::ScmRights(passed));
    }
    sendmsg(to, &[IoSlice::new(message)], &mut ancillary, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// A message, and a descriptor that came with it. The end of the other side is an empty message.
fn receive(from: &Socket) -> io::Result<(Vec<u8>, Option<OwnedFd>)> {
    let mut bytes = vec![0; LONGEST];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let read = recvmsg(from, &mut [IoSliceMut::new(&mut bytes)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?.bytes;
    bytes.truncate(read);
    let passed = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut passed) => passed.next(),
        _ => None,
    });
    Ok((bytes, passed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Address;
    use crate::server::socket::bind_tcp;

    /// Somebody who serves on one socket, asked by whoever comes.
    struct Served {
        upgrade: Upgrade,
        superseded: oneshot::Receiver<()>,
        address: Address,
    }

    fn served(path: &Path) -> Served {
        let listener = bind_tcp(([127, 0, 0, 1], 0).into(), 1).unwrap().remove(0);
        let address = Address::Tcp(listener.local_addr().unwrap());
        let (loader, requests) = mpsc::channel();
        std::thread::spawn(move || {
            while let Ok(Request::Sockets(answer)) = requests.recv() {
                let socket = Listening::Tcp(listener.try_clone().unwrap());
                let _ = answer.send(vec![("listener.a".to_owned(), socket)]);
            }
        });
        let (tell, superseded) = oneshot::channel();
        Served { upgrade: Upgrade::listen(path, loader, None, tell).unwrap(), superseded, address }
    }

    #[test]
    fn the_next_one_gets_the_sockets_and_the_first_one_hears_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("upgrade");
        assert!(take_over(&path).unwrap().is_none(), "nobody is there");
        let first = served(&path);
        // One that fails before it serves changes nothing.
        let (failing, _) = take_over(&path).unwrap().unwrap();
        drop(failing);
        let (predecessor, mut inherited) = take_over(&path).unwrap().unwrap();
        assert_eq!(inherited.take("listener.a", &first.address).len(), 1);
        // The next one listens for its own successor before it says that it serves, or after.
        let second = served(&path);
        predecessor.ready().unwrap();
        first.superseded.blocking_recv().expect("it heard");
        drop(first.upgrade);
        let (_, mut inherited) = take_over(&path).unwrap().unwrap();
        assert_eq!(inherited.take("none", &second.address).len(), 1, "the second one answers now");
    }

    #[test]
    fn nonsense_is_refused_on_both_sides() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("upgrade");
        let first = served(&path);
        let stranger = Socket::new(Domain::UNIX, Type::SEQPACKET, None).unwrap();
        stranger.connect(&SockAddr::unix(&path).unwrap()).unwrap();
        send(&stranger, b"nonsense", None).unwrap();
        assert!(matches!(receive(&stranger), Ok((bytes, None)) if bytes.is_empty()), "it is sent away");
        assert!(take_over(&path).unwrap().is_some(), "and the next one is heard");
        drop(first);

        let liar = Socket::new(Domain::UNIX, Type::SEQPACKET, None).unwrap();
        let path = folder.path().join("liar");
        liar.bind(&SockAddr::unix(&path).unwrap()).unwrap();
        liar.listen(1).unwrap();
        std::thread::spawn(move || {
            let (next, _) = liar.accept().unwrap();
            receive(&next).unwrap();
            send(&next, b"a name without a socket", None).unwrap();
        });
        assert_eq!(take_over(&path).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
