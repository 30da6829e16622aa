//! Built-in components and the watched directory: name → current component, swapped whole.
//!
//! The directory is looked at, not subscribed to: four times a second its names, sizes, times and inodes are compared
//! with the last look. That sees every way in which a file can change (written in place, renamed over, a symbolic link
//! or a link of its folder turned elsewhere, a network mount), which change notifications do not.

mod kept;
mod pulled;

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::component::{Component, LoadError, Origin, hex};
use super::engine::Engine;
use super::trust::{self, Evidence};
use crate::config::{PluginSpec, Requirement};
use crate::minisign::LONGEST;
use kept::{Good, Kept};

/// The components built from this workspace: name and bytes.
pub const BUILT_IN: [(&str, &[u8]); 6] = include!(concat!(env!("OUT_DIR"), "/built_in.rs"));

/// All components that the configuration can name.
pub struct Library {
    engine: Arc<Engine>,
    directory: Option<PathBuf>,
    /// Where versions are kept for the next start.
    versions: Option<PathBuf>,
    kept: Option<Kept>,
    /// What the plugins that use a component require of it.
    required: BTreeMap<String, Vec<Vec<Requirement>>>,
    /// Built-ins that somebody has asked for: they are compiled when first used.
    built_in: BTreeMap<&'static str, Arc<Component>>,
    files: BTreeMap<String, File>,
    /// Of registries, by their whole reference: each, or why it is not there.
    pulled: BTreeMap<String, Result<Arc<Component>, LoadError>>,
}

/// What is known of one `.wasm` file.
struct File {
    /// None where the file is gone and what it held goes on serving.
    stamp: Option<Stamps>,
    /// Of the file and of those beside it.
    sha256: [u8; 32],
    /// What serves: the file as it is, or an earlier good version of it.
    serving: Option<Arc<Component>>,
    /// The file as it is, while it has a part of the requests only.
    candidate: Option<Arc<Component>>,
    /// What served before.
    previous: Option<Arc<Component>>,
    /// Why the file as it is does not serve.
    problem: Option<LoadError>,
}

/// What tells one state of a file from another without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    size: u64,
    modified: Option<SystemTime>,
    inode: (u64, u64),
    changed: (i64, i64),
}

/// How a component looks, and the files beside it: its cases, and its signature.
type Stamps = (Stamp, [Option<Stamp>; 2]);

/// A file that changed since the last look, or one beside it.
#[derive(Debug)]
pub struct Change {
    /// The component's name.
    pub name: String,
    /// What is in the file now: a new component to try, why there is none, or nothing where the file is gone.
    pub now: Option<Result<Arc<Component>, LoadError>>,
    /// The file of cases beside it, where there is one: a new component has to pass them before it serves.
    pub cases: Option<PathBuf>,
    stamp: Option<(Stamps, [u8; 32])>,
    /// Nothing but how the file looks has changed.
    pub touched: bool,
}

/// How a component stands, for `/state` and `tollgate plugins`.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The name that the configuration uses.
    pub name: String,
    /// `built-in`, `file` or `registry`.
    pub origin: &'static str,
    /// Of what serves, as hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Of what serves, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<usize>,
    /// Of the version that has a part of the requests, as hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub candidate: Option<String>,
    /// Of what served before, and what a roll-back returns to, as hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
    /// Why the file as it is now does not serve.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

impl Library {
    /// A library of the built-ins and of what is in `directory`, at the first [`look`](Self::look).
    pub fn new(engine: Arc<Engine>, directory: Option<PathBuf>) -> Self {
        Self {
            engine,
            directory,
            versions: None,
            kept: None,
            required: BTreeMap::new(),
            built_in: BTreeMap::new(),
            files: BTreeMap::new(),
            pulled: BTreeMap::new(),
        }
    }

