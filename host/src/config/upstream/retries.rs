//! When a request that failed goes out once more.

use std::time::Duration;

use http::StatusCode;

use super::number;
use crate::config::bounds::{SECOND, size, within};
use crate::config::reader::{Entry, Reader};
use crate::config::units::show_duration;
use crate::config::{Retries, file};

/// What gateways answer for servers that are not there, or not at the moment.
const DEFAULT: [u16; 3] = [502, 503, 504];

pub(super) fn retries(entry: Entry<file::Retries>, reader: &mut Reader<'_>) -> Retries {
    let written = entry.or(file::Retries::default());
    let statuses = match written.statuses {
        Entry::Absent | Entry::Wrong => {
            DEFAULT.into_iter().filter_map(|status| StatusCode::from_u16(status).ok()).collect()
        }
        Entry::Is(list) => list.value.into_iter().map(|status| status.value.0).collect(),
    };
    let millis = Duration::from_millis;
    let mut wait = |entry, default| within(reader, entry, default, millis(1)..=60 * SECOND, show_duration);
    let backoff = wait(written.backoff, millis(25));
    let longest_backoff = wait(written.longest_backoff, millis(250)).max(backoff);
    let longest_wait = within(reader, written.longest_wait, 2 * SECOND, Duration::ZERO..=60 * SECOND, show_duration);
    Retries {
        attempts: number(reader, written.attempts, 1, 0..=10),
        statuses,
        backoff,
        longest_backoff,
        longest_wait,
        budget: number(reader, written.budget, 20, 0..=100),
        least: number(reader, written.least, 3, 0..=10_000),
        body: size(reader, written.body, 64 << 10, 0..=16 << 20),
    }
}
