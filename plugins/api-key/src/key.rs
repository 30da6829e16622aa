//! The keys that Tollgate makes: `tg_`, an identifier, a secret, and a checksum.
//!
//! ```text
//! tg_4ZKbq0Xa_h2Vx…32 digits…9sQ_1kPz7B
//!    id       secret            CRC-32
//! ```
//!
//! The digits are those of base 62 (`0-9A-Za-z`). The checksum is the CRC-32 of zlib over everything before its
//! underscore, in six digits: a mistyped or made-up key is told apart without a look-up, and a scanner for leaked secrets
//! can be sure of what it found. It protects nothing. The identifier is public: it names a key in logs and in the
//! configuration.
//!
//! Keys of another make are plain strings and have no checksum, but they cannot begin with `tg_`.

/// What every key of this format begins with.
pub const PREFIX: &str = "tg_";
/// Digits of the identifier.
pub const ID: usize = 8;
/// Digits of a secret that [`make`] makes: 190 bits. [`check`] takes longer ones.
pub const SECRET: usize = 32;
const CHECKSUM: usize = 6;
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A text that begins with `tg_` and is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

/// Makes a key of 64 random bytes. The same bytes make the same key.
pub fn make(random: &[u8; 64]) -> String {
    let mut random_digits = Vec::with_capacity(ID + SECRET);
    for chunk in random.as_chunks::<16>().0 {
        // Ten digits of 128 bits: what the division leaves over favours no digit by more than 2^-68.
        let number = u128::from_be_bytes(*chunk) % 62_u128.pow(10);
        random_digits.extend_from_slice(&digits::<10>(number as u64));
    }
    let (id, secret) = random_digits.split_at(ID);
    let mut key = [PREFIX.as_bytes(), id, b"_", secret].concat();
    let checksum = digits::<CHECKSUM>(crc32(&key).into());
    key.push(b'_');
    key.extend_from_slice(&checksum);
    String::from_utf8(key).expect("the digits are ASCII")
}

/// Whether a text can be a key: anything that does not begin with `tg_` can; what does must have the right form and
/// checksum.
pub fn check(text: &[u8]) -> Result<(), Malformed> {
    let Some(rest) = text.strip_prefix(PREFIX.as_bytes()) else {
        return Ok(());
    };
    // Everything but the checksum's digits has a length of its own, so that positions need no search.
    let border = rest.len().checked_sub(CHECKSUM + 1).filter(|border| *border > ID + SECRET).ok_or(Malformed)?;
    let (id, secret, checksum) = (&rest[..ID], &rest[ID + 1..border], &rest[border + 1..]);
    let well_formed = rest[ID] == b'_' && rest[border] == b'_' && alphanumeric(id) && alphanumeric(secret);
    let expected = digits::<CHECKSUM>(crc32(&text[..PREFIX.len() + border]).into());
    if well_formed && checksum == expected { Ok(()) } else { Err(Malformed) }
}

/// The last `N` digits, the highest first.
fn digits<const N: usize>(mut number: u64) -> [u8; N] {
    let mut digits = [b'0'; N];
    for digit in digits.iter_mut().rev() {
        *digit = DIGITS[(number % 62) as usize];
        number /= 62;
    }
    digits
}

/// Whether these are digits of base 62 only: eight bytes at a time, since every request with a key of ours waits for it.
fn alphanumeric(text: &[u8]) -> bool {
    let (words, rest) = text.as_chunks::<8>();
    words.iter().all(|word| alphanumeric_word(u64::from_le_bytes(*word))) && rest.iter().all(u8::is_ascii_alphanumeric)
}

/// The same for the eight bytes of a word.
fn alphanumeric_word(word: u64) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = ONES << 7;
    // The high bit of each byte that is in the range, where no byte has one itself: then no sum carries.
    let within = |word: u64, first: u8, last: u8| {
        (word + ONES * u64::from(0x80 - first)) & !(word + ONES * u64::from(0x7f - last))
    };
    let letters = |word: u64| within(word | ONES << 5, b'a', b'z');
    word & HIGH == 0 && (within(word, b'0', b'9') | letters(word)) & HIGH == HIGH
}

