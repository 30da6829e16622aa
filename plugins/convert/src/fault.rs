//! What can be wrong with a document, and where.

use std::fmt;

/// Why a document was not converted. Never carries a name or a value of the document: it may go to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What kind of fault it is.
    pub kind: Kind,
    /// Where, if it is at one place.
    pub place: Option<Place>,
    /// What, in a sentence that begins in lower case and has no full stop.
    pub message: String,
}

/// The kinds of faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Not well-formed, in an encoding that is not taken, or beyond a limit of the configuration.
    Malformed,
    /// Well-formed, but without a form in the other format under the chosen convention.
    Unrepresentable,
    /// The converted document would be longer than `max-output`.
    TooLong,
}

/// A place in a document, counted from one. Columns are characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

impl Fault {
    pub(crate) fn malformed(text: &str, offset: usize, message: impl Into<String>) -> Self {
        Self { kind: Kind::Malformed, place: Some(Place::of(text, offset)), message: message.into() }
    }

    pub(crate) fn unrepresentable(text: &str, offset: usize, message: impl Into<String>) -> Self {
        Self { kind: Kind::Unrepresentable, place: Some(Place::of(text, offset)), message: message.into() }
    }

    /// Malformed as a whole, before there is text to count lines in.
    pub(crate) fn bytes(message: impl Into<String>) -> Self {
        Self { kind: Kind::Malformed, place: None, message: message.into() }
    }

    pub(crate) fn too_long(cap: usize) -> Self {
        let message = format!("the converted document would be longer than {cap} bytes");
        Self { kind: Kind::TooLong, place: None, message }
    }
}

impl Place {
    fn of(text: &str, offset: usize) -> Self {
        let mut offset = offset.min(text.len());
        while !text.is_char_boundary(offset) {
            offset -= 1;
        }
        let before = &text[..offset];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self {
            line: before.bytes().filter(|&byte| byte == b'\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Some(Place { line, column }) => write!(f, "line {line}, column {column}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for Fault {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_lines_and_characters_from_one() {
        let place = |offset| {
            let Place { line, column } = Place::of("aß\nxyz", offset);
            (line, column)
        };
        assert_eq!([place(0), place(3), place(4), place(6), place(99)], [(1, 1), (1, 3), (2, 1), (2, 3), (2, 4)]);
        assert_eq!(place(2), (1, 2), "inside a character counts as its beginning");
    }
}
