//! What a plugin saw and answered, kept and run again: with the same build nothing differs, with another one what does is
//! shown. No credential is kept.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use tollgate::plugin::{BUILT_IN, Component, Engine, Origin as From};
use tollgate::recording::{Answer, Outcome};
use tollgate::replay::{self, Recording, Report};

use crate::harness::{Origin, Proxy, answer, guest, introspect};

static ENGINE: LazyLock<Arc<Engine>> =
    LazyLock::new(|| Arc::new(Engine::new(50, Some(env!("COMPILED").as_ref())).expect("an engine")));

fn component(name: &str, bytes: Vec<u8>) -> Arc<Component> {
    Arc::new(Component::compile(&ENGINE, name, From::File("".into()), bytes.into()).expect("a component"))
}

fn run(recording: &Recording, with: &Arc<Component>, base: Option<&Arc<Component>>) -> Report {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(replay::run(&ENGINE, recording, with, base)).expect("it loads")
}

/// A proxy with one plugin in the chain of `/`, which is recorded into `folder`.
fn start(folder: &Path, plugin: &str, record: &str, components: &[(&str, Vec<u8>)]) -> (Origin, Proxy) {
    let origin = Origin::fine();
    let config = format!(
        "upstream.o.endpoints = [\"{}\"]\n\
         route.all = {{ path-prefix = \"/\", chain = [\"it\"], upstream = \"o\" }}\n\
         [plugin.it]\n{plugin}\nrecord = {{ directory = {folder:?}, {record} }}\n",
        origin.url()
    );
    let proxy = Proxy::start(&config, components);
    (origin, proxy)
}

/// What was recorded, after the proxy has written everything.
fn recorded(folder: &Path, proxy: Proxy) -> Recording {
    proxy.stop();
    let path = folder.join("it.tollrec");
    if !path.exists() {
        return Recording::default();
    }
    replay::read(&path).unwrap_or_else(|why| panic!("{why}"))
}

#[test]
fn answers_of_capabilities_are_said_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let plugin =
        "component = \"rate-limit\"\nlimits.time = \"5s\"\nconfig = { limit = 2, window = \"1h\", key = \"address\" }";
    let (_origin, proxy) = start(folder.path(), plugin, "share = \"100%\"", &[]);
    let statuses: Vec<u16> = (0..4).map(|_| proxy.get("/").status()).collect();
    assert_eq!(statuses, [200, 200, 429, 429]);
    let recording = recorded(folder.path(), proxy);
    assert_eq!(recording.passes.len(), 4);
    let (_, bytes) = BUILT_IN.iter().find(|(name, _)| *name == "rate-limit").expect("built in");
    // In a world of its own, each pass would be the first of an hour.
    let report = run(&recording, &component("rate-limit", bytes.to_vec()), None);
    assert_eq!(report.to_string(), format!("0 of {} calls in 4 passes are answered in another way\n", report.calls));
    assert!(report.calls >= 4, "{report}");
}

#[test]
fn no_credential_is_kept_and_what_a_server_said_is_found_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Origin::start(|_| {
        answer("application/json", r#"{"active":true,"sub":"alice","access_token":"canary-in-an-answer"}"#)
    });
    let url = server.url();
    let plugin = format!(
        "component = \"introspect\"\nlimits.time = \"5s\"\n\
         config.endpoint = \"{url}/introspect\"\ngrant.http = [{url:?}]"
    );
    let build = std::fs::read(introspect()).expect("a component");
    let (_origin, proxy) = start(folder.path(), &plugin, "share = \"100%\"", &[("introspect", build.clone())]);
    let sent = [("authorization", "Bearer canary-in-a-header"), ("cookie", "id=canary-in-a-cookie")];
    let response = proxy.client().request("GET", "/a?access_token=canary-in-a-query", &sent, b"");
    assert_eq!(response.status(), 200, "{response:?}");
    let recording = recorded(folder.path(), proxy);
    let bytes = std::fs::read(folder.path().join("it.tollrec")).expect("a file");
    let text = String::from_utf8_lossy(&bytes);
    assert!(!text.contains("canary"), "{text}");
    let said = &recording.passes[0].1.calls[0].said;
    assert!(matches!(said[0].answer, Answer::Http(Ok((200, ..)))), "{said:?}");

    let report = run(&recording, &component("introspect", build), None);
    assert!(report.differing.is_empty(), "{report}");
    assert_eq!(server.seen().len(), 1, "nothing is asked of the real server again");
}

#[test]
fn only_failures_where_only_they_are_asked_for_and_they_happen_again() {
    for (bad, kind) in [("trap", "trap"), ("spin", "timeout"), ("stall", "timeout")] {
        let folder = tempfile::tempdir().expect("a folder");
        let plugin = format!("component = \"{bad}\"\nconfig.at = \"request-body\"\nlimits.time = \"50ms\"");
        let (_origin, proxy) = start(folder.path(), &plugin, "failures = true", &[(bad, guest(bad))]);
        // Without a body the hook is not called.
        assert_eq!(proxy.get("/").status(), 200);
        assert_eq!(proxy.client().request("POST", "/", &[], b"body").status(), 500);
        let recording = recorded(folder.path(), proxy);
        assert_eq!(recording.passes.len(), 1, "{bad}: {recording:?}");
        let failed = recording.passes[0].1.calls.last().expect("a call");
        assert_eq!(failed.body.as_deref(), Some(&b"body"[..]));
        assert!(matches!(&failed.outcome, Outcome::Fail { kind: found, .. } if found == kind), "{failed:?}");

        let report = run(&recording, &component(bad, guest(bad)), None);
        assert!(report.differing.is_empty(), "{bad}: {report}");
        let other = if bad == "trap" { "spin" } else { "trap" };
        let report = run(&recording, &component(other, guest(other)), None).to_string();
        let was = format!("kind: was \"{kind}\", is \"{}\"", if bad == "trap" { "timeout" } else { "trap" });
        assert!(report.contains(&was), "{report}");
    }
}

#[test]
fn two_builds_are_compared_with_each_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let plugin = "component = \"trap\"\nconfig.at = \"response\"";
    let (_origin, proxy) = start(folder.path(), plugin, "share = \"100%\"", &[("trap", guest("trap"))]);
    assert_eq!(proxy.get("/").status(), 500);
    let recording = recorded(folder.path(), proxy);
    let (trap, spin) = (component("trap", guest("trap")), component("spin", guest("spin")));
    assert!(run(&recording, &trap, Some(&trap)).differing.is_empty());
    let report = run(&recording, &trap, Some(&spin));
    assert_eq!(report.differing.len(), 1);
    assert_eq!(report.differing[0].differences[0].what, "kind");
}

#[test]
fn what_is_not_asked_for_is_not_recorded() {
    let folder = tempfile::tempdir().expect("a folder");
    let plugin = "component = \"rate-limit\"\nconfig = { limit = 2, window = \"1h\", key = \"address\" }";
    let (_origin, proxy) = start(folder.path(), plugin, "failures = true", &[]);
    assert_eq!(proxy.get("/").status(), 200);
    assert!(recorded(folder.path(), proxy).passes.is_empty());
}
