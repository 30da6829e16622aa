//! Exact rate limits, kept by the host.

#[cfg(target_arch = "wasm32")]
use crate::bindings::tollgate::plugin::limiter as wit;

/// One limit: at most `burst` at once, `limit` each period in the long run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// How much is given back in one period. At least 1.
    pub limit: u64,
    /// In milliseconds: 1 to 2,678,400,000, which are 31 days.
    pub period_ms: u64,
    /// The most that can be taken at once. At least 1.
    pub burst: u64,
}

/// How one window stands after a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// How much could be taken now.
    pub remaining: u64,
    /// Milliseconds until the whole burst is available again.
    pub reset_ms: u64,
}

/// The answer to one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// Whether the cost was taken: from every window, or from none.
    pub allowed: bool,
    /// Zero where allowed; else milliseconds, rounded up, until the same call is allowed.
    pub retry_after_ms: u64,
    /// One for each window.
    pub windows: Vec<Standing>,
}

/// Why a call to the limiter failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// A window that cannot be.
    InvalidWindow(String),
    /// More buckets than a plugin may have.
    TooManyBuckets,
    /// The store behind the limiter did not answer in time.
    Unavailable,
}

/// A rate limit of the plugin's configuration. Open it in `configure`.
///
/// Natively it is a stand-in in which no time passes: a key can take `burst` and then nothing more.
#[derive(Debug)]
pub struct Bucket {
    #[cfg(target_arch = "wasm32")]
    name: String,
    #[cfg(target_arch = "wasm32")]
    windows: Vec<wit::Window>,
    /// Taken with the first call. An instance that holds no handle after `configure` can be copied as it is, so that
    /// fresh ones begin configured.
    #[cfg(target_arch = "wasm32")]
    handle: std::cell::OnceCell<wit::Bucket>,
    #[cfg(not(target_arch = "wasm32"))]
    stand_in: stand_in::Bucket,
}

#[cfg(target_arch = "wasm32")]
impl Bucket {
    /// Opens a bucket. Those of one plugin with the same name and windows share their counters.
    pub fn open(name: &str, windows: &[Window]) -> Result<Self, Error> {
        let window = |one: &Window| wit::Window { limit: one.limit, period_ms: one.period_ms, burst: one.burst };
        let windows: Vec<_> = windows.iter().map(window).collect();
        // Whether it can be.
        drop(wit::Bucket::open(name, &windows)?);
        Ok(Self { name: name.to_owned(), windows, handle: std::cell::OnceCell::new() })
    }

    /// Takes `cost` for `key` from every window or from none.
    pub fn take(&self, key: &str, cost: u32) -> Result<Taken, Error> {
        let bucket = match self.handle.get() {
            Some(bucket) => bucket,
            None => {
                let bucket = wit::Bucket::open(&self.name, &self.windows)?;
                self.handle.get_or_init(|| bucket)
            }
        };
        let taken = bucket.take(key, cost)?;
        let standing = |one: wit::Standing| Standing { remaining: one.remaining, reset_ms: one.reset_ms };
        Ok(Taken {
            allowed: taken.allowed,
            retry_after_ms: taken.retry_after_ms,
            windows: taken.windows.into_iter().map(standing).collect(),
        })
    }
}

#[cfg(target_arch = "wasm32")]
impl From<wit::Error> for Error {
    fn from(error: wit::Error) -> Self {
        match error {
            wit::Error::InvalidWindow(why) => Self::InvalidWindow(why),
            wit::Error::TooManyBuckets => Self::TooManyBuckets,
            wit::Error::Unavailable => Self::Unavailable,
        }
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl Bucket {
    /// Opens a bucket.
    pub fn open(name: &str, windows: &[Window]) -> Result<Self, Error> {
        let _ = name;
        Ok(Self { stand_in: stand_in::Bucket::open(windows)? })
    }

    /// Takes `cost` for `key` from every window or from none.
    pub fn take(&self, key: &str, cost: u32) -> Result<Taken, Error> {
        Ok(self.stand_in.take(key, cost.into()))
    }
}

#[cfg(not(target_arch = "wasm32"))]
mod stand_in {
    use std::cell::RefCell;
    use std::collections::HashMap;

    use super::{Error, Standing, Taken, Window};

    const LONGEST_MS: u64 = 31 * 24 * 60 * 60 * 1000;

    #[derive(Debug)]
    pub(super) struct Bucket {
        windows: Vec<Window>,
        used: RefCell<HashMap<String, u64>>,
    }

    impl Bucket {
        pub(super) fn open(windows: &[Window]) -> Result<Self, Error> {
            let wrong = |window: &Window| {
                window.limit == 0 || window.burst == 0 || !(1..=LONGEST_MS).contains(&window.period_ms)
            };
            if windows.is_empty() || windows.len() > 8 || windows.iter().any(wrong) {
                return Err(Error::InvalidWindow(
                    "a zero, a period that is too long, or not 1 to 8 windows".to_owned(),
                ));
            }
            Ok(Self { windows: windows.to_vec(), used: RefCell::default() })
        }

        pub(super) fn take(&self, key: &str, cost: u64) -> Taken {
            let mut all = self.used.borrow_mut();
            let used = all.entry(key.to_owned()).or_default();
            let after = *used + cost;
            let allowed = self.windows.iter().all(|window| after <= window.burst);
            if allowed {
                *used = after;
            }
            let used = *used;
            let period = |window: &Window| window.period_ms.div_ceil(window.limit);
            Taken {
                allowed,
                retry_after_ms: if allowed {
                    0
                } else {
                    self.windows.iter().filter(|window| after > window.burst).map(period).max().unwrap_or(0)
                },
                windows: self
                    .windows
                    .iter()
                    .map(|window| Standing {
                        remaining: window.burst.saturating_sub(used),
                        reset_ms: period(window).saturating_mul(used),
                    })
                    .collect(),
            }
        }
    }
}
