//! Media types and what a client accepts of them (RFC 9110, sections 8.3.1 and 12.5.1).

use schemars::JsonSchema;
use serde::Deserialize;

/// A format that bodies are converted between.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// `application/json` and `application/*+json`.
    Json,
    /// `application/xml`, `text/xml` and `application/*+xml`.
    Xml,
}

impl Format {
    /// The other one.
    pub fn other(self) -> Self {
        match self {
            Self::Json => Self::Xml,
            Self::Xml => Self::Json,
        }
    }

    /// The media types that a body of this format can be sent as, the usual one first.
    pub fn media_types(self) -> &'static [&'static str] {
        match self {
            Self::Json => &["application/json"],
            Self::Xml => &["application/xml", "text/xml"],
        }
    }

    /// The media type of problem details.
    pub fn problem_type(self) -> &'static str {
        match self {
            Self::Json => "application/problem+json",
            Self::Xml => "application/problem+xml",
        }
    }

    /// The name for messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Json => "JSON",
            Self::Xml => "XML",
        }
    }
}

/// A media type of a body that can be converted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaType {
    /// Which format it is.
    pub format: Format,
    /// Whether it is problem details (RFC 9457), which have an XML and a JSON form of their own.
    pub problem: bool,
    /// Type and subtype in lower case.
    pub essence: String,
    /// The charset parameter.
    pub charset: Option<String>,
}

impl MediaType {
    /// Reads the one `Content-Type` of a body. None where it is neither XML nor JSON, is no media type, or where there
    /// are two of them, since the next reader may believe the other.
    ///
    /// Pages and pictures are no data, whatever they are written in: they are none.
    pub fn of<'a>(mut fields: impl Iterator<Item = &'a [u8]>) -> Option<Self> {
        let field = std::str::from_utf8(fields.next()?).ok()?;
        if fields.next().is_some() {
            return None;
        }
        let mut parts = split(field, b';');
        let essence = parts.next()?.trim_matches(OWS).to_ascii_lowercase();
        let (kind, subtype) = essence.split_once('/').filter(|(kind, subtype)| is_token(kind) && is_token(subtype))?;
        let format = match (kind, subtype) {
            ("application", "xhtml+xml") => return None,
            ("application" | "text", "xml") => Format::Xml,
            ("application", "json") => Format::Json,
            ("application", _) if subtype.ends_with("+xml") => Format::Xml,
            ("application", _) if subtype.ends_with("+json") => Format::Json,
            _ => return None,
        };
        let mut charset = None;
        for part in parts.filter(|part| !part.trim_matches(OWS).is_empty()) {
            let (name, value) = parameter(part)?;
            if name.eq_ignore_ascii_case("charset") && charset.replace(value).is_some() {
                return None;
            }
        }
        let problem = matches!(subtype, "problem+json" | "problem+xml");
        Some(Self { format, problem, essence, charset })
    }
}

/// What a client accepts: media ranges with their quality in thousandths.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Accept(Vec<Range>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Range {
    kind: String,
    subtype: String,
    /// Whether it asks for a parameter that no body made here has.
    strange: bool,
    quality: u16,
}

impl Accept {
    /// Reads `Accept`. A range that is not well-formed is as if it were not there; without any, everything is accepted.
    pub fn read(field: &str) -> Self {
        Self(split(field, b',').filter_map(range).collect())
    }

    /// How much the client likes a media type, 0 to 1000, by the most specific of the ranges that match.
    pub fn quality(&self, essence: &str) -> u16 {
        if self.0.is_empty() {
            return 1000;
        }
        let (kind, subtype) = essence.split_once('/').unwrap_or((essence, ""));
        let specificity = |range: &Range| match (range.kind.as_str(), range.subtype.as_str()) {
            _ if range.strange => None,
            ("*", "*") => Some(0),
            (of, "*") if of == kind => Some(1),
            (of, exact) if of == kind && exact == subtype => Some(2),
            _ => None,
        };
        let matching = self.0.iter().filter_map(|range| specificity(range).map(|specific| (specific, range.quality)));
        matching.max().map_or(0, |(_, quality)| quality)
    }
}

const OWS: [char; 2] = [' ', '\t'];

fn range(text: &str) -> Option<Range> {
    let mut parts = split(text, b';');
    let essence = parts.next()?.trim_matches(OWS).to_ascii_lowercase();
    let (kind, subtype) = essence.split_once('/')?;
    if !is_token(kind) || !is_token(subtype) || (kind == "*" && subtype != "*") {
        return None;
    }
    let mut range = Range { kind: kind.to_owned(), subtype: subtype.to_owned(), strange: false, quality: 1000 };
    for part in parts.filter(|part| !part.trim_matches(OWS).is_empty()) {
        let (name, value) = parameter(part)?;
        if name.eq_ignore_ascii_case("q") {
            range.quality = quality(&value)?;
        } else {
            range.strange |= !(name.eq_ignore_ascii_case("charset") && value.eq_ignore_ascii_case("utf-8"));
        }
    }
    Some(range)
}

