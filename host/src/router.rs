//! Host, path, method, headers and query choose one route.
//!
//! The order in which routes are looked at is a property of each route alone ([`Rank`]), never of where it stands in the
//! file: the routes are sorted once, at load, and the first one that takes a request is its route. The index only finds
//! the few candidates without looking at all.

mod index;
mod near;
mod query;
mod rank;

use std::fmt;

use http::Method;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::config::{HostMatch, PathMatch, Rank, Route, ValueMatch};
use crate::error::{Error, Reason};
use crate::path::has_encoded_slash;
use index::Index;
use near::Near;
pub use rank::Criterion;

/// What a request is matched by.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// As received.
    pub method: &'a Method,
    /// In normal form, without a port: [`Authority::host`](crate::authority::Authority::host).
    pub host: &'a str,
    /// Canonical: [`path::canonical`](crate::path::canonical), with escaped slashes where [`Router::keeps_encoded_slash`].
    pub path: &'a str,
    /// What follows `?`, byte for byte.
    pub query: Option<&'a str>,
    /// As received.
    pub headers: &'a HeaderMap,
}

/// All routes of a configuration, each with what the caller keeps for it.
#[derive(Debug, Clone)]
pub struct Router<T> {
    /// The best first: a route's place here is its rank.
    routes: Vec<Ranked<T>>,
    index: Index,
    near: Near,
    encoded_slash: bool,
}

#[derive(Debug, Clone)]
struct Ranked<T> {
    route: Route,
    value: T,
}

/// Why no route takes a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoRoute {
    /// No route takes anything like it.
    NotFound,
    /// Only the method is wrong; the value is for `Allow`.
    MethodNotAllowed(HeaderValue),
    /// The path has an escaped slash in it, and its route does not let that through.
    EncodedSlash,
    /// A route takes the path, but read as a lenient server reads it, it belongs to a better route whose chain has
    /// plugins that the first one's lacks. The name is that of the better route.
    Ambiguous(Box<str>),
}

impl From<NoRoute> for Error {
    fn from(no_route: NoRoute) -> Self {
        match no_route {
            NoRoute::NotFound => Reason::NoRoute.into(),
            NoRoute::MethodNotAllowed(allow) => Reason::MethodNotAllowed(allow).into(),
            NoRoute::EncodedSlash => crate::path::PathError::EncodedSlash.into(),
            NoRoute::Ambiguous(near) => {
                Self::because(Reason::AmbiguousPath, format!("the path is nearly one of route {near:?}"))
            }
        }
    }
}

