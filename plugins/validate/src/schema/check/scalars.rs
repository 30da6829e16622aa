//! Numbers and strings.

use std::cmp::Ordering;

use super::super::rules::{NumberRules, StringRules};
use super::{At, Check};
use crate::json::{Kept, Number};

impl Check<'_> {
    #[inline(always)]
    pub(super) fn number(&mut self, rules: &NumberRules, number: Number<'_>, at: &At<'_>) -> bool {
        let order = |bound: &Option<Kept>| bound.as_ref().map(|bound| number.cmp(&bound.number()));
        let shown =
            |bound: &Option<Kept>| bound.as_ref().map(|bound| bound.number().text().to_owned()).unwrap_or_default();
        let mut valid = true;
        if order(&rules.minimum).is_some_and(Ordering::is_lt) {
            valid = false;
            self.fault(at, || format!("must be at least {} (minimum)", shown(&rules.minimum)));
        }
        if order(&rules.maximum).is_some_and(Ordering::is_gt) {
            valid = false;
            self.fault(at, || format!("must be at most {} (maximum)", shown(&rules.maximum)));
        }
        if order(&rules.exclusive_minimum).is_some_and(Ordering::is_le) {
            valid = false;
            self.fault(at, || format!("must be more than {} (exclusiveMinimum)", shown(&rules.exclusive_minimum)));
        }
        if order(&rules.exclusive_maximum).is_some_and(Ordering::is_ge) {
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

    #[inline(always)]
    pub(super) fn string(&mut self, rules: &StringRules, text: &[u8], at: &At<'_>) -> bool {
        let mut valid = true;
        // A character has one to four bytes: most strings need no counting.
        let bytes = text.len() as u64;
        let fits = bytes.div_ceil(4) >= rules.least && bytes <= rules.most;
        if !fits {
            // Each has one byte that does not go on with another one.
            let characters = text.iter().filter(|byte| **byte & 0xc0 != 0x80).count() as u64;
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
            && !str::from_utf8(text).is_ok_and(|text| format.fits(text))
        {
            valid = false;
            self.fault(at, || format!("must be of the format {} (format)", format.name));
        }
        valid
    }
}
