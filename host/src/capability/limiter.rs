//! Exact rate limits: the counters behind `tollgate:plugin/limiter`.
//!
//! A [`Limiter`] belongs to the process and outlives every reload. A plugin holds [`Buckets`], from its load to its
//! end, and through them its [`Bucket`]s: a bucket lives as long as one loaded plugin holds it. The next configuration
//! is loaded while the last one still serves, so that an unchanged bucket keeps its counters and a changed one starts
//! afresh.

mod gcra;
mod guest;
mod shards;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

pub use guest::BucketHandle;
pub(crate) use guest::{Guest, link};

use gcra::Gcra;
use shards::{Keys, Room, Shards};

/// The most windows of one bucket.
pub const MAX_WINDOWS: usize = 8;
/// The longest period of a window: 31 days, in milliseconds.
pub const MAX_PERIOD_MS: u64 = 31 * 24 * 60 * 60 * 1000;

/// All rate limits of the process.
#[derive(Debug)]
pub struct Limiter {
    sizes: Sizes,
    clock: Clock,
    /// The beginning of time: counters keep nanoseconds since then.
    epoch: Instant,
    keys: Arc<Keys>,
    plugins: Mutex<HashMap<Box<str>, Known>>,
}

/// Where a limiter has the time from.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Instant + Send + Sync>);

/// How much a plugin may keep in the limiter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Buckets of one loaded plugin. Default 64.
    pub buckets: usize,
    /// Keys of one bucket. Default 100,000, about 12 MB for one window.
    pub keys: usize,
    /// Keys of all buckets of one plugin. Default 400,000.
    pub plugin_keys: usize,
}

impl Default for Sizes {
    fn default() -> Self {
        Self { buckets: 64, keys: 100_000, plugin_keys: 400_000 }
    }
}

/// One limit: `limit` is given back each period, and never more than `burst` can be taken at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Window {
    /// At least 1.
    pub limit: u64,
    /// In milliseconds, 1 to [`MAX_PERIOD_MS`].
    pub period_ms: u64,
    /// At least 1.
    pub burst: u64,
}

/// The buckets of one loaded plugin. Dropping it gives back those that no other load of the plugin holds.
#[derive(Debug)]
pub struct Buckets {
    limiter: Arc<Limiter>,
    plugin: Box<str>,
    opened: Mutex<Vec<Arc<Bucket>>>,
}

/// The counters of one rate limit, by key.
#[derive(Debug)]
pub struct Bucket {
    name: shards::Key,
    windows: Vec<Window>,
    epoch: Instant,
    counters: Counters,
}

/// Where counters live. A store shared by several machines becomes a second variant, with an `Unavailable` of its own
/// and a `take` that waits; plugins see no difference.
#[derive(Debug)]
enum Counters {
    Host(Shards),
}

/// What [`Bucket::take`] answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// Whether the cost was taken: from every window, or from none.
    pub allowed: bool,
    /// Zero where allowed; else milliseconds, rounded up, after which the same call is allowed if nothing else is
    /// taken. `u64::MAX` where the cost is larger than a burst.
    pub retry_after_ms: u64,
    standings: [Standing; MAX_WINDOWS],
    count: usize,
}

/// How one window stands after a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Standing {
    /// How much could be taken now.
    pub remaining: u64,
    /// Milliseconds, rounded up, until the whole burst is available again.
    pub reset_ms: u64,
}

/// Why there is no bucket, or no answer from one.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Error {
    /// A window that cannot be, and why.
    InvalidWindow(String),
    /// More buckets than [`Sizes::buckets`].
    TooManyBuckets,
    /// The store behind the limiter did not answer in time. The host's own always answers.
    Unavailable,
}

impl Limiter {
    /// A limiter without buckets, whose time begins now.
    pub fn new(sizes: Sizes) -> Arc<Self> {
        Self::with_clock(sizes, Clock::default())
    }

    /// As [`new`](Self::new), with another clock than the system's.
    pub fn with_clock(sizes: Sizes, clock: Clock) -> Arc<Self> {
        let epoch = clock.now();
        Arc::new(Self { sizes, clock, epoch, keys: Arc::new(Keys::new()), plugins: Mutex::default() })
    }

    /// The buckets of a plugin that is being loaded, under the name that chains use. None is open yet; one that an
    /// earlier load of the same plugin still holds is found again with its counters.
    pub fn plugin(self: &Arc<Self>, plugin: &str) -> Buckets {
        Buckets { limiter: self.clone(), plugin: plugin.into(), opened: Mutex::default() }
    }
}

