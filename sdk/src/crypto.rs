//! Cryptography at the host's speed. Always granted.
//!
//! Natively, digests and HMACs are computed as the host does, and signatures are not: what verifies or signs is tested
//! with `tollgate plugin test`.

#[cfg(target_arch = "wasm32")]
use crate::bindings::tollgate::plugin::crypto as wit;

/// How a digest is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hash {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

/// How something is signed, by the names of JSON Web Algorithms (RFC 7518, RFC 8037).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// RSA, PKCS #1 v1.5, with SHA-256.
    Rs256,
    /// The same with SHA-384.
    Rs384,
    /// The same with SHA-512.
    Rs512,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// The same with SHA-384.
    Ps384,
    /// The same with SHA-512.
    Ps512,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// Ed25519.
    EdDsa,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// What is wrong with the key.
    InvalidKey(String),
    /// More than 16 MiB of data, or a key of more than 64 KiB.
    TooLarge,
}

/// The digest of some bytes.
pub fn digest(hash: Hash, data: &[u8]) -> Result<Vec<u8>, Error> {
    #[cfg(target_arch = "wasm32")]
    return Ok(wit::digest(hash.into(), data)?);
    #[cfg(not(target_arch = "wasm32"))]
    Ok(stand_in::digest(hash, data))
}

/// The HMAC of some bytes (RFC 2104).
pub fn hmac(hash: Hash, key: &[u8], data: &[u8]) -> Result<Vec<u8>, Error> {
    #[cfg(target_arch = "wasm32")]
    return Ok(wit::hmac(hash.into(), key, data)?);
    #[cfg(not(target_arch = "wasm32"))]
    Ok(stand_in::hmac(hash, key, data))
}

/// Whether a tag is the HMAC of some bytes, compared in constant time.
pub fn hmac_verify(hash: Hash, key: &[u8], data: &[u8], tag: &[u8]) -> Result<bool, Error> {
    #[cfg(target_arch = "wasm32")]
    return Ok(wit::hmac_verify(hash.into(), key, data, tag)?);
    #[cfg(not(target_arch = "wasm32"))]
    Ok(stand_in::hmac(hash, key, data) == tag)
}

/// Whether two values are equal, in a time that tells nothing but their lengths.
#[must_use]
pub fn equal(a: &[u8], b: &[u8]) -> bool {
    #[cfg(target_arch = "wasm32")]
    return wit::equal(a, b);
    #[cfg(not(target_arch = "wasm32"))]
    return a == b;
}

/// Whether a signature was made with the key that belongs to this public key, a DER SubjectPublicKeyInfo: what is inside
/// of `-----BEGIN PUBLIC KEY-----`.
pub fn verify(algorithm: Algorithm, public_key: &[u8], data: &[u8], signature: &[u8]) -> Result<bool, Error> {
    #[cfg(target_arch = "wasm32")]
    return Ok(wit::verify(algorithm.into(), public_key, data, signature)?);
    #[cfg(not(target_arch = "wasm32"))]
    {
        let _ = (algorithm, public_key, data, signature);
        Err(stand_in::only_the_host())
    }
}

/// Signs some bytes with a private key, a DER PKCS #8: what is inside of `-----BEGIN PRIVATE KEY-----`.
pub fn sign(algorithm: Algorithm, private_key: &[u8], data: &[u8]) -> Result<Vec<u8>, Error> {
    #[cfg(target_arch = "wasm32")]
    return Ok(wit::sign(algorithm.into(), private_key, data)?);
    #[cfg(not(target_arch = "wasm32"))]
    {
        let _ = (algorithm, private_key, data);
        Err(stand_in::only_the_host())
    }
}

#[cfg(target_arch = "wasm32")]
impl From<Hash> for wit::Hash {
    fn from(hash: Hash) -> Self {
        match hash {
            Hash::Sha256 => Self::Sha256,
            Hash::Sha384 => Self::Sha384,
            Hash::Sha512 => Self::Sha512,
        }
    }
}

#[cfg(target_arch = "wasm32")]
impl From<Algorithm> for wit::Algorithm {
    fn from(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Rs256 => Self::RsaPkcs1Sha256,
            Algorithm::Rs384 => Self::RsaPkcs1Sha384,
            Algorithm::Rs512 => Self::RsaPkcs1Sha512,
            Algorithm::Ps256 => Self::RsaPssSha256,
            Algorithm::Ps384 => Self::RsaPssSha384,
            Algorithm::Ps512 => Self::RsaPssSha512,
            Algorithm::Es256 => Self::EcdsaP256Sha256,
            Algorithm::Es384 => Self::EcdsaP384Sha384,
            Algorithm::EdDsa => Self::Ed25519,
        }
    }
}

#[cfg(target_arch = "wasm32")]
impl From<wit::Error> for Error {
    fn from(error: wit::Error) -> Self {
        match error {
            wit::Error::InvalidKey(why) => Self::InvalidKey(why),
            wit::Error::TooLarge => Self::TooLarge,
        }
    }
}

#[cfg(not(target_arch = "wasm32"))]
mod stand_in {
    use sha2::{Digest as _, Sha256, Sha384, Sha512};

    use super::{Error, Hash};

    pub(super) fn digest(hash: Hash, data: &[u8]) -> Vec<u8> {
        match hash {
            Hash::Sha256 => Sha256::digest(data).to_vec(),
            Hash::Sha384 => Sha384::digest(data).to_vec(),
            Hash::Sha512 => Sha512::digest(data).to_vec(),
        }
    }

    /// RFC 2104, section 2.
    pub(super) fn hmac(hash: Hash, key: &[u8], data: &[u8]) -> Vec<u8> {
        let block = if hash == Hash::Sha256 { 64 } else { 128 };
        let mut key = if key.len() > block { digest(hash, key) } else { key.to_vec() };
        key.resize(block, 0);
        let pad = |with: u8| key.iter().map(|byte| byte ^ with).collect::<Vec<_>>();
        let inner = digest(hash, &[&pad(0x36), data].concat());
        digest(hash, &[pad(0x5c), inner].concat())
    }

    pub(super) fn only_the_host() -> Error {
        Error::InvalidKey("only the host signs and verifies: test it with `tollgate plugin test`".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// RFC 4231, test cases 2 and 6.
    #[test]
    fn the_stand_in_computes_hmacs_as_the_host_does() {
        let tag = hmac(Hash::Sha256, b"Jefe", b"what do ya want for nothing?").unwrap();
        assert_eq!(hex(&tag), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
        assert_eq!(hmac_verify(Hash::Sha256, b"Jefe", b"what do ya want for nothing?", &tag), Ok(true));
        let data = b"Test Using Larger Than Block-Size Key - Hash Key First";
        assert_eq!(hex(&hmac(Hash::Sha512, &[0xaa; 131], data).unwrap())[..16], *"80b24263c7c1a3eb");
    }
}
