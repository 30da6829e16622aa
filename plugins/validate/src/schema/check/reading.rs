//! Checks a value while it is read: what most schemas say is said of its parts, and each of them is looked at when it comes.
//!
//! All that comes out is whether it fits. Where a schema says something of the whole of a value, that value is read into a
//! document, and checked as any document is.

use super::super::Schema;
use super::super::rules::{ArrayRules, Last, ObjectRules, Property, Rules, Way};
use super::{At, Check, DEPTH};
use crate::json::{
    Document, End, Kind, Limits, Malformed, Name, Number, Place, Spelling, UNNUMBERED, View, Visitor, read,
};

/// Whether a text fits a schema, as far as can be told without a document of the whole: an answer of `false` may also
/// mean that it cannot.
pub(in super::super) fn fits(schema: &Schema, body: &[u8], limits: &Limits, steps: u32) -> Result<bool, Malformed> {
    let inner = Inside { rules: Parts::Anything, last: Last::default(), depth: 0 };
    let check = Check::new(schema, steps);
    let mut reading = Reading { check, next: Next::Anything, outer: Vec::with_capacity(8), inner };
    if schema.dynamic || !reading.expect(schema.root) || matches!(reading.next, Next::Whole(_)) {
        return Ok(false);
    }
    read(body, limits, &mut reading)
}

/// A value that is being read.
struct Reading<'c> {
    check: Check<'c>,
    /// What the next value must be.
    next: Next<'c>,
    /// What is said inside the containers that have not ended: of those around the innermost, and of that.
    outer: Vec<Inside<'c>>,
    inner: Inside<'c>,
}

/// What a value must be.
#[derive(Clone, Copy)]
enum Next<'c> {
    Anything,
    /// As these rules have it, so many schemas deep.
    InParts(&'c Rules, u32),
    /// As this schema has it. It is for a document.
    Whole(u32),
}

/// What is said of the parts of a container.
#[derive(Clone, Copy)]
struct Inside<'c> {
    rules: Parts<'c>,
    /// The last member of which a property spoke.
    last: Last,
    /// How many schemas are around its parts.
    depth: u32,
}

