//! Names (XML 1.0, fifth edition, section 2.3; Namespaces in XML 1.0, section 4).

/// Whether this is a name with at most one colon, and something that could be a name on both of its sides.
pub(crate) fn is_name(name: &str) -> bool {
    match name.split_once(':') {
        Some((prefix, local)) => is_name_without_colon(prefix) && is_name_without_colon(local),
        None => is_name_without_colon(name),
    }
}

/// Whether this is a name without a colon.
pub(crate) fn is_name_without_colon(name: &str) -> bool {
    let mut chars = name.chars();
    chars.next().is_some_and(begins_name) && chars.all(continues_name)
}

/// Whether a name may begin with this character. The colon is left to those who ask.
pub(super) fn begins_name(c: char) -> bool {
    match c {
        'a'..='z' | 'A'..='Z' | '_' => true,
        '\0'..='\x7f' => false,
        '\u{C0}'..='\u{D6}'
        | '\u{D8}'..='\u{F6}'
        | '\u{F8}'..='\u{2FF}'
        | '\u{370}'..='\u{37D}'
        | '\u{37F}'..='\u{1FFF}'
        | '\u{200C}'..='\u{200D}'
        | '\u{2070}'..='\u{218F}'
        | '\u{2C00}'..='\u{2FEF}'
        | '\u{3001}'..='\u{D7FF}'
        | '\u{F900}'..='\u{FDCF}'
        | '\u{FDF0}'..='\u{FFFD}'
        | '\u{10000}'..='\u{EFFFF}' => true,
        _ => false,
    }
}

/// Whether a name may go on with this character.
pub(super) fn continues_name(c: char) -> bool {
    begins_name(c) || matches!(c, '-' | '.' | '0'..='9' | '\u{B7}' | '\u{300}'..='\u{36F}' | '\u{203F}'..='\u{2040}')
}

/// Whether XML 1.0 can carry this character at all (section 2.2).
pub(super) fn is_character(c: char) -> bool {
    !matches!(c, '\0'..='\x08' | '\x0b' | '\x0c' | '\x0e'..='\x1f' | '\u{FFFE}' | '\u{FFFF}')
}

/// The first character that XML 1.0 cannot carry.
pub(super) fn forbidden(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    // Bytes that can begin such a character are rare: controls, and 0xEF before U+FFFE and U+FFFF.
    let suspicious = |byte: u8| (byte < 0x20 && !matches!(byte, b'\t' | b'\n' | b'\r')) || byte == 0xEF;
    let mut from = 0;
    while let Some(found) = bytes[from..].iter().position(|&byte| suspicious(byte)) {
        let at = from + found;
        if bytes[at] != 0xEF || matches!(bytes[at..], [0xEF, 0xBF, 0xBE | 0xBF, ..]) {
            return Some(at);
        }
        from = at + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["a", "_", "a-b.c1", "p:a", "Ünïcode", "日本", "a\u{301}"] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "1a", "-a", ":a", "a:", "a:b:c", "a:1", "a b", "a\u{d7}", "<", "\u{301}a", "a\u{FFFE}"] {
            assert!(!is_name(bad), "{bad}");
        }
    }

    #[test]
    fn forbidden_characters_are_found_among_their_neighbours() {
        assert_eq!(forbidden("a\t\n\r\u{FFFD}\u{FEFF}\u{10FFFF}\u{7f}"), None);
        assert_eq!(forbidden("ab\u{FFFE}"), Some(2));
        assert_eq!(forbidden("\u{FFFD}\u{1}"), Some(3));
        for c in (0..=0x10FFFF).filter_map(char::from_u32) {
            assert_eq!(forbidden(&c.to_string()).is_none(), is_character(c), "{c:?}");
        }
    }
}
