use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Map, Value, json};
use tollgate_sdk::Complaints;

use super::super::super::{Source, Verdict, compile};
use super::super::check;
use super::*;
use crate::json::parse;

fn compiled(schema: &Value) -> Option<Schema> {
    let source = Source { pointer: String::new(), text: schema.to_string(), as_text: false };
    compile(&source, &[], true, &mut Complaints::new())
}

fn limits() -> Limits {
    Limits {
        depth: 6,
        members: 5,
        items: 5,
        string: 20,
        name: 10,
        digits: 20,
        values: 40,
        duplicates: false,
        nul: false,
    }
}

const NAMES: [&str; 5] = ["a", "b", "a name that is long", "xa", "x/~"];

/// Merges two objects, since a schema may say several things.
fn both(one: Value, other: Value) -> Value {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => one.into_iter().chain(other).collect::<Map<_, _>>().into(),
        (_, other) => other,
    }
}

fn any_schema() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        4 => Just(json!(true)),
        1 => Just(json!(false)),
        2 => select(vec!["null", "boolean", "string", "number", "integer", "array", "object"])
            .prop_map(|name| json!({ "type": name })),
        1 => Just(json!({ "type": ["string", "integer", "object", "array"] })),
        2 => (-3..3, 0..9).prop_map(|(least, most)| json!({ "minimum": least, "exclusiveMaximum": most, "multipleOf": 0.5 })),
        2 => (0..3, 2..9).prop_map(|(least, most)| json!({ "minLength": least, "maxLength": most })),
        1 => Just(json!({ "pattern": "^[a-f]*$" })),
        1 => Just(json!({ "format": "date" })),
        1 => Just(json!({ "enum": [1, "a", [], { "a": 1 }, null] })),
        2 => Just(json!({ "enum": [1, 0.25, "a", "a string of some length", null], "const": 1.0 })),
        2 => Just(json!({ "enum": [-1, "b", "2020-02-01", true], "maxLength": 9 })),
        1 => Just(json!({ "$ref": "#/$defs/one" })),
        1 => Just(json!({ "$ref": "#/$defs/other", "type": ["integer", "object"] })),
    ];
    scalar.prop_recursive(4, 24, 4, |inner| {
        let object = (
            prop::collection::btree_map(select(&NAMES[..]), inner.clone(), 0..4),
            subsequence(&NAMES[..], 0..3),
            prop::option::of(inner.clone()),
            prop::option::of(inner.clone()),
            0..3,
        );
        let object = object.prop_map(|(properties, required, additional, pattern, kind)| {
            let mut schema = json!({ "properties": properties, "required": required, "maxProperties": 4 });
            if let Some(additional) = additional {
                schema["additionalProperties"] = additional;
            }
            if let Some(pattern) = pattern {
                schema["patternProperties"] = json!({ "^x": pattern });
            }
            match kind {
                0 => schema["type"] = json!("object"),
                1 => schema["dependentRequired"] = json!({ "a": ["b"] }),
                _ => {}
            }
            schema
        });
        let array = (prop::collection::vec(inner.clone(), 1..3), inner.clone(), 0..3, any::<bool>());
        let array = array.prop_map(|(prefix, items, least, unique)| {
            json!({ "prefixItems": prefix, "items": items, "minItems": least, "maxItems": 4, "uniqueItems": unique })
        });
        let mixed = (inner.clone(), inner.clone(), 0..6).prop_map(|(one, other, kind)| match kind {
            0 => json!({ "allOf": [one, other] }),
            1 => json!({ "anyOf": [one, other] }),
            2 => json!({ "oneOf": [one, other] }),
            3 => json!({ "not": one }),
            4 => json!({ "contains": one, "unevaluatedItems": other }),
            _ => json!({ "propertyNames": one, "unevaluatedProperties": other }),
        });
        prop_oneof![
            object.clone(),
            array.clone(),
            mixed,
            (object, array, inner).prop_map(|(one, other, more)| both(both(one, other), more)),
        ]
    })
}

