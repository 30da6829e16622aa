//! A few values by word, where the words are few but known only as they come.

use std::sync::OnceLock;

/// The label of everything that is not counted apart, as OpenTelemetry writes it for methods.
pub(super) const OTHER: &str = "_OTHER";

/// Up to `N` values by word, and one for all further words. Finding one takes no lock and, once it is there, no
/// allocation: the words are compared in the order in which they first came, and the usual ones come first.
#[derive(Debug)]
pub(super) struct Words<T, const N: usize> {
    slots: Box<[Slot<T>; N]>,
    other: T,
    make: fn() -> T,
}

type Slot<T> = OnceLock<(Box<str>, T)>;

impl<T, const N: usize> Words<T, N> {
    pub(super) fn new(make: fn() -> T) -> Self {
        Self { slots: Box::new([const { OnceLock::new() }; N]), other: make(), make }
    }

    pub(super) fn of(&self, word: &str) -> &T {
        for slot in &*self.slots {
            // Another thread may fill the slot with another word meanwhile; then ours comes into a later one.
            let (found, value) = slot.get_or_init(|| (word.into(), (self.make)()));
            if **found == *word {
                return value;
            }
        }
        &self.other
    }

    /// Those that were used, and the value for all others where the slots did not suffice.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &T)> {
        let used = self.slots.iter().map_while(OnceLock::get).map(|(word, value)| (&**word, value));
        let full = self.slots.last().is_none_or(|slot| slot.get().is_some());
        used.chain(full.then_some((OTHER, &self.other)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn a_word_keeps_its_value_and_the_surplus_shares_one() {
        let words: Words<AtomicU32, 2> = Words::new(AtomicU32::default);
        for word in ["a", "b", "a", "c", "d", "a"] {
            words.of(word).fetch_add(1, Ordering::Relaxed);
        }
        let counts: Vec<_> = words.iter().map(|(word, count)| (word, count.load(Ordering::Relaxed))).collect();
        assert_eq!(counts, [("a", 3), ("b", 1), ("_OTHER", 2)]);
    }

    #[test]
    fn threads_that_race_for_a_slot_do_not_double_a_word() {
        for _ in 0..100 {
            let words: Words<AtomicU32, 8> = Words::new(AtomicU32::default);
            std::thread::scope(|scope| {
                for word in ["a", "b", "c", "a", "b", "c"] {
                    let words = &words;
                    scope.spawn(move || words.of(word).fetch_add(1, Ordering::Relaxed));
                }
            });
            let mut counts: Vec<_> = words.iter().map(|(word, count)| (word, count.load(Ordering::Relaxed))).collect();
            counts.sort_unstable();
            assert_eq!(counts, [("a", 2), ("b", 2), ("c", 2)]);
        }
    }
}
