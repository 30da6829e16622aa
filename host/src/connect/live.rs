//! One open connection.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;

use bytes::BytesMut;
use tokio::time::Instant;

use crate::deadline::Deadline;
use crate::http1::wire::{Io, Wire};

/// An open connection. Whoever waits for an answer drives it.
pub(super) struct Live {
    pub(super) wire: Wire,
    pub(super) deadline: Deadline,
    pub(super) used: Instant,
    /// Which address of its name this is; none where the host is an address.
    pub(super) peer: Option<SocketAddr>,
    _counted: Counted,
}

/// Counts a connection from its first packet on until it is closed.
pub(super) struct Counted(Rc<Cell<usize>>);

impl Counted {
    pub(super) fn new(open: &Rc<Cell<usize>>) -> Self {
        open.set(open.get() + 1);
        Self(open.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl Live {
    pub(super) fn new(io: Io, peer: Option<SocketAddr>, counted: Counted) -> Self {
        let wire = Wire::new(io, BytesMut::new());
        Self { wire, deadline: Deadline::new(), used: Instant::now(), peer, _counted: counted }
    }

    /// Whether nothing is left to read or write of what was said. It has no buffers from now on.
    pub(super) fn is_done(&mut self) -> bool {
        let done = self.wire.is_empty();
        self.wire.rest();
        done
    }

    /// Whether the connection is open and has nothing to do. Nobody is woken by it from now on.
    pub(super) fn rest(&mut self) -> bool {
        let idle = self.wire.is_idle();
        self.wire.rest();
        idle
    }
}
