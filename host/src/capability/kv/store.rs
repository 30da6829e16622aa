//! One store: entries in shards, each with the order in which they expire, and a quota over all of them.

use std::collections::BTreeSet;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use hashbrown::HashTable;

use super::{Error, Quota, lock};

/// Two workers meet at one lock once in 16 calls, and hold it for less than a microsecond.
const SHARDS: usize = 16;
/// Keys that are listed at once.
pub(super) const MOST_LISTED: usize = 1000;
const NANOS_PER_MS: u64 = 1_000_000;

/// A named store.
#[derive(Debug)]
pub struct Store {
    quota: Quota,
    epoch: Instant,
    hasher: RandomState,
    bytes: AtomicUsize,
    entries: AtomicUsize,
    shards: [Mutex<Shard>; SHARDS],
}

impl Store {
    /// The value of a key; none where there is none or it has expired. A counter reads as its decimal digits.
    ///
    /// # Errors
    /// `TooLarge` for a key that no entry can have.
    pub fn get(&self, key: &str, now: Instant) -> Result<Option<Arc<[u8]>>, Error> {
        self.check_key(key)?;
        let (now, hash) = (self.nanos(now), self.hash(key));
        let mut shard = self.shard(hash);
        shard.drop_if_expired(hash, key, now, self);
        let value = shard.find(hash, key).map(|entry| entry.value.clone());
        drop(shard);
        Ok(value.map(Value::into_bytes))
    }

    /// Sets a value, for ever or for a time to live in milliseconds. One that is set again starts over.
    ///
    /// # Errors
    /// `TooLarge`, or `Full` where the old value, if any, stays.
    pub fn set(&self, key: &str, value: &[u8], ttl_ms: Option<u64>, now: Instant) -> Result<(), Error> {
        self.check_key(key)?;
        if value.len() > self.quota.value {
            return Err(Error::TooLarge);
        }
        let now = self.nanos(now);
        let value = Value::Bytes(value.into());
        let expires = expiry(ttl_ms, now);
        self.with_room(key, now, |shard, hash| shard.put(hash, key, value.clone(), expires, self))
    }

    /// Removes a key, and tells whether it was there and had not expired.
    ///
    /// # Errors
    /// `TooLarge` for a key that no entry can have.
    pub fn delete(&self, key: &str, now: Instant) -> Result<bool, Error> {
        self.check_key(key)?;
        let (now, hash) = (self.nanos(now), self.hash(key));
        let mut shard = self.shard(hash);
        shard.drop_if_expired(hash, key, now, self);
        Ok(shard.remove(hash, key, self))
    }

    /// Adds `by` to a counter in one step and answers its new value. A missing key counts from zero and gets the time to
    /// live; a present one keeps its own. A value that was set to the decimal digits of an `i64` is a counter too.
    ///
    /// # Errors
    /// `NotACounter` for another value and for a sum outside of `i64`, `TooLarge` for the key, `Full` for a new one.
    pub fn increment(&self, key: &str, by: i64, ttl_ms: Option<u64>, now: Instant) -> Result<i64, Error> {
        self.check_key(key)?;
        let now = self.nanos(now);
        let expires = expiry(ttl_ms, now);
        self.with_room(key, now, |shard, hash| {
            let sum = |old: i64| old.checked_add(by).ok_or(Error::NotACounter);
            let (new, expires) = match shard.find_mut(hash, key) {
                // As large as it was: there is nothing to account for.
                Some(Entry { value: Value::Counter(count), .. }) => {
                    *count = sum(*count)?;
                    return Ok(*count);
                }
                Some(entry) => (sum(entry.value.as_counter().ok_or(Error::NotACounter)?)?, entry.expires),
                None => (sum(0)?, expires),
            };
            shard.put(hash, key, Value::Counter(new), expires, self)?;
            Ok(new)
        })
    }

