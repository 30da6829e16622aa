//! Shapes of heads: the names of their fields in their order, as they come again and again.
//!
//! One client asks with the same names each time, and so does one upstream answer. To make a header map of them anew is
//! to hash, look up and often allocate for each field: it was a quarter of all that a plain pass did. A head of a known
//! shape takes a copy of the map that was made for an earlier one, and puts its own values in. Its fields are not even
//! parsed: the names are compared as they are written, and each value is checked as it becomes one.

use std::cell::RefCell;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use httparse::Header;

use super::framing::Said;
use super::head::BadHead;
use crate::headers::Kinds;

/// Shapes that a worker remembers. A power of two.
const SHAPES: usize = 64;
/// Heads with more fields are made anew each time.
const MOST_FIELDS: usize = 48;
/// Heads with longer names, all together, are made anew each time.
const MOST_BYTES: usize = 1024;

/// Room for fields that are added on the way, so that the map is not hashed anew for them.
const ADDED: usize = 6;

thread_local! {
    static SEEN: RefCell<[Slot; SHAPES]> = const { RefCell::new([const { Slot { last: 0, shape: None } }; SHAPES]) };
}

/// A place for one of the shapes that have the same fingerprint's end.
struct Slot {
    /// What was looked for in vain last: a shape is kept when it comes a second time, so that heads which nobody else
    /// sends cost little more than the look.
    last: u64,
    shape: Option<Box<Shape>>,
}

struct Shape {
    /// The names as they were written, each with its colon.
    names: Vec<Box<[u8]>>,
    /// The names as they are known to us, in the same order, without values and without any name twice.
    map: HeaderMap,
    /// The places of fields that say something about framing or the connection.
    noted: Vec<usize>,
    kinds: Kinds,
}

/// The fields of a head: as a map, what they say about the message, and of which kinds they are.
#[derive(Debug)]
pub(super) struct Fields {
    pub(super) headers: HeaderMap,
    pub(super) said: Said,
    pub(super) kinds: Kinds,
}

/// Where the lines of a head end, and what tells most shapes from each other.
#[derive(Debug, PartialEq, Eq)]
pub struct Lines {
    /// Behind the line end of the first line, then of each field.
    ends: [u32; MOST_FIELDS + 1],
    /// How many of those there are, or too many.
    found: usize,
    /// Fields; none where it cannot be a shape's.
    count: usize,
    fingerprint: u64,
}

impl Lines {
    /// Before any line is known.
    #[must_use]
    pub const fn new() -> Self {
        Self { ends: [0; MOST_FIELDS + 1], found: 0, count: 0, fingerprint: 0 }
    }

    /// Those of a whole head that was found in several pieces.
    pub(super) fn of(head: &[u8]) -> Self {
        let mut lines = Self::new();
        let mut begin = 0;
        for end in memchr::memchr_iter(b'\n', head).map(|feed| feed + 1) {
            lines.note(&head[begin..end], end);
            begin = end;
        }
        lines
    }

    /// Takes in the next line, and where it ends in the head. The empty one is the last.
    pub(super) fn note(&mut self, line: &[u8], end: usize) {
        if line == b"\r\n" {
            self.count = if self.found <= self.ends.len() { self.found.saturating_sub(1) } else { 0 };
            return;
        }
        match (self.ends.get_mut(self.found), u32::try_from(end)) {
            (Some(place), Ok(end)) => *place = end,
            _ => self.found = self.ends.len(),
        }
        if let (1.., Some(first)) = (self.found, line.first_chunk::<4>()) {
            let mixed = self.fingerprint.rotate_left(5) ^ u64::from(u32::from_le_bytes(*first));
            self.fingerprint = mixed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        }
        self.found += 1;
    }

    /// The fields, where their shape is known and nothing is wrong with them.
    pub(super) fn known(&self, head: &Bytes, most: usize) -> Option<Fields> {
        if self.count == 0 || self.count > most {
            return None;
        }
        SEEN.with_borrow(|seen| {
            let shape = seen[self.slot()].shape.as_deref().filter(|shape| shape.is_of(head, self))?;
            shape.fill(head, self)
        })
    }

    /// The fields as they were parsed. Their shape is known when it has come twice.
    ///
    /// # Errors
    /// What a name, a value, or the framing has in it that it may not.
    pub(super) fn learn(&self, head: &Bytes, fields: &[Header<'_>]) -> Result<Fields, BadHead> {
        let made = make(head, fields)?;
        if self.count == fields.len() && self.count > 0 {
            SEEN.with_borrow_mut(|seen| {
                let slot = &mut seen[self.slot()];
                if slot.last == self.fingerprint {
                    slot.shape = Shape::of(fields, &made).map(Box::new);
                }
                slot.last = self.fingerprint;
            });
        }
        Ok(made)
    }

    fn slot(&self) -> usize {
        (self.fingerprint >> 32) as usize % SHAPES
    }

    /// The lines of the fields, with their line ends.
    fn fields<'h>(&self, head: &'h [u8]) -> impl Iterator<Item = &'h [u8]> {
        self.ends[..=self.count].windows(2).map(|ends| &head[ends[0] as usize..ends[1] as usize])
    }
}