impl Clock {
    /// Whatever `now` answers is the time.
    pub fn new(now: impl Fn() -> Instant + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    fn now(&self) -> Instant {
        (self.0)()
    }
}

/// The system's, which never goes back.
impl Default for Clock {
    fn default() -> Self {
        Self::new(Instant::now)
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

impl Buckets {
    /// The time by the limiter's clock, for [`Bucket::take`].
    pub fn now(&self) -> Instant {
        self.limiter.clock.now()
    }

    /// The bucket of this name and these windows: the same counters for all who ask for the same.
    ///
    /// # Errors
    /// `InvalidWindow` for a window that cannot be, for none, or for more than [`MAX_WINDOWS`]; `TooManyBuckets` where
    /// this plugin has opened its number already.
    pub fn open(&self, name: &str, windows: &[Window]) -> Result<Arc<Bucket>, Error> {
        check(windows)?;
        let name = self.limiter.keys.key(name);
        let mut opened = lock(&self.opened);
        if let Some(bucket) = opened.iter().find(|bucket| bucket.is(name, windows)) {
            return Ok(bucket.clone());
        }
        if opened.len() >= self.limiter.sizes.buckets {
            return Err(Error::TooManyBuckets);
        }
        let bucket = self.limiter.find_or_make(&self.plugin, name, windows);
        opened.push(bucket.clone());
        Ok(bucket)
    }
}

impl Drop for Buckets {
    fn drop(&mut self) {
        lock(&self.opened).clear();
        forget_unused(&mut lock(&self.limiter.plugins));
    }
}

impl Bucket {
    /// Takes `cost` for `key` from every window or from none, at the time `now`. Refused calls cost nothing; a cost of
    /// zero looks without taking. Never waits longer than another call on the same key takes.
    ///
    /// Time that goes backwards gives nothing away: it only makes the answer stricter.
    ///
    /// # Errors
    /// `Unavailable`, never from the host's own counters.
    pub fn take(&self, key: &str, cost: u32, now: Instant) -> Result<Taken, Error> {
        match &self.counters {
            Counters::Host(shards) => Ok(shards.take(key, cost, nanos(self.epoch, now))),
        }
    }

    fn is(&self, name: shards::Key, windows: &[Window]) -> bool {
        self.name == name && self.windows == windows
    }
}

impl Taken {
    /// One for each window, in the order in which the bucket was opened.
    pub fn standings(&self) -> &[Standing] {
        &self.standings[..self.count]
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidWindow(why) => write!(f, "invalid window: {why}"),
            Self::TooManyBuckets => f.write_str("more buckets than a plugin may have"),
            Self::Unavailable => f.write_str("the store of the rate limits did not answer in time"),
        }
    }
}

impl std::error::Error for Error {}

/// What the limiter knows of a plugin. It holds no bucket alive: loaded plugins do.
#[derive(Debug)]
struct Known {
    room: Arc<Room>,
    buckets: Vec<Weak<Bucket>>,
}

impl Limiter {
    fn find_or_make(&self, plugin: &str, name: shards::Key, windows: &[Window]) -> Arc<Bucket> {
        let mut plugins = lock(&self.plugins);
        let known = plugins
            .entry(plugin.into())
            .or_insert_with(|| Known { room: Room::new(self.sizes.plugin_keys), buckets: Vec::new() });
        if let Some(bucket) = known.buckets.iter().filter_map(Weak::upgrade).find(|bucket| bucket.is(name, windows)) {
            return bucket;
        }
        let gcra = windows.iter().map(Gcra::new).collect();
        let shards = Shards::new(gcra, self.keys.clone(), self.sizes.keys, known.room.clone());
        let bucket =
            Arc::new(Bucket { name, windows: windows.to_vec(), epoch: self.epoch, counters: Counters::Host(shards) });
        known.buckets.push(Arc::downgrade(&bucket));
        bucket
    }
}

/// An instance may hold a bucket a little longer than its plugin, so this looks at all plugins.
fn forget_unused(plugins: &mut HashMap<Box<str>, Known>) {
    plugins.retain(|_, known| {
        known.buckets.retain(|bucket| bucket.strong_count() > 0);
        !known.buckets.is_empty()
    });
}

fn check(windows: &[Window]) -> Result<(), Error> {
    let wrong = |why: String| Err(Error::InvalidWindow(why));
    if windows.is_empty() || windows.len() > MAX_WINDOWS {
        return wrong(format!("a bucket has 1 to {MAX_WINDOWS} windows, not {}", windows.len()));
    }
    for window in windows {
        if window.limit == 0 {
            return wrong("the limit is at least 1, not 0".into());
        }
        if window.burst == 0 {
            return wrong("the burst is at least 1, not 0".into());
        }
        if window.period_ms == 0 || window.period_ms > MAX_PERIOD_MS {
            return wrong(format!("the period is 1 to {MAX_PERIOD_MS} ms (31 days), not {}", window.period_ms));
        }
    }
    Ok(())
}

/// Nanoseconds from the epoch, kept below 2^62 (146 years), so that the arithmetic of a window fits 128 bits.
fn nanos(epoch: Instant, now: Instant) -> u64 {
    let nanos = now.saturating_duration_since(epoch).as_nanos();
    u64::try_from(nanos).unwrap_or(u64::MAX).min(gcra::MAX_NANOS)
}

/// Nothing panics while it holds one of these locks, and each value is whole between two statements.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use super::*;

