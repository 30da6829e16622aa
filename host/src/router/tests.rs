//! Routes for the tests, written as short as a test reads best.

mod explain;
mod model;
mod policy;
mod table;

use http::Method;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use regex::Regex;

use super::*;
use crate::config::Match;

/// A route from a line: `name host path [METHOD,METHOD] [h:name=value] [q:name=value] [#priority] [+plugin] [keep]`. A
/// host is `*`, `*.suffix` or exact; a path is `=exact`, `~pattern` or a prefix. A value of `*` means that any will do, and
/// `~` begins a pattern.
fn route(line: &str) -> Route {
    let mut words = line.split_whitespace();
    let mut next = || words.next().unwrap();
    let name = next().to_owned();
    let host = match next() {
        "*" => HostMatch::Any,
        host => match host.strip_prefix('*') {
            Some(suffix) => HostMatch::Suffix(suffix.to_owned()),
            None => HostMatch::Exact(host.to_owned()),
        },
    };
    let path = next();
    let path = match (path.strip_prefix('='), path.strip_prefix('~')) {
        (Some(exact), _) => PathMatch::Exact(exact.to_owned()),
        (_, Some(pattern)) => PathMatch::Regex(anchored(pattern)),
        _ => PathMatch::Prefix(path.strip_suffix('/').unwrap_or(path).to_owned()),
    };
    let mut matches =
        Match { host, path, methods: Vec::new(), headers: Vec::new(), query: Vec::new(), encoded_slash: false };
    let (mut priority, mut chain) = (0, Vec::new());
    for word in words {
        if let Some(number) = word.strip_prefix('#') {
            priority = number.parse().unwrap();
        } else if let Some(plugin) = word.strip_prefix('+') {
            chain.push(plugin.to_owned());
        } else if let Some(header) = word.strip_prefix("h:") {
            let (name, value) = header.split_once('=').unwrap();
            matches.headers.push((HeaderName::from_bytes(name.as_bytes()).unwrap(), value_match(value)));
        } else if let Some(parameter) = word.strip_prefix("q:") {
            let (name, value) = parameter.split_once('=').unwrap();
            matches.query.push((name.to_owned(), value_match(value)));
        } else if word == "keep" {
            matches.encoded_slash = true;
        } else {
            matches.methods = word.split(',').map(|method| Method::from_bytes(method.as_bytes()).unwrap()).collect();
        }
    }
    Route {
        name,
        place: None,
        matches,
        priority,
        chain,
        chain_places: Vec::new(),
        upstream: "u".to_owned(),
        split: Vec::new(),
        split_by: None,
        mirror: None,
        rewrite: None,
        body_size: None,
        upgrade: Vec::new(),
        streaming: false,
    }
}

fn value_match(value: &str) -> ValueMatch {
    match (value, value.strip_prefix('~')) {
        ("*", _) => ValueMatch::Present,
        (_, Some(pattern)) => ValueMatch::Regex(anchored(pattern)),
        _ => ValueMatch::Exact(value.to_owned()),
    }
}

/// As the configuration compiles them.
fn anchored(pattern: &str) -> Regex {
    Regex::new(&format!(r"\A(?:{pattern})\z")).unwrap()
}

/// A router whose values are the names of the routes.
fn router(routes: &[Route]) -> Router<String> {
    Router::new(routes.iter().map(|route| (route, route.name.clone())))
}

/// A request: `METHOD host path[?query] [name=value]…`
struct Line {
    method: Method,
    host: String,
    path: String,
    query: Option<String>,
    headers: HeaderMap,
}

impl Line {
    fn new(line: &str) -> Self {
        let mut words = line.split_whitespace();
        let method = Method::from_bytes(words.next().unwrap().as_bytes()).unwrap();
        let host = words.next().unwrap().to_owned();
        let target = words.next().unwrap();
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (target, None),
        };
        let mut headers = HeaderMap::new();
        for word in words {
            let (name, value) = word.split_once('=').unwrap();
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        Self { method, host, path: path.to_owned(), query, headers }
    }

    fn asked(&self) -> Asked<'_> {
        Asked {
            method: &self.method,
            host: &self.host,
            path: &self.path,
            query: self.query.as_deref(),
            headers: &self.headers,
        }
    }
}

/// The name of the route, or the reason why there is none.
fn found(router: &Router<String>, line: &str) -> String {
    match router.find(Line::new(line).asked()) {
        Ok(name) => name.clone(),
        Err(NoRoute::NotFound) => "404".to_owned(),
        Err(NoRoute::MethodNotAllowed(allow)) => format!("405 {}", allow.to_str().unwrap()),
        Err(NoRoute::EncodedSlash) => "400 slash".to_owned(),
        Err(NoRoute::Ambiguous(near)) => format!("400 near {near}"),
    }
}
