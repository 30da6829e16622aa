//! From bytes to text: XML 1.0, appendix F, and RFC 7303, without guesses.

use std::borrow::Cow;

use crate::fault::Fault;

/// The text of an XML entity: UTF-8, UTF-16 with a byte order mark, ISO-8859-1 or US-ASCII.
///
/// What says which (a byte order mark, the charset of the media type, the XML declaration) must agree: an intermediary
/// that picks one of two answers lets two readers see two documents.
pub(crate) fn decode<'a>(body: &'a [u8], charset: Option<&str>) -> Result<Cow<'a, str>, Fault> {
    let charset = charset.map(Encoding::named).transpose()?;
    let (encoding, bytes) = match mark(body) {
        Some((marked, rest)) => {
            if charset.is_some_and(|charset| !charset.is(marked)) {
                return Err(Fault::bytes("the byte order mark contradicts the charset of the media type"));
            }
            (marked, rest)
        }
        None => (charset.or(declared(body)?).unwrap_or(Encoding::Utf8), body),
    };
    let text = encoding.text(bytes)?;
    if text.starts_with('\u{FEFF}') {
        return Err(Fault::bytes("there is more than one byte order mark"));
    }
    match declaration(&text).and_then(declaration_encoding) {
        Some(name) if !Encoding::named(name)?.is(encoding) => {
            Err(Fault::bytes("the XML declaration contradicts the byte order mark or the charset of the media type"))
        }
        _ => Ok(text),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Utf8,
    /// `UTF-16`, which a byte order mark makes one of the next two.
    Utf16,
    Utf16Le,
    Utf16Be,
    Latin1,
    Ascii,
}

impl Encoding {
    fn named(name: &str) -> Result<Self, Fault> {
        let known = [
            ("utf-8", Self::Utf8),
            ("utf8", Self::Utf8),
            ("utf-16", Self::Utf16),
            ("utf-16le", Self::Utf16Le),
            ("utf-16be", Self::Utf16Be),
            ("iso-8859-1", Self::Latin1),
            ("latin1", Self::Latin1),
            ("us-ascii", Self::Ascii),
            ("ascii", Self::Ascii),
        ];
        let found = known.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found
            .map(|&(_, encoding)| encoding)
            .ok_or_else(|| Fault::bytes("the encoding is not one of UTF-8, UTF-16, ISO-8859-1 and US-ASCII"))
    }

    /// Whether a name means the encoding that was used.
    fn is(self, used: Self) -> bool {
        self == used || matches!((self, used), (Self::Utf16, Self::Utf16Le | Self::Utf16Be))
    }

    fn text(self, bytes: &[u8]) -> Result<Cow<'_, str>, Fault> {
        match self {
            Self::Utf8 => utf8(bytes).map(Cow::Borrowed),
            Self::Ascii if !bytes.is_ascii() => Err(Fault::bytes("a byte is not US-ASCII, as was declared")),
            Self::Ascii => utf8(bytes).map(Cow::Borrowed),
            Self::Latin1 if bytes.is_ascii() => utf8(bytes).map(Cow::Borrowed),
            Self::Latin1 => Ok(Cow::Owned(bytes.iter().map(|&byte| char::from(byte)).collect())),
            Self::Utf16Le => utf16(bytes, u16::from_le_bytes).map(Cow::Owned),
            Self::Utf16Be => utf16(bytes, u16::from_be_bytes).map(Cow::Owned),
            Self::Utf16 => Err(Fault::bytes("UTF-16 needs a byte order mark")),
        }
    }
}

fn mark(body: &[u8]) -> Option<(Encoding, &[u8])> {
    match body {
        [0xEF, 0xBB, 0xBF, rest @ ..] => Some((Encoding::Utf8, rest)),
        [0xFF, 0xFE, rest @ ..] => Some((Encoding::Utf16Le, rest)),
        [0xFE, 0xFF, rest @ ..] => Some((Encoding::Utf16Be, rest)),
        _ => None,
    }
}