    const HUNDRED_A_MINUTE: Window = Window { limit: 100, period_ms: 60_000, burst: 100 };

    fn bucket(windows: &[Window]) -> (Arc<Bucket>, Instant) {
        let limiter = Limiter::new(Sizes::default());
        let start = limiter.epoch;
        (limiter.plugin("limit").open("b", windows).expect("a good window"), start)
    }

    #[test]
    fn a_hundred_a_minute_admits_exactly_a_hundred_and_then_one_every_600_ms() {
        let (bucket, start) = bucket(&[HUNDRED_A_MINUTE]);
        for before in 0..100 {
            let taken = bucket.take("alice", 1, start).unwrap();
            assert!(taken.allowed);
            assert_eq!(taken.retry_after_ms, 0);
            assert_eq!(taken.standings(), [Standing { remaining: 99 - before, reset_ms: 600 * (before + 1) }]);
        }
        let refused = bucket.take("alice", 1, start).unwrap();
        assert!(!refused.allowed);
        assert_eq!(refused.retry_after_ms, 600);
        assert_eq!(refused.standings(), [Standing { remaining: 0, reset_ms: 60_000 }]);
        assert!(!bucket.take("alice", 1, start + Duration::from_nanos(599_999_999)).unwrap().allowed);
        assert!(bucket.take("alice", 1, start + Duration::from_millis(600)).unwrap().allowed);
        assert!(!bucket.take("alice", 1, start + Duration::from_millis(1199)).unwrap().allowed);
        assert!(bucket.take("bob", 100, start).unwrap().allowed, "keys are apart");
    }

    #[test]
    fn a_cost_of_zero_only_looks_and_a_cost_over_the_burst_is_never_allowed() {
        let (bucket, start) = bucket(&[HUNDRED_A_MINUTE, Window { limit: 10, period_ms: 1000, burst: 5 }]);
        let look = bucket.take("k", 0, start).unwrap();
        assert!(look.allowed);
        let remaining: Vec<_> = look.standings().iter().map(|standing| standing.remaining).collect();
        assert_eq!(remaining, [100, 5]);
        let never = bucket.take("k", 6, start).unwrap();
        assert_eq!((never.allowed, never.retry_after_ms), (false, u64::MAX));
        assert!(bucket.take("k", 5, start).unwrap().allowed, "what was refused cost nothing");
        let refused = bucket.take("k", 1, start).unwrap();
        assert_eq!((refused.allowed, refused.retry_after_ms), (false, 100));
        assert_eq!(refused.standings()[0].remaining, 95, "all or nothing");
    }

    #[test]
    fn keys_of_any_length_are_told_apart_and_kept_as_a_hash() {
        let (bucket, start) = bucket(&[Window { limit: 1, period_ms: 60_000, burst: 1 }]);
        let long = "k".repeat(1 << 20);
        for key in [long.clone(), format!("{long}a"), format!("{long}b"), format!("a{long}"), String::new()] {
            assert!(bucket.take(&key, 1, start).unwrap().allowed);
            assert!(!bucket.take(&key, 1, start).unwrap().allowed);
        }
        assert_eq!(size_of::<shards::Key>(), 16);
    }

