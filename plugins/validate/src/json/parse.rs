//! From bytes to a document, with every limit kept while reading.

use std::borrow::Cow;
use std::fmt;

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

/// Why a text was refused, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Malformed {
    /// A JSON Pointer to the value in question, or to the nearest container whose pointer is not too long.
    pub(crate) pointer: String,
    pub(crate) wrong: Wrong,
}

/// What is wrong with a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// Something else was expected at this byte.
    Expected(&'static str, usize),
    /// Bytes that are no UTF-8, from this one on.
    NotUtf8(usize),
    ByteOrderMark,
    Trailing(usize),
    Control(usize),
    Escape(usize),
    LoneSurrogate(usize),
    Nul(usize),
    Duplicate,
    Depth(u32),
    Members(u32),
    Items(u32),
    String(u32),
    Name(u32),
    Digits(u32),
    Exponent,
    Values(u32),
    TooLong,
}

/// Exponents of more digits are refused: nobody can have meant them, and they fit no integer.
const EXPONENT_DIGITS: usize = 18;

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
    let mut parser = Parser {
        limits,
        text,
        bytes: text.as_bytes(),
        at: 0,
        // Most documents have a value or a name for every 10 to 16 bytes.
        slots: Vec::with_capacity((text.len() / 12 + 8).min(1 << 16)),
        unescaped: String::new(),
        sorted: Vec::new(),
        open: Vec::new(),
        names: Vec::new(),
        values: 0,
    };
    match parser.document() {
        Ok(()) => {
            let Parser { slots, unescaped, sorted, .. } = parser;
            Ok(Document { text: Cow::Borrowed(text), unescaped, slots, sorted })
        }
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
    bytes: &'t [u8],
    at: usize,
    slots: Vec<Slot>,
    unescaped: String,
    sorted: Vec<u32>,
    /// The containers around the current place.
    open: Vec<Open>,
    /// The slots of the names of all objects that are open.
    names: Vec<u32>,
    values: u32,
}

struct Open {
    slot: u32,
    /// Members or items so far.
    len: u32,
    /// For an object, where its names begin in `names`.
    names: Option<usize>,
}

impl Parser<'_, '_> {
    fn document(&mut self) -> Result<(), Wrong> {
        self.white();
        loop {
            let opened = self.value()?;
            if opened {
                continue;
            }
            // A value has ended: go on in its container, and out of those that end with it.
            loop {
                self.white();
                let Some(open) = self.open.last_mut() else {
                    return if self.at == self.bytes.len() { Ok(()) } else { Err(Wrong::Trailing(self.at)) };
                };
                let object = open.names.is_some();
                match self.bytes.get(self.at) {
                    Some(b',') => {
                        self.at += 1;
                        self.white();
                        if object {
                            self.name()?;
                        } else {
                            self.item()?;
                        }
                        break;
                    }
                    Some(b'}') if object => self.close()?,
                    Some(b']') if !object => self.close()?,
                    _ if object => return Err(Wrong::Expected("`,` or `}`", self.at)),
                    _ => return Err(Wrong::Expected("`,` or `]`", self.at)),
                }
            }
        }
    }

    /// Reads a value, or the beginning of a container that is not empty, and then tells so.
    fn value(&mut self) -> Result<bool, Wrong> {
        self.values += 1;
        if self.values > self.limits.values {
            return Err(Wrong::Values(self.limits.values));
        }
        let slot = match self.bytes.get(self.at) {
            Some(b'"') => {
                let (slot, len) = self.string()?;
                if len > self.limits.string {
                    return Err(Wrong::String(self.limits.string));
                }
                slot
            }
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(b'{') => return self.open(true),
            Some(b'[') => return self.open(false),
            Some(b't') => self.word("true", Slot::Bool(true))?,
            Some(b'f') => self.word("false", Slot::Bool(false))?,
            Some(b'n') => self.word("null", Slot::Null)?,
            _ => return Err(Wrong::Expected("a value", self.at)),
        };
        self.slots.push(slot);
        Ok(false)
    }

    fn open(&mut self, object: bool) -> Result<bool, Wrong> {
        if self.open.len() >= self.limits.depth as usize {
            return Err(Wrong::Depth(self.limits.depth));
        }
        let slot = self.slots.len() as u32;
        // Its length and its end are known when it is closed.
        self.slots.push(Slot::Null);
        self.open.push(Open { slot, len: 0, names: object.then_some(self.names.len()) });
        self.at += 1;
        self.white();
        match self.bytes.get(self.at) {
            Some(b'}') if object => self.close().map(|()| false),
            Some(b']') if !object => self.close().map(|()| false),
            _ if object => self.name().map(|()| true),
            _ => self.item().map(|()| true),
        }
    }

    fn close(&mut self) -> Result<(), Wrong> {
        self.at += 1;
        let Some(open) = self.open.last() else { return Ok(()) };
        let end = self.slots.len() as u32;
        let (slot, len, names) = (open.slot as usize, open.len, open.names);
        self.slots[slot] = match names {
            None => Slot::Array { len, end },
            Some(names) => Slot::Object { len, end, sorted: self.names_of(names)? },
        };
        if let Some(names) = names {
            self.names.truncate(names);
        }
        self.open.pop();
        Ok(())
    }

