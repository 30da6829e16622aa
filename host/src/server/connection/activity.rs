//! What an HTTP/2 connection is doing now, and until when it may.

use std::cell::Cell;

use tokio::time::Instant;

use super::frames::Account;
use crate::config::ListenerLimits;
use crate::deadline::after;

/// Shared by what sees the bytes of a connection, what sees its requests, and what watches its time.
pub(super) struct Activity {
    /// Requests whose response is not finished.
    requests: Cell<u32>,
    /// When the connection began to wait for what it waits for.
    since: Cell<Instant>,
    /// When a write had to wait, and has since.
    stuck: Cell<Option<Instant>>,
    /// Requests that got a response, and those that their client took back before.
    answered: Cell<u32>,
    cancelled: Cell<u32>,
    /// What the client's frames have cost so far.
    pub(super) account: Account,
}

/// What a client must do by its deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// Send a request.
    Idle,
    /// Finish a head, or another frame, that it began.
    Head,
    /// Read something.
    Write,
}

impl Activity {
    pub(super) fn new() -> Self {
        Self {
            requests: Cell::new(0),
            since: Cell::new(Instant::now()),
            stuck: Cell::new(None),
            answered: Cell::new(0),
            cancelled: Cell::new(0),
            account: Account::new(),
        }
    }

    pub(super) fn since(&self) -> Instant {
        self.since.get()
    }

    pub(super) fn wrote(&self, all: bool) {
        match (all, self.stuck.get()) {
            (true, Some(_)) => self.stuck.set(None),
            (false, None) => self.stuck.set(Some(Instant::now())),
            _ => {}
        }
    }

    pub(super) fn begin(&self) {
        self.account.begun();
        self.requests.set(self.requests.get() + 1);
    }

    pub(super) fn answer(&self) {
        self.account.answered();
        self.answered.set(self.answered.get().saturating_add(1));
    }

    /// The end of a request, `answered` or not.
    pub(super) fn end(&self, answered: bool) {
        self.requests.set(self.requests.get() - 1);
        if self.requests.get() == 0 {
            self.since.set(Instant::now());
        }
        if !answered {
            self.cancelled.set(self.cancelled.get().saturating_add(1));
        }
    }

    /// Whether the client takes back far more than it lets us answer. Each such request costs it two small frames, and
    /// us a request to an upstream.
    pub(super) fn is_flood(&self, spare: u32) -> bool {
        self.cancelled.get() > self.answered.get().saturating_add(spare)
    }

    /// The next deadline. While a request is served, the limits of bodies and of upstreams count.
    pub(super) fn due(&self, limits: &ListenerLimits) -> Option<(Instant, Due)> {
        if let Some(stuck) = self.stuck.get() {
            return Some((after(stuck, limits.body_idle), Due::Write));
        }
        if let Some(since) = self.account.owes_since() {
            return Some((after(since, limits.head_time), Due::Head));
        }
        if self.requests.get() > 0 {
            return None;
        }
        Some((after(self.since.get(), limits.keep_alive), Due::Idle))
    }
}
