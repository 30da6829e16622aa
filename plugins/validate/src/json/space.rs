//! White space.

/// Where what follows white space begins. Most texts have none but between their lines, and one space here and there.
#[inline(always)]
pub(super) fn white(bytes: &[u8], at: usize) -> usize {
    match bytes.get(at) {
        Some(b' ') if bytes.get(at + 1).is_some_and(|byte| *byte > b' ') => at + 1,
        Some(byte) if *byte <= b' ' => spaces(bytes, at),
        _ => at,
    }
}

/// The same where there is some: mostly the end of a line and what the next one is indented by, eight spaces at a time.
#[inline(never)]
pub(super) fn spaces(bytes: &[u8], mut at: usize) -> usize {
    const SPACES: u64 = 0x2020_2020_2020_2020;
    while let Some(b' ' | b'\n' | b'\r' | b'\t') = bytes.get(at) {
        at += 1;
        if let Some(word) = bytes.get(at..).and_then(|from| from.first_chunk()) {
            at += (u64::from_le_bytes(*word) ^ SPACES).trailing_zeros() as usize / 8;
        }
        if bytes.get(at).is_some_and(|byte| *byte > b' ') {
            break;
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn white_space_ends_where_something_else_begins(before in "[ \n\r\t]{0,40}", after in "([^ \n\r\t].{0,20})?") {
            let text = format!("{before}{after}");
            prop_assert_eq!(white(text.as_bytes(), 0), before.len());
        }
    }
}
