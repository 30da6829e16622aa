//! Why a text is refused.

use std::fmt;

/// Exponents of more digits are refused: nobody can have meant them, and they fit no integer.
pub(super) const EXPONENT_DIGITS: usize = 18;

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
