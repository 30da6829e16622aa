//! What puts one route before another, in words. The order itself is [`Rank`].

use std::fmt;

use crate::config::{HostMatch, Match, PathMatch, Rank, Route};

/// What puts one route before another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Criterion {
    /// The higher priority.
    Priority,
    /// The more specific host.
    Host,
    /// The more specific path.
    Path,
    /// That it names methods.
    Method,
    /// The number of headers and query parameters that it asks for.
    Conditions,
    /// Nothing but the name: a mistake in the configuration where both take the same requests.
    Name,
}

impl Criterion {
    /// What makes the difference between two routes.
    pub(super) fn between(a: &Route, b: &Route) -> Self {
        let host = |route: &Route| Rank::of(0, &bare(route.matches.host.clone(), PathMatch::Prefix(String::new())));
        let path = |route: &Route| Rank::of(0, &bare(HostMatch::Any, route.matches.path.clone()));
        let conditions = |route: &Route| route.matches.headers.len() + route.matches.query.len();
        if a.priority != b.priority {
            Self::Priority
        } else if host(a) != host(b) {
            Self::Host
        } else if path(a) != path(b) {
            Self::Path
        } else if a.matches.methods.is_empty() != b.matches.methods.is_empty() {
            Self::Method
        } else if conditions(a) != conditions(b) {
            Self::Conditions
        } else {
            Self::Name
        }
    }
}

/// The part of a route's rank that says where it is, whatever else it asks for.
pub(super) fn place(route: &Route) -> Rank {
    Rank::of(route.priority, &bare(route.matches.host.clone(), route.matches.path.clone()))
}

fn bare(host: HostMatch, path: PathMatch) -> Match {
    Match { host, path, methods: Vec::new(), headers: Vec::new(), query: Vec::new(), encoded_slash: false }
}

impl fmt::Display for Criterion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Priority => "it has the higher priority",
            Self::Host => "its host is more specific",
            Self::Path => "its path is more specific",
            Self::Method => "it names methods",
            Self::Conditions => "it has more header and query conditions",
            Self::Name => "they are equal but for their names",
        })
    }
}
