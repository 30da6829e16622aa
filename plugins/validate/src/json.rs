//! JSON: a reader that tells a visitor of values, and documents, which are what one such visitor makes.
//!
//! A document is a text and a list of where its values stand. It is flat: one 16-byte [`Slot`] for each value and each
//! name, in the order of the text, a container before what it holds. Nothing is copied but strings with escapes, numbers
//! stay the digits that were written, and neither parsing nor dropping recurses, however deep the text is nested.

mod build;
mod name;
mod number;
mod numeral;
mod pointer;
mod read;
mod space;
mod string;
mod utf8;
mod visitor;
mod wrong;

use std::borrow::Cow;

pub(crate) use build::parse;
pub(crate) use name::{Name, Spelling};
pub(crate) use number::{Divisor, Kept, Number};
pub(crate) use pointer::{pointer, push_step};
pub(crate) use read::{Limits, read};
pub(crate) use visitor::{End, Kind, Place, UNNUMBERED, Visitor};
pub(crate) use wrong::Malformed;

/// A parsed text.
#[derive(Debug)]
pub(crate) struct Document<'t> {
    /// UTF-8.
    text: Cow<'t, [u8]>,
    /// Strings that were written with escapes, one after the other.
    unescaped: Vec<u8>,
    slots: Vec<Slot>,
    /// For each large object, its names' slots in the order of the names.
    sorted: Vec<u32>,
}

#[derive(Debug, Clone, Copy)]
enum Slot {
    Null,
    Bool(bool),
    /// The text of it.
    Number {
        start: u32,
        len: u32,
    },
    /// A number that is written plainly, and what it is: see [`number::Plain`].
    Plain {
        start: u32,
        len: u8,
        places: u8,
        digits: i64,
    },
    /// A string without escapes, in the text.
    String {
        start: u32,
        len: u32,
    },
    /// A string with escapes, in `unescaped`.
    Unescaped {
        start: u32,
        len: u32,
    },
    Array {
        len: u32,
        end: u32,
    },
    /// Each name is a string slot, its value follows. `sorted` is where `Document::sorted` begins for it.
    Object {
        len: u32,
        end: u32,
        sorted: u32,
    },
}

/// Objects up to this many members are searched from the front.
const SMALL: u32 = 16;

/// One value of a document.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Value<'a> {
    document: &'a Document<'a>,
    slot: u32,
}

/// What a value is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum View<'a> {
    Null,
    Bool(bool),
    Number(Number<'a>),
    /// UTF-8.
    String(&'a [u8]),
    Array(Items<'a>),
    Object(Members<'a>),
}

/// The items of an array.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Items<'a> {
    document: &'a Document<'a>,
    next: u32,
    left: u32,
}

/// The members of an object, in the order of the text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Members<'a> {
    document: &'a Document<'a>,
    next: u32,
    left: u32,
    sorted: u32,
}

impl Document<'_> {
    /// The whole value.
    pub(crate) fn root(&self) -> Value<'_> {
        self.at(0)
    }

    /// The value of a slot that [`Value::slot`] told.
    pub(crate) fn at(&self, slot: u32) -> Value<'_> {
        Value { document: self, slot }
    }

    #[inline(always)]
    fn string(&self, slot: u32) -> Option<&[u8]> {
        match *self.slots.get(slot as usize)? {
            Slot::String { start, len } => Some(part(&self.text, start, len)),
            Slot::Unescaped { start, len } => Some(part(&self.unescaped, start, len)),
            _ => None,
        }
    }

    /// The string of a slot, as a name.
    #[inline(always)]
    fn name(&self, slot: u32) -> Option<Name<'_>> {
        match *self.slots.get(slot as usize)? {
            Slot::String { start, len } => Some(Name::new(&self.text, start, len)),
            Slot::Unescaped { start, len } => Some(Name::new(&self.unescaped, start, len)),
            _ => None,
        }
    }

    /// The slot behind a value.
    #[inline(always)]
    fn after(&self, slot: u32) -> u32 {
        match self.slots.get(slot as usize) {
            Some(Slot::Array { end, .. } | Slot::Object { end, .. }) => *end,
            _ => slot + 1,
        }
    }
}

/// What a slot says is there.
#[inline]
fn part(text: &[u8], start: u32, len: u32) -> &[u8] {
    text.get(start as usize..(start + len) as usize).unwrap_or_default()
}

