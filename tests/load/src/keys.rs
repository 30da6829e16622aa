//! The API keys that both sides know: a real one, and 99 that nobody has.

/// A key of Tollgate's make, known to every reader of `plugins/api-key/README.md`.
pub(crate) const KEY: &str = "tg_EgOGusQG_wpWJhXqJNbv5nx0olkKwtL5aK5hBIHrb_3bVNfs";
const DIGEST: &str = "102505fad4af93f9f14554c6f219ad49b020adfdddd71bb7b2989be7dfcabce2";

/// Each consumer with the SHA-256 of its key, in hexadecimal digits.
pub(crate) fn digests() -> Vec<(String, String)> {
    let nobody =
        |number: u64| (format!("nobody-{number}"), format!("{:064x}", u128::from(number) * 0x9e37_79b9_7f4a_7c15));
    std::iter::once(("alice".to_owned(), DIGEST.to_owned())).chain((1..100).map(nobody)).collect()
}
