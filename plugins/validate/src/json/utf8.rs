//! Whether bytes are UTF-8. Most bodies are ASCII, which is seen 32 bytes at a time.

/// Checks them, or tells from where on they are not.
pub(super) fn check(bytes: &[u8]) -> Result<(), usize> {
    let (blocks, rest) = bytes.as_chunks::<32>();
    if blocks.iter().all(is_ascii) && rest.is_ascii() {
        return Ok(());
    }
    std::str::from_utf8(bytes).map(|_| ()).map_err(|error| error.valid_up_to())
}

#[inline(always)]
fn is_ascii(block: &[u8; 32]) -> bool {
    let words = block.as_chunks::<8>().0;
    words.iter().fold(0, |all, word| all | u64::from_le_bytes(*word)) & 0x8080_8080_8080_8080 == 0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_answers_as_the_standard_library_does(
            ascii in "[a-z]{0,80}",
            other in prop::collection::vec(prop_oneof![any::<u8>(), Just(0xc3), Just(0xa9)], 0..4),
            after in "[a-zé]{0,80}",
        ) {
            let bytes = [ascii.as_bytes(), &other, after.as_bytes()].concat();
            prop_assert_eq!(check(&bytes), std::str::from_utf8(&bytes).map(|_| ()).map_err(|error| error.valid_up_to()));
        }
    }
}
