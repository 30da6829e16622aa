//! From bytes to a document, with every limit kept while reading.
//!
//! A short body is a hundred values and names, and what is done for each of them is what reading it costs. So what nearly
//! all of them are, a short string or a short number with more text behind it, has a function that neither loops nor calls
//! anything but at its end: the engine would keep each variable in memory that lives on beyond a call, and asks in each
//! loop whether time is up. All else has a function for any of its kind.

use std::borrow::Cow;
use std::mem;

use super::name::Name;
use super::numeral::{SHORT_DIGITS, number, short_number};
use super::string::{plain, short, unescape};
use super::wrong::{Malformed, Wrong};
use super::{Document, SMALL, Slot};

/// How much a text may hold. Each limit is the most that passes.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    /// Containers within each other.
    pub(crate) depth: u32,
    /// Members of one object.
    pub(crate) members: u32,
    /// Items of one array.
    pub(crate) items: u32,
    /// Bytes of one string, escapes resolved.
    pub(crate) string: u32,
    /// Bytes of one name, escapes resolved.
    pub(crate) name: u32,
    /// Digits of one number, those of its fraction and its exponent included.
    pub(crate) digits: u32,
    /// Values in all.
    pub(crate) values: u32,
    /// Whether a name may come twice in one object.
    pub(crate) duplicates: bool,
    /// Whether a string may hold U+0000, which many recipients take for its end.
    pub(crate) nul: bool,
}

/// Pointers are cut before the step that would make them longer than this.
const POINTER: usize = 512;

/// Reads one JSON text (RFC 8259, UTF-8, without a byte order mark).
pub(crate) fn parse<'t>(body: &'t [u8], limits: &Limits) -> Result<Document<'t>, Malformed> {
    let at_the_top = |wrong| Malformed { pointer: String::new(), wrong };
    let text = std::str::from_utf8(body).map_err(|error| at_the_top(Wrong::NotUtf8(error.valid_up_to())))?;
    if u32::try_from(text.len()).is_err() {
        return Err(at_the_top(Wrong::TooLong));
    }
    if text.starts_with('\u{feff}') {
        return Err(at_the_top(Wrong::ByteOrderMark));
    }
    let document = Document {
        text: Cow::Borrowed(text),
        unescaped: String::new(),
        // Most documents have a value or a name for every 8 to 16 bytes.
        slots: Vec::with_capacity((text.len() / 8 + 8).min(1 << 16)),
        sorted: Vec::new(),
    };
    let mut parser =
        Parser { limits, text, document, outer: Vec::with_capacity(8), inner: Open::new(0, WHOLE), values: 0 };
    match parser.document() {
        Ok(()) => Ok(parser.document),
        Err(wrong) => Err(Malformed { pointer: parser.pointer(wrong), wrong }),
    }
}

impl Document<'_> {
    /// The same document, which holds its text itself.
    pub(crate) fn into_owned(self) -> Document<'static> {
        let Self { text, unescaped, slots, sorted } = self;
        Document { text: Cow::Owned(text.into_owned()), unescaped, slots, sorted }
    }
}

struct Parser<'p, 't> {
    limits: &'p Limits,
    text: &'t str,
    document: Document<'t>,
    /// What is around the innermost container, beginning with the text itself.
    outer: Vec<Open>,
    /// The innermost container.
    inner: Open,
    values: u32,
}

/// A container that has not ended.
struct Open {
    slot: u32,
    /// Members or items so far.
    len: u32,
    /// The bits of an object's names: see [`Name::bit`].
    bits: u64,
    /// The slot of an object's last name.
    name: u32,
    /// Whether two names had the same bit. Only then can one have come twice.
    doubtful: bool,
    /// The byte that ends it: `}`, `]`, or [`WHOLE`].
    end: u8,
}

/// In the place of the byte that ends a container: the text itself, which ends where it ends.
const WHOLE: u8 = 0;

impl Open {
    fn new(slot: u32, end: u8) -> Self {
        Self { slot, len: 0, bits: 0, name: 0, doubtful: false, end }
    }
}

impl Parser<'_, '_> {
    fn document(&mut self) -> Result<(), Wrong> {
        let bytes = self.text.as_bytes();
        let mut at = white(bytes, 0);
        loop {
            match self.inner.end {
                b'}' => at = self.name(at)?,
                b']' => self.item()?,
                _ => {}
            }
            self.values += 1;
            if self.values > self.limits.values {
                return Err(Wrong::Values(self.limits.values));
            }
            at = match bytes.get(at) {
                Some(b'"') => self.string(at)?,
                Some(b'-' | b'0'..=b'9') => self.number(at)?,
                Some(first @ (b'{' | b'[')) => {
                    let end = if *first == b'{' { b'}' } else { b']' };
                    self.open(end)?;
                    at = white(bytes, at + 1);
                    if bytes.get(at) != Some(&end) {
                        continue;
                    }
                    at
                }
                Some(b't') => self.word(at, "true", Slot::Bool(true))?,
                Some(b'f') => self.word(at, "false", Slot::Bool(false))?,
                Some(b'n') => self.word(at, "null", Slot::Null)?,
                _ => return Err(Wrong::Expected("a value", at)),
            };
            // A value has ended, or a container begins that is empty: go on in the container, and out of those that end.
            loop {
                at = white(bytes, at);
                let end = self.inner.end;
                match bytes.get(at) {
                    Some(b',') if end != WHOLE => {
                        at = white(bytes, at + 1);
                        break;
                    }
                    Some(byte) if *byte == end && end != WHOLE => self.close()?,
                    None if end == WHOLE => return Ok(()),
                    _ => {
                        return Err(match end {
                            WHOLE => Wrong::Trailing(at),
                            b'}' => Wrong::Expected("`,` or `}`", at),
                            _ => Wrong::Expected("`,` or `]`", at),
                        });
                    }
                }
                at += 1;
            }
        }
    }

