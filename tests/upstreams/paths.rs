//! The paths that an upstream sees, and what clients see of those that it answers.

use crate::harness::{Origin, Proxy};

/// A server that redirects, and says in other fields where it is, too.
fn origin() -> Origin {
    Origin::start(|request| {
        let path = request.target();
        let host = request.header("host").expect("a host");
        format!(
            "HTTP/1.1 302 Found\r\nlocation: http://{host}{path}/next?q=1\r\ncontent-location: {path}\r\n\
             link: <{path}?page=2>; rel=next\r\nrefresh: 1; url={path}\r\nset-cookie: a=b; Path=/\r\ncontent-length: 0\r\n\r\n"
        )
        .into_bytes()
    })
}

fn start(origin: &Origin, route: &str) -> Proxy {
    Proxy::start(&format!("upstream.o.endpoints = [{:?}]\n[route.all]\nupstream = \"o\"\n{route}", origin.url()), &[])
}

#[test]
fn a_prefix_goes_on_the_way_in_and_comes_back_on_the_way_out() {
    let origin = origin();
    let proxy = start(&origin, "path-prefix = \"/v1\"\nstrip-prefix = \"/v1\"");
    let response = proxy.get("/v1/a%7Eb//c?x=%2F..&x-y");
    let seen = origin.last();
    assert_eq!((seen.target(), seen.header("x-forwarded-prefix")), ("/a~b/c?x=%2F..&x-y", Some("/v1")));
    let response_of = |name: &str| response.header(name).unwrap_or_else(|| panic!("{name} in {response:?}")).to_owned();
    let location = response_of("location");
    assert!(location.starts_with("http://api.test/v1/a~b/c"), "{location}");
    assert_eq!(response_of("content-location"), "/v1/a~b/c?x=%2F..&x-y");
    assert_eq!(response_of("link"), "</v1/a~b/c?x=%2F..&x-y?page=2>; rel=next");
    assert_eq!(response_of("refresh"), "1; url=/v1/a~b/c?x=%2F..&x-y");
    assert_eq!(response_of("set-cookie"), "a=b; Path=/v1/");
    // What a client says of prefixes counts for nothing.
    proxy.client().request("GET", "/v1/x", &[("x-forwarded-prefix", "/evil")], b"");
    assert_eq!(origin.last().header("x-forwarded-prefix"), Some("/v1"));
}

#[test]
fn what_is_hidden_behind_a_prefix_is_refused_as_without_one() {
    let origin = origin();
    let proxy = start(&origin, "path-prefix = \"/strip\"\nstrip-prefix = \"/strip\"\nadd-prefix = \"/app\"");
    for (path, status) in [
        ("/strip/..%2f..%2fadmin", 400),
        ("/strip/..;/admin", 400),
        ("/strip/%2e%2e/admin", 404),
        ("/strip/../admin", 404),
        ("/stripadmin", 404),
    ] {
        assert_eq!(proxy.get(path).status(), status, "{path}");
    }
    assert!(origin.seen().is_empty(), "{:?}", origin.seen());
    assert_eq!(proxy.get("/strip//%61dmin").status(), 302);
    assert_eq!(origin.last().target(), "/app/admin");
}

#[test]
fn a_template_makes_a_path_of_groups() {
    let origin = origin();
    let proxy =
        start(&origin, "path-regex = '/users/(?<user>[^/]+)/(?<rest>.*)'\nrewrite = \"/rest/{rest}/of/{user}\"");
    proxy.get("/users/7/items/3?q=a%20b");
    assert_eq!(origin.last().target(), "/rest/items/3/of/7?q=a%20b");
    // A group that takes nothing makes a path that is not canonical.
    let refused = proxy.get("/users/7/");
    assert_eq!((refused.status(), refused.code().as_str(), origin.seen().len()), (400, "bad-path", 1));
}