impl Default for Lines {
    fn default() -> Self {
        Self::new()
    }
}

/// Makes the map field by field.
fn make(head: &Bytes, fields: &[Header<'_>]) -> Result<Fields, BadHead> {
    let mut headers = HeaderMap::with_capacity(fields.len() + ADDED);
    let (mut said, mut kinds) = (Said::default(), Kinds::default());
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| BadHead::Name)?;
        said.note(&name, field.value)?;
        kinds.note(&name);
        if headers.append(name, value(head, field.value).ok_or(BadHead::Value)?) {
            kinds.note_repeated();
        }
    }
    Ok(Fields { headers, said, kinds })
}

/// A value stays where it was read.
fn value(head: &Bytes, value: &[u8]) -> Option<HeaderValue> {
    HeaderValue::from_maybe_shared(head.slice_ref(value)).ok()
}

/// Without the spaces and tabs around it.
fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

impl Shape {
    /// The shape of a head, unless it is one that comes seldom or would cost much to keep.
    fn of(fields: &[Header<'_>], made: &Fields) -> Option<Self> {
        let length: usize = fields.iter().map(|field| field.name.len() + 1).sum();
        if made.kinds.repeated() || fields.len() > MOST_FIELDS || length > MOST_BYTES {
            return None;
        }
        let names = fields.iter().map(|field| [field.name.as_bytes(), b":"].concat().into()).collect();
        let mut map = made.headers.clone();
        map.values_mut().for_each(|value| *value = HeaderValue::from_static(""));
        let noted = map.keys().enumerate().filter(|(_, name)| Said::knows(name)).map(|(place, _)| place).collect();
        Some(Self { names, map, noted, kinds: made.kinds })
    }

    fn is_of(&self, head: &[u8], lines: &Lines) -> bool {
        self.names.len() == lines.count
            && self.names.iter().zip(lines.fields(head)).all(|(name, line)| line.starts_with(name))
    }

    /// None where something is wrong with a value, which is to be said by who parses it.
    fn fill(&self, head: &Bytes, lines: &Lines) -> Option<Fields> {
        let mut said = Said::default();
        let mut headers = self.map.clone();
        let filled = self.names.iter().zip(lines.fields(head)).zip(headers.iter_mut());
        for (place, ((written, line), (name, own))) in filled.enumerate() {
            let text = trim(line[written.len()..].strip_suffix(b"\r\n")?);
            if self.noted.contains(&place) {
                said.note(name, text).ok()?;
            }
            *own = value(head, text)?;
        }
        Some(Fields { headers, said, kinds: self.kinds })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(lines: &[u8]) -> Bytes {
        [b"GET / HTTP/1.1\r\n", lines, b"\r\n"].concat().into()
    }

    /// The fields as a parser has them; none where it refuses them.
    fn parse(head: &Bytes) -> Option<Result<Fields, BadHead>> {
        let mut fields = [httparse::EMPTY_HEADER; 64];
        let mut parsed = httparse::Request::new(&mut fields);
        parsed.parse(head).ok().map(|_| Lines::of(head).learn(head, parsed.headers))
    }

    /// The fields, and whether their shape was known.
    fn read(lines: &str) -> (Result<Fields, BadHead>, bool) {
        let head = head(lines.as_bytes());
        match Lines::of(&head).known(&head, 64) {
            Some(fields) => (Ok(fields), true),
            None => (parse(&head).unwrap(), false),
        }
    }

    fn pairs(headers: &HeaderMap) -> Vec<(&str, &[u8])> {
        headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect()
    }

    /// Everything that was read, to be compared.
    fn all(fields: &Fields) -> String {
        format!("{:?} {:?} {:?}", pairs(&fields.headers), fields.said, fields.kinds)
    }

    /// Reads a head so often that its shape is known, and compares each time with what was there at first.
    #[test]
    fn a_known_shape_reads_as_an_unknown_one() {
        for (lines, may_be_known) in [
            ("", false),
            ("host: a\r\n", true),
            ("Host: a\r\nUser-Agent:b\r\nX-Own: \r\ncontent-length:\t 5 \r\nConnection: close, x\r\n", true),
            ("a: 1\r\nb: 2\r\na: 3\r\n", false),
            ("te: trailers\r\ntransfer-encoding: chunked\r\nexpect: 100-continue\r\nx_y: 1\r\nforwarded: x\r\n", true),
        ] {
            let (first, known) = read(lines);
            assert!(!known);
            for time in 0..4 {
                let (again, known) = read(lines);
                assert_eq!(all(&again.unwrap()), all(first.as_ref().unwrap()), "{lines:?}");
                assert_eq!(known, may_be_known && time > 0, "{lines:?}");
            }
        }
    }

    #[test]
    fn names_that_differ_in_one_letter_or_one_border_are_other_shapes() {
        // Each pair has the same fingerprint: the first letters, and how many there are.
        for (one, other) in [("xabc-b", "xabc-d"), ("x-aB-c", "x-aB-C"), ("xaaa", "xaaab")] {
            let lines = |name: &str| format!("{name}: 1\r\nhost: h\r\n");
            assert_eq!(
                Lines::of(&head(lines(one).as_bytes())).fingerprint,
                Lines::of(&head(lines(other).as_bytes())).fingerprint
            );
            (0..3).for_each(|_| drop(read(&lines(one)).0.unwrap()));
            for name in [other, one, other] {
                let fields = read(&lines(name)).0.unwrap();
                assert_eq!(pairs(&fields.headers)[0].0, name.to_ascii_lowercase(), "{one} {other}");
            }
        }
    }

    #[test]
    fn what_is_wrong_in_a_known_shape_is_left_to_the_parser() {
        (0..3).for_each(|_| drop(read("content-length: 5\r\n").0.unwrap()));
        assert!(matches!(read("content-length: five\r\n"), (Err(BadHead::Length), false)));
        (0..3).for_each(|_| drop(read("transfer-encoding: chunked\r\n").0.unwrap()));
        assert!(matches!(read("transfer-encoding: gzip, chunked\r\n"), (Err(BadHead::Coding), false)));
        (0..3).for_each(|_| drop(read("host: a\r\nx-own: b\r\n").0.unwrap()));
        for bad in ["host: a\0\r\nx-own: b\r\n", "host: a\rb\r\nx-own: b\r\n", "host: a\r\n x-own: b\r\n"] {
            let head = head(bad.as_bytes());
            assert!(Lines::of(&head).known(&head, 64).is_none() && parse(&head).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn no_shape_has_more_fields_than_are_allowed() {
        let head = head(b"host: a\r\nx-a: b\r\n");
        (0..3).for_each(|_| drop(parse(&head)));
        assert!(Lines::of(&head).known(&head, 2).is_some());
        assert!(Lines::of(&head).known(&head, 1).is_none());
        let many: String = (0..60).map(|number| format!("x-{number}: 1\r\n")).collect();
        (0..4).for_each(|_| assert!(!read(&many).1));
    }

    #[test]
    fn values_of_one_head_never_reach_another() {
        let lines = |value: &str| format!("host: {value}\r\nauthorization: {value}\r\n");
        (0..4).for_each(|_| drop(read(&lines("secret")).0.unwrap()));
        let (fields, known) = read(&lines(""));
        assert!(known);
        assert_eq!(pairs(&fields.unwrap().headers), [("host", b"".as_slice()), ("authorization", b"")]);
        SEEN.with_borrow(|seen| {
            let shapes: Vec<&Shape> = seen.iter().filter_map(|slot| slot.shape.as_deref()).collect();
            assert!(!shapes.is_empty());
            assert!(shapes.iter().all(|shape| shape.map.values().all(HeaderValue::is_empty)));
        });
    }

    proptest::proptest! {
        #[test]
        fn any_head_reads_the_same_each_time(
            fields in proptest::collection::vec(("[a-cA-C_-]{1,3}|[Hh]ost|x-forwarded-for", "[a-z ]{0,5}"), 0..6),
        ) {
            let lines = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect::<String>();
            let first = read(&lines).0.unwrap();
            for _ in 0..3 {
                proptest::prop_assert_eq!(all(&read(&lines).0.unwrap()), all(&first));
            }
        }

        /// Whatever stands behind the names of a known shape reads as the parser has it, or is left to it.
        #[test]
        fn a_known_shape_takes_nothing_that_the_parser_does_not(
            one in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..12),
            other in "[ \t:a\r]{0,6}",
        ) {
            (0..3).for_each(|_| drop(read("x-one: a\r\nx-other: b\r\n").0.unwrap()));
            let lines = [b"x-one:", one.as_slice(), b"\r\nx-other:", other.as_bytes(), b"\r\n"].concat();
            let head = head(&lines);
            let known = Lines::of(&head).known(&head, 64);
            let parsed = parse(&head).and_then(Result::ok);
            if let Some(known) = known {
                proptest::prop_assert_eq!(Some(all(&known)), parsed.as_ref().map(all));
            }
        }
    }
}
