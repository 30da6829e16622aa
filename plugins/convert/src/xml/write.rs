//! Writing XML: names, text and values that are always well-formed.

use super::name::{begins_name, continues_name, is_character, is_name};

/// Writes a name. What a name may not contain becomes `_xHHHH_`, or `_xHHHHHHHH_` beyond U+FFFF, as .NET's
/// `XmlConvert` writes it; a colon counts as such unless it stands alone between two names. The empty name has no form.
pub(crate) fn write_name(out: &mut String, name: &str) -> Result<(), &'static str> {
    if is_name(name) {
        out.push_str(name);
        return Ok(());
    }
    if name.is_empty() {
        return Err("an empty name cannot be a name of XML");
    }
    // Escaping makes a name up to seven times as long, and an end tag repeats it.
    if name.len() > 1024 {
        return Err("a name that XML does not have is too long to be escaped");
    }
    for (index, c) in name.chars().enumerate() {
        if if index == 0 { begins_name(c) } else { continues_name(c) } {
            out.push(c);
        } else {
            let width = if c > '\u{FFFF}' { 8 } else { 4 };
            out.push_str(&format!("_x{:0width$X}_", u32::from(c)));
        }
    }
    Ok(())
}

/// Writes text between tags.
pub(crate) fn write_text(out: &mut String, text: &str) -> Result<(), &'static str> {
    // `>` only matters after `]]`; a carriage return would be read as a line end.
    escaped(out, text, |byte| matches!(byte, b'&' | b'<' | b'>' | b'\r'))
}

/// Writes the value of an attribute, without its double quotes.
pub(crate) fn write_attribute_value(out: &mut String, text: &str) -> Result<(), &'static str> {
    // White space other than a space would be read as a space.
    escaped(out, text, |byte| matches!(byte, b'&' | b'<' | b'>' | b'"' | b'\r' | b'\n' | b'\t'))
}

fn escaped(out: &mut String, text: &str, special: impl Fn(u8) -> bool) -> Result<(), &'static str> {
    let mut from = 0;
    for (at, byte) in text.bytes().enumerate() {
        let replacement = match byte {
            _ if !special(byte) => {
                if byte < 0x20 && !matches!(byte, b'\t' | b'\n' | b'\r') {
                    return Err("XML has no such control character");
                }
                if byte == 0xEF && !text[at..].chars().next().is_none_or(is_character) {
                    return Err("XML has no such character");
                }
                continue;
            }
            b'&' => "&amp;",
            b'<' => "&lt;",
            b'>' => "&gt;",
            b'"' => "&quot;",
            b'\r' => "&#13;",
            b'\n' => "&#10;",
            _ => "&#9;",
        };
        out.push_str(&text[from..at]);
        out.push_str(replacement);
        from = at + 1;
    }
    out.push_str(&text[from..]);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Result<String, &'static str> {
        let mut out = String::new();
        write_name(&mut out, text).map(|()| out)
    }

    #[test]
    fn names_are_escaped_where_they_must_be() {
        for (given, expected) in [
            ("a", "a"),
            ("p:a", "p:a"),
            ("a b", "a_x0020_b"),
            ("<x>", "_x003C_x_x003E_"),
            ("1a", "_x0031_a"),
            ("-", "_x002D_"),
            ("a:b:c", "a_x003A_b_x003A_c"),
            ("12:30", "_x0031_2_x003A_30"),
            (":", "_x003A_"),
            ("@id", "_x0040_id"),
            ("a\u{1}", "a_x0001_"),
            ("a\u{FFFF}", "a_xFFFF_"),
            ("a\u{F0000}", "a_x000F0000_"),
            ("日本", "日本"),
        ] {
            assert_eq!(name(given).as_deref(), Ok(expected));
            assert!(is_name(expected), "{expected}");
        }
        assert!(name("").is_err());
    }

    #[test]
    fn text_and_values_are_escaped() {
        let mut out = String::new();
        write_text(&mut out, "a<b>&\"'\r\n\t]]>é\u{FFFD}").unwrap();
        assert_eq!(out, "a&lt;b&gt;&amp;\"'&#13;\n\t]]&gt;é\u{FFFD}");
        out.clear();
        write_attribute_value(&mut out, "a<b>&\"'\r\n\t").unwrap();
        assert_eq!(out, "a&lt;b&gt;&amp;&quot;'&#13;&#10;&#9;");
        for wrong in ["\0", "a\u{1}", "\u{1f}", "x\u{FFFE}", "\u{FFFF}"] {
            assert!(write_text(&mut out, wrong).is_err(), "{wrong:?}");
            assert!(write_attribute_value(&mut out, wrong).is_err(), "{wrong:?}");
        }
    }
}
