//! Names, told apart by what a few instructions see of them.

/// A name of a member, with its first eight bytes at hand: most names are no longer, and different ones differ in them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Name<'a> {
    /// What it stands in, from its beginning on.
    from: &'a [u8],
    len: u32,
    /// The first eight bytes, or all of them and zeros, the first one lowest.
    head: u64,
}

impl<'a> Name<'a> {
    /// The name that stands there. Cheaper where something follows it, as in a document a quote does.
    #[inline(always)]
    pub(crate) fn new(around: &'a [u8], start: u32, len: u32) -> Self {
        let from = around.get(start as usize..).unwrap_or_default();
        let head = eight(from, len);
        Self { from, len, head }
    }

    /// The same, of which the head is known.
    #[inline(always)]
    pub(super) fn with_head(around: &'a [u8], start: u32, len: u32, head: u64) -> Self {
        Self { from: around.get(start as usize..).unwrap_or_default(), len, head }
    }

    pub(crate) fn of(name: &'a str) -> Self {
        Self::new(name.as_bytes(), 0, name.len() as u32)
    }

    pub(crate) fn bytes(self) -> &'a [u8] {
        self.from.get(..self.len as usize).unwrap_or_default()
    }

    /// A number for its first eight bytes: names of the same length up to eight are the same where these are.
    pub(crate) fn head(self) -> u64 {
        self.head
    }

    /// Whether it is this name, whose head is that.
    #[inline(always)]
    pub(crate) fn is(self, name: &str, head: u64) -> bool {
        self.head == head && self.len as usize == name.len() && (name.len() <= 8 || self.bytes() == name.as_bytes())
    }

    /// One of 64 places, by its first eight bytes and its length.
    #[inline(always)]
    pub(crate) fn place(self) -> usize {
        spread(self.head.wrapping_add(self.len.into()))
    }

    /// One of 64 bits that stands for it: two names with different bits are different.
    pub(crate) fn bit(self) -> u64 {
        let next = self.from.get(8..).filter(|_| self.len > 8).map_or(0, |from| eight(from, self.len - 8));
        Self::bit_of(self.head, next, self.len)
    }

    /// The same, of its head, the eight bytes behind that and its length.
    #[inline(always)]
    pub(super) fn bit_of(head: u64, next: u64, len: u32) -> u64 {
        1 << spread((head ^ next.rotate_left(32)).wrapping_add(len.into()))
    }
}

/// How a name is written in most texts: in quotes, with a colon behind it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spelling {
    /// All of that and zeros, and which bytes it has.
    words: [u64; 2],
    mask: [u64; 2],
    /// Of the name.
    len: u32,
}

impl Spelling {
    /// Of a name of up to 13 bytes without characters that need escapes. That of any other one stands nowhere.
    pub(crate) fn of(name: &str) -> Self {
        let plain = name.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\');
        if !plain || name.len() > 13 {
            return Self { words: [1, 1], mask: [0, 0], len: 0 };
        }
        let written = format!("\"{name}\":");
        let word = |bytes: &[u8]| bytes.iter().rev().fold(0, |so_far, byte| so_far << 8 | u64::from(*byte));
        let (first, second) = written.as_bytes().split_at(written.len().min(8));
        let all = |bytes: &[u8]| word(&vec![0xff; bytes.len()]);
        Self { words: [word(first), word(second)], mask: [all(first), all(second)], len: name.len() as u32 }
    }

    /// The length of the name.
    pub(super) fn len(&self) -> u32 {
        self.len
    }

    /// Whether it stands there.
    #[inline(always)]
    pub(super) fn is_at(&self, bytes: &[u8], at: usize) -> bool {
        let Some(there) = bytes.get(at..).and_then(|from| from.first_chunk::<16>()) else { return false };
        let [first, second] = there.as_chunks::<8>().0 else { return false };
        let differs = |word: &[u8; 8], index: usize| (u64::from_le_bytes(*word) & self.mask[index]) ^ self.words[index];
        differs(first, 0) | differs(second, 1) == 0
    }
}

/// One of 64 numbers. Fibonacci's way to bring what differs into the highest bits.
#[inline(always)]
fn spread(number: u64) -> usize {
    (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58) as usize
}

/// The first eight of so many bytes as a number, or all of them and zeros. What follows them may follow.
#[inline(always)]
fn eight(from: &[u8], len: u32) -> u64 {
    match from.first_chunk() {
        Some(first) if len < 8 => u64::from_le_bytes(*first) & !(u64::MAX << (8 * len)),
        Some(first) => u64::from_le_bytes(*first),
        None => short(from, len as usize),
    }
}

/// The same where fewer than eight are left.
#[cold]
fn short(from: &[u8], len: usize) -> u64 {
    from.iter().take(len).rev().fold(0, |so_far, byte| so_far << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_spelling_stands_where_its_name_does(name in "[ab\"\\\\é]{0,15}", other in "[ab]{0,15}", after in "[ab:]{0,20}") {
            let spelling = Spelling::of(&name);
            let plain = !name.contains(['"', '\\']) && name.len() <= 13;
            let text = format!("{{\"{name}\":{after}");
            // Near its end a text is not looked at.
            prop_assert_eq!(spelling.is_at(text.as_bytes(), 1), plain && text.len() >= 17, "{}", text);
            prop_assert!(!plain || spelling.len() as usize == name.len());
            let text = format!("\"{other}\":{after}                ");
            prop_assert_eq!(spelling.is_at(text.as_bytes(), 0), plain && other == name, "{}", text);
        }
    }
}