    #[test]
    fn sixty_four_threads_on_one_key_take_exactly_the_burst() {
        let (bucket, start) = bucket(&[Window { limit: 1000, period_ms: 1000, burst: 777 }]);
        let admitted = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..64 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        if bucket.take("one", 1, start).unwrap().allowed {
                            admitted.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        assert_eq!(admitted.into_inner(), 777);
    }

    #[test]
    fn time_that_goes_back_gives_nothing_away_and_locks_nobody_out() {
        let (bucket, start) = bucket(&[HUNDRED_A_MINUTE]);
        let noon = start + Duration::from_secs(3600);
        assert!(bucket.take("k", 100, noon).unwrap().allowed);
        let back = bucket.take("k", 1, start).unwrap();
        assert_eq!((back.allowed, back.retry_after_ms), (false, 3_600_600));
        assert!(bucket.take("k", 0, start).unwrap().allowed, "a look is always allowed");
        assert!(!bucket.take("k", 1, noon).unwrap().allowed);
        assert!(bucket.take("k", 1, noon + Duration::from_millis(600)).unwrap().allowed);
        let day = noon + Duration::from_secs(86_400);
        assert!(bucket.take("k", 100, day).unwrap().allowed);
        assert!(!bucket.take("k", 1, day).unwrap().allowed, "a day ahead gives one burst, not more");
    }

    #[test]
    fn a_reload_keeps_the_counters_of_unchanged_windows_only() {
        let limiter = Limiter::new(Sizes::default());
        let now = limiter.epoch;
        let old = limiter.plugin("limit");
        assert!(old.open("b", &[HUNDRED_A_MINUTE]).unwrap().take("k", 100, now).unwrap().allowed);
        let new = limiter.plugin("limit");
        let same = new.open("b", &[HUNDRED_A_MINUTE]).unwrap();
        drop(old);
        assert!(!same.take("k", 1, now).unwrap().allowed);
        let changed = new.open("b", &[Window { burst: 101, ..HUNDRED_A_MINUTE }]).unwrap();
        assert!(changed.take("k", 101, now).unwrap().allowed);
        assert!(limiter.plugin("other").open("b", &[HUNDRED_A_MINUTE]).unwrap().take("k", 1, now).unwrap().allowed);
        assert!(new.open("c", &[HUNDRED_A_MINUTE]).unwrap().take("k", 1, now).unwrap().allowed);
        drop((same, changed, new));
        assert!(lock(&limiter.plugins).is_empty(), "the last user took everything with it");
    }

    #[test]
    fn a_plugin_holds_its_buckets_without_any_instance() {
        let limiter = Limiter::new(Sizes::default());
        let now = limiter.epoch;
        let buckets = limiter.plugin("limit");
        assert!(buckets.open("b", &[HUNDRED_A_MINUTE]).unwrap().take("k", 100, now).unwrap().allowed);
        assert!(!buckets.open("b", &[HUNDRED_A_MINUTE]).unwrap().take("k", 1, now).unwrap().allowed);
    }

    #[test]
    fn buckets_are_bounded_for_each_plugin() {
        let limiter = Limiter::new(Sizes::default());
        let buckets = limiter.plugin("greedy");
        for number in 0..64 {
            buckets.open(&number.to_string(), &[HUNDRED_A_MINUTE]).unwrap();
        }
        assert_eq!(buckets.open("one more", &[HUNDRED_A_MINUTE]).unwrap_err(), Error::TooManyBuckets);
        assert!(buckets.open("63", &[HUNDRED_A_MINUTE]).is_ok(), "those that are open stay open");
        assert!(limiter.plugin("other").open("one more", &[HUNDRED_A_MINUTE]).is_ok());
    }

    #[test]
    fn windows_that_cannot_be_are_refused_with_the_reason() {
        let limiter = Limiter::new(Sizes::default());
        let good = HUNDRED_A_MINUTE;
        let wrong = [
            (vec![], "1 to 8 windows, not 0"),
            (vec![good; 9], "1 to 8 windows, not 9"),
            (vec![good, Window { limit: 0, ..good }], "limit is at least 1"),
            (vec![Window { burst: 0, ..good }], "burst is at least 1"),
            (vec![Window { period_ms: 0, ..good }], "1 to 2678400000 ms (31 days), not 0"),
            (vec![Window { period_ms: MAX_PERIOD_MS + 1, ..good }], "not 2678400001"),
        ];
        for (windows, expected) in wrong {
            let error = limiter.plugin("p").open("b", &windows).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        assert!(limiter.plugin("p").open("b", &[good; 8]).is_ok());
    }

    #[test]
    fn the_largest_numbers_do_not_overflow() {
        let largest = Window { limit: u64::MAX, period_ms: MAX_PERIOD_MS, burst: u64::MAX };
        let slowest = Window { limit: 1, period_ms: MAX_PERIOD_MS, burst: u64::MAX };
        let (bucket, start) = bucket(&[largest, slowest]);
        let far = start + Duration::from_secs(200 * 365 * 86_400);
        for now in [start, far] {
            for _ in 0..1000 {
                assert!(bucket.take("k", u32::MAX, now).unwrap().allowed);
            }
        }
        let look = bucket.take("k", 0, far).unwrap();
        assert_eq!(look.standings()[0].remaining, u64::MAX - 1000 * u64::from(u32::MAX));
        assert_eq!(look.standings()[1].reset_ms, u64::MAX, "saturates");
    }
}
