//! Which media types a body may have.

/// A media type that is taken: one, or every one with a suffix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Accepted {
    /// `application/json`.
    Exactly(String),
    /// `application/*+json`: what is before the asterisk, and what is behind it.
    Suffix(String, String),
}

/// What a `Content-Type` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Media {
    /// The type without parameters, in lower case.
    pub(crate) essence: String,
    /// In lower case.
    pub(crate) charset: Option<String>,
}

impl Accepted {
    /// Reads one: `type/subtype`, or `type/*+suffix`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        let (kind, subtype) = text.split_once('/')?;
        if !is_token(kind) || kind.contains('*') || !is_token(subtype) {
            return None;
        }
        match subtype.strip_prefix('*') {
            Some(suffix) if suffix.len() > 1 && suffix.starts_with('+') && !suffix.contains('*') => {
                Some(Self::Suffix(format!("{kind}/"), suffix.to_owned()))
            }
            Some(_) => None,
            None if subtype.contains('*') => None,
            None => Some(Self::Exactly(text)),
        }
    }

    /// Whether it is this type, which is in lower case.
    pub(crate) fn takes(&self, essence: &str) -> bool {
        match self {
            Self::Exactly(exactly) => exactly == essence,
            Self::Suffix(kind, suffix) => essence
                .strip_prefix(kind.as_str())
                .and_then(|subtype| subtype.strip_suffix(suffix.as_str()))
                .is_some_and(|name| !name.is_empty()),
        }
    }

    /// As it is written in a field.
    pub(crate) fn written(&self) -> String {
        match self {
            Self::Exactly(exactly) => exactly.clone(),
            Self::Suffix(kind, suffix) => format!("{kind}*{suffix}"),
        }
    }
}

impl Media {
    /// Reads the value of a `Content-Type` (RFC 9110, section 8.3.1). None where it is not one media type, or where a
    /// parameter comes twice.
    pub(crate) fn parse(value: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(value).ok()?;
        let (essence, mut rest) = text.split_once(';').unwrap_or((text, ""));
        let essence = essence.trim_matches([' ', '\t']).to_ascii_lowercase();
        let (kind, subtype) = essence.split_once('/')?;
        if !is_token(kind) || !is_token(subtype) {
            return None;
        }
        let mut charset = None;
        loop {
            rest = rest.trim_start_matches([' ', '\t', ';']);
            if rest.is_empty() {
                return Some(Self { essence, charset });
            }
            let (name, value) = rest.split_once('=')?;
            let (value, after) = parameter(value)?;
            if !is_token(name) {
                return None;
            }
            if name.eq_ignore_ascii_case("charset") && charset.replace(value.to_ascii_lowercase()).is_some() {
                return None;
            }
            rest = after.trim_start_matches([' ', '\t']);
            if !rest.is_empty() && !rest.starts_with(';') {
                return None;
            }
        }
    }

    /// Whether the text is UTF-8, by what it says or because it says nothing.
    pub(crate) fn is_utf8(&self) -> bool {
        self.charset.as_deref().is_none_or(|charset| charset == "utf-8" || charset == "utf8")
    }
}

/// The value of a parameter, a token or a quoted string, and what follows it.
fn parameter(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([' ', '\t', ';']).unwrap_or(text.len());
        return is_token(&text[..end]).then(|| (text[..end].to_owned(), &text[end..]));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => value.push(characters.next()?.1),
            other => value.push(other),
        }
    }
    None
}

/// RFC 9110, section 5.6.2.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_type_is_read_strictly() {
        let media = |text: &str| Media::parse(text.as_bytes());
        let plain = Some(Media { essence: "application/json".to_owned(), charset: None });
        for text in ["application/json", "Application/JSON", "application/json;", "application/json ; ;x=\"a;\\\"b\""] {
            assert_eq!(media(text), plain, "{text}");
        }
        for text in ["application/json;charset=UTF-8", "application/json; x=1 ; charset=\"utf-8\""] {
            assert_eq!(media(text).unwrap().charset.as_deref(), Some("utf-8"), "{text}");
        }
        for text in [
            "",
            "json",
            "application/",
            "/json",
            "application/json, text/plain",
            "application/json text/plain",
            "application/json;charset",
            "application/json;charset=",
            "application/json;charset=\"utf-8",
            "application/json;charset=utf-8 x",
            "application/json;charset=utf-8;charset=utf-7",
            "application/json;a b=c",
            "application/json\u{e9}",
        ] {
            assert_eq!(media(text), None, "{text}");
        }
        assert!(!media("a/b;charset=utf-7").unwrap().is_utf8() && !media("a/b;charset=utf-16").unwrap().is_utf8());
        assert!(media("a/b;charset=utf8").unwrap().is_utf8() && media("a/b").unwrap().is_utf8());
    }

    #[test]
    fn types_are_taken_by_name_or_by_suffix() {
        let json = Accepted::parse("application/JSON").unwrap();
        assert!(json.takes("application/json") && !json.takes("application/jsonp") && !json.takes("text/json"));
        let suffix = Accepted::parse("application/*+json").unwrap();
        assert!(suffix.takes("application/problem+json") && suffix.takes("application/a+b+json"));
        assert!(
            !suffix.takes("application/json") && !suffix.takes("application/+json") && !suffix.takes("text/a+json")
        );
        assert_eq!(suffix.written(), "application/*+json");
        for wrong in
            ["*/*", "application/*", "json", "application/*json", "application/*+", "application/a*", "a/b;c=d"]
        {
            assert_eq!(Accepted::parse(wrong), None, "{wrong}");
        }
    }
}
