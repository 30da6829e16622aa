//! The router against the simplest thing that can be right.

use std::cmp::Reverse;

use proptest::prelude::*;
use proptest::sample::select;

use super::*;

/// The order of B1 as a key, written down from its words.
fn key(route: &Route) -> impl Ord + use<> {
    let matches = &route.matches;
    let host = match &matches.host {
        HostMatch::Exact(_) => (0, Reverse(0)),
        HostMatch::Suffix(suffix) => (1, Reverse(suffix.len())),
        HostMatch::Any => (2, Reverse(0)),
    };
    let path = match &matches.path {
        PathMatch::Exact(_) => (0, Reverse(0)),
        PathMatch::Prefix(prefix) => (1, Reverse(prefix.split('/').filter(|segment| !segment.is_empty()).count())),
        // All patterns here are literal up to the first of these.
        PathMatch::Regex(pattern) => {
            let literal = pattern.as_str().strip_prefix(r"\A(?:").unwrap();
            (2, Reverse(literal.find(['[', '(', '.', ')']).unwrap()))
        }
    };
    let conditions = Reverse(matches.headers.len() + matches.query.len());
    (Reverse(route.priority), host, path, matches.methods.is_empty(), conditions, route.name.clone())
}

fn takes(route: &Route, line: &Line, with_method: bool) -> bool {
    let matches = &route.matches;
    let host = match &matches.host {
        HostMatch::Any => true,
        HostMatch::Exact(host) => *host == line.host,
        HostMatch::Suffix(suffix) => line.host.strip_suffix(suffix.as_str()).is_some_and(|label| !label.is_empty()),
    };
    let segments = |path: &str| path.split('/').map(str::to_owned).collect::<Vec<_>>();
    let path = match &matches.path {
        PathMatch::Exact(path) => *path == line.path,
        PathMatch::Prefix(prefix) => segments(&line.path).starts_with(&segments(prefix)),
        PathMatch::Regex(pattern) => pattern.is_match(&line.path),
    };
    let methods = &matches.methods;
    let method = methods.is_empty()
        || methods.contains(&line.method)
        || (line.method == Method::HEAD && methods.contains(&Method::GET));
    let value = |expected: &ValueMatch, value: &str| match expected {
        ValueMatch::Present => true,
        ValueMatch::Exact(exact) => exact == value,
        ValueMatch::Regex(pattern) => pattern.is_match(value),
    };
    let headers = matches.headers.iter().all(|(name, expected)| {
        line.headers.get_all(name).iter().any(|found| value(expected, found.to_str().unwrap()))
    });
    let query = matches.query.iter().all(|(name, expected)| {
        let query = line.query.as_deref().unwrap_or_default();
        query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .any(|(key, found)| key == name && value(expected, found))
    });
    host && path && (method || !with_method) && headers && query
}

/// All chains are empty, so that no route is better protected than another.
fn naive(routes: &[Route], line: &Line) -> String {
    let best = routes.iter().filter(|route| takes(route, line, true)).min_by(|a, b| key(a).cmp(&key(b)));
    if let Some(best) = best {
        return best.name.clone();
    }
    let mut methods: Vec<&str> = routes
        .iter()
        .filter(|route| takes(route, line, false))
        .flat_map(|route| route.matches.methods.iter().map(Method::as_str))
        .collect();
    if methods.contains(&"GET") {
        methods.push("HEAD");
    }
    methods.sort_unstable();
    methods.dedup();
    if methods.is_empty() { "404".to_owned() } else { format!("405 {}", methods.join(", ")) }
}

const HOSTS: [&str; 6] = ["*", "a.test", "b.a.test", "*.a.test", "*.test", "*.b.a.test"];
const PATHS: [&str; 14] = [
    "/",
    "/a",
    "/a/b",
    "/a/b/c",
    "/ab",
    "=/",
    "=/a",
    "=/a/",
    "=/a/b",
    "=/ab",
    "~/a/[a-z]",
    "~/[ab]+",
    "~/a.*",
    "~/a/(b|c)",
];

fn routes() -> impl Strategy<Value = Vec<Route>> {
    let conditions = select(vec!["", "h:x=1", "h:x=*", "q:v=1", "q:v=*", "h:x=1 q:v=1", "h:x=~[12]"]);
    let one = (
        select(HOSTS.to_vec()),
        select(PATHS.to_vec()),
        select(vec!["", "", "GET", "POST", "GET,POST", "DELETE"]),
        conditions,
        select(vec!["", "", "", "#1", "#-1"]),
    );
    prop::collection::vec(one, 0..24).prop_map(|routes| {
        let line = |(at, (host, path, methods, conditions, priority))| {
            route(&format!("r{at:02} {host} {path} {methods} {conditions} {priority}"))
        };
        routes.into_iter().enumerate().map(line).collect()
    })
}