/// CRC-32/ISO-HDLC, the one of zlib and PNG: four bytes at a time, each by the table of those with so many behind them.
fn crc32(bytes: &[u8]) -> u32 {
    static TABLES: [[u32; 256]; 4] = {
        let mut tables = [[0; 256]; 4];
        let mut index = 0;
        while index < 256 {
            let mut rest = index as u32;
            let mut bit = 0;
            while bit < 8 {
                rest = if rest & 1 == 1 { (rest >> 1) ^ 0xEDB8_8320 } else { rest >> 1 };
                bit += 1;
            }
            tables[0][index] = rest;
            index += 1;
        }
        let mut table = 1;
        while table < 4 {
            let mut index = 0;
            while index < 256 {
                let before = tables[table - 1][index];
                tables[table][index] = (before >> 8) ^ tables[0][(before & 0xff) as usize];
                index += 1;
            }
            table += 1;
        }
        tables
    };
    let at = |behind: usize, byte: u8| TABLES[behind][usize::from(byte)];
    let (words, rest) = bytes.as_chunks::<4>();
    let crc = words.iter().fold(!0, |crc: u32, word| {
        let [first, second, third, fourth] = (crc ^ u32::from_le_bytes(*word)).to_le_bytes();
        at(3, first) ^ at(2, second) ^ at(1, third) ^ at(0, fourth)
    });
    !rest.iter().fold(crc, |crc, byte| (crc >> 8) ^ at(0, crc as u8 ^ byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes 0, 1, 2 … 63 and their key: the same vector stands in the host's tests.
    const VECTOR: &str = "tg_EgOGusQG_wpWJhXqJNbv5nx0olkKwtL5aK5hBIHrb_3bVNfs";

    fn counted() -> [u8; 64] {
        std::array::from_fn(|index| index as u8)
    }

    #[test]
    fn the_checksum_is_the_one_of_zlib() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
        assert_eq!(crc32(b""), 0);
    }

    #[test]
    fn the_digits_are_told_from_all_other_bytes() {
        for at in 0..11 {
            for byte in 0..=255_u8 {
                let mut text = *b"09azAZ5mM7x";
                text[at] = byte;
                assert_eq!(alphanumeric(&text), byte.is_ascii_alphanumeric(), "{byte} at {at}");
            }
        }
    }

    #[test]
    fn the_same_bytes_make_the_same_key() {
        assert_eq!(make(&counted()), VECTOR);
        assert_eq!(check(VECTOR.as_bytes()), Ok(()));
        assert_eq!(VECTOR.len(), 51);
    }

    #[test]
    fn every_single_change_of_a_key_is_noticed() {
        let key = make(&counted());
        for at in PREFIX.len()..key.len() {
            for byte in 0..=255_u8 {
                let mut changed = key.clone().into_bytes();
                if changed[at] != byte {
                    changed[at] = byte;
                    assert_eq!(check(&changed), Err(Malformed), "{}", String::from_utf8_lossy(&changed));
                }
            }
        }
    }

    #[test]
    fn every_cut_and_every_addition_is_noticed() {
        let key = make(&counted()).into_bytes();
        for length in PREFIX.len()..key.len() {
            assert_eq!(check(&key[..length]), Err(Malformed), "{length}");
        }
        for extra in [&b" "[..], b"\0", b"\xEF\xBB\xBF", b"0", b"_"] {
            assert_eq!(check(&[&key, extra].concat()), Err(Malformed));
        }
    }

    #[test]
    fn a_longer_secret_is_taken() {
        let mut key = format!("tg_01234567_{}", "z".repeat(48)).into_bytes();
        let checksum = digits::<CHECKSUM>(crc32(&key).into());
        key.push(b'_');
        key.extend_from_slice(&checksum);
        assert_eq!(check(&key), Ok(()));
    }

    #[test]
    fn keys_of_another_make_pass() {
        for key in [&b""[..], b"t", b"tg", b"TG_x", b"hunter2", b"tg-1", b"\xFF\x00", b" tg_"] {
            assert_eq!(check(key), Ok(()));
        }
        assert_eq!(check(b"tg_"), Err(Malformed));
        assert_eq!(check(b"tg_my-own-key"), Err(Malformed));
    }
}