    #[inline(never)]
    fn open(&mut self, end: u8) -> Result<(), Wrong> {
        if self.outer.len() >= self.limits.depth as usize {
            return Err(Wrong::Depth(self.limits.depth));
        }
        let slot = self.document.slots.len() as u32;
        // Its length and its end are known when it is closed.
        self.document.slots.push(Slot::Null);
        self.outer.push(mem::replace(&mut self.inner, Open::new(slot, end)));
        Ok(())
    }

    #[inline(never)]
    fn close(&mut self) -> Result<(), Wrong> {
        let Open { slot, len, doubtful, end, .. } = self.inner;
        let sorted = self.document.sorted.len() as u32;
        let object = end == b'}';
        if object && (len > SMALL || doubtful) {
            self.sort_names()?;
        }
        let end = self.document.slots.len() as u32;
        self.document.slots[slot as usize] =
            if object { Slot::Object { len, end, sorted } } else { Slot::Array { len, end } };
        if let Some(outer) = self.outer.pop() {
            self.inner = outer;
        }
        Ok(())
    }

    /// Sorts the names of an object whose values have all ended, and looks for one that comes twice. Those of a large
    /// object are kept; of two that are the same, the first one comes first.
    #[cold]
    fn sort_names(&mut self) -> Result<(), Wrong> {
        let (open, document) = (&self.inner, &self.document);
        let name = |slot: u32| document.string(slot);
        let mut next = open.slot + 1;
        let mut names = Vec::with_capacity(open.len as usize);
        for _ in 0..open.len {
            names.push(next);
            next = document.after(next + 1);
        }
        names.sort_by(|one, other| name(*one).cmp(&name(*other)));
        if !self.limits.duplicates && names.windows(2).any(|pair| name(pair[0]) == name(pair[1])) {
            return Err(Wrong::Duplicate);
        }
        if open.len > SMALL {
            self.document.sorted.extend(names);
        }
        Ok(())
    }

    /// Reads a name and the colon behind it, and tells where its value begins.
    #[inline(never)]
    fn name(&mut self, at: usize) -> Result<usize, Wrong> {
        let bytes = self.text.as_bytes();
        let Some((len, head, next)) = short(bytes, at).filter(|_| self.has_room()) else { return self.any_name(at) };
        let (start, colon) = (at as u32 + 1, at + len + 2);
        let len = len as u32;
        self.member(Slot::String { start, len }, len, Name::bit_of(head, next, len))?;
        match bytes.get(colon..) {
            Some([b':', next, ..]) if *next > b' ' => Ok(colon + 1),
            _ => self.colon(colon),
        }
    }

    /// The same, whatever the name.
    #[cold]
    #[inline(never)]
    fn any_name(&mut self, at: usize) -> Result<usize, Wrong> {
        let bytes = self.text.as_bytes();
        if bytes.get(at) != Some(&b'"') {
            return Err(Wrong::Expected("a name in quotes", at));
        }
        let (slot, len, after) = self.read(at)?;
        let bit = match slot {
            Slot::Unescaped { start, len } => Name::new(self.document.unescaped.as_bytes(), start, len).bit(),
            _ => Name::new(bytes, at as u32 + 1, len).bit(),
        };
        self.document.slots.reserve(1);
        self.member(slot, len, bit)?;
        self.colon(after)
    }

    #[inline(never)]
    fn colon(&mut self, at: usize) -> Result<usize, Wrong> {
        let bytes = self.text.as_bytes();
        let at = white(bytes, at);
        if bytes.get(at) != Some(&b':') {
            return Err(Wrong::Expected("`:`", at));
        }
        Ok(white(bytes, at + 1))
    }

    /// One more member, with a name of this length.
    #[inline(always)]
    fn member(&mut self, name: Slot, len: u32, bit: u64) -> Result<(), Wrong> {
        if len > self.limits.name {
            return Err(Wrong::Name(self.limits.name));
        }
        let inner = &mut self.inner;
        inner.len += 1;
        if inner.len > self.limits.members {
            return Err(Wrong::Members(self.limits.members));
        }
        inner.name = self.document.slots.len() as u32;
        inner.doubtful |= inner.bits & bit != 0;
        inner.bits |= bit;
        self.put(name);
        Ok(())
    }

