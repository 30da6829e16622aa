//! What was pulled, kept in a folder under its digest. What is there is believed only where it has that digest, and what
//! cannot be written costs nothing but the next pull.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::hex;

pub(super) struct Cache<'a>(Option<&'a Path>);

impl<'a> Cache<'a> {
    /// In this folder; nothing is kept where there is none.
    pub(super) fn new(folder: Option<&'a Path>) -> Self {
        Self(folder)
    }

    /// What has this digest, if it is no longer than `longest`.
    pub(super) fn get(&self, digest: &str, longest: usize) -> Option<Bytes> {
        let mut bytes = Vec::new();
        fs::File::open(self.path(digest)?).ok()?.take(longest as u64 + 1).read_to_end(&mut bytes).ok()?;
        (bytes.len() <= longest && hex(&bytes) == digest).then(|| bytes.into())
    }

    pub(super) fn put(&self, digest: &str, bytes: &[u8]) {
        let Some(path) = self.path(digest) else { return };
        if let Err(error) = put(&path, bytes) {
            tracing::warn!(file = %path.display(), %error, "what was pulled cannot be kept for the next start");
        }
    }

    fn path(&self, digest: &str) -> Option<PathBuf> {
        Some(self.0?.join(format!("sha256-{digest}")))
    }
}

/// Written beside, and renamed there: what is there is whole, whoever else writes it meanwhile.
fn put(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let beside = path.with_extension(std::process::id().to_string());
    fs::write(&beside, bytes)?;
    fs::rename(beside, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_found_by_its_digest_and_believed_only_then() {
        let folder = tempfile::tempdir().unwrap();
        let within = folder.path().join("not/there/yet");
        let cache = Cache::new(Some(&within));
        let digest = hex(b"a component");
        assert_eq!(cache.get(&digest, 100), None);
        cache.put(&digest, b"a component");
        assert_eq!(cache.get(&digest, 11), Some(Bytes::from_static(b"a component")));
        assert_eq!(cache.get(&digest, 10), None, "longer than it may be");
        assert_eq!(fs::read_dir(&within).unwrap().count(), 1);
        fs::write(cache.path(&digest).unwrap(), b"another").unwrap();
        assert_eq!(cache.get(&digest, 100), None);
        cache.put(&digest, b"a component");
        assert!(cache.get(&digest, 100).is_some(), "mended");
        let nowhere = Cache::new(None);
        nowhere.put(&digest, b"a component");
        assert_eq!(nowhere.get(&digest, 100), None);
    }
}
