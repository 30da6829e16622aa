//! Applies a schema to a value.
//!
//! Twice where it is wrong: once while it is read, to know that it is, which ends at the first fault, and once more to say
//! why, for which the whole of it is read into a document. Both count their steps, and both are bounded in depth: neither
//! a hostile document nor a careless schema takes the time or the stack of more than it was given.

mod containers;
mod reading;
mod scalars;

use super::equal::equal_views;
use super::marks::Marks;
use super::rules::{InPlace, Rules, Values};
use super::{FAULTS, Fault, Schema, Verdict};
use crate::json::{Value, View, pointer};

/// Schemas within each other while a value is checked: levels of the document, times the schemas on each.
///
/// Measured in WebAssembly, one of them takes 0.7 to 1.8 KiB of stack, and the host gives a guest 512 KiB.
const DEPTH: u32 = 256;

pub(super) use reading::fits;

/// Checks a value, and says all that is wrong with it.
pub(super) fn check(schema: &Schema, value: Value<'_>, steps: u32) -> Verdict {
    let mut check = Check { explain: true, ..Check::new(schema, steps) };
    let valid = check.schema(schema.root, value, &At::ROOT, None, None);
    if !check.faults.is_empty() {
        Verdict::Invalid(check.faults)
    } else if valid && !check.exhausted {
        Verdict::Valid
    } else {
        Verdict::TooComplex
    }
}

struct Check<'c> {
    schema: &'c Schema,
    /// Steps that are left.
    steps: u32,
    depth: u32,
    /// No steps are left, or it went too deep: whatever comes out means nothing.
    exhausted: bool,
    /// Whether to go on after a fault and to say what is wrong.
    explain: bool,
    faults: Vec<Fault>,
}

/// Where a value is in its document.
struct At<'s> {
    outer: Option<&'s At<'s>>,
    step: Step<'s>,
}

enum Step<'s> {
    Root,
    /// The name, a string of the document.
    Name(Value<'s>),
    Index(usize),
}

/// The schema resources on the way to a schema, the innermost first.
struct Scope<'s> {
    outer: Option<&'s Scope<'s>>,
    resource: u32,
}

impl<'c> Check<'c> {
    /// Of this schema, in so many steps, without noting faults.
    fn new(schema: &'c Schema, steps: u32) -> Self {
        Self { schema, steps, depth: 0, exhausted: false, explain: false, faults: Vec::new() }
    }

    fn schema(
        &mut self,
        id: u32,
        value: Value<'_>,
        at: &At<'_>,
        scope: Option<&Scope<'_>>,
        marks: Option<&mut Marks>,
    ) -> bool {
        let schema: &'c Schema = self.schema;
        let rules = &schema.rules[id as usize];
        if let Some(always) = rules.always {
            return self.always(always, at);
        }
        if self.depth >= DEPTH || !self.spend(1) {
            self.exhausted = true;
            return false;
        }
        // What most schemas say of a scalar is said of its type, and then nothing goes deeper.
        if rules.values.is_empty() && rules.in_place.is_empty() {
            // An arm for each: what they have in common would have to fit all of them first.
            match value.view() {
                view @ (View::Null | View::Bool(_)) if rules.types.allow(&view) => return true,
                view @ View::Number(_) if rules.types.allow(&view) => return self.scalar(rules, view, at),
                view @ View::String(_) if rules.types.allow(&view) => return self.scalar(rules, view, at),
                _ => {}
            }
        }
        self.whole(rules, value, at, scope, marks)
    }

    #[inline(never)]
    fn always(&mut self, always: bool, at: &At<'_>) -> bool {
        if !always {
            self.fault(at, || "must not be there (false)".to_owned());
        }
        always
    }

    /// Applies a schema that is neither `true` nor `false`, one level deeper.
    #[inline(never)]
    fn whole(
        &mut self,
        rules: &'c Rules,
        value: Value<'_>,
        at: &At<'_>,
        scope: Option<&Scope<'_>>,
        marks: Option<&mut Marks>,
    ) -> bool {
        self.depth += 1;
        let entered = self.schema.dynamic && scope.is_none_or(|scope| scope.resource != rules.resource);
        let own;
        let scope = if entered {
            own = Scope { outer: scope, resource: rules.resource };
            Some(&own)
        } else {
            scope
        };
        let valid = self.apply(rules, value, at, scope, marks);
        self.depth -= 1;
        valid
    }

    /// Counts steps, and answers whether there were any left.
    fn spend(&mut self, steps: u32) -> bool {
        match self.steps.checked_sub(steps) {
            Some(left) => self.steps = left,
            None => self.exhausted = true,
        }
        !self.exhausted
    }