    /// Whether one more slot needs no more memory.
    #[inline(always)]
    fn has_room(&self) -> bool {
        self.document.slots.len() < self.document.slots.capacity()
    }

    #[inline(always)]
    fn put(&mut self, slot: Slot) {
        assert!(self.has_room());
        self.document.slots.push(slot);
    }

    #[inline(always)]
    fn item(&mut self) -> Result<(), Wrong> {
        self.inner.len += 1;
        if self.inner.len > self.limits.items { Err(Wrong::Items(self.limits.items)) } else { Ok(()) }
    }

    /// Reads a word, and tells where it ends.
    fn word(&mut self, at: usize, word: &'static str, slot: Slot) -> Result<usize, Wrong> {
        if !self.text.as_bytes()[at..].starts_with(word.as_bytes()) {
            return Err(Wrong::Expected("a value", at));
        }
        self.document.slots.push(slot);
        Ok(at + word.len())
    }

    /// Reads a string, and tells where it ends.
    #[inline(never)]
    fn string(&mut self, at: usize) -> Result<usize, Wrong> {
        let Some((len, ..)) = short(self.text.as_bytes(), at).filter(|_| self.has_room()) else {
            return self.any_string(at);
        };
        if len > self.limits.string as usize {
            return Err(Wrong::String(self.limits.string));
        }
        self.put(Slot::String { start: at as u32 + 1, len: len as u32 });
        Ok(at + len + 2)
    }

    /// The same, whatever the string.
    #[cold]
    #[inline(never)]
    fn any_string(&mut self, at: usize) -> Result<usize, Wrong> {
        let (slot, len, after) = self.read(at)?;
        if len > self.limits.string {
            return Err(Wrong::String(self.limits.string));
        }
        self.document.slots.push(slot);
        Ok(after)
    }

    /// Reads what stands between quotes: what it is, its length, and what follows the closing quote.
    fn read(&mut self, at: usize) -> Result<(Slot, u32, usize), Wrong> {
        let bytes = self.text.as_bytes();
        let start = at + 1;
        let end = plain(bytes, start);
        if bytes.get(end) == Some(&b'"') {
            let (start, len) = (start as u32, (end - start) as u32);
            return Ok((Slot::String { start, len }, len, end + 1));
        }
        let unescaped = &mut self.document.unescaped;
        let kept = unescaped.len();
        let after = unescape(self.text, start, end, self.limits.nul, unescaped)?;
        let (start, len) = (kept as u32, (unescaped.len() - kept) as u32);
        Ok((Slot::Unescaped { start, len }, len, after))
    }

    /// Reads a number, and tells where it ends.
    #[inline(never)]
    fn number(&mut self, at: usize) -> Result<usize, Wrong> {
        let short = short_number(self.text.as_bytes(), at);
        let Some((slot, after)) = short.filter(|_| self.has_room() && self.limits.digits >= SHORT_DIGITS) else {
            return self.any_number(at);
        };
        self.put(slot);
        Ok(after)
    }

    /// The same, whatever the number.
    #[cold]
    #[inline(never)]
    fn any_number(&mut self, at: usize) -> Result<usize, Wrong> {
        let (slot, after) = number(self.text.as_bytes(), at, self.limits.digits)?;
        self.document.slots.push(slot);
        Ok(after)
    }

    /// Where the value is that is wrong; the whole text where that is what is wrong.
    fn pointer(&self, wrong: Wrong) -> String {
        let around = match wrong {
            // What these say is said of the container.
            Wrong::Duplicate | Wrong::Members(_) | Wrong::Items(_) | Wrong::Name(_) => {
                self.outer.len().saturating_sub(1)
            }
            Wrong::Depth(_) | Wrong::String(_) | Wrong::Digits(_) | Wrong::Exponent | Wrong::Values(_) => {
                self.outer.len()
            }
            _ => 0,
        };
        let mut pointer = String::new();
        // The first one is the text itself.
        let containers = self.outer.iter().chain([&self.inner]).skip(1);
        for open in containers.take(around).take_while(|open| open.len > 0) {
            let before = pointer.len();
            if open.end == b'}' {
                push_step(&mut pointer, self.document.string(open.name).unwrap_or_default());
            } else {
                pointer.push_str(&format!("/{}", open.len - 1));
            }
            if pointer.len() > POINTER {
                pointer.truncate(before);
                break;
            }
        }
        pointer
    }
}

/// Where what follows white space begins. Most texts have none but between their lines.
#[inline(always)]
fn white(bytes: &[u8], at: usize) -> usize {
    if bytes.get(at).is_some_and(|byte| *byte <= b' ') { spaces(bytes, at) } else { at }
}

#[inline(never)]
fn spaces(bytes: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\n' | b'\r' | b'\t') = bytes.get(at) {
        at += 1;
    }
    at
}

/// Adds a name to a JSON Pointer (RFC 6901, section 3).
pub(crate) fn push_step(pointer: &mut String, name: &str) {
    pointer.push('/');
    for character in name.chars() {
        match character {
            '~' => pointer.push_str("~0"),
            '/' => pointer.push_str("~1"),
            other => pointer.push(other),
        }
    }
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