fn utf8(bytes: &[u8]) -> Result<&str, Fault> {
    std::str::from_utf8(bytes).map_err(|error| {
        let before = std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default();
        Fault::malformed(before, before.len(), "this is not UTF-8")
    })
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Result<String, Fault> {
    let (units, rest) = bytes.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(Fault::bytes("the last UTF-16 code unit is cut short"));
    }
    let text: Result<String, _> = char::decode_utf16(units.iter().map(|&pair| unit(pair))).collect();
    text.map_err(|_| Fault::bytes("a UTF-16 surrogate stands alone"))
}

/// What the XML declaration of an entity without a byte order mark says. All encodings that such an entity can have
/// write the declaration in ASCII.
fn declared(body: &[u8]) -> Result<Option<Encoding>, Fault> {
    // A declaration with all of its parts and some white space is far shorter.
    let beginning = &body[..body.len().min(1024)];
    let ascii = beginning.iter().position(|byte| !byte.is_ascii()).unwrap_or(beginning.len());
    let name = declaration(utf8(&beginning[..ascii])?).and_then(declaration_encoding);
    match name.map(Encoding::named).transpose()? {
        Some(Encoding::Utf16 | Encoding::Utf16Le | Encoding::Utf16Be) => {
            Err(Fault::bytes("the XML declaration says UTF-16, which these bytes are not"))
        }
        declared => Ok(declared),
    }
}

/// What stands between `<?xml` and `?>`.
fn declaration(text: &str) -> Option<&str> {
    let inside = text.strip_prefix("<?xml")?;
    inside.starts_with([' ', '\t', '\r', '\n']).then(|| inside.split_once("?>").map(|(inside, _)| inside))?
}

/// The encoding in a declaration whose grammar [`check_declaration`] has yet to look at.
fn declaration_encoding(declaration: &str) -> Option<&str> {
    let value = declaration.split_once("encoding")?.1.trim_start().strip_prefix('=')?.trim_start();
    let quote = value.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
    value[1..].split_once(quote).map(|(name, _)| name)
}

/// Checks what stands between `<?xml` and `?>` (section 2.8): version, encoding, standalone, in this order.
pub(super) fn check_declaration(declaration: &str) -> Result<(), &'static str> {
    let mut rest = declaration;
    let Some(version) = pseudo_attribute(&mut rest, "version")? else {
        return Err("the XML declaration has no version");
    };
    if version != "1.0" {
        return Err("the version of XML is not 1.0");
    }
    if let Some(name) = pseudo_attribute(&mut rest, "encoding")? {
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if !name.starts_with(|c: char| c.is_ascii_alphabetic()) || !name.bytes().all(inner) {
            return Err("the XML declaration names no encoding");
        }
    }
    match pseudo_attribute(&mut rest, "standalone")? {
        None | Some("yes" | "no") => {}
        Some(_) => return Err("standalone in the XML declaration is neither yes nor no"),
    }
    if rest.trim_start_matches([' ', '\t', '\r', '\n']).is_empty() {
        Ok(())
    } else {
        Err("the XML declaration has parts that it may not have")
    }
}