impl<T> Router<T> {
    /// Sorts and indexes routes. Two routes of equal rank that overlap are a mistake which the configuration reports;
    /// here their names decide, so that the answer is one and the same anyway.
    pub fn new<'a>(routes: impl IntoIterator<Item = (&'a Route, T)>) -> Self {
        let mut routes: Vec<(&Route, T)> = routes.into_iter().collect();
        routes.sort_by(|(a, _), (b, _)| {
            let rank = |route: &Route| Rank::of(route.priority, &route.matches);
            rank(b).cmp(&rank(a)).then_with(|| a.name.cmp(&b.name))
        });
        let sorted: Vec<&Route> = routes.iter().map(|(route, _)| *route).collect();
        let index = Index::new(sorted.iter().map(|route| &route.matches));
        let near = Near::new(&sorted);
        let encoded_slash = sorted.iter().any(|route| route.matches.encoded_slash);
        let routes = routes.into_iter().map(|(route, value)| Ranked { route: route.clone(), value }).collect();
        Self { routes, index, near, encoded_slash }
    }

    /// Whether any route lets `%2F` through, so that the path has to be kept with it until the route is known.
    #[must_use]
    pub fn keeps_encoded_slash(&self) -> bool {
        self.encoded_slash
    }

    /// The route of a request: that of the highest precedence which takes it.
    ///
    /// # Errors
    /// When there is none, or when it is not safe to say which.
    pub fn find(&self, asked: Asked<'_>) -> Result<&T, NoRoute> {
        self.rank_of(asked).map(|rank| &self.routes[rank].value)
    }

    /// The route that a CORS preflight asks about: one that takes the method which it names (Fetch, section 4.8). None
    /// for every other request.
    #[must_use]
    pub fn preflight(&self, asked: Asked<'_>) -> Option<&T> {
        if *asked.method != Method::OPTIONS || !asked.headers.contains_key(header::ORIGIN) {
            return None;
        }
        let method = asked.headers.get(header::ACCESS_CONTROL_REQUEST_METHOD)?;
        let method = Method::from_bytes(method.as_bytes()).ok()?;
        self.find(Asked { method: &method, ..asked }).ok()
    }

    /// What each route says to a request, in the order in which they are looked at.
    pub fn explain(&self, asked: Asked<'_>) -> Vec<(&str, Verdict<'_>)> {
        let found = self.rank_of(asked);
        let first = self.routes.iter().position(|route| route.refuses(asked).is_none());
        let verdict = |(rank, ranked)| -> Verdict<'_> {
            let ranked: &Ranked<T> = ranked;
            if let Some(refusal) = ranked.refuses(asked) {
                return refusal;
            }
            if let Some(winner) = first.filter(|winner| *winner != rank) {
                let winner = &self.routes[winner].route;
                let criterion = Criterion::between(winner, &ranked.route);
                return Verdict::Outranked { winner: &winner.name, criterion };
            }
            match &found {
                Err(NoRoute::EncodedSlash) => Verdict::EncodedSlash,
                Err(NoRoute::Ambiguous(near)) => Verdict::Ambiguous(near.clone()),
                Ok(_) | Err(_) => Verdict::Wins,
            }
        };
        let names = self.routes.iter().map(|ranked| ranked.route.name.as_str());
        names.zip(self.routes.iter().enumerate().map(verdict)).collect()
    }

    fn rank_of(&self, asked: Asked<'_>) -> Result<usize, NoRoute> {
        let takes = |rank: usize| self.routes[rank].takes(asked);
        let Some(rank) = self.index.first(asked.host, asked.path.as_bytes(), usize::MAX, takes) else {
            return Err(self.allowed(asked).map_or(NoRoute::NotFound, NoRoute::MethodNotAllowed));
        };
        let route = &self.routes[rank];
        if self.encoded_slash && !route.route.matches.encoded_slash && has_encoded_slash(asked.path) {
            return Err(NoRoute::EncodedSlash);
        }
        let takes_the_rest = |rank: usize| self.routes[rank].takes_apart_from_path(asked);
        if let Some(near) = self.near.better(rank, asked.host, asked.path, takes_the_rest) {
            return Err(NoRoute::Ambiguous(self.routes[near].route.name.as_str().into()));
        }
        Ok(rank)
    }

    /// The methods of the routes that would take the request if it had one of them, as the value of `Allow`.
    fn allowed(&self, asked: Asked<'_>) -> Option<HeaderValue> {
        let mut methods: Vec<&str> = Vec::new();
        self.index.first(asked.host, asked.path.as_bytes(), usize::MAX, |rank| {
            let route = &self.routes[rank];
            if route.takes_path(asked.path) && route.takes_fields(asked) {
                methods.extend(route.route.matches.methods.iter().map(Method::as_str));
            }
            false
        });
        if methods.contains(&"GET") {
            methods.push("HEAD");
        }
        methods.sort_unstable();
        methods.dedup();
        if methods.is_empty() { None } else { HeaderValue::from_str(&methods.join(", ")).ok() }
    }
}

impl<T> Ranked<T> {
    /// Whether it takes a request that the index offered: host and path are right then, a pattern's aside.
    fn takes(&self, asked: Asked<'_>) -> bool {
        let pattern_takes = match &self.route.matches.path {
            PathMatch::Regex(pattern) => pattern.is_match(asked.path),
            PathMatch::Exact(_) | PathMatch::Prefix(_) => true,
        };
        pattern_takes && self.takes_apart_from_path(asked)
    }

