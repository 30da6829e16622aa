//! What a `.wasm` file gives: compiled code, its imports, the hooks it exports.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{ComponentExportIndex, InstancePre};

use super::engine::Engine;
use super::state::State;
use super::trust::{self, Evidence};
use super::{version, wasi};
use crate::bindings::{CHUNKS, HOOKS};
use crate::config::{Grant, PluginSpec};

/// The largest file that is looked at, in bytes. Python's whole runtime is 18 MB as a component.
pub(crate) const LARGEST_COMPONENT: usize = 64 << 20;

/// What every version of the contract begins with.
const CONTRACT: &str = "tollgate:plugin/";
/// The functions that a plugin may export, beside `configure`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Hook {
    /// The head of a request.
    Request,
    /// The whole body of a request.
    RequestBody,
    /// The head of a response.
    Response,
    /// The whole body of a response.
    ResponseBody,
    /// A piece of the body of a request.
    RequestChunk,
    /// A piece of the body of a response.
    ResponseChunk,
}

impl Hook {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Request, Self::RequestBody, Self::Response, Self::ResponseBody, Self::RequestChunk, Self::ResponseChunk];

    /// As in the contract, for example `on-request`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Request => "on-request",
            Self::RequestBody => "on-request-body",
            Self::Response => "on-response",
            Self::ResponseBody => "on-response-body",
            Self::RequestChunk => "on-request-chunk",
            Self::ResponseChunk => "on-response-chunk",
        }
    }

    /// Whether it belongs to the interface `chunks`.
    const fn streams(self) -> bool {
        matches!(self, Self::RequestChunk | Self::ResponseChunk)
    }
}

/// Where a component came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Built from this workspace and embedded.
    BuiltIn,
    /// A file of the plugins directory.
    File(PathBuf),
    /// Pulled from a registry.
    Registry,
}

/// A compiled component, linked once: instances are made of it without looking anything up.
pub struct Component {
    /// The name that the configuration uses: of the built-in, or of the file without `.wasm`.
    pub name: Arc<str>,
    /// Where it came from.
    pub origin: Origin,
    /// Of the file, as hexadecimal digits.
    pub sha256: String,
    /// Of the file, in bytes.
    pub size: usize,
    /// The interfaces that it imports, with their versions.
    pub imports: Vec<String>,
    /// Whether it imports something that waits, and so needs a stack of its own.
    pub waits: bool,
    /// The file.
    pub(super) bytes: Bytes,
    pub(super) evidence: Evidence,
    pub(super) pre: InstancePre<State>,
    pub(super) configure: ComponentExportIndex,
    pub(super) schema: Option<ComponentExportIndex>,
    /// Of `chunks`, where it is exported.
    pub(super) wants: Option<ComponentExportIndex>,
    pub(super) hooks: [Option<ComponentExportIndex>; Hook::ALL.len()],
}

impl Component {
    /// Compiles a component, or takes it from the cache of compiled code. Takes seconds for large ones: never on the
    /// thread of a worker.
    ///
    /// # Errors
    ///
    /// [`LoadError`] where `bytes` is not a component, needs what no grant can give, or exports no hooks of this version
    /// of the contract.
    pub fn compile(engine: &Engine, name: &str, origin: Origin, bytes: Bytes) -> Result<Self, LoadError> {
        check_preamble(&bytes)?;
        let compiled = wasmtime::component::Component::from_binary(&engine.wasmtime, &bytes)
            .map_err(|error| LoadError::Invalid(one_line(&error)))?;
        let mut imports = Vec::new();
        let mut waits = false;
        for (import, item) in compiled.component_type().imports(&engine.wasmtime) {
            check_import(import)?;
            if let ComponentItem::ComponentInstance(interface) = &item.ty {
                let mut functions = interface.exports(&engine.wasmtime);
                waits |= functions.any(|(function, _)| wasi::waits(import, function));
            }
            imports.push(import.to_owned());
        }
        let linker = if waits { &engine.waiting } else { &engine.linker };
        let pre = linker.instantiate_pre(&compiled).map_err(|error| LoadError::Link(one_line(&error)))?;
        let Some(interface) = compiled.get_export_index(None, HOOKS) else {
            return Err(no_hooks(&compiled, &engine.wasmtime));
        };
        let function = |name: &str| compiled.get_export_index(Some(&interface), name);
        let chunks = compiled.get_export_index(None, CHUNKS);
        let of_chunks = |name: &str| compiled.get_export_index(Some(chunks.as_ref()?), name);
        let configure = function("configure").ok_or(LoadError::NoConfigure)?;
        Ok(Self {
            name: name.into(),
            origin,
            sha256: hex(&Sha256::digest(&bytes)),
            size: bytes.len(),
            waits,
            configure,
            schema: function("schema"),
            wants: of_chunks("wants"),
            hooks: Hook::ALL
                .map(|hook| if hook.streams() { of_chunks(hook.as_str()) } else { function(hook.as_str()) }),
            imports,
            pre,
            evidence: Evidence::new(bytes.clone(), None),
            bytes,
        })
    }

