//! Small shared state: the stores behind `tollgate:plugin/kv`.
//!
//! [`Stores`] belongs to the process and outlives every reload. A loaded plugin holds the [`Store`]s it was granted,
//! and a store lives as long as one loaded plugin holds it: the next configuration is loaded while the last one still
//! serves, so that a store that both grant keeps what is in it.

mod guest;
mod store;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

pub use guest::{Granted, StoreHandle};
pub(crate) use guest::{Guest, link};

pub use store::Store;

/// All key-value stores of the process.
#[derive(Debug)]
pub struct Stores {
    quota: Quota,
    /// The beginning of time: entries keep nanoseconds since then.
    epoch: Instant,
    stores: Mutex<HashMap<Box<str>, Weak<Store>>>,
}

/// What a store may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// The longest key, in bytes. Default 1 KiB.
    pub key: usize,
    /// The longest value, in bytes. Default 64 KiB.
    pub value: usize,
    /// Bytes of all keys and values of a store. Default 16 MiB. A counter counts as 8.
    pub bytes: usize,
    /// Entries of a store. Default 100,000; each costs about 150 bytes beside its key and value.
    pub entries: usize,
}

impl Default for Quota {
    fn default() -> Self {
        Self { key: 1 << 10, value: 64 << 10, bytes: 16 << 20, entries: 100_000 }
    }
}

/// Why a store did not do what it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Error {
    /// A key or a value longer than the quota allows.
    TooLarge,
    /// The store is full, and nothing in it has expired.
    Full,
    /// `increment` on a value that is not a counter, or beyond its range.
    NotACounter,
}

impl Stores {
    /// No store yet; each that is opened gets this quota. Time begins now.
    pub fn new(quota: Quota) -> Self {
        Self { quota, epoch: Instant::now(), stores: Mutex::default() }
    }

    /// The store of this name, empty where nobody holds it. For the load of a plugin that was granted it.
    pub fn open(&self, name: &str) -> Arc<Store> {
        let mut stores = lock(&self.stores);
        stores.retain(|_, store| store.strong_count() > 0);
        if let Some(store) = stores.get(name).and_then(Weak::upgrade) {
            return store;
        }
        let store = Arc::new(Store::new(self.quota, self.epoch));
        stores.insert(name.into(), Arc::downgrade(&store));
        store
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLarge => "the key or the value is too long",
            Self::Full => "the store is full",
            Self::NotACounter => "the value is not a counter, or the sum is beyond its range",
        })
    }
}

impl std::error::Error for Error {}

/// Nothing panics while it holds one of these locks, and each value is whole between two statements.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_lives_as_long_as_a_loaded_plugin_holds_it() {
        let stores = Stores::new(Quota::default());
        let now = stores.epoch;
        let old = stores.open("sessions");
        old.set("a", b"v", None, now).unwrap();
        let new = stores.open("sessions");
        drop(old);
        assert!(new.get("a", now).unwrap().is_some());
        assert!(stores.open("other").get("a", now).unwrap().is_none());
        drop(new);
        assert!(stores.open("sessions").get("a", now).unwrap().is_none());
    }
}
