//! From bytes to a document, with every limit kept while reading.
//!
//! The place in the text is a local variable, and what is rare, an escape or a mistake, has functions of its own: a short
//! body is a hundred values and names, and what is done for each of them is what reading it costs.

use std::borrow::Cow;

use super::string::{plain, unescape};
use super::wrong::{EXPONENT_DIGITS, Malformed, Wrong};
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
    let mut parser = Parser { limits, text, document, open: Vec::with_capacity(8), values: 0 };
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
    /// The containers around the current place.
    open: Vec<Open>,
    values: u32,
}

/// A container that has not ended.
struct Open {
    slot: u32,
    /// Members or items so far.
    len: u32,
    object: bool,
    /// The slot of an object's last name.
    name: u32,
    /// The bits of an object's names: see [`bit`].
    bits: u64,
    /// Whether two names had the same bit. Only then can one have come twice.
    doubtful: bool,
}

impl Parser<'_, '_> {
    fn document(&mut self) -> Result<(), Wrong> {
        let bytes = self.text.as_bytes();
        let mut at = white(bytes, 0);
        // Whether a name stands before the next value.
        let mut named = false;
        loop {
            if named {
                at = self.name(at)?;
            }
            self.values += 1;
            if self.values > self.limits.values {
                return Err(Wrong::Values(self.limits.values));
            }
            let (slot, end) = match bytes.get(at) {
                Some(b'"') => {
                    let (slot, len, end) = self.string(at)?;
                    if len > self.limits.string {
                        return Err(Wrong::String(self.limits.string));
                    }
                    (Some(slot), end)
                }
                Some(b'-' | b'0'..=b'9') => {
                    let end = number(bytes, at, self.limits.digits)?;
                    (Some(Slot::Number { start: at as u32, len: (end - at) as u32 }), end)
                }
                Some(first @ (b'{' | b'[')) => {
                    named = *first == b'{';
                    self.open(named)?;
                    at = white(bytes, at + 1);
                    if bytes.get(at) != Some(if named { &b'}' } else { &b']' }) {
                        if !named {
                            self.item()?;
                        }
                        continue;
                    }
                    (None, at)
                }
                Some(b't') => (Some(Slot::Bool(true)), word(bytes, at, b"true")?),
                Some(b'f') => (Some(Slot::Bool(false)), word(bytes, at, b"false")?),
                Some(b'n') => (Some(Slot::Null), word(bytes, at, b"null")?),
                _ => return Err(Wrong::Expected("a value", at)),
            };
            if let Some(slot) = slot {
                self.document.slots.push(slot);
            }
            at = end;
            // A value has ended, or a container begins that is empty: go on in the container, and out of those that end.
            loop {
                at = white(bytes, at);
                let Some(open) = self.open.last() else {
                    return if at == bytes.len() { Ok(()) } else { Err(Wrong::Trailing(at)) };
                };
                named = open.object;
                match bytes.get(at) {
                    Some(b',') => {
                        at = white(bytes, at + 1);
                        if !named {
                            self.item()?;
                        }
                        break;
                    }
                    Some(b'}') if named => self.close()?,
                    Some(b']') if !named => self.close()?,
                    _ if named => return Err(Wrong::Expected("`,` or `}`", at)),
                    _ => return Err(Wrong::Expected("`,` or `]`", at)),
                }
                at += 1;
            }
        }
    }

    #[inline]
    fn open(&mut self, object: bool) -> Result<(), Wrong> {
        if self.open.len() >= self.limits.depth as usize {
            return Err(Wrong::Depth(self.limits.depth));
        }
        let slot = self.document.slots.len() as u32;
        // Its length and its end are known when it is closed.
        self.document.slots.push(Slot::Null);
        self.open.push(Open { slot, len: 0, object, name: 0, bits: 0, doubtful: false });
        Ok(())
    }

    fn close(&mut self) -> Result<(), Wrong> {
        let Some(open) = self.open.last() else { return Ok(()) };
        let (slot, len) = (open.slot as usize, open.len);
        let end = self.document.slots.len() as u32;
        self.document.slots[slot] = if open.object {
            let sorted = self.document.sorted.len() as u32;
            if len > SMALL || open.doubtful {
                self.sort_names()?;
            }
            Slot::Object { len, end, sorted }
        } else {
            Slot::Array { len, end }
        };
        self.open.pop();
        Ok(())
    }

