//! JSON documents: a flat tree that is read strictly and keeps numbers as they were written, and the writing of strings.

mod read;
mod write;

use crate::texts::{Span, Texts};

pub(crate) use read::read;
pub(crate) use write::{is_exact, write_string};

/// A document, with its values in the order of their beginnings, the names of members among them: nothing in it is
/// nested, so nothing recurses when it is dropped.
#[derive(Debug)]
pub(crate) struct Document<'a> {
    texts: Texts<'a>,
    nodes: Vec<Node>,
}

#[derive(Debug)]
struct Node {
    kind: Kind,
    /// The text of a string, decoded; of a number, as it was written.
    span: Span,
    /// Where the node begins in the source, for messages.
    offset: u32,
    /// The node after this one and all that is in it.
    end: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Null,
    True,
    False,
    Number,
    String,
    Array,
    Object,
}

/// A value of a document.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Value<'d> {
    document: &'d Document<'d>,
    index: u32,
}

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape<'d> {
    Null,
    /// A string, decoded; a number, as it was written; `true`; `false`.
    Scalar(&'d str),
    Array,
    Object,
}

impl Document<'_> {
    pub(crate) fn root(&self) -> Value<'_> {
        Value { document: self, index: 0 }
    }

    /// The text in which [`Value::offset`] counts.
    pub(crate) fn source(&self) -> &str {
        self.texts.source()
    }
}

impl<'d> Value<'d> {
    pub(crate) fn shape(self) -> Shape<'d> {
        let node = self.node();
        match node.kind {
            Kind::Null => Shape::Null,
            Kind::True => Shape::Scalar("true"),
            Kind::False => Shape::Scalar("false"),
            Kind::Number | Kind::String => Shape::Scalar(self.document.texts.get(node.span)),
            Kind::Array => Shape::Array,
            Kind::Object => Shape::Object,
        }
    }

    /// The text of a string; no other scalar.
    pub(crate) fn string(self) -> Option<&'d str> {
        let node = self.node();
        (node.kind == Kind::String).then(|| self.document.texts.get(node.span))
    }

    pub(crate) fn offset(self) -> usize {
        self.node().offset as usize
    }

    /// The items of an array; of another value, none.
    pub(crate) fn items(self) -> impl Iterator<Item = Value<'d>> {
        let of_array = self.node().kind == Kind::Array;
        self.inside().take_while(move |_| of_array)
    }

    /// The members of an object: their names, which are strings, and their values; of another value, none.
    pub(crate) fn members(self) -> impl Iterator<Item = (Value<'d>, Value<'d>)> {
        let of_object = self.node().kind == Kind::Object;
        let mut inside = self.inside();
        std::iter::from_fn(move || if of_object { Some((inside.next()?, inside.next()?)) } else { None })
    }

    fn inside(self) -> impl Iterator<Item = Value<'d>> {
        let document = self.document;
        let end = self.node().end;
        let mut next = self.index + 1;
        std::iter::from_fn(move || {
            let index = next;
            (index < end).then(|| {
                next = document.nodes[index as usize].end;
                Value { document, index }
            })
        })
    }

    fn node(self) -> &'d Node {
        &self.document.nodes[self.index as usize]
    }
}
