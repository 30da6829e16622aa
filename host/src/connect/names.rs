//! The addresses of a host that has a name: looked up again and again, and the last good answer kept.
//!
//! The system's resolver tells no time to live, so the operator says how often. It is asked beside the requests: only
//! the very first one waits for an answer.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::sync::OnceCell;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

/// How long an attempt has for itself, before the next address is tried beside it (RFC 8305, section 8).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// The most addresses of a name that are taken. An answer in one packet has fewer.
const MOST: usize = 256;

/// Finds the addresses of a host and a port.
pub(super) type Lookup = Rc<dyn Fn(String, u16) -> Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>>>>>;

/// The system's resolver.
pub(super) fn system() -> Lookup {
    Rc::new(|host, port| Box::pin(async move { Ok(lookup_host((host, port)).await?.take(MOST).collect()) }))
}

/// The addresses of one name.
pub(super) struct Names {
    host: String,
    port: u16,
    lookup: Lookup,
    /// Those who need the first answer wait for one question.
    first: OnceCell<()>,
    found: RefCell<Rc<[SocketAddr]>>,
    /// When it was asked last, whatever came of it.
    asked: Cell<Option<Instant>>,
    asking: Cell<bool>,
    /// Connections so far, so that they spread over the addresses.
    turn: Cell<usize>,
}

impl Names {
    pub(super) fn new(host: String, port: u16, lookup: Lookup) -> Self {
        Self {
            host,
            port,
            lookup,
            first: OnceCell::new(),
            found: RefCell::new(Rc::new([])),
            asked: Cell::new(None),
            asking: Cell::new(false),
            turn: Cell::new(0),
        }
    }

    /// In the order in which they are tried: the families take turns, the system's preferred one first (RFC 8305,
    /// section 4), and within a family each connection begins at another address.
    ///
    /// # Errors
    /// There was never an answer.
    pub(super) async fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        self.first.get_or_try_init(|| self.ask()).await?;
        let found = self.found.borrow().clone();
        let turn = self.turn.get();
        self.turn.set(turn.wrapping_add(1));
        Ok(in_turns(&found, turn))
    }

    /// Whether the name still has this address.
    pub(super) fn has(&self, address: SocketAddr) -> bool {
        self.found.borrow().contains(&address)
    }

    /// Whether it is time to ask again. Then the caller must.
    pub(super) fn is_due(&self, now: Instant, every: Duration) -> bool {
        let due = self.asked.get().is_some_and(|asked| now.saturating_duration_since(asked) >= every);
        due && !self.asking.replace(true)
    }

    /// Asks again. The last good answer stays where there is none, or an empty one.
    pub(super) async fn renew(&self) {
        if let Err(error) = self.ask().await {
            tracing::warn!(host = self.host, %error, "cannot be looked up again, its last addresses stay");
        }
        self.asking.set(false);
    }

    async fn ask(&self) -> io::Result<()> {
        let answer = (self.lookup)(self.host.clone(), self.port).await;
        self.asked.set(Some(Instant::now()));
        let found = answer?;
        if found.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no addresses"));
        }
        *self.found.borrow_mut() = found.into();
        Ok(())
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Names").field("host", &self.host).field("found", &self.found).finish_non_exhaustive()
    }
}

fn in_turns(found: &[SocketAddr], turn: usize) -> Vec<SocketAddr> {
    let first_is_v6 = found.first().is_some_and(SocketAddr::is_ipv6);
    let (mut one, mut other): (Vec<_>, Vec<_>) =
        found.iter().copied().partition(|address: &SocketAddr| address.is_ipv6() == first_is_v6);
    for family in [&mut one, &mut other] {
        let by = turn.checked_rem(family.len()).unwrap_or(0);
        family.rotate_left(by);
    }
    let mut out = Vec::with_capacity(found.len());
    let (mut one, mut other) = (one.into_iter(), other.into_iter());
    while out.len() < found.len() {
        out.extend(one.next());
        out.extend(other.next());
    }
    out
}

/// Connects to the first of the addresses that accepts. Each next one is tried when the one before it failed, or has
/// not answered for a while (RFC 8305, section 5).
///
/// # Errors
/// What happened at the last one; that all of them are silent is for the caller to end.
pub(super) async fn race(addresses: Vec<SocketAddr>) -> io::Result<(TcpStream, SocketAddr)> {
    let mut left = addresses.into_iter();
    // Those that still try when one has won are ended by dropping this.
    let mut tries = JoinSet::new();
    let mut cause = io::Error::from(io::ErrorKind::NotFound);
    loop {
        match left.next() {
            Some(address) => {
                tries.spawn_local(async move { TcpStream::connect(address).await.map(|stream| (stream, address)) });
            }
            None if tries.is_empty() => return Err(cause),
            None => {}
        }
        let more = !left.as_slice().is_empty();
        tokio::select! {
            Some(tried) = tries.join_next() => match tried {
                Ok(Ok(connected)) => return Ok(connected),
                Ok(Err(error)) => cause = error,
                Err(_) => cause = io::ErrorKind::Other.into(),
            },
            () = sleep(ATTEMPT_DELAY), if more => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn families_take_turns_and_connections_begin_at_another_address() {
        let found = addresses(&["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1", "2.2.2.2:1"]);
        let turn = |turn| in_turns(&found, turn);
        assert_eq!(turn(0), addresses(&["[::1]:1", "1.1.1.1:1", "[::2]:1", "2.2.2.2:1", "[::3]:1"]));
        assert_eq!(turn(1), addresses(&["[::2]:1", "2.2.2.2:1", "[::3]:1", "1.1.1.1:1", "[::1]:1"]));
        assert_eq!(turn(usize::MAX).len(), 5);
        assert_eq!(in_turns(&found[3..], 0), found[3..]);
        assert!(in_turns(&[], 7).is_empty());
    }
}
