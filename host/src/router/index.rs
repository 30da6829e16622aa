//! From host and path to the routes that may take them, without looking at all of them.

use std::collections::HashMap;

use crate::config::{HostMatch, Match, PathMatch};

/// Ranks of routes by host, then by path. Every list is in ascending order, the best first.
#[derive(Debug, Clone, Default)]
pub(super) struct Index {
    exact: HashMap<Box<str>, Paths>,
    /// By suffix with its first dot.
    suffixes: HashMap<Box<str>, Paths>,
    /// The most dots that a suffix has.
    most_dots: usize,
    any: Paths,
}

#[derive(Debug, Clone)]
struct Paths {
    /// The best rank of all in here.
    best: usize,
    exact: HashMap<Box<[u8]>, Vec<usize>>,
    /// A tree over the segments of prefixes; the first node is the root, the prefix of everything.
    nodes: Vec<Node>,
    patterns: Vec<usize>,
}

#[derive(Debug, Clone, Default)]
struct Node {
    children: HashMap<Box<[u8]>, usize>,
    routes: Vec<usize>,
}

impl Default for Paths {
    fn default() -> Self {
        Self { best: usize::MAX, exact: HashMap::new(), nodes: vec![Node::default()], patterns: Vec::new() }
    }
}

impl Index {
    /// Indexes matches that come in order of rank.
    pub(super) fn new<'a>(matches: impl Iterator<Item = &'a Match>) -> Self {
        let mut index = Self::default();
        for (rank, matches) in matches.enumerate() {
            let path = match &matches.path {
                PathMatch::Exact(path) => Path::Exact(path.as_bytes()),
                PathMatch::Prefix(prefix) => Path::Prefix(prefix.as_bytes()),
                PathMatch::Regex(_) => Path::Pattern,
            };
            index.add(rank, &matches.host, path);
        }
        index
    }

    /// Adds a route; ranks must come in ascending order.
    pub(super) fn add(&mut self, rank: usize, host: &HostMatch, path: Path<'_>) {
        let paths = match host {
            HostMatch::Any => &mut self.any,
            HostMatch::Exact(name) => self.exact.entry(name.as_str().into()).or_default(),
            HostMatch::Suffix(suffix) => {
                self.most_dots = self.most_dots.max(suffix.matches('.').count());
                self.suffixes.entry(suffix.as_str().into()).or_default()
            }
        };
        paths.add(rank, path);
    }

    /// The best route before `limit` that takes the request. `takes` is asked about those whose host and path are right,
    /// and whose pattern may be.
    pub(super) fn first(
        &self,
        host: &str,
        path: &[u8],
        limit: usize,
        mut takes: impl FnMut(usize) -> bool,
    ) -> Option<usize> {
        let mut best = limit;
        if let Some(paths) = self.exact.get(host) {
            paths.search(path, &mut best, &mut takes);
        }
        // A suffix takes one label or more, so that the first byte is never its dot.
        let dots = host.bytes().enumerate().skip(1).filter(|(_, byte)| *byte == b'.').map(|(at, _)| at);
        if self.most_dots > 0 {
            for dot in dots.rev().take(self.most_dots) {
                if let Some(paths) = self.suffixes.get(&host[dot..]) {
                    paths.search(path, &mut best, &mut takes);
                }
            }
        }
        self.any.search(path, &mut best, &mut takes);
        (best < limit).then_some(best)
    }
}

/// A path as the index keeps it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Path<'a> {
    Exact(&'a [u8]),
    /// Without a final slash.
    Prefix(&'a [u8]),
    Pattern,
}

impl Paths {
    fn add(&mut self, rank: usize, path: Path<'_>) {
        self.best = self.best.min(rank);
        let list = match path {
            Path::Exact(path) => self.exact.entry(path.into()).or_default(),
            Path::Pattern => &mut self.patterns,
            Path::Prefix(prefix) => {
                let mut node = 0;
                for segment in segments(prefix) {
                    let next = self.nodes.len();
                    let child = *self.nodes[node].children.entry(segment.into()).or_insert(next);
                    if child == next {
                        self.nodes.push(Node::default());
                    }
                    node = child;
                }
                &mut self.nodes[node].routes
            }
        };
        list.push(rank);
    }

    fn search(&self, path: &[u8], best: &mut usize, takes: &mut impl FnMut(usize) -> bool) {
        if self.best >= *best {
            return;
        }
        let mut consider = |routes: &[usize]| {
            if let Some(rank) = routes.iter().take_while(|rank| **rank < *best).find(|rank| takes(**rank)) {
                *best = *rank;
            }
        };
        if let Some(routes) = self.exact.get(path) {
            consider(routes);
        }
        let mut node = &self.nodes[0];
        consider(&node.routes);
        for segment in segments(path) {
            let Some(child) = node.children.get(segment) else { break };
            node = &self.nodes[*child];
            consider(&node.routes);
        }
        consider(&self.patterns);
    }
}

/// What stands between the slashes, after the first one: nothing in the empty path, one empty segment in `/`.
fn segments(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').skip(1)
}
