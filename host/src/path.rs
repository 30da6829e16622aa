//! One canonical path: the same bytes choose the route, go to plugins and go to the upstream.
//!
//! RFC 3986, sections 5.2.4 (dot segments) and 6.2.2 (case and percent-encoding), and stricter than it wherever two
//! servers are known to read one path in two ways.

use std::borrow::Cow;
use std::fmt;

use crate::error::{Error, Reason};

/// Brings a path, without its query, into canonical form:
/// - dot segments resolved, several slashes in a row made one;
/// - escapes of unreserved characters decoded, all others with capital digits;
/// - printable ASCII that RFC 3986 does not allow in a path (`"<>[]^` and the like) escaped.
///
/// Borrowed exactly if it was canonical already, and then without allocation. `%2F` is refused unless
/// `keep_encoded_slash`; kept, it stays an escape, and the path with it read as a slash must be canonical too. An escaped
/// percent sign stays one: `%2561` is not `a`.
///
/// # Errors
/// A path that other programs could read in another way, or not at all.
pub fn canonical(raw: &str, keep_encoded_slash: bool) -> Result<Cow<'_, str>, PathError> {
    if is_canonical(raw.as_bytes(), keep_encoded_slash) {
        return Ok(Cow::Borrowed(raw));
    }
    rebuild(raw.as_bytes(), keep_encoded_slash).map(Cow::Owned)
}

/// Whether a canonical path has an escaped slash in it.
#[must_use]
pub fn has_encoded_slash(path: &str) -> bool {
    path.contains("%2F")
}

/// Why a path was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathError {
    /// It does not begin with a slash.
    NotAbsolute,
    /// A control character or a byte outside ASCII, or an escape of a control character.
    Control,
    /// `\` or `%5C`, which some servers read as a slash.
    Backslash,
    /// A percent sign without two hexadecimal digits.
    Escape,
    /// `%2F`, where it is not kept, or where it hides a dot segment or an empty one.
    EncodedSlash,
    /// A dot segment with parameters (`..;x`), which some servers resolve and others do not.
    DotParameter,
    /// Escapes that are an overlong form of UTF-8, which only careless decoders take.
    Overlong,
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAbsolute => "the path does not begin with a slash",
            Self::Control => "the path has a control character or a byte outside ASCII in it",
            Self::Backslash => "the path has a backslash in it",
            Self::Escape => "the path has a percent sign without two hexadecimal digits in it",
            Self::EncodedSlash => "the path has an escaped slash in it that is not allowed there",
            Self::DotParameter => "the path has a dot segment with parameters in it",
            Self::Overlong => "the path has an overlong form of UTF-8 in it",
        })
    }
}

impl std::error::Error for PathError {}

impl From<PathError> for Error {
    fn from(error: PathError) -> Self {
        Self::because(Reason::BadPath, error.to_string())
    }
}

/// What a byte of a path means, raw or as the value of an escape.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Stands for itself, and is never escaped.
    Unreserved,
    /// A sub-delimiter, `:` or `@`: allowed raw, and another thing than its escape.
    Delimiter,
    Slash,
    Percent,
    Backslash,
    /// Printable, but only as an escape.
    Escaped,
    Control,
    /// Outside ASCII: only as an escape.
    High,
}

const CLASS: [Class; 256] = {
    let mut table = [Class::Escaped; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = match byte as u8 {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => Class::Unreserved,
            b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' | b':' | b'@' => {
                Class::Delimiter
            }
            b'/' => Class::Slash,
            b'%' => Class::Percent,
            b'\\' => Class::Backslash,
            0..=0x1f | 0x7f => Class::Control,
            0x80..=0xff => Class::High,
            _ => Class::Escaped,
        };
        byte += 1;
    }
    table
};

/// Whether nothing is to do. Says no for everything that is to be refused, too.
fn is_canonical(path: &[u8], keep_encoded_slash: bool) -> bool {
    let Some((b'/', rest)) = path.split_first() else {
        return false;
    };
    let mut segment = 0;
    let mut at = 0;
    // Whether there is an escape or a `;`: without one, nothing can be hidden.
    let mut rare = false;
    while at < rest.len() {
        match CLASS[usize::from(rest[at])] {
            Class::Unreserved => at += 1,
            Class::Delimiter => {
                rare |= rest[at] == b';';
                at += 1;
            }
            Class::Slash => {
                if at == segment || is_dots(&rest[segment..at]) {
                    return false;
                }
                at += 1;
                segment = at;
            }
            Class::Percent => {
                let Ok(escape) = Escape::read(&rest[at..]) else {
                    return false;
                };
                if escape.decoded().is_some()
                    || !escape.is_upper(&rest[at..])
                    || (escape.value == b'/' && !keep_encoded_slash)
                {
                    return false;
                }
                rare = true;
                at += 3;
            }
            Class::Backslash | Class::Escaped | Class::Control | Class::High => return false,
        }
    }
    let unhidden = || rest.split(|byte| *byte == b'/').all(|segment| check(segment).is_ok()) && hides_nothing(rest);
    !is_dots(&rest[segment..]) && (!rare || unhidden())
}