    /// The same, with the signature that came with it.
    #[must_use]
    pub fn signed(self, signature: Option<Bytes>) -> Self {
        Self { evidence: Evidence::new(self.bytes.clone(), signature), ..self }
    }

    /// Whether it exports a hook.
    pub fn exports(&self, hook: Hook) -> bool {
        self.hooks[hook as usize].is_some()
    }

    /// The capabilities that it imports, by name.
    pub fn capabilities(&self) -> impl Iterator<Item = &str> {
        self.imports.iter().filter_map(|import| capability(import))
    }

    /// The line of a configuration that grants what it imports, with an example of each; none where there is no need.
    pub fn grant_line(&self) -> Option<String> {
        let needed: Vec<_> = self.capabilities().filter_map(grantable).collect();
        (!needed.is_empty()).then(|| format!("grant = {{ {} }}", needed.join(", ")))
    }

    /// Whether everything that it imports is granted; if not, with the line that grants it.
    pub(super) fn check_grants(&self, grant: &Grant) -> Result<(), LoadError> {
        let missing: Vec<_> = self.capabilities().filter(|name| !granted(name, grant)).map(str::to_owned).collect();
        match self.grant_line() {
            Some(line) if !missing.is_empty() => Err(LoadError::NotGranted(missing, line)),
            _ => Ok(()),
        }
    }

    /// Whether it is one that the configuration requires, if it requires anything.
    pub(super) fn check_required(&self, spec: &PluginSpec) -> Result<(), LoadError> {
        trust::check(&spec.require, &self.name, &self.sha256, &self.evidence)
    }

    /// What a version of it is called beside another one of the same name: the begin of its digest.
    pub fn version(&self) -> &str {
        self.sha256.get(..12).unwrap_or(&self.sha256)
    }
}

impl fmt::Debug for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Component").field("name", &self.name).field("sha256", &self.sha256).finish_non_exhaustive()
    }
}

/// Why a component or a plugin is not loaded. The text is for operators: it may hold file names and what a guest said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoadError {
    /// The file cannot be read.
    Unreadable(String),
    /// The file is empty, cut off, or something else.
    NotWasm,
    /// A core module, as `wasm32-wasip1` and `wasm32-unknown-unknown` give it.
    CoreModule,
    /// Larger than what is looked at.
    TooLarge(usize),
    /// It does not validate or compile.
    Invalid(String),
    /// It imports what no grant can give.
    Import(String),
    /// It was made for another version of the contract.
    Version(String),
    /// An import has another shape than the host's.
    Link(String),
    /// It exports no hooks.
    NoHooks,
    /// It exports hooks without `configure`.
    NoConfigure,
    /// An export has another shape than the contract's.
    Signature(&'static str, String),
    /// It imports capabilities that the configuration does not grant, and the line that does.
    NotGranted(Vec<String>, String),
    /// It refuses its configuration: each complaint as its JSON Pointer and its message.
    Refused(Vec<(String, String)>),
    /// It asks for what it cannot have.
    Interest(String),
    /// It failed while it was configured.
    Failed(String),
    /// What the servers that it may ask are verified by cannot be read.
    Roots(String),
    /// The cases beside it do not pass, or could not be run.
    Cases(String),
    /// It could not be pulled from its registry.
    NotPulled(String),
    /// The configuration requires another one: what this one is, and what it has to be.
    Untrusted(String),
    /// It was taken back, and why.
    RolledBack(String),
    /// What is wrong with a new version, and how it differs from the one that serves.
    NewVersion(Box<LoadError>, String),
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(why) => write!(f, "cannot be read: {why}"),
            Self::NotWasm => f.write_str("not a WebAssembly component: the file is empty, cut off, or something else"),
            Self::CoreModule => f.write_str(
                "a core WebAssembly module, not a component: build it for the target wasm32-wasip2, or wrap it with \
                 `wasm-tools component new`",
            ),
            Self::TooLarge(size) => {
                write!(f, "{size} bytes, more than the {LARGEST_COMPONENT} that a component may have")
            }
            Self::Invalid(why) => write!(f, "not a valid component: {why}"),
            Self::Import(name) => write!(f, "imports `{name}`, which no plugin is given"),
            Self::Version(name) => write!(f, "{}", version::refusal(name)),
            Self::Link(why) => write!(f, "does not fit the host: {why}"),
            Self::NoHooks => write!(f, "exports no `{HOOKS}`: it is a component, but not a plugin"),
            Self::NoConfigure => write!(f, "`{HOOKS}` without the function `configure`"),
            Self::Signature(hook, why) => write!(f, "`{hook}` has another signature than the contract's: {why}"),
            Self::NotGranted(names, line) => {
                let names = names.join("` and `");
                write!(f, "imports `{names}`, which is not granted; to grant it, add: {line}")
            }
            Self::Refused(complaints) => {
                f.write_str("refuses its configuration")?;
                for (at, (pointer, message)) in complaints.iter().enumerate() {
                    let before = if at == 0 { ": " } else { "; " };
                    if pointer.is_empty() {
                        write!(f, "{before}{message}")?;
                    } else {
                        write!(f, "{before}{pointer}: {message}")?;
                    }
                }
                Ok(())
            }
            Self::Interest(why) => write!(f, "declares an interest that cannot be: {why}"),
            Self::Failed(why) => write!(f, "failed while it was configured: {why}"),
            Self::Roots(why) => write!(f, "cannot verify the origins that it is granted: {why}"),
            Self::Cases(why) => write!(f, "does not pass its cases: {why}"),
            Self::NotPulled(why) => write!(f, "cannot be pulled: {why}"),
            Self::Untrusted(why) => f.write_str(why),
            Self::RolledBack(why) => write!(f, "was rolled back: {why}"),
            Self::NewVersion(problem, difference) => write!(f, "{problem}\n{difference}"),
        }
    }
}

