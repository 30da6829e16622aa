//! XML documents: a flat tree that is read strictly, and the writing of names and text.

mod encoding;
mod name;
mod read;
mod write;

use crate::texts::{Span, Texts};

pub(crate) use encoding::decode;
pub(crate) use name::is_name;
pub(crate) use read::read;
pub(crate) use write::{write_attribute_value, write_name, write_text};

/// A document, with its elements and texts in the order of their beginnings: nothing in it is nested, so nothing
/// recurses when it is dropped.
#[derive(Debug)]
pub(crate) struct Document<'a> {
    texts: Texts<'a>,
    /// The root element is the first. After the last node comes one that only closes the last range of attributes.
    nodes: Vec<Node>,
    attributes: Vec<Attribute>,
}

#[derive(Debug)]
struct Node {
    kind: Kind,
    /// The name, or the text.
    span: Span,
    /// Where the node begins in the source, for messages.
    offset: u32,
    /// The node after this one and all that is in it.
    end: u32,
    /// The first attribute. The last is the one before the next node's first.
    attributes: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// An element in which white space between its children means nothing.
    Element,
    /// An element with text beside its children, in which white space is kept.
    Mixed,
    Text,
    /// Text of nothing but white space.
    Blank,
}

#[derive(Debug)]
struct Attribute {
    name: Span,
    value: Span,
}

/// A child of an element.
pub(crate) enum Child<'d> {
    Element(Element<'d>),
    Text(&'d str),
}

/// An element of a document.
#[derive(Clone, Copy)]
pub(crate) struct Element<'d> {
    document: &'d Document<'d>,
    index: u32,
}

impl Document<'_> {
    pub(crate) fn root(&self) -> Element<'_> {
        self.element(0)
    }

    /// The element that was found as [`Element::index`].
    pub(crate) fn element(&self, index: u32) -> Element<'_> {
        Element { document: self, index }
    }

    /// The text in which [`Element::offset`] counts.
    pub(crate) fn source(&self) -> &str {
        self.texts.source()
    }
}

impl<'d> Element<'d> {
    pub(crate) fn index(self) -> u32 {
        self.index
    }

    pub(crate) fn name(self) -> &'d str {
        self.document.texts.get(self.node().span)
    }

    pub(crate) fn offset(self) -> usize {
        self.node().offset as usize
    }

    /// Names and values, in the order of the document.
    pub(crate) fn attributes(self) -> impl Iterator<Item = (&'d str, &'d str)> + Clone {
        let nodes = &self.document.nodes;
        let range = nodes[self.index as usize].attributes as usize..nodes[self.index as usize + 1].attributes as usize;
        let texts = &self.document.texts;
        self.document.attributes[range].iter().map(|one| (texts.get(one.name), texts.get(one.value)))
    }

    /// Elements and texts in the order of the document, without white space that means nothing.
    pub(crate) fn children(self) -> impl Iterator<Item = Child<'d>> {
        let document = self.document;
        let keep_blanks = self.node().kind == Kind::Mixed;
        let end = self.node().end;
        let mut next = self.index + 1;
        std::iter::from_fn(move || {
            while next < end {
                let index = next;
                let node = &document.nodes[index as usize];
                next = node.end;
                match node.kind {
                    Kind::Element | Kind::Mixed => return Some(Child::Element(document.element(index))),
                    Kind::Blank if !keep_blanks => {}
                    Kind::Text | Kind::Blank => return Some(Child::Text(document.texts.get(node.span))),
                }
            }
            None
        })
    }

    fn node(self) -> &'d Node {
        &self.document.nodes[self.index as usize]
    }
}