    /// Notes a fault, and answers whether to look for more.
    #[cold]
    #[inline(never)]
    fn fault(&mut self, at: &At<'_>, detail: impl FnOnce() -> String) -> bool {
        if !self.explain || self.exhausted || self.faults.len() >= FAULTS {
            return false;
        }
        let fault = Fault { pointer: at.pointer(), detail: detail() };
        if !self.faults.contains(&fault) {
            self.faults.push(fault);
        }
        self.goes_on()
    }

    /// Whether to look further after something was wrong.
    fn goes_on(&self) -> bool {
        self.explain && !self.exhausted && self.faults.len() < FAULTS
    }

    /// Runs without noting faults.
    fn quietly<R>(&mut self, run: impl FnOnce(&mut Self) -> R) -> R {
        let explain = std::mem::replace(&mut self.explain, false);
        let result = run(self);
        self.explain = explain;
        result
    }

    #[inline(always)]
    fn apply(
        &mut self,
        rules: &'c Rules,
        value: Value<'_>,
        at: &At<'_>,
        scope: Option<&Scope<'_>>,
        marks: Option<&mut Marks>,
    ) -> bool {
        let view = value.view();
        if !rules.types.allow(&view) {
            self.fault(at, || format!("must be {} (type)", rules.types.describe()));
            return false;
        }
        let unevaluated = match &view {
            View::Array(_) => rules.unevaluated_items,
            View::Object(_) => rules.unevaluated_properties,
            _ => None,
        };
        match unevaluated {
            Some(schema) => self.marked(schema, rules, value, view, at, scope, marks),
            None => self.keywords(rules, value, view, at, scope, marks),
        }
    }

    /// Applies the rules, and then a schema to members or items that no other schema looked at.
    #[inline(never)]
    #[expect(clippy::too_many_arguments, reason = "where the check stands, of which each function has most")]
    fn marked(
        &mut self,
        unevaluated: u32,
        rules: &'c Rules,
        value: Value<'_>,
        view: View<'_>,
        at: &At<'_>,
        scope: Option<&Scope<'_>>,
        marks: Option<&mut Marks>,
    ) -> bool {
        let len = match &view {
            View::Array(items) => items.len(),
            View::Object(members) => members.len(),
            _ => 0,
        };
        let mut own = Marks::new(len);
        let mut valid = self.keywords(rules, value, view, at, scope, Some(&mut own));
        // What is wrong already would seem unevaluated, too.
        if valid {
            valid = self.unevaluated(unevaluated, view, at, scope, &mut own);
        }
        if let Some(marks) = marks.filter(|_| valid) {
            marks.merge(&own);
        }
        valid
    }

    #[inline(never)]
    fn unevaluated(
        &mut self,
        schema: u32,
        view: View<'_>,
        at: &At<'_>,
        scope: Option<&Scope<'_>>,
        marks: &mut Marks,
    ) -> bool {
        let mut valid = true;
        let forbidden = self.schema.rules[schema as usize].always == Some(false);
        let mut one = |check: &mut Self, index: usize, step: Step<'_>, value: Value<'_>, keyword: &str| {
            if marks.has(index) {
                return true;
            }
            marks.set(index);
            let at = At { outer: Some(at), step };
            let fits = if forbidden {
                check.fault(&at, || format!("is not known to the schema ({keyword})"));
                false
            } else {
                check.schema(schema, value, &at, scope, None)
            };
            valid &= fits;
            fits || check.goes_on()
        };
        match view {
            View::Array(mut items) => {
                let mut index = 0..;
                items.all(|item| {
                    let index = index.next().unwrap_or_default();
                    one(self, index, Step::Index(index), item, "unevaluatedItems")
                });
            }
            View::Object(mut members) => {
                let mut index = 0..;
                members.all(|member| {
                    let index = index.next().unwrap_or_default();
                    one(self, index, Step::Name(member.name_value), member.value, "unevaluatedProperties")
                });
            }
            _ => {}
        }
        valid
    }

    /// Applies what is said of a value of this type.
    #[inline(always)]
    fn keywords(
        &mut self,
        rules: &'c Rules,
        value: Value<'_>,
        view: View<'_>,
        at: &At<'_>,
        scope: Option<&Scope<'_>>,
        mut marks: Option<&mut Marks>,
    ) -> bool {
        let mut valid = true;
        for values in &rules.values {
            if !self.is_one_of(values, view) {
                valid = false;
                if !self.fault(at, || values.expected.clone()) {
                    return false;
                }
            }
        }
        valid &= match view {
            View::Array(items) => match &rules.array {
                Some(rules) => self.array(rules, value, items, at, scope, marks.as_deref_mut()),
                None => true,
            },
            View::Object(members) => match &rules.object {
                Some(rules) => self.object(rules, value, members, at, scope, marks.as_deref_mut()),
                None => true,
            },
            scalar => self.scalar(rules, scalar, at),
        };
        for rule in &rules.in_place {
            if !valid && !self.goes_on() {
                return false;
            }
            valid &= self.in_place(rule, value, at, scope, marks.as_deref_mut());
        }
        valid
    }

