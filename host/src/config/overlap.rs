//! Which of two routes goes first, and what follows: routes that no order decides between, and routes that nothing
//! reaches.

use std::collections::BTreeMap;

use http::Method;

use super::pattern::{self, Budget, Intersection, Texts};
use super::problem::Problem;
use super::{HostMatch, Match, PathMatch, Route, ValueMatch};

/// After so many pairs of routes, the others are not looked for.
const ENOUGH: usize = 300;

/// How early a route is looked at: of two that take a request, the one with the greater rank gets it. The order of the
/// file has no part in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    priority: i32,
    /// Exact, then a wildcard with more labels, then any.
    host: (u8, usize),
    /// Exact, then a prefix with more segments, then a regular expression with a longer literal beginning.
    path: (u8, usize),
    methods: bool,
    /// Headers and parameters of the query.
    matchers: usize,
}

impl Rank {
    /// The rank of a route with these matches and this priority.
    #[must_use]
    pub fn of(priority: i32, matches: &Match) -> Self {
        Self {
            priority,
            host: match &matches.host {
                HostMatch::Exact(_) => (2, 0),
                HostMatch::Suffix(suffix) => (1, suffix.matches('.').count()),
                HostMatch::Any => (0, 0),
            },
            path: match &matches.path {
                PathMatch::Exact(_) => (2, 0),
                PathMatch::Prefix(prefix) => (1, prefix.matches('/').count()),
                PathMatch::Regex(regex) => (0, pattern::literal_prefix(regex).len()),
            },
            methods: !matches.methods.is_empty(),
            matchers: matches.headers.len() + matches.query.len(),
        }
    }
}

/// An error for each two routes of equal rank that take a request in common, a warning for each route whose requests
/// all go to one of greater rank.
pub(crate) fn check(routes: &[Route]) -> Vec<Problem> {
    let ranked: Vec<Ranked<'_>> = routes.iter().map(Ranked::new).collect();
    let mut problems = ambiguous(&ranked);
    problems.extend(unreachable(&ranked));
    problems
}

/// A route with what its comparisons need.
struct Ranked<'r> {
    route: &'r Route,
    rank: Rank,
    /// The path or the prefix; what every path of a regular expression begins with.
    beginning: Vec<u8>,
}

impl<'r> Ranked<'r> {
    fn new(route: &'r Route) -> Self {
        let beginning = match &route.matches.path {
            PathMatch::Exact(path) | PathMatch::Prefix(path) => path.clone().into_bytes(),
            PathMatch::Regex(regex) => pattern::literal_prefix(regex),
        };
        Self { route, rank: Rank::of(route.priority, &route.matches), beginning }
    }
}

