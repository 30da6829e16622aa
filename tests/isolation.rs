//! A secret of one request is looked for in ten thousand others. The plugin leaves it wherever a plugin can leave one
//! (heap, statics, far down the stack, memory that it grew), and each call looks through all of its memory.

use crate::harness::{Origin, Proxy, guest};

const PASSES: usize = 10_000;

/// Sizes that a call leaves on the heap: within what is put back by copying, and more than that.
const SIZES: [&str; 4] = ["64", "20000", "300000", "1500000"];

fn start(origin: &Origin, isolation: &str, keep: bool) -> Proxy {
    let config = format!(
        r#"
        upstream.o.endpoints = ["{url}"]
        route.all = {{ path-prefix = "/", chain = ["stage", "remember"], upstream = "o" }}

        [plugin.stage]
        component = "headers"
        config.request.set = {{ x-stage = "live" }}

        [plugin.remember]
        component = "remember"
        config.keep = {keep}
        isolation = "{isolation}"
        limits.time = "5s"
        "#,
        url = origin.url(),
    );
    Proxy::start(&config, &[("remember", guest("remember"))])
}

/// What each of so many requests found of others in the memory of the plugin, and where their secrets went.
fn pass(isolation: &str, keep: bool, passes: usize) -> Vec<usize> {
    let origin = Origin::fine();
    let proxy = start(&origin, isolation, keep);
    // One connection, and so one worker and, where it is kept, one instance.
    let mut client = proxy.client();
    for number in 0..passes {
        let size = SIZES[number % SIZES.len()];
        let answer = client.request("GET", "/", &[("x-secret", &secret(number)), ("x-size", size)], b"");
        assert_eq!(answer.status(), 200, "{isolation}: {answer:?}");
        assert!(!format!("{answer:?}").contains(&secret(0)[..8]), "{isolation}: the client is told of no secret");
    }
    let seen = origin.seen();
    assert_eq!(seen.len(), passes);
    for (number, request) in seen.iter().enumerate() {
        assert_eq!(request.header("x-echo"), Some(secret(number).as_str()), "{isolation}: the secret of its own");
        let all = format!("{request:?}");
        assert_eq!(all.matches(&secret(number)[..8]).count(), 2, "{isolation}: and no other one: {all}");
    }
    seen.iter().map(|request| request.header("x-found").expect("a count").parse().expect("a number")).collect()
}

/// As long as a key may be, and its beginning stands in no plugin.
fn secret(number: usize) -> String {
    format!("ShH-sHh-{number:024}")
}

#[test]
fn nothing_of_an_earlier_request_is_in_a_fresh_instance() {
    let found = pass("request", true, PASSES);
    assert_eq!(found, [0; PASSES]);
}

/// Instances of the plugin that were made for calls so far.
fn started(proxy: &Proxy) -> u64 {
    let state: serde_json::Value = serde_json::from_str(&proxy.admin("/state").text()).expect("JSON");
    let plugins = state["plugins"].as_array().expect("a list");
    let remember = plugins.iter().find(|plugin| plugin["name"] == "remember").expect("it is there");
    remember["costs"][0]["instances"]["started"].as_u64().expect("a number")
}

/// Put back where it can be, and given up where it cannot: where it grew, and where it trapped in the middle.
#[test]
fn a_fresh_instance_is_one_that_was_put_back() {
    let origin = Origin::fine();
    let proxy = start(&origin, "request", true);
    let mut client = proxy.client();
    let mut call = |number: usize, size: &str, crash: bool| {
        let secret = secret(number);
        let mut fields = vec![("x-secret", &*secret), ("x-size", size)];
        fields.extend(crash.then_some(("x-crash", "now")));
        let answer = client.request("GET", "/", &fields, b"");
        assert_eq!(answer.status(), if crash { 500 } else { 200 }, "{answer:?}");
    };
    (0..50).for_each(|number| call(number, "64", false));
    assert_eq!(started(&proxy), 1, "fifty calls had the same instance");
    (50..55).for_each(|number| call(number, "1500000", false));
    assert_eq!(started(&proxy), 5, "the first of these had it, too; then each had a new one, since they all grew");
    (55..58).for_each(|number| call(number, "64", true));
    assert_eq!(started(&proxy), 8, "those that trapped were given up");
    (58..60).for_each(|number| call(number, "64", false));
    assert_eq!(started(&proxy), 9);
    for request in origin.seen() {
        assert_eq!(request.header("x-found"), Some("0"), "{request:?}");
    }
}

#[test]
fn no_secret_of_one_request_goes_out_with_another() {
    pass("pooled", false, PASSES);
}

/// What the search is worth: it finds what an instance that is kept was told to keep.
#[test]
fn an_instance_that_is_kept_keeps_what_it_is_told() {
    let found = pass("pooled", true, 3);
    assert_eq!(found[0], 0);
    assert!(found[1] > 0 && found[2] > found[1], "{found:?}");
}