fn any_value() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Into::into),
        (-5..10).prop_map(Into::into),
        (-8..20).prop_map(|quarters| (f64::from(quarters) / 4.0).into()),
        "[abcé\n]{0,9}|2020-02-0[1-9]|a string of some length".prop_map(Into::into),
    ];
    scalar.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Into::into),
            prop::collection::btree_map(select(&NAMES[..]).prop_map(str::to_owned), inner, 0..6)
                .prop_map(|members| members.into_iter().collect::<Map<_, _>>().into()),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// What is checked while it is read gets the answer that it gets as a document.
    #[test]
    fn reading_answers_as_a_document_does(
        schema in any_schema(),
        defined in [any_schema(), any_schema()],
        value in any_value(),
        pretty: bool,
        steps in 1_u32..60,
        broken in prop::option::weighted(0.2, (any::<prop::sample::Index>(), select(vec!["", "]", "}", ",", "\"", "0"]))),
    ) {
        let [one, other] = defined;
        let schema = if schema.is_object() { schema } else { json!({ "items": schema }) };
        let Some(schema) = compiled(&both(schema, json!({ "$defs": { "one": one, "other": other } }))) else {
            // It leads back to itself.
            return Ok(());
        };
        let mut text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
        if let Some((index, with)) = broken {
            let at = index.index(text.len());
            if text.is_char_boundary(at) && text.is_char_boundary(at + 1) {
                text.replace_range(at..=at, with);
            }
        }
        let reading = fits(&schema, text.as_bytes(), &limits(), steps);
        match parse(text.as_bytes(), &limits()) {
            Err(malformed) => prop_assert!(matches!(&reading, Ok(false)) || reading == Err(malformed), "{}", text),
            Ok(document) => {
                let verdict = check(&schema, document.root(), steps);
                let whole = matches!(schema.rules[0].way, Way::Whole | Way::As(_)) || schema.rules.iter().any(says_more_than_once);
                if verdict == Verdict::Valid && !whole {
                    prop_assert_eq!(reading, Ok(true), "{}", text);
                } else if verdict != Verdict::Valid {
                    prop_assert_eq!(reading, Ok(false), "{} {:?}", text, verdict);
                }
            }
        }
    }
}

/// Whether a pattern may speak of a member that a property speaks of.
fn says_more_than_once(rules: &Rules) -> bool {
    let Some(object) = &rules.object else { return false };
    object.patterns.iter().any(|(pattern, _)| {
        object.properties.iter().any(|property| property.schema.is_some() && pattern.matches(property.name.as_bytes()))
    })
}

#[test]
fn only_what_needs_it_becomes_a_document() {
    let way = |schema: Value| compiled(&schema).expect("a schema").rules[0].way;
    for parts in [
        json!({ "type": "object", "properties": { "a": { "enum": [1] } }, "required": ["a"], "minProperties": 1 }),
        json!({ "patternProperties": { "^x": true }, "additionalProperties": false, "items": true, "maxItems": 1 }),
        json!({ "maximum": 1, "pattern": "a" }),
        json!({ "enum": [1, "a", null], "const": true, "type": ["object", "string"] }),
    ] {
        assert_eq!(way(parts.clone()), Way::InParts, "{parts}");
    }
    assert_eq!(way(json!({})), Way::Anything);
    assert!(matches!(way(json!({ "$ref": "#/$defs/a", "$defs": { "a": {} } })), Way::As(_)));
    for whole in [
        json!({ "enum": [1, []] }),
        json!({ "const": {} }),
        json!({ "$ref": "#/$defs/a", "const": 1, "$defs": { "a": {} } }),
        json!({ "uniqueItems": true }),
        json!({ "contains": true }),
        json!({ "not": true }),
        json!({ "propertyNames": true }),
        json!({ "dependentRequired": { "a": ["b"] } }),
        json!({ "dependentSchemas": { "a": true } }),
        json!({ "unevaluatedItems": true }),
        json!({ "unevaluatedProperties": true }),
        json!({ "$ref": "#/$defs/a", "type": "string", "$defs": { "a": {} } }),
        json!({ "required": (0..65).map(|number| number.to_string()).collect::<Vec<_>>() }),
    ] {
        assert_eq!(way(whole.clone()), Way::Whole, "{whole}");
    }
}
