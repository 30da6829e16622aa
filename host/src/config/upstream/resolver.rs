//! How names are looked up.

use std::time::Duration;

use crate::config::bounds::{DAY, SECOND, time, within};
use crate::config::reader::{Entry, Reader};
use crate::config::units::show_duration;
use crate::config::{Resolver, file};

pub(crate) fn resolver(entry: Entry<file::Resolver>, reader: &mut Reader<'_>) -> Resolver {
    let default = Resolver::default();
    let Some(written) = entry.value() else { return default };
    let servers = written.servers.or(Vec::new()).into_iter().map(|server| server.value.0).collect();
    let timeout = time(reader, written.timeout, default.timeout, 60 * SECOND);
    let mut bound = |entry, default: Duration, most| within(reader, entry, default, SECOND..=most, show_duration);
    let shortest = bound(written.shortest, default.shortest, DAY);
    let longest = bound(written.longest, default.longest.max(shortest), DAY).max(shortest);
    let failed = bound(written.failed, default.failed, 3600 * SECOND);
    Resolver { servers, timeout, shortest, longest, failed }
}
