//! How an upstream notices what is broken.

use super::number;
use crate::config::bounds::{DAY, SECOND, count_u32, time};
use crate::config::reader::{At, Entry, Reader};
use crate::config::units::show_duration;
use crate::config::{Breaker, Ejection, HealthCheck, file};

pub(super) fn health(entry: Entry<file::HealthCheck>, reader: &mut Reader<'_>) -> Option<HealthCheck> {
    let Entry::Is(At { value: written, .. }) = entry else { return None };
    let interval = time(reader, written.interval, 10 * SECOND, DAY);
    let given = written.timeout.get().cloned();
    let timeout = time(reader, written.timeout, (2 * SECOND).min(interval), DAY);
    if let Some(at) = given.filter(|_| timeout > interval) {
        let problem = reader.warning(&at, "a check may take longer than the time to the next one");
        reader.report(problem.help(format!("interval is {}: they come later than that", show_duration(interval))));
    }
    let statuses = written.statuses.or(Vec::new()).into_iter().map(|status| status.value.0).collect();
    Some(HealthCheck {
        path: written.path.value().map(|path| path.0),
        statuses,
        interval,
        timeout,
        healthy: count_u32(reader, written.healthy, 2, 1..=100).get(),
        unhealthy: count_u32(reader, written.unhealthy, 3, 1..=100).get(),
    })
}

pub(super) fn ejection(entry: Entry<file::Ejection>, reader: &mut Reader<'_>) -> Ejection {
    let written = entry.or(file::Ejection::default());
    let first = time(reader, written.time, 30 * SECOND, DAY);
    Ejection {
        failures: number(reader, written.failures, 5, 0..=1_000_000),
        ratio: number(reader, written.ratio, 0, 0..=100),
        volume: number(reader, written.volume, 100, 1..=1_000_000),
        window: time(reader, written.window, 10 * SECOND, DAY),
        time: first,
        longest: time(reader, written.longest, (300 * SECOND).max(first), DAY).max(first),
        most: number(reader, written.most, 50, 0..=100),
    }
}

pub(super) fn breaker(entry: Entry<file::Breaker>, reader: &mut Reader<'_>) -> Option<Breaker> {
    let Entry::Is(At { value: written, .. }) = entry else { return None };
    let first = time(reader, written.time, 5 * SECOND, DAY);
    Some(Breaker {
        ratio: number(reader, written.ratio, 50, 1..=100),
        volume: number(reader, written.volume, 20, 1..=1_000_000),
        window: time(reader, written.window, 10 * SECOND, DAY),
        time: first,
        longest: time(reader, written.longest, (60 * SECOND).max(first), DAY).max(first),
        probes: number(reader, written.probes, 1, 1..=1000),
    })
}
