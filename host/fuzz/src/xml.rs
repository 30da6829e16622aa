//! XML to JSON: what comes out is JSON and as long as it may be, and there is no way to a document type.

use std::sync::LazyLock;

use tollgate_plugin_convert::{Config, Kind, Rules, json_to_xml, xml_to_json};

/// Rules of every convention, with few and small things allowed, so that short inputs reach the limits.
static RULES: LazyLock<Vec<Rules>> = LazyLock::new(|| {
    let limits = r#""max-output": "1KiB", "max-depth": 16, "max-attributes": 8, "max-elements": 64"#;
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
                assert!(fault.kind != Kind::TooLong || bytes.len() > 64, "too long from {} bytes", bytes.len());
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
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        assert!(is_well_formed(text), "what is not well-formed came through: {text:?}");
    }
}

/// Whether a document looks well-formed to a program that knows little: tags pair, references are of the five and of
/// numbers, and nothing else begins with `<!`.
fn is_well_formed(text: &str) -> bool {
    let mut open = Vec::new();
    let mut roots = 0;
    let mut rest = text;
    while let Some(at) = rest.find('<') {
        let (before, markup) = rest.split_at(at);
        if !is_text(before) || before.contains("]]>") || (open.is_empty() && !before.trim().is_empty()) {
            return false;
        }
        let inert = [("<!--", "-->"), ("<![CDATA[", "]]>"), ("<?", "?>")];
        if let Some((begin, end)) = inert.into_iter().find(|(begin, _)| markup.starts_with(begin)) {
            let Some((inside, behind)) = markup[begin.len()..].split_once(end) else { return false };
            if (begin == "<!--" && inside.contains("--")) || (begin == "<![CDATA[" && open.is_empty()) {
                return false;
            }
            rest = behind;
            continue;
        }
        let Some(end) = tag_end(markup) else { return false };
        let tag = &markup[1..end];
        rest = &markup[end + 1..];
        let name = |tag: &str| tag.split([' ', '\t', '\r', '\n']).next().unwrap_or_default().to_owned();
        if tag.starts_with('!') || !is_text(tag) {
            return false;
        } else if let Some(closing) = tag.strip_prefix('/') {
            if open.pop() != Some(name(closing)) {
                return false;
            }
        } else {
            roots += usize::from(open.is_empty());
            if !tag.ends_with('/') {
                open.push(name(tag));
            }
        }
    }
    open.is_empty() && roots == 1 && rest.trim().is_empty()
}

/// Where the first tag ends: at the first `>` outside quotes.
fn tag_end(markup: &str) -> Option<usize> {
    let mut quote = None;
    markup.bytes().position(|byte| {
        match (quote, byte) {
            (None, b'"' | b'\'') => quote = Some(byte),
            (Some(open), byte) if open == byte => quote = None,
            _ => {}
        }
        quote.is_none() && byte == b'>'
    })
}

/// Whether every `&` begins a reference that there is, and there are no characters that XML does not have.
fn is_text(text: &str) -> bool {
    let allowed = |character: char| {
        matches!(character, '\t' | '\n' | '\r' | ' '..) && !matches!(character, '\u{fffe}' | '\u{ffff}')
    };
    let reference = |after: &str| {
        let Some((name, _)) = after.split_once(';') else { return false };
        match name.strip_prefix('#') {
            Some(number) => !number.is_empty() && number.bytes().all(|byte| byte == b'x' || byte.is_ascii_hexdigit()),
            None => ["amp", "lt", "gt", "apos", "quot"].contains(&name),
        }
    };
    text.chars().all(allowed) && text.split('&').skip(1).all(reference)
}
