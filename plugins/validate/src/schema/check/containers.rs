//! Arrays and objects: how many there are in them, and what each is.

use std::ops::RangeInclusive;

use super::super::equal::unique;
use super::super::marks::Marks;
use super::super::rules::{ArrayRules, ObjectRules};
use super::{At, Check, Scope, Step};
use crate::json::{Items, Member, Members, Value};

impl<'c> Check<'c> {
    /// How many items there are.
    #[inline(always)]
    pub(super) fn items(&mut self, rules: &ArrayRules, len: u32, at: &At<'_>) -> bool {
        let allowed = rules.least..=rules.most;
        allowed.contains(&len.into()) || self.miscounted(len, allowed, "items", ["minItems", "maxItems"], at)
    }

    /// How many members there are.
    #[inline(always)]
    pub(super) fn members(&mut self, rules: &ObjectRules, len: u32, at: &At<'_>) -> bool {
        let allowed = rules.least..=rules.most;
        let keywords = ["minProperties", "maxProperties"];
        allowed.contains(&len.into()) || self.miscounted(len, allowed, "members", keywords, at)
    }

    /// Says that there are too few or too many, by which of these two keywords, and that this is wrong.
    #[cold]
    #[inline(never)]
    fn miscounted(
        &mut self,
        len: u32,
        allowed: RangeInclusive<u64>,
        what: &str,
        [min, max]: [&str; 2],
        at: &At<'_>,
    ) -> bool {
        let (least, most) = allowed.into_inner();
        if u64::from(len) < least {
            self.fault(at, || format!("must have at least {least} {what} ({min})"));
        }
        if u64::from(len) > most {
            self.fault(at, || format!("must have at most {most} {what} ({max})"));
        }
        false
    }

    #[inline(never)]
    pub(super) fn array(
        &mut self,
        rules: &'c ArrayRules,
        value: Value<'_>,
        items: Items<'_>,
        at: &At<'_>,
        scope: Option<&Scope<'_>>,
        mut marks: Option<&mut Marks>,
    ) -> bool {
        let mut valid = self.items(rules, items.len(), at);
        if !valid && !self.goes_on() {
            return false;
        }
        if !rules.prefix.is_empty() || rules.items.is_some() {
            for (index, item) in items.enumerate() {
                let Some(schema) = rules.prefix.get(index).copied().or(rules.items) else { break };
                let at = At { outer: Some(at), step: Step::Index(index) };
                valid &= self.schema(schema, item, &at, scope, None);
                if !valid && !self.goes_on() {
                    return false;
                }
                if let Some(marks) = marks.as_deref_mut() {
                    marks.set(index);
                }
            }
        }
        if let Some(contains) = &rules.contains {
            let mut found = 0;
            for (index, item) in items.enumerate() {
                let at = At { outer: Some(at), step: Step::Index(index) };
                if self.quietly(|check| check.schema(contains.schema, item, &at, scope, None)) {
                    found += 1;
                    if let Some(marks) = marks.as_deref_mut() {
                        marks.set(index);
                    }
                }
                if found > contains.most {
                    break;
                }
            }
            if found < contains.least {
                valid = false;
                self.fault(at, || format!("must contain at least {} items that fit (contains)", contains.least));
            }
            if found > contains.most {
                valid = false;
                self.fault(at, || format!("must contain at most {} items that fit (maxContains)", contains.most));
            }
        }
        if rules.unique && (valid || self.goes_on()) {
            if !self.spend(value.size()) {
                return false;
            }
            if !unique(items, &self.schema.hasher) {
                valid = false;
                self.fault(at, || "must not have two equal items (uniqueItems)".to_owned());
            }
        }
        valid
    }

