//! Properties over generated documents. More cases: `PROPTEST_CASES=10000 cargo test -p tollgate-plugin-convert`.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

use proptest::prelude::*;
use tollgate_plugin_convert::{Config, Rules, json_to_xml, xml_to_json};

#[derive(Debug, Clone)]
struct Element {
    name: String,
    namespaces: Vec<(String, String)>,
    attributes: Vec<(String, String)>,
    children: Vec<Node>,
}

#[derive(Debug, Clone)]
enum Node {
    Element(Element),
    Text(String),
}

fn rules(options: serde_json::Value) -> Rules {
    let mut config = serde_json::json!({ "responses": { "to": "json" } });
    config.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
    serde_json::from_value::<Config>(config).unwrap().rules().unwrap()
}

/// A name; some with a prefix, some that look like an escape.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => "[a-d]",
        3 => "[A-Za-z_é日][A-Za-z0-9._\\-é日·]{0,6}",
        1 => "[p-r]:[a-z]{1,3}",
        1 => Just("_x0041_".to_owned()),
    ]
}

/// Text with something in it that is not white space: other text is dropped.
fn text() -> impl Strategy<Value = String> {
    let character = prop_oneof![
        8 => prop::char::range(' ', '~'),
        2 => Just('\n'),
        1 => Just('\r'),
        1 => Just('\t'),
        2 => prop::char::range('\u{80}', '\u{D7FF}'),
        1 => prop::char::range('\u{E000}', '\u{FFFD}'),
        1 => prop::char::range('\u{10000}', '\u{10FFFF}'),
    ];
    let characters = prop::collection::vec(character, 1..12).prop_map(String::from_iter);
    prop_oneof![4 => characters, 1 => "[0-9]{1,20}", 1 => Just("9007199254740993".to_owned())]
        .prop_filter("only white space", |text| !text.bytes().all(|byte| byte.is_ascii_whitespace()))
}

fn pairs(name: impl Strategy<Value = String>) -> impl Strategy<Value = Vec<(String, String)>> {
    let value = prop_oneof![text(), Just(String::new()), Just(" \t\r\n".to_owned())];
    prop::collection::btree_map(name, value, 0..4).prop_map(|pairs| pairs.into_iter().collect())
}

fn element(mixed: bool) -> impl Strategy<Value = Element> {
    let namespaces = || prop_oneof![4 => Just(Vec::new()), 1 => pairs("xmlns|xmlns:[p-r]")];
    let head = move || (name(), namespaces(), pairs(name()));
    let leaf = (head(), prop::option::of(text())).prop_map(|((name, namespaces, attributes), text)| Element {
        name,
        namespaces,
        attributes,
        children: text.map(Node::Text).into_iter().collect(),
    });
    leaf.prop_recursive(5, 40, 6, move |inner| {
        let child = prop_oneof![3 => inner.prop_map(Node::Element), 2 => text().prop_map(Node::Text)];
        (head(), prop::collection::vec(child, 0..6)).prop_map(move |((name, namespaces, attributes), children)| {
            let mut element = Element { name, namespaces, attributes, children };
            element.settle(mixed);
            element
        })
    })
}

impl Element {
    /// Makes it a document that the convention can keep: texts are not neighbours; and without mixed content, there are
    /// only elements, those of the same name together.
    fn settle(&mut self, mixed: bool) {
        if mixed {
            self.children.dedup_by(|a, b| matches!((a, b), (Node::Text(_), Node::Text(_))));
            return;
        }
        self.children.retain(|child| matches!(child, Node::Element(_)));
        let mut seen: Vec<String> = Vec::new();
        for child in &self.children {
            if let Node::Element(element) = child
                && !seen.contains(&element.name)
            {
                seen.push(element.name.clone());
            }
        }
        self.children.sort_by_key(|child| match child {
            Node::Element(element) => seen.iter().position(|name| *name == element.name),
            Node::Text(_) => None,
        });
    }

