//! XML to JSON: what comes out is JSON and as long as it may be, and there is no way to a document type.

use std::sync::LazyLock;

use tollgate_plugin_convert::{Config, Kind, Rules, json_to_xml, xml_to_json};

/// Rules of every convention, with few and small things allowed, so that short inputs reach the limits.
static RULES: LazyLock<Vec<Rules>> = LazyLock::new(|| {
    let limits = r#""max-output": "16KiB", "max-depth": 16, "max-attributes": 8, "max-elements": 64"#;
    let mut all: Vec<Rules> = [
        r#""convention": "badgerfish""#,
        r#""convention": "parker", "arrays": { "always": ["/a/b"] }"#,
        r#""convention": "attribute-prefix", "infer-types": true, "namespaces": "strip""#,
        r##""convention": "attribute-prefix", "text": "text", "attribute-prefix": "a", "whitespace": "keep""##,
        r#""convention": "jsonml""#,
    ]
    .iter()
    .map(|options| rules(&format!("{options}, {limits}")))
    .collect();
    all.push(Rules::for_problems(all[0].limits));
    all
});

/// The rules of a configuration with these options.
pub(crate) fn rules(options: &str) -> Rules {
    let config = format!(r#"{{ "responses": {{ "to": "json" }}, {options} }}"#);
    let config: Config = serde_json::from_str(&config).expect("a configuration");
    config.rules().expect("a configuration without mistakes")
}

/// An XML document.
pub fn check(bytes: &[u8]) {
    for rules in &*RULES {
        let converted = xml_to_json(bytes, None, rules);
        assert_eq!(converted, xml_to_json(bytes, None, rules), "the same document, another answer");
        match converted {
            Ok(json) => {
                accepted(bytes, &json, rules);
                let _ = json_to_xml(json.as_bytes(), rules);
            }
            Err(fault) => {
                assert!(!fault.message.is_empty());
                assert!(fault.kind != Kind::TooLong || bytes.len() > 1024, "too long from {} bytes", bytes.len());
            }
        }
    }
    for charset in ["utf-8", "utf-16", "iso-8859-1", "us-ascii", "utf-7"] {
        let _ = xml_to_json(bytes, Some(charset), &RULES[0]);
    }
}

fn accepted(bytes: &[u8], json: &str, rules: &Rules) {
    serde_json::from_str::<serde_json::Value>(json).unwrap_or_else(|error| panic!("{error}: {json}"));
    assert!(json.len() <= rules.limits.output, "{} bytes came out", json.len());
    if let Ok(text) = str::from_utf8(bytes) {
        assert!(!has_document_type(text), "a document type came through: {text:?}");
    }
}

/// Whether anything but comments and CDATA sections begins with `<!`.
fn has_document_type(mut text: &str) -> bool {
    while let Some(at) = text.find("<!").into_iter().chain(text.find("<?")).min() {
        let (begin, end) = [("<!--", "-->"), ("<![CDATA[", "]]>"), ("<?", "?>")]
            .into_iter()
            .find(|(begin, _)| text[at..].starts_with(begin))
            .unwrap_or_default();
        if begin.is_empty() {
            return true;
        }
        let inside = &text[at + begin.len()..];
        let Some(length) = inside.find(end) else { return false };
        text = &inside[length + end.len()..];
    }
    false
}
