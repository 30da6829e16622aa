//! Histograms of durations without locks, and one for each method and status code.
//!
//! `prometheus-client` has a histogram behind a lock, which a scrape would hold against the workers.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{Method, StatusCode};

use super::words::OTHER;

/// Upper bounds for requests, in nanoseconds: OpenTelemetry's advice for `http.server.request.duration`.
pub(super) static REQUESTS: [u64; 14] = [
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    75_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    750_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    7_500_000_000,
    10_000_000_000,
];

/// Upper bounds for calls of plugins, in nanoseconds: from a microsecond to more than the longest usual limit.
pub(super) static CALLS: [u64; 14] = [
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    100_000_000,
];

/// Durations by upper bound.
#[derive(Debug)]
pub(super) struct Histogram {
    bounds: &'static [u64],
    /// One for each bound, and one for what is longer than all.
    buckets: Box<[AtomicU64]>,
    /// Nanoseconds. After 584 years of durations it begins again, which a reader takes for a restart.
    sum: AtomicU64,
}

/// What a histogram holds at one time.
pub(super) struct Snapshot {
    /// Seconds.
    pub(super) sum: f64,
    pub(super) count: u64,
    /// Upper bounds in seconds, the last one infinite, and how many durations lie below it and above the one before.
    pub(super) buckets: Vec<(f64, u64)>,
}

impl Histogram {
    pub(super) fn new(bounds: &'static [u64]) -> Self {
        Self { bounds, buckets: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(), sum: AtomicU64::new(0) }
    }

    pub(super) fn observe(&self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let bucket = self.bounds.partition_point(|&bound| bound < nanos);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(nanos, Ordering::Relaxed);
    }

    /// How many durations it holds.
    pub(super) fn count(&self) -> u64 {
        self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).sum()
    }

    /// The count is that of the buckets, so that the two agree whatever is observed meanwhile.
    pub(super) fn snapshot(&self) -> Snapshot {
        let seconds = |nanos: u64| nanos as f64 / 1e9;
        let bounds = self.bounds.iter().map(|&bound| seconds(bound)).chain([f64::INFINITY]);
        let counts = self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed));
        let buckets: Vec<_> = bounds.zip(counts).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        Snapshot { sum: seconds(self.sum.load(Ordering::Relaxed)), count, buckets }
    }
}

/// A histogram for each method and status code that came. Other methods, and other status codes of one class, share
/// one: at most 10 × 68 histograms, each made when it is first needed.
#[derive(Debug)]
pub(super) struct Durations([OnceLock<Box<ByStatus>>; METHODS.len()]);

type ByStatus = [OnceLock<Histogram>; STATUSES];

impl Durations {
    pub(super) fn new() -> Self {
        Self([const { OnceLock::new() }; METHODS.len()])
    }

    pub(super) fn of(&self, method: Option<&Method>, status: StatusCode) -> &Histogram {
        let by_status = self.0[method.map_or(OTHER_METHOD, method_index)]
            .get_or_init(|| Box::new([const { OnceLock::new() }; STATUSES]));
        by_status[status_index(status)].get_or_init(|| Histogram::new(&REQUESTS))
    }

    /// Method, status code and histogram of those that came.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&'static str, &'static str, &Histogram)> {
        let came = METHODS.iter().zip(&self.0).filter_map(|(method, by_status)| Some((*method, by_status.get()?)));
        came.flat_map(|(method, by_status)| {
            let came = STATUS_NAMES.iter().zip(by_status.iter());
            came.filter_map(move |(status, histogram)| Some((method, *status, histogram.get()?)))
        })
    }
}

/// Those that OpenTelemetry counts apart (RFC 9110 and RFC 5789), and the others.
const METHODS: [&str; 10] = ["GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "CONNECT", "TRACE", OTHER];

const OTHER_METHOD: usize = METHODS.len() - 1;

fn method_index(method: &Method) -> usize {
    METHODS[..OTHER_METHOD].iter().position(|name| *name == method.as_str()).unwrap_or(OTHER_METHOD)
}

/// IANA's registered status codes, then the classes, then what has none.
const STATUS_NAMES: [&str; 68] = [
    "100", "101", "102", "103", "104", "200", "201", "202", "203", "204", "205", "206", "207", "208", "226", "300",
    "301", "302", "303", "304", "305", "307", "308", "400", "401", "402", "403", "404", "405", "406", "407", "408",
    "409", "410", "411", "412", "413", "414", "415", "416", "417", "421", "422", "423", "424", "425", "426", "428",
    "429", "431", "451", "500", "501", "502", "503", "504", "505", "506", "507", "508", "510", "511", "1xx", "2xx",
    "3xx", "4xx", "5xx", OTHER,
];
/// How many status codes are counted apart, the classes included.
pub(super) const STATUSES: usize = STATUS_NAMES.len();
const FIRST_CLASS: usize = STATUSES - 6;

/// The place of each status code from 100 to 599 in `STATUS_NAMES`.
static STATUS_INDEX: [u8; 500] = status_table();

fn status_index(status: StatusCode) -> usize {
    let index = STATUS_INDEX.get(usize::from(status.as_u16()).wrapping_sub(100));
    index.map_or(STATUSES - 1, |&index| usize::from(index))
}

const fn status_table() -> [u8; 500] {
    let mut table = [0; 500];
    let mut code = 0;
    while code < 500 {
        table[code] = (FIRST_CLASS + code / 100) as u8;
        code += 1;
    }
    let mut name = 0;
    while name < FIRST_CLASS {
        let digits = STATUS_NAMES[name].as_bytes();
        let code = (digits[0] - b'0') as usize * 100 + (digits[1] - b'0') as usize * 10 + (digits[2] - b'0') as usize;
        table[code - 100] = name as u8;
        name += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_counts_in_the_first_bucket_that_is_not_below_it() {
        let histogram = Histogram::new(&REQUESTS);
        for millis in [0, 5, 6, 10_000, 10_001] {
            histogram.observe(Duration::from_millis(millis));
        }
        histogram.observe(Duration::MAX);
        let snapshot = histogram.snapshot();
        assert_eq!(snapshot.count, 6);
        let filled: Vec<_> = snapshot.buckets.iter().filter(|(_, count)| *count > 0).copied().collect();
        assert_eq!(filled, [(0.005, 2), (0.01, 1), (10.0, 1), (f64::INFINITY, 2)]);
    }

    #[test]
    fn every_status_code_has_its_own_name_or_its_class() {
        for code in 100..=999 {
            let status = StatusCode::from_u16(code).expect("three digits");
            let name = STATUS_NAMES[status_index(status)];
            let registered = STATUS_NAMES[..FIRST_CLASS].contains(&code.to_string().as_str());
            match code {
                _ if registered => assert_eq!(name, code.to_string()),
                100..=599 => assert_eq!(name, format!("{}xx", code / 100)),
                _ => assert_eq!(name, "_OTHER"),
            }
        }
    }

    #[test]
    fn methods_are_those_of_the_standard_and_one_for_the_others() {
        for name in METHODS[..9].iter() {
            assert_eq!(METHODS[method_index(&Method::from_bytes(name.as_bytes()).expect("a token"))], *name);
        }
        for name in ["get", "PROPFIND", "_OTHER", "G"] {
            assert_eq!(method_index(&Method::from_bytes(name.as_bytes()).expect("a token")), 9);
        }
    }
}
