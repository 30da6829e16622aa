//! What is left of a schema when it is compiled.

use std::sync::atomic::{AtomicU32, Ordering};

use super::format::Format;
use super::pattern::Pattern;
use crate::json::{Divisor, Kept, Kind, Name, Spelling, View};

/// A schema, in the form in which it is applied. Other schemas are named by their place in `Schema::rules`.
#[derive(Debug, Default)]
pub(super) struct Rules {
    /// The schema resource that it belongs to, for `$dynamicRef`.
    pub(super) resource: u32,
    /// Set for `true`, `false` and `{}`: nothing else is looked at.
    pub(super) always: Option<bool>,
    /// How a value is checked that is being read.
    pub(super) way: Way,
    pub(super) types: Types,
    /// `enum` and `const`: the value is one of these.
    pub(super) values: Vec<Values>,
    pub(super) number: Option<Box<NumberRules>>,
    pub(super) string: Option<Box<StringRules>>,
    pub(super) array: Option<Box<ArrayRules>>,
    pub(super) object: Option<Box<ObjectRules>>,
    /// Schemas for the same value.
    pub(super) in_place: Vec<InPlace>,
    pub(super) unevaluated_items: Option<u32>,
    pub(super) unevaluated_properties: Option<u32>,
}

/// How a value is checked that is being read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Way {
    /// Anything fits.
    Anything,
    /// By what is said of its type, each part when it comes.
    InParts,
    /// As another schema has it, and nothing more is said.
    As(u32),
    /// When it is there as a document: something is said of the whole of it.
    #[default]
    Whole,
}

/// A schema for the same value.
#[derive(Debug)]
pub(super) enum InPlace {
    All(Vec<u32>),
    Any(Vec<u32>),
    One(Vec<u32>),
    Not(u32),
    If {
        test: u32,
        then: Option<u32>,
        otherwise: Option<u32>,
    },
    Ref(u32),
    /// The outermost resource on the way here that has a schema among `candidates` decides.
    DynamicRef {
        fallback: u32,
        candidates: Vec<(u32, u32)>,
    },
}

/// Values of a schema's own text.
#[derive(Debug)]
pub(super) struct Values {
    /// Which document, and where in it.
    pub(super) places: Vec<(u32, u32)>,
    /// Whether none of them is an array or an object.
    pub(super) scalars: bool,
    /// What is said where none of them fits.
    pub(super) expected: String,
}

#[derive(Debug, Default)]
pub(super) struct NumberRules {
    pub(super) minimum: Option<Kept>,
    pub(super) maximum: Option<Kept>,
    pub(super) exclusive_minimum: Option<Kept>,
    pub(super) exclusive_maximum: Option<Kept>,
    pub(super) multiple_of: Option<(Divisor, String)>,
}

#[derive(Debug)]
pub(super) struct StringRules {
    /// In characters.
    pub(super) least: u64,
    pub(super) most: u64,
    pub(super) pattern: Option<Pattern>,
    pub(super) format: Option<Format>,
}

#[derive(Debug)]
pub(super) struct ArrayRules {
    pub(super) least: u64,
    pub(super) most: u64,
    pub(super) unique: bool,
    pub(super) prefix: Vec<u32>,
    pub(super) items: Option<u32>,
    pub(super) contains: Option<Contains>,
}

#[derive(Debug)]
pub(super) struct Contains {
    pub(super) schema: u32,
    pub(super) least: u64,
    pub(super) most: u64,
}

#[derive(Debug)]
pub(super) struct ObjectRules {
    pub(super) least: u64,
    pub(super) most: u64,
    pub(super) properties: Properties,
    pub(super) patterns: Vec<(Pattern, u32)>,
    pub(super) additional: Option<u32>,
    pub(super) names: Option<u32>,
    pub(super) dependent_required: Vec<(String, Vec<String>)>,
    pub(super) dependent_schemas: Vec<(String, u32)>,
}

/// The names that a schema of objects speaks of.
#[derive(Debug)]
pub(super) struct Properties {
    /// In their order.
    list: Vec<Property>,
    /// For each place that names have ([`Name::place`]), one of those that have it: its number in the list and one more, or 0.
    places: Box<[u32; 64]>,
    /// The places that several names have.
    shared: u64,
    /// How many are required.
    required: u32,
    /// Of which one a member was that came first in an object, and behind each of them, when that was last seen: its
    /// place in the list. Those who send bodies write the same ones, and this spares looking their names up.
    /// Atomic, since plugins are shared by threads where they are tested; in a guest they are plain numbers.
    followers: Vec<AtomicU32>,
}

/// The last member of an object of which a property spoke: that property's place in the list and one more, or 0.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Last(u32);

/// A name of `properties`, of `required`, or of both.
#[derive(Debug)]
pub(super) struct Property {
    pub(super) name: String,
    /// See [`Name::head`].
    head: u64,
    pub(super) spelling: Spelling,
    pub(super) schema: Option<u32>,
    pub(super) required: bool,
    /// A number of its own: the required ones come first.
    pub(super) number: u32,
}

impl Property {
    pub(super) fn new(name: String, schema: Option<u32>, required: bool) -> Self {
        Self { head: Name::of(&name).head(), spelling: Spelling::of(&name), name, schema, required, number: 0 }
    }
}

impl Properties {
    /// Of a list that is in the order of their names.
    pub(super) fn new(mut list: Vec<Property>) -> Self {
        let required = list.iter().filter(|property| property.required).count() as u32;
        let mut next = [required, 0];
        for property in &mut list {
            let next = &mut next[usize::from(property.required)];
            property.number = *next;
            *next += 1;
        }
        let mut places = Box::new([0; 64]);
        let mut shared = 0;
        for (number, property) in (1..).zip(&list) {
            let place = Name::of(&property.name).place();
            if places[place] != 0 {
                shared |= 1 << place;
            }
            places[place] = number;
        }
        let followers = (0..=list.len() as u32).map(AtomicU32::new).collect();
        Self { list, places, shared, required, followers }
    }