    /// From now on, no file is compiled that is not what these plugins require. What serves goes on.
    pub fn require<'a>(&mut self, plugins: impl IntoIterator<Item = &'a PluginSpec>) {
        self.required.clear();
        for spec in plugins {
            self.required.entry(spec.component.clone()).or_default().push(spec.require.clone());
        }
    }

    /// Whether a file is what its plugins require.
    fn check(&self, name: &str, sha256: &str, evidence: &Evidence) -> Result<(), LoadError> {
        let required = self.required.get(name).map(Vec::as_slice).unwrap_or_default();
        required.iter().try_for_each(|required| trust::check(required, name, sha256, evidence))
    }

    /// Keeps the last good version of each component in this folder, and finds there what an earlier process kept.
    pub fn keep_versions(&mut self, folder: Option<PathBuf>) {
        self.versions = folder;
        self.find_kept();
    }

    fn find_kept(&mut self) {
        let both = self.versions.as_ref().zip(self.directory.as_ref());
        self.kept = both.map(|(versions, directory)| Kept::new(versions, directory));
    }

    /// Where its files are.
    pub fn directory(&self) -> Option<&Path> {
        self.directory.as_deref()
    }

    /// Watches another directory from now on. What served from the old one is forgotten.
    pub fn set_directory(&mut self, directory: Option<PathBuf>) {
        if self.directory != directory {
            self.directory = directory;
            self.files.clear();
            self.find_kept();
        }
    }

    /// The component of this name: that of the directory, or else the built-in one, compiled now if it never was.
    ///
    /// # Errors
    ///
    /// Why the file does not load; none where there is no component of this name.
    pub fn find(&mut self, name: &str) -> Result<Option<Arc<Component>>, LoadError> {
        if let Some(pulled) = self.pulled.get(name) {
            return pulled.clone().map(Some);
        }
        if let Some(file) = self.files.get(name) {
            return match (&file.serving, &file.problem) {
                (Some(component), _) => Ok(Some(component.clone())),
                (None, Some(problem)) => Err(problem.clone()),
                (None, None) => Ok(None),
            };
        }
        if let Some(component) = self.built_in.get(name) {
            return Ok(Some(component.clone()));
        }
        let Some((name, bytes)) = BUILT_IN.iter().find(|(known, _)| *known == name) else { return Ok(None) };
        let component = Arc::new(Component::compile(&self.engine, name, Origin::BuiltIn, Bytes::from_static(bytes))?);
        self.built_in.insert(name, component.clone());
        Ok(Some(component))
    }

    /// What serves of a file.
    pub fn serving(&self, name: &str) -> Option<&Arc<Component>> {
        self.files.get(name)?.serving.as_ref()
    }

    /// The version of a file that has a part of the requests.
    pub fn candidate(&self, name: &str) -> Option<&Arc<Component>> {
        self.files.get(name)?.candidate.as_ref()
    }

    /// Has the version of a new file that an earlier process found good serve, until the file is settled. Answers why the
    /// file is not to be taken at all, where it was rolled back then.
    ///
    /// # Errors
    /// [`LoadError::RolledBack`].
    pub fn restore(&mut self, change: &Change) -> Result<(), LoadError> {
        let Some(kept) = self.kept.as_ref().filter(|_| !self.files.contains_key(&change.name)) else { return Ok(()) };
        let Some(now) = &change.now else { return Ok(()) };
        let found = now.as_ref().ok().map(|component| component.sha256.clone());
        let rolled_back = found.is_some() && kept.rolled_back(&change.name) == found;
        let good = kept.good(&change.name).filter(|good| Some(&good.sha256) != found.as_ref());
        let good = good.filter(|good| self.check(&change.name, &good.sha256, &good.evidence()).is_ok());
        if let Some(Good { bytes, signature, .. }) = good {
            let origin = Origin::File(self.directory.clone().unwrap_or_default().join(format!("{}.wasm", change.name)));
            // One that does not compile any more was made by an older Tollgate, and is no better than none.
            if let Ok(component) = Component::compile(&self.engine, &change.name, origin, bytes) {
                let serving = Some(Arc::new(component.signed(signature)));
                let (stamp, sha256) = (None, [0; 32]);
                let file = File { stamp, sha256, serving, candidate: None, previous: None, problem: None };
                self.files.insert(change.name.clone(), file);
            }
        }
        let why = || LoadError::RolledBack("before the last start".to_owned());
        if rolled_back && self.files.contains_key(&change.name) { Err(why()) } else { Ok(()) }
    }

    /// Keeps what serves of these components for the next start.
    pub fn keep_good<'a>(&self, names: impl Iterator<Item = &'a str>) {
        let Some(kept) = &self.kept else { return };
        for name in names {
            if let Some(serving) = self.serving(name) {
                kept.keep(name, &serving.sha256, &serving.bytes, serving.evidence.signature());
            }
        }
    }

    /// The candidate takes the place of what serves. False where there is none.
    pub fn promote(&mut self, name: &str) -> bool {
        let Some(file) = self.files.get_mut(name) else { return false };
        let Some(candidate) = file.candidate.take() else { return false };
        file.previous = file.serving.replace(candidate);
        true
    }

    /// The candidate is given up; where there is none, what served before takes the place of what serves. `why` stands
    /// in the reports until the file changes. False where there is nothing to go back to.
    pub fn roll_back(&mut self, name: &str, why: &str) -> bool {
        let Some(file) = self.files.get_mut(name) else { return false };
        let given_up = match file.candidate.take() {
            Some(candidate) => Some(candidate),
            None => file.previous.take().and_then(|previous| file.serving.replace(previous)),
        };
        let Some(given_up) = given_up else { return false };
        if let Some(kept) = &self.kept {
            kept.roll_back(name, &given_up.sha256);
        }
        file.problem = Some(LoadError::RolledBack(why.to_owned()));
        true
    }

    /// Has the next [`look`](Self::look) try what did not serve so far again: the configuration may allow it now.
    pub fn try_again(&mut self) {
        for file in self.files.values_mut() {
            if file.problem.as_ref().is_some_and(|problem| !matches!(problem, LoadError::RolledBack(_))) {
                (file.stamp, file.sha256) = (None, [0; 32]);
            }
        }
    }

    /// Every name that [`find`](Self::find) knows, for suggestions.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        BUILT_IN.iter().map(|(name, _)| *name).chain(self.files.keys().map(String::as_str))
    }

    /// What changed in the directory since the last look: compiled, but not yet serving. Compiling takes as long as it
    /// takes: never call this on the thread of a worker.
    pub fn look(&self) -> Vec<Change> {
        let Some(directory) = &self.directory else { return Vec::new() };
        let present = match list(directory) {
            Ok(present) => present,
            // A directory that is gone for a moment, as when a volume is mounted anew, takes nothing away.
            Err(error) => {
                tracing::debug!(directory = %directory.display(), %error, "the plugins directory cannot be read");
                return Vec::new();
            }
        };
        let mut changes = Vec::new();
        for (name, (path, stamp)) in &present {
            let known = self.files.get(name);
            if known.is_some_and(|file| file.stamp.as_ref() == Some(stamp)) {
                continue;
            }
            changes.extend(self.read(name, path, stamp, known));
        }
        let gone = self.files.iter().filter(|(name, file)| file.stamp.is_some() && !present.contains_key(*name));
        for (name, _) in gone {
            changes.push(Change { name: name.clone(), now: None, cases: None, stamp: None, touched: false });
        }
        changes
    }

    /// Takes note of a change: `problem` says why what is in the file does not serve, and then the last good version
    /// goes on. One `on_trial` does not take the place of what serves.
    pub fn settle(&mut self, change: Change, problem: Option<LoadError>, on_trial: bool) {
        let Some((stamp, sha256)) = change.stamp else {
            self.files.remove(&change.name);
            return;
        };
        if change.touched
            && let Some(file) = self.files.get_mut(&change.name)
        {
            file.stamp = Some(stamp);
            return;
        }
        let (before, earlier) =
            self.files.remove(&change.name).map_or((None, None), |file| (file.serving, file.previous));
        let mut file =
            File { stamp: Some(stamp), sha256, serving: before, candidate: None, previous: earlier, problem };
        match change.now {
            Some(Err(problem)) => file.problem = Some(problem),
            Some(Ok(component)) if file.problem.is_none() => {
                if let Some(kept) = &self.kept {
                    kept.forget_roll_back(&change.name);
                }
                let same = file.serving.as_ref().is_some_and(|serving| serving.sha256 == component.sha256);
                if same {
                    // Only what lies beside it has changed, such as its signature.
                    file.serving = Some(component);
                } else if on_trial && file.serving.is_some() {
                    file.candidate = Some(component);
                } else {
                    file.previous = file.serving.replace(component);
                }
            }
            Some(Ok(_)) | None => {}
        }
        self.files.insert(change.name, file);
    }

    /// Takes note that a file is gone, while what it held goes on serving.
    pub fn keep(&mut self, name: &str) {
        if let Some(file) = self.files.get_mut(name) {
            file.stamp = None;
        }
    }

    /// How every component stands.
    pub fn reports(&self) -> Vec<Report> {
        let built_in =
            BUILT_IN.iter().filter(|(name, _)| !self.files.contains_key(*name)).map(|(name, bytes)| Report {
                name: (*name).to_owned(),
                origin: "built-in",
                sha256: self.built_in.get(name).map(|component| component.sha256.clone()),
                size: Some(bytes.len()),
                candidate: None,
                previous: None,
                problem: None,
            });
        let files = self.files.iter().map(|(name, file)| Report {
            name: name.clone(),
            origin: "file",
            sha256: file.serving.as_ref().map(|component| component.sha256.clone()),
            size: file.serving.as_ref().map(|component| component.size),
            candidate: file.candidate.as_ref().map(|component| component.sha256.clone()),
            previous: file.previous.as_ref().map(|component| component.sha256.clone()),
            problem: file.problem.as_ref().map(ToString::to_string),
        });
        let mut reports: Vec<_> = built_in.chain(files).chain(self.reports_of_pulled()).collect();
        reports.sort_by(|a, b| a.name.cmp(&b.name));
        reports
    }

    fn read(&self, name: &str, path: &Path, stamp: &Stamps, known: Option<&File>) -> Option<Change> {
        let [cases, signature] = beside(path);
        let there = stamp.1[0].is_some().then(|| cases.clone());
        let change = |now, sha256| Change {
            name: name.to_owned(),
            now: Some(now),
            cases: there.clone(),
            stamp: Some((stamp.clone(), sha256)),
            touched: false,
        };
        let bytes = match fs::read(path) {
            Ok(bytes) => Bytes::from(bytes),
            Err(error) => return Some(change(Err(LoadError::Unreadable(error.to_string())), [0; 32])),
        };
        // Files of cases that cannot be read are told by who runs them.
        let of_cases = there.is_some().then(|| fs::read(&cases).unwrap_or_default());
        let signature = stamp.1[1].is_some().then(|| signature_in(&signature));
        let mut digest = Sha256::new_with_prefix(&bytes);
        for other in [of_cases.as_ref(), signature.as_ref()] {
            digest.update(other.map_or(u64::MAX, |other| other.len() as u64).to_be_bytes());
            digest.update(other.map_or(&[][..], Vec::as_slice));
        }
        // A file that is still being written: the next look sees it whole, or as it stays.
        if Stamp::at(path).map(|after| (after, stamps_beside(path))).as_ref() != Some(stamp) {
            return None;
        }
        let sha256: [u8; 32] = digest.finalize().into();
        if let Some(known) = known.filter(|known| known.sha256 == sha256) {
            // Touched, or renamed to the same bytes: nothing to do but to remember how it looks now.
            let same = match (&known.serving, &known.problem) {
                (_, Some(problem)) => Err(problem.clone()),
                (Some(component), None) => Ok(component.clone()),
                (None, None) => return None,
            };
            return Some(Change { cases: None, touched: true, ..change(same, sha256) });
        }
        let evidence = Evidence::new(bytes.clone(), signature.map(Bytes::from));
        // What nobody vouches for does not even meet the compiler.
        if let Err(untrusted) = self.check(name, &hex(&Sha256::digest(&bytes)), &evidence) {
            return Some(change(Err(untrusted), sha256));
        }
        let compiled = Component::compile(&self.engine, name, Origin::File(path.to_owned()), bytes);
        Some(change(compiled.map(|component| Arc::new(component.signed(evidence.signature().cloned()))), sha256))
    }
}

