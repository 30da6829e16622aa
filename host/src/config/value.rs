//! The types that single values of the file have.

mod quantity;

use std::net::SocketAddr;

use http::Method;
use regex::Regex;
use toml::de::DeValue;
use tracing::Level;

pub(crate) use quantity::{BodySize, Count, Priority, Size};

use super::file::{self, AccessFile, Matcher};
use super::reader::{At, Entry, Key, Node, Read, Reader, Wrong, join, words};
use super::{
    AccessLog, Address, Endpoint, HostMatch, HttpOrigin, Isolation, LogFormat, Network, OnFailure, Underscores,
    ValueMatch,
};
use super::{address, pattern, registry};

words!(Underscores, "a treatment of underscores", "drop" => Underscores::Drop, "reject" => Underscores::Reject, "keep" => Underscores::Keep);
words!(OnFailure, "a failure policy", "closed" => OnFailure::Closed, "open" => OnFailure::Open);
words!(Isolation, "an isolation mode", "pooled" => Isolation::Pooled, "request" => Isolation::Request);
words!(LogFormat, "a log format", "json" => LogFormat::Json, "text" => LogFormat::Text);
words!(
    ShowCertificate, "a mode of client certificates",
    "required" => ShowCertificate::Required, "optional" => ShowCertificate::Optional,
);
words!(EncodedSlash, "a treatment of %2F", "keep" => EncodedSlash(true), "reject" => EncodedSlash(false));
words!(
    Level, "a log level",
    "error" => Level::ERROR, "warn" => Level::WARN, "info" => Level::INFO, "debug" => Level::DEBUG, "trace" => Level::TRACE,
);

/// A value that is written as a string and has a parser of its own.
macro_rules! parsed {
    ($($type:ty, $noun:literal, $example:literal, $parse:expr;)+) => {$(
        impl Read for $type {
            const NOUN: &'static str = $noun;
            const EXAMPLE: &'static str = $example;

            fn read(node: &Node<'_, '_>, reader: &mut Reader<'_>) -> Option<Self> {
                reader.parsed(node, $parse)
            }
        }
    )+};
}

parsed! {
    Address, "an address with a port", "\"0.0.0.0:8080\"", address::listener;
    FileMode, "the permissions of a file", "\"0660\"", file_mode;
    SocketAddr, "an address with a port", "\"0.0.0.0:8080\"", address::listen;
    Network, "a network", "\"10.0.0.0/8\"", address::network;
    Endpoint, "an endpoint", "\"http://10.0.1.5:8080\"", address::endpoint;
    HostMatch, "a host", "\"api.example.com\"", address::host;
    HostName, "a host name", "\"search.internal\"", |text| address::name(text).map(HostName);
    Regex, "a regular expression", "\"/v[0-9]+/.*\"", pattern::compile;
    Path, "a path", "\"/v1/search\"", path;
    FilePath, "a path of a file", "\"certs/api.pem\"", file_path;
    ComponentName, "the name of a component", "\"api-key\"", component;
    MethodName, "a method", "\"GET\"", method;
    ProtocolName, "a protocol", "\"websocket\"", protocol;
    Pseudonym, "a name for Via", "\"edge\"", pseudonym;
    Grants, "the name of a store", "\"sessions\"", store;
    Reference, "a name", "\"search\"", |text| Ok(Reference(text.to_owned()));
}

/// Whether clients have to show a certificate, or may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ShowCertificate {
    Required,
    Optional,
}

/// Whether `%2F` is kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EncodedSlash(pub(crate) bool);

#[derive(Debug)]
pub(crate) struct HostName(pub(crate) String);

/// A path of a request. Whether it is canonical depends on the route's `encoded-slash`.
#[derive(Debug)]
pub(crate) struct Path(pub(crate) String);

