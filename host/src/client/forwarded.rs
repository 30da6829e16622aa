//! The elements of `Forwarded` (RFC 7239, section 4), from right to left.
//!
//! From that side, since what the nearest proxy wrote stands at the right end: text that a client put before it, an
//! opened quote for example, cannot change how it is read.

use http::header::{self, HeaderMap};

/// What one proxy said of the request that it received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Element<'a> {
    /// `for`; nothing in an element that is malformed.
    pub node: Option<&'a [u8]>,
    pub proto: Option<&'a [u8]>,
    pub host: Option<&'a [u8]>,
}

/// The elements of all lines, the last one of the last line first. Empty ones are skipped.
pub(super) fn elements(headers: &HeaderMap) -> impl Iterator<Item = Element<'_>> {
    let lines = headers.get_all(header::FORWARDED).iter().rev();
    lines.flat_map(|line| pieces(line.as_bytes(), b',')).filter(|text| !text.is_empty()).map(element)
}

/// What stands between the separators outside quotes, trimmed, from right to left.
fn pieces(text: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let mut quoted = false;
        let at = text.iter().rposition(|byte| {
            quoted ^= *byte == b'"';
            *byte == separator && !quoted
        });
        rest = at.map(|at| &text[..at]);
        Some(text[at.map_or(0, |at| at + 1)..].trim_ascii())
    })
}

/// One element. A parameter that is malformed, or that is there twice, makes it an empty one.
fn element(text: &[u8]) -> Element<'_> {
    let mut element = Element::default();
    for pair in pieces(text, b';').filter(|pair| !pair.is_empty()) {
        let Some((name, value)) = parameter(pair) else {
            return Element::default();
        };
        let slot = if name.eq_ignore_ascii_case(b"for") {
            &mut element.node
        } else if name.eq_ignore_ascii_case(b"proto") {
            &mut element.proto
        } else if name.eq_ignore_ascii_case(b"host") {
            &mut element.host
        } else {
            continue;
        };
        if slot.replace(value).is_some() {
            return Element::default();
        }
    }
    element
}

/// A name and its value without quotes. No address, host or scheme needs a backslash, so that none is unescaped.
fn parameter(pair: &[u8]) -> Option<(&[u8], &[u8])> {
    let equals = pair.iter().position(|byte| *byte == b'=')?;
    let (name, value) = (&pair[..equals], &pair[equals + 1..]);
    let value = match value {
        [b'"', inner @ .., b'"'] => inner,
        bare => bare,
    };
    (!name.is_empty() && !value.iter().any(|byte| matches!(byte, b'"' | b'\\'))).then_some((name, value))
}
