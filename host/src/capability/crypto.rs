//! Cryptography at the speed of the host: what stands behind `tollgate:plugin/crypto`.
//!
//! All of it is aws-lc's, which TLS brings along. A call takes as long as its data is long, and nothing interrupts it:
//! 16 MiB of SHA-512 are some 30 ms. So data is bounded, and keys are, too.

mod guest;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    self, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, ParsedPublicKey, RsaEncoding, RsaKeyPair,
    VerificationAlgorithm,
};
use aws_lc_rs::{constant_time, digest, hmac};

pub(crate) use guest::link;

/// The most bytes of data in one call.
pub const MOST_DATA: usize = 16 << 20;
/// The longest key, in bytes.
pub const LONGEST_KEY: usize = 64 << 10;

/// How a digest is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hash {
    /// SHA-256 (FIPS 180-4).
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

/// How something is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// RS256, RS384, RS512.
    RsaPkcs1(Hash),
    /// PS256, PS384, PS512.
    RsaPss(Hash),
    /// ES256.
    EcdsaP256,
    /// ES384.
    EcdsaP384,
    /// EdDSA.
    Ed25519,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// What is wrong with the key.
    InvalidKey(String),
    /// Too much data, or too long a key.
    TooLarge,
}

/// The digest of some bytes.
///
/// # Errors
/// More data than [`MOST_DATA`].
pub fn digest(hash: Hash, data: &[u8]) -> Result<Vec<u8>, Error> {
    fits(data, &[])?;
    let algorithm = match hash {
        Hash::Sha256 => &digest::SHA256,
        Hash::Sha384 => &digest::SHA384,
        Hash::Sha512 => &digest::SHA512,
    };
    Ok(digest::digest(algorithm, data).as_ref().to_vec())
}

/// The HMAC of some bytes (RFC 2104).
///
/// # Errors
/// More data than [`MOST_DATA`], or a longer key than [`LONGEST_KEY`].
pub fn hmac(hash: Hash, key: &[u8], data: &[u8]) -> Result<Vec<u8>, Error> {
    fits(data, key)?;
    Ok(hmac::sign(&hmac_key(hash, key), data).as_ref().to_vec())
}

/// Whether a tag is the HMAC of some bytes, in constant time.
///
/// # Errors
/// As [`hmac`].
pub fn hmac_verify(hash: Hash, key: &[u8], data: &[u8], tag: &[u8]) -> Result<bool, Error> {
    fits(data, key)?;
    Ok(hmac::verify(&hmac_key(hash, key), data, tag).is_ok())
}

/// Whether two values are equal, in a time that tells nothing but their lengths.
#[must_use]
pub fn equal(a: &[u8], b: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(a, b).is_ok()
}

/// Whether a signature was made with the key that belongs to a public one.
///
/// # Errors
/// A key that is none for this algorithm, or too much of something.
pub fn verify(algorithm: Algorithm, public_key: &[u8], data: &[u8], signature: &[u8]) -> Result<bool, Error> {
    fits(data, public_key)?;
    let verification: &'static dyn VerificationAlgorithm = match algorithm {
        Algorithm::RsaPkcs1(Hash::Sha256) => &signature::RSA_PKCS1_2048_8192_SHA256,
        Algorithm::RsaPkcs1(Hash::Sha384) => &signature::RSA_PKCS1_2048_8192_SHA384,
        Algorithm::RsaPkcs1(Hash::Sha512) => &signature::RSA_PKCS1_2048_8192_SHA512,
        Algorithm::RsaPss(Hash::Sha256) => &signature::RSA_PSS_2048_8192_SHA256,
        Algorithm::RsaPss(Hash::Sha384) => &signature::RSA_PSS_2048_8192_SHA384,
        Algorithm::RsaPss(Hash::Sha512) => &signature::RSA_PSS_2048_8192_SHA512,
        Algorithm::EcdsaP256 => &signature::ECDSA_P256_SHA256_FIXED,
        Algorithm::EcdsaP384 => &signature::ECDSA_P384_SHA384_FIXED,
        Algorithm::Ed25519 => &signature::ED25519,
    };
    let key = ParsedPublicKey::new(verification, public_key)
        .map_err(|_| wrong("the public key is no SubjectPublicKeyInfo for this algorithm"))?;
    Ok(key.verify_sig(data, signature).is_ok())
}