    /// Sorts the names of a large object, and looks for names that come twice.
    fn names_of(&mut self, from: usize) -> Result<u32, Wrong> {
        let (slots, text, unescaped) = (&self.slots, self.text, &self.unescaped);
        let name = |slot: &u32| match slots[*slot as usize] {
            Slot::String { start, len } => &text[start as usize..][..len as usize],
            Slot::Unescaped { start, len } => &unescaped[start as usize..][..len as usize],
            _ => "",
        };
        let names = &mut self.names[from..];
        let start = self.sorted.len() as u32;
        let twice = if names.len() > SMALL as usize {
            // Stable, so that `get` finds the first of two.
            names.sort_by(|one, other| name(one).cmp(name(other)));
            self.sorted.extend_from_slice(names);
            names.windows(2).any(|pair| name(&pair[0]) == name(&pair[1]))
        } else {
            // Lengths tell most names apart.
            let len = |slot: &u32| match slots[*slot as usize] {
                Slot::String { len, .. } | Slot::Unescaped { len, .. } => len,
                _ => 0,
            };
            let same = |one: &u32, other: &u32| len(one) == len(other) && name(one) == name(other);
            let earlier = |(index, slot): (usize, &u32)| names[..index].iter().any(|other| same(other, slot));
            names.iter().enumerate().any(earlier)
        };
        if twice && !self.limits.duplicates { Err(Wrong::Duplicate) } else { Ok(start) }
    }

    /// Reads a name and the colon behind it.
    fn name(&mut self) -> Result<(), Wrong> {
        if self.bytes.get(self.at) != Some(&b'"') {
            return Err(Wrong::Expected("a name in quotes", self.at));
        }
        let (slot, len) = self.string()?;
        if len > self.limits.name {
            return Err(Wrong::Name(self.limits.name));
        }
        if let Some(open) = self.open.last_mut() {
            open.len += 1;
            if open.len > self.limits.members {
                return Err(Wrong::Members(self.limits.members));
            }
        }
        self.names.push(self.slots.len() as u32);
        self.slots.push(slot);
        self.white();
        if self.bytes.get(self.at) != Some(&b':') {
            return Err(Wrong::Expected("`:`", self.at));
        }
        self.at += 1;
        self.white();
        Ok(())
    }

    fn item(&mut self) -> Result<(), Wrong> {
        if let Some(open) = self.open.last_mut() {
            open.len += 1;
            if open.len > self.limits.items {
                return Err(Wrong::Items(self.limits.items));
            }
        }
        Ok(())
    }

    fn word(&mut self, word: &'static str, slot: Slot) -> Result<Slot, Wrong> {
        if !self.bytes[self.at..].starts_with(word.as_bytes()) {
            return Err(Wrong::Expected("a value", self.at));
        }
        self.at += word.len();
        Ok(slot)
    }

