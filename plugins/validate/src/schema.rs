//! JSON Schema, draft 2020-12: compiled once, then applied to any number of documents.
//!
//! Why not a crate: `jsonschema` 0.61 makes a component of 4.6 MB (two regex engines, every keyword twice, all drafts),
//! collects all errors before the first one can be taken, and has no bound on its work. This compiles only what 2020-12
//! has, counts its steps, stops at the twentieth fault, and reads the flat documents of [`crate::json`].
//!
//! Read in this order: `index` finds what can be referred to, `compile` makes [`Rules`] of schemas, `check` applies them.

mod automaton;
mod check;
mod compile;
mod equal;
mod format;
mod index;
mod marks;
mod pattern;
mod rules;
mod uri;

use std::hash::RandomState;

use crate::json::{Document, Value};
use rules::Rules;

pub(crate) use compile::{Source, compile};

/// A compiled schema.
#[derive(Debug)]
pub(crate) struct Schema {
    /// The texts that it was made of: values of `enum` and `const` are read from there.
    documents: Vec<Document<'static>>,
    /// One for each schema and subschema.
    rules: Vec<Rules>,
    root: u32,
    /// Whether what a `$dynamicRef` means depends on the way that led to it.
    dynamic: bool,
    /// Keys of the hash behind `uniqueItems`, so that no client can choose values that collide.
    hasher: RandomState,
}

/// What came of applying a schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Valid,
    /// The first faults, at least one.
    Invalid(Vec<Fault>),
    /// It would take more steps than allowed.
    TooComplex,
}

/// One thing that is wrong with a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Where: a JSON Pointer.
    pub(crate) pointer: String,
    /// What is expected there, and in parentheses the keyword that expects it. Never a value of the document.
    pub(crate) detail: String,
}

/// Faults that are reported at most.
pub(crate) const FAULTS: usize = 20;

impl Schema {
    /// Applies the schema, in at most `steps` steps: one for each pair of a value and a subschema.
    pub(crate) fn check(&self, value: Value<'_>, steps: u32) -> Verdict {
        check::check(self, value, steps)
    }
}