/// Signs some bytes.
///
/// # Errors
/// A key that is none for this algorithm, or too much of something.
pub fn sign(algorithm: Algorithm, private_key: &[u8], data: &[u8]) -> Result<Vec<u8>, Error> {
    fits(data, private_key)?;
    match algorithm {
        Algorithm::RsaPkcs1(Hash::Sha256) => rsa(&signature::RSA_PKCS1_SHA256, private_key, data),
        Algorithm::RsaPkcs1(Hash::Sha384) => rsa(&signature::RSA_PKCS1_SHA384, private_key, data),
        Algorithm::RsaPkcs1(Hash::Sha512) => rsa(&signature::RSA_PKCS1_SHA512, private_key, data),
        Algorithm::RsaPss(Hash::Sha256) => rsa(&signature::RSA_PSS_SHA256, private_key, data),
        Algorithm::RsaPss(Hash::Sha384) => rsa(&signature::RSA_PSS_SHA384, private_key, data),
        Algorithm::RsaPss(Hash::Sha512) => rsa(&signature::RSA_PSS_SHA512, private_key, data),
        Algorithm::EcdsaP256 => ecdsa(&signature::ECDSA_P256_SHA256_FIXED_SIGNING, private_key, data),
        Algorithm::EcdsaP384 => ecdsa(&signature::ECDSA_P384_SHA384_FIXED_SIGNING, private_key, data),
        Algorithm::Ed25519 => {
            let key = Ed25519KeyPair::from_pkcs8_maybe_unchecked(private_key).map_err(|_| no_private_key())?;
            key.try_sign(data).map(|signature| signature.as_ref().to_vec()).map_err(|_| no_private_key())
        }
    }
}

fn rsa(encoding: &'static dyn RsaEncoding, private_key: &[u8], data: &[u8]) -> Result<Vec<u8>, Error> {
    let key = RsaKeyPair::from_pkcs8(private_key).map_err(|_| no_private_key())?;
    let length = key.public_modulus_len();
    if !(256..=1024).contains(&length) {
        return Err(wrong("an RSA key has 2048 to 8192 bits"));
    }
    let mut signature = vec![0; length];
    key.sign(encoding, &SystemRandom::new(), data, &mut signature).map_err(|_| no_private_key())?;
    Ok(signature)
}

fn ecdsa(algorithm: &'static EcdsaSigningAlgorithm, private_key: &[u8], data: &[u8]) -> Result<Vec<u8>, Error> {
    let key = EcdsaKeyPair::from_pkcs8(algorithm, private_key).map_err(|_| no_private_key())?;
    let signature = key.sign(&SystemRandom::new(), data).map_err(|_| no_private_key())?;
    Ok(signature.as_ref().to_vec())
}

fn hmac_key(hash: Hash, key: &[u8]) -> hmac::Key {
    let algorithm = match hash {
        Hash::Sha256 => hmac::HMAC_SHA256,
        Hash::Sha384 => hmac::HMAC_SHA384,
        Hash::Sha512 => hmac::HMAC_SHA512,
    };
    hmac::Key::new(algorithm, key)
}

fn fits(data: &[u8], key: &[u8]) -> Result<(), Error> {
    if data.len() > MOST_DATA || key.len() > LONGEST_KEY { Err(Error::TooLarge) } else { Ok(()) }
}

fn no_private_key() -> Error {
    wrong("the private key is no PKCS #8 for this algorithm")
}

fn wrong(why: &str) -> Error {
    Error::InvalidKey(why.to_owned())
}

#[cfg(test)]
mod tests;
