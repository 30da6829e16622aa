//! The addresses of a host that has a name: looked up again and again, and the last good answer kept.
//!
//! They are looked up beside the requests: only those that come before there ever was an answer wait for one.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::{JoinSet, spawn_local};
use tokio::time::{Instant, sleep};

use super::dns::{Found, Missing, Resolver};
use crate::deadline::after;

/// How long an attempt has for itself, before the next address is tried beside it (RFC 8305, section 8).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Finds the addresses of a host and a port.
pub(super) type Lookup = Rc<dyn Fn(String, u16) -> Pin<Box<dyn Future<Output = Outcome>>>>;

/// What a look-up comes to.
pub(super) type Outcome = Result<Found<SocketAddr>, Missing>;

/// By this resolver.
pub(super) fn by(resolver: &Resolver) -> Lookup {
    let resolver = resolver.clone();
    Rc::new(move |host, port| {
        let resolver = resolver.clone();
        Box::pin(async move { resolver.addresses(&host, port).await })
    })
}

/// The addresses of one name.
pub(super) struct Names {
    host: String,
    port: u16,
    lookup: Lookup,
    /// The last good answer; empty before there was one.
    found: RefCell<Rc<[SocketAddr]>>,
    /// Why the last look-up came to nothing.
    missing: RefCell<Option<Missing>>,
    /// When the last look-up ended, and how long what it came to holds.
    asked: Cell<Option<(Instant, Duration)>>,
    asking: Cell<bool>,
    answered: Notify,
    /// Connections so far, so that they spread over the addresses.
    turn: Cell<usize>,
}

impl Names {
    pub(super) fn new(host: String, port: u16, lookup: Lookup) -> Self {
        Self {
            host,
            port,
            lookup,
            found: RefCell::new(Rc::new([])),
            missing: RefCell::new(None),
            asked: Cell::new(None),
            asking: Cell::new(false),
            answered: Notify::new(),
            turn: Cell::new(0),
        }
    }

    /// In the order in which they are tried: the families take turns, the first one of the answer first (RFC 8305,
    /// section 4), and within a family each connection begins at another address.
    ///
    /// # Errors
    /// There was never an answer.
    pub(super) async fn addresses(self: &Rc<Self>) -> Result<Vec<SocketAddr>, Missing> {
        loop {
            let answered = self.answered.notified();
            let found = self.found.borrow().clone();
            if !found.is_empty() {
                let turn = self.turn.get();
                self.turn.set(turn.wrapping_add(1));
                return Ok(in_turns(&found, turn));
            }
            if !self.is_over(Instant::now(), None)
                && let Some(missing) = &*self.missing.borrow()
            {
                return Err(missing.clone());
            }
            self.ask();
            answered.await;
        }
    }

    /// Whether the name still has this address.
    pub(super) fn has(&self, address: SocketAddr) -> bool {
        self.found.borrow().contains(&address)
    }

    /// Looks it up again where it was looked up before, and what that came to holds no more; an answer for as long as
    /// `every`, where that is said.
    pub(super) fn renew(self: &Rc<Self>, now: Instant, every: Option<Duration>) {
        if self.asked.get().is_some() && self.is_over(now, every) {
            self.ask();
        }
    }

    fn is_over(&self, now: Instant, every: Option<Duration>) -> bool {
        let Some((asked, again)) = self.asked.get() else { return true };
        let again = every.filter(|_| self.missing.borrow().is_none()).unwrap_or(again);
        now >= after(asked, again)
    }

    /// As a task of its own: whoever waits may leave, and the answer is for all. There is one at a time.
    fn ask(self: &Rc<Self>) {
        if self.asking.replace(true) {
            return;
        }
        let names = self.clone();
        spawn_local(async move {
            let outcome = (names.lookup)(names.host.clone(), names.port).await;
            let again = match outcome {
                Ok(Found { records, again }) => {
                    *names.found.borrow_mut() = records.into();
                    *names.missing.borrow_mut() = None;
                    again
                }
                Err(missing) => {
                    let again = missing.again;
                    if !names.found.borrow().is_empty() && names.missing.borrow().is_none() {
                        tracing::warn!(host = names.host, %missing, "cannot be looked up again, its last addresses stay");
                    }
                    *names.missing.borrow_mut() = Some(missing);
                    again
                }
            };
            names.asked.set(Some((Instant::now(), again)));
            names.asking.set(false);
            names.answered.notify_waiters();
        });
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
