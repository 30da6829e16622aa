//! From bytes to values, with every limit kept while reading. What becomes of the values is up to a [`Visitor`].
//!
//! A short body is a hundred values and names, and what is done for each of them is what reading it costs. A call takes
//! forty instructions more than what is called: the engine looks at the stack's end, asks whether time is up, and keeps in
//! memory what lives on beyond it. It asks in each loop, too. So what nearly all values and names are, a short string, a
//! short number, a name that was expected, is read in one function without loops within it, and only what is rare, long or
//! wrong leaves it.

use std::mem;
use std::num::NonZeroUsize;

use super::build::Builder;
use super::name::Name;
use super::number::Number;
use super::numeral::{SHORT_DIGITS, number, short_number};
use super::pointer::pointer;
use super::space::{spaces, white};
use super::string::{plain, short, unescape};
use super::visitor::{End, Kind, UNNUMBERED, Visitor};
use super::wrong::{Malformed, Wrong};
use super::{View, utf8};

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

/// Reads one JSON text (RFC 8259, UTF-8, without a byte order mark), and answers whether it was read to its end: the
/// visitor may have ended it.
pub(crate) fn read(body: &[u8], limits: &Limits, visitor: &mut impl Visitor) -> Result<bool, Malformed> {
    let at_the_top = |wrong| Malformed { pointer: String::new(), wrong };
    utf8::check(body).map_err(|at| at_the_top(Wrong::NotUtf8(at)))?;
    if u32::try_from(body.len()).is_err() {
        return Err(at_the_top(Wrong::TooLong));
    }
    if body.starts_with("\u{feff}".as_bytes()) {
        return Err(at_the_top(Wrong::ByteOrderMark));
    }
    let mut reader = Reader {
        limits: limits.clone(),
        bytes: body,
        unescaped: Vec::new(),
        names: Vec::with_capacity(16),
        outer: Vec::with_capacity(8),
        inner: Open::new(WHOLE, 0),
        left: limits.values,
        wrong: None,
    };
    let read = reader.text(visitor);
    match reader.wrong {
        Some(wrong) => Err(Malformed { pointer: reader.pointer(wrong), wrong }),
        None => Ok(read.is_some()),
    }
}

struct Reader<'r> {
    limits: Limits,
    /// UTF-8.
    bytes: &'r [u8],
    /// Names that were written with escapes, one after the other, and the last such string.
    unescaped: Vec<u8>,
    /// Of all containers that have not ended, those of the innermost at the end.
    names: Vec<Named>,
    /// What is around the innermost container, beginning with the text itself.
    outer: Vec<Open>,
    /// The innermost container.
    inner: Open,
    /// How many values may still come.
    left: u32,
    /// Why reading ended, if it was not the visitor that ended it.
    wrong: Option<Wrong>,
}

/// Where something ends that was read; none where reading ends. In one machine word, since most functions here answer it.
type After = Option<NonZeroUsize>;

/// Where a name is.
#[derive(Debug, Clone, Copy)]
struct Named {
    start: u32,
    len: u32,
    unescaped: bool,
}

/// A container that has not ended.
struct Open {
    /// Members or items so far.
    len: u32,
    /// Where its names begin among all.
    names: u32,
    /// The numbers that the visitor has for its names, a bit for each.
    known: u64,
    /// The bits of its other names: see [`Name::bit`].
    bits: u64,
    /// Whether two names had the same number or bit. Only then can one have come twice.
    doubtful: bool,
    /// The byte that ends it: `}`, `]`, or [`WHOLE`].
    end: u8,
}

/// In the place of the byte that ends a container: the text itself, which ends where it ends.
const WHOLE: u8 = 0;

impl Open {
    fn new(end: u8, names: u32) -> Self {
        Self { len: 0, names, known: 0, bits: 0, doubtful: false, end }
    }
}