    /// Applies what is said of a scalar of this type.
    #[inline(never)]
    fn scalar(&mut self, rules: &Rules, view: View<'_>, at: &At<'_>) -> bool {
        match view {
            View::Number(number) => match &rules.number {
                Some(rules) => self.number(rules, number, at),
                None => true,
            },
            View::String(text) => match &rules.string {
                Some(rules) => self.string(rules, text, at),
                None => true,
            },
            _ => true,
        }
    }

    #[inline(never)]
    fn is_one_of(&mut self, values: &Values, view: View<'_>) -> bool {
        if !self.spend(values.places.len() as u32 / 8) {
            return false;
        }
        let documents = &self.schema.documents;
        values.places.iter().any(|(document, slot)| equal_views(documents[*document as usize].at(*slot).view(), view))
    }

    #[inline(never)]
    fn in_place(
        &mut self,
        rule: &'c InPlace,
        value: Value<'_>,
        at: &At<'_>,
        scope: Option<&Scope<'_>>,
        mut marks: Option<&mut Marks>,
    ) -> bool {
        match rule {
            InPlace::Ref(schema) => self.schema(*schema, value, at, scope, marks),
            InPlace::DynamicRef { fallback, candidates } => {
                let mut chosen = *fallback;
                let mut next = scope;
                while let Some(scope) = next {
                    if let Some((_, schema)) = candidates.iter().find(|(resource, _)| *resource == scope.resource) {
                        chosen = *schema;
                    }
                    next = scope.outer;
                }
                self.schema(chosen, value, at, scope, marks)
            }
            InPlace::All(schemas) => {
                let mut valid = true;
                for schema in schemas {
                    valid &= self.schema(*schema, value, at, scope, marks.as_deref_mut());
                    if !valid && !self.goes_on() {
                        return false;
                    }
                }
                valid
            }
            InPlace::Any(schemas) => {
                let fits = self.alternatives(schemas, value, at, scope, marks, u32::MAX);
                if fits == 0 {
                    self.fault(at, || format!("must fit at least one of {} schemas (anyOf)", schemas.len()));
                }
                fits > 0
            }
            InPlace::One(schemas) => {
                let fits = self.alternatives(schemas, value, at, scope, marks, 2);
                if fits != 1 {
                    let found = if fits == 0 { "fits none" } else { "fits more" };
                    self.fault(at, || format!("must fit exactly one of {} schemas, {found} (oneOf)", schemas.len()));
                }
                fits == 1
            }
            InPlace::Not(schema) => {
                let fits = self.quietly(|check| check.schema(*schema, value, at, scope, None));
                if fits {
                    self.fault(at, || "must not fit what the schema rules out (not)".to_owned());
                }
                !fits
            }
            InPlace::If { test, then, otherwise } => {
                let mut own = marks.as_deref().map(Marks::like);
                let fits = self.quietly(|check| check.schema(*test, value, at, scope, own.as_mut()));
                if let (true, Some(marks), Some(own)) = (fits, marks.as_deref_mut(), own) {
                    marks.merge(&own);
                }
                match if fits { then } else { otherwise } {
                    Some(schema) => self.schema(*schema, value, at, scope, marks),
                    None => true,
                }
            }
        }
    }

    /// How many of these schemas the value fits, up to `enough`; up to one where nothing is marked and any number will
    /// do.
    #[inline(never)]
    fn alternatives(
        &mut self,
        schemas: &[u32],
        value: Value<'_>,
        at: &At<'_>,
        scope: Option<&Scope<'_>>,
        mut marks: Option<&mut Marks>,
        enough: u32,
    ) -> u32 {
        let enough = if marks.is_none() && enough == u32::MAX { 1 } else { enough };
        let mut fits = 0;
        for schema in schemas {
            let mut own = marks.as_deref().map(Marks::like);
            if self.quietly(|check| check.schema(*schema, value, at, scope, own.as_mut())) {
                fits += 1;
                if let (Some(marks), Some(own)) = (marks.as_deref_mut(), own) {
                    marks.merge(&own);
                }
                if fits >= enough {
                    break;
                }
            }
            if self.exhausted {
                break;
            }
        }
        fits
    }
}

impl At<'_> {
    const ROOT: At<'static> = At { outer: None, step: Step::Root };

    fn pointer(&self) -> String {
        let mut steps = Vec::new();
        let mut next = Some(self);
        while let Some(at) = next {
            steps.push(&at.step);
            next = at.outer;
        }
        pointer(steps.into_iter().rev().filter_map(|step| match step {
            Step::Root => None,
            Step::Name(name) => Some(name.as_str().unwrap_or_default().into()),
            Step::Index(index) => Some(index.to_string().into()),
        }))
    }
}