/// Where the cases of a component and its signature are, if it has any: `NAME.test.toml` and `NAME.wasm.minisig` beside
/// `NAME.wasm`.
fn beside(component: &Path) -> [PathBuf; 2] {
    [component.with_extension("test.toml"), component.with_extension("wasm.minisig")]
}

fn stamps_beside(component: &Path) -> [Option<Stamp>; 2] {
    beside(component).map(|path| Stamp::at(&path))
}

/// The bytes of a file with a signature. What is too long for one, or cannot be read, is none that verifies.
fn signature_in(path: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    let read = fs::File::open(path).and_then(|file| file.take(LONGEST as u64 + 1).read_to_end(&mut bytes));
    if read.is_ok() { bytes } else { Vec::new() }
}

impl Stamp {
    /// None where there is no such file.
    fn at(path: &Path) -> Option<Self> {
        fs::metadata(path).ok().filter(fs::Metadata::is_file).map(|metadata| Self::of(&metadata))
    }

    fn of(metadata: &fs::Metadata) -> Self {
        Self {
            size: metadata.size(),
            modified: metadata.modified().ok(),
            inode: (metadata.dev(), metadata.ino()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// The `.wasm` files of a directory, by the name that the configuration uses. Symbolic links are followed.
fn list(directory: &Path) -> std::io::Result<BTreeMap<String, (PathBuf, Stamps)>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_stem().and_then(|stem| stem.to_str());
        let (Some(name), Some("wasm")) = (name, path.extension().and_then(|extension| extension.to_str())) else {
            continue;
        };
        // Names that begin with a dot are how editors and copying tools write a file that is not there yet.
        if name.starts_with('.') {
            continue;
        }
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_file() => {
                let stamps = (Stamp::of(&metadata), stamps_beside(&path));
                files.insert(name.to_owned(), (path.clone(), stamps));
            }
            // A folder, or a link to nothing.
            _ => {}
        }
    }
    Ok(files)
}