    /// Keys with a prefix, those behind `after`, in the order of their bytes: the first of them, at most `limit` and at
    /// most 1,000. A shard at a time, so that nobody waits for more than one.
    ///
    /// # Errors
    /// `TooLarge` for a prefix or a key that no entry can have.
    pub fn list(&self, prefix: &str, after: Option<&str>, limit: usize, now: Instant) -> Result<Vec<Arc<str>>, Error> {
        self.check_key(prefix)?;
        self.check_key(after.unwrap_or_default())?;
        let now = self.nanos(now);
        let limit = limit.min(MOST_LISTED);
        let mut first: BTreeSet<Arc<str>> = BTreeSet::new();
        for shard in &self.shards {
            for Entry { key, expires, .. } in &lock(shard).entries {
                let behind = after.is_none_or(|after| **key > *after);
                if *expires <= now || !behind || !key.starts_with(prefix) {
                    continue;
                }
                if first.len() < limit {
                    first.insert(key.clone());
                } else if first.last().is_some_and(|last| key < last) {
                    first.pop_last();
                    first.insert(key.clone());
                }
            }
        }
        Ok(first.into_iter().collect())
    }

    /// Entries, those that have expired and were not yet removed included.
    pub fn len(&self) -> usize {
        self.entries.load(Ordering::Relaxed)
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of keys and values, as the quota counts them.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// Entries of one part of the keys, and the order in which they expire.
#[derive(Debug, Default)]
struct Shard {
    /// Found by the hash that also chose the shard: a key is hashed once in a call.
    entries: HashTable<Entry>,
    expiries: BTreeSet<(u64, Arc<str>)>,
}

#[derive(Debug)]
struct Entry {
    hash: u64,
    key: Arc<str>,
    value: Value,
    /// Nanoseconds since the epoch; `NEVER` without a time to live.
    expires: u64,
}

#[derive(Debug, Clone)]
enum Value {
    /// Shared, so that the lock is not held for the copy into a guest.
    Bytes(Arc<[u8]>),
    Counter(i64),
}

const NEVER: u64 = u64::MAX;

impl Store {
    pub(super) fn new(quota: Quota, epoch: Instant) -> Self {
        Self {
            quota,
            epoch,
            hasher: RandomState::new(),
            bytes: AtomicUsize::new(0),
            entries: AtomicUsize::new(0),
            shards: Default::default(),
        }
    }

    fn check_key(&self, key: &str) -> Result<(), Error> {
        if key.len() > self.quota.key { Err(Error::TooLarge) } else { Ok(()) }
    }

    fn hash(&self, key: &str) -> u64 {
        self.hasher.hash_one(key)
    }

    /// By bits in the middle of the hash: those at its ends find the entry in the shard.
    fn shard(&self, hash: u64) -> MutexGuard<'_, Shard> {
        lock(&self.shards[(hash >> 32) as usize % SHARDS])
    }

    /// Changes the shard of a key; where the store is full, removes all that has expired and tries once more.
    fn with_room<T>(
        &self,
        key: &str,
        now: u64,
        change: impl Fn(&mut Shard, u64) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let hash = self.hash(key);
        {
            let mut shard = self.shard(hash);
            shard.drop_if_expired(hash, key, now, self);
            match change(&mut shard, hash) {
                Err(Error::Full) => {}
                done => return done,
            }
        }
        // One shard at a time: two threads that do this never wait for each other in a circle.
        for shard in &self.shards {
            lock(shard).drop_expired(now, self);
        }
        change(&mut self.shard(hash), hash)
    }

    /// Counts a change of the whole, or refuses it where the store would hold too much. Shrinking is never refused.
    fn account(&self, old: Option<usize>, new: Option<usize>) -> Result<(), Error> {
        let grow = |total: &AtomicUsize, from: usize, to: usize, most: usize| {
            total.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |total| {
                let sum = total - from + to;
                (sum <= most || to <= from).then_some(sum)
            })
        };
        let (from, to) = (usize::from(old.is_some()), usize::from(new.is_some()));
        grow(&self.entries, from, to, self.quota.entries).map_err(|_| Error::Full)?;
        if grow(&self.bytes, old.unwrap_or(0), new.unwrap_or(0), self.quota.bytes).is_err() {
            self.entries.fetch_sub(to - from, Ordering::Relaxed);
            return Err(Error::Full);
        }
        Ok(())
    }