#[derive(Clone, Copy)]
enum Parts<'c> {
    Anything,
    Array(&'c ArrayRules),
    Object(&'c ObjectRules),
}

impl<'c> Reading<'c> {
    /// The next value must be as this schema has it. Whether it can be.
    #[inline(always)]
    fn expect(&mut self, id: u32) -> bool {
        let schema: &'c Schema = self.check.schema;
        let (rules, depth) = (&schema.rules[id as usize], self.inner.depth);
        if rules.way != Way::InParts {
            return self.expect_otherwise(id);
        }
        self.next = Next::InParts(rules, depth);
        depth < DEPTH && self.check.spend(1)
    }

    /// The same, whatever the schema.
    #[inline(never)]
    fn expect_otherwise(&mut self, mut id: u32) -> bool {
        let schema: &'c Schema = self.check.schema;
        let mut depth = self.inner.depth;
        loop {
            let rules = &schema.rules[id as usize];
            match rules.way {
                Way::Anything => {
                    self.next = Next::Anything;
                    return true;
                }
                Way::Whole => {
                    self.check.depth = depth;
                    self.next = Next::Whole(id);
                    return rules.always.is_none();
                }
                Way::InParts | Way::As(_) if depth >= DEPTH || !self.check.spend(1) => return false,
                Way::InParts => {
                    self.next = Next::InParts(rules, depth);
                    return true;
                }
                Way::As(other) => {
                    depth += 1;
                    id = other;
                }
            }
        }
    }

    /// What is said of a member of which this property speaks, and the number of its name.
    #[inline(always)]
    fn expect_property(&mut self, rules: &ObjectRules, property: &Property) -> Option<u32> {
        let expected = match property.schema {
            Some(schema) if rules.patterns.is_empty() => self.expect(schema),
            schema => self.expect_other(rules, property.name.as_bytes(), schema),
        };
        expected.then_some(property.number)
    }

    /// What is said of a member of which no property speaks, or a pattern may speak, too.
    #[inline(never)]
    fn expect_other(&mut self, rules: &ObjectRules, name: &[u8], mut schema: Option<u32>) -> bool {
        for (pattern, matching) in &rules.patterns {
            if !self.check.spend(1) {
                return false;
            }
            // Of several schemas for one value, a document is asked.
            if pattern.matches(name) && schema.replace(*matching).is_some() {
                return false;
            }
        }
        self.expect_or_anything(schema.or(rules.additional))
    }

    /// Whether a scalar is of a type that these rules allow, and one of the values that they name, where they name any.
    #[inline(always)]
    fn may_be(&mut self, rules: &Rules, scalar: View<'_>) -> bool {
        rules.types.allow(&scalar) && (rules.values.is_empty() || self.is_named(rules, scalar))
    }

    #[inline(never)]
    fn is_named(&mut self, rules: &Rules, scalar: View<'_>) -> bool {
        rules.values.iter().all(|values| self.check.is_one_of(values, scalar))
    }

    #[inline(always)]
    fn expect_or_anything(&mut self, schema: Option<u32>) -> bool {
        self.next = Next::Anything;
        schema.is_none_or(|schema| self.expect(schema))
    }
}

impl Visitor for Reading<'_> {
    #[inline(always)]
    fn name(&mut self, name: Name<'_>, _: Place) -> Option<u32> {
        let Parts::Object(rules) = self.inner.rules else {
            self.next = Next::Anything;
            return Some(UNNUMBERED);
        };
        match rules.properties.follow(self.inner.last, name) {
            Some((property, last)) => {
                self.inner.last = last;
                self.expect_property(rules, property)
            }
            None => self.expect_other(rules, name.bytes(), None).then_some(UNNUMBERED),
        }
    }

    #[inline(always)]
    fn likely(&self) -> Option<Spelling> {
        let Parts::Object(rules) = self.inner.rules else { return None };
        rules.properties.likely(self.inner.last).map(|(property, _)| property.spelling)
    }

    #[inline(always)]
    fn likely_came(&mut self) -> Option<u32> {
        let Parts::Object(rules) = self.inner.rules else { return None };
        let (property, last) = rules.properties.likely(self.inner.last)?;
        self.inner.last = last;
        self.expect_property(rules, property)
    }

    #[inline(always)]
    fn item(&mut self, index: u32) -> bool {
        let Parts::Array(rules) = self.inner.rules else {
            self.next = Next::Anything;
            return true;
        };
        let schema = rules.prefix.get(index as usize).copied().or(rules.items);
        self.expect_or_anything(schema)
    }

    #[inline(always)]
    fn builds(&self) -> bool {
        matches!(self.next, Next::Whole(_))
    }

    fn built(&mut self, document: Document<'_>) -> bool {
        let Next::Whole(id) = self.next else { return false };
        self.check.schema(id, document.root(), &At::ROOT, None, None) && !self.check.exhausted
    }

    fn word(&mut self, word: View<'static>) -> bool {
        match self.next {
            Next::InParts(rules, _) => self.may_be(rules, word),
            _ => true,
        }
    }

    #[inline(always)]
    fn number(&mut self, number: Number<'_>) -> bool {
        let Next::InParts(rules, _) = self.next else { return true };
        if !self.may_be(rules, View::Number(number)) {
            return false;
        }
        let fits = |rules| self.check.number(rules, number, &At::ROOT);
        rules.number.as_deref().is_none_or(fits)
    }

    #[inline(always)]
    fn string(&mut self, text: &[u8], _: Place) -> bool {
        let Next::InParts(rules, _) = self.next else { return true };
        if !self.may_be(rules, View::String(text)) {
            return false;
        }
        let fits = |rules| self.check.string(rules, text, &At::ROOT);
        rules.string.as_deref().is_none_or(fits)
    }

    #[inline(always)]
    fn open(&mut self, kind: Kind) -> bool {
        let mut inside = Inside { rules: Parts::Anything, last: Last::default(), depth: self.inner.depth };
        if let Next::InParts(rules, depth) = self.next {
            // What values are named are scalars.
            if !rules.types.allow_kind(kind) || !rules.values.is_empty() {
                return false;
            }
            inside.depth = depth + 1;
            inside.rules = match kind {
                Kind::Array => rules.array.as_deref().map_or(Parts::Anything, Parts::Array),
                Kind::Object => rules.object.as_deref().map_or(Parts::Anything, Parts::Object),
            };
        }
        self.outer.push(std::mem::replace(&mut self.inner, inside));
        true
    }

    #[inline(always)]
    fn close(&mut self, end: End) -> bool {
        let ended = self.inner;
        if let Some(outer) = self.outer.pop() {
            self.inner = outer;
        }
        match ended.rules {
            Parts::Anything => true,
            Parts::Array(rules) => self.check.items(rules, end.len, &At::ROOT),
            Parts::Object(rules) => {
                self.check.members(rules, end.len, &At::ROOT) && rules.properties.are_there(end.names)
            }
        }
    }
}

#[cfg(test)]
#[path = "reading_tests.rs"]
mod tests;
