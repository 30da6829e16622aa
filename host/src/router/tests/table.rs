use super::*;

fn holds(routes: &[&str], cases: &[(&str, &str)]) {
    let routes: Vec<Route> = routes.iter().map(|line| route(line)).collect();
    let router = router(&routes);
    for (line, expected) in cases {
        assert_eq!(found(&router, line), *expected, "{line}");
    }
}

#[test]
fn hosts() {
    holds(
        &["any * /", "exact api.example.com /", "short *.example.com /", "long *.eu.example.com /"],
        &[
            ("GET api.example.com /", "exact"),
            ("GET www.example.com /", "short"),
            ("GET a.b.example.com /", "short"),
            ("GET a.eu.example.com /", "long"),
            ("GET a.b.eu.example.com /", "long"),
            ("GET eu.example.com /", "short"),
            ("GET example.com /", "any"),
            ("GET xexample.com /", "any"),
            ("GET api.example.com.evil /", "any"),
            ("GET [::1] /", "any"),
            ("GET localhost /", "any"),
        ],
    );
}

#[test]
fn paths() {
    holds(
        &[
            "root * /",
            "products * /products",
            "v1 * /v1/",
            "v1-users * /v1/users",
            "v1-users-exact * =/v1/users",
            "deep * /v1/users/all/of/them",
        ],
        &[
            ("GET a /", "root"),
            ("GET a /x", "root"),
            ("GET a /products", "products"),
            ("GET a /products/", "products"),
            ("GET a /products/1", "products"),
            ("GET a /products-for-sale", "root"),
            ("GET a /v1", "v1"),
            ("GET a /v1/", "v1"),
            ("GET a /v1x", "root"),
            ("GET a /v1/usersx", "v1"),
            ("GET a /v1/users", "v1-users-exact"),
            ("GET a /v1/users/", "v1-users"),
            ("GET a /v1/users/all/of", "v1-users"),
            ("GET a /v1/users/all/of/them", "deep"),
            ("GET a /v1/users/all/of/them/1", "deep"),
            ("GET a /V1/users", "root"),
        ],
    );
}

#[test]
fn patterns() {
    holds(
        &[
            "letters * ~/v1/[a-z]+",
            "more * ~/v1/items/[0-9]+",
            "prefix * /v2",
            "never * ~/v2/[a-z]+",
            "either * ~/(v3|v4)/x",
        ],
        &[
            ("GET a /v1/abc", "letters"),
            ("GET a /v1/items/7", "more"),
            ("GET a /v1/items", "letters"),
            ("GET a /v1/items/x", "404"),
            ("GET a /v1/abc/", "404"),
            ("GET a /x/v1/abc", "404"),
            ("GET a /v2/abc", "prefix"),
            ("GET a /v4/x", "either"),
        ],
    );
}

#[test]
fn methods() {
    holds(
        &[
            "read * /a GET",
            "write * /a POST,PUT",
            "other * =/b DELETE",
            "all * =/c",
            "all-get * =/c GET",
            "host h /a QUERY",
        ],
        &[
            ("GET a /a", "read"),
            ("HEAD a /a", "read"),
            ("PUT a /a", "write"),
            ("DELETE a /a", "405 GET, HEAD, POST, PUT"),
            ("DELETE h /a", "405 GET, HEAD, POST, PUT, QUERY"),
            ("GET h /a", "read"),
            ("QUERY h /a", "host"),
            ("get a /a", "405 GET, HEAD, POST, PUT"),
            ("HEAD a /b", "405 DELETE"),
            ("GET a /c", "all-get"),
            ("HEAD a /c", "all-get"),
            ("POST a /c", "all"),
            ("DELETE a /x", "404"),
        ],
    );
}

