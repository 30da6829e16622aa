//! Small things that wait to be sent: one piece of memory, that connections which have nothing to send leave to others.

use std::cell::Cell;

use bytes::{Buf as _, Bytes};

/// Memory that grew beyond this is given back, and not kept for the next connection.
const KEPT: usize = 64 * 1024;

thread_local! {
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Bytes to be sent, of which some may have been.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    bytes: Vec<u8>,
    sent: usize,
}

impl Outbox {
    /// What is left to be sent.
    #[must_use]
    pub(crate) fn waiting(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    /// Where more is written to.
    pub(crate) fn tail(&mut self) -> &mut Vec<u8> {
        if self.bytes.capacity() == 0 {
            self.bytes = SPARE.take();
        }
        &mut self.bytes
    }

    /// The same as a piece of its own.
    #[must_use]
    pub(crate) fn into_bytes(self) -> Bytes {
        let mut bytes = Bytes::from(self.bytes);
        bytes.advance(self.sent);
        bytes
    }

    /// So many of those that waited were sent.
    pub(crate) fn advance(&mut self, sent: usize) {
        self.sent += sent;
        if self.sent == self.bytes.len() {
            let Self { mut bytes, .. } = std::mem::take(self);
            if (1..=KEPT).contains(&bytes.capacity()) {
                bytes.clear();
                SPARE.set(bytes);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_waits_no_more_and_its_memory_serves_another() {
        let mut outbox = Outbox::default();
        outbox.tail().extend_from_slice(b"one and two");
        outbox.advance(4);
        outbox.tail().extend_from_slice(b" and three");
        assert_eq!(outbox.waiting(), b"and two and three");
        let memory = outbox.waiting().as_ptr().addr() - 4;
        outbox.advance(17);
        assert_eq!(outbox.waiting(), b"");
        outbox.advance(0);
        let mut other = Outbox::default();
        assert_eq!((other.tail().len(), other.tail().as_ptr().addr()), (0, memory));
        other.tail().resize(KEPT + 1, 0);
        other.advance(KEPT + 1);
        assert_eq!(SPARE.take().capacity(), 0, "too large to be kept");
    }
}
