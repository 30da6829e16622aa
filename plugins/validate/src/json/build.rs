//! From a text to a document.

use std::borrow::Cow;

use super::name::{Name, Spelling};
use super::number::{Number, Plain};
use super::read::{Limits, read};
use super::visitor::{End, Kind, Place, UNNUMBERED, Visitor};
use super::wrong::Malformed;
use super::{Document, SMALL, Slot, View};

/// Reads one JSON text into a document.
pub(crate) fn parse<'t>(body: &'t [u8], limits: &Limits) -> Result<Document<'t>, Malformed> {
    // Most documents have a value or a name for every 8 to 16 bytes.
    let mut builder = Builder::new(body, (body.len() / 8 + 8).min(1 << 16));
    read(body, limits, &mut builder)?;
    Ok(builder.document())
}

impl Document<'_> {
    /// The same document, which holds its text itself.
    pub(crate) fn into_owned(self) -> Document<'static> {
        let Self { text, unescaped, slots, sorted } = self;
        Document { text: Cow::Owned(text.into_owned()), unescaped, slots, sorted }
    }
}

/// Keeps where the values of a text are.
pub(super) struct Builder<'t> {
    document: Document<'t>,
    /// The slots of the containers that have not ended.
    open: Vec<u32>,
}

impl<'t> Builder<'t> {
    /// For a value of this text, with room for so many slots.
    pub(super) fn new(text: &'t [u8], room: usize) -> Self {
        let document = Document {
            text: Cow::Borrowed(text),
            unescaped: Vec::new(),
            slots: Vec::with_capacity(room),
            sorted: Vec::new(),
        };
        Self { document, open: Vec::new() }
    }

    /// What was read.
    pub(super) fn document(self) -> Document<'t> {
        self.document
    }

    fn put(&mut self, slot: Slot) -> bool {
        self.document.slots.push(slot);
        true
    }

    /// Sorts the names of a large object whose values have all ended. Of two that are the same, the first one comes first.
    #[cold]
    fn sort_names(&mut self, object: u32, len: u32) {
        let document = &self.document;
        let name = |slot: u32| document.string(slot);
        let mut next = object + 1;
        let mut names = Vec::with_capacity(len as usize);
        for _ in 0..len {
            names.push(next);
            next = document.after(next + 1);
        }
        names.sort_by(|one, other| name(*one).cmp(&name(*other)));
        self.document.sorted.extend(names);
    }
}

impl Visitor for Builder<'_> {
    fn name(&mut self, name: Name<'_>, place: Place) -> Option<u32> {
        self.string(name.bytes(), place);
        Some(UNNUMBERED)
    }

    fn likely(&self) -> Option<Spelling> {
        None
    }

    fn likely_came(&mut self) -> Option<u32> {
        None
    }

    fn item(&mut self, _: u32) -> bool {
        true
    }

    fn builds(&self) -> bool {
        false
    }

    fn built(&mut self, _: Document<'_>) -> bool {
        true
    }

    fn word(&mut self, word: View<'static>) -> bool {
        self.put(if let View::Bool(value) = word { Slot::Bool(value) } else { Slot::Null })
    }

    fn number(&mut self, number: Number<'_>) -> bool {
        let Number { start, len, plain, .. } = number;
        self.put(match plain {
            Some(Plain { digits, places }) => Slot::Plain { start, len: len as u8, places, digits },
            None => Slot::Number { start, len },
        })
    }

    fn string(&mut self, text: &[u8], place: Place) -> bool {
        let len = text.len() as u32;
        let slot = match place {
            Some(start) => Slot::String { start, len },
            None => {
                let start = self.document.unescaped.len() as u32;
                self.document.unescaped.extend_from_slice(text);
                Slot::Unescaped { start, len }
            }
        };
        self.put(slot)
    }

    fn open(&mut self, _: Kind) -> bool {
        self.open.push(self.document.slots.len() as u32);
        // Its length and its end are known when it is closed.
        self.put(Slot::Null)
    }

    fn close(&mut self, end: End) -> bool {
        let End { kind, len, .. } = end;
        let Some(slot) = self.open.pop() else { return false };
        let sorted = self.document.sorted.len() as u32;
        if kind == Kind::Object && len > SMALL {
            self.sort_names(slot, len);
        }
        let end = self.document.slots.len() as u32;
        self.document.slots[slot as usize] = match kind {
            Kind::Object => Slot::Object { len, end, sorted },
            Kind::Array => Slot::Array { len, end },
        };
        true
    }
}
