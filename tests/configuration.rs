//! Configurations that are loaded again.

use crate::harness::{Origin, Proxy, answer};

fn config(first: &Origin, path: &str) -> String {
    format!("upstream.o.endpoints = [\"{}\"]\nroute.only = {{ path = \"{path}\", upstream = \"o\" }}\n", first.url())
}

#[test]
fn a_right_configuration_takes_the_place_of_the_old_one() {
    let (one, two) = (Origin::start(|_| answer("text/plain", "one")), Origin::start(|_| answer("text/plain", "two")));
    let proxy = Proxy::start(&config(&one, "/a"), &[]);
    let mut client = proxy.client();
    assert_eq!(client.request("GET", "/a", &[], b"").text(), "one");
    proxy.reload(&config(&two, "/b")).expect("a right configuration");
    // On the connection that was there before, too.
    assert_eq!(client.request("GET", "/a", &[], b"").status(), 404);
    assert_eq!(client.request("GET", "/b", &[], b"").text(), "two");
}

#[test]
fn a_wrong_configuration_changes_nothing_and_says_why() {
    let origin = Origin::fine();
    let proxy = Proxy::start(&config(&origin, "/a"), &[]);
    let right = config(&origin, "/a");
    for (what, wrong, words) in [
        ("syntax", format!("{right}[route."), "tollgate.toml"),
        ("unknown key", format!("{right}route.b = {{ path = \"/b\", upsteam = \"o\" }}"), "did you mean"),
        ("unknown upstream", right.replace("upstream = \"o\"", "upstream = \"p\""), "\"p\""),
        (
            "unknown component",
            format!(
                "{right}plugin.x.component = \"api-kay\"\nroute.b = {{ path = \"/b\", chain = [\"x\"], upstream = \"o\" }}"
            ),
            "api-kay",
        ),
        (
            "a plugin's own complaint",
            format!(
                "{right}plugin.x = {{ component = \"rate-limit\", config.limit = 0 }}\n\
                 route.b = {{ path = \"/b\", chain = [\"x\"], upstream = \"o\" }}"
            ),
            "limit",
        ),
    ] {
        let why = proxy.reload(&wrong).expect_err(what);
        assert!(why.contains(words), "{what}: {why}");
        assert_eq!(proxy.get("/a").status(), 200, "{what}");
        assert_eq!(proxy.get("/b").status(), 404, "{what}");
    }
    proxy.reload(&config(&origin, "/b")).expect("a right one after all of them");
    assert_eq!(proxy.get("/b").status(), 200);
}

#[test]
fn every_mistake_of_a_start_is_reported_at_once() {
    let wrong =
        "upstream.o.endpoints = [\"nonsense\"]\nroute.a = { path = \"no-slash\", upstream = \"o\", kolour = 1 }\n";
    let why = Proxy::try_start(wrong, &[]).err().expect("it does not start");
    for words in ["nonsense", "no-slash", "kolour"] {
        assert!(why.contains(words), "{words}: {why}");
    }
}

#[test]
fn the_listener_for_operators_says_that_it_is_ready() {
    let origin = Origin::fine();
    let proxy = Proxy::start(&config(&origin, "/a"), &[]);
    assert_eq!(proxy.admin("/readyz").status(), 200);
    assert_eq!(proxy.get("/readyz").status(), 404, "and the public one does not");
    assert_eq!(proxy.get("/a").status(), 200);
    assert!(proxy.admin("/metrics").text().contains("tollgate"));
}