#[test]
fn headers_and_query() {
    holds(
        &[
            "plain * =/s",
            "beta * =/s h:x-beta=1",
            "beta-any * =/s h:x-beta=* q:mode=*",
            "two * =/s h:x-beta=~[0-9]{2}",
            "three * =/s h:x-beta=1 h:x-user=* q:mode=a+b",
            "only * =/o q:v=2",
            "only-post * =/o POST q:v=3",
            "decoded * =/q q:na%me=caf\u{e9}",
        ],
        &[
            ("GET a /s", "plain"),
            ("GET a /s x-beta=1", "beta"),
            ("GET a /s x-beta=7 x-beta=1", "beta"),
            ("GET a /s x-beta=22", "two"),
            ("GET a /s x-beta=222", "plain"),
            ("GET a /s?mode x-beta=222", "beta-any"),
            ("GET a /s?x=1&mode=&y x-beta=222", "beta-any"),
            ("GET a /s?mode=a%2Bb x-beta=1 x-user=u", "three"),
            ("GET a /s?mode=a+b x-beta=1 x-user=u", "beta-any"),
            ("GET a /o?v=2", "only"),
            ("GET a /o?v=1&v=2", "only"),
            ("GET a /o?v=%32", "only"),
            ("GET a /o?V=2", "404"),
            ("GET a /o", "404"),
            ("GET a /o?v=3", "405 POST"),
            ("GET a /q?na%25me=caf%C3%A9", "decoded"),
            ("GET a /q?na%me=caf%c3%a9", "decoded"),
            ("GET a /q?na%25me=caf%E9", "404"),
        ],
    );
}

#[test]
fn priority_goes_first() {
    holds(
        &["exact a =/x", "wins * ~/.* #1", "low a =/y #-1", "rest * /z", "same * =/same/b", "also * =/same/a"],
        &[("GET a /x", "wins"), ("GET a /y", "wins"), ("GET b /z", "wins")],
    );
    holds(&["low a =/y #-1", "high * / "], &[("GET a /y", "high")]);
}

#[test]
fn every_criterion_decides_before_the_next() {
    holds(
        &[
            "host api.example.com /",
            "path * =/a/b h:x=1 h:y=2 GET",
            "prefix *.example.com /a",
            "method *.example.com /a GET",
            "conditions *.example.com /a h:x=1 h:y=2",
        ],
        &[
            ("GET api.example.com /a/b x=1 y=2", "host"),
            ("GET www.example.com /a/b x=1 y=2", "method"),
            ("POST www.example.com /a/b x=1 y=2", "conditions"),
            ("POST www.example.com /a/b x=1", "prefix"),
            ("GET other /a/b x=1 y=2", "path"),
        ],
    );
}

/// The configuration refuses such routes; the answer is still one and the same.
#[test]
fn equal_routes_go_by_name() {
    let mut routes = [route("b * /x"), route("a * /x"), route("c * /x")];
    for _ in 0..3 {
        routes.rotate_left(1);
        assert_eq!(found(&router(&routes), "GET h /x"), "a");
    }
}

#[test]
fn escaped_slashes_are_for_routes_that_keep_them() {
    let routes = [route("keep * /projects keep"), route("rest * /"), route("below * /projects/open/x")];
    let router = router(&routes);
    assert!(router.keeps_encoded_slash());
    assert_eq!(found(&router, "GET a /projects/a%2Fb"), "keep");
    assert_eq!(found(&router, "GET a /other/a%2Fb"), "400 slash");
    assert_eq!(found(&router, "GET a /other/ab"), "rest");
    assert!(!super::router(&routes[1..2]).keeps_encoded_slash());
}

#[test]
fn nothing_is_found_without_routes() {
    assert_eq!(found(&router(&[]), "GET a /"), "404");
}

#[test]
fn a_preflight_finds_the_route_of_the_method_that_it_asks_about() {
    let routes = ["read * /v1 GET", "write * /v1 POST", "open * /open"].map(route);
    let router = router(&routes);
    let asks = |line: &str| router.preflight(Line::new(line).asked()).cloned();
    let preflight = |method: &str, path: &str| {
        asks(&format!("OPTIONS any {path} origin=https://app access-control-request-method={method}"))
    };
    assert_eq!(preflight("GET", "/v1").as_deref(), Some("read"));
    assert_eq!(preflight("POST", "/v1").as_deref(), Some("write"));
    assert_eq!(preflight("DELETE", "/v1"), None);
    assert_eq!(preflight("DELETE", "/open").as_deref(), Some("open"));
    assert_eq!(preflight("GET", "/elsewhere"), None);
    assert_eq!(asks("OPTIONS any /v1 access-control-request-method=GET"), None, "no origin");
    assert_eq!(asks("OPTIONS any /v1 origin=https://app"), None, "no method");
    assert_eq!(asks("GET any /v1 origin=https://app access-control-request-method=GET"), None, "no OPTIONS");
}