impl Reader<'_> {
    /// Reads all of it.
    fn text(&mut self, visitor: &mut impl Visitor) -> After {
        let at = self.value(visitor, white(self.bytes, 0))?.get();
        let at = white(self.bytes, at);
        if at < self.bytes.len() {
            return self.fail(Wrong::Trailing(at));
        }
        NonZeroUsize::new(at)
    }

    /// Reads a value.
    fn value<V: Visitor>(&mut self, visitor: &mut V, mut at: usize) -> After {
        let bytes = self.bytes;
        // Containers that began here and have not ended.
        let mut open = 0_u32;
        loop {
            at = if visitor.builds() {
                self.build(visitor, at)?.get()
            } else {
                let Some(left) = self.left.checked_sub(1) else { return self.fail(Wrong::Values(self.limits.values)) };
                self.left = left;
                match bytes.get(at) {
                    Some(b'"') => self.string(visitor, at)?.get(),
                    Some(b'-' | b'0'..=b'9') => self.number(visitor, at)?.get(),
                    Some(first @ (b'{' | b'[')) => {
                        let end = if *first == b'{' { b'}' } else { b']' };
                        self.open(visitor, end)?;
                        open += 1;
                        at = white(bytes, at + 1);
                        if bytes.get(at) != Some(&end) {
                            at = self.next(visitor, at)?.get();
                            continue;
                        }
                        at
                    }
                    Some(b't') => self.word(visitor, at, "true", View::Bool(true))?.get(),
                    Some(b'f') => self.word(visitor, at, "false", View::Bool(false))?.get(),
                    Some(b'n') => self.word(visitor, at, "null", View::Null)?.get(),
                    _ => return self.fail(Wrong::Expected("a value", at)),
                }
            };
            // A value has ended, or a container begins that is empty: go on in the container, and out of those that end.
            loop {
                if open == 0 {
                    return NonZeroUsize::new(at);
                }
                match bytes.get(at) {
                    Some(b',') => {
                        at = white(bytes, at + 1);
                        break;
                    }
                    Some(byte) if *byte == self.inner.end => {
                        self.close(visitor)?;
                        open -= 1;
                        at += 1;
                    }
                    Some(b' ' | b'\n' | b'\r' | b'\t') => at = spaces(bytes, at),
                    _ if self.inner.end == b'}' => return self.fail(Wrong::Expected("`,` or `}`", at)),
                    _ => return self.fail(Wrong::Expected("`,` or `]`", at)),
                }
            }
            at = self.next(visitor, at)?.get();
        }
    }

    /// Goes on to one more member or item of the innermost container, and tells where its value begins.
    #[inline(always)]
    fn next<V: Visitor>(&mut self, visitor: &mut V, at: usize) -> After {
        if self.inner.end == b'}' {
            return self.name(visitor, at);
        }
        self.inner.len += 1;
        if self.inner.len > self.limits.items {
            return self.fail(Wrong::Items(self.limits.items));
        }
        if visitor.item(self.inner.len - 1) { NonZeroUsize::new(at) } else { None }
    }

    /// Reads a value into a document.
    #[inline(never)]
    fn build<V: Visitor>(&mut self, visitor: &mut V, at: usize) -> After {
        let mut builder = Builder::new(self.bytes, 8);
        let after = self.value(&mut builder, at)?;
        visitor.built(builder.document()).then_some(after)
    }

    #[inline(always)]
    fn open<V: Visitor>(&mut self, visitor: &mut V, end: u8) -> Option<()> {
        if self.outer.len() >= self.limits.depth as usize {
            self.fail(Wrong::Depth(self.limits.depth))?;
        }
        self.outer.push(mem::replace(&mut self.inner, Open::new(end, self.names.len() as u32)));
        visitor.open(if end == b'}' { Kind::Object } else { Kind::Array }).then_some(())
    }

    #[inline(always)]
    fn close<V: Visitor>(&mut self, visitor: &mut V) -> Option<()> {
        let Open { len, names, known, doubtful, end, .. } = self.inner;
        if doubtful && !self.limits.duplicates && self.has_a_name_twice() {
            self.fail(Wrong::Duplicate)?;
        }
        self.names.truncate(names as usize);
        if let Some(outer) = self.outer.pop() {
            self.inner = outer;
        }
        let kind = if end == b'}' { Kind::Object } else { Kind::Array };
        visitor.close(End { kind, len, names: known }).then_some(())
    }

    /// Whether two names of the innermost container are the same.
    #[cold]
    fn has_a_name_twice(&self) -> bool {
        let mut names: Vec<_> =
            self.names[self.inner.names as usize..].iter().map(|name| self.bytes_of(name)).collect();
        names.sort_unstable();
        names.windows(2).any(|pair| pair[0] == pair[1])
    }

    fn bytes_of(&self, name: &Named) -> &[u8] {
        let from = if name.unescaped { &self.unescaped } else { self.bytes };
        super::part(from, name.start, name.len)
    }

    /// Reads a name and the colon behind it, and tells where its value begins.
    #[inline(always)]
    fn name<V: Visitor>(&mut self, visitor: &mut V, at: usize) -> After {
        let bytes = self.bytes;
        if let Some(spelling) = visitor.likely().filter(|spelling| spelling.is_at(bytes, at)) {
            let (start, len) = (at as u32 + 1, spelling.len());
            let number = visitor.likely_came();
            // Where it has no number, its bit may be any.
            self.member(Named { start, len, unescaped: false }, number, || u64::MAX)?;
            return NonZeroUsize::new(white(bytes, at + len as usize + 3));
        }
        self.other_name(visitor, at)
    }

    /// The same, whatever the visitor holds likely.
    #[inline(never)]
    fn other_name<V: Visitor>(&mut self, visitor: &mut V, at: usize) -> After {
        let bytes = self.bytes;
        let Some((len, head, next)) = short(bytes, at) else { return self.any_name(visitor, at) };
        let (start, colon) = (at as u32 + 1, at + len + 2);
        let len = len as u32;
        let name = Name::with_head(bytes, start, len, head);
        let number = visitor.name(name, Some(start));
        self.member(Named { start, len, unescaped: false }, number, || Name::bit_of(head, next, len))?;
        if bytes.get(colon) == Some(&b':') { NonZeroUsize::new(white(bytes, colon + 1)) } else { self.colon(colon) }
    }

    /// The same, whatever the name.
    #[cold]
    #[inline(never)]
    fn any_name<V: Visitor>(&mut self, visitor: &mut V, at: usize) -> After {
        if self.bytes.get(at) != Some(&b'"') {
            return self.fail(Wrong::Expected("a name in quotes", at));
        }
        let (named, after) = self.read(at)?;
        let from = if named.unescaped { &self.unescaped } else { self.bytes };
        let name = Name::new(from, named.start, named.len);
        let (bit, number) = (name.bit(), visitor.name(name, (!named.unescaped).then_some(named.start)));
        self.member(named, number, || bit)?;
        self.colon(after)
    }

    #[inline(never)]
    fn colon(&mut self, at: usize) -> After {
        let at = white(self.bytes, at);
        if self.bytes.get(at) != Some(&b':') {
            return self.fail(Wrong::Expected("`:`", at));
        }
        NonZeroUsize::new(white(self.bytes, at + 1))
    }

    /// One more member, with this name.
    #[inline(always)]
    fn member(&mut self, name: Named, number: Option<u32>, bit: impl FnOnce() -> u64) -> Option<()> {
        if name.len > self.limits.name {
            self.fail(Wrong::Name(self.limits.name))?;
        }
        self.inner.len += 1;
        if self.inner.len > self.limits.members {
            self.fail(Wrong::Members(self.limits.members))?;
        }
        self.names.push(name);
        let inner = &mut self.inner;
        let (seen, bit) = match number? {
            number @ 0..UNNUMBERED => (&mut inner.known, 1 << number),
            _ => (&mut inner.bits, bit()),
        };
        inner.doubtful |= *seen & bit != 0;
        *seen |= bit;
        Some(())
    }

    /// Reads a word, and tells where it ends.
    fn word<V: Visitor>(&mut self, visitor: &mut V, at: usize, word: &str, view: View<'static>) -> After {
        if !self.bytes[at..].starts_with(word.as_bytes()) {
            return self.fail(Wrong::Expected("a value", at));
        }
        if visitor.word(view) { NonZeroUsize::new(at + word.len()) } else { None }
    }

    /// Reads a string, and tells where it ends.
    #[inline(always)]
    fn string<V: Visitor>(&mut self, visitor: &mut V, at: usize) -> After {
        let Some((len, ..)) = short(self.bytes, at) else { return self.any_string(visitor, at) };
        if len > self.limits.string as usize {
            return self.fail(Wrong::String(self.limits.string));
        }
        let start = at as u32 + 1;
        let text = super::part(self.bytes, start, len as u32);
        if visitor.string(text, Some(start)) { NonZeroUsize::new(at + len + 2) } else { None }
    }

    /// The same, whatever the string.
    #[cold]
    #[inline(never)]
    fn any_string<V: Visitor>(&mut self, visitor: &mut V, at: usize) -> After {
        let (string, after) = self.read(at)?;
        if string.len > self.limits.string {
            return self.fail(Wrong::String(self.limits.string));
        }
        let taken = visitor.string(self.bytes_of(&string), (!string.unescaped).then_some(string.start));
        if string.unescaped {
            self.unescaped.truncate(string.start as usize);
        }
        if taken { NonZeroUsize::new(after) } else { None }
    }

    /// Reads what stands between quotes: where it is, and what follows the closing quote.
    fn read(&mut self, at: usize) -> Option<(Named, usize)> {
        let start = at + 1;
        let end = plain(self.bytes, start);
        if self.bytes.get(end) == Some(&b'"') {
            let (start, len) = (start as u32, (end - start) as u32);
            return Some((Named { start, len, unescaped: false }, end + 1));
        }
        let kept = self.unescaped.len();
        match unescape(self.bytes, start, end, self.limits.nul, &mut self.unescaped) {
            Ok(after) => {
                let (start, len) = (kept as u32, (self.unescaped.len() - kept) as u32);
                Some((Named { start, len, unescaped: true }, after))
            }
            Err(wrong) => self.fail(wrong),
        }
    }

    /// Reads a number, and tells where it ends.
    #[inline(always)]
    fn number<V: Visitor>(&mut self, visitor: &mut V, at: usize) -> After {
        let short = short_number(self.bytes, at).filter(|_| self.limits.digits >= SHORT_DIGITS);
        let Some((plain, after)) = short else { return self.any_number(visitor, at) };
        let number = Number::new(self.bytes, at as u32, (after - at) as u32, Some(plain));
        if visitor.number(number) { NonZeroUsize::new(after) } else { None }
    }

    /// The same, whatever the number.
    #[cold]
    #[inline(never)]
    fn any_number<V: Visitor>(&mut self, visitor: &mut V, at: usize) -> After {
        let (plain, after) = match number(self.bytes, at, self.limits.digits) {
            Ok(read) => read,
            Err(wrong) => return self.fail(wrong),
        };
        let number = Number::new(self.bytes, at as u32, (after - at) as u32, plain);
        if visitor.number(number) { NonZeroUsize::new(after) } else { None }
    }

    /// Ends the reading for this reason.
    #[cold]
    #[inline(never)]
    fn fail<T>(&mut self, wrong: Wrong) -> Option<T> {
        self.wrong = Some(wrong);
        None
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
        // The first one is the text itself.
        let containers = self.outer.iter().chain([&self.inner]).skip(1);
        pointer(containers.take(around).take_while(|open| open.len > 0).map(|open| match open.end {
            b'}' => {
                let name = self.names.get((open.names + open.len - 1) as usize);
                name.map(|name| String::from_utf8_lossy(self.bytes_of(name))).unwrap_or_default()
            }
            _ => (open.len - 1).to_string().into(),
        }))
    }
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
