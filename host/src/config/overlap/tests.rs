use proptest::prelude::*;

use super::super::problem::Severity;
use super::super::{address, pattern};
use super::*;

/// `[priority] [host]path [METHOD…] [name=value…]`: a path ends with `/*` for a prefix, and begins with `~` for a
/// regular expression.
fn route(text: &str) -> Route {
    let mut matches = Match {
        host: HostMatch::Any,
        path: PathMatch::Prefix(String::new()),
        methods: Vec::new(),
        headers: Vec::new(),
        query: Vec::new(),
        encoded_slash: false,
    };
    let mut priority = 0;
    for word in text.split(' ') {
        if let Ok(number) = word.parse() {
            priority = number;
        } else if let Some(pattern) = word.strip_prefix('~') {
            matches.path = PathMatch::Regex(pattern::compile(pattern).unwrap());
        } else if let Some((name, value)) = word.split_once('=') {
            let value = match value.strip_prefix('~') {
                Some(pattern) => ValueMatch::Regex(pattern::compile(pattern).unwrap()),
                None if value == "*" => ValueMatch::Present,
                None => ValueMatch::Exact(value.to_owned()),
            };
            match name.strip_prefix('?') {
                Some(name) => matches.query.push((name.to_owned(), value)),
                None => matches.headers.push((name.parse().unwrap(), value)),
            }
        } else if word.bytes().all(|byte| byte.is_ascii_uppercase()) {
            matches.methods.push(word.parse().unwrap());
        } else {
            let (host, path) = word.split_at(word.find('/').unwrap());
            if !host.is_empty() {
                matches.host = address::host(host).unwrap();
            }
            matches.path = match path.strip_suffix("/*") {
                Some(prefix) => PathMatch::Prefix(prefix.to_owned()),
                None => PathMatch::Exact(path.to_owned()),
            };
        }
    }
    Route {
        name: text.to_owned(),
        place: None,
        matches,
        priority,
        chain: Vec::new(),
        chain_places: Vec::new(),
        upstream: "u".into(),
        split: Vec::new(),
        split_by: None,
        mirror: None,
        rewrite: None,
        body_size: None,
        upgrade: Vec::new(),
        streaming: false,
    }
}

fn severities(routes: [&str; 2]) -> Vec<Severity> {
    check(&routes.map(route)).into_iter().map(|problem| problem.severity).collect()
}

fn rank(text: &str) -> Rank {
    let route = route(text);
    Rank::of(route.priority, &route.matches)
}

#[test]
fn ranks_go_by_priority_host_path_methods_matchers() {
    let order = [
        "1 /*",
        "a.example.com/x",
        "a.example.com/x/y/*",
        "a.example.com/x/*",
        "*.b.example.com/x",
        "*.example.com/x",
        "/x GET a=1",
        "/x GET",
        "/x a=1 ?b=2",
        "/x a=1",
        "/x",
        "/x/y/z/*",
        "/x/y/* GET",
        "/x/y/*",
        "/long-segment/*",
        "/*",
        "~/literal/.*",
        "~/lit.*",
        "~.*",
        "-1 a.example.com/x GET a=1",
    ];
    for pair in order.windows(2) {
        assert!(rank(pair[0]) > rank(pair[1]), "{pair:?}");
    }
}

#[test]
fn equal_rank_and_a_request_in_common_are_an_error() {
    for pair in [
        ["/x", "/x"],
        ["/x/*", "/x/*"],
        ["a.b/x", "a.b/x"],
        ["*.a.b/x", "*.a.b/x"],
        ["/x GET", "/x GET POST"],
        ["/x GET", "/x HEAD"],
        ["/x a=1", "/x b=2"],
        ["/x a=1", "/x ?a=1"],
        ["/x a=1", "/x a=*"],
        ["/x a=12", "/x a=~1."],
        ["/x a=~1.", "/x a=~.2"],
        ["~/a/[0-9]+", "~/a/[0-5]+"],
        ["~/[a-z]+/.*", "~/.*/x"],
    ] {
        assert_eq!(severities(pair), [Severity::Error], "{pair:?}");
    }
}