/// `0`, `0.7`, `1.000`: at most three digits after the point (section 12.4.2).
fn quality(text: &str) -> Option<u16> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let thousandths = format!("{fraction:0<3}").parse::<u16>().ok()?;
    match whole {
        "0" => Some(thousandths),
        "1" if thousandths == 0 => Some(1000),
        _ => None,
    }
}

/// A parameter's name and its value, without quotes.
fn parameter(text: &str) -> Option<(&str, String)> {
    let (name, value) = text.trim_matches(OWS).split_once('=').filter(|(name, _)| is_token(name))?;
    if is_token(value) {
        return Some((name, value.to_owned()));
    }
    let quoted = value.strip_prefix('"')?.strip_suffix('"')?;
    let mut unquoted = String::with_capacity(quoted.len());
    let mut chars = quoted.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => unquoted.push(chars.next()?),
            '"' => return None,
            _ => unquoted.push(c),
        }
    }
    Some((name, unquoted))
}

/// Splits at a separator that stands outside of quoted strings.
fn split(text: &str, separator: u8) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let (mut quoted, mut escaped) = (false, false);
        for (at, byte) in text.bytes().enumerate() {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if quoted => escaped = true,
                b'"' => quoted = !quoted,
                _ if byte == separator && !quoted => {
                    rest = Some(&text[at + 1..]);
                    return Some(&text[..at]);
                }
                _ => {}
            }
        }
        rest = None;
        Some(text)
    })
}

fn is_token(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn media(field: &str) -> Option<(Format, Option<String>)> {
        MediaType::of([field.as_bytes()].into_iter()).map(|media| (media.format, media.charset))
    }

    #[test]
    fn content_types() {
        let charset = |name: &str| Some(name.to_owned());
        for (field, expected) in [
            ("application/json", Some((Format::Json, None))),
            ("Application/JSON ; charset=UTF-8", Some((Format::Json, charset("UTF-8")))),
            ("application/vnd.api+json", Some((Format::Json, None))),
            ("text/xml;charset=\"iso-8859-1\"", Some((Format::Xml, charset("iso-8859-1")))),
            ("application/xml", Some((Format::Xml, None))),
            ("application/soap+xml; action=\"a;b\\\"c\"; charset=utf-8", Some((Format::Xml, charset("utf-8")))),
            ("application/xml;", Some((Format::Xml, None))),
            ("text/plain", None),
            ("text/json+xml", None),
            ("image/svg+xml", None),
            ("application/xhtml+xml", None),
            ("application/problem+json", Some((Format::Json, None))),
            ("application/x-ndjson", None),
            ("application/xml; charset=utf-8; charset=utf-16", None),
            ("application/xml; charset", None),
            ("application/xml; charset=\"utf-8", None),
            ("application/json, text/plain", None),
            ("json", None),
            ("", None),
        ] {
            assert_eq!(media(field), expected, "{field}");
        }
        let two: [&[u8]; 2] = [b"application/json", b"text/plain"];
        assert_eq!(MediaType::of(two.into_iter()), None);
        let same: [&[u8]; 2] = [b"application/json", b"application/json"];
        assert_eq!(MediaType::of(same.into_iter()), None);
    }

    #[test]
    fn qualities() {
        for (accept, json, xml, text_xml) in [
            ("", 1000, 1000, 1000),
            ("*/*", 1000, 1000, 1000),
            ("application/json", 1000, 0, 0),
            ("application/xml;q=0.5, application/json;q=0.25", 250, 500, 0),
            ("application/*;q=0.3, application/json", 1000, 300, 0),
            ("text/*, application/json;q=0.001", 1, 0, 1000),
            ("*/*;q=0.1, application/xml;q=0", 100, 0, 100),
            ("APPLICATION/JSON;Q=0.5", 500, 0, 0),
            ("application/json;charset=utf-8;q=0.5", 500, 0, 0),
            ("application/json;version=2, */*;q=0.2", 200, 200, 200),
            ("application/json;q=1.001, application/xml", 0, 1000, 0),
            ("application/json;q=x, */xml, xml", 1000, 1000, 1000),
            ("text/html;note=\"a, application/xml\", application/json;q=0.4", 400, 0, 0),
            ("application/xml ; q=1.000 ,, application/json ;q=0.", 0, 1000, 0),
        ] {
            let accept_read = Accept::read(accept);
            let qualities = ["application/json", "application/xml", "text/xml"].map(|media| accept_read.quality(media));
            assert_eq!(qualities, [json, xml, text_xml], "{accept}");
        }
    }
}
