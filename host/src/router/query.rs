//! Conditions on the query.

use std::borrow::Cow;

use crate::config::ValueMatch;
use crate::path::hex;

/// Whether any parameter of the name has the value. Names and values are decoded as in forms: percent-escapes, and `+`
/// for a space.
pub(super) fn takes(query: Option<&str>, name: &str, expected: &ValueMatch) -> bool {
    let pairs =
        query.into_iter().flat_map(|query| query.split('&')).map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let mut values = pairs.filter(|(key, _)| is(key, name)).map(|(_, value)| value);
    match expected {
        ValueMatch::Present => values.next().is_some(),
        ValueMatch::Exact(exact) => values.any(|value| is(value, exact)),
        ValueMatch::Regex(pattern) => values.any(|value| text(value).is_some_and(|value| pattern.is_match(&value))),
    }
}

fn is(encoded: &str, plain: &str) -> bool {
    encoded.len() >= plain.len() && decoded(encoded).eq(plain.bytes())
}

/// The decoded text; nothing where it is not UTF-8. Borrowed where nothing is encoded.
fn text(encoded: &str) -> Option<Cow<'_, str>> {
    if !encoded.contains(['%', '+']) {
        return Some(Cow::Borrowed(encoded));
    }
    String::from_utf8(decoded(encoded).collect()).ok().map(Cow::Owned)
}

/// A percent sign that begins no escape stands for itself.
fn decoded(encoded: &str) -> impl Iterator<Item = u8> {
    let mut rest = encoded.as_bytes();
    std::iter::from_fn(move || {
        let (first, after) = rest.split_first()?;
        rest = after;
        match (first, after) {
            (b'+', _) => Some(b' '),
            (b'%', [high, low, tail @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => {
                    rest = tail;
                    Some(high << 4 | low)
                }
                _ => Some(b'%'),
            },
            (byte, _) => Some(*byte),
        }
    })
}
