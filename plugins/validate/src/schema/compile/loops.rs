//! Schemas that would be applied to one value for ever.

use super::super::rules::{InPlace, Rules};
use super::Compiler;

impl Compiler {
    /// Finds schemas that apply themselves to the same value again: no document could ever be checked.
    pub(super) fn find_loops(&mut self) {
        #[derive(Clone, Copy, PartialEq)]
        enum Seen {
            No,
            Open,
            Done,
        }
        let mut seen = vec![Seen::No; self.rules.len()];
        let mut looping = None;
        'all: for start in 0..self.rules.len() {
            let mut open: Vec<(usize, Vec<u32>)> = Vec::new();
            if seen[start] == Seen::No {
                seen[start] = Seen::Open;
                open.push((start, in_place(&self.rules[start])));
            }
            while let Some((id, next)) = open.last_mut() {
                match next.pop().map(|next| next as usize) {
                    None => {
                        seen[*id] = Seen::Done;
                        open.pop();
                    }
                    Some(next) => match seen[next] {
                        Seen::Done => {}
                        Seen::Open => {
                            looping = Some(*id);
                            break 'all;
                        }
                        Seen::No => {
                            seen[next] = Seen::Open;
                            open.push((next, in_place(&self.rules[next])));
                        }
                    },
                }
            }
        }
        let place = looping.and_then(|id| self.known.iter().find(|(_, known)| **known as usize == id));
        if let Some(place) = place.map(|(place, _)| *place) {
            self.complain(place, "leads back to itself for the same value, for ever");
        }
    }
}

/// The schemas that are applied to the same value.
fn in_place(rules: &Rules) -> Vec<u32> {
    let mut all = Vec::new();
    for rule in &rules.in_place {
        match rule {
            InPlace::All(schemas) | InPlace::Any(schemas) | InPlace::One(schemas) => all.extend(schemas),
            InPlace::Not(schema) | InPlace::Ref(schema) => all.push(*schema),
            InPlace::If { test, then, otherwise } => {
                all.push(*test);
                all.extend(then);
                all.extend(otherwise);
            }
            // Where another candidate loops, the limit of depth ends it.
            InPlace::DynamicRef { fallback, .. } => all.push(*fallback),
        }
    }
    if let Some(object) = &rules.object {
        all.extend(object.dependent_schemas.iter().map(|(_, schema)| schema));
    }
    all
}
