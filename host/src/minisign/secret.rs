//! The half that signs.

use std::fmt;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{HASHED, KeyId, Malformed, Message, PLAIN, PublicKey, TRUSTED, UNTRUSTED, decode, key_line, part};

/// How many bytes a secret key has, with everything around it.
pub(super) const LENGTH: usize = 158;
/// Where the identifier is in them; seed and public key are behind it, and a checksum that only encrypted ones need.
const ID: usize = 54;

/// Signs. It is not shown by anything but [`to_file`](Self::to_file).
pub struct SecretKey {
    id: KeyId,
    seed: [u8; 32],
    pair: Ed25519KeyPair,
}

impl SecretKey {
    /// A new one.
    ///
    /// # Errors
    /// There are no random numbers.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let (mut id, mut seed) = ([0; 8], [0; 32]);
        getrandom::fill(&mut id)?;
        getrandom::fill(&mut seed)?;
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).expect("any 32 bytes are a seed");
        Ok(Self { id: KeyId(id), seed, pair })
    }

    /// A file, of minisign's or of ours.
    ///
    /// # Errors
    /// What is wrong with it; never a part of it.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let bytes: [u8; LENGTH] = decode(key_line(text)?, "the key")?;
        if &bytes[..2] != PLAIN {
            return Err(Malformed("it does not begin as keys for Ed25519 do".to_owned()));
        }
        if bytes[2..4] != [0, 0] {
            let why = "it is encrypted with a password: sign with `minisign -S`, or decrypt it with `minisign -C -W`";
            return Err(Malformed(why.to_owned()));
        }
        let (seed, public): ([u8; 32], [u8; 32]) = (part(&bytes, ID + 8), part(&bytes, ID + 40));
        let pair = Ed25519KeyPair::from_seed_and_public_key(&seed, &public)
            .map_err(|_| Malformed("its two halves do not belong together".to_owned()))?;
        Ok(Self { id: KeyId(part(&bytes, ID)), seed, pair })
    }

    /// The other half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey { id: self.id, key: part(self.pair.public_key().as_ref(), 0) }
    }

    /// The text of a file, not encrypted, that minisign reads, too.
    #[must_use]
    pub fn to_file(&self) -> String {
        let mut bytes = [0; LENGTH];
        bytes[..2].copy_from_slice(PLAIN);
        bytes[4..6].copy_from_slice(b"B2");
        let public = self.public();
        let parts = [&self.id.0[..], &self.seed, &public.key].concat();
        bytes[ID..ID + parts.len()].copy_from_slice(&parts);
        format!("{UNTRUSTED}minisign secret key {}\n{}\n", self.id, STANDARD.encode(bytes))
    }

    /// The text of a file with a signature. Control characters in the comment, such as line ends, become spaces.
    #[must_use]
    pub fn sign(&self, message: &Message, comment: &str) -> String {
        let comment = comment.replace(|letter: char| letter.is_control() && letter != '\t', " ");
        let signature = self.pair.sign(message.digest());
        let whole = self.pair.sign(&[signature.as_ref(), comment.as_bytes()].concat());
        let signature = STANDARD.encode([HASHED, &self.id.0[..], signature.as_ref()].concat());
        let whole = STANDARD.encode(whole);
        format!("{UNTRUSTED}signature by the key {}\n{signature}\n{TRUSTED}{comment}\n{whole}\n", self.id)
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretKey").field("id", &self.id).finish_non_exhaustive()
    }
}
