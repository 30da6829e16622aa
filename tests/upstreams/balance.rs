//! Which endpoint gets a request.

use std::net::{Ipv4Addr, TcpListener};

use super::{config, origins, with};
use crate::harness::{Client, Origin, Proxy};

/// The names of the origins that answer requests with this field, one after another on one connection.
fn answers(client: &mut Client, count: usize, field: (&str, &str)) -> Vec<String> {
    (0..count).map(|_| client.request("GET", "/", &[field], b"").text()).collect()
}

const NO_FIELD: (&str, &str) = ("x-nothing", "");

/// The address of a server that is gone.
fn gone() -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    format!("http://{}", listener.local_addr().expect("an address"))
}

#[test]
fn round_robin_is_exact_over_a_cycle() {
    let [one, two] = origins();
    let settings =
        format!("balance = \"round-robin\"\nendpoints = [{{ url = {:?}, weight = 3 }}, {:?}]", one.url(), two.url());
    let proxy = Proxy::start(&with(&settings), &[]);
    let answers = answers(&mut proxy.client(), 80, NO_FIELD);
    for cycle in answers.chunks(4) {
        assert_eq!(cycle.iter().filter(|answer| *answer == "0").count(), 3, "{answers:?}");
    }
}

#[test]
fn the_default_uses_all_of_them() {
    let origins = origins::<3>();
    let proxy = Proxy::start(&config(&origins, ""), &[]);
    let mut seen = answers(&mut proxy.client(), 100, NO_FIELD);
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen, ["0", "1", "2"]);
}

#[test]
fn a_hash_leads_the_same_key_to_the_same_endpoint_on_every_connection() {
    let origins = origins::<4>();
    let proxy = Proxy::start(&config(&origins, "balance = \"consistent-hash\"\nhash = \"header:x-user\""), &[]);
    let mut used = Vec::new();
    for user in 0..40 {
        let user = format!("user-{user}");
        let mut all: Vec<String> = (0..4).flat_map(|_| answers(&mut proxy.client(), 2, ("x-user", &user))).collect();
        all.dedup();
        assert_eq!(all.len(), 1, "{user}: {all:?}");
        used.append(&mut all);
    }
    used.sort_unstable();
    used.dedup();
    assert_eq!(used.len(), 4, "keys spread");
}

#[test]
fn a_cookie_leads_back_to_the_endpoint_that_gave_it() {
    let origins = origins::<3>();
    let settings = "sticky = { cookie = \"home\", key = \"0123456789abcdef\", lifetime = \"1h\" }";
    let proxy = Proxy::start(&config(&origins, settings), &[]);
    for _ in 0..10 {
        let first = proxy.get("/");
        let set = first.header("set-cookie").expect("a first answer gives a cookie");
        let (cookie, attributes) = set.split_once("; ").expect("attributes");
        assert_eq!(attributes, "Max-Age=3600; Path=/; HttpOnly; SameSite=Lax");
        for _ in 0..5 {
            let again = proxy.client().request("GET", "/", &[("cookie", cookie)], b"");
            assert_eq!(again.text(), first.text(), "with {cookie}");
            assert_eq!(again.header("set-cookie"), None, "it has it already");
        }
    }
    // One that is made up is worth nothing.
    let made_up = proxy.client().request("GET", "/", &[("cookie", "home=0123456789abcdef")], b"");
    assert!(made_up.header("set-cookie").is_some(), "{made_up:?}");
}

#[test]
fn a_cookie_of_an_endpoint_that_is_gone_leads_to_another_one() {
    let [one] = origins();
    let settings = format!(
        "endpoints = [{:?}, {:?}]\nsticky.key = \"0123456789abcdef\"\ntimeouts.connect = \"5s\"",
        one.url(),
        gone()
    );
    let proxy = Proxy::start(&with(&settings), &[]);
    let first = proxy.get("/");
    let cookie = first.header("set-cookie").and_then(|set| set.split(';').next()).expect("a cookie").to_owned();
    let again = proxy.client().request("GET", "/", &[("cookie", &cookie)], b"");
    assert_eq!((again.text(), again.header("set-cookie")), ("0".to_owned(), None));
}

#[test]
fn a_lower_priority_takes_over_when_nobody_else_is_there() {
    let origins = origins::<2>();
    let endpoint = |url: &str, priority| format!("{{ url = {url:?}, priority = {priority} }}");
    let pair = |first: &str, spare: &Origin| {
        with(&format!("endpoints = [{}, {}]", endpoint(first, 1), endpoint(&spare.url(), 0)))
    };
    let proxy = Proxy::start(&pair(&origins[0].url(), &origins[1]), &[]);
    assert_eq!(answers(&mut proxy.client(), 20, NO_FIELD), vec!["0"; 20]);
    proxy.reload(&pair(&gone(), &origins[1])).expect("a right configuration");
    assert_eq!(answers(&mut proxy.client(), 20, NO_FIELD), vec!["1"; 20]);
}

#[test]
fn operators_see_how_an_upstream_balances() {
    let [one, two] = origins();
    let settings = format!(
        "balance = \"peak-ewma\"\nslow-start = \"1h\"\n\
         endpoints = [{{ url = {:?}, weight = 3 }}, {{ url = {:?}, priority = -1 }}]",
        one.url(),
        two.url()
    );
    let proxy = Proxy::start(&with(&settings), &[]);
    let upstream = |proxy: &Proxy| proxy.admin("/state").json()["upstreams"][0].clone();
    let state = upstream(&proxy);
    assert_eq!(state["balance"], "peak-ewma");
    let endpoints = &state["endpoints"];
    assert_eq!(endpoints[0]["address"], one.address().to_string());
    assert_eq!([&endpoints[0]["weight"], &endpoints[1]["priority"]], [3, -1]);
    // All that begin together begin whole; one that comes later begins slowly.
    assert_eq!([&endpoints[0]["warmth"], &endpoints[1]["warmth"]], [100, 100]);
    let [three] = origins();
    let more = settings.replace("endpoints = [", &format!("endpoints = [{:?}, ", three.url()));
    proxy.reload(&with(&more)).expect("a right configuration");
    let endpoints = upstream(&proxy)["endpoints"].clone();
    assert_eq!([&endpoints[0]["warmth"], &endpoints[1]["warmth"]], [10, 100]);
}
