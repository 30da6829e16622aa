//! Reads typed values out of a TOML document, and notes everything that is wrong on the way.
//!
//! serde stops at the first mistake. A [`Reader`] goes on: what is wrong becomes a problem with its place, and
//! [`Entry::Wrong`] in the value, so that nothing that follows from it is reported again.

mod declare;
mod several;

use std::collections::BTreeSet;
use std::io::Read as _;
use std::ops::Range;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use toml::de::{DeTable, DeValue};

pub use declare::Key;
pub(crate) use declare::{first, no_word, table, words};
pub(crate) use several::{Named, OneOrMore};

use super::near::nearest;
use super::place::Source;
use super::problem::{Problem, Problems};
use super::secrets::{Reference, expand};

/// Why a text is not what it should be, and perhaps what to write.
#[derive(Debug)]
pub(crate) struct Wrong {
    pub(crate) why: String,
    pub(crate) help: Option<String>,
    pub(crate) suggestion: Option<String>,
}

impl Wrong {
    pub(crate) fn because(why: impl Into<String>) -> Self {
        Self { why: why.into(), help: None, suggestion: None }
    }

    pub(crate) fn suggest(mut self, name: Option<impl Into<String>>) -> Self {
        self.suggestion = name.map(Into::into);
        self
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// A value of the document: what is there, where, and under which key.
#[derive(Debug)]
pub(crate) struct Node<'n, 'd> {
    pub(crate) value: &'n DeValue<'d>,
    pub(crate) span: Range<usize>,
    pub(crate) path: String,
}

/// A type that values of the file have.
pub(crate) trait Read: Sized {
    /// With its article: `a duration`.
    const NOUN: &'static str;
    /// As the file writes it: `"250ms"`.
    const EXAMPLE: &'static str;

    /// The same, for types that are made of others.
    fn example() -> String {
        Self::EXAMPLE.to_owned()
    }

    /// The keys of a table, for one that is the same everywhere.
    const KEYS: &'static [Key] = &[];
    /// What stands between the path of such a table's key and the path of the value: for example `.NAME`.
    const STEP: &'static str = "";

    /// The value; none where it is wrong, after a problem was noted.
    fn read(node: &Node<'_, '_>, reader: &mut Reader<'_>) -> Option<Self>;
}

/// A value with its place.
#[derive(Debug, Clone)]
pub(crate) struct At<T> {
    pub(crate) value: T,
    pub(crate) span: Range<usize>,
    pub(crate) path: String,
}

/// What a table has under one key.
#[derive(Debug, Clone, Default)]
pub(crate) enum Entry<T> {
    #[default]
    Absent,
    /// Something that was reported.
    Wrong,
    Is(At<T>),
}

impl<T> Entry<T> {
    pub(crate) fn get(&self) -> Option<&At<T>> {
        match self {
            Self::Is(at) => Some(at),
            Self::Absent | Self::Wrong => None,
        }
    }

    pub(crate) fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    /// The value, or a default for one that is absent or was reported.
    /// Whether it is there, and was reported.
    pub(crate) const fn is_wrong(&self) -> bool {
        matches!(self, Self::Wrong)
    }

    pub(crate) fn or(self, default: T) -> T {
        self.value().unwrap_or(default)
    }

    pub(crate) fn value(self) -> Option<T> {
        match self {
            Self::Is(at) => Some(at.value),
            Self::Absent | Self::Wrong => None,
        }
    }
}

/// One document, what it needs from outside, and what was found wrong with it.
pub(crate) struct Reader<'a> {
    source: Source<'a>,
    directory: &'a Path,
    env: &'a dyn Fn(&str) -> Option<String>,
    problems: Problems,
    /// Lines that are no TOML. What else is wrong with them follows from that.
    broken: BTreeSet<usize>,
    /// The paths of keys that wrong ones stand for. That they are missing follows from that.
    meant: BTreeSet<String>,
    pub(crate) secrets: Vec<String>,
    pub(crate) files: Vec<PathBuf>,
    digest: Sha256,
}

impl<'a> Reader<'a> {
    /// The longest secret, certificate or key that is read.
    const LARGEST_FILE: u64 = 1 << 20;

    pub(crate) fn new(source: Source<'a>, directory: &'a Path, env: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self {
            source,
            directory,
            env,
            problems: Problems::default(),
            broken: BTreeSet::new(),
            meant: BTreeSet::new(),
            secrets: Vec::new(),
            files: Vec::new(),
            digest: Sha256::new(),
        }
    }

    pub(crate) fn source(&self) -> &Source<'a> {
        &self.source
    }

    /// Notes that a line is no TOML.
    pub(crate) fn broken(&mut self, span: &Range<usize>, problem: Problem) {
        self.broken.insert(self.source.line(span.start));
        self.problems.push(problem);
    }

    /// Whether a part of the document may be missing, so that nothing can be said about what is not there.
    pub(crate) fn is_partial(&self) -> bool {
        !self.broken.is_empty()
    }

    /// Whether anything was found that keeps the configuration from being used.
    pub(crate) fn has_errors(&self) -> bool {
        self.problems.has_errors()
    }

    /// Notes a problem.
    pub(crate) fn report(&mut self, problem: Problem) {
        let follows = problem.place.as_ref().is_some_and(|place| self.broken.contains(&place.line));
        if !follows {
            self.problems.push(problem);
        }
    }

    /// Notes an error at a value.
    pub(crate) fn error<T>(&mut self, at: &At<T>, message: impl Into<String>) {
        self.report(self.problem(at, message));
    }

    /// An error at a value, for more to be said.
    pub(crate) fn problem<T>(&self, at: &At<T>, message: impl Into<String>) -> Problem {
        Problem::error(message).at(self.source.place(&at.span), &*at.path)
    }

    /// A warning at a value, for more to be said.
    pub(crate) fn warning<T>(&self, at: &At<T>, message: impl Into<String>) -> Problem {
        Problem::warning(message).at(self.source.place(&at.span), &*at.path)
    }

    /// A value as it is written: with its quotes, and never with a secret in it that the file does not say.
    pub(crate) fn written<T>(&self, at: &At<T>) -> String {
        self.source.written(&at.span)
    }

    pub(crate) fn finish(self) -> Problems {
        self.problems
    }

    /// Adds something that was read to the hash of the configuration.
    pub(crate) fn count(&mut self, bytes: &[u8]) {
        self.digest.update((bytes.len() as u64).to_be_bytes());
        self.digest.update(bytes);
    }

    pub(crate) fn hash(&self) -> String {
        self.digest.clone().finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// A path as the file means it.
    pub(crate) fn locate(&self, path: &str) -> PathBuf {
        self.directory.join(path)
    }

    /// The bytes of a regular file, which is part of the configuration from then on.
    pub(crate) fn file(&mut self, path: &Path) -> Result<Vec<u8>, Wrong> {
        if !self.files.iter().any(|known| known == path) {
            self.files.push(path.to_owned());
        }
        let wrong = |error: std::io::Error| Wrong::because(format!("it cannot be read: {error}"));
        let kind = std::fs::metadata(path).map_err(wrong)?;
        // A device may have no end, and a pipe may wait for ever.
        if !kind.is_file() {
            return Err(Wrong::because("it is not a regular file"));
        }
        let mut bytes = Vec::new();
        let file = std::fs::File::open(path).map_err(wrong)?;
        file.take(Self::LARGEST_FILE + 1).read_to_end(&mut bytes).map_err(wrong)?;
        if bytes.len() as u64 > Self::LARGEST_FILE {
            return Err(Wrong::because("it is longer than 1MiB"));
        }
        self.count(&bytes);
        Ok(bytes)
    }

    fn resolve(&mut self, reference: Reference<'_>) -> Result<String, Wrong> {
        let value = match reference {
            Reference::Env(name) => {
                let value = (self.env)(name).ok_or_else(|| Wrong::because("the variable is not set"))?;
                self.count(value.as_bytes());
                value
            }
            Reference::File(path) => {
                let bytes = self.file(&self.locate(path))?;
                let text = String::from_utf8(bytes).map_err(|_| Wrong::because("the file is not UTF-8 text"))?;
                let line = text.strip_suffix('\n').map_or(&*text, |line| line.strip_suffix('\r').unwrap_or(line));
                line.to_owned()
            }
        };
        if value.is_empty() {
            return Err(Wrong::because("its value is empty"));
        }
        Ok(value)
    }

    /// The text of a string with its references resolved, and what they stood for.
    pub(crate) fn text(&mut self, node: &Node<'_, '_>, noun: &str, example: &str) -> Option<(String, Vec<String>)> {
        let DeValue::String(text) = node.value else {
            self.mismatch(node, noun, example);
            return None;
        };
        match expand(text, |reference| self.resolve(reference)) {
            Ok((text, secrets)) => Some((text.into_owned(), secrets)),
            Err(unresolved) => {
                for one in unresolved {
                    // An escape in the string hides where exactly it stands.
                    let within = self.source.slice(&node.span).find(&one.reference);
                    let span = within.map_or(node.span.clone(), |at| {
                        let start = node.span.start + at;
                        start..start + one.reference.len()
                    });
                    let message = format!("{} cannot be resolved: {}", one.reference, one.wrong.why);
                    let mut problem = Problem::error(message).at(self.source.place(&span), &*node.path);
                    problem.help = one.wrong.help;
                    self.report(problem);
                }
                None
            }
        }
    }

    /// A value that is written as a string, and parsed.
    pub(crate) fn parsed<T: Read>(
        &mut self,
        node: &Node<'_, '_>,
        parse: impl FnOnce(&str) -> Result<T, Wrong>,
    ) -> Option<T> {
        let (text, secrets) = self.text(node, T::NOUN, T::EXAMPLE)?;
        match parse(&text) {
            Ok(value) => Some(value),
            Err(wrong) => {
                self.refuse::<T>(node, wrong, !secrets.is_empty());
                None
            }
        }
    }

    /// Notes that a value is not of its type. What a parser says about a resolved secret is not repeated.
    fn refuse<T: Read>(&mut self, node: &Node<'_, '_>, wrong: Wrong, secret: bool) {
        let written = self.source.written(&node.span);
        let noun = T::NOUN;
        let mut problem = if secret {
            Problem::error(format!("{written} does not stand for {noun}, such as {}", T::EXAMPLE))
        } else {
            Problem::error(format!("{written} is not {noun}: {}", wrong.why))
        };
        if !secret {
            problem.help = wrong.help;
            problem.suggestion = wrong.suggestion;
        }
        self.report(problem.at(self.source.place(&node.span), &*node.path));
    }

    /// Notes that a value has another type than it should.
    pub(crate) fn mismatch(&mut self, node: &Node<'_, '_>, noun: &str, example: &str) {
        self.mismatch_with(node, noun, example, None);
    }

    /// The same, with what to write.
    pub(crate) fn mismatch_with(&mut self, node: &Node<'_, '_>, noun: &str, example: &str, help: Option<String>) {
        let found = match node.value {
            DeValue::String(_) => "a string".to_owned(),
            DeValue::Integer(_) | DeValue::Float(_) => format!("the number {}", self.source.written(&node.span)),
            DeValue::Boolean(value) => value.to_string(),
            DeValue::Datetime(_) => "a date".to_owned(),
            DeValue::Array(_) => "a list".to_owned(),
            DeValue::Table(_) => "a table".to_owned(),
        };
        let message = format!("expected {noun}, such as {example}, found {found}");
        let problem = Problem::error(message).at(self.source.place(&node.span), &*node.path);
        self.report(Problem { help, ..problem });
    }

    /// A node's table, and a problem for each key that it may not have.
    pub(crate) fn table<'n, 'd>(
        &mut self,
        node: &Node<'n, 'd>,
        noun: &str,
        example: &str,
        known: &[Key],
    ) -> Option<&'n DeTable<'d>> {
        let DeValue::Table(table) = node.value else {
            self.mismatch(node, noun, example);
            return None;
        };
        for key in table.keys() {
            let name: &str = key.get_ref();
            if known.iter().any(|known| known.name == name) {
                continue;
            }
            let near = nearest(name, known.iter().map(|known| known.name));
            if let Some(near) = near {
                self.meant.insert(join(&node.path, near));
            }
            let path = join(&node.path, name);
            let problem = Problem::error(format!("unknown key {}", quoted(name)))
                .at(self.source.place(&key.span()), path)
                .suggest(near);
            let inner = |key: &&Key| key.step.is_empty() && key.keys.iter().any(|inner| inner.name == name);
            self.report(match known.iter().find(inner) {
                Some(table) if near.is_none() => {
                    problem.help(format!("it belongs in {}", join(&node.path, table.name)))
                }
                _ if near.is_none() && !known.is_empty() => {
                    let names: Vec<&str> = known.iter().map(|known| known.name).collect();
                    problem.help(format!("known here: {}", names.join(", ")))
                }
                _ => problem,
            });
        }
        Some(table)
    }

    /// What a table has under a key.
    pub(crate) fn entry<T: Read>(&mut self, table: &DeTable<'_>, key: &str, path: &str) -> Entry<T> {
        let path = join(path, key);
        let Some(value) = table.get(key) else {
            return if self.meant.contains(&path) { Entry::Wrong } else { Entry::Absent };
        };
        let node = Node { value: value.get_ref(), span: value.span(), path };
        match T::read(&node, self) {
            Some(value) => Entry::Is(At { value, span: node.span, path: node.path }),
            None => Entry::Wrong,
        }
    }

    /// What a table must have under a key. Without it, a problem is noted at the table.
    pub(crate) fn require<T: Read, O>(&mut self, entry: Entry<T>, key: &str, table: &At<O>) -> Option<At<T>> {
        match entry {
            Entry::Is(at) => Some(at),
            Entry::Wrong => None,
            Entry::Absent => {
                if !self.is_partial() {
                    let problem = self.problem(table, format!("the key {key:?} is missing"));
                    self.report(problem.help(format!("add {key} = {}", T::example())));
                }
                None
            }
        }
    }
}

/// The path of a key in a table.
pub(crate) fn join(path: &str, key: &str) -> String {
    let bare = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    let key = if bare { key.to_owned() } else { quoted(key) };
    if path.is_empty() { key } else { format!("{path}.{key}") }
}

/// A name from the file in quotes, with control characters escaped and not too long.
pub(crate) fn quoted(name: &str) -> String {
    let short: String = name.chars().take(64).collect();
    let dots = if short.len() < name.len() { "…" } else { "" };
    format!("{:?}", short + dots)
}
