//! One open connection.

use bytes::BytesMut;
use tokio::time::Instant;

use crate::deadline::Deadline;
use crate::http1::wire::{Io, Wire};

/// An open connection. Whoever waits for an answer drives it.
pub(super) struct Live {
    pub(super) wire: Wire,
    pub(super) deadline: Deadline,
    pub(super) used: Instant,
}

impl Live {
    pub(super) fn new(io: Io) -> Self {
        Self { wire: Wire::new(io, BytesMut::new()), deadline: Deadline::new(), used: Instant::now() }
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