fn request() -> impl Strategy<Value = String> {
    let method = select(vec!["GET", "HEAD", "POST", "DELETE", "PUT"]);
    let host = select(vec!["a.test", "b.a.test", "c.b.a.test", "test", "x.test", "other", "[::1]"]);
    let path =
        select(vec!["/", "/a", "/a/", "/a/b", "/a/b/", "/a/b/c", "/a/b/c/d", "/ab", "/abc", "/b", "/a/c", "/a/x"]);
    let rest = select(vec!["", "?v=1", "?v=2", "?w=1&v=1"]);
    let header = select(vec!["", "x=1", "x=2", "x=3", "x=3 x=1"]);
    (method, host, path, rest, header)
        .prop_map(|(method, host, path, query, header)| format!("{method} {host} {path}{query} {header}"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn the_router_finds_what_the_naive_one_finds(routes in routes(), requests in prop::collection::vec(request(), 24)) {
        let router = router(&routes);
        for request in requests {
            let line = Line::new(&request);
            prop_assert_eq!(found(&router, &request), naive(&routes, &line), "{}", request);

            let explained = router.explain(line.asked());
            prop_assert_eq!(explained.len(), routes.len());
            let winners: Vec<&str> =
                explained.iter().filter(|(_, verdict)| *verdict == Verdict::Wins).map(|(name, _)| *name).collect();
            let winner = router.find(line.asked()).ok().map(String::as_str);
            prop_assert_eq!(winners, winner.into_iter().collect::<Vec<_>>());
        }
    }
}

/// Every order of a list of routes gives the same answers: a thousand of them, by a generator of our own with a fixed
/// seed.
#[test]
fn the_order_of_the_file_decides_nothing() {
    let mut routes: Vec<Route> = Vec::new();
    for (at, host) in HOSTS.iter().enumerate() {
        for (number, path) in PATHS.iter().enumerate() {
            let methods = ["GET", "", "POST"][(at + number) % 3];
            // Chains differ, so that near paths are watched as well.
            let chain = ["", "+keys", "+keys +log"][(at * 5 + number) % 3];
            routes.push(route(&format!("r{at}-{number:02} {host} {path} {methods} {chain}")));
        }
    }
    let requests: Vec<String> = ["a.test", "b.a.test", "c.b.a.test", "other"]
        .iter()
        .flat_map(|host| {
            ["/", "/a", "/A", "/a/", "/a/b", "/a/b;x", "/a/b/c/d", "/ab", "/a/c", "/q"]
                .iter()
                .flat_map(move |path| ["GET", "POST", "PUT"].map(|method| format!("{method} {host} {path}")))
        })
        .collect();
    let answers = |routes: &[Route]| -> Vec<String> {
        let router = router(routes);
        requests.iter().map(|request| found(&router, request)).collect()
    };
    let expected = answers(&routes);
    assert!(expected.iter().any(|answer| answer.starts_with("400 near")));
    assert!(expected.iter().any(|answer| answer.starts_with("405")));
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..1_000 {
        for last in (1..routes.len()).rev() {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let other = usize::try_from(state % (last as u64 + 1)).unwrap();
            routes.swap(last, other);
        }
        assert_eq!(answers(&routes), expected);
    }
}

#[test]
fn a_thousand_routes_are_found_one_by_one() {
    let routes: Vec<Route> = (0..1_000)
        .map(|at| match at % 4 {
            0 => route(&format!("r{at} host-{at}.test /")),
            1 => route(&format!("r{at} * =/exact/{at}")),
            2 => route(&format!("r{at} *.sub-{at}.test /x")),
            _ => route(&format!("r{at} * /prefix/{at}")),
        })
        .collect();
    let router = router(&routes);
    for at in 0..1_000 {
        let request = match at % 4 {
            0 => format!("GET host-{at}.test /any"),
            1 => format!("GET h /exact/{at}"),
            2 => format!("GET a.b.sub-{at}.test /x/y"),
            _ => format!("GET h /prefix/{at}/z"),
        };
        assert_eq!(found(&router, &request), format!("r{at}"));
    }
    assert_eq!(found(&router, "GET h /prefix/1000"), "404");
}