    /// Sorts the names of an object whose values have all ended, and looks for one that comes twice. Those of a large
    /// object are kept; of two that are the same, the first one comes first.
    #[cold]
    fn sort_names(&mut self) -> Result<(), Wrong> {
        let Some(open) = self.open.last() else { return Ok(()) };
        let document = &self.document;
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
    #[inline]
    fn name(&mut self, at: usize) -> Result<usize, Wrong> {
        let bytes = self.text.as_bytes();
        if bytes.get(at) != Some(&b'"') {
            return Err(Wrong::Expected("a name in quotes", at));
        }
        let (slot, len, end) = self.string(at)?;
        if len > self.limits.name {
            return Err(Wrong::Name(self.limits.name));
        }
        let bit = match slot {
            Slot::String { start, len } => bit(&bytes[start as usize..][..len as usize]),
            Slot::Unescaped { start, len } => {
                bit(&self.document.unescaped.as_bytes()[start as usize..][..len as usize])
            }
            _ => 0,
        };
        if let Some(open) = self.open.last_mut() {
            open.len += 1;
            if open.len > self.limits.members {
                return Err(Wrong::Members(self.limits.members));
            }
            open.name = self.document.slots.len() as u32;
            open.doubtful |= open.bits & bit != 0;
            open.bits |= bit;
        }
        self.document.slots.push(slot);
        let at = white(bytes, end);
        if bytes.get(at) != Some(&b':') {
            return Err(Wrong::Expected("`:`", at));
        }
        Ok(white(bytes, at + 1))
    }

    #[inline]
    fn item(&mut self) -> Result<(), Wrong> {
        if let Some(open) = self.open.last_mut() {
            open.len += 1;
            if open.len > self.limits.items {
                return Err(Wrong::Items(self.limits.items));
            }
        }
        Ok(())
    }

    /// Reads a string from its opening quote on: what it is, its length, and where it ends.
    #[inline(always)]
    fn string(&mut self, at: usize) -> Result<(Slot, u32, usize), Wrong> {
        let bytes = self.text.as_bytes();
        let start = at + 1;
        let end = start + plain(&bytes[start..]);
        if bytes.get(end) == Some(&b'"') {
            let len = (end - start) as u32;
            return Ok((Slot::String { start: start as u32, len }, len, end + 1));
        }
        self.escaped(start, end)
    }

    /// The same for one with escapes, the first of which is here.
    #[cold]
    fn escaped(&mut self, start: usize, first: usize) -> Result<(Slot, u32, usize), Wrong> {
        let unescaped = &mut self.document.unescaped;
        let kept = unescaped.len();
        let end = unescape(self.text, start, first, self.limits.nul, unescaped)?;
        let len = (unescaped.len() - kept) as u32;
        Ok((Slot::Unescaped { start: kept as u32, len }, len, end))
    }

    /// Where the value is that is wrong; the whole text where that is what is wrong.
    fn pointer(&self, wrong: Wrong) -> String {
        let around = match wrong {
            // What these say is said of the container.
            Wrong::Duplicate | Wrong::Members(_) | Wrong::Items(_) | Wrong::Name(_) => {
                self.open.len().saturating_sub(1)
            }
            Wrong::Depth(_) | Wrong::String(_) | Wrong::Digits(_) | Wrong::Exponent | Wrong::Values(_) => {
                self.open.len()
            }
            _ => 0,
        };
        let mut pointer = String::new();
        for open in self.open[..around].iter().take_while(|open| open.len > 0) {
            let before = pointer.len();
            if open.object {
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

/// One of 64 bits that stands for a name: two names with different bits are different.
#[inline]
fn bit(name: &[u8]) -> u64 {
    let byte = |byte: Option<&u8>| byte.map_or(0, |byte| usize::from(*byte));
    1 << ((name.len() + 5 * byte(name.first()) + 11 * byte(name.last())) % 64)
}

/// Where what follows white space begins.
#[inline(always)]
fn white(bytes: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\n' | b'\r' | b'\t') = bytes.get(at) {
        at += 1;
    }
    at
}

/// Reads a word, and tells where it ends.
fn word(bytes: &[u8], at: usize, word: &'static [u8]) -> Result<usize, Wrong> {
    if bytes[at..].starts_with(word) { Ok(at + word.len()) } else { Err(Wrong::Expected("a value", at)) }
}

/// Reads a number of at most so many digits, and tells where it ends.
#[inline]
fn number(bytes: &[u8], start: usize, most: u32) -> Result<usize, Wrong> {
    let first = start + usize::from(bytes[start] == b'-');
    let mut at = if bytes.get(first) == Some(&b'0') { first + 1 } else { digits(bytes, first)? };
    let mut count = at - first;
    if bytes.get(at) == Some(&b'.') {
        let end = digits(bytes, at + 1)?;
        count += end - (at + 1);
        at = end;
    }
    if let Some(b'e' | b'E') = bytes.get(at) {
        let sign = matches!(bytes.get(at + 1), Some(b'+' | b'-'));
        let first = at + 1 + usize::from(sign);
        at = digits(bytes, first)?;
        if at - first > EXPONENT_DIGITS {
            return Err(Wrong::Exponent);
        }
        count += at - first;
    }
    if count > most as usize { Err(Wrong::Digits(most)) } else { Ok(at) }
}

/// Where digits end, of which there must be one at least.
#[inline(always)]
fn digits(bytes: &[u8], start: usize) -> Result<usize, Wrong> {
    let mut at = start;
    while bytes.get(at).is_some_and(u8::is_ascii_digit) {
        at += 1;
    }
    if at == start { Err(Wrong::Expected("a digit", at)) } else { Ok(at) }
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
