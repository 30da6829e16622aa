//! The keys by their digests.
//!
//! A presented key is hashed, and its digest is searched for. How long the search takes depends on digests only, never on
//! how much of a key is right: whoever could read the time would learn leading bits of the SHA-256 of what they sent,
//! which they know already. So the search itself need not be constant in time.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest as _, Sha256};

/// A SHA-256 or an HMAC-SHA-256.
pub(crate) type Digest = [u8; 32];

/// What is known about a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) consumer: Box<str>,
    pub(crate) id: Box<str>,
    pub(crate) scopes: Box<[Box<str>]>,
    /// With spaces between them; empty where there are none.
    pub(crate) joined_scopes: Box<str>,
    /// Seconds since 1970.
    pub(crate) not_before: Option<i64>,
    /// Seconds since 1970: the first second in which the key does not work.
    pub(crate) expires: Option<i64>,
}

impl Key {
    /// Whether the key works now. The clock is read only if it matters.
    pub(crate) fn works(&self, now: impl FnOnce() -> i64) -> bool {
        if self.not_before.is_none() && self.expires.is_none() {
            return true;
        }
        let now = now();
        self.not_before.is_none_or(|start| now >= start) && self.expires.is_none_or(|end| now < end)
    }
}

/// The secret under which keys are hashed, ready for use.
#[derive(Clone)]
pub(crate) struct Pepper(Hmac<Sha256>);

impl Pepper {
    pub(crate) fn new(secret: &[u8]) -> Self {
        Self(Hmac::new_from_slice(secret).expect("HMAC takes secrets of any length"))
    }

    pub(crate) fn digest(&self, key: &[u8]) -> Digest {
        self.0.clone().chain_update(key).finalize().into_bytes().into()
    }
}

/// All keys that may work.
pub(crate) struct Keyring {
    plain: Vec<(Digest, Key)>,
    peppered: Vec<(Digest, Key)>,
    pepper: Option<Pepper>,
}

impl Keyring {
    pub(crate) fn new(pepper: Option<Pepper>) -> Self {
        Self { plain: Vec::new(), peppered: Vec::new(), pepper }
    }

    pub(crate) fn has_pepper(&self) -> bool {
        self.pepper.is_some()
    }

    /// Whether a digest is the one of the empty key.
    pub(crate) fn is_of_nothing(&self, peppered: bool, digest: &Digest) -> bool {
        match &self.pepper {
            Some(pepper) if peppered => pepper.digest(b"") == *digest,
            _ => sha256(b"") == *digest,
        }
    }

    pub(crate) fn add(&mut self, peppered: bool, digest: Digest, key: Key) {
        if peppered { &mut self.peppered } else { &mut self.plain }.push((digest, key));
    }

    /// After the last key was added.
    pub(crate) fn finish(&mut self) {
        self.plain.sort_unstable_by_key(|(digest, _)| *digest);
        self.peppered.sort_unstable_by_key(|(digest, _)| *digest);
    }

    /// The key that this text is.
    pub(crate) fn find(&self, text: &[u8]) -> Option<&Key> {
        search(&self.plain, || sha256(text))
            .or_else(|| self.pepper.as_ref().and_then(|pepper| search(&self.peppered, || pepper.digest(text))))
    }
}

/// A binary search: ten comparisons for a thousand keys, and no hash map whose random seed every instance would need.
fn search(keys: &[(Digest, Key)], digest: impl FnOnce() -> Digest) -> Option<&Key> {
    if keys.is_empty() {
        return None;
    }
    let digest = digest();
    let at = keys.binary_search_by(|(one, _)| one.cmp(&digest)).ok()?;
    Some(&keys[at].1)
}

fn sha256(text: &[u8]) -> Digest {
    Sha256::digest(text).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(id: &str) -> Key {
        Key {
            consumer: "alice".into(),
            id: id.into(),
            scopes: Box::default(),
            joined_scopes: "".into(),
            not_before: None,
            expires: None,
        }
    }

    fn hex(digest: Digest) -> String {
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn digests_are_those_of_the_standards() {
        // FIPS 180-4's example, and case 2 of RFC 4231.
        assert_eq!(hex(sha256(b"abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(
            hex(Pepper::new(b"Jefe").digest(b"what do ya want for nothing?")),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }

    #[test]
    fn every_key_is_found_and_no_other() {
        for pepper in [None, Some(Pepper::new(b"0123456789abcdef"))] {
            let mut keyring = Keyring::new(pepper.clone());
            for number in 0..1000 {
                let text = format!("key {number}");
                // With a pepper, every other key has it.
                match &pepper {
                    Some(pepper) if number % 2 == 0 => keyring.add(true, pepper.digest(text.as_bytes()), key(&text)),
                    _ => keyring.add(false, sha256(text.as_bytes()), key(&text)),
                }
            }
            keyring.finish();
            for number in 0..1000 {
                let text = format!("key {number}");
                assert_eq!(keyring.find(text.as_bytes()).map(|key| &*key.id), Some(&*text));
            }
            for text in [&b""[..], b"key", b"key 1000", b"key 0 ", &sha256(b"key 0")] {
                assert_eq!(keyring.find(text), None);
            }
        }
    }

    #[test]
    fn a_digest_of_the_other_kind_is_no_key() {
        let pepper = Pepper::new(b"0123456789abcdef");
        let mut keyring = Keyring::new(Some(pepper.clone()));
        keyring.add(true, sha256(b"a"), key("a"));
        keyring.add(false, pepper.digest(b"b"), key("b"));
        keyring.finish();
        assert_eq!(keyring.find(b"a"), None);
        assert_eq!(keyring.find(b"b"), None);
    }

    #[test]
    fn a_key_works_from_its_first_second_to_the_one_before_its_end() {
        let limited = Key { not_before: Some(10), expires: Some(20), ..key("a") };
        for (now, works) in [(9, false), (10, true), (19, true), (20, false), (i64::MAX, false), (i64::MIN, false)] {
            assert_eq!(limited.works(|| now), works, "{now}");
        }
        assert!(key("a").works(|| panic!("nobody asked for the time")));
    }
}