    fn takes_apart_from_path(&self, asked: Asked<'_>) -> bool {
        self.takes_method(asked.method) && self.takes_fields(asked)
    }

    fn takes_fields(&self, asked: Asked<'_>) -> bool {
        self.route.matches.headers.iter().all(|(name, value)| takes_header(asked.headers, name, value))
            && self.route.matches.query.iter().all(|(name, value)| query::takes(asked.query, name, value))
    }

    /// `HEAD` follows `GET`.
    fn takes_method(&self, method: &Method) -> bool {
        let methods = &self.route.matches.methods;
        methods.is_empty() || methods.contains(method) || (*method == Method::HEAD && methods.contains(&Method::GET))
    }

    fn takes_host(&self, host: &str) -> bool {
        match &self.route.matches.host {
            HostMatch::Any => true,
            HostMatch::Exact(name) => name == host,
            HostMatch::Suffix(suffix) => host.len() > suffix.len() && host.ends_with(suffix.as_str()),
        }
    }

    fn takes_path(&self, path: &str) -> bool {
        match &self.route.matches.path {
            PathMatch::Exact(exact) => exact == path,
            PathMatch::Prefix(prefix) => {
                path.strip_prefix(prefix.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
            PathMatch::Regex(pattern) => pattern.is_match(path),
        }
    }

    /// The first reason not to take a request, without the index.
    fn refuses(&self, asked: Asked<'_>) -> Option<Verdict<'_>> {
        if !self.takes_host(asked.host) {
            return Some(Verdict::Host);
        }
        if !self.takes_path(asked.path) {
            return Some(Verdict::Path);
        }
        if !self.takes_method(asked.method) {
            return Some(Verdict::Method);
        }
        let header = self.route.matches.headers.iter().find(|(name, value)| !takes_header(asked.headers, name, value));
        let query = || self.route.matches.query.iter().find(|(name, value)| !query::takes(asked.query, name, value));
        header.map(|(name, _)| Verdict::Header(name)).or_else(|| query().map(|(name, _)| Verdict::Query(name)))
    }
}

/// Whether any field of the name has the value.
fn takes_header(headers: &HeaderMap, name: &HeaderName, expected: &ValueMatch) -> bool {
    let mut fields = headers.get_all(name).iter().map(HeaderValue::as_bytes);
    match expected {
        ValueMatch::Present => fields.next().is_some(),
        ValueMatch::Exact(exact) => fields.any(|value| value == exact.as_bytes()),
        ValueMatch::Regex(pattern) => {
            fields.any(|value| str::from_utf8(value).is_ok_and(|value| pattern.is_match(value)))
        }
    }
}

/// What one route says to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// The request is its.
    Wins,
    /// It takes the request as well, and another one goes before it.
    Outranked {
        /// The name of that one.
        winner: &'a str,
        /// Why it does.
        criterion: Criterion,
    },
    /// It is for another host.
    Host,
    /// It is for another path.
    Path,
    /// It is for another method.
    Method,
    /// The first header that does not match.
    Header(&'a HeaderName),
    /// The first query parameter that does not match.
    Query(&'a str),
    /// It would win, and does not let the `%2F` of the path through.
    EncodedSlash,
    /// It would win, and the path is nearly one of this better protected route.
    Ambiguous(Box<str>),
}

impl fmt::Display for Verdict<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wins => f.write_str("takes it"),
            Self::Outranked { winner, criterion } => {
                write!(f, "would take it, but {winner:?} goes first: {criterion}")
            }
            Self::Host => f.write_str("another host"),
            Self::Path => f.write_str("another path"),
            Self::Method => f.write_str("another method"),
            Self::Header(name) => write!(f, "header {:?} does not match", name.as_str()),
            Self::Query(name) => write!(f, "query parameter {name:?} does not match"),
            Self::EncodedSlash => {
                f.write_str("refuses it: the path has an escaped slash, and encoded-slash is not set")
            }
            Self::Ambiguous(near) => {
                write!(
                    f,
                    "refuses it: a lenient server could read the path as one of {near:?}, which has other plugins"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests;
