//! Numbers and strings.

use super::super::rules::{NumberRules, StringRules};
use super::{At, Check};
use crate::json::Number;

impl Check<'_> {
    #[inline(never)]
    pub(super) fn number(&mut self, rules: &NumberRules, number: Number<'_>, at: &At<'_>) -> bool {
        let bound = |bound: &'_ Option<String>, fits: fn(Number<'_>, Number<'_>) -> bool| match bound {
            Some(bound) => fits(number, Number::new(bound)),
            None => true,
        };
        let shown = |bound: &Option<String>| bound.clone().unwrap_or_default();
        let mut valid = true;
        if !bound(&rules.minimum, |number, bound| number >= bound) {
            valid = false;
            self.fault(at, || format!("must be at least {} (minimum)", shown(&rules.minimum)));
        }
        if !bound(&rules.maximum, |number, bound| number <= bound) {
            valid = false;
            self.fault(at, || format!("must be at most {} (maximum)", shown(&rules.maximum)));
        }
        if !bound(&rules.exclusive_minimum, |number, bound| number > bound) {
            valid = false;
            self.fault(at, || format!("must be more than {} (exclusiveMinimum)", shown(&rules.exclusive_minimum)));
        }
        if !bound(&rules.exclusive_maximum, |number, bound| number < bound) {
            valid = false;
            self.fault(at, || format!("must be less than {} (exclusiveMaximum)", shown(&rules.exclusive_maximum)));
        }
        if let Some((divisor, written)) = &rules.multiple_of
            && !number.is_multiple_of(*divisor)
        {
            valid = false;
            self.fault(at, || format!("must be a multiple of {written} (multipleOf)"));
        }
        valid
    }

    #[inline(never)]
    pub(super) fn string(&mut self, rules: &StringRules, text: &str, at: &At<'_>) -> bool {
        let mut valid = true;
        // A character has one to four bytes: most strings need no counting.
        let bytes = text.len() as u64;
        let fits = bytes.div_ceil(4) >= rules.least && bytes <= rules.most;
        if !fits {
            let characters = text.chars().count() as u64;
            if characters < rules.least {
                valid = false;
                self.fault(at, || format!("must have at least {} characters (minLength)", rules.least));
            }
            if characters > rules.most {
                valid = false;
                self.fault(at, || format!("must have at most {} characters (maxLength)", rules.most));
            }
        }
        if let Some(pattern) = &rules.pattern {
            if !self.spend(text.len() as u32 / 32) {
                return false;
            }
            if !pattern.matches(text) {
                valid = false;
                self.fault(at, || format!("must match {} (pattern)", pattern.written()));
            }
        }
        if let Some(format) = rules.format
            && !format.fits(text)
        {
            valid = false;
            self.fault(at, || format!("must be of the format {} (format)", format.name));
        }
        valid
    }
}
