//! Writing JSON.

/// Writes a string with its quotes. Only what RFC 8259 requires is escaped.
pub(crate) fn write_string(out: &mut String, text: &str) {
    out.push('"');
    write_inside(out, text);
    out.push('"');
}

fn write_inside(out: &mut String, text: &str) {
    let mut rest = text;
    while let Some(at) = rest.bytes().position(|byte| byte < 0x20 || byte == b'"' || byte == b'\\') {
        out.push_str(&rest[..at]);
        match rest.as_bytes()[at] {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            control => {
                const DIGITS: &[u8; 16] = b"0123456789abcdef";
                out.push_str("\\u00");
                out.push(char::from(DIGITS[usize::from(control >> 4)]));
                out.push(char::from(DIGITS[usize::from(control & 15)]));
            }
        }
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
}

/// Whether text is a boolean, or a number that every reader of JSON writes again as just this text: neither `007` nor
/// `1e5` nor `1.50`, and no integer that a double cannot hold.
pub(crate) fn is_exact(text: &str) -> bool {
    if matches!(text, "true" | "false") {
        return true;
    }
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || digits.len() > 17 || !digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return false;
    }
    const LARGEST: f64 = 9_007_199_254_740_991.0;
    // JavaScript changes to an exponent below a millionth.
    let in_range = |number: f64| number.abs() <= LARGEST && (number == 0.0 || number.abs() >= 1e-6);
    // The shortest digits that read as this double: what most programs write.
    text != "-0" && text.parse::<f64>().is_ok_and(|number| in_range(number) && number.to_string() == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped_as_little_as_possible() {
        let mut out = String::new();
        write_string(&mut out, "a\"b\\c\n\r\t\u{1}\u{1f}/é\u{7f}𝄞");
        assert_eq!(out, "\"a\\\"b\\\\c\\n\\r\\t\\u0001\\u001f/é\u{7f}𝄞\"");
    }

    #[test]
    fn only_exact_texts_become_numbers_or_booleans() {
        for exact in ["true", "false", "0", "7", "-7", "10", "0.5", "-0.25", "3.14", "9007199254740991", "0.000001"] {
            assert!(is_exact(exact), "{exact}");
        }
        for text in [
            "",
            "-",
            ".",
            "007",
            "1e5",
            "1E5",
            "NaN",
            "inf",
            "Infinity",
            "-0",
            "+1",
            "1.",
            ".5",
            "1.50",
            "1.0",
            " 1",
            "1 ",
            "0x10",
            "9007199254740992",
            "9007199254740993",
            "123456789012345678",
            "0.1234567890123456789",
            "null",
            "True",
            "1_000",
            "1,5",
            "١",
            "0.0000001",
        ] {
            assert!(!is_exact(text), "{text}");
        }
    }
}
