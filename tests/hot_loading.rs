//! Components that come, change, break and go while requests run.

use crate::harness::{Message, Origin, Proxy, guest, hello};

fn plain(origin: &Origin) -> String {
    format!("upstream.o.endpoints = [\"{}\"]\nroute.all = {{ path-prefix = \"/\", upstream = \"o\" }}\n", origin.url())
}

fn greeting(origin: &Origin) -> String {
    format!(
        r#"
        upstream.o.endpoints = ["{}"]
        plugin.greet = {{ component = "greeting", config.name = "world", limits.time = "5s" }}
        route.all = {{ path-prefix = "/", chain = ["greet"], upstream = "o" }}
        "#,
        origin.url()
    )
}

/// What the response says: hello, goodbye.
fn says(response: &Message) -> (Option<&str>, Option<&str>) {
    assert_eq!(response.status(), 200, "{response:?}");
    (response.header("x-hello"), response.header("x-goodbye"))
}

const HELLO: (Option<&str>, Option<&str>) = (Some("world"), None);
const GOODBYE: (Option<&str>, Option<&str>) = (None, Some("world"));

#[test]
fn a_component_that_is_dropped_in_can_be_used_at_once() {
    let origin = Origin::fine();
    let proxy = Proxy::start(&plain(&origin), &[]);
    assert_eq!(says(&proxy.get("/")), (None, None));
    let why = proxy.reload(&greeting(&origin)).expect_err("there is no such component yet");
    assert!(why.contains("greeting"), "{why}");
    proxy.drop_in("greeting", &hello());
    proxy.reload(&greeting(&origin)).expect("now there is");
    assert_eq!(says(&proxy.get("/")), HELLO);
}

#[test]
fn a_new_version_takes_the_place_of_the_old_one() {
    let origin = Origin::fine();
    let proxy = Proxy::start(&greeting(&origin), &[("greeting", hello())]);
    let mut client = proxy.client();
    assert_eq!(says(&client.request("GET", "/", &[], b"")), HELLO);
    proxy.drop_in("greeting", &guest("goodbye"));
    // On the connection that was there before, too.
    assert_eq!(says(&client.request("GET", "/", &[], b"")), GOODBYE);
    assert_eq!(says(&proxy.get("/")), GOODBYE);
    proxy.drop_in("greeting", &hello());
    assert_eq!(says(&proxy.get("/")), HELLO);
}

#[test]
fn a_broken_file_leaves_the_old_version_serving_and_is_reported() {
    let origin = Origin::fine();
    let proxy = Proxy::start(&greeting(&origin), &[("greeting", hello())]);
    let whole = hello();
    for (what, bytes) in [
        ("cut off", whole[..whole.len() / 2].to_vec()),
        ("empty", Vec::new()),
        ("a core module", b"\0asm\x01\0\0\0".to_vec()),
        ("text", b"this is no component".to_vec()),
        ("one that refuses the configuration", guest("echo-state")),
        ("one that needs a grant", guest("forbidden")),
    ] {
        proxy.drop_in("greeting", &bytes);
        assert_eq!(says(&proxy.get("/")), HELLO, "{what}");
        let state = proxy.admin("/state");
        assert_eq!(state.status(), 200, "{state:?}");
        assert!(state.text().contains("problem"), "{what}: {}", state.text());
    }
    proxy.drop_in("greeting", &guest("goodbye"));
    assert_eq!(says(&proxy.get("/")), GOODBYE, "a good one after all of them");
}

#[test]
fn what_serves_goes_on_when_its_file_is_gone() {
    let origin = Origin::fine();
    let proxy = Proxy::start(&greeting(&origin), &[("greeting", hello())]);
    proxy.take_out("greeting");
    assert_eq!(says(&proxy.get("/")), HELLO);
    proxy.drop_in("greeting", &guest("goodbye"));
    assert_eq!(says(&proxy.get("/")), GOODBYE);
}

#[test]
fn no_request_is_lost_while_versions_change() {
    let origin = Origin::fine();
    let proxy = Proxy::start(&greeting(&origin), &[("greeting", hello())]);
    let (hello, goodbye) = (hello(), guest("goodbye"));
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut client = proxy.client();
            for _ in 0..500 {
                let response = client.request("GET", "/", &[], b"");
                let said = says(&response);
                assert!(said == HELLO || said == GOODBYE, "{said:?}");
            }
        });
        for bytes in [&goodbye, &hello, &goodbye, &hello] {
            proxy.drop_in("greeting", bytes);
        }
        asking.join().expect("every request was answered");
    });
}

#[test]
fn a_new_version_has_to_pass_the_cases_beside_it() {
    let origin = Origin::fine();
    let proxy = Proxy::start(&greeting(&origin), &[("greeting", hello())]);
    let cases =
        |name: &str| format!("plugin.config.name = \"all\"\n[case.greets]\nexpect.response.headers.{name} = \"all\"\n");
    proxy.drop_in_cases("greeting", &cases("x-hello"));
    assert_eq!(says(&proxy.get("/")), HELLO);
    proxy.drop_in("greeting", &guest("goodbye"));
    assert_eq!(says(&proxy.get("/")), HELLO, "the old version goes on");
    let state = proxy.admin("/state").text();
    for words in ["does not pass its cases", "greets", "x-hello: expected", "found nothing"] {
        assert!(state.contains(words), "{words} in {state}");
    }
    // What is expected has changed, and the same component passes.
    proxy.drop_in_cases("greeting", &cases("x-goodbye"));
    assert_eq!(says(&proxy.get("/")), GOODBYE);
    assert!(!proxy.admin("/state").text().contains("problem"));
    proxy.drop_in_cases("greeting", "[case.greets]\nexpect.flaw = \"edit\"\n");
    assert_eq!(says(&proxy.get("/")), GOODBYE, "a file of cases with a mistake costs nothing that serves");
    assert!(proxy.admin("/state").text().contains("did you mean"), "{}", proxy.admin("/state").text());
    // Where nothing served before, nothing does.
    let beside = ("greeting.test.toml", cases("x-goodbye").into_bytes());
    let why = Proxy::try_start(&greeting(&origin), &[("greeting", hello()), beside]).err().expect("it does not start");
    assert!(why.contains("does not pass its cases") && why.contains("x-goodbye: expected"), "{why}");
}
