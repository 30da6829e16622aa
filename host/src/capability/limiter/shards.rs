//! The host's own counters: a bounded number of keys, in shards so that workers seldom meet at a lock.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use lru::LruCache;

use super::gcra::{self, Gcra};
use super::{MAX_WINDOWS, Taken, lock};

/// Two workers meet at one lock once in 64 calls, and hold it for less than a microsecond.
const SHARDS: usize = 64;
/// How many of the least recently used keys are looked at when one must go.
const CANDIDATES: usize = 16;

/// A key's hash. Long enough that two keys do not share a counter, and keyed so that nobody can make them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key {
    slot: u64,
    shard: u64,
}

/// Makes keys, with a seed of this process: two SipHash-1-3 with keys of their own.
#[derive(Debug)]
pub(super) struct Keys {
    slot: RandomState,
    shard: RandomState,
}

/// How many keys the buckets of one plugin may hold together.
#[derive(Debug)]
pub(super) struct Room {
    held: AtomicUsize,
    most: usize,
}

/// The counters of one bucket.
#[derive(Debug)]
pub(super) struct Shards {
    windows: Vec<Gcra>,
    keys: Arc<Keys>,
    room: Arc<Room>,
    most_per_shard: usize,
    shards: Box<[Mutex<Shard>]>,
}

type Shard = LruCache<Key, Counter, BuildHasherDefault<Slot>>;

#[derive(Debug)]
struct Counter {
    /// From this time on the counter says the same as an absent one. Nanoseconds since the limiter's epoch.
    free_at: u64,
    arrivals: Box<[u128]>,
}

impl Keys {
    pub(super) fn new() -> Self {
        Self { slot: RandomState::new(), shard: RandomState::new() }
    }

    pub(super) fn key(&self, text: &str) -> Key {
        Key { slot: self.slot.hash_one(text), shard: self.shard.hash_one(text) }
    }
}

impl Room {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { held: AtomicUsize::new(0), most })
    }
}

impl Shards {
    pub(super) fn new(windows: Vec<Gcra>, keys: Arc<Keys>, most: usize, room: Arc<Room>) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::new(Shard::unbounded_with_hasher(BuildHasherDefault::default())));
        Self { windows, keys, room, most_per_shard: (most / SHARDS).max(1), shards: shards.collect() }
    }

    pub(super) fn take(&self, key: &str, cost: u32, now: u64) -> Taken {
        let key = self.keys.key(key);
        let mut shard = lock(&self.shards[key.shard as usize % SHARDS]);
        if let Some(counter) = shard.get_mut(&key) {
            let (taken, free_at) = gcra::take(&self.windows, &mut counter.arrivals, cost, now);
            counter.free_at = free_at;
            return taken;
        }
        let mut arrivals = [0; MAX_WINDOWS];
        let arrivals = &mut arrivals[..self.windows.len()];
        let (taken, free_at) = gcra::take(&self.windows, arrivals, cost, now);
        // What took nothing is not worth a place.
        if taken.allowed && cost > 0 {
            let counter = match self.place(&mut shard, now) {
                Some(mut counter) => {
                    counter.arrivals.copy_from_slice(arrivals);
                    Counter { free_at, ..counter }
                }
                None => Counter { free_at, arrivals: (&*arrivals).into() },
            };
            shard.put(key, counter);
        }
        taken
    }

    /// Makes room for one key: none needed, or a counter to use again.
    ///
    /// The oldest counter goes if it has run out. Else, and only where the shard or the plugin is full, one of the least
    /// recently used goes: the one that runs out first, since it has the least left to say. So a client that floods the
    /// bucket with fresh keys drives out those, and not the key that used up its limit.
    fn place(&self, shard: &mut Shard, now: u64) -> Option<Counter> {
        if shard.peek_lru().is_some_and(|(_, oldest)| oldest.free_at <= now) {
            return shard.pop_lru().map(|(_, counter)| counter);
        }
        let full = shard.len() >= self.most_per_shard || self.room.held.load(Ordering::Relaxed) >= self.room.most;
        if full && let Some(victim) = first_to_run_out(shard) {
            return shard.pop(&victim);
        }
        self.room.held.fetch_add(1, Ordering::Relaxed);
        None
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }
}

