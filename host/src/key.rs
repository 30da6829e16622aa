//! New API keys, for `tollgate key new`: shown once, and kept nowhere but as a digest.
//!
//! The format is the one that the built-in `api-key` plugin describes in `plugins/api-key/src/key.rs`: `tg_`, an
//! identifier, a secret and a checksum. The plugin has no privilege, so the host does not depend on it, and what it takes
//! to write such a key stands here once more; the tests hold both to each other.

use std::fmt;

use sha2::{Digest, Sha256};

/// A key, and what the configuration says of it.
#[derive(Clone, PartialEq, Eq)]
pub struct NewKey {
    /// The key itself, 51 characters of 190 secret bits. For its holder, and for nobody else.
    pub key: String,
    /// Its public name: the part behind `tg_`.
    pub id: String,
    /// The SHA-256 of the key, as hexadecimal digits.
    pub sha256: String,
    /// The element for `config.keys` of an `api-key` plugin.
    pub toml_line: String,
}

/// Why there is no new key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    /// A name that the plugin would refuse.
    Consumer,
    /// The system gave no random bytes.
    Random(getrandom::Error),
}

/// Makes a key for a consumer, whose name is 1 to 128 visible ASCII characters.
pub fn new_key(consumer: &str) -> Result<NewKey, Error> {
    if !(1..=128).contains(&consumer.len()) || !consumer.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Error::Consumer);
    }
    let mut random = [0; 64];
    getrandom::fill(&mut random).map_err(Error::Random)?;
    Ok(key_of(&random, consumer))
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Consumer => f.write_str("a consumer's name is 1 to 128 visible ASCII characters without spaces"),
            Self::Random(error) => write!(f, "the system gives no random bytes: {error}"),
        }
    }
}

impl std::error::Error for Error {}

/// Without the key: a debug print is no place for it.
impl fmt::Debug for NewKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewKey").field("id", &self.id).field("sha256", &self.sha256).finish_non_exhaustive()
    }
}

fn key_of(random: &[u8; 64], consumer: &str) -> NewKey {
    let mut digits = String::with_capacity(40);
    for chunk in random.as_chunks::<16>().0 {
        // Ten digits of 128 bits: what the division leaves over favours no digit by more than 2^-68.
        push_digits(&mut digits, u128::from_be_bytes(*chunk) % 62_u128.pow(10), 10);
    }
    let (id, secret) = digits.split_at(8);
    let mut key = format!("tg_{id}_{secret}");
    let checksum = crc32(key.as_bytes());
    key.push('_');
    push_digits(&mut key, checksum.into(), 6);

    let sha256: String = Sha256::digest(&key).iter().map(|byte| format!("{byte:02x}")).collect();
    let escaped = consumer.replace('\\', "\\\\").replace('"', "\\\"");
    let toml_line = format!("{{ consumer = \"{escaped}\", id = \"{id}\", sha256 = \"{sha256}\" }},");
    NewKey { key, id: id.to_owned(), sha256, toml_line }
}

/// The last `count` digits of a number in base 62, the highest first.
fn push_digits(to: &mut String, number: u128, count: u32) {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    for place in (0..count).rev() {
        to.push(char::from(DIGITS[(number / 62_u128.pow(place) % 62) as usize]));
    }
}

/// CRC-32/ISO-HDLC, the one of zlib and PNG, bit by bit: it runs once for each new key.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc: u32, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 })
    })
}

/// The plugin's own view of the format, so that the two cannot come apart.
#[cfg(test)]
#[path = "../../plugins/api-key/src/key.rs"]
#[allow(dead_code, unreachable_pub, reason = "written for another crate")]
mod format;

#[cfg(test)]
mod tests {
    use super::*;

    /// The key of the bytes 0, 1, 2 … 63: the same vector stands in the plugin's tests.
    const VECTOR: &str = "tg_EgOGusQG_wpWJhXqJNbv5nx0olkKwtL5aK5hBIHrb_3bVNfs";

    #[test]
    fn the_shared_vector_comes_out() {
        let new = key_of(&std::array::from_fn(|index| index as u8), "alice");
        assert_eq!(new.key, VECTOR);
        assert_eq!(new.id, "EgOGusQG");
        assert_eq!(new.sha256, "102505fad4af93f9f14554c6f219ad49b020adfdddd71bb7b2989be7dfcabce2");
        assert_eq!(
            new.toml_line,
            "{ consumer = \"alice\", id = \"EgOGusQG\", \
             sha256 = \"102505fad4af93f9f14554c6f219ad49b020adfdddd71bb7b2989be7dfcabce2\" },"
        );
    }

    #[test]
    fn host_and_plugin_make_the_same_keys() {
        for seed in 0..=255_u8 {
            let random = std::array::from_fn(|index| seed.wrapping_mul(31).wrapping_add(index as u8 ^ seed));
            let new = key_of(&random, "alice");
            assert_eq!(new.key, format::make(&random));
            assert_eq!(format::check(new.key.as_bytes()), Ok(()));
        }
    }

    #[test]
    fn new_keys_differ_and_are_well_formed() {
        let keys: Vec<NewKey> = (0..100).map(|_| new_key("alice").unwrap()).collect();
        let distinct: std::collections::HashSet<&str> = keys.iter().map(|new| new.key.as_str()).collect();
        assert_eq!(distinct.len(), keys.len());
        for new in &keys {
            assert_eq!(new.key.len(), 51);
            assert_eq!(format::check(new.key.as_bytes()), Ok(()));
            assert!(!new.toml_line.contains(&new.key) && !format!("{new:?}").contains(&new.key));
        }
    }

    #[test]
    fn the_line_is_toml_whatever_the_name() {
        for consumer in ["alice", "a\"b", "a\\b", "\\\"", "{}=,#'", &"x".repeat(128)] {
            let line = new_key(consumer).unwrap().toml_line;
            let table: toml::Table = format!("keys = [\n{line}\n]").parse().unwrap();
            assert_eq!(table["keys"][0]["consumer"].as_str(), Some(consumer));
        }
        for consumer in ["", "a b", "a\nb", "é", &"x".repeat(129)] {
            assert_eq!(new_key(consumer), Err(Error::Consumer));
        }
    }
}