    #[inline(never)]
    pub(super) fn object(
        &mut self,
        rules: &'c ObjectRules,
        value: Value<'_>,
        members: Members<'_>,
        at: &At<'_>,
        scope: Option<&Scope<'_>>,
        mut marks: Option<&mut Marks>,
    ) -> bool {
        let mut valid = self.members(rules, members.len(), at);
        if !valid && !self.goes_on() {
            return false;
        }
        if rules.looks_at_members() {
            valid &= self.each_member(rules, members, at, scope, marks.as_deref_mut());
        }
        for (name, needed) in &rules.dependent_required {
            if members.get(name).is_none() {
                continue;
            }
            for needed in needed.iter().filter(|needed| members.get(needed).is_none()) {
                valid = false;
                self.fault(at, || format!("must have the member {needed:?} beside {name:?} (dependentRequired)"));
            }
        }
        for (name, schema) in &rules.dependent_schemas {
            if !valid && !self.goes_on() {
                return false;
            }
            if members.get(name).is_some() {
                valid &= self.schema(*schema, value, at, scope, marks.as_deref_mut());
            }
        }
        valid
    }

    #[inline(never)]
    fn each_member(
        &mut self,
        rules: &'c ObjectRules,
        members: Members<'_>,
        at: &At<'_>,
        scope: Option<&Scope<'_>>,
        mut marks: Option<&mut Marks>,
    ) -> bool {
        let mut valid = true;
        // Which known members were seen: one bit for each of the first 64, the others are looked up.
        let mut seen = 0_u64;
        for (index, member) in members.enumerate() {
            let at = At { outer: Some(at), step: Step::Name(member.name_value) };
            if let Some(names) = rules.names {
                valid &= self.name(names, member, &at, scope);
            }
            let mut evaluated = false;
            if let Some(property) = rules.properties.get(member.key()) {
                seen |= 1_u64.checked_shl(property.number).unwrap_or_default();
                if let Some(schema) = property.schema {
                    evaluated = true;
                    valid &= self.schema(schema, member.value, &at, scope, None);
                }
            }
            if !evaluated || !rules.patterns.is_empty() {
                valid &= self.other(rules, member, &mut evaluated, &at, scope);
            }
            if let Some(marks) = marks.as_deref_mut().filter(|_| evaluated) {
                marks.set(index);
            }
            if self.exhausted || !valid && !self.goes_on() {
                return false;
            }
        }
        if !rules.properties.are_there(seen) {
            for property in rules.properties.iter().filter(|property| property.required) {
                let number = property.number;
                let there = if number < 64 { seen >> number & 1 == 1 } else { members.get(&property.name).is_some() };
                if !there {
                    valid = false;
                    if !self.fault(at, || format!("must have the member {:?} (required)", property.name)) {
                        return false;
                    }
                }
            }
        }
        valid
    }

    /// `propertyNames`.
    #[inline(never)]
    fn name(&mut self, schema: u32, member: Member<'_>, at: &At<'_>, scope: Option<&Scope<'_>>) -> bool {
        let fits = self.quietly(|check| check.schema(schema, member.name_value, at, scope, None));
        if !fits {
            self.fault(at, || "has a name that the schema does not allow (propertyNames)".to_owned());
        }
        fits
    }

    /// `patternProperties`, and `additionalProperties` where nothing else said something of the member.
    #[inline(never)]
    fn other(
        &mut self,
        rules: &'c ObjectRules,
        member: Member<'_>,
        evaluated: &mut bool,
        at: &At<'_>,
        scope: Option<&Scope<'_>>,
    ) -> bool {
        let mut valid = true;
        for (pattern, schema) in &rules.patterns {
            if self.spend(1) && pattern.matches(member.name().as_bytes()) {
                *evaluated = true;
                valid &= self.schema(*schema, member.value, at, scope, None);
            }
        }
        if let Some(schema) = rules.additional.filter(|_| !*evaluated) {
            *evaluated = true;
            if self.schema.rules[schema as usize].always == Some(false) {
                valid = false;
                self.fault(at, || "is not known to the schema (additionalProperties)".to_owned());
            } else {
                valid &= self.schema(schema, member.value, at, scope, None);
            }
        }
        valid
    }
}
