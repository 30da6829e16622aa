//! What a guest sees of cryptography.

use wasmtime::component::{HasData, Linker};

use super::{Algorithm, Error, Hash};
use crate::bindings::crypto as wit;
use crate::capability::Capabilities;

/// There is nothing to keep.
pub(crate) struct Guest;

impl HasData for Guest {
    type Data<'a> = Self;
}

pub(crate) fn link<T: Capabilities>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    wit::add_to_linker::<T, Guest>(linker, |state| {
        state.crypto();
        Guest
    })
}

impl wit::Host for Guest {
    fn digest(&mut self, hash: wit::Hash, data: Vec<u8>) -> wasmtime::Result<Result<Vec<u8>, wit::Error>> {
        Ok(super::digest(hash.into(), &data).map_err(Into::into))
    }

    fn hmac(&mut self, hash: wit::Hash, key: Vec<u8>, data: Vec<u8>) -> wasmtime::Result<Result<Vec<u8>, wit::Error>> {
        Ok(super::hmac(hash.into(), &key, &data).map_err(Into::into))
    }

    fn hmac_verify(
        &mut self,
        hash: wit::Hash,
        key: Vec<u8>,
        data: Vec<u8>,
        tag: Vec<u8>,
    ) -> wasmtime::Result<Result<bool, wit::Error>> {
        Ok(super::hmac_verify(hash.into(), &key, &data, &tag).map_err(Into::into))
    }

    fn equal(&mut self, a: Vec<u8>, b: Vec<u8>) -> wasmtime::Result<bool> {
        Ok(super::equal(&a, &b))
    }

    fn verify(
        &mut self,
        algorithm: wit::Algorithm,
        public_key: Vec<u8>,
        data: Vec<u8>,
        signature: Vec<u8>,
    ) -> wasmtime::Result<Result<bool, wit::Error>> {
        Ok(super::verify(algorithm.into(), &public_key, &data, &signature).map_err(Into::into))
    }

    fn sign(
        &mut self,
        algorithm: wit::Algorithm,
        private_key: Vec<u8>,
        data: Vec<u8>,
    ) -> wasmtime::Result<Result<Vec<u8>, wit::Error>> {
        Ok(super::sign(algorithm.into(), &private_key, &data).map_err(Into::into))
    }
}

impl From<wit::Hash> for Hash {
    fn from(hash: wit::Hash) -> Self {
        match hash {
            wit::Hash::Sha256 => Self::Sha256,
            wit::Hash::Sha384 => Self::Sha384,
            wit::Hash::Sha512 => Self::Sha512,
        }
    }
}

impl From<wit::Algorithm> for Algorithm {
    fn from(algorithm: wit::Algorithm) -> Self {
        match algorithm {
            wit::Algorithm::RsaPkcs1Sha256 => Self::RsaPkcs1(Hash::Sha256),
            wit::Algorithm::RsaPkcs1Sha384 => Self::RsaPkcs1(Hash::Sha384),
            wit::Algorithm::RsaPkcs1Sha512 => Self::RsaPkcs1(Hash::Sha512),
            wit::Algorithm::RsaPssSha256 => Self::RsaPss(Hash::Sha256),
            wit::Algorithm::RsaPssSha384 => Self::RsaPss(Hash::Sha384),
            wit::Algorithm::RsaPssSha512 => Self::RsaPss(Hash::Sha512),
            wit::Algorithm::EcdsaP256Sha256 => Self::EcdsaP256,
            wit::Algorithm::EcdsaP384Sha384 => Self::EcdsaP384,
            wit::Algorithm::Ed25519 => Self::Ed25519,
        }
    }
}

impl From<Error> for wit::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::InvalidKey(why) => Self::InvalidKey(why),
            Error::TooLarge => Self::TooLarge,
        }
    }
}
