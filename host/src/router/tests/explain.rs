use super::*;

fn explained(routes: &[&str], line: &str) -> Vec<String> {
    let routes: Vec<Route> = routes.iter().map(|line| route(line)).collect();
    let router = router(&routes);
    let line = Line::new(line);
    router.explain(line.asked()).iter().map(|(name, verdict)| format!("{name}: {verdict}")).collect()
}

#[test]
fn every_route_says_why() {
    let routes = [
        "wins a /x/y GET #1",
        "priority a =/x/y",
        "host-general * /x #1",
        "path-general a /x #1",
        "any-method a /x/y #1",
        "other-host b /",
        "other-path a /z",
        "other-method a /x POST",
        "other-header a /x h:x-a=1 h:x-b=2",
        "other-query a /x h:x-a=1 q:v=2",
    ];
    assert_eq!(
        explained(&routes, "GET a /x/y x-a=1"),
        [
            "wins: takes it",
            "any-method: would take it, but \"wins\" goes first: it names methods",
            "path-general: would take it, but \"wins\" goes first: its path is more specific",
            "host-general: would take it, but \"wins\" goes first: its host is more specific",
            "priority: would take it, but \"wins\" goes first: it has the higher priority",
            "other-method: another method",
            "other-header: header \"x-b\" does not match",
            "other-query: query parameter \"v\" does not match",
            "other-path: another path",
            "other-host: another host",
        ]
    );
    assert_eq!(
        explained(&["a * /x h:x-a=1", "b * /x", "c * /x"], "GET h /x x-a=1"),
        [
            "a: takes it",
            "b: would take it, but \"a\" goes first: it has more header and query conditions",
            "c: would take it, but \"a\" goes first: it has more header and query conditions",
        ]
    );
    assert_eq!(
        explained(&["b * /x", "c * /x"], "GET h /x")[1],
        "c: would take it, but \"b\" goes first: they are equal but for their names"
    );
}

#[test]
fn refusals_are_explained() {
    assert_eq!(
        explained(&["admin * /admin +keys", "open * /"], "GET h /ADMIN"),
        [
            "admin: another path",
            "open: refuses it: a lenient server could read the path as one of \"admin\", which has other plugins",
        ]
    );
    assert_eq!(
        explained(&["keep * /a keep", "open * /"], "GET h /b%2Fc"),
        ["keep: another path", "open: refuses it: the path has an escaped slash, and encoded-slash is not set"]
    );
}