    fn number(&mut self) -> Result<Slot, Wrong> {
        let start = self.at;
        if self.bytes[self.at] == b'-' {
            self.at += 1;
        }
        let mut digits = 0;
        if self.bytes.get(self.at) == Some(&b'0') {
            self.at += 1;
            digits += 1;
        } else {
            digits += self.digits()?;
        }
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            digits += self.digits()?;
        }
        if let Some(b'e' | b'E') = self.bytes.get(self.at) {
            self.at += 1;
            if let Some(b'+' | b'-') = self.bytes.get(self.at) {
                self.at += 1;
            }
            let exponent = self.digits()?;
            if exponent > EXPONENT_DIGITS {
                return Err(Wrong::Exponent);
            }
            digits += exponent;
        }
        if digits > self.limits.digits as usize {
            return Err(Wrong::Digits(self.limits.digits));
        }
        Ok(Slot::Number { start: start as u32, len: (self.at - start) as u32 })
    }

    fn digits(&mut self) -> Result<usize, Wrong> {
        let start = self.at;
        while self.bytes.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
        if self.at == start { Err(Wrong::Expected("a digit", self.at)) } else { Ok(self.at - start) }
    }

    /// Reads a string from its opening quote on, and tells its length.
    fn string(&mut self) -> Result<(Slot, u32), Wrong> {
        self.at += 1;
        let start = self.at;
        self.at += plain(&self.bytes[start..]);
        if self.bytes.get(self.at) == Some(&b'"') {
            let len = (self.at - start) as u32;
            self.at += 1;
            return Ok((Slot::String { start: start as u32, len }, len));
        }
        let kept = self.unescaped.len();
        let mut from = start;
        loop {
            self.unescaped.push_str(&self.text[from..self.at]);
            match self.bytes.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    let len = (self.unescaped.len() - kept) as u32;
                    return Ok((Slot::Unescaped { start: kept as u32, len }, len));
                }
                Some(b'\\') => {
                    let character = self.escape()?;
                    self.unescaped.push(character);
                }
                Some(_) => return Err(Wrong::Control(self.at)),
                None => return Err(Wrong::Expected("the end of a string", self.at)),
            }
            from = self.at;
            self.at += plain(&self.bytes[from..]);
        }
    }

    fn escape(&mut self) -> Result<char, Wrong> {
        let at = self.at;
        self.at += 2;
        Ok(match self.bytes.get(at + 1) {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                let first = self.four(at)?;
                let code = match first {
                    0 if !self.limits.nul => return Err(Wrong::Nul(at)),
                    0xd800..=0xdbff => {
                        if self.bytes.get(self.at..self.at + 2) != Some(br"\u") {
                            return Err(Wrong::LoneSurrogate(at));
                        }
                        self.at += 2;
                        let second = self.four(at)?;
                        if !(0xdc00..=0xdfff).contains(&second) {
                            return Err(Wrong::LoneSurrogate(at));
                        }
                        0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00)
                    }
                    code => code,
                };
                char::from_u32(code).ok_or(Wrong::LoneSurrogate(at))?
            }
            _ => return Err(Wrong::Escape(at)),
        })
    }

    fn four(&mut self, escape: usize) -> Result<u32, Wrong> {
        let digits = self.bytes.get(self.at..self.at + 4).ok_or(Wrong::Escape(escape))?;
        let mut code = 0;
        for digit in digits {
            code = code << 4 | char::from(*digit).to_digit(16).ok_or(Wrong::Escape(escape))?;
        }
        self.at += 4;
        Ok(code)
    }

    fn white(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.bytes.get(self.at) {
            self.at += 1;
        }
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
        for (index, open) in self.open[..around].iter().enumerate() {
            let before = pointer.len();
            match open.names {
                None if open.len == 0 => break,
                None => pointer.push_str(&format!("/{}", open.len - 1)),
                Some(names) => {
                    // The last name of this object: the one before those of the next object within it.
                    let next = self.open[index + 1..].iter().find_map(|open| open.names).unwrap_or(self.names.len());
                    let Some(slot) = self.names[names..next].last() else { break };
                    let name = match self.slots[*slot as usize] {
                        Slot::String { start, len } => &self.text[start as usize..][..len as usize],
                        Slot::Unescaped { start, len } => &self.unescaped[start as usize..][..len as usize],
                        _ => break,
                    };
                    push_step(&mut pointer, name);
                }
            }
            if pointer.len() > POINTER {
                pointer.truncate(before);
                break;
            }
        }
        pointer
    }
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

/// How many bytes at the front need no attention in a string: no quote, no backslash, no control character. Eight at a
/// time, since long strings are where the bytes of a body are.
fn plain(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let zero = |word: u64| word.wrapping_sub(ONES) & !word & HIGH;
    let mut at = 0;
    let (words, _) = bytes.as_chunks::<8>();
    for word in words {
        let word = u64::from_le_bytes(*word);
        let control = word.wrapping_sub(ONES * 0x20) & !word & HIGH;
        let special = control | zero(word ^ (ONES * 0x22)) | zero(word ^ (ONES * 0x5c));
        if special != 0 {
            // What is borrowed goes upwards: bits above the lowest may be wrong, and that one is right.
            return at + special.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    let special = |byte: &u8| *byte < 0x20 || *byte == b'"' || *byte == b'\\';
    at + bytes[at..].iter().position(special).unwrap_or(bytes.len() - at)
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expected(what, at) => write!(f, "is not JSON: expected {what} at byte {at}"),
            Self::NotUtf8(at) => write!(f, "is not JSON: not UTF-8 at byte {at}"),
            Self::ByteOrderMark => f.write_str("is not JSON: begins with a byte order mark"),
            Self::Trailing(at) => write!(f, "is not JSON: something follows the value at byte {at}"),
            Self::Control(at) => write!(f, "is not JSON: a control character in a string at byte {at}"),
            Self::Escape(at) => write!(f, "is not JSON: an escape that does not exist at byte {at}"),
            Self::LoneSurrogate(at) => write!(f, "half of a surrogate pair at byte {at}"),
            Self::Nul(at) => write!(f, "the character U+0000 at byte {at}"),
            Self::Duplicate => f.write_str("has a member twice"),
            Self::Depth(limit) => write!(f, "is nested deeper than {limit} levels (max-depth)"),
            Self::Members(limit) => write!(f, "has more than {limit} members (max-members)"),
            Self::Items(limit) => write!(f, "has more than {limit} items (max-items)"),
            Self::String(limit) => write!(f, "is a string of more than {limit} bytes (max-string)"),
            Self::Name(limit) => write!(f, "has a name of more than {limit} bytes (max-name)"),
            Self::Digits(limit) => write!(f, "is a number of more than {limit} digits (max-number-digits)"),
            Self::Exponent => write!(f, "is a number with an exponent of more than {EXPONENT_DIGITS} digits"),
            Self::Values(limit) => write!(f, "more than {limit} values in all (max-values)"),
            Self::TooLong => f.write_str("is longer than 4 GiB"),
        }
    }
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
