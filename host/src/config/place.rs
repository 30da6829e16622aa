//! Where something stands in a file.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use serde::{Serialize, Serializer};

/// A span of a file, with the line to show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The file as it was named to us.
    #[serde(serialize_with = "as_str")]
    pub file: Arc<str>,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// The line as it is written; of a very long one the part around the place.
    #[serde(serialize_with = "as_str")]
    pub text: Arc<str>,
    /// Characters of `text` before the span.
    #[serde(skip)]
    pub(crate) indent: usize,
    /// Characters of `text` in the span: at least 1, and never more than one line.
    pub width: usize,
}

fn as_str<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text)
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// Where each value of a table stands, by its JSON Pointer (RFC 6901) from that table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Places(BTreeMap<String, Place>);

impl Places {
    /// The place of a value, or of the nearest value around it. The whole table is the empty pointer.
    #[must_use]
    pub fn of(&self, pointer: &str) -> Option<&Place> {
        let mut pointer = pointer;
        loop {
            if let Some(place) = self.0.get(pointer) {
                return Some(place);
            }
            pointer = &pointer[..pointer.rfind('/')?];
        }
    }

    pub(crate) fn insert(&mut self, pointer: String, place: Place) {
        self.0.insert(pointer, place);
    }
}

/// The text of a file, which spans are turned into places with.
#[derive(Debug)]
pub(crate) struct Source<'a> {
    file: Arc<str>,
    text: &'a str,
    /// Where each line begins.
    lines: Vec<usize>,
    /// The last byte asked for, the column there, and the text of its line. Values are mostly asked for in their order:
    /// without this, a file of one very long line would cost the square of its length.
    last: std::cell::RefCell<Option<Last>>,
}

#[derive(Debug)]
struct Last {
    line: usize,
    byte: usize,
    column: usize,
    text: Option<Arc<str>>,
}

impl<'a> Source<'a> {
    /// Lines up to this many bytes are shown whole.
    const WHOLE: usize = 200;

    pub(crate) fn new(file: &str, text: &'a str) -> Self {
        // The mark of UTF-8 that some editors write is no character of the first line.
        let first = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        let begins = text.match_indices('\n').map(|(at, _)| at + 1);
        Self {
            file: file.into(),
            text,
            lines: std::iter::once(first).chain(begins).collect(),
            last: std::cell::RefCell::new(None),
        }
    }

    /// The line, from 1, that a byte is in.
    pub(crate) fn line(&self, byte: usize) -> usize {
        self.lines.partition_point(|begin| *begin <= byte).max(1)
    }

    /// A line, from 1, as it is written.
    pub(crate) fn text_of(&self, line: usize) -> &'a str {
        let Some(begin) = line.checked_sub(1).and_then(|index| self.lines.get(index)) else {
            return "";
        };
        let end = self.lines.get(line).map_or(self.text.len(), |next| next - 1);
        let text = self.text.get(*begin..end).unwrap_or_default();
        text.strip_suffix('\r').unwrap_or(text)
    }

    /// Whether one of these lines begins a table.
    pub(crate) fn has_header(&self, mut lines: Range<usize>) -> bool {
        lines.any(|line| self.text_of(line).trim_start().starts_with('['))
    }

    /// What is written at a span, on one line and not too long, for messages.
    pub(crate) fn written(&self, span: &Range<usize>) -> String {
        let text = self.text.get(span.clone()).unwrap_or_default();
        let mut out: String = text.chars().take(60).map(|c| if c.is_control() { ' ' } else { c }).collect();
        if out.len() < text.len() {
            out.push('…');
        }
        out
    }

    /// The text at a span.
    pub(crate) fn slice(&self, span: &Range<usize>) -> &'a str {
        self.text.get(span.clone()).unwrap_or_default()
    }

    /// Where a span of bytes stands.
    pub(crate) fn place(&self, span: &Range<usize>) -> Place {
        let line = self.line(span.start);
        let begin = self.lines[line - 1];
        let whole = self.text_of(line);
        let start = floor(whole, span.start.saturating_sub(begin));
        let stop = floor(whole, span.end.saturating_sub(begin)).max(start);

        let mut last = self.last.borrow_mut();
        let (from, counted) = match &*last {
            Some(last) if last.line == line && last.byte <= start => (last.byte, last.column),
            _ => (0, 1),
        };
        let column = counted + whole[from..start].chars().count();
        let known = last.take().filter(|last| last.line == line).and_then(|last| last.text);
        let (text, indent, width) = if whole.len() <= Self::WHOLE {
            let text = known.unwrap_or_else(|| whole.into());
            (text, column - 1, whole[start..stop].chars().count())
        } else {
            let from = floor(whole, start.saturating_sub(Self::WHOLE / 2));
            let to = floor(whole, from + Self::WHOLE);
            let text = Arc::from(&whole[from..to]);
            (text, whole[from..start].chars().count(), whole[start..stop.min(to)].chars().count())
        };
        let keep = (whole.len() <= Self::WHOLE).then(|| Arc::clone(&text));
        *last = Some(Last { line, byte: start, column, text: keep });
        Place { file: Arc::clone(&self.file), line, column, text, indent, width: width.max(1) }
    }
}

/// The nearest border of a character at or before a byte.
fn floor(text: &str, byte: usize) -> usize {
    let mut byte = byte.min(text.len());
    while !text.is_char_boundary(byte) {
        byte -= 1;
    }
    byte
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_characters_from_one() {
        let text = "a = 1\r\nüb = \"x\"\r\n";
        let source = Source::new("f.toml", text);
        let at = text.find("\"x\"").unwrap();
        let place = source.place(&(at..at + 3));
        assert_eq!((place.line, place.column, place.width, &*place.text), (2, 6, 3, "üb = \"x\""));
        assert_eq!(place.to_string(), "f.toml:2:6");
    }

    #[test]
    fn a_byte_order_mark_is_no_column() {
        let source = Source::new("f.toml", "\u{feff}a = 1");
        let place = source.place(&(3..4));
        assert_eq!((place.line, place.column, &*place.text), (1, 1, "a = 1"));
    }

    #[test]
    fn long_lines_are_shown_in_part() {
        let text = format!("a = [{}7]", "1234567, ".repeat(1000));
        let source = Source::new("f.toml", &text);
        let place = source.place(&(text.len() - 2..text.len() - 1));
        assert_eq!(place.column, text.len() - 1);
        assert!(place.text.len() <= Source::WHOLE);
        assert_eq!(&place.text[place.indent..=place.indent], "7");
    }

    #[test]
    fn a_span_beyond_the_end_is_at_the_end() {
        let source = Source::new("f.toml", "a = 1");
        let place = source.place(&(900..901));
        assert_eq!((place.line, place.column, place.width), (1, 6, 1));
    }

    #[test]
    fn a_pointer_falls_back_to_what_is_around_it() {
        let source = Source::new("f.toml", "a = [1, 2]");
        let mut places = Places::default();
        places.insert(String::new(), source.place(&(0..1)));
        places.insert("/a".into(), source.place(&(4..10)));
        places.insert("/a/0".into(), source.place(&(5..6)));
        let column = |pointer| places.of(pointer).map(|place| place.column);
        assert_eq!(column("/a/0"), Some(6));
        assert_eq!(column("/a/7/b"), Some(5));
        assert_eq!(column("/nothing"), Some(1));
        assert_eq!(column("no pointer"), None);
    }
}
