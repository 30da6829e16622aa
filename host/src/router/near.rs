//! Paths that are nearly those of a better protected route.
//!
//! A route is chosen by the exact bytes of the canonical path. Servers behind us may be more lenient: they ignore case,
//! final slashes, dots and spaces, cut parameters (`/admin;x`), decode twice, or decode `%2F`. Where `/admin` needs a key
//! and everything else is open, `/ADMIN` would go to the open route, and be served as `/admin` by such a server. So a
//! path is refused that a lenient reader would give to a route of a better place with a plugin in its chain that the
//! chosen route lacks. Between routes of the same chain there is nothing to win, and nothing is looked for.

use std::collections::{BTreeSet, HashMap};

use regex::{Regex, RegexBuilder};

use super::index::{Index, Path};
use super::rank::place;
use crate::config::{PathMatch, Route};
use crate::path::hex;

#[derive(Debug, Clone)]
pub(super) struct Near {
    /// Routes by their paths as a lenient reader has them.
    index: Index,
    /// Patterns in any case, by rank.
    patterns: HashMap<usize, Regex>,
    /// By rank: the number of the first route whose place is no better, where one of those before it has a plugin that
    /// this route lacks.
    better: Vec<Option<usize>>,
    /// By rank: the number of its set of plugins.
    chains: Vec<usize>,
    /// By two numbers of such sets: whether the second has a plugin that the first lacks.
    lacks: Vec<Vec<bool>>,
    /// Whether a lenient reader changes the path of a route itself, so that even plain paths may be near to it.
    odd: bool,
}

impl Near {
    /// Indexes routes that are sorted by rank, the best first.
    pub(super) fn new(routes: &[&Route]) -> Self {
        let sets: Vec<BTreeSet<&str>> =
            routes.iter().map(|route| route.chain.iter().map(String::as_str).collect()).collect();
        let distinct: Vec<&BTreeSet<&str>> = sets.iter().collect::<BTreeSet<_>>().into_iter().collect();
        let chains: Vec<usize> =
            sets.iter().map(|set| distinct.binary_search(&set).expect("each set is among the distinct ones")).collect();
        let lacks: Vec<Vec<bool>> =
            distinct.iter().map(|mine| distinct.iter().map(|other| !other.is_subset(mine)).collect()).collect();
        let mut near = Self {
            index: Index::default(),
            patterns: HashMap::new(),
            better: better(routes, &chains, &lacks),
            chains,
            lacks,
            odd: false,
        };
        if near.better.iter().any(Option::is_some) {
            for (rank, route) in routes.iter().enumerate() {
                near.add(rank, route);
            }
        }
        near
    }

    fn add(&mut self, rank: usize, route: &Route) {
        let host = &route.matches.host;
        match &route.matches.path {
            PathMatch::Exact(path) => {
                let lenient = lenient(path);
                self.odd |= lenient != path.as_bytes();
                self.index.add(rank, host, Path::Exact(&lenient));
            }
            PathMatch::Prefix(prefix) => {
                let lenient = lenient(prefix);
                self.odd |= lenient != prefix.as_bytes();
                self.index.add(rank, host, Path::Prefix(&lenient));
            }
            PathMatch::Regex(pattern) => {
                self.odd = true;
                self.index.add(rank, host, Path::Pattern);
                // In any case a pattern is larger, perhaps too large; then it has to do as it is.
                let any_case = RegexBuilder::new(pattern.as_str()).case_insensitive(true).build();
                self.patterns.insert(rank, any_case.unwrap_or_else(|_| pattern.clone()));
            }
        }
    }

    /// A route of a better place than the chosen one's that the path is nearly one of, and that has a plugin which the
    /// chosen one lacks. `takes_the_rest` says whether a route takes the request but for its host and path.
    pub(super) fn better(
        &self,
        chosen: usize,
        host: &str,
        path: &str,
        mut takes_the_rest: impl FnMut(usize) -> bool,
    ) -> Option<usize> {
        let limit = (*self.better.get(chosen)?)?;
        if !self.odd && is_plain(path) {
            return None;
        }
        let lenient = lenient(path);
        let lacks = &self.lacks[self.chains[chosen]];
        let takes_path = |rank| match self.patterns.get(&rank) {
            Some(pattern) => {
                pattern.is_match(&String::from_utf8_lossy(if lenient.is_empty() { b"/" } else { &lenient }))
            }
            None => true,
        };
        self.index
            .first(host, &lenient, limit, |rank| lacks[self.chains[rank]] && takes_path(rank) && takes_the_rest(rank))
    }
}

