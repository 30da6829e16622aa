use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, KeyPair as _};

use super::*;

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn digests_of_fips_180() {
    let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(digest(Hash::Sha256, b"abc").unwrap(), hex(abc));
    assert_eq!(digest(Hash::Sha384, b"abc").unwrap()[..4], hex("cb00753f"));
    assert_eq!(digest(Hash::Sha512, b"abc").unwrap()[..4], hex("ddaf35a1"));
}

/// RFC 4231, test case 2.
#[test]
fn an_hmac_of_rfc_4231() {
    let (key, data) = (b"Jefe", b"what do ya want for nothing?");
    let tag = hex("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    assert_eq!(hmac(Hash::Sha256, key, data).unwrap(), tag);
    assert!(hmac_verify(Hash::Sha256, key, data, &tag).unwrap());
    for wrong in [&tag[..31], &[&tag[..], &[0]].concat(), &[0; 32], &[]] {
        assert!(!hmac_verify(Hash::Sha256, key, data, wrong).unwrap());
    }
    assert_eq!(hmac(Hash::Sha512, &[], b"").unwrap().len(), 64, "a key of any length");
}

#[test]
fn equal_looks_at_all_of_both() {
    assert!(equal(b"", b"") && equal(b"ab", b"ab"));
    assert!(!equal(b"ab", b"abc") && !equal(b"ab", b"ac") && !equal(b"bb", b"ab"));
}

#[test]
fn what_one_key_signs_the_other_verifies() {
    let rsa = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let rsa = (rsa.as_der().unwrap().as_ref().to_vec(), rsa.public_key().as_der().unwrap().as_ref().to_vec());
    let ec = |algorithm| {
        let key = EcdsaKeyPair::generate(algorithm).unwrap();
        (key.to_pkcs8v1().unwrap().as_ref().to_vec(), key.public_key().as_der().unwrap().as_ref().to_vec())
    };
    let ed = Ed25519KeyPair::generate().unwrap();
    let ed = (ed.to_pkcs8().unwrap().as_ref().to_vec(), ed.public_key().as_der().unwrap().as_ref().to_vec());
    let (p256, p384) = (ec(&ECDSA_P256_SHA256_FIXED_SIGNING), ec(&ECDSA_P384_SHA384_FIXED_SIGNING));
    let hashes = [Hash::Sha256, Hash::Sha384, Hash::Sha512];
    let rsas = hashes.into_iter().flat_map(|hash| [Algorithm::RsaPkcs1(hash), Algorithm::RsaPss(hash)]);
    let all = rsas.map(|algorithm| (algorithm, &rsa)).chain([
        (Algorithm::EcdsaP256, &p256),
        (Algorithm::EcdsaP384, &p384),
        (Algorithm::Ed25519, &ed),
    ]);
    for (algorithm, (private, public)) in all {
        let signature = sign(algorithm, private, b"hello").unwrap();
        assert_eq!(verify(algorithm, public, b"hello", &signature), Ok(true), "{algorithm:?}");
        assert_eq!(verify(algorithm, public, b"hellp", &signature), Ok(false), "{algorithm:?}");
        assert_eq!(verify(algorithm, public, b"hello", &signature[1..]), Ok(false), "{algorithm:?}");
        assert_eq!(verify(algorithm, public, b"hello", &[]), Ok(false), "{algorithm:?}");
        // A key of another kind is told from a wrong signature.
        let other = if algorithm == Algorithm::Ed25519 { &p256 } else { &ed };
        assert!(
            matches!(verify(algorithm, &other.1, b"hello", &signature), Err(Error::InvalidKey(_))),
            "{algorithm:?}"
        );
        assert!(matches!(sign(algorithm, &other.0, b"hello"), Err(Error::InvalidKey(_))), "{algorithm:?}");
        assert!(matches!(sign(algorithm, &private[..private.len() - 9], b""), Err(Error::InvalidKey(_))));
    }
    assert!(matches!(verify(Algorithm::EcdsaP384, &p256.1, b"", b""), Err(Error::InvalidKey(_))), "another curve");
    assert!(matches!(sign(Algorithm::EcdsaP256, &p384.0, b""), Err(Error::InvalidKey(_))), "another curve");
}

#[test]
fn too_much_is_refused() {
    let much = vec![0; MOST_DATA + 1];
    assert_eq!(digest(Hash::Sha256, &much), Err(Error::TooLarge));
    assert_eq!(hmac(Hash::Sha256, &much[..=LONGEST_KEY], b""), Err(Error::TooLarge));
    assert_eq!(sign(Algorithm::Ed25519, b"", &much), Err(Error::TooLarge));
    assert_eq!(verify(Algorithm::Ed25519, b"", &much, b""), Err(Error::TooLarge));
    assert!(digest(Hash::Sha256, &much[1..]).is_ok());
}
