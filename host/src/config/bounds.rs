//! Values that a key takes only within bounds.

use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::reader::{At, Entry, Reader};
use super::units;
use super::value::{Count, Size};

pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const DAY: Duration = Duration::from_secs(86_400);

/// A value within bounds, or its default.
pub(crate) fn within<T: PartialOrd + Copy>(
    reader: &mut Reader<'_>,
    entry: Entry<T>,
    default: T,
    range: RangeInclusive<T>,
    show: impl Fn(T) -> String,
) -> T {
    let Entry::Is(at) = entry else { return default };
    if range.contains(&at.value) {
        return at.value;
    }
    let message = format!("{} is not between {} and {}", reader.written(&at), show(*range.start()), show(*range.end()));
    reader.error(&at, message);
    default
}

pub(crate) fn count(
    reader: &mut Reader<'_>,
    entry: Entry<Count>,
    default: usize,
    range: RangeInclusive<usize>,
) -> Count {
    let entry = match entry {
        Entry::Is(at) => Entry::Is(At { value: at.value.0, span: at.span, path: at.path }),
        Entry::Absent | Entry::Wrong => Entry::Absent,
    };
    Count(within(reader, entry, default, range, |number| number.to_string()))
}

pub(crate) fn count_u32(
    reader: &mut Reader<'_>,
    entry: Entry<Count>,
    default: usize,
    range: RangeInclusive<usize>,
) -> NonZeroU32 {
    let count = count(reader, entry, default, range).0;
    u32::try_from(count).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN)
}

pub(crate) fn size(reader: &mut Reader<'_>, entry: Entry<Size>, default: u64, range: RangeInclusive<u64>) -> usize {
    let entry = match entry {
        Entry::Is(at) => Entry::Is(At { value: at.value.0, span: at.span, path: at.path }),
        Entry::Absent | Entry::Wrong => Entry::Absent,
    };
    usize::try_from(within(reader, entry, default, range, units::show_size)).unwrap_or(usize::MAX)
}

/// A time that something may take: not none at all, and not longer than `longest`.
pub(crate) fn time(reader: &mut Reader<'_>, entry: Entry<Duration>, default: Duration, longest: Duration) -> Duration {
    within(reader, entry, default, Duration::from_micros(100)..=longest, units::show_duration)
}
