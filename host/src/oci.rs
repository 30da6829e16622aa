//! Components of registries: pulled by the digest of their manifest (OCI distribution specification 1.1), and kept under
//! it, so that nothing has to be asked twice.
//!
//! A manifest is what its digest says, and a component what its manifest says, so it does not matter who sends them: a
//! registry that lies is found out, and so is a folder that somebody wrote into. What a registry can do is send nothing,
//! send slowly, or send us on to others; all of that is bounded. It is trusted with the password that is for it, and with
//! nothing else.

mod cache;
mod challenge;
mod client;
mod manifest;

use std::fmt;
use std::path::Path;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use crate::config::registry::{Reference, Registry};
use cache::Cache;
use client::Client;
use manifest::{Descriptor, Manifest};

/// The longest manifest that is read. The specification asks registries to take 4 MiB; ours name two files.
const LONGEST_MANIFEST: usize = 256 << 10;

/// What was pulled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// The component.
    pub bytes: Bytes,
    /// The file of its signature, where one came with it.
    pub signature: Option<Bytes>,
}

/// Why there is no component. For operators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotPulled(pub String);

impl fmt::Display for NotPulled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotPulled {}

/// Takes a component out of `folder`, or else from its registry, in the time that this has. It needs a runtime of one thread
/// around it that takes local tasks.
///
/// # Errors
/// It is not there, not what its digest says, or no component; or the registry does not give it.
pub async fn pull(reference: &Reference, registry: &Registry, folder: Option<&Path>) -> Result<Pulled, NotPulled> {
    let pulling = Pull { reference, cache: Cache::new(folder), client: Client::new(registry)? };
    match tokio::time::timeout(registry.timeout, pulling.all()).await {
        Ok(outcome) => outcome,
        Err(_) => refuse(format!("the registry takes longer than {:?}", registry.timeout)),
    }
}

struct Pull<'a> {
    reference: &'a Reference,
    cache: Cache<'a>,
    client: Client<'a>,
}

impl Pull<'_> {
    async fn all(mut self) -> Result<Pulled, NotPulled> {
        let (repository, digest) = (&*self.reference.repository, &*self.reference.digest);
        let manifest = match self.cache.get(digest, LONGEST_MANIFEST) {
            Some(kept) => kept,
            None => {
                let path = format!("/v2/{repository}/manifests/sha256:{digest}");
                let pulled = self.client.get(&path, Some(manifest::TYPES), LONGEST_MANIFEST, "the manifest").await?;
                check(&pulled, digest, "the manifest")?;
                self.cache.put(digest, &pulled);
                pulled
            }
        };
        let manifest = Manifest::parse(&manifest)?;
        let bytes = self.blob(&manifest.component, "the component").await?;
        let signature = match &manifest.signature {
            Some(signature) => Some(self.blob(signature, "the signature").await?),
            None => None,
        };
        Ok(Pulled { bytes, signature })
    }

    async fn blob(&mut self, blob: &Descriptor, what: &str) -> Result<Bytes, NotPulled> {
        if let Some(kept) = self.cache.get(&blob.digest, blob.size) {
            return Ok(kept);
        }
        let path = format!("/v2/{}/blobs/sha256:{}", self.reference.repository, blob.digest);
        let pulled = self.client.get(&path, None, blob.size, what).await?;
        check(&pulled, &blob.digest, what)?;
        self.cache.put(&blob.digest, &pulled);
        Ok(pulled)
    }
}

/// Whether these are the bytes that were asked for.
fn check(bytes: &[u8], digest: &str, what: &str) -> Result<(), NotPulled> {
    let found = hex(bytes);
    if found == digest {
        Ok(())
    } else {
        refuse(format!("{what} that came has the digest sha256:{found}, and not sha256:{digest}"))
    }
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn refuse<T>(why: impl Into<String>) -> Result<T, NotPulled> {
    Err(NotPulled(why.into()))
}