    fn write(&self, out: &mut String) {
        let escape = |text: &str, quotes: bool| {
            let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('\r', "&#13;");
            if quotes { text.replace('"', "&quot;").replace('\n', "&#10;").replace('\t', "&#9;") } else { text }
        };
        *out += &format!("<{}", self.name);
        for (name, value) in self.namespaces.iter().chain(&self.attributes) {
            *out += &format!(" {name}=\"{}\"", escape(value, true));
        }
        if self.children.is_empty() {
            *out += "/>";
            return;
        }
        out.push('>');
        for child in &self.children {
            match child {
                Node::Element(element) => element.write(out),
                Node::Text(text) => *out += &escape(text, false),
            }
        }
        *out += &format!("</{}>", self.name);
    }

    fn document(&self) -> String {
        let mut out = String::from(r#"<?xml version="1.0" encoding="UTF-8"?>"#);
        self.write(&mut out);
        out
    }
}

fn there_and_back(xml: &str, rules: &Rules) -> Result<(), TestCaseError> {
    let json = xml_to_json(xml.as_bytes(), None, rules).map_err(|fault| TestCaseError::fail(fault.to_string()))?;
    prop_assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok(), "{}", json);
    let back = json_to_xml(json.as_bytes(), rules).map_err(|fault| TestCaseError::fail(format!("{fault}: {json}")))?;
    prop_assert_eq!(back, xml);
    Ok(())
}

/// JSON of any shape, with names that XML does not have.
fn json() -> impl Strategy<Value = serde_json::Value> {
    let name = prop_oneof![4 => "[@$#]?[a-c]", 1 => Just("$".to_owned()), 1 => Just("#text".to_owned()), 1 => Just("@xmlns".to_owned()), 2 => "\\PC{0,4}"];
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        "[ -~\\t\\n\\u{80}-\\u{FFFF}]{0,6}".prop_map(Into::into),
    ];
    leaf.prop_recursive(5, 40, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Into::into),
            prop::collection::vec((name.clone(), inner), 0..5)
                .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    #[test]
    fn jsonml_is_lossless(element in element(true)) {
        let convention = serde_json::json!({ "convention": "jsonml" });
        there_and_back(&element.document(), &rules(convention))?;
    }

    #[test]
    fn badgerfish_is_lossless_without_mixed_content(element in element(false)) {
        let convention = serde_json::json!({ "convention": "badgerfish" });
        there_and_back(&element.document(), &rules(convention))?;
    }

    #[test]
    fn attribute_prefix_is_lossless_without_mixed_content(element in element(false)) {
        there_and_back(&element.document(), &rules(serde_json::json!({})))?;
    }

    #[test]
    fn what_comes_out_of_json_is_well_formed(value in json()) {
        for options in [
            serde_json::json!({ "convention": "badgerfish" }),
            serde_json::json!({ "convention": "parker" }),
            serde_json::json!({ "root": "r" }),
            serde_json::json!({ "convention": "jsonml" }),
        ] {
            let rules = rules(options);
            if let Ok(xml) = json_to_xml(value.to_string().as_bytes(), &rules) {
                let json = xml_to_json(xml.as_bytes(), None, &rules).map_err(|fault| TestCaseError::fail(format!("{fault}: {xml}")))?;
                prop_assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok(), "{}", json);
            }
        }
    }

    #[test]
    fn any_bytes_end_in_a_document_or_a_fault(
        xml in prop_oneof![
            "(<|>|/|a|b|=|'|\"|!|--|\\[|\\]|CDATA|\\?|xml|&|;|#|x| |:|\r|\n|é){0,24}".prop_map(String::into_bytes),
            prop::collection::vec(any::<u8>(), 0..64),
        ],
    ) {
        for options in [serde_json::json!({ "convention": "jsonml" }), serde_json::json!({ "namespaces": "strip", "infer-types": true })] {
            let rules = rules(options);
            if let Ok(json) = xml_to_json(&xml, None, &rules) {
                prop_assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok(), "{}", json);
            }
            let _ = json_to_xml(&xml, &rules);
        }
    }
}

fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(2000)
}
