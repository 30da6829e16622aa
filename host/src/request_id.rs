//! What one request is called in the log, at the upstream and at the client.

use std::cell::Cell;

use http::HeaderValue;

/// The identifier of a request: 32 hexadecimal digits. A copy is cheap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(HeaderValue);

/// The identifiers of one worker: unique, and none tells another worker's.
#[derive(Debug)]
pub struct RequestIds {
    /// The digits that all of them begin with.
    prefix: [u8; 16],
    next: Cell<u64>,
}

impl RequestId {
    /// As a field of a head carries it.
    #[must_use]
    pub fn header(&self) -> &HeaderValue {
        &self.0
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}

impl RequestIds {
    /// Begins at a random place.
    #[must_use]
    pub fn new() -> Self {
        let mut seed = [0; 16];
        // Without a random source identifiers are still unique in the worker, by their counter.
        let _ = getrandom::fill(&mut seed);
        let half = |bytes: &[u8]| bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        Self { prefix: digits(half(&seed[..8])), next: Cell::new(half(&seed[8..])) }
    }

    /// The next one.
    #[must_use]
    pub fn next(&self) -> RequestId {
        let number = self.next.get();
        self.next.set(number.wrapping_add(1));
        let mut text = [0; 32];
        text[..16].copy_from_slice(&self.prefix);
        text[16..].copy_from_slice(&digits(number));
        // Hexadecimal digits are always a value; the one that stands for nothing has no other use.
        let mut value = HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static("-"));
        // None comes twice: what compresses heads would remember each in place of fields that do (RFC 7541, section 7.1.3).
        value.set_sensitive(true);
        RequestId(value)
    }
}

fn digits(number: u64) -> [u8; 16] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    std::array::from_fn(|place| DIGITS[(number >> (60 - 4 * place) & 15) as usize])
}

impl Default for RequestIds {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_count_up_in_hexadecimal_digits() {
        let ids = RequestIds { prefix: digits(0x0123_4567_89ab_cdef), next: Cell::new(u64::MAX) };
        assert_eq!(ids.next().as_str(), "0123456789abcdefffffffffffffffff");
        let next = ids.next();
        assert_eq!(next.header(), "0123456789abcdef0000000000000000");
        assert!(next.header().is_sensitive(), "not for the tables of HPACK");
    }

    #[test]
    fn two_workers_have_different_ones() {
        assert_ne!(RequestIds::new().next(), RequestIds::new().next());
    }
}
