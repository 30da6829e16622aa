//! Whether a component is one that the configuration requires.

use bytes::Bytes;

use super::component::LoadError;
use crate::config::Requirement;
use crate::config::registry::SCHEME;
use crate::minisign::{Message, Signature};

/// What a component is judged by: its bytes, and the signature that came with it.
#[derive(Debug, Default)]
pub(super) struct Evidence {
    message: Message,
    signature: Option<Bytes>,
}

impl Evidence {
    pub(super) fn new(bytes: Bytes, signature: Option<Bytes>) -> Self {
        Self { message: Message::new(bytes), signature }
    }

    /// The file of the signature, whatever it is worth.
    pub(super) fn signature(&self) -> Option<&Bytes> {
        self.signature.as_ref()
    }
}

/// Whether a component fulfils one of these requirements, if there are any. `sha256` is that of its bytes.
///
/// # Errors
/// What it is, what it has to be, and what to do about that.
pub(super) fn check(required: &[Requirement], name: &str, sha256: &str, evidence: &Evidence) -> Result<(), LoadError> {
    let signature = evidence.signature().map(|bytes| Signature::parse(bytes));
    let (mut digests, mut keys, mut mismatches) = (Vec::new(), Vec::new(), Vec::new());
    for requirement in required {
        match (requirement, &signature) {
            (Requirement::Digest(digits), _) if digits == sha256 => return Ok(()),
            (Requirement::Digest(digits), _) => digests.push(format!("sha256:{digits}")),
            (Requirement::Signature { key, public }, Some(Ok(signature))) => {
                match public.verify(&evidence.message, signature) {
                    Ok(()) => return Ok(()),
                    Err(mismatch) => mismatches.push(format!("with the key `{key}`: {mismatch}")),
                }
                keys.push(format!("`{key}`"));
            }
            (Requirement::Signature { key, .. }, _) => keys.push(format!("`{key}`")),
        }
    }
    if required.is_empty() {
        return Ok(());
    }
    let (mut found, mut wanted) = (Vec::new(), Vec::new());
    if !digests.is_empty() {
        found.push(format!("has the digest sha256:{sha256}"));
        wanted.push(digests.join(" or "));
    }
    if !keys.is_empty() {
        found.push(match &signature {
            None => "has no signature beside it".to_owned(),
            Some(Err(malformed)) => format!("has a signature that is none ({malformed})"),
            Some(Ok(_)) => format!("has a signature that does not verify {}", mismatches.join("; ")),
        });
        wanted.push(format!("a signature by the key {}", keys.join(" or ")));
    }
    let mut why = format!("{}, and the configuration requires {}", found.join(" and "), wanted.join(" or "));
    if !keys.is_empty() {
        why += &match name.starts_with(SCHEME) {
            true => ": push it with the component, as a file whose name ends with .minisig".to_owned(),
            false => format!(": put it beside the component as {name}.wasm.minisig"),
        };
        why += "; `tollgate plugin sign` makes it";
    }
    Err(LoadError::Untrusted(why))
}