    /// Kept below `NEVER`.
    fn nanos(&self, now: Instant) -> u64 {
        let nanos = now.saturating_duration_since(self.epoch).as_nanos();
        u64::try_from(nanos).unwrap_or(NEVER).min(NEVER - 1)
    }
}

impl Shard {
    fn find(&self, hash: u64, key: &str) -> Option<&Entry> {
        self.entries.find(hash, |entry| *entry.key == *key)
    }

    fn find_mut(&mut self, hash: u64, key: &str) -> Option<&mut Entry> {
        self.entries.find_mut(hash, |entry| *entry.key == *key)
    }

    fn put(&mut self, hash: u64, key: &str, value: Value, expires: u64, store: &Store) -> Result<(), Error> {
        let size = key.len() + value.len();
        match self.entries.find_mut(hash, |entry| *entry.key == *key) {
            Some(entry) => {
                store.account(Some(key.len() + entry.value.len()), Some(size))?;
                if entry.expires != expires {
                    self.expiries.remove(&(entry.expires, entry.key.clone()));
                    if expires != NEVER {
                        self.expiries.insert((expires, entry.key.clone()));
                    }
                }
                (entry.value, entry.expires) = (value, expires);
            }
            None => {
                store.account(None, Some(size))?;
                let key: Arc<str> = key.into();
                if expires != NEVER {
                    self.expiries.insert((expires, key.clone()));
                }
                self.entries.insert_unique(hash, Entry { hash, key, value, expires }, |entry| entry.hash);
            }
        }
        Ok(())
    }

    fn remove(&mut self, hash: u64, key: &str, store: &Store) -> bool {
        let Ok(found) = self.entries.find_entry(hash, |entry| *entry.key == *key) else {
            return false;
        };
        let (entry, _) = found.remove();
        store.account(Some(key.len() + entry.value.len()), None).expect("shrinking is never refused");
        if entry.expires != NEVER {
            self.expiries.remove(&(entry.expires, entry.key));
        }
        true
    }

    fn drop_if_expired(&mut self, hash: u64, key: &str, now: u64, store: &Store) {
        if self.find(hash, key).is_some_and(|entry| entry.expires <= now) {
            self.remove(hash, key, store);
        }
    }

    fn drop_expired(&mut self, now: u64, store: &Store) {
        while let Some((expires, _)) = self.expiries.first()
            && *expires <= now
        {
            let Some((_, key)) = self.expiries.pop_first() else {
                return;
            };
            self.remove(store.hash(&key), &key, store);
        }
    }
}

impl Value {
    fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Counter(_) => size_of::<i64>(),
        }
    }

    fn into_bytes(self) -> Arc<[u8]> {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Counter(count) => count.to_string().into_bytes().into(),
        }
    }

    /// Only the digits that a counter itself would read as: `+1`, `01` and `-0` are no counters.
    fn as_counter(&self) -> Option<i64> {
        match self {
            Self::Counter(count) => Some(*count),
            Self::Bytes(bytes) => {
                let text = std::str::from_utf8(bytes).ok()?;
                let canonical = match text.strip_prefix('-').unwrap_or(text).as_bytes() {
                    [b'0'] => text == "0",
                    [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
                    _ => false,
                };
                canonical.then(|| text.parse().ok()).flatten()
            }
        }
    }
}