fn ambiguous(routes: &[Ranked<'_>]) -> Vec<Problem> {
    // Routes of one rank with other hosts, paths, prefixes or literal beginnings of one length have nothing in common.
    let mut groups: BTreeMap<(Rank, &str, &[u8]), Vec<&Route>> = BTreeMap::new();
    for ranked in routes {
        let host = match &ranked.route.matches.host {
            HostMatch::Exact(host) | HostMatch::Suffix(host) => host,
            HostMatch::Any => "",
        };
        groups.entry((ranked.rank, host, &ranked.beginning)).or_default().push(ranked.route);
    }
    let mut budget = Budget::new();
    let mut problems = Vec::new();
    for group in groups.values() {
        for (index, second) in group.iter().enumerate() {
            for first in &group[..index] {
                if let Some(example) = overlap(&first.matches, &second.matches, &mut budget) {
                    problems.push(ambiguity(first, second, example));
                }
                if problems.len() > ENOUGH {
                    return problems;
                }
            }
        }
    }
    problems
}

fn ambiguity(a: &Route, b: &Route, example: Option<String>) -> Problem {
    let line = |route: &Route| route.place.as_ref().map(|place| (place.line, place.column));
    let (first, second) = if line(a) <= line(b) { (a, b) } else { (b, a) };
    let both = match example {
        Some(path) => format!("the routes {:?} and {:?} both take {path}", first.name, second.name),
        None => format!("the routes {:?} and {:?} can take the same request", first.name, second.name),
    };
    let mut problem = Problem::error(format!("{both}, and neither goes first"))
        .help("give one of them a higher priority, or make their hosts, paths, methods, headers or queries differ");
    if let Some(place) = &second.place {
        problem = problem.at(place.clone(), format!("route.{}", second.name));
    }
    match &first.place {
        Some(place) => problem.note("the other route is here", place.clone()),
        None => problem,
    }
}

/// Whether two matches of one rank, host and path have a request in common, and a path of one if that is not clear
/// from what is written. Two values of one header or parameter count as apart, so that routes can be chosen between by
/// them; a request that repeats the field with both goes to the route whose name is first.
fn overlap(a: &Match, b: &Match, budget: &mut Budget) -> Option<Option<String>> {
    // Of one rank, either both or neither name methods.
    let head = || takes(a, &Method::HEAD) && takes(b, &Method::HEAD);
    let methods = a.methods.is_empty() || b.methods.iter().any(|method| takes(a, method)) || head();
    let mut apart = |a: &ValueMatch, b: &ValueMatch| match (a, b) {
        (ValueMatch::Exact(a), ValueMatch::Exact(b)) => a != b,
        (ValueMatch::Exact(text), ValueMatch::Regex(regex)) | (ValueMatch::Regex(regex), ValueMatch::Exact(text)) => {
            !regex.is_match(text)
        }
        (ValueMatch::Regex(a), ValueMatch::Regex(b)) => {
            pattern::intersection(a, b, Texts::Values, budget) == Intersection::Empty
        }
        (ValueMatch::Present, _) | (_, ValueMatch::Present) => false,
    };
    let headers = a.headers.iter().any(|(x, v)| b.headers.iter().any(|(y, w)| x == y && apart(v, w)));
    let query = a.query.iter().any(|(x, v)| b.query.iter().any(|(y, w)| x == y && apart(v, w)));
    if !methods || headers || query {
        return None;
    }
    match (&a.path, &b.path) {
        (PathMatch::Regex(x), PathMatch::Regex(y)) => match pattern::intersection(x, y, Texts::Paths, budget) {
            Intersection::Empty => None,
            Intersection::Perhaps => Some(None),
            Intersection::Text(path) => Some(Some(path)),
        },
        _ => Some(None),
    }
}

/// Whether a method is among those of a match. `HEAD` follows `GET`.
fn takes(matches: &Match, method: &Method) -> bool {
    matches.methods.contains(method) || (*method == Method::HEAD && matches.methods.contains(&Method::GET))
}

fn unreachable(routes: &[Ranked<'_>]) -> Vec<Problem> {
    // An exact path covers no other, so that the many routes of a large file are not all compared with each other.
    let mut wide: Vec<&Ranked<'_>> = Vec::new();
    let mut exact: BTreeMap<&[u8], Vec<&Ranked<'_>>> = BTreeMap::new();
    for ranked in routes {
        match &ranked.route.matches.path {
            PathMatch::Exact(_) => exact.entry(&ranked.beginning).or_default().push(ranked),
            PathMatch::Prefix(_) | PathMatch::Regex(_) => wide.push(ranked),
        }
    }
    let mut problems = Vec::new();
    for ranked in routes {
        let same = match &ranked.route.matches.path {
            PathMatch::Exact(_) => exact.get(ranked.beginning.as_slice()).map_or(&[][..], Vec::as_slice),
            PathMatch::Prefix(_) | PathMatch::Regex(_) => &[],
        };
        let before = wide.iter().chain(same).filter(|other| other.rank > ranked.rank && covers(other, ranked));
        // The one that goes first of all is the one to name.
        if let Some(first) = before.max_by_key(|other| other.rank) {
            problems.push(shadow(first.route, ranked.route));
        }
    }
    problems
}

fn shadow(first: &Route, route: &Route) -> Problem {
    let message =
        format!("no request reaches the route {:?}: {:?} goes first and takes them all", route.name, first.name);
    let mut problem = Problem::warning(message).help("give it a higher priority, or remove it");
    if let Some(place) = &route.place {
        problem = problem.at(place.clone(), format!("route.{}", route.name));
    }
    match &first.place {
        Some(place) => problem.note("the route that goes first is here", place.clone()),
        None => problem,
    }
}

/// Whether one route surely takes every request that the other one takes.
fn covers(first: &Ranked<'_>, other: &Ranked<'_>) -> bool {
    let (wide, narrow) = (&first.route.matches, &other.route.matches);
    let host = match (&wide.host, &narrow.host) {
        (HostMatch::Any, _) => true,
        (HostMatch::Exact(wide), HostMatch::Exact(narrow)) => wide == narrow,
        (HostMatch::Suffix(wide), HostMatch::Exact(narrow) | HostMatch::Suffix(narrow)) => {
            narrow.ends_with(wide.as_str())
        }
        _ => false,
    };
    let methods = wide.methods.is_empty()
        || (!narrow.methods.is_empty() && narrow.methods.iter().all(|method| takes(wide, method)));
    // A request with `%2F` in its path may be meant for the narrow one alone.
    let slash = wide.encoded_slash || !narrow.encoded_slash;
    host && methods
        && slash
        && covers_path(&wide.path, &narrow.path, &other.beginning)
        && wide.headers.iter().all(|(name, value)| narrow.headers.iter().any(|(n, v)| n == name && implies(v, value)))
        && wide.query.iter().all(|(name, value)| narrow.query.iter().any(|(n, v)| n == name && implies(v, value)))
}

fn covers_path(wide: &PathMatch, narrow: &PathMatch, beginning: &[u8]) -> bool {
    let below = |prefix: &str, path: &[u8]| {
        path.strip_prefix(prefix.as_bytes()).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
    };
    match (wide, narrow) {
        (PathMatch::Exact(wide), PathMatch::Exact(narrow)) => wide == narrow,
        (PathMatch::Prefix(wide), PathMatch::Exact(narrow) | PathMatch::Prefix(narrow)) => {
            below(wide, narrow.as_bytes())
        }
        // What follows the literal beginning is unknown: the border of the segment must be in it.
        (PathMatch::Prefix(wide), PathMatch::Regex(_)) => {
            wide.is_empty() || beginning.strip_prefix(wide.as_bytes()).is_some_and(|rest| rest.starts_with(b"/"))
        }
        (PathMatch::Regex(wide), PathMatch::Exact(narrow)) => wide.is_match(narrow),
        (PathMatch::Regex(wide), PathMatch::Regex(narrow)) => wide.as_str() == narrow.as_str(),
        _ => false,
    }
}

/// Whether every value that one matcher takes is taken by another.
fn implies(narrow: &ValueMatch, wide: &ValueMatch) -> bool {
    match (narrow, wide) {
        (_, ValueMatch::Present) => true,
        (ValueMatch::Exact(narrow), ValueMatch::Exact(wide)) => narrow == wide,
        (ValueMatch::Exact(narrow), ValueMatch::Regex(wide)) => wide.is_match(narrow),
        (ValueMatch::Regex(narrow), ValueMatch::Regex(wide)) => narrow.as_str() == wide.as_str(),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