impl Drop for Shards {
    fn drop(&mut self) {
        let held: usize = self.shards.iter().map(|shard| lock(shard).len()).sum();
        self.room.held.fetch_sub(held, Ordering::Relaxed);
    }
}

fn first_to_run_out(shard: &Shard) -> Option<Key> {
    let oldest_first = shard.iter().rev().take(CANDIDATES);
    oldest_first.min_by_key(|(_, counter)| counter.free_at).map(|(key, _)| *key)
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.slot);
    }
}

/// Takes the hash that a key already is.
#[derive(Debug, Default)]
struct Slot(u64);

impl Hasher for Slot {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u64(&mut self, slot: u64) {
        self.0 = slot;
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |hash, &byte| hash.rotate_left(8) ^ u64::from(byte));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capability::limiter::Window;

    const SECOND: u64 = 1_000_000_000;

    fn shards(window: Window, most: usize, room: &Arc<Room>) -> Shards {
        Shards::new(vec![Gcra::new(&window)], Arc::new(Keys::new()), most, room.clone())
    }

    #[test]
    fn a_million_keys_stay_under_the_cap_and_a_heavy_one_is_not_forgotten() {
        let room = Room::new(usize::MAX);
        let shards = shards(Window { limit: 60, period_ms: 60_000, burst: 60 }, 100_000, &room);
        assert!(shards.take("heavy", 60, 0).allowed);
        for number in 0..1_000_000u32 {
            assert!(shards.take(&number.to_string(), 1, 1).allowed);
        }
        assert!(shards.len() <= 100_000);
        assert!(shards.len() > 95_000, "the cap is used: {}", shards.len());
        assert_eq!(room.held.load(Ordering::Relaxed), shards.len());
        assert!(!shards.take("heavy", 1, 2).allowed, "a flood of fresh keys does not reset a used-up one");
        drop(shards);
        assert_eq!(room.held.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn among_equals_the_least_recently_used_goes() {
        let room = Room::new(usize::MAX);
        let shards = shards(Window { limit: 1, period_ms: 1000, burst: 100 }, SHARDS * 2, &room);
        let same_shard: Vec<String> = (0..10_000)
            .map(|number: u32| number.to_string())
            .filter(|text| shards.keys.key(text).shard.is_multiple_of(SHARDS as u64))
            .take(3)
            .collect();
        let [a, b, c] = &same_shard[..] else { panic!("64 shards and 10,000 keys") };
        let remaining = |key: &str, now| shards.take(key, 0, now).standings()[0].remaining;
        assert!(shards.take(a, 10, 0).allowed);
        assert!(shards.take(b, 10, 0).allowed);
        assert_eq!(remaining(a, 0), 90, "a look at a makes b the oldest");
        assert!(shards.take(c, 10, 0).allowed);
        assert_eq!((remaining(a, 0), remaining(b, 0), remaining(c, 0)), (90, 100, 90));
    }

    #[test]
    fn what_has_run_out_goes_first_and_without_a_full_shard() {
        let room = Room::new(usize::MAX);
        let shards = shards(Window { limit: 1, period_ms: 1000, burst: 10 }, 100_000, &room);
        for second in 0..1000 {
            for number in 0..64 {
                assert!(shards.take(&format!("{second}-{number}"), 1, second * 2 * SECOND).allowed);
            }
        }
        assert!(shards.len() < 2000, "keys that have run out make room: {}", shards.len());
    }

    #[test]
    fn buckets_of_a_plugin_share_their_room() {
        let room = Room::new(1000);
        let window = Window { limit: 1, period_ms: 60_000, burst: 1 };
        let (first, second) = (shards(window, 100_000, &room), shards(window, 100_000, &room));
        for number in 0..10_000u32 {
            assert!(first.take(&number.to_string(), 1, 0).allowed);
            assert!(second.take(&number.to_string(), 1, 0).allowed);
        }
        // A shard that is empty takes one key even so.
        assert!(first.len() + second.len() <= 1000 + 2 * SHARDS);
    }

    #[test]
    fn looks_and_refusals_take_no_place() {
        let room = Room::new(usize::MAX);
        let shards = shards(Window { limit: 1, period_ms: 1000, burst: 1 }, 100, &room);
        assert!(shards.take("a", 0, 0).allowed);
        assert!(!shards.take("b", 2, 0).allowed);
        assert_eq!(shards.len(), 0);
    }
}
