//! Strings of a document without one allocation for each.

/// The text of a document, and beside it those pieces that read differently once decoded.
#[derive(Debug)]
pub(crate) struct Texts<'a> {
    source: &'a str,
    decoded: String,
}

/// A piece of [`Texts`]: eight bytes where a `Cow` needs up to 24, which decides how large a document fits into the
/// memory of an instance.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    start: u32,
    /// The length; the highest bit says that the piece is a decoded one.
    length: u32,
}

const DECODED: u32 = 1 << 31;

impl<'a> Texts<'a> {
    /// `source` is at most 2 GiB long: see `Limits::body`.
    pub(crate) fn new(source: &'a str) -> Self {
        Self { source, decoded: String::new() }
    }

    pub(crate) fn source(&self) -> &'a str {
        self.source
    }

    pub(crate) fn get(&self, span: Span) -> &str {
        let (start, length) = (span.start as usize, (span.length & !DECODED) as usize);
        let text = if span.length & DECODED == 0 { self.source } else { &self.decoded };
        &text[start..start + length]
    }

    /// Where decoded pieces are appended. Mark the beginning with [`Texts::mark`], finish with [`Texts::since`].
    pub(crate) fn decoded(&mut self) -> &mut String {
        &mut self.decoded
    }

    pub(crate) fn mark(&self) -> usize {
        self.decoded.len()
    }

    pub(crate) fn since(&self, mark: usize) -> Span {
        Span { start: mark as u32, length: (self.decoded.len() - mark) as u32 | DECODED }
    }

    /// `more` after the piece `span`, which is copied unless it is the newest decoded one.
    pub(crate) fn join(&mut self, span: Span, more: impl FnOnce(&mut String)) -> Span {
        let start = if span.length & DECODED == 0 {
            let start = self.decoded.len();
            let (from, length) = (span.start as usize, span.length as usize);
            self.decoded.push_str(&self.source[from..from + length]);
            start
        } else {
            debug_assert_eq!(span.start as usize + (span.length & !DECODED) as usize, self.decoded.len());
            span.start as usize
        };
        more(&mut self.decoded);
        self.since(start)
    }
}

impl Span {
    /// A piece of the source.
    pub(crate) fn source(start: usize, end: usize) -> Self {
        Self { start: start as u32, length: (end - start) as u32 }
    }
}