fn expiry(ttl_ms: Option<u64>, now: u64) -> u64 {
    ttl_ms.map_or(NEVER, |ttl| now.saturating_add(ttl.saturating_mul(NANOS_PER_MS)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn store(quota: Quota) -> (Store, Instant) {
        let epoch = Instant::now();
        (Store::new(quota, epoch), epoch)
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn keys_are_listed_in_their_order_page_by_page() {
        let (store, now) = store(Quota::default());
        for number in 0..2500 {
            store.set(&format!("n/{number:04}"), b"", None, now).unwrap();
        }
        store.set("other", b"", None, now).unwrap();
        store.set("n/gone", b"", Some(1), now).unwrap();
        let later = now + Duration::from_millis(5);
        let mut seen: Vec<Arc<str>> = Vec::new();
        loop {
            let after = seen.last().cloned();
            let page = store.list("n/", after.as_deref(), usize::MAX, later).unwrap();
            assert!(page.len() <= MOST_LISTED);
            if page.is_empty() {
                break;
            }
            seen.extend(page);
        }
        let all: Vec<Arc<str>> = (0..2500).map(|number| format!("n/{number:04}").into()).collect();
        assert_eq!(seen, all, "neither what has expired nor what begins otherwise");
        assert_eq!(store.list("n/", Some("n/0009"), 2, later).unwrap(), ["n/0010".into(), "n/0011".into()]);
        assert!(store.list("n/", None, 0, later).unwrap().is_empty());
        assert_eq!(store.list("", Some("n/2499"), 9, later).unwrap(), ["other".into()]);
        assert_eq!(store.list(&"k".repeat(1025), None, 1, later), Err(Error::TooLarge));
    }

    #[test]
    fn values_are_set_read_and_deleted() {
        let (store, now) = store(Quota::default());
        assert_eq!(store.get("a", now).unwrap(), None);
        store.set("a", b"\x00one", None, now).unwrap();
        store.set("a", b"\xfftwo", None, now).unwrap();
        assert_eq!(store.get("a", now).unwrap().as_deref(), Some(&b"\xfftwo"[..]));
        assert_eq!((store.len(), store.bytes()), (1, 5));
        assert!(store.delete("a", now).unwrap());
        assert!(!store.delete("a", now).unwrap());
        assert_eq!((store.len(), store.bytes()), (0, 0));
    }

    #[test]
    fn a_time_to_live_ends_to_the_millisecond() {
        let (store, now) = store(Quota::default());
        store.set("a", b"v", Some(100), now).unwrap();
        assert!(store.get("a", now + ms(100) - Duration::from_nanos(1)).unwrap().is_some());
        assert_eq!(store.get("a", now + ms(100)).unwrap(), None);
        assert!(store.is_empty(), "what was found to have expired is gone");

        store.set("a", b"v", Some(100), now).unwrap();
        store.set("a", b"w", None, now).unwrap();
        assert!(store.get("a", now + ms(1_000_000)).unwrap().is_some(), "set again, for ever");
        store.set("a", b"w", Some(0), now).unwrap();
        assert!(!store.delete("a", now).unwrap(), "no time to live at all");
        store.set("b", b"", Some(u64::MAX), now).unwrap();
        assert!(store.get("b", now + ms(1 << 45)).unwrap().is_some());
    }

    #[test]
    fn counters_count_in_one_step_and_keep_their_time_to_live() {
        let (store, now) = store(Quota::default());
        assert_eq!(store.increment("n", 5, Some(100), now), Ok(5));
        assert_eq!(store.increment("n", -7, Some(10_000), now + ms(99)), Ok(-2));
        assert_eq!(store.get("n", now + ms(99)).unwrap().as_deref(), Some(&b"-2"[..]));
        assert_eq!(store.increment("n", 1, None, now + ms(100)), Ok(1), "the first time to live was kept");
        assert_eq!(store.increment("n", i64::MAX, None, now), Err(Error::NotACounter));
        assert_eq!(store.increment("n", 0, None, now), Ok(1), "a refused sum changes nothing");

        for (text, expected) in [("41", Ok(42)), ("-1", Ok(0)), ("0", Ok(1)), ("9223372036854775806", Ok(i64::MAX))] {
            store.set("t", text.as_bytes(), None, now).unwrap();
            assert_eq!(store.increment("t", 1, None, now), expected, "{text}");
        }
        for text in ["", "-", "+1", "01", "-0", "1.0", " 1", "1e3", "x", "9223372036854775808", "٣"] {
            store.set("t", text.as_bytes(), None, now).unwrap();
            assert_eq!(store.increment("t", 1, None, now), Err(Error::NotACounter), "{text}");
        }
    }

    #[test]
    fn sizes_are_bounded() {
        let (store, now) = store(Quota::default());
        let (key, value) = ("k".repeat(1024), vec![0; 64 << 10]);
        store.set(&key, &value, None, now).unwrap();
        assert_eq!(store.set(&(key.clone() + "k"), b"", None, now), Err(Error::TooLarge));
        assert_eq!(store.set("k", &[0; (64 << 10) + 1], None, now), Err(Error::TooLarge));
        assert_eq!(store.get(&(key.clone() + "k"), now), Err(Error::TooLarge));
        assert_eq!(store.increment(&(key.clone() + "k"), 1, None, now), Err(Error::TooLarge));
        assert_eq!(store.delete(&(key + "k"), now), Err(Error::TooLarge));
    }

    #[test]
    fn a_full_store_drops_what_has_expired_in_every_shard_and_then_refuses() {
        let quota = Quota { entries: 100, bytes: 1000, ..Quota::default() };
        let (store, now) = store(quota);
        for number in 0..100 {
            let ttl = (number < 50).then_some(10);
            store.set(&format!("{number:03}"), b"", ttl, now).unwrap();
        }
        assert_eq!(store.set("new", b"", None, now), Err(Error::Full));
        assert_eq!(store.increment("new", 1, None, now), Err(Error::Full));
        assert_eq!(store.set("000", b"old keys change in a full store", Some(10), now), Ok(()));
        assert_eq!(store.set("new", b"", None, now + ms(10)), Ok(()));
        assert_eq!((store.len(), store.bytes()), (51, 51 * 3));

        assert_eq!(store.set("new", &[0; 847], None, now), Ok(()));
        assert_eq!(store.bytes(), 1000);
        assert_eq!(store.set("new", &[0; 848], None, now), Err(Error::Full));
        assert_eq!(store.set("x", b"", None, now), Err(Error::Full), "by bytes");
        assert_eq!(store.len(), 51);
        assert_eq!(store.get("new", now).unwrap().map(|value| value.len()), Some(847), "the old value stays");
        assert_eq!(store.set("new", &[0; 846], None, now), Ok(()), "a smaller value always fits");
    }

    #[test]
    fn threads_lose_no_count_and_the_books_stay_true() {
        let (store, now) = store(Quota { entries: 64, bytes: 4096, ..Quota::default() });
        std::thread::scope(|scope| {
            for thread in 0..16u64 {
                let store = &store;
                scope.spawn(move || {
                    for step in 0..2000u64 {
                        store.increment("count", 1, None, now).unwrap();
                        let key = format!("{}", (thread * 7 + step) % 100);
                        let (ttl, at) = ((step % 3 == 0).then_some(step), now + ms(step));
                        match step % 4 {
                            0 => drop(store.delete(&key, at)),
                            1 => drop(store.get(&key, at)),
                            _ => drop(store.set(&key, &vec![0; (step % 97) as usize], ttl, at)),
                        }
                        assert!(store.len() <= 64 && store.bytes() <= 4096);
                    }
                });
            }
        });
        assert_eq!(store.increment("count", 0, None, now), Ok(32_000));
        let (mut entries, mut bytes) = (0, 0);
        for shard in &store.shards {
            let shard = lock(shard);
            entries += shard.entries.len();
            bytes += shard.entries.iter().map(|entry| entry.key.len() + entry.value.len()).sum::<usize>();
            assert_eq!(shard.expiries.len(), shard.entries.iter().filter(|entry| entry.expires != NEVER).count());
        }
        assert_eq!((store.len(), store.bytes()), (entries, bytes));
    }

    #[derive(Debug, Clone)]
    enum Step {
        Get,
        Set(Vec<u8>, Option<u64>),
        Delete,
        Increment(i64, Option<u64>),
        Wait(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let value = prop_oneof!["[0-9]{1,3}", "[a-z]{0,20}"].prop_map(String::into_bytes);
        let ttl = || proptest::option::of(0..20u64);
        prop_oneof![
            Just(Step::Get),
            (value, ttl()).prop_map(|(value, ttl)| Step::Set(value, ttl)),
            Just(Step::Delete),
            (-9..9i64, ttl()).prop_map(|(by, ttl)| Step::Increment(by, ttl)),
            (0..10u64).prop_map(Step::Wait),
        ]
    }

    proptest! {
            #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

            /// Against a plain map that looks at every expiry each time.
            #[test]
            fn equals_a_plain_map(steps in proptest::collection::vec((0..12u8, step()), 1..200)) {
                let quota = Quota { entries: 8, bytes: 60, ..Quota::default() };
                let (store, epoch) = store(quota);
                let mut model: BTreeMap<String, (Vec<u8>, bool, u64)> = BTreeMap::new();
                let mut time = 0;
                for (key, step) in steps {
                    let (key, now) = (key.to_string(), epoch + ms(time));
                    model.retain(|_, (_, _, expires)| *expires > time);
                    let weight = |counter: bool, value: &[u8]| if counter { 8 } else { value.len() };
                    let fits = |model: &BTreeMap<String, (Vec<u8>, bool, u64)>, key: &str, size: usize| {
                        let bytes: usize = model.iter().map(|(k, (v, counter, _))| k.len() + weight(*counter, v)).sum();
                        match model.get(key) {
                            Some((old, counter, _)) => {
                                let old = weight(*counter, old);
                                size <= old || bytes - old + size <= quota.bytes
                            }
                            None => model.len() < quota.entries && bytes + key.len() + size <= quota.bytes,
                        }
                    };
                    match step {
                        Step::Wait(ms) => time += ms,
                        Step::Get => {
                            let expected = model.get(&key).map(|(value, ..)| value.as_slice());
                            let found = store.get(&key, now).unwrap();
    prop_assert_eq!(found.as_deref(), expected);
                        }
                        Step::Delete => prop_assert_eq!(store.delete(&key, now).unwrap(), model.remove(&key).is_some()),
                        Step::Set(value, ttl) => {
                            let expected = if fits(&model, &key, value.len()) { Ok(()) } else { Err(Error::Full) };
                            prop_assert_eq!(store.set(&key, &value, ttl, now), expected);
                            if expected.is_ok() {
                                model.insert(key, (value, false, ttl.map_or(u64::MAX, |ttl| time + ttl)));
                            }
                        }
                        Step::Increment(by, ttl) => {
                            let expires = ttl.map_or(u64::MAX, |ttl| time + ttl);
                            let text = |value: &[u8]| String::from_utf8(value.to_vec()).unwrap();
                            let (old, expires) = match model.get(&key) {
                                None => (Some(0), expires),
                                Some((value, _, kept)) => {
                                    let parsed = text(value).parse::<i64>().ok();
                                    (parsed.filter(|number| number.to_string() == text(value)), *kept)
                                }
                            };
                            let expected = match old {
                                None => Err(Error::NotACounter),
                                Some(_) if !fits(&model, &key, 8) => Err(Error::Full),
                                Some(old) => Ok(old + by),
                            };
                            prop_assert_eq!(store.increment(&key, by, ttl, now), expected);
                            if let Ok(new) = expected {
                                model.insert(key, (new.to_string().into_bytes(), true, expires));
                            }
                        }
                    }
                    prop_assert!(store.len() <= quota.entries && store.bytes() <= quota.bytes);
                }
            }
        }
}
