//! Connections to endpoints.

use std::num::{NonZeroU32, NonZeroUsize};
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::config::bounds::{DAY, SECOND, count, time, within};
use crate::config::reader::{Entry, Reader};
use crate::config::units::show_duration;
use crate::config::value::Count;
use crate::config::{Connections, file};

pub(super) fn connections(
    idle: Entry<Count>,
    written: Entry<file::Connections>,
    reader: &mut Reader<'_>,
) -> Connections {
    let default = Connections::default();
    let written = written.or(file::Connections::default());
    let age = match written.age {
        Entry::Absent | Entry::Wrong => None,
        age => Some(within(reader, age, DAY, SECOND..=30 * DAY, show_duration)),
    };
    let most = some(written.most, 1..=100_000, reader);
    let requests = some(written.requests, 1..=1_000_000_000, reader);
    Connections {
        idle: count(reader, idle, default.idle, 0..=100_000).0,
        most: most.and_then(NonZeroUsize::new),
        wait: within(reader, written.wait, default.wait, Duration::ZERO..=60 * SECOND, show_duration),
        idle_time: time(reader, written.idle, default.idle_time, DAY),
        age,
        requests: requests.and_then(|requests| NonZeroU32::new(u32::try_from(requests).unwrap_or(u32::MAX))),
    }
}

/// A number where one is written.
fn some(entry: Entry<Count>, range: RangeInclusive<usize>, reader: &mut Reader<'_>) -> Option<usize> {
    match entry {
        Entry::Absent | Entry::Wrong => None,
        entry => Some(count(reader, entry, 1, range).0),
    }
}