fn path(text: &str) -> Result<Path, Wrong> {
    if !text.starts_with('/') {
        return Err(Wrong::because("it does not begin with a slash").help(format!("write {:?}", format!("/{text}"))));
    }
    if let Some((path, _)) = text.split_once('?') {
        return Err(Wrong::because("it has a query, which is no part of the path")
            .help(format!("write {path:?}, and the parameters in \"query\"")));
    }
    if text.contains('#') {
        return Err(Wrong::because("it has a fragment, which clients never send"));
    }
    if let Some(begin) = text.strip_suffix('*') {
        return Err(Wrong::because("it has a star at its end").help(format!("write path-prefix = {begin:?}")));
    }
    Ok(Path(text.to_owned()))
}

#[derive(Debug)]
pub(crate) struct FilePath(pub(crate) String);

fn file_path(text: &str) -> Result<FilePath, Wrong> {
    match text {
        "" => Err(Wrong::because("it is empty")),
        path if path.contains('\0') => Err(Wrong::because("no path has a NUL character in it")),
        path => Ok(FilePath(path.to_owned())),
    }
}

/// The permissions of a file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FileMode(pub(crate) u32);

fn file_mode(text: &str) -> Result<FileMode, Wrong> {
    let digits = matches!(text.len(), 3 | 4) && text.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
    match u32::from_str_radix(text, 8) {
        Ok(mode) if digits && mode <= 0o777 => Ok(FileMode(mode)),
        _ => Err(Wrong::because("it is three octal digits, with or without a zero before them")),
    }
}

/// The name of a component, and for one of a registry what that name says.
#[derive(Debug)]
pub(crate) struct ComponentName(pub(crate) String, pub(crate) Option<registry::Reference>);

fn component(text: &str) -> Result<ComponentName, Wrong> {
    if text.starts_with(registry::SCHEME) {
        return registry::Reference::parse(text).map(|reference| ComponentName(text.to_owned(), Some(reference)));
    }
    const FORM: &str = "it is made of lower-case letters, digits and single hyphens, and begins with a letter";
    if let Some(stem) = text.strip_suffix(".wasm") {
        let stem = stem.rsplit('/').next().unwrap_or(stem);
        return Err(
            Wrong::because("it is named without its directory and without .wasm").help(format!("write {stem:?}"))
        );
    }
    let word = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    if !text.split('-').all(word) || text.starts_with(|c: char| c.is_ascii_digit()) {
        let kebab = kebab(text);
        let wrong = Wrong::because(FORM);
        return Err(if kebab != text && kebab.split('-').all(word) { wrong.suggest(Some(kebab)) } else { wrong });
    }
    if text.len() > 64 {
        return Err(Wrong::because("it is longer than 64 characters"));
    }
    Ok(ComponentName(text.to_owned(), None))
}

/// `ApiKey`, `API_Key` and `api_key` as `api-key`.
fn kebab(text: &str) -> String {
    let mut out = String::new();
    let mut before = '-';
    for c in text.chars() {
        if c.is_ascii_uppercase() && before.is_ascii_lowercase() {
            out.push('-');
        }
        out.push(if matches!(c, '_' | ' ') { '-' } else { c.to_ascii_lowercase() });
        before = c;
    }
    out
}

/// What a connection may go on with, in lower case.
#[derive(Debug)]
pub(crate) struct ProtocolName(pub(crate) String);

fn protocol(text: &str) -> Result<ProtocolName, Wrong> {
    let lower = text.to_ascii_lowercase();
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~/".contains(&byte);
    if text.is_empty() || !text.bytes().all(token) {
        return Err(Wrong::because("it is not a token of RFC 9110"));
    }
    // What they wrap are requests, which would go past every route and plugin.
    if lower == "h2c" || lower == "tls" || lower.starts_with("http/") || lower.starts_with("tls/") {
        return Err(Wrong::because("requests in it would pass no route and no plugin"));
    }
    Ok(ProtocolName(lower))
}

