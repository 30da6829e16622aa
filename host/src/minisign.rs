//! Signatures of files, in the format of [minisign](https://jedisct1.github.io/minisign/): what is signed with it is
//! verified here, and what is signed here is verified by it.
//!
//! A signature is a file of four lines: a comment that nobody signed, the signature, a comment that is signed, and the
//! signature of both. It is Ed25519 (RFC 8032) over the BLAKE2b-512 digest of the file (RFC 7693), or over the file itself
//! as older versions of minisign did it; the two are told apart by two letters before the signature. An identifier of the
//! key goes with each, which says which key to look for, and proves nothing.

mod secret;

use std::fmt;
use std::sync::OnceLock;

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use blake2::{Blake2b512, Digest as _};
use bytes::Bytes;

pub use secret::SecretKey;

/// The longest file of a signature or a key. Comments of minisign have at most 8 KiB.
pub const LONGEST: usize = 16 << 10;

/// Before the bytes of keys, and of signatures over a file itself.
const PLAIN: &[u8; 2] = b"Ed";
/// Before the bytes of signatures over a digest.
const HASHED: &[u8; 2] = b"ED";

const UNTRUSTED: &str = "untrusted comment: ";
const TRUSTED: &str = "trusted comment: ";

/// What a key is found by.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KeyId([u8; 8]);

/// Verifies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    /// What signatures by this key name.
    pub id: KeyId,
    key: [u8; 32],
}

/// What was signed, and its digest once somebody asks for it.
#[derive(Debug, Default)]
pub struct Message {
    bytes: Bytes,
    digest: OnceLock<[u8; 64]>,
}

/// A signature, of which nothing is verified yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// The key that it says it is by.
    pub id: KeyId,
    hashed: bool,
    bytes: [u8; 64],
    comment: String,
    whole: [u8; 64],
}

/// Why a signature is none of a message by a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mismatch {
    /// It says itself that it is by another key: this one.
    Key(KeyId),
    /// It is not of these bytes, or not by this key.
    Message,
    /// It is, but its comment was changed.
    Comment,
}

/// Why a text is no key or no signature: the end of a sentence that begins with what it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed(pub String);

impl PublicKey {
    /// The line with the key, or a whole file of minisign's.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let line = key_line(text)?;
        if line.len() == secret::LENGTH.div_ceil(3) * 4 {
            return Err(Malformed("it is a secret key, which nobody needs but who signs".to_owned()));
        }
        let bytes: [u8; 42] = decode(line, "the key")?;
        if &bytes[..2] != PLAIN {
            return Err(Malformed("it does not begin as keys for Ed25519 do".to_owned()));
        }
        Ok(Self { id: KeyId(part(&bytes, 2)), key: part(&bytes, 10) })
    }

    /// Whether a signature is of this message, comment and all.
    ///
    /// # Errors
    /// It is not.
    pub fn verify(&self, message: &Message, signature: &Signature) -> Result<(), Mismatch> {
        if self.id != signature.id {
            return Err(Mismatch::Key(signature.id));
        }
        let key = UnparsedPublicKey::new(&ED25519, &self.key);
        let signed = if signature.hashed { message.digest() } else { &message.bytes };
        key.verify(signed, &signature.bytes).map_err(|_| Mismatch::Message)?;
        let whole = [&signature.bytes, signature.comment.as_bytes()].concat();
        key.verify(&whole, &signature.whole).map_err(|_| Mismatch::Comment)
    }
}

/// The line that configurations have, and the second one of a file.
impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode([&PLAIN[..], &self.id.0, &self.key].concat()))
    }
}

impl Message {
    /// These bytes.
    #[must_use]
    pub fn new(bytes: Bytes) -> Self {
        Self { bytes, digest: OnceLock::new() }
    }

    fn digest(&self) -> &[u8] {
        self.digest.get_or_init(|| Blake2b512::digest(&self.bytes).into())
    }
}

impl Signature {
    /// A file of four lines.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let wrong = |why: &str| Malformed(why.to_owned());
        if bytes.len() > LONGEST {
            return Err(wrong("it is longer than any"));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| wrong("it is not UTF-8 text"))?;
        let text = text.strip_suffix('\n').unwrap_or(text);
        let lines: Vec<_> = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line)).collect();
        let [untrusted, signature, trusted, whole] = lines[..] else {
            return Err(wrong("it has not four lines"));
        };
        if !untrusted.starts_with(UNTRUSTED) {
            return Err(Malformed(format!("its first line does not begin with {UNTRUSTED:?}")));
        }
        let Some(comment) = trusted.strip_prefix(TRUSTED) else {
            return Err(Malformed(format!("its third line does not begin with {TRUSTED:?}")));
        };
        if comment.chars().any(|letter| letter.is_control() && letter != '\t') {
            return Err(wrong("its trusted comment has control characters"));
        }
        let bytes: [u8; 74] = decode(signature, "its second line")?;
        let hashed = match &part::<2>(&bytes, 0) {
            PLAIN => false,
            HASHED => true,
            _ => return Err(wrong("its second line does not begin as signatures by Ed25519 do")),
        };
        let whole = decode(whole, "its fourth line")?;
        Ok(Self { id: KeyId(part(&bytes, 2)), hashed, bytes: part(&bytes, 10), comment: comment.to_owned(), whole })
    }

    /// What the signer said, which is to be believed once the signature is verified.
    #[must_use]
    pub fn comment(&self) -> &str {
        &self.comment
    }
}

/// As minisign shows it.
impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().rev().try_for_each(|byte| write!(f, "{byte:02X}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(id) => write!(f, "it is by another key, {id}"),
            Self::Message => f.write_str("it is not of this file"),
            Self::Comment => f.write_str("its trusted comment was changed"),
        }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The line of a file with a key that is not the comment.
fn key_line(text: &str) -> Result<&str, Malformed> {
    let mut lines = text.trim_end().lines();
    let first = lines.next().unwrap_or_default();
    let line = if first.starts_with(UNTRUSTED) { lines.next().unwrap_or_default() } else { first };
    match lines.next() {
        None => Ok(line.trim()),
        Some(_) => Err(Malformed("it has more lines than a comment and a key".to_owned())),
    }
}

fn decode<const N: usize>(line: &str, what: &str) -> Result<[u8; N], Malformed> {
    let bytes = STANDARD.decode(line).map_err(|_| Malformed(format!("{what} is not Base64")))?;
    let length = bytes.len();
    bytes.try_into().map_err(|_| Malformed(format!("{what} stands for {length} bytes, and not for {N}")))
}

/// Some of the bytes; callers take what is there.
fn part<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    std::array::from_fn(|index| bytes[at + index])
}

#[cfg(test)]
mod tests;