/// Takes ` name = "value"` from the beginning of `rest`, if it stands there.
fn pseudo_attribute<'a>(rest: &mut &'a str, name: &str) -> Result<Option<&'a str>, &'static str> {
    const SPACE: [char; 4] = [' ', '\t', '\r', '\n'];
    let trimmed = rest.trim_start_matches(SPACE);
    let Some(after) = trimmed.strip_prefix(name) else {
        return Ok(None);
    };
    if trimmed.len() == rest.len() {
        return Err("the parts of the XML declaration need white space between them");
    }
    let value = after.trim_start_matches(SPACE).strip_prefix('=').map(|value| value.trim_start_matches(SPACE));
    let quoted = value.and_then(|value| {
        let quote = value.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
        value[1..].split_once(quote)
    });
    let (value, after) = quoted.ok_or("a part of the XML declaration has no quoted value")?;
    *rest = after;
    Ok(Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utf16_of(text: &str, little: bool, marked: bool) -> Vec<u8> {
        let mark = marked.then_some(0xFEFF);
        let bytes = |unit: u16| if little { unit.to_le_bytes() } else { unit.to_be_bytes() };
        mark.into_iter().chain(text.encode_utf16()).flat_map(bytes).collect()
    }

    #[test]
    fn each_encoding_is_read() {
        let text = "<?xml version='1.0'?><a>é𝄞</a>";
        assert_eq!(decode(text.as_bytes(), None).unwrap(), text);
        assert_eq!(decode(format!("\u{FEFF}{text}").as_bytes(), Some("UTF-8")).unwrap(), text);
        for little in [true, false] {
            assert_eq!(decode(&utf16_of(text, little, true), None).unwrap(), text);
            assert_eq!(decode(&utf16_of(text, little, true), Some("utf-16")).unwrap(), text);
        }
        let far = format!("<?xml version='1.0'{:2000}encoding='iso-8859-1'?><a/>", ' ');
        assert!(decode(far.as_bytes(), None).unwrap_err().message.contains("contradicts"));
        let latin1 = b"<?xml version=\"1.0\" encoding='iso-8859-1'?><a>\xe9</a>";
        assert!(decode(latin1, None).unwrap().ends_with("<a>é</a>"));
        assert!(decode(b"<a>\xe9</a>", Some("ISO-8859-1")).unwrap().ends_with("<a>é</a>"));
        assert!(decode(b"<?xml version='1.0' encoding='US-ASCII'?><a/>", None).is_ok());
    }

    #[test]
    fn what_disagrees_is_refused() {
        let declared = |name: &str| format!("<?xml version='1.0' encoding='{name}'?><a/>");
        let refused = |body: &[u8], charset: Option<&str>| decode(body, charset).unwrap_err().message;
        assert!(refused(declared("UTF-16").as_bytes(), None).contains("UTF-16"));
        assert!(refused(declared("UTF-7").as_bytes(), None).contains("not one of"));
        assert!(refused(declared("nonsense").as_bytes(), None).contains("not one of"));
        assert!(refused(declared("utf-8").as_bytes(), Some("iso-8859-1")).contains("contradicts"));
        assert!(refused(declared("iso-8859-1").as_bytes(), Some("utf-8")).contains("contradicts"));
        assert!(refused(format!("\u{FEFF}{}", declared("iso-8859-1")).as_bytes(), None).contains("contradicts"));
        assert!(refused(&utf16_of(&declared("UTF-8"), true, true), None).contains("contradicts"));
        assert!(refused(&utf16_of(&declared("UTF-16BE"), true, true), None).contains("contradicts"));
        assert!(refused(&utf16_of("<a/>", true, true), Some("utf-8")).contains("contradicts"));
        assert!(refused(&utf16_of("<a/>", true, true)[..5], None).contains("cut short"));
        assert!(refused(&[0xFF, 0xFE, 0x00, 0xD8], None).contains("surrogate"));
        assert!(refused("\u{FEFF}\u{FEFF}<a/>".as_bytes(), None).contains("byte order mark"));
        assert!(refused(b"<a>\xff</a>", None).contains("not UTF-8"));
        assert!(refused(b"<?xml version='1.0' encoding='us-ascii'?><a>\xe9</a>", None).contains("US-ASCII"));
        assert!(refused(b"+ADw-a/+AD4-", Some("utf-7")).contains("not one of"));
    }

    #[test]
    fn declarations() {
        for good in [" version='1.0'", " version = \"1.0\" encoding='UTF-8'  standalone='yes' "] {
            assert_eq!(check_declaration(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            " version='1.1'",
            " version=1.0",
            " encoding='UTF-8'",
            " version='1.0'encoding='UTF-8'",
            " version='1.0' encoding=''",
            " version='1.0' encoding='1'",
            " version='1.0' standalone='maybe'",
            " version='1.0' standalone='yes' encoding='UTF-8'",
            " version='1.0' version='1.0'",
            " version='1.0' a",
        ] {
            assert!(check_declaration(bad).is_err(), "{bad}");
        }
    }
}