/// The canonical form, or why there is none.
fn rebuild(path: &[u8], keep_encoded_slash: bool) -> Result<String, PathError> {
    let Some((b'/', rest)) = path.split_first() else {
        return Err(PathError::NotAbsolute);
    };
    let mut out = String::with_capacity(path.len() + 8);
    let mut segments = rest.split(|byte| *byte == b'/').peekable();
    while let Some(raw) = segments.next() {
        let last = segments.peek().is_none();
        let begin = out.len();
        out.push('/');
        decode(&mut out, raw, keep_encoded_slash)?;
        let segment = &out.as_bytes()[begin + 1..];
        check(segment)?;
        match segment {
            [] | [b'.'] => out.truncate(begin),
            [b'.', b'.'] => {
                out.truncate(begin);
                out.truncate(out.rfind('/').unwrap_or(0));
            }
            _ => continue,
        }
        // `/a/`, `/a/.` and `/a/b/..` all name the directory `/a/`.
        if last {
            out.push('/');
        }
    }
    if hides_nothing(&out.as_bytes()[1..]) { Ok(out) } else { Err(PathError::EncodedSlash) }
}

/// Appends one segment with its escapes in normal form.
fn decode(out: &mut String, segment: &[u8], keep_encoded_slash: bool) -> Result<(), PathError> {
    let mut rest = segment;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match CLASS[usize::from(byte)] {
            Class::Unreserved | Class::Delimiter => out.push(char::from(byte)),
            Class::Escaped => push_escape(out, byte),
            Class::Backslash => return Err(PathError::Backslash),
            // There is none in a segment.
            Class::Slash | Class::Control | Class::High => return Err(PathError::Control),
            Class::Percent => {
                let escape = Escape::read_after_percent(after)?;
                if escape.value == b'/' && !keep_encoded_slash {
                    return Err(PathError::EncodedSlash);
                }
                match escape.decoded() {
                    Some(decoded) => out.push(char::from(decoded)),
                    None => push_escape(out, escape.value),
                }
                rest = &after[2..];
            }
        }
    }
    Ok(())
}

fn push_escape(out: &mut String, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.extend(['%', char::from(DIGITS[usize::from(byte >> 4)]), char::from(DIGITS[usize::from(byte & 15)])]);
}

/// A percent-escape whose value may be in a path.
struct Escape {
    value: u8,
}

impl Escape {
    fn read(percent_and_digits: &[u8]) -> Result<Self, PathError> {
        Self::read_after_percent(&percent_and_digits[1..])
    }

    fn read_after_percent(digits: &[u8]) -> Result<Self, PathError> {
        let [high, low, ..] = digits else {
            return Err(PathError::Escape);
        };
        let (Some(high), Some(low)) = (hex(*high), hex(*low)) else {
            return Err(PathError::Escape);
        };
        let value = high << 4 | low;
        match CLASS[usize::from(value)] {
            Class::Control => Err(PathError::Control),
            Class::Backslash => Err(PathError::Backslash),
            _ => Ok(Self { value }),
        }
    }

    /// The character, where it has no business being escaped.
    fn decoded(&self) -> Option<u8> {
        (CLASS[usize::from(self.value)] == Class::Unreserved).then_some(self.value)
    }

    fn is_upper(&self, percent_and_digits: &[u8]) -> bool {
        !percent_and_digits[1].is_ascii_lowercase() && !percent_and_digits[2].is_ascii_lowercase()
    }
}

/// The value of a hexadecimal digit.
pub(crate) fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

fn is_dots(segment: &[u8]) -> bool {
    matches!(segment, [b'.'] | [b'.', b'.'])
}

/// Refuses what is wrong with a segment whose escapes are in normal form.
fn check(segment: &[u8]) -> Result<(), PathError> {
    if segment.starts_with(b".") && is_dots(without_parameters(segment)) && !is_dots(segment) {
        return Err(PathError::DotParameter);
    }
    // C0 and C1 begin nothing that is UTF-8; E0 and F0 are overlong before a small second byte.
    let overlong = segment.windows(6).any(|window| {
        let [b'%', lead @ (b'C' | b'E' | b'F'), low @ (b'0' | b'1'), b'%', next @ (b'8' | b'9' | b'A' | b'B'), _] =
            window
        else {
            return false;
        };
        match (lead, low) {
            (b'C', _) => true,
            (b'E', b'0') => matches!(next, b'8' | b'9'),
            (b'F', b'0') => *next == b'8',
            _ => false,
        }
    });
    if overlong { Err(PathError::Overlong) } else { Ok(()) }
}

/// A segment up to its first `;`, raw or escaped.
fn without_parameters(segment: &[u8]) -> &[u8] {
    let raw = segment.iter().position(|byte| *byte == b';').unwrap_or(segment.len());
    let escaped = segment.windows(3).position(|window| window == b"%3B").unwrap_or(segment.len());
    &segment[..raw.min(escaped)]
}

/// Whether a path with its `%2F` read as slashes has no dot segments and no empty ones, its very end aside.
fn hides_nothing(path_without_first_slash: &[u8]) -> bool {
    if !path_without_first_slash.contains(&b'%') {
        return true;
    }
    let mut begin = 0;
    let mut at = 0;
    let path = path_without_first_slash;
    while at < path.len() {
        let slash = match &path[at..] {
            [b'/', ..] => 1,
            [b'%', b'2', b'F', ..] => 3,
            _ => {
                at += 1;
                continue;
            }
        };
        if at == begin || is_dots(without_parameters(&path[begin..at])) {
            return false;
        }
        at += slash;
        begin = at;
    }
    !is_dots(without_parameters(&path[begin..]))
}

#[cfg(test)]
mod tests;
