//! What a registry says about who may ask (RFC 7235, and the token authentication of the distribution project).

use http::Uri;

/// The most parameters of a challenge, and the longest one.
const MOST: usize = 16;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// User and password go with each request (RFC 7617).
    Basic,
    /// A token goes with it, which the realm gives for these parameters.
    Bearer { realm: Uri, parameters: Vec<(String, String)> },
}

impl Challenge {
    /// One field of `WWW-Authenticate`; none for a scheme that is not known, or that asks for nothing that can be done.
    pub(super) fn parse(field: &str) -> Option<Self> {
        let (scheme, rest) = field.trim().split_once(' ').unwrap_or((field.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let mut parameters = parameters(rest)?;
        let at = parameters.iter().position(|(name, _)| name == "realm")?;
        let realm = parameters.remove(at).1.parse().ok()?;
        parameters.retain(|(name, _)| matches!(name.as_str(), "service" | "scope"));
        Some(Self::Bearer { realm, parameters })
    }
}

/// `name="value", name=value`. None for what is not that.
fn parameters(text: &str) -> Option<Vec<(String, String)>> {
    let mut out = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=')?;
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => quoted_string(quoted)?,
            None => {
                let end = after.find([',', ' ']).unwrap_or(after.len());
                (after[..end].to_owned(), &after[end..])
            }
        };
        out.push((name.trim().to_ascii_lowercase(), value));
        if out.len() > MOST {
            return None;
        }
        rest = match after.trim_start() {
            "" => "",
            more => more.strip_prefix(',')?.trim_start(),
        };
    }
    Some(out)
}

/// What is between the quotes, and what follows them.
fn quoted_string(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(letters.next()?.1),
            letter => value.push(letter),
        }
    }
    None
}

/// A part of a query.
pub(super) fn escape(text: &str) -> String {
    let letter = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(letter).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn challenges_are_read() {
        assert_eq!(Challenge::parse("Basic realm=\"registry\""), Some(Challenge::Basic));
        assert_eq!(Challenge::parse("basic"), Some(Challenge::Basic));
        let text = r#"Bearer realm="https://auth.example.com/token?a=b",service="registry, \"ours\"", scope=repository:a/b:pull ,error="x""#;
        let Some(Challenge::Bearer { realm, parameters }) = Challenge::parse(text) else { panic!("{text}") };
        assert_eq!(realm, "https://auth.example.com/token?a=b");
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(parameters, [pair("service", "registry, \"ours\""), pair("scope", "repository:a/b:pull")]);
        for wrong in [
            "",
            "Digest realm=\"a\"",
            "Bearer",
            "Bearer service=\"a\"",
            "Bearer realm=\"a b\"",
            "Bearer realm=\"https://a",
            "Bearer realm",
        ] {
            assert_eq!(Challenge::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn parts_of_a_query_are_escaped() {
        assert_eq!(escape("repository:a/b:pull&c=é"), "repository%3Aa%2Fb%3Apull%26c%3D%C3%A9");
    }

    proptest! {
        #[test]
        fn nothing_panics(text: String) {
            let _ = Challenge::parse(&format!("Bearer {text}"));
            let _ = Challenge::parse(&text);
        }
    }
}
