//! Files that are watched for changes, by what the file system says of them.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::config::{self, Config};

/// What tells that a file is another one now: its size, its inode, and when it was changed.
pub(super) type Stamp = (u64, u64, i64, i64);

/// How the configuration's own file and the others that it names look now, those of certificates aside.
pub(super) fn stamps(path: &Path, config: &Config) -> Vec<Option<Stamp>> {
    let apart: Vec<&PathBuf> = of_listeners(config).chain(of_upstreams(config)).collect();
    let others = config.files.iter().filter(|file| !apart.contains(file)).map(PathBuf::as_path);
    std::iter::once(path).chain(others).map(stamp).collect()
}

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.size(), metadata.ino(), metadata.mtime(), metadata.mtime_nsec()))
}

/// The files of listeners' certificates, and of what clients show.
fn of_listeners(config: &Config) -> impl Iterator<Item = &PathBuf> {
    config.listeners.iter().flat_map(config::Listener::tls_files)
}

/// The files of what upstreams are verified by, and shown.
fn of_upstreams(config: &Config) -> impl Iterator<Item = &PathBuf> {
    config.upstreams.iter().flat_map(config::Upstream::tls_files)
}

/// Files that are looked at again and again.
pub(super) struct Watched {
    files: Vec<PathBuf>,
    stamps: Vec<Option<Stamp>>,
    unsettled: Option<Vec<Option<Stamp>>>,
}

impl Watched {
    /// Those of listeners, as they are now.
    pub(super) fn listeners(config: &Config) -> Self {
        Self::new(of_listeners(config))
    }

    /// Those of upstreams, as they are now.
    pub(super) fn upstreams(config: &Config) -> Self {
        Self::new(of_upstreams(config))
    }

    fn new<'a>(files: impl Iterator<Item = &'a PathBuf>) -> Self {
        let files: Vec<PathBuf> = files.cloned().collect();
        let stamps = files.iter().map(|file| stamp(file)).collect();
        Self { files, stamps, unsettled: None }
    }

    /// Whether they have changed since that was asked last, and look as they did then.
    pub(super) fn has_settled(&mut self) -> bool {
        let now: Vec<_> = self.files.iter().map(|file| stamp(file)).collect();
        if now == self.stamps {
            self.unsettled = None;
            return false;
        }
        if self.unsettled.as_ref() != Some(&now) {
            self.unsettled = Some(now);
            return false;
        }
        (self.stamps, self.unsettled) = (now, None);
        true
    }
}
