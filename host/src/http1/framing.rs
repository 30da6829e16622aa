//! Where a message ends, and whether another one may follow (RFC 9112, sections 6 and 9.3).

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode, Version};

use super::head::BadHead;

/// Where a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// There is none.
    None,
    /// After so many bytes; more than none.
    Sized(u64),
    /// After its last chunk.
    Chunked,
    /// With the connection. Only responses have that.
    UntilClose,
}

/// What the fields of a head say about its framing and its connection, gathered while they pass.
#[derive(Debug, Default)]
pub(super) struct Said {
    length: Option<u64>,
    lengths: usize,
    chunked: bool,
    close: bool,
    keep_alive: bool,
    pub(super) expects_continue: bool,
    pub(super) takes_trailers: bool,
}

impl Said {
    /// Whether a field of this name says something about framing or the connection.
    pub(super) fn knows(name: &HeaderName) -> bool {
        matches!(*name, header::CONTENT_LENGTH | header::TRANSFER_ENCODING | header::CONNECTION)
            || matches!(*name, header::EXPECT | header::TE)
    }

    /// Takes in one field. What [`Said::knows`] not is passed over.
    pub(super) fn note(&mut self, name: &HeaderName, value: &[u8]) -> Result<(), BadHead> {
        match *name {
            header::CONTENT_LENGTH => {
                let length = content_length(value).ok_or(BadHead::Length)?;
                if self.length.is_some_and(|other| other != length) {
                    return Err(BadHead::Lengths);
                }
                self.length = Some(length);
                self.lengths += 1;
            }
            header::TRANSFER_ENCODING => {
                if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(BadHead::Coding);
                }
                self.chunked = true;
            }
            header::CONNECTION => {
                self.close |= has_token(value, b"close");
                self.keep_alive |= has_token(value, b"keep-alive");
            }
            header::EXPECT => self.expects_continue |= value.eq_ignore_ascii_case(b"100-continue"),
            header::TE => self.takes_trailers |= has_token(value, b"trailers"),
            _ => {}
        }
        Ok(())
    }

    pub(super) fn length_of_request(&self, version: Version) -> Result<Length, BadHead> {
        // Even the same number twice: nobody who means well sends it.
        if self.lengths > 1 {
            return Err(BadHead::Lengths);
        }
        Ok(self.body(version)?.unwrap_or(Length::None))
    }

    pub(super) fn length_of_response(
        &self,
        version: Version,
        method: &Method,
        status: StatusCode,
    ) -> Result<Length, BadHead> {
        let said = self.body(version)?;
        if *method == Method::HEAD || is_bodiless(status) {
            return Ok(Length::None);
        }
        Ok(said.unwrap_or(Length::UntilClose))
    }

    fn body(&self, version: Version) -> Result<Option<Length>, BadHead> {
        match (self.chunked, self.length) {
            (true, _) if version != Version::HTTP_11 => Err(BadHead::CodingVersion),
            (true, Some(_)) => Err(BadHead::LengthAndCoding),
            (true, None) => Ok(Some(Length::Chunked)),
            (false, Some(0)) => Ok(Some(Length::None)),
            (false, Some(length)) => Ok(Some(Length::Sized(length))),
            (false, None) => Ok(None),
        }
    }

    pub(super) fn keeps_alive(&self, version: Version) -> bool {
        !self.close && (version == Version::HTTP_11 || self.keep_alive)
    }

    /// Leaves the one meaning that was found: no coding, one length at most, and none where there is never a body.
    pub(super) fn normalise(&self, status: StatusCode, headers: &mut HeaderMap) {
        if self.chunked {
            headers.remove(header::TRANSFER_ENCODING);
        }
        if self.lengths > 0 && status == StatusCode::NO_CONTENT {
            headers.remove(header::CONTENT_LENGTH);
        } else if let (2.., Some(length)) = (self.lengths, self.length) {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
    }
}

/// Whether responses with this status never have a body (RFC 9112, section 6.3).
#[must_use]
pub fn is_bodiless(status: StatusCode) -> bool {
    status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

/// `1*DIGIT`: no sign, no list, no white space; and no number beyond what can be counted.
fn content_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    value.iter().try_fold(0u64, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

/// Whether a token is in a list of them, as in `Connection`.
#[must_use]
pub fn has_token(list: &[u8], token: &[u8]) -> bool {
    list.split(|byte| *byte == b',').any(|item| item.trim_ascii().eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_digits_alone() {
        for (value, length) in [("0", Some(0)), ("007", Some(7)), ("18446744073709551615", Some(u64::MAX))] {
            assert_eq!(content_length(value.as_bytes()), length, "{value}");
        }
        for bad in ["", "+5", "-1", "5, 5", "5,5", "0x5", " 5", "5 ", "5.0", "18446744073709551616", "\u{a0}5", "٣"] {
            assert_eq!(content_length(bad.as_bytes()), None, "{bad:?}");
        }
    }

    #[test]
    fn tokens_are_whole() {
        assert!(has_token(b"Keep-Alive , CLOSE", b"close"));
        assert!(!has_token(b"closed, not-close", b"close"));
    }
}
