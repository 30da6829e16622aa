//! What outlives the process: the last good version of each component, and which version was rolled back.
//!
//! A folder for each plugins directory, in it `NAME@SHA256.wasm`, the same with `.minisig` for its signature, and
//! `NAME.rolled-back`, which holds a digest. What is read is believed only where it has the digest of its name. Nothing here may fail a request or a load: a folder that
//! cannot be written costs a warning.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::super::component::hex;
use super::super::trust::Evidence;

/// The folder of one plugins directory.
pub(super) struct Kept(PathBuf);

/// The last good version of a component.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Good {
    pub(super) sha256: String,
    pub(super) bytes: Bytes,
    pub(super) signature: Option<Bytes>,
}

impl Good {
    pub(super) fn evidence(&self) -> Evidence {
        Evidence::new(self.bytes.clone(), self.signature.clone())
    }
}

impl Kept {
    pub(super) fn new(versions: &Path, directory: &Path) -> Self {
        let directory = fs::canonicalize(directory).unwrap_or_else(|_| directory.to_owned());
        let digest = hex(&Sha256::digest(directory.as_os_str().as_encoded_bytes()));
        Self(versions.join(&digest[..32]))
    }

    /// The last good version of a component, where there is one.
    pub(super) fn good(&self, name: &str) -> Option<Good> {
        let (sha256, path) = self.versions(name).into_iter().next()?;
        let bytes = fs::read(&path).ok()?;
        let signature = fs::read(signature_of(&path)).ok().map(Bytes::from);
        (hex(&Sha256::digest(&bytes)) == sha256).then(|| Good { sha256, bytes: bytes.into(), signature })
    }

    /// Keeps a version as the last good one, in place of others. `sha256` is that of the bytes.
    pub(super) fn keep(&self, name: &str, sha256: &str, bytes: &[u8], signature: Option<&Bytes>) {
        let before = self.versions(name);
        let path = self.0.join(format!("{name}@{sha256}.wasm"));
        if let Err(error) = self.keep_signature(&path, signature) {
            return warn(name, &error);
        }
        if before.iter().any(|(kept, _)| kept == sha256) && before.len() == 1 {
            return;
        }
        match self.put(&path, bytes) {
            Ok(()) => before.iter().filter(|(_, old)| *old != path).for_each(|(_, old)| {
                remove(old);
                remove(&signature_of(old));
            }),
            Err(error) => warn(name, &error),
        }
    }

    fn keep_signature(&self, component: &Path, signature: Option<&Bytes>) -> io::Result<()> {
        let path = signature_of(component);
        match signature {
            None => remove(&path),
            Some(signature) if fs::read(&path).is_ok_and(|kept| kept == *signature) => {}
            Some(signature) => self.put(&path, signature)?,
        }
        Ok(())
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

fn signature_of(component: &Path) -> PathBuf {
    component.with_extension("wasm.minisig")
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
            for signature in [None, Some(Bytes::from_static(b"one")), Some(Bytes::from_static(b"another")), None] {
                kept.keep("a", &sha256(bytes), bytes, signature.as_ref());
                kept.keep("a-b", &sha256(b"of another"), b"of another", None);
                let good = Good { sha256: sha256(bytes), bytes: Bytes::copy_from_slice(bytes), signature };
                assert_eq!(kept.good("a"), Some(good));
                assert_eq!(kept.versions("a").len(), 1);
            }
        }
        kept.keep("a", &sha256(b"signed"), b"signed", Some(&Bytes::from_static(b"one")));
        kept.keep("a", &sha256(b"last"), b"last", None);
        assert_eq!(fs::read_dir(&kept.0).unwrap().count(), 2, "a, a-b, and no signature of what is gone");
    }

    #[test]
    fn what_is_damaged_is_not_believed() {
        let folder = tempfile::tempdir().unwrap();
        let kept = Kept::new(folder.path(), folder.path());
        kept.keep("a", &sha256(b"whole"), b"whole", None);
        fs::write(&kept.versions("a")[0].1, b"hole").unwrap();
        assert_eq!(kept.good("a"), None);
    }

    #[test]
    fn directories_have_nothing_in_common() {
        let [folder, other] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let kept = Kept::new(folder.path(), folder.path());
        kept.keep("a", &sha256(b"a"), b"a", None);
        kept.roll_back("a", &sha256(b"b"));
        assert_eq!(kept.rolled_back("a"), Some(sha256(b"b")));
        let of_other = Kept::new(folder.path(), other.path());
        assert_eq!((of_other.good("a"), of_other.rolled_back("a")), (None, None));
        kept.forget_roll_back("a");
        assert_eq!(kept.rolled_back("a"), None);
    }
}
