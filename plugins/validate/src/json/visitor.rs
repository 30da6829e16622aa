//! What a reader tells of a text.

use super::name::{Name, Spelling};
use super::number::Number;
use super::{Document, View};

/// The first number that tells no name from another: a reader has a bit for each that is less.
pub(crate) const UNNUMBERED: u32 = 64;

/// What is made of a text: each value and each name comes once, in the order of the text.
///
/// An answer of `false`, or none, ends the reading.
pub(crate) trait Visitor {
    /// A member of the innermost container, whose value follows. The answer is a number that this name has in this
    /// object, and no other one; or [`UNNUMBERED`].
    fn name(&mut self, name: Name<'_>, place: Place) -> Option<u32>;

    /// How the name is written that the next member is likely to have, where there is one.
    fn likely(&self) -> Option<Spelling>;

    /// It has that name. In place of [`Visitor::name`], with the same answer.
    fn likely_came(&mut self) -> Option<u32>;

    /// An item of the innermost container, which follows.
    fn item(&mut self, index: u32) -> bool;

    /// Whether the value that follows comes to `built`, and not in parts.
    fn builds(&self) -> bool;

    /// A whole value.
    fn built(&mut self, document: Document<'_>) -> bool;

    /// `null`, `true` or `false`.
    fn word(&mut self, word: View<'static>) -> bool;

    fn number(&mut self, number: Number<'_>) -> bool;

    fn string(&mut self, text: &[u8], place: Place) -> bool;

    /// An array or object, what is in it follows.
    fn open(&mut self, kind: Kind) -> bool;

    /// The innermost container has ended.
    fn close(&mut self, end: End) -> bool;
}

/// Where a string or a name begins: in the text, or nowhere where it was written with escapes.
pub(crate) type Place = Option<u32>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Array,
    Object,
}

/// What is known of a container at its end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct End {
    pub(crate) kind: Kind,
    /// Members or items.
    pub(crate) len: u32,
    /// The numbers of its names, a bit for each: see [`Visitor::name`].
    pub(crate) names: u64,
}
