//! How many connections an endpoint has, and who waits for one.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use crate::metrics::UpstreamMetrics;

/// What workers count together: of an endpoint, and of its upstream.
#[derive(Debug, Clone)]
pub struct Counts {
    /// Open connections of all workers.
    pub endpoint: Arc<AtomicUsize>,
    /// Where they are counted for operators.
    pub upstream: Arc<UpstreamMetrics>,
}

impl PartialEq for Counts {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.endpoint, &other.endpoint)
    }
}

/// A worker's connections to one endpoint.
pub(super) struct Room {
    open: Cell<usize>,
    /// Told when there may be one for somebody who waits.
    freed: Notify,
    counts: Option<Counts>,
}

impl Room {
    pub(super) fn new(counts: Option<Counts>) -> Rc<Self> {
        Rc::new(Self { open: Cell::new(0), freed: Notify::new(), counts })
    }

    pub(super) fn counts(&self) -> Option<&Counts> {
        self.counts.as_ref()
    }

    /// Those that are there or being made.
    pub(super) fn open(&self) -> usize {
        self.open.get()
    }

    /// Ready when one was closed, or has nothing to do.
    pub(super) fn freed(&self) -> Notified<'_> {
        self.freed.notified()
    }

    /// One has nothing to do.
    pub(super) fn is_free(&self) {
        self.freed.notify_one();
    }
}

/// Counts a connection from its first packet on until it is closed.
pub(super) struct Counted(Rc<Room>);

impl Counted {
    pub(super) fn new(room: &Rc<Room>) -> Self {
        room.open.set(room.open.get() + 1);
        if let Some(counts) = &room.counts {
            counts.endpoint.fetch_add(1, Relaxed);
            counts.upstream.connection_opened();
        }
        Self(room.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
        self.0.is_free();
        if let Some(counts) = &self.0.counts {
            counts.endpoint.fetch_sub(1, Relaxed);
            counts.upstream.connection_closed();
        }
    }
}
