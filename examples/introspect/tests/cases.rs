//! The plugin as a component, on the engine that serves. What runs it is the `tollgate` that `cargo test --workspace` has
//! built beside it.

use serde_json::json;
use tollgate_testing::{Answer, Case, Flow, Plugin};

const ENDPOINT: &str = "https://idp.example.com/introspect";

fn plugin() -> Plugin {
    let built = Plugin::build_with(env!("CARGO_MANIFEST_DIR"), "plugin");
    built.config("endpoint", ENDPOINT).grant_http("https://idp.example.com")
}

#[test]
fn the_cases_of_the_file() {
    let ran = plugin().passes("introspect.test.toml");
    assert_eq!(ran.len(), 7, "{ran:?}");
}

#[test]
fn a_good_token_says_whose_it_is() {
    let case = Case::get("/a").header("authorization", "Bearer abc").header("x-user", "root");
    let ran = plugin().run(
        case.answers(Answer::post(ENDPOINT).json(json!({ "active": true, "sub": "alice" })))
            .expect_flow(Flow::Edit)
            .expect_upstream_header("x-user", "alice")
            .expect_attribute("consumer", "alice")
            .expect_log([])
            .expect_memory("2MiB"),
    );
    assert!(ran.memory.is_some_and(|bytes| bytes > 0) && ran.time.is_some(), "{ran:?}");
}

#[test]
fn what_is_not_as_expected_is_told() {
    let case = Case::get("/a").header("authorization", "Bearer abc").answers(Answer::post(ENDPOINT).error("timeout"));
    let failed = plugin().try_run(case.expect_status(200).expect_log(["error: "])).expect_err("nobody answers");
    let what: Vec<_> = failed.differences().iter().map(|one| one.what.as_str()).collect();
    assert_eq!(what, ["response.status", "log"]);
    let told = failed.to_string();
    for words in ["expected 200\n", "found    503\n", "it logged: warn: the token cannot be looked up"] {
        assert!(told.contains(words), "{words} in {told}");
    }
}

#[test]
fn what_cannot_be_run_says_why() {
    let misspelt = plugin().try_run(Case::get("/a").expect("flwo", "edit")).expect_err("there is no such key");
    assert!(misspelt.differences().is_empty() && misspelt.to_string().contains("did you mean \"flow\"?"), "{misspelt}");
    let nothing = Plugin::component("nothing.wasm").try_run(Case::get("/a").expect_flow(Flow::Continue));
    let nothing = nothing.expect_err("there is no such file").to_string();
    assert!(nothing.contains("nothing.wasm: there is no such file"), "{nothing}");
}