#[derive(Debug)]
pub(crate) struct MethodName(pub(crate) Method);

fn method(text: &str) -> Result<MethodName, Wrong> {
    let Ok(method) = Method::from_bytes(text.as_bytes()) else {
        return Err(Wrong::because("it is not a token of RFC 9110"));
    };
    if method == Method::CONNECT {
        return Err(Wrong::because("CONNECT opens tunnels, which no route can carry"));
    }
    // Methods are case-sensitive, and none of the known ones has small letters.
    let upper = text.to_ascii_uppercase();
    if upper != text {
        return Err(Wrong::because("methods are written in capitals").suggest(Some(upper)));
    }
    const KNOWN: &[&str] = &["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "QUERY"];
    if !KNOWN.contains(&text) && text.len() <= 8 {
        let near = super::near::nearest(text, KNOWN.iter().copied());
        if near.is_some() {
            return Err(Wrong::because("there is no such method").suggest(near));
        }
    }
    Ok(MethodName(method))
}

#[derive(Debug)]
pub(crate) struct Grants(pub(crate) String);

fn store(text: &str) -> Result<Grants, Wrong> {
    let right = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if text.is_empty() || text.len() > 64 || !text.bytes().all(right) {
        return Err(Wrong::because("it has 1 to 64 letters, digits, \"-\", \"_\" and \".\""));
    }
    Ok(Grants(text.to_owned()))
}

#[derive(Debug)]
pub(crate) struct Pseudonym(pub(crate) String);

fn pseudonym(text: &str) -> Result<Pseudonym, Wrong> {
    let right = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if text.is_empty() || text.len() > 64 || !text.bytes().all(right) {
        return Err(Wrong::because("it has 1 to 64 letters, digits, \"-\", \"_\" and \".\""));
    }
    Ok(Pseudonym(text.to_owned()))
}

/// The name of something else in the file.
#[derive(Debug)]
pub(crate) struct Reference(pub(crate) String);

/// Any text.
#[derive(Debug)]
pub(crate) struct Text(pub(crate) String);

impl Read for Text {
    const NOUN: &'static str = "a string";
    const EXAMPLE: &'static str = "\"…\"";

    fn read(node: &Node<'_, '_>, reader: &mut Reader<'_>) -> Option<Self> {
        let (text, secrets) = reader.text(node, Self::NOUN, Self::EXAMPLE)?;
        reader.secrets.extend(secrets);
        Some(Self(text))
    }
}

impl Read for bool {
    const NOUN: &'static str = "true or false";
    const EXAMPLE: &'static str = "true";

    fn read(node: &Node<'_, '_>, reader: &mut Reader<'_>) -> Option<Self> {
        match node.value {
            DeValue::Boolean(value) => Some(*value),
            _ => {
                let help = node.value.as_str().filter(|text| matches!(*text, "true" | "false"));
                let help = help.map(|text| format!("write {text} without quotes"));
                reader.mismatch_with(node, Self::NOUN, Self::EXAMPLE, help);
                None
            }
        }
    }
}

/// An origin that is granted, with what goes with it.
#[derive(Debug)]
pub(crate) struct HttpGrant(pub(crate) HttpOrigin);

impl Read for HttpGrant {
    const NOUN: &'static str = "an origin";
    const EXAMPLE: &'static str = "\"https://idp.example.com\"";
    const KEYS: &'static [Key] = file::HttpOrigin::KEYS;

    fn read(node: &Node<'_, '_>, reader: &mut Reader<'_>) -> Option<Self> {
        if !matches!(node.value, DeValue::Table(_)) {
            let endpoint = Endpoint::read(node, reader)?;
            return Some(Self(HttpOrigin { endpoint, addresses: Vec::new(), roots: None }));
        }
        let table = file::HttpOrigin::read(node, reader)?;
        let at = At { value: (), span: node.span.clone(), path: node.path.clone() };
        let endpoint = reader.require(table.origin, "origin", &at)?.value;
        let addresses = table.addresses.or(Vec::new()).into_iter().map(|at| at.value).collect();
        let roots = table.roots.value().map(|path| reader.locate(&path.0));
        Some(Self(HttpOrigin { endpoint, addresses, roots }))
    }
}

/// Headers or parameters of a query, and what they must be.
#[derive(Debug, Default)]
pub(crate) struct Fields(pub(crate) Vec<(At<String>, ValueMatch)>);

impl Read for Fields {
    const NOUN: &'static str = "a table of names and values";
    const EXAMPLE: &'static str = "{ name = \"value\" }";
    const KEYS: &'static [Key] = Matcher::KEYS;
    const STEP: &'static str = ".NAME";

    fn read(node: &Node<'_, '_>, reader: &mut Reader<'_>) -> Option<Self> {
        let DeValue::Table(table) = node.value else {
            reader.mismatch(node, Self::NOUN, Self::EXAMPLE);
            return None;
        };
        let mut out = Vec::new();
        for (key, value) in table {
            let name = key.get_ref().to_string();
            let path = join(&node.path, &name);
            let node = Node { value: value.get_ref(), span: value.span(), path: path.clone() };
            if let Some(value) = value_match(&node, reader) {
                out.push((At { value: name, span: key.span(), path }, value));
            }
        }
        Some(Self(out))
    }
}

fn value_match(node: &Node<'_, '_>, reader: &mut Reader<'_>) -> Option<ValueMatch> {
    const NOUN: &str = "a value or a matcher";
    const EXAMPLE: &str = "\"value\", { regex = \"…\" } or { present = true }";
    match node.value {
        DeValue::String(_) => Text::read(node, reader).map(|text| ValueMatch::Exact(text.0)),
        DeValue::Table(_) => {
            let matcher = Matcher::read(node, reader)?;
            let at = At { value: (), span: node.span.clone(), path: node.path.clone() };
            match (matcher.regex, matcher.present) {
                (Entry::Is(regex), Entry::Absent) => Some(ValueMatch::Regex(regex.value)),
                (Entry::Absent, Entry::Is(present)) => {
                    if !present.value {
                        let problem = reader.problem(&present, "what is not there cannot be matched");
                        reader.report(problem.help("write true; or give another route a higher priority"));
                    }
                    present.value.then_some(ValueMatch::Present)
                }
                (Entry::Wrong, _) | (_, Entry::Wrong) => None,
                _ => {
                    if !reader.is_partial() {
                        reader.error(&at, format!("exactly one matcher is needed: {EXAMPLE}"));
                    }
                    None
                }
            }
        }
        _ => {
            reader.mismatch(node, NOUN, EXAMPLE);
            None
        }
    }
}

impl Read for AccessLog {
    const NOUN: &'static str = "a destination";
    const EXAMPLE: &'static str = "\"stdout\", \"off\" or { file = \"access.log\" }";
    const KEYS: &'static [Key] = AccessFile::KEYS;

    fn read(node: &Node<'_, '_>, reader: &mut Reader<'_>) -> Option<Self> {
        if matches!(node.value, DeValue::Table(_)) {
            let table = AccessFile::read(node, reader)?;
            let at = At { value: (), span: node.span.clone(), path: node.path.clone() };
            let file = reader.require(table.file, "file", &at)?;
            return Some(Self::File(reader.locate(&file.value.0)));
        }
        reader.parsed(node, |text| match text {
            "off" => Ok(Self::Off),
            "stdout" => Ok(Self::Stdout),
            _ => {
                let wrong = Wrong::because("it is \"stdout\", \"off\" or a file");
                let near = super::near::nearest(text, ["stdout", "off"]);
                Err(if near.is_some() {
                    wrong.suggest(near)
                } else {
                    wrong.help(format!("write {{ file = {text:?} }}"))
                })
            }
        })
    }
}
