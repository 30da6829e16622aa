//! What outlives the process: the last good version of each component, and which version was rolled back.
//!
//! A folder for each plugins directory, in it `NAME@SHA256.wasm` and `NAME.rolled-back`, which holds a digest. What is
//! read is believed only where it has the digest of its name. Nothing here may fail a request or a load: a folder that
//! cannot be written costs a warning.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::super::component::hex;

/// The folder of one plugins directory.
pub(super) struct Kept(PathBuf);

impl Kept {
    pub(super) fn new(versions: &Path, directory: &Path) -> Self {
        let directory = fs::canonicalize(directory).unwrap_or_else(|_| directory.to_owned());
        let digest = hex(&Sha256::digest(directory.as_os_str().as_encoded_bytes()));
        Self(versions.join(&digest[..32]))
    }

    /// The digest and the bytes of the last good version of a component.
    pub(super) fn good(&self, name: &str) -> Option<(String, Bytes)> {
        let (sha256, path) = self.versions(name).into_iter().next()?;
        let bytes = fs::read(path).ok()?;
        (hex(&Sha256::digest(&bytes)) == sha256).then(|| (sha256, bytes.into()))
    }

    /// Keeps a version as the last good one, in place of others. `sha256` is that of the bytes.
    pub(super) fn keep(&self, name: &str, sha256: &str, bytes: &[u8]) {
        let before = self.versions(name);
        if before.iter().any(|(kept, _)| kept == sha256) && before.len() == 1 {
            return;
        }
        let path = self.0.join(format!("{name}@{sha256}.wasm"));
        match self.put(&path, bytes) {
            Ok(()) => before.iter().filter(|(_, old)| *old != path).for_each(|(_, old)| remove(old)),
            Err(error) => warn(name, &error),
        }
    }

    /// The digest of the version that was rolled back last, if no other one was taken since.
    pub(super) fn rolled_back(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.note(name)).ok()
    }

    pub(super) fn roll_back(&self, name: &str, sha256: &str) {
        if let Err(error) = self.put(&self.note(name), sha256.as_bytes()) {
            warn(name, &error);
        }
    }

    pub(super) fn forget_roll_back(&self, name: &str) {
        remove(&self.note(name));
    }

    fn note(&self, name: &str) -> PathBuf {
        self.0.join(format!("{name}.rolled-back"))
    }

    /// Those that are there: one, except where a process ended between two steps.
    fn versions(&self, name: &str) -> Vec<(String, PathBuf)> {
        let Ok(entries) = fs::read_dir(&self.0) else { return Vec::new() };
        let version = |path: PathBuf| {
            let sha256 = path.file_name()?.to_str()?.strip_prefix(name)?.strip_prefix('@')?.strip_suffix(".wasm")?;
            Some((sha256.to_owned(), path.clone()))
        };
        entries.flatten().filter_map(|entry| version(entry.path())).collect()
    }

    /// Written beside, and renamed there: what is there is whole.
    fn put(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        fs::create_dir_all(&self.0)?;
        let beside = self.0.join(format!(".{}", std::process::id()));
        fs::write(&beside, bytes)?;
        fs::rename(beside, path)
    }
}

/// What is not there need not be removed, and what stays is only in the way of nothing.
fn remove(path: &Path) {
    let _ = fs::remove_file(path);
}

fn warn(name: &str, error: &io::Error) {
    tracing::warn!(component = name, %error, "this version cannot be kept for the next start");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sha256(bytes: &[u8]) -> String {
        hex(&Sha256::digest(bytes))
    }

    #[test]
    fn the_last_good_version_takes_the_place_of_the_one_before() {
        let folder = tempfile::tempdir().unwrap();
        let kept = Kept::new(&folder.path().join("versions"), folder.path());
        assert_eq!(kept.good("a"), None);
        for bytes in [b"first", b"other"] {
            kept.keep("a", &sha256(bytes), bytes);
            kept.keep("a-b", &sha256(b"of another"), b"of another");
            assert_eq!(kept.good("a"), Some((sha256(bytes), Bytes::copy_from_slice(bytes))));
            assert_eq!(kept.versions("a").len(), 1);
        }
    }

    #[test]
    fn what_is_damaged_is_not_believed() {
        let folder = tempfile::tempdir().unwrap();
        let kept = Kept::new(folder.path(), folder.path());
        kept.keep("a", &sha256(b"whole"), b"whole");
        fs::write(&kept.versions("a")[0].1, b"hole").unwrap();
        assert_eq!(kept.good("a"), None);
    }

    #[test]
    fn directories_have_nothing_in_common() {
        let [folder, other] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let kept = Kept::new(folder.path(), folder.path());
        kept.keep("a", &sha256(b"a"), b"a");
        kept.roll_back("a", &sha256(b"b"));
        assert_eq!(kept.rolled_back("a"), Some(sha256(b"b")));
        let of_other = Kept::new(folder.path(), other.path());
        assert_eq!((of_other.good("a"), of_other.rolled_back("a")), (None, None));
        kept.forget_roll_back("a");
        assert_eq!(kept.rolled_back("a"), None);
    }
}
