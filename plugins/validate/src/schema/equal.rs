//! When two values are the same to JSON Schema: numbers by value, objects in any order.

use std::hash::{BuildHasher, Hash, Hasher};

use crate::json::{Items, Value, View};

/// Whether two values, of one or of two documents, are equal.
pub(super) fn equal(one: Value<'_>, other: Value<'_>) -> bool {
    equal_views(one.view(), other.view())
}

/// The same of what the values were seen to be: one of them may be in no document.
pub(super) fn equal_views(one: View<'_>, other: View<'_>) -> bool {
    match (one, other) {
        (View::Null, View::Null) => true,
        (View::Bool(one), View::Bool(other)) => one == other,
        (View::Number(one), View::Number(other)) => one == other,
        (View::String(one), View::String(other)) => one == other,
        (View::Array(one), View::Array(other)) => {
            one.len() == other.len() && one.zip(other).all(|(one, other)| equal(one, other))
        }
        (View::Object(mut one), View::Object(other)) => {
            one.len() == other.len()
                && one.all(|member| other.get(member.name()).is_some_and(|value| equal(member.value, value)))
        }
        _ => false,
    }
}

/// Whether no two items are equal. Sorted by a keyed hash: the time does not depend on which values a client chose.
pub(super) fn unique(items: Items<'_>, hasher: &impl BuildHasher) -> bool {
    if items.len() < 2 {
        return true;
    }
    let mut hashed: Vec<_> = items.map(|item| (hash(item, hasher), item)).collect();
    hashed.sort_unstable_by_key(|(hash, _)| *hash);
    let same_hash = hashed.chunk_by(|(one, _), (other, _)| one == other);
    same_hash.into_iter().all(|same| {
        let earlier = |(index, (_, item)): (usize, &(u64, Value<'_>))| {
            same[..index].iter().any(|(_, other)| equal(*item, *other))
        };
        !same.iter().enumerate().any(earlier)
    })
}

fn hash(value: Value<'_>, hasher: &impl BuildHasher) -> u64 {
    let mut state = hasher.build_hasher();
    match value.view() {
        View::Null => state.write_u8(0),
        View::Bool(value) => state.write_u8(1 + u8::from(value)),
        View::Number(number) => {
            state.write_u8(3);
            number.hash(&mut state);
        }
        View::String(text) => {
            state.write_u8(4);
            text.hash(&mut state);
        }
        View::Array(items) => {
            state.write_u8(5);
            items.for_each(|item| state.write_u64(hash(item, hasher)));
        }
        View::Object(members) => {
            state.write_u8(6);
            // A sum, since the order does not matter.
            let member = |member: crate::json::Member<'_>| {
                let mut state = hasher.build_hasher();
                member.name().hash(&mut state);
                state.write_u64(hash(member.value, hasher));
                state.finish()
            };
            state.write_u64(members.map(member).fold(0, u64::wrapping_add));
        }
    }
    state.finish()
}

#[cfg(test)]
mod tests {
    use std::hash::RandomState;

    use super::*;
    use crate::json::parse;

    fn is_unique(text: &str) -> bool {
        let document = parse(text.as_bytes(), &crate::json::Limits::of_schemas()).unwrap();
        unique(document.root().as_array().unwrap(), &RandomState::new())
    }

    #[test]
    fn values_are_equal_by_meaning() {
        assert!(!is_unique("[1,2,1.0]"));
        assert!(!is_unique(r#"[{"a":1,"b":[2]},3,{"b":[2.0],"a":1e0}]"#));
        assert!(!is_unique(r#"["é",1,"\u00e9"]"#));
        assert!(is_unique(r#"[1,true,"1",[1],{"a":1},null,[[1]],0,false,[],{}]"#));
        assert!(is_unique("[9007199254740992,9007199254740993,1e400,1e401]"));
    }
}
