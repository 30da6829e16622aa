//! JSON as two plugins read it with parsers of their own, against serde_json; and JSON to XML.

use std::collections::HashSet;
use std::fmt;
use std::sync::LazyLock;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use tollgate_plugin_convert::{Rules, json_to_xml, rules::Convention, xml_to_json};
use tollgate_plugin_validate::{Config, Validate};
use tollgate_sdk::{BodyFlow, Plugin, Request};

use crate::xml::rules;

/// A JSON text.
pub fn check(bytes: &[u8]) {
    validated(bytes);
    converted(bytes);
}

/// Takes everything that is JSON within its limits.
static LENIENT: LazyLock<Validate> = LazyLock::new(|| {
    plugin(r#"{ "duplicate-names": "allow", "nul-characters": "allow", "max-depth": 100, "max-number-digits": 10000 }"#)
});
static STRICT: LazyLock<Validate> = LazyLock::new(|| plugin(r#"{ "max-depth": 100, "max-number-digits": 10000 }"#));

fn plugin(config: &str) -> Validate {
    let config: Config = serde_json::from_str(config).expect("a configuration");
    Validate::configure(config).expect("a configuration without mistakes")
}

/// What a plugin that looks at bodies says to one: nothing, or the details of its refusal.
pub(crate) fn judged(plugin: &Validate, body: &[u8]) -> Result<(), String> {
    static REQUEST: LazyLock<http::Request<()>> = LazyLock::new(|| {
        let request = http::Request::post("/").header("content-type", "application/json");
        request.body(()).expect("a request")
    });
    match plugin.on_request_body(&Request::from(&*REQUEST), body.to_vec(), None) {
        BodyFlow::Continue => Ok(()),
        BodyFlow::Refuse(problem) => {
            assert!(problem.status() >= 400 && !problem.code().is_empty());
            Err(problem.faults().map(|(_, detail)| detail).collect::<Vec<_>>().join("; "))
        }
        other => panic!("neither passed nor refused: {other:?}"),
    }
}

/// No body is longer here than what the limits on lengths and numbers of things allow.
fn validated(bytes: &[u8]) {
    if bytes.is_empty() || bytes.len() > 10_000 {
        return;
    }
    let lenient = judged(&LENIENT, bytes);
    let strict = judged(&STRICT, bytes);
    match serde_json::from_slice::<Outline>(bytes) {
        Ok(outline) => {
            let documented = |why: &String| why.contains("(max-") || why.contains("exponent of more than");
            assert!(lenient.as_ref().err().is_none_or(documented), "{lenient:?}");
            if lenient.is_ok() {
                assert_eq!(strict.is_ok(), !outline.repeats && !outline.nul, "{strict:?}");
            }
        }
        // It reads numbers as f64, and stops at a depth that is its own.
        Err(error) if error.to_string().starts_with("number out of range") => {}
        Err(error) if error.to_string().starts_with("recursion limit") => {}
        Err(error) => {
            assert!(lenient.is_err() && strict.is_err(), "serde_json refuses it: {error}");
        }
    }
}

/// What of a document decides whether it passes: read by serde_json, and judged by the simplest means.
#[derive(Default)]
struct Outline {
    repeats: bool,
    nul: bool,
}

impl Outline {
    fn add(&mut self, inner: &Self) {
        self.repeats |= inner.repeats;
        self.nul |= inner.nul;
    }
}

impl<'de> Deserialize<'de> for Outline {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reading)
    }
}

struct Reading;

impl<'de> Visitor<'de> for Reading {
    type Value = Outline;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Outline, E> {
        Ok(Outline::default())
    }

    fn visit_bool<E>(self, _: bool) -> Result<Outline, E> {
        Ok(Outline::default())
    }

    fn visit_i64<E>(self, _: i64) -> Result<Outline, E> {
        Ok(Outline::default())
    }

    fn visit_u64<E>(self, _: u64) -> Result<Outline, E> {
        Ok(Outline::default())
    }

    fn visit_f64<E>(self, _: f64) -> Result<Outline, E> {
        Ok(Outline::default())
    }

    fn visit_str<E>(self, text: &str) -> Result<Outline, E> {
        Ok(Outline { repeats: false, nul: text.contains('\0') })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Outline, A::Error> {
        let mut outline = Outline::default();
        while let Some(item) = items.next_element::<Outline>()? {
            outline.add(&item);
        }
        Ok(outline)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Outline, A::Error> {
        let mut outline = Outline::default();
        let mut names = HashSet::new();
        while let Some((name, member)) = members.next_entry::<String, Outline>()? {
            outline.nul |= name.contains('\0');
            outline.repeats |= !names.insert(name);
            outline.add(&member);
        }
        Ok(outline)
    }
}

/// Each convention, with few and small things allowed; and the same with room for everything that comes out of it.
static RULES: LazyLock<Vec<(Rules, Rules)>> = LazyLock::new(|| {
    let small = r#""max-output": "32KiB", "max-depth": 16, "max-elements": 256"#;
    let large = r#""max-output": "1MiB", "max-depth": 64, "max-elements": 100000, "max-attributes": 100000"#;
    [
        r#""convention": "badgerfish""#,
        r#""convention": "parker", "empty": "string""#,
        r#""convention": "attribute-prefix", "root": "r", "infer-types": true"#,
        r#""convention": "attribute-prefix", "empty": "object""#,
        r#""convention": "jsonml""#,
    ]
    .map(|options| (rules(&format!("{options}, {small}")), rules(&format!("{options}, {large}"))))
    .into_iter()
    .collect()
});

fn converted(bytes: &[u8]) {
    for (rules, room) in &*RULES {
        let problems = Rules::for_problems(rules.limits);
        let _ = json_to_xml(bytes, &problems);
        match json_to_xml(bytes, rules) {
            Ok(xml) => {
                assert!(xml.len() <= rules.limits.output, "{} bytes came out", xml.len());
                let number = |error: &serde_json::Error| error.to_string().starts_with("number out of range");
                let read = serde_json::from_slice::<IgnoredAny>(bytes);
                assert!(read.as_ref().err().is_none_or(number), "no JSON came through: {read:?}");
                let back = xml_to_json(xml.as_bytes(), None, room).unwrap_or_else(|fault| panic!("{fault}: {xml}"));
                // A root that wraps everything wraps again.
                if matches!(&rules.convention, Convention::AttributePrefix { root: Some(_), .. }) {
                    continue;
                }
                // All others have a form that stays, once they have been XML.
                let again = json_to_xml(back.as_bytes(), room).unwrap_or_else(|fault| panic!("{fault}: {back}"));
                let form = xml_to_json(again.as_bytes(), None, room).unwrap_or_else(|fault| panic!("{fault}: {again}"));
                assert_eq!(back, form, "from {xml} to {again}");
            }
            Err(fault) => assert!(!fault.message.is_empty()),
        }
    }
}