impl std::error::Error for LoadError {}

/// The capability that an import of the contract belongs to; none for WASI and for the shared nouns.
fn capability(import: &str) -> Option<&str> {
    let name = import.strip_prefix(CONTRACT)?.split('@').next()?;
    (!matches!(name, "http" | "hooks" | "chunks")).then_some(name)
}

/// What stands in `grant` for a capability; none for those that every plugin has.
fn grantable(capability: &str) -> Option<&'static str> {
    match capability {
        "kv" => Some("kv = [\"NAME\"]"),
        "http-client" => Some("http = [\"https://HOST\"]"),
        _ => None,
    }
}

/// Whether a plugin may have a capability.
fn granted(capability: &str, grant: &Grant) -> bool {
    match capability {
        "kv" => !grant.kv.is_empty(),
        "http-client" => !grant.http.is_empty(),
        _ => true,
    }
}

/// Component Model binary format: the magic number, then a version, then the layer that tells components from modules.
fn check_preamble(bytes: &[u8]) -> Result<(), LoadError> {
    match bytes.get(..8) {
        _ if bytes.len() > LARGEST_COMPONENT => Err(LoadError::TooLarge(bytes.len())),
        Some([0, b'a', b's', b'm', 0x0d, 0, 1, 0]) => Ok(()),
        Some([0, b'a', b's', b'm', 1, 0, 0, 0]) => Err(LoadError::CoreModule),
        _ => Err(LoadError::NotWasm),
    }
}

fn check_import(import: &str) -> Result<(), LoadError> {
    if let Some(rest) = import.strip_prefix(CONTRACT) {
        let (name, version) = rest.split_once('@').unwrap_or((rest, ""));
        if !version::runs(version) {
            return Err(LoadError::Version(import.to_owned()));
        }
        return match name {
            "http" | "log" | "limiter" | "kv" | "http-client" | "crypto" | "metrics" => Ok(()),
            _ => Err(LoadError::Import(import.to_owned())),
        };
    }
    let linked = ["wasi:cli/", "wasi:clocks/", "wasi:filesystem/", "wasi:io/", "wasi:random/"];
    if linked.iter().any(|package| import.starts_with(package)) {
        Ok(())
    } else {
        Err(LoadError::Import(import.to_owned()))
    }
}

fn no_hooks(compiled: &wasmtime::component::Component, engine: &wasmtime::Engine) -> LoadError {
    let hooks = format!("{CONTRACT}hooks@");
    let ty = compiled.component_type();
    let other = ty.exports(engine).map(|(name, _)| name).find(|name| name.starts_with(&hooks));
    other.map_or(LoadError::NoHooks, |name| LoadError::Version(name.to_owned()))
}

/// An error and its causes in one line, cut to what fits a log line.
pub(super) fn one_line(error: &wasmtime::Error) -> String {
    let mut line = format!("{error:#}").replace(['\n', '\r'], " ");
    if line.len() > 1000 {
        let cut = (0..=1000).rev().find(|at| line.is_char_boundary(*at)).unwrap_or(0);
        line.truncate(cut);
        line.push('…');
    }
    line
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
