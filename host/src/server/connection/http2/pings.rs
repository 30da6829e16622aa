//! Finds out that a client is gone, even if its network does not say so.

use std::task::{Context, Poll, ready};
use std::time::Duration;

use h2::{Ping, PingPong};
use tokio::time::Instant;

use crate::deadline::{Deadline, after};

/// How often a client is asked whether it is there.
const INTERVAL: Duration = Duration::from_secs(20);
/// How long it may take to answer.
const TIMEOUT: Duration = Duration::from_secs(20);

pub(super) struct Pings {
    pings: Option<PingPong>,
    asked: bool,
    /// When to ask, or to have been answered.
    at: Instant,
    deadline: Deadline,
}

impl Pings {
    pub(super) fn new(pings: Option<PingPong>) -> Self {
        Self { pings, asked: false, at: after(Instant::now(), INTERVAL), deadline: Deadline::new() }
    }

    /// Ready when the client is gone.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(pings) = &mut self.pings else { return Poll::Pending };
        loop {
            // An error is the end of the connection, which says so itself.
            if self.asked && pings.poll_pong(context).is_ready() {
                self.asked = false;
                self.at = after(Instant::now(), INTERVAL);
            }
            ready!(self.deadline.poll(context, self.at));
            if self.asked {
                return Poll::Ready(());
            }
            self.asked = pings.send_ping(Ping::opaque()).is_ok();
            self.at = after(Instant::now(), if self.asked { TIMEOUT } else { INTERVAL });
        }
    }
}