/// For each route, how many are of a better place, where one of those has a plugin that it lacks. One that takes a
/// single path has none: who writes `/ADMIN` beside `/admin` means it.
fn better(routes: &[&Route], chains: &[usize], lacks: &[Vec<bool>]) -> Vec<Option<usize>> {
    let places: Vec<_> = routes.iter().map(|route| place(route)).collect();
    let mut out = Vec::with_capacity(routes.len());
    let mut limit = 0;
    let mut seen: BTreeSet<usize> = BTreeSet::new();
    for (rank, route) in routes.iter().enumerate() {
        if rank > 0 && places[rank] != places[rank - 1] {
            seen.extend(&chains[limit..rank]);
            limit = rank;
        }
        let exact = matches!(route.matches.path, PathMatch::Exact(_));
        let guarded = seen.iter().any(|chain| lacks[chains[rank]][*chain]);
        out.push((!exact && guarded).then_some(limit));
    }
    out
}

/// Whether no lenient reader would change a canonical path.
fn is_plain(path: &str) -> bool {
    let bytes = path.as_bytes();
    let odd = |byte: &u8| byte.is_ascii_uppercase() || matches!(byte, b'%' | b';');
    !bytes.iter().any(odd) && !bytes.ends_with(b"/") && !bytes.ends_with(b".") && !path.contains("./")
}

/// A canonical path as the most lenient reader has it: decoded until nothing is left to decode, in lower case, `\` for
/// `/`, cut at what is a query or a fragment then; each segment without its parameters, what follows a control
/// character, and dots and spaces at its end; dot segments resolved, empty ones and a final slash left out.
fn lenient(path: &str) -> Vec<u8> {
    let decoded = decoded(path.as_bytes());
    let end = decoded.iter().position(|byte| matches!(byte, b'?' | b'#')).unwrap_or(decoded.len());
    let mut out = Vec::with_capacity(end);
    for segment in decoded[..end].split(|byte| matches!(byte, b'/' | b'\\')) {
        let cut = |byte: &u8| *byte == b';' || byte.is_ascii_control();
        let segment = &segment[..segment.iter().position(cut).unwrap_or(segment.len())];
        match segment {
            b"." => continue,
            b".." => {
                let parent = out.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
                out.truncate(parent);
                continue;
            }
            _ => {}
        }
        let end = segment.iter().rposition(|byte| !matches!(byte, b'.' | b' ')).map_or(0, |last| last + 1);
        if end > 0 {
            out.push(b'/');
            out.extend_from_slice(&segment[..end]);
        }
    }
    out.make_ascii_lowercase();
    out
}

/// Percent-escapes decoded, and those that come of it too: in one pass, since only the last three bytes can become one.
fn decoded(path: &[u8]) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::with_capacity(path.len());
    for byte in path {
        out.push(*byte);
        while let [.., b'%', high, low] = out.as_slice() {
            let (Some(high), Some(low)) = (hex(*high), hex(*low)) else {
                break;
            };
            out.truncate(out.len() - 3);
            out.push(high << 4 | low);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_lenient_reader_sees_one_path_in_many() {
        for path in [
            "/admin",
            "/admin/",
            "/ADMIN",
            "/admin;a=b",
            "/admin;",
            "/admin%3Bx",
            "/admin.",
            "/admin%20",
            "/admin.%20.",
            "/%2561dmin",
            "/%25%36%31dmin",
            "/%252561dmin",
            "/x/%252e%252e/admin",
            "/x%2F..%2Fadmin",
            "/x%255C..%255Cadmin",
            "/admin%2500.txt",
            "/admin%3Fx",
            "/admin%23x",
            "/admin%2F",
            "/.%20/admin",
        ] {
            assert_eq!(lenient(path), b"/admin", "{path}");
            assert_eq!(is_plain(path), path == "/admin", "{path}");
        }
        assert_eq!(lenient("/"), b"");
        assert_eq!(lenient("/api../admin"), b"/api/admin");
        assert_eq!(lenient("/a%zz%"), b"/a%zz%");
    }

    proptest! {
        #[test]
        fn plain_paths_are_read_as_they_are(path in "(/[a-z0-9._~!,-]{1,5}){1,4}/?") {
            if is_plain(&path) && crate::path::canonical(&path, false).as_deref() == Ok(&path) {
                prop_assert_eq!(lenient(&path), path.as_bytes());
            }
        }

        #[test]
        fn any_text_is_read(text in ".{0,40}") {
            lenient(&text);
        }
    }
}
