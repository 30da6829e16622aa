//! Components of a registry (OCI distribution specification 1.1): what is named, and where it is pulled from.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;

use super::bounds::{SECOND, time};
use super::reader::{At, Entry, Named, Reader, Wrong};
use super::{Endpoint, HttpOrigin, Network, PluginSpec, address, file};

/// What a component of a registry begins with.
pub(crate) const SCHEME: &str = "oci://";

/// A component of a registry: `oci://HOST/REPOSITORY@sha256:DIGEST`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// Host and port; whether with TLS, the table of the registry says.
    pub registry: Endpoint,
    /// The name of the repository: words between slashes.
    pub repository: String,
    /// Of the manifest (SHA-256), as hexadecimal digits.
    pub digest: String,
}

/// `[registry.NAME]`: how a registry is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registry {
    /// As in `[registry.NAME]`; empty for one that no table is about.
    pub name: String,
    /// Where it is.
    pub endpoint: Endpoint,
    /// A user and a password.
    pub credentials: Option<(String, String)>,
    /// A PEM file of roots in place of the system's.
    pub roots: Option<PathBuf>,
    /// Addresses, beside public ones, that it may send us on to.
    pub addresses: Vec<Network>,
    /// For all of one component. Default 30 s.
    pub timeout: Duration,
}

/// The default of `timeout`.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The longest name of a repository, with its host, as the specification asks of clients.
const LONGEST: usize = 255;

