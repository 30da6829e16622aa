//! Keeps upstreams out of what clients see: addresses become the public one, and fields that tell about the software
//! behind us go.

mod text;

use std::collections::HashMap;
use std::net::IpAddr;

use http::header::{self, Entry, HeaderMap, HeaderName, HeaderValue};
use regex::bytes::{Regex, RegexBuilder};

use crate::authority::Scheme;
use crate::config::Endpoint;
use crate::headers::remove_where;

/// What clients call us: in place of an upstream's address they read this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Public<'a> {
    /// How the client reached us.
    pub scheme: Scheme,
    /// In normal form: [`Authority::as_str`](crate::authority::Authority::as_str) of the request.
    pub authority: &'a str,
}

impl<'a> Public<'a> {
    fn host(&self) -> &'a str {
        let port = self.authority.rfind(':').filter(|colon| !self.authority[*colon..].contains(']'));
        &self.authority[..port.unwrap_or(self.authority.len())]
    }
}

/// The hosts and ports of all endpoints of all upstreams, made when a configuration is loaded.
#[derive(Debug, Clone)]
pub struct Hidden {
    /// By host in lower case; IPv6 without brackets.
    hosts: HashMap<Box<[u8]>, Host>,
    /// Finds every host in any case; nothing where there are no hosts.
    finder: Option<Regex>,
    /// The length of the shortest host: no shorter value can hold one.
    shortest: usize,
}

#[derive(Debug, Clone)]
struct Host {
    ports: Vec<u16>,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Ipv4,
    Ipv6,
    /// A name with a dot in it, which is seldom anything else.
    Name,
    /// A name without one, `search` for example, which is one only where a URL or a port says so.
    Label,
}

impl Kind {
    fn of(host: &str) -> Self {
        match host.parse() {
            Ok(IpAddr::V4(_)) => Self::Ipv4,
            Ok(IpAddr::V6(_)) => Self::Ipv6,
            Err(_) if host.contains('.') => Self::Name,
            Err(_) => Self::Label,
        }
    }
}

impl Hidden {
    /// Gathers the hosts of endpoints.
    ///
    /// # Panics
    /// Never: a list of literals is a pattern, and one that reaches the size limit of patterns would need some hundred
    /// thousand hosts.
    #[must_use]
    pub fn new<'a>(endpoints: impl IntoIterator<Item = &'a Endpoint>) -> Self {
        let mut hosts: HashMap<Box<[u8]>, Host> = HashMap::new();
        for endpoint in endpoints {
            let name = endpoint.host.trim_end_matches('.').to_ascii_lowercase();
            if name.is_empty() {
                continue;
            }
            let kind = Kind::of(&name);
            let host = hosts.entry(name.into_bytes().into()).or_insert(Host { ports: Vec::new(), kind });
            if !host.ports.contains(&endpoint.port) {
                host.ports.push(endpoint.port);
            }
        }
        let mut names: Vec<&str> = hosts.keys().filter_map(|name| str::from_utf8(name).ok()).collect();
        // Of two names that begin at the same place the longer one is meant.
        names.sort_by_key(|name| (std::cmp::Reverse(name.len()), *name));
        let pattern: Vec<String> = names.iter().map(|name| regex::escape(name)).collect();
        let finder = (!pattern.is_empty()).then(|| {
            RegexBuilder::new(&pattern.join("|"))
                .unicode(false)
                .case_insensitive(true)
                .size_limit(1 << 30)
                .build()
                .expect("a list of escaped literals is a pattern")
        });
        let shortest = names.last().map_or(usize::MAX, |name| name.len());
        Self { hosts, finder, shortest }
    }

    /// Hides upstreams in the head of a response: removes fields that tell what runs behind us, and writes the public
    /// address wherever a value names an upstream's. `Set-Cookie` loses a `Domain` that is an upstream's, so that the
    /// cookie is for the public host; a link to ourselves gets the public scheme and port.
    ///
    /// Answers how many values named an upstream outside of the fields that are meant to hold addresses: each of them
    /// is a leak that the upstream should mend.
    pub fn apply(&self, headers: &mut HeaderMap, public: Public<'_>) -> usize {
        remove_where(headers, is_telling);
        let mut leaks = 0;
        let mut broken = Vec::new();
        for (name, value) in headers.iter_mut() {
            let holds_links = LINKS.contains(name);
            let mut rewritten = None;
            if *name == header::SET_COOKIE {
                rewritten = self.without_foreign_domain(value.as_bytes(), public);
            }
            let current = rewritten.as_deref().unwrap_or(value.as_bytes());
            if let Some(hidden) = self.rewrite(current, public) {
                if !holds_links && *name != header::SET_COOKIE {
                    leaks += 1;
                }
                rewritten = Some(hidden);
            }
            if holds_links {
                let current = rewritten.as_deref().unwrap_or(value.as_bytes());
                rewritten = self.with_own_links(current, public).or(rewritten);
            }
            let Some(rewritten) = rewritten else { continue };
            match HeaderValue::from_bytes(&rewritten) {
                Ok(mut clean) => {
                    clean.set_sensitive(value.is_sensitive());
                    *value = clean;
                }
                // Not possible with what we insert; and if it were, no value is better than the old one.
                Err(_) => broken.push(name.clone()),
            }
        }
        for name in broken {
            if let Entry::Occupied(entry) = headers.entry(name) {
                entry.remove_entry_mult();
            }
        }
        leaks
    }

    /// How many values still name an upstream.
    #[must_use]
    pub fn leaks(&self, headers: &HeaderMap, public: Public<'_>) -> usize {
        headers.values().filter(|value| self.names_upstream(value.as_bytes(), public)).count()
    }
}

/// The fields whose values are addresses, or hold some.
const LINKS: [HeaderName; 4] = [header::LOCATION, header::CONTENT_LOCATION, header::REFRESH, header::LINK];

/// Fields that tell which software, which machine or which hop answered. The list follows what servers, frameworks and
/// gateways send by default; `Alt-Svc` is in it since it names the upstream's other ports as ours.
fn is_telling(name: &HeaderName) -> bool {
    let name = name.as_str();
    let Some(rest) = name.strip_prefix("x-") else {
        return matches!(
            name,
            "server"
                | "via"
                | "alt-svc"
                | "proxy-status"
                | "powered-by"
                | "liferay-portal"
                | "microsoftsharepointteamservices"
                | "host-header"
                | "pega-host"
                | "product"
                | "sourcemap"
        );
    };
    let prefixes = [
        "powered-",
        "aspnet",
        "upstream",
        "envoy",
        "kong",
        "backend",
        "server",
        "apisix",
        "accel-",
        "varnish",
        "litespeed",
        "drupal",
        "debug-token",
        "atmosphere-",
        "amzn-trace",
        "tyk-",
        "kubernetes-",
    ];
    matches!(
        rest,
        "runtime"
            | "served-by"
            | "generator"
            | "generated-by"
            | "framework"
            | "cms"
            | "sendfile"
            | "sourcemap"
            | "sourcefiles"
            | "php-version"
            | "owa-version"
            | "feserver"
            | "beserver"
            | "calculatedbetarget"
            | "diaginfo"
            | "backside-transport"
            | "mod-pagespeed"
            | "page-speed"
            | "turbo-charged-by"
            | "redirect-by"
            | "pad"
            | "host"
            | "hostname"
            | "node"
            | "pod"
    ) || prefixes.iter().any(|prefix| rest.starts_with(prefix))
}

#[cfg(test)]
mod tests;
