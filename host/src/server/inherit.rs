//! Listening sockets that somebody else opened: systemd, or the process that this one takes over from.

use std::io;
use std::path::absolute;

use listenfd::ListenFd;

use super::socket::Listening;
use crate::config::Address;

/// Sockets that wait to be taken by a listener, and the names that they came with.
#[derive(Debug, Default)]
pub struct Inherited(Vec<(String, Listening)>);

/// What the socket of the listener for operators is called.
pub(super) const ADMIN: &str = "admin";

/// What the sockets of a listener are called. No listener has a name with a dot, so that none is called like the one for
/// operators.
pub(super) fn name_of(listener: &str) -> String {
    format!("listener.{listener}")
}

impl Inherited {
    /// What systemd passed to this process (`LISTEN_FDS`, `LISTEN_PID`, `LISTEN_FDNAMES`; sd_listen_fds(3)), if anything.
    /// A name is that of a listener, `FileDescriptorName=` in the socket's unit.
    ///
    /// # Errors
    /// One of them is no socket that listens for streams.
    pub fn from_environment() -> io::Result<Self> {
        let mut passed = ListenFd::from_env();
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':');
        let mut sockets = Vec::new();
        for place in 0..passed.len() {
            let name = names.next().unwrap_or_default();
            let tcp = passed.take_tcp_listener(place).map(|taken| taken.map(Into::into));
            let taken = match tcp {
                Ok(taken) => taken,
                Err(_) => passed.take_unix_listener(place)?.map(Into::into),
            };
            let Some(taken) = taken else { continue };
            sockets.push((name_of(name), Listening::passed(taken)?));
        }
        Ok(Self(sockets))
    }

    pub(super) fn of(sockets: Vec<(String, Listening)>) -> Self {
        Self(sockets)
    }

    /// Those and these.
    #[must_use]
    pub fn and(mut self, others: Self) -> Self {
        self.0.extend(others.0);
        self
    }

    /// The sockets for an address, or, where there are none, those of this name.
    pub(super) fn take(&mut self, name: &str, address: &Address) -> Vec<Listening> {
        let mut taken = self.take_where(|_, socket| socket.address().is_ok_and(|other| is_same(&other, address)));
        if taken.is_empty() {
            taken = self.take_where(|other, _| other == name);
        }
        taken
    }

    fn take_where(&mut self, wanted: impl Fn(&str, &Listening) -> bool) -> Vec<Listening> {
        self.0.extract_if(.., |(name, socket)| wanted(name, socket)).map(|(_, socket)| socket).collect()
    }

    /// Those that nobody took, for the log. They are closed.
    pub(super) fn left(self) -> Vec<String> {
        let show = |(name, socket): (String, Listening)| match socket.address() {
            Ok(address) => format!("{address} ({name})"),
            Err(_) => name,
        };
        self.0.into_iter().map(show).collect()
    }
}

/// Whether two addresses are one, from wherever their paths begin: those of systemd begin at the root, and others where this
/// process does.
fn is_same(one: &Address, other: &Address) -> bool {
    match (one, other) {
        (Address::Unix(one), Address::Unix(other)) => {
            matches!((absolute(one), absolute(other)), (Ok(one), Ok(other)) if one == other)
        }
        _ => one == other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::socket::bind_tcp;

    #[test]
    fn a_listener_takes_the_sockets_of_its_address_and_else_those_of_its_name() {
        let any = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
        let bind = || bind_tcp(any, 1).unwrap().remove(0);
        let [one, two, three] = [bind(), bind(), bind()];
        let address = Address::Tcp(two.local_addr().unwrap());
        let named = [("listener.a", one), ("listener.a", two), ("admin", three)];
        let sockets = named.map(|(name, socket)| (name.to_owned(), Listening::Tcp(socket)));
        let mut inherited = Inherited::of(sockets.into());
        let taken = inherited.take(&name_of("b"), &address);
        assert_eq!((taken.len(), taken[0].address().unwrap()), (1, address.clone()));
        assert_eq!(inherited.take(&name_of("a"), &Address::Tcp(any)).len(), 1, "port 0 is whatever there is");
        assert!(inherited.take(&name_of("admin"), &address).is_empty());
        let left = inherited.left();
        assert!(left.len() == 1 && left[0].ends_with("(admin)"), "{left:?}");
    }
}