    /// What is said of a member of this name.
    #[inline(always)]
    pub(super) fn get(&self, name: Name<'_>) -> Option<&Property> {
        self.list.get(self.find(name)?)
    }

    /// What is likely said of the member that comes behind that of this name, or first where that is none; and how the
    /// next one is told.
    #[inline(always)]
    pub(super) fn likely(&self, last: Last) -> Option<(&Property, Last)> {
        let index = self.followers.get(last.0 as usize)?.load(Ordering::Relaxed);
        Some((self.list.get(index as usize)?, Last(index + 1)))
    }

    /// What is said of a member of this name, which becomes what is likely where it comes now.
    #[inline(always)]
    pub(super) fn follow(&self, last: Last, name: Name<'_>) -> Option<(&Property, Last)> {
        let index = self.find(name)?;
        if let Some(follower) = self.followers.get(last.0 as usize) {
            follower.store(index as u32, Ordering::Relaxed);
        }
        Some((self.list.get(index)?, Last(index as u32 + 1)))
    }

    #[inline(always)]
    fn find(&self, name: Name<'_>) -> Option<usize> {
        let place = name.place();
        let index = (self.places[place] as usize).wrapping_sub(1);
        let property = self.list.get(index)?;
        if name.is(&property.name, property.head) {
            Some(index)
        } else if self.shared >> place & 1 == 1 {
            self.search(name.bytes())
        } else {
            None
        }
    }

    #[inline(never)]
    fn search(&self, name: &[u8]) -> Option<usize> {
        self.list.binary_search_by(|property| property.name.as_bytes().cmp(name)).ok()
    }

    /// Whether all that are required are among those whose bits are set: the bit of their number, where that is below 64.
    #[inline(always)]
    pub(super) fn are_there(&self, seen: u64) -> bool {
        self.required == 0 || self.required <= 64 && !seen & (u64::MAX >> (64 - self.required)) == 0
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Property> {
        self.list.iter()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

impl Rules {
    /// How a value is checked that is being read.
    pub(super) fn find_way(&self) -> Way {
        match self.always {
            Some(true) => return Way::Anything,
            Some(false) => return Way::Whole,
            None => {}
        }
        let values = self.values.iter().any(|values| !values.scalars);
        let whole = values || self.unevaluated_items.is_some() || self.unevaluated_properties.is_some();
        let array = self.array.as_ref().is_some_and(|array| array.unique || array.contains.is_some());
        let object = self.object.as_ref().is_some_and(|object| {
            let depends = !object.dependent_required.is_empty() || !object.dependent_schemas.is_empty();
            depends || object.names.is_some() || object.properties.required > 64
        });
        let by_type = self.types != Types::default()
            || !self.values.is_empty()
            || self.number.is_some()
            || self.string.is_some()
            || self.array.is_some()
            || self.object.is_some();
        match *self.in_place {
            _ if whole || array || object => Way::Whole,
            [] => Way::InParts,
            [InPlace::Ref(schema)] if !by_type => Way::As(schema),
            _ => Way::Whole,
        }
    }
}

impl ObjectRules {
    /// Whether members must be looked at one by one.
    pub(super) fn looks_at_members(&self) -> bool {
        !self.properties.is_empty() || !self.patterns.is_empty() || self.additional.is_some() || self.names.is_some()
    }
}

/// A set of types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Types(u8);

impl Types {
    const NAMES: [(&'static str, &'static str); 7] = [
        ("null", "null"),
        ("boolean", "a boolean"),
        ("string", "a string"),
        ("array", "an array"),
        ("object", "an object"),
        ("number", "a number"),
        ("integer", "an integer"),
    ];

    pub(super) const NONE: Self = Self(0);

    pub(super) fn named(name: &str) -> Option<Self> {
        let index = Self::NAMES.iter().position(|(known, _)| *known == name)?;
        Some(Self(1 << index))
    }

    pub(super) fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    #[inline(always)]
    pub(super) fn allow(self, view: &View<'_>) -> bool {
        match view {
            View::Null => self.has(0),
            View::Bool(_) => self.has(1),
            View::String(_) => self.has(2),
            View::Array(_) => self.allow_kind(Kind::Array),
            View::Object(_) => self.allow_kind(Kind::Object),
            View::Number(number) => self.has(5) || self.has(6) && number.is_integer(),
        }
    }

    #[inline(always)]
    pub(super) fn allow_kind(self, kind: Kind) -> bool {
        self.has(if kind == Kind::Array { 3 } else { 4 })
    }

    #[inline(always)]
    fn has(self, index: u8) -> bool {
        self.0 >> index & 1 == 1
    }

    /// `a string or null`.
    pub(super) fn describe(self) -> String {
        let names = Self::NAMES.iter().enumerate().filter(|(index, _)| self.0 >> index & 1 == 1);
        let names: Vec<_> = names.map(|(_, (_, name))| *name).collect();
        names.join(" or ")
    }
}

impl Default for Types {
    /// All of them.
    fn default() -> Self {
        Self(0x7f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_property_is_found_by_its_whole_name(names in prop::collection::btree_set("[ab]{0,12}", 0..100), other in "[ab]{0,12}") {
            let properties = Properties::new(names.iter().map(|name| Property::new(name.clone(), None, false)).collect());
            for name in names.iter().chain([&other]) {
                let found = properties.get(Name::of(name)).map(|property| &property.name);
                prop_assert_eq!(found, names.get(name));
            }
        }
    }
}
