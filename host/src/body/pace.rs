//! How long the reader of a body waits for its sender.

use std::num::NonZeroU32;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use super::BodyError;
use crate::deadline::{Deadline, after};

/// What every sender may take before its rate counts: connections begin slowly, and networks hiccup.
const GRACE: Duration = Duration::from_secs(10);

/// The time between two pieces, and the rate of all.
///
/// A sender that drips a byte now and then never stops, and holds what its request holds. So the time that it makes its
/// reader wait is counted: it begins with [`GRACE`], each byte adds its share of a second, and waiting takes away. More
/// than the longest pause is never put by, or a fast beginning would pay for hours of dripping.
pub(super) struct Pace {
    /// The longest pause.
    idle: Duration,
    /// Bytes a second.
    rate: Option<NonZeroU32>,
    /// How long the reader may still wait, where there is a rate.
    credit: Duration,
    /// Since when the reader waits for the next piece.
    since: Option<Instant>,
    deadline: Deadline,
}

impl Pace {
    pub(super) fn new(idle: Duration) -> Self {
        Self { idle, rate: None, credit: GRACE, since: None, deadline: Deadline::new() }
    }

    pub(super) fn at_least(&mut self, rate: Option<NonZeroU32>) {
        self.rate = rate;
    }

    /// So many bytes came. The clock is read only where they were waited for.
    pub(super) fn came(&mut self, bytes: usize) {
        let since = self.since.take();
        let Some(rate) = self.rate else { return };
        let waited = since.map_or(Duration::ZERO, |since| since.elapsed());
        let earned = Duration::from_nanos((bytes as u64).saturating_mul(1_000_000_000) / u64::from(rate.get()));
        self.credit = (self.credit.saturating_sub(waited) + earned).min(self.idle.max(GRACE));
    }

    /// Ready when the sender has taken too long.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<BodyError> {
        let since = *self.since.get_or_insert_with(Instant::now);
        let (time, error) = match self.rate {
            Some(_) if self.credit < self.idle => (self.credit, BodyError::Slow),
            _ => (self.idle, BodyError::Idle),
        };
        self.deadline.poll(context, after(since, time)).map(|()| error)
    }
}