impl Reference {
    pub(crate) fn parse(text: &str) -> Result<Self, Wrong> {
        let rest = text.strip_prefix(SCHEME).unwrap_or(text);
        let Some((host, rest)) = rest.split_once('/') else {
            return Err(Wrong::because(
                "a repository follows the host, such as \"oci://registry.example.com/team/filter\"",
            ));
        };
        let registry = address::endpoint(&format!("https://{host}"))?;
        let Some((name, digest)) = rest.split_once('@') else {
            let why = "it names no digest, and what a tag stands for can change under a server that runs";
            return Err(Wrong::because(why).help(format!("add the digest of the manifest: \"{text}@sha256:…\"")));
        };
        // A tag beside a digest is for people.
        let (repository, tag) = name.split_once(':').map_or((name, None), |(name, tag)| (name, Some(tag)));
        if !repository.split('/').all(is_component) || name.len() + host.len() > LONGEST {
            return Err(Wrong::because(
                "the name of the repository is made of lower-case words with slashes between them",
            ));
        }
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(Wrong::because("what follows the colon is no tag"));
        }
        let hexadecimal = |digits: &&str| {
            digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
        };
        match digest.strip_prefix("sha256:").filter(hexadecimal) {
            Some(digits) => Ok(Self { registry, repository: repository.to_owned(), digest: digits.to_owned() }),
            None => Err(Wrong::because("\"sha256:\" and 64 hexadecimal digits in lower case follow the \"@\"")),
        }
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`, as the specification writes it.
fn is_component(text: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    let edges = |at: Option<&u8>| at.is_some_and(|byte| letter(*byte));
    let between = |run: &[u8]| matches!(run, b"." | b"_" | b"__") || run.iter().all(|byte| *byte == b'-');
    let runs = || bytes.split(|byte| letter(*byte)).filter(|run| !run.is_empty());
    edges(bytes.first()) && edges(bytes.last()) && runs().all(between)
}

fn is_tag(text: &str) -> bool {
    let right = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    (1..=128).contains(&text.len()) && text.bytes().all(right) && !text.starts_with(['.', '-'])
}

impl Registry {
    /// One that no table is about: with TLS, without credentials.
    #[must_use]
    pub fn of(endpoint: &Endpoint) -> Self {
        Self {
            name: String::new(),
            endpoint: endpoint.clone(),
            credentials: None,
            roots: None,
            addresses: Vec::new(),
            timeout: TIMEOUT,
        }
    }

    /// Where requests to it go, whatever its name stands for: the operator wrote it.
    #[must_use]
    pub fn origin(&self) -> HttpOrigin {
        let [four, six] = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
        let everywhere = [four, six].map(|address| Network { address, prefix: 0 });
        HttpOrigin { endpoint: self.endpoint.clone(), addresses: everywhere.into(), roots: self.roots.clone() }
    }

    /// Whether it is the one that a reference names: by host and port, for the reference tells nothing of TLS.
    #[must_use]
    pub fn is_of(&self, reference: &Reference) -> bool {
        self.endpoint.host == reference.registry.host && self.endpoint.authority == reference.registry.authority
    }
}

/// `[registry.NAME]`, all of them.
pub(crate) fn registries(entry: Entry<Named<file::Registry>>, reader: &mut Reader<'_>) -> Vec<At<Registry>> {
    let mut out: Vec<At<Registry>> = Vec::new();
    for (name, at) in entry.or(Named::default()).tables {
        let here = At { value: (), span: at.span, path: at.path };
        let Some(registry) = registry(name, at.value, &here, reader) else { continue };
        if let Some(other) = out.iter().find(|other| other.value.endpoint.authority == registry.endpoint.authority) {
            let note = reader.source().place(&other.span);
            let problem = reader.problem(&here, "another table is about this registry");
            reader.report(problem.note("it is here", note));
        }
        out.push(At { value: registry, span: here.span, path: here.path });
    }
    out
}

fn registry(name: String, written: file::Registry, here: &At<()>, reader: &mut Reader<'_>) -> Option<Registry> {
    if written.origin.is_absent() && !reader.is_partial() {
        let problem = reader.problem(here, "the key \"origin\" is missing");
        reader.report(problem.help("add origin = \"https://registry.example.com\""));
    }
    let credentials = match (written.username, written.password) {
        (Entry::Is(user), Entry::Is(password)) => Some((user.value.0, password.value.0)),
        (Entry::Is(_), Entry::Absent) => {
            let problem = reader.problem(here, "a user without a password");
            reader.report(problem.help("add password = \"${file:…}\""));
            None
        }
        (Entry::Absent, Entry::Is(_)) => {
            reader.error(here, "a password without a user");
            None
        }
        _ => None,
    };
    let Entry::Is(origin) = written.origin else { return None };
    let endpoint = origin.value;
    let local = endpoint.host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
    if !endpoint.tls && !local {
        let what = if credentials.is_some() { "the password crosses" } else { "components cross" };
        let message = format!("{what} the network in the clear to the registry {name:?}");
        let at = At { value: (), span: origin.span, path: origin.path };
        let problem = reader.warning(&at, message);
        reader.report(problem.help("write https://, with roots for a certificate of your own"));
    }
    Some(Registry {
        name,
        endpoint,
        credentials,
        roots: written.roots.value().map(|path| reader.locate(&path.0)),
        addresses: written.addresses.or(Vec::new()).into_iter().map(|at| at.value).collect(),
        timeout: time(reader, written.timeout, TIMEOUT, 600 * SECOND),
    })
}

/// Registries that no component is from, and what a component of a registry cannot have.
pub(crate) fn check(registries: &[At<Registry>], plugins: &[At<PluginSpec>], reader: &mut Reader<'_>) {
    for plugin in plugins.iter().filter(|plugin| plugin.value.pulled.is_some() && plugin.value.rollout.is_some()) {
        let message = "a component of a registry has one version, which no new one can take the place of meanwhile";
        let problem = reader.problem(plugin, message);
        reader.report(problem.help("take \"rollout\" out, or put the component into the plugins directory"));
    }
    if reader.has_errors() {
        return;
    }
    let used = |registry: &Registry| {
        plugins.iter().filter_map(|plugin| plugin.value.pulled.as_ref()).any(|reference| registry.is_of(reference))
    };
    for at in registries.iter().filter(|at| !used(&at.value)) {
        reader.report(reader.warning(at, format!("no component is from the registry {:?}", at.value.name)));
    }
}

/// The registry of each reference that plugins have, by what they call the component.
#[must_use]
pub fn wanted(
    plugins: &BTreeMap<String, PluginSpec>,
    registries: &[Registry],
) -> BTreeMap<String, (Reference, Registry)> {
    let of = |spec: &PluginSpec| {
        let reference = spec.pulled.clone()?;
        let known = registries.iter().find(|registry| registry.is_of(&reference)).cloned();
        let registry = known.unwrap_or_else(|| Registry::of(&reference.registry));
        Some((spec.component.clone(), (reference, registry)))
    };
    plugins.values().filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn references_name_a_registry_a_repository_and_a_digest() {
        for (text, authority, repository) in [
            ("oci://registry.example.com/filter", "registry.example.com", "filter"),
            (
                "oci://registry.example.com:5000/team/a-b.c__d/filter",
                "registry.example.com:5000",
                "team/a-b.c__d/filter",
            ),
            ("oci://127.0.0.1:5000/team/filter:1.2.3", "127.0.0.1:5000", "team/filter"),
            ("oci://[::1]:5000/filter", "[::1]:5000", "filter"),
        ] {
            let reference =
                Reference::parse(&format!("{text}@sha256:{DIGEST}")).unwrap_or_else(|why| panic!("{text}: {why:?}"));
            assert_eq!(reference.registry.authority, authority, "{text}");
            assert_eq!((&*reference.repository, &*reference.digest), (repository, DIGEST), "{text}");
        }
    }

    #[test]
    fn what_is_no_reference_says_why() {
        let with = |name: &str| format!("oci://{name}@sha256:{DIGEST}");
        for (text, why) in [
            ("oci://registry.example.com/filter:1".to_owned(), "names no digest"),
            ("oci://registry.example.com".to_owned(), "repository follows"),
            (with("registry.example.com/Filter"), "lower-case"),
            (with("registry.example.com/a//b"), "lower-case"),
            (with("registry.example.com/../b"), "lower-case"),
            (with("registry.example.com/a/"), "lower-case"),
            (with("registry.example.com/a?b"), "lower-case"),
            (with("registry.example.com/a___b"), "lower-case"),
            (with(&format!("registry.example.com/{}", "a".repeat(256))), "lower-case"),
            (with("registry.example.com/a:b c"), "tag"),
            (with("user@registry.example.com/a"), "no user"),
            (with("registry.example.com:99999/a"), "port"),
            (format!("oci://registry.example.com/a@sha256:{}", DIGEST.to_uppercase()), "lower case"),
            ("oci://registry.example.com/a@sha512:00".to_owned(), "sha256"),
        ] {
            let wrong = Reference::parse(&text).expect_err(&text);
            assert!(wrong.why.contains(why), "{text}: {}", wrong.why);
        }
    }
}
