//! A request that a server behind us may take for one of a protected route never goes through an open one.

use super::*;
use crate::authority::{Authority, Scheme};
use crate::path;

/// What becomes of a target and a host: a route, or a refusal at any of the steps before.
fn carried(router: &Router<String>, host: &str, target: &str) -> String {
    let Ok(authority) = Authority::parse(host.as_bytes(), Scheme::Http) else {
        return "400 host".to_owned();
    };
    match path::canonical(target, router.keeps_encoded_slash()) {
        Ok(path) => found(router, &format!("GET {} {path}", authority.host())),
        Err(error) => format!("400 {error}"),
    }
}

const TARGETS: [&str; 35] = [
    "/admin",
    "//admin",
    "/./admin",
    "/x/../admin",
    "/x/%2e%2e/admin",
    "/%61dmin",
    "/admin%2f",
    "/x%2f..%2fadmin",
    "/%2fadmin",
    "/admin;a=b",
    "/x/..;/admin",
    "/admin%00",
    "/admin%0a",
    "/admin%20",
    "/admin.",
    "\\admin",
    "/x%5c..%5cadmin",
    "/ADMIN",
    "/%2561dmin",
    "/%c0%ae%c0%ae/admin",
    "/public/..%2fadmin",
    "/public/%2e%2e/admin",
    "/admin%2f..",
    "/a/..;/admin",
    "/strip/..%2f..%2fadmin",
    "/x/%252e%252e/admin",
    "/admin/",
    "/admin/x/../",
    "/%41DMIN",
    "/admin%3Ba=b",
    "/admin%2e",
    "/admin%2E%20",
    "/admin%23",
    "/admin%3f",
    "/x/.%00./admin",
];

/// P01 to P15: `/admin` needs a key, everything else is open, in all the ways of writing that.
#[test]
fn nothing_gets_around_the_protected_route() {
    for protected in [
        "admin * =/admin +keys",
        "admin * /admin +keys",
        "admin * ~/admin(/.*)? +keys #1",
        "admin localhost /admin +keys",
    ] {
        for open in ["open * /", "open * / keep", "open * ~/.*", "open * /  +log"] {
            let routes = [route(protected), route(open), route("public * /public"), route("strip * /strip")];
            let router = router(&routes);
            for host in ["localhost", "LOCALHOST.", "localhost:80", "localhost."] {
                for target in TARGETS {
                    let found = carried(&router, host, target);
                    assert!(
                        found == "admin" || found.starts_with("400"),
                        "{protected}, {open}: {host} {target}: {found}"
                    );
                }
            }
            assert_eq!(carried(&router, "localhost", "/admin"), "admin");
            assert_eq!(carried(&router, "localhost", "/other/%C3%A9;x=Y/Z."), "open");
        }
    }
}

#[test]
fn paths_inside_a_protected_prefix_stay_in_it() {
    let router = router(&[route("api * /api +keys"), route("open * /")]);
    for target in ["/api/A", "/api/a;b", "/api/%2541", "/api/", "/api/x."] {
        assert_eq!(carried(&router, "a", target), "api");
    }
    for target in ["/API/a", "/Api", "/api;x/a", "/api./a", "/%2561pi/a"] {
        assert_eq!(carried(&router, "a", target), "400 near api");
    }
    // A strange prefix is watched as well.
    let router = super::router(&[route("api * /Api +keys"), route("open * /")]);
    assert_eq!(carried(&router, "a", "/api/x"), "400 near api");
    assert_eq!(carried(&router, "a", "/Api/x"), "api");
}

/// Without another plugin there is nothing to get around, and nothing is refused.
#[test]
fn routes_of_one_chain_are_not_watched() {
    let router = router(&[route("api * /api +keys"), route("other * / +keys +log"), route("exact * =/API")]);
    assert_eq!(carried(&router, "a", "/Api/x"), "other");
    assert_eq!(carried(&router, "a", "/API"), "exact");
}

/// A near route counts only where it would take the request.
#[test]
fn a_near_route_must_take_the_rest() {
    let routes = [route("admin admin.example /admin POST h:x=1 +keys"), route("open * /")];
    let router = router(&routes);
    assert_eq!(found(&router, "GET admin.example /ADMIN"), "open");
    assert_eq!(found(&router, "POST admin.example /ADMIN"), "open");
    assert_eq!(found(&router, "POST other.example /ADMIN x=1"), "open");
    assert_eq!(found(&router, "POST admin.example /ADMIN x=1"), "400 near admin");
}