/// What is known to be UTF-8, where it is needed as text.
fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).unwrap_or_default()
}

impl<'a> Value<'a> {
    /// Which one it is in its document.
    pub(crate) fn slot(self) -> u32 {
        self.slot
    }

    /// Whether it is neither an array nor an object.
    pub(crate) fn is_scalar(self) -> bool {
        !matches!(self.view(), View::Array(_) | View::Object(_))
    }

    #[inline(always)]
    pub(crate) fn view(self) -> View<'a> {
        let document = self.document;
        match document.slots[self.slot as usize] {
            Slot::Null => View::Null,
            Slot::Bool(value) => View::Bool(value),
            Slot::Number { start, len } => View::Number(Number::new(&document.text, start, len, None)),
            Slot::Plain { start, len, places, digits } => {
                View::Number(Number::new(&document.text, start, len.into(), Some(number::Plain { digits, places })))
            }
            Slot::String { start, len } => View::String(part(&document.text, start, len)),
            Slot::Unescaped { start, len } => View::String(part(&document.unescaped, start, len)),
            Slot::Array { len, .. } => View::Array(Items { document, next: self.slot + 1, left: len }),
            Slot::Object { len, sorted, .. } => {
                View::Object(Members { document, next: self.slot + 1, left: len, sorted })
            }
        }
    }

    /// How many values and names it holds, itself included.
    pub(crate) fn size(self) -> u32 {
        self.document.after(self.slot) - self.slot
    }

    pub(crate) fn as_str(self) -> Option<&'a str> {
        self.document.string(self.slot).map(text)
    }

    pub(crate) fn as_object(self) -> Option<Members<'a>> {
        if let View::Object(members) = self.view() { Some(members) } else { None }
    }

    pub(crate) fn as_array(self) -> Option<Items<'a>> {
        if let View::Array(items) = self.view() { Some(items) } else { None }
    }

    /// The text of it, as it was written.
    pub(crate) fn written(self) -> Option<&'a str> {
        match self.view() {
            View::Number(number) => Some(number.text()),
            View::String(bytes) => Some(text(bytes)),
            View::Bool(value) => Some(if value { "true" } else { "false" }),
            View::Null => Some("null"),
            View::Array(_) | View::Object(_) => None,
        }
    }
}

impl<'a> Items<'a> {
    pub(crate) fn len(&self) -> u32 {
        self.left
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = Value<'a>;

    #[inline(always)]
    fn next(&mut self) -> Option<Value<'a>> {
        self.left = self.left.checked_sub(1)?;
        let slot = self.next;
        self.next = self.document.after(slot);
        Some(Value { document: self.document, slot })
    }
}

impl<'a> Members<'a> {
    pub(crate) fn len(&self) -> u32 {
        self.left
    }

    /// The value of a name; the first one where names repeat.
    pub(crate) fn get(self, name: &str) -> Option<Value<'a>> {
        let document = self.document;
        if self.left <= SMALL {
            let head = Name::of(name).head();
            return { self }.find(|member| member.key().is(name, head)).map(|member| member.value);
        }
        let sorted = document.sorted.get(self.sorted as usize..)?.get(..self.left as usize)?;
        let index = sorted.partition_point(|slot| document.string(*slot).unwrap_or_default() < name.as_bytes());
        let slot = *sorted.get(index)?;
        (document.string(slot)? == name.as_bytes()).then_some(Value { document, slot: slot + 1 })
    }
}

/// One member of an object.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Member<'a> {
    /// The name, as a value of its own.
    pub(crate) name_value: Value<'a>,
    pub(crate) value: Value<'a>,
}

impl<'a> Member<'a> {
    pub(crate) fn name(self) -> &'a str {
        self.name_value.as_str().unwrap_or_default()
    }

    /// The name, to be compared with others.
    #[inline(always)]
    pub(crate) fn key(self) -> Name<'a> {
        let Value { document, slot } = self.name_value;
        document.name(slot).unwrap_or(Name::of(""))
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = Member<'a>;

    #[inline(always)]
    fn next(&mut self) -> Option<Member<'a>> {
        self.left = self.left.checked_sub(1)?;
        let (document, slot) = (self.document, self.next);
        self.next = document.after(slot + 1);
        Some(Member { name_value: Value { document, slot }, value: Value { document, slot: slot + 1 } })
    }
}
