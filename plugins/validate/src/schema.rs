//! JSON Schema, draft 2020-12: compiled once, then applied to any number of documents.
//!
//! Why not a crate: `jsonschema` 0.61 makes a component of 4.6 MB (two regex engines, every keyword twice, all drafts),
//! collects all errors before the first one can be taken, and has no bound on its work. This compiles only what 2020-12
//! has, counts its steps, stops at the twentieth fault, and checks a text while [`crate::json`] reads it.
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

use crate::json::{Document, Limits, Malformed, parse};
use rules::{Rules, Way};

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

impl Default for Schema {
    /// That of any value.
    fn default() -> Self {
        let rules = vec![Rules { always: Some(true), way: Way::Anything, ..Rules::default() }];
        Self { documents: Vec::new(), rules, root: 0, dynamic: false, hasher: RandomState::new() }
    }
}

impl Schema {
    /// Reads a JSON text and applies the schema to it, in at most `steps` steps: one for each pair of a value and a
    /// subschema.
    ///
    /// A text that fits needs no document of it but where the schema looks at the whole of a value. Any other one is read
    /// once more, to say what is wrong with it.
    pub(crate) fn judge(&self, body: &[u8], limits: &Limits, steps: u32) -> Result<Verdict, Malformed> {
        if check::fits(self, body, limits, steps)? {
            return Ok(Verdict::Valid);
        }
        Ok(check::check(self, parse(body, limits)?.root(), steps))
    }
}
