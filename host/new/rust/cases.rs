//! The plugin as a component, on the engine that serves.

use tollgate_testing::{Case, Flow, Plugin};

fn plugin() -> Plugin {
    Plugin::build(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_cases_of_the_file() {
    plugin().passes("NAME.test.toml");
}

#[test]
fn a_name_is_greeted() {
    let asked = Case::get("/a").header("x-name", "alice");
    plugin().run(
        asked
            .expect_flow(Flow::Edit)
            .expect_upstream_header("x-greeting", "hello, alice")
            .expect_attribute("greeted", "alice")
            .expect_log([])
            .expect_memory("2MiB"),
    );
}