#[test]
fn what_differs_or_is_ordered_is_fine() {
    for pair in [
        ["/x", "/y"],
        ["/x", "/x/*"],
        ["/x/*", "/y/*"],
        ["/x/*", "/x/y/*"],
        ["a.b/x", "c.b/x"],
        ["a.b/x", "*.b/x"],
        ["*.a.b/x", "*.c.b/x"],
        ["*.b/x", "/x"],
        ["/x GET", "/x POST"],
        ["/x GET", "/x"],
        ["/x a=1", "/x a=2"],
        ["/x ?a=1", "/x ?a=2"],
        ["/x a=1", "/x"],
        ["/x a=12", "/x a=~2."],
        ["/x a=~1.", "/x a=~2."],
        ["~/a/[0-9]+", "~/a/[a-z]+"],
        ["~/a/b", "~/a/.*"],
        ["~/a.*", "~/.b"],
        ["/x/*", "~/[a-z]+/y"],
        ["/x/*", "~/xy.*"],
        ["1 /x GET", "/x"],
    ] {
        assert_eq!(severities(pair), [], "{pair:?}");
    }
}

#[test]
fn a_route_that_nothing_reaches_is_a_warning() {
    for pair in [
        ["1 /*", "a.example.com/x GET"],
        ["1 /x/*", "/x/y/*"],
        ["1 /x/*", "/x"],
        ["1 /x", "/x"],
        ["1 /x GET", "/x HEAD"],
        ["1 /x a=*", "/x a=1"],
        ["1 /x a=~[0-9]", "/x a=1 b=2"],
        ["1 ~/[a-z]+", "/x"],
        ["1 *.example.com/*", "*.a.example.com/x"],
        ["/*", "~/a.*"],
        ["/a/*", "~/a/.*"],
    ] {
        assert_eq!(severities(pair), [Severity::Warning], "{pair:?}");
        let problem = &check(&pair.map(route))[0];
        assert!(problem.message.contains(&format!("{:?}", pair[1])), "{problem}");
    }
    assert_eq!(severities(["1 /x GET", "/x"]), []);
    assert_eq!(severities(["1 /x a=1", "/x"]), []);
    assert_eq!(severities(["1 a.b/x", "/x"]), []);
}

#[test]
fn a_path_for_two_patterns_is_shown() {
    let problem = &check(&[route("~/[a-z]+/1"), route("~/[x-z]+/.")])[0];
    assert!(problem.message.ends_with("both take /x/1, and neither goes first"), "{problem}");
}

#[test]
fn many_routes_are_checked_in_time() {
    let routes: Vec<Route> = (0..5_000).map(|n| route(&format!("h{}.example.com/p/{n}", n % 7))).collect();
    assert!(check(&routes).is_empty());
}

proptest! {
    #[test]
    fn the_order_of_the_list_decides_nothing(
        texts in proptest::sample::subsequence(
            vec!["/x", "/x GET", "/x GET POST", "/x a=1", "/x a=*", "/x/*", "1 /x/*", "~/x.*", "~/xy?", "a.b/x", "*.b/x", "/*", "/x ?q=1"],
            1..8,
        ),
        seed in 0..1000_usize,
    ) {
        let count = |routes: &[Route]| {
            let problems = check(routes);
            let errors = problems.iter().filter(|problem| problem.severity == Severity::Error).count();
            (errors, problems.len())
        };
        let routes: Vec<Route> = texts.iter().map(|text| route(text)).collect();
        let mut turned = routes.clone();
        let by = seed % turned.len();
        turned.rotate_left(by);
        if seed % 2 == 0 {
            turned.reverse();
        }
        prop_assert_eq!(count(&routes), count(&turned));
    }
}
