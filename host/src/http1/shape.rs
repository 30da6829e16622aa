//! Shapes of heads: the names of their fields in their order, as they come again and again.
//!
//! One client asks with the same names each time, and so does one upstream answer. To make a header map of them anew is
//! to hash, look up and often allocate for each field: it was a quarter of all that a plain pass did. A head of a known
//! shape takes a copy of the map that was made for an earlier one, and puts its own values in.

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
    /// The names as they were written, each with a colon behind it, which no name has in it.
    names: Vec<u8>,
    /// The names as they are known to us, in the same order, without values and without any name twice.
    map: HeaderMap,
    /// The places of fields that say something about framing or the connection.
    noted: Vec<usize>,
    kinds: Kinds,
}

/// The fields of a head: as a map, what they say about the message, and of which kinds they are.
///
/// # Errors
/// What a name, a value, or the framing has in it that it may not.
pub(super) fn headers(head: &Bytes, fields: &[Header<'_>]) -> Result<(HeaderMap, Said, Kinds), BadHead> {
    let fingerprint = fingerprint(fields);
    SEEN.with_borrow_mut(|seen| {
        let slot = &mut seen[(fingerprint >> 32) as usize % SHAPES];
        if let Some(shape) = slot.shape.as_deref().filter(|shape| shape.is_of(fields)) {
            return shape.fill(head, fields);
        }
        let made = make(head, fields)?;
        if slot.last == fingerprint {
            slot.shape = Shape::of(fields, &made).map(Box::new);
        }
        slot.last = fingerprint;
        Ok(made)
    })
}

/// Tells most shapes from each other; [`Shape::is_of`] looks at every byte.
fn fingerprint(fields: &[Header<'_>]) -> u64 {
    fields.iter().fold(fields.len() as u64, |mixed, field| {
        let name = field.name.as_bytes();
        let ends = [name.first(), name.last()].map(|byte| u64::from(byte.copied().unwrap_or_default()));
        (mixed.rotate_left(5) ^ (name.len() as u64) << 16 ^ ends[0] << 8 ^ ends[1]).wrapping_mul(0x9E37_79B9_7F4A_7C15)
    })
}

/// Makes the map field by field.
fn make(head: &Bytes, fields: &[Header<'_>]) -> Result<(HeaderMap, Said, Kinds), BadHead> {
    let mut headers = HeaderMap::with_capacity(fields.len() + ADDED);
    let (mut said, mut kinds) = (Said::default(), Kinds::default());
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| BadHead::Name)?;
        said.note(&name, field.value)?;
        kinds.note(&name);
        if headers.append(name, value(head, field)?) {
            kinds.note_repeated();
        }
    }
    Ok((headers, said, kinds))
}

/// A value stays where it was read.
fn value(head: &Bytes, field: &Header<'_>) -> Result<HeaderValue, BadHead> {
    HeaderValue::from_maybe_shared(head.slice_ref(field.value)).map_err(|_| BadHead::Value)
}

impl Shape {
    /// The shape of a head, unless it is one that comes seldom or would cost much to keep.
    fn of(fields: &[Header<'_>], (headers, _, kinds): &(HeaderMap, Said, Kinds)) -> Option<Self> {
        let length: usize = fields.iter().map(|field| field.name.len() + 1).sum();
        if kinds.repeated() || fields.len() > MOST_FIELDS || length > MOST_BYTES {
            return None;
        }
        let mut names = Vec::with_capacity(length);
        for field in fields {
            names.extend_from_slice(field.name.as_bytes());
            names.push(b':');
        }
        let mut map = headers.clone();
        map.values_mut().for_each(|value| *value = HeaderValue::from_static(""));
        let noted = map.keys().enumerate().filter(|(_, name)| Said::knows(name)).map(|(place, _)| place).collect();
        Some(Self { names, map, noted, kinds: *kinds })
    }

    fn is_of(&self, fields: &[Header<'_>]) -> bool {
        let mut names = self.names.as_slice();
        for field in fields {
            match names.split_at_checked(field.name.len()) {
                Some((name, [b':', rest @ ..])) if name == field.name.as_bytes() => names = rest,
                _ => return false,
            }
        }
        names.is_empty()
    }

    fn fill(&self, head: &Bytes, fields: &[Header<'_>]) -> Result<(HeaderMap, Said, Kinds), BadHead> {
        let mut said = Said::default();
        let mut headers = self.map.clone();
        for (place, (name, own)) in headers.iter_mut().enumerate() {
            let field = &fields[place];
            if self.noted.contains(&place) {
                said.note(name, field.value)?;
            }
            *own = value(head, field)?;
        }
        Ok((headers, said, self.kinds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<(HeaderMap, Said, Kinds), BadHead> {
        let head = Bytes::copy_from_slice(text.as_bytes());
        let mut fields = [httparse::EMPTY_HEADER; 64];
        let httparse::Status::Complete((_, fields)) = httparse::parse_headers(&head, &mut fields).unwrap() else {
            panic!("{text:?} has no end");
        };
        headers(&head, fields)
    }

    fn pairs(headers: &HeaderMap) -> Vec<(&str, &[u8])> {
        headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect()
    }

    /// Reads a head so often that its shape is known, and compares each time with what was there at first.
    #[test]
    fn a_known_shape_reads_as_an_unknown_one() {
        for text in [
            "\r\n",
            "host: a\r\n\r\n",
            "Host: a\r\nUser-Agent: b\r\nX-Own: \r\ncontent-length: 5\r\nConnection: close, x\r\n\r\n",
            "a: 1\r\nb: 2\r\na: 3\r\n\r\n",
            "te: trailers\r\ntransfer-encoding: chunked\r\nexpect: 100-continue\r\nx_y: 1\r\nforwarded: x\r\n\r\n",
        ] {
            let (first, said, kinds) = read(text).unwrap();
            for _ in 0..4 {
                let (again, again_said, again_kinds) = read(text).unwrap();
                assert_eq!(pairs(&again), pairs(&first), "{text:?}");
                assert_eq!(format!("{again_said:?}"), format!("{said:?}"), "{text:?}");
                assert_eq!(again_kinds, kinds, "{text:?}");
            }
        }
    }

    #[test]
    fn names_that_differ_in_one_letter_or_one_border_are_other_shapes() {
        // Each pair has the same fingerprint: lengths, first and last letters.
        for (one, other) in [("xab", "xcb"), ("x-Ab", "x-ab"), ("xaab", "xabb")] {
            let head = |name: &str| format!("{name}: 1\r\nhost: h\r\n\r\n");
            (0..3).for_each(|_| drop(read(&head(one)).unwrap()));
            for name in [other, one, other] {
                let (headers, ..) = read(&head(name)).unwrap();
                assert_eq!(pairs(&headers)[0].0, name.to_ascii_lowercase(), "{one} {other}");
            }
        }
    }

    #[test]
    fn what_is_wrong_with_a_value_is_seen_in_a_known_shape_too() {
        (0..3).for_each(|_| drop(read("content-length: 5\r\n\r\n").unwrap()));
        assert!(matches!(read("content-length: five\r\n\r\n"), Err(BadHead::Length)));
        (0..3).for_each(|_| drop(read("transfer-encoding: chunked\r\n\r\n").unwrap()));
        assert!(matches!(read("transfer-encoding: gzip, chunked\r\n\r\n"), Err(BadHead::Coding)));
    }

    #[test]
    fn values_of_one_head_never_reach_another() {
        let text = |value: &str| format!("host: {value}\r\nauthorization: {value}\r\n\r\n");
        (0..4).for_each(|_| drop(read(&text("secret")).unwrap()));
        let (headers, ..) = read(&text("")).unwrap();
        assert_eq!(pairs(&headers), [("host", b"".as_slice()), ("authorization", b"")]);
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
            let text: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect::<String>() + "\r\n";
            let (first, _, kinds) = read(&text).unwrap();
            for _ in 0..3 {
                let (again, _, again_kinds) = read(&text).unwrap();
                proptest::prop_assert_eq!(pairs(&again), pairs(&first));
                proptest::prop_assert_eq!(again_kinds, kinds);
            }
        }
    }
}
