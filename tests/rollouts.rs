//! New versions that get a part of the requests first, and are promoted or rolled back.

use std::sync::atomic::{AtomicBool, Ordering};

use sha2::{Digest, Sha256};

use crate::harness::{Client, Message, Origin, Proxy, alone, guest, hello, resident};

fn config(origin: &Origin, more: &str) -> String {
    format!(
        r#"
        upstream.o.endpoints = ["{}"]
        plugin.greet = {{ component = "greeting", config.name = "world", limits.time = "5s", {more} }}
        route.all = {{ path-prefix = "/", chain = ["greet"], upstream = "o" }}
        "#,
        origin.url()
    )
}

const HALF: &str = r#"rollout = { canary = "50%", key = "header:x-user" }"#;

/// Which version answers: the old one says hello, the new one goodbye.
fn is_new(response: &Message) -> bool {
    assert_eq!(response.status(), 200, "{response:?}");
    let said = ["x-hello", "x-goodbye"].map(|name| response.header(name).is_some());
    assert!(said[0] != said[1], "one version answers: {response:?}");
    said[1]
}

fn of_user(client: &mut Client, user: &str) -> Message {
    client.request("GET", "/", &[("x-user", user)], b"")
}

fn news(client: &mut Client) -> Vec<bool> {
    (0..60).map(|user| is_new(&of_user(client, &user.to_string()))).collect()
}

/// How the plugin stands.
fn state(proxy: &Proxy) -> serde_json::Value {
    let state: serde_json::Value = serde_json::from_str(&proxy.admin("/state").text()).expect("JSON");
    state["plugins"][0].clone()
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_part_of_the_requests_meets_the_new_version_always_the_same_part() {
    let origin = Origin::fine();
    let proxy = Proxy::start(&config(&origin, HALF), &[("greeting", hello())]);
    let mut client = proxy.client();
    assert!(news(&mut client).iter().all(|new| !new), "there is one version");
    assert!(state(&proxy)["trial"].is_null());
    proxy.drop_in("greeting", &guest("goodbye"));
    let first = news(&mut client);
    let count = first.iter().filter(|new| **new).count();
    assert!((15..45).contains(&count), "{count} of 60");
    assert_eq!(first, news(&mut proxy.client()), "by the key, not by chance or connection");
    assert!(!is_new(&client.request("GET", "/", &[], b"")), "without the key, the old version");
    let trial = state(&proxy)["trial"].clone();
    assert_eq!((trial["sha256"].as_str(), trial["canary"].as_str()), (Some(&*sha256(&guest("goodbye"))), Some("50%")));
    assert_eq!(trial["new"]["requests"].as_u64(), Some(2 * count as u64), "{trial}");
    assert_eq!(trial["old"]["requests"].as_u64(), Some(2 * (60 - count as u64) + 1), "{trial}");
    // A reload in between changes nothing of it.
    proxy.reload(&config(&origin, HALF)).expect("the same again");
    assert_eq!(first, news(&mut client));
    assert_eq!(state(&proxy)["trial"]["new"]["requests"].as_u64(), Some(3 * count as u64));
}

#[test]
fn a_new_version_is_promoted_and_rolled_back() {
    let origin = Origin::fine();
    let proxy = Proxy::start(&config(&origin, HALF), &[("greeting", hello())]);
    let mut client = proxy.client();
    assert_eq!(proxy.tell("/plugins/greet/promote").0, 409, "nothing waits");
    assert_eq!(proxy.tell("/plugins/greet/rollback").0, 409, "there is nothing to go back to");
    assert_eq!(proxy.tell("/plugins/other/promote").0, 409, "there is no such plugin");
    assert_eq!(proxy.admin("/plugins/greet/promote").status(), 405);
    proxy.drop_in("greeting", &guest("goodbye"));
    let (status, said) = proxy.tell("/plugins/greet/promote");
    assert_eq!(status, 200, "{said}");
    assert!(said.contains(&sha256(&guest("goodbye"))[..12]), "{said}");
    assert!(news(&mut client).iter().all(|new| *new), "the new version has all requests");
    assert_eq!(proxy.tell("/plugins/greet/rollback").0, 200);
    assert!(news(&mut client).iter().all(|new| !new), "and the old one again");
    assert!(proxy.admin("/state").text().contains("was rolled back: an operator said so"));
    // The same file does not come back by itself; another one begins anew, and can be given up, too.
    proxy.drop_in("greeting", &guest("goodbye"));
    assert!(news(&mut client).iter().all(|new| !new));
    proxy.drop_in("greeting", &hello());
    proxy.drop_in("greeting", &guest("goodbye"));
    assert!(news(&mut client).iter().any(|new| *new));
    assert_eq!(proxy.tell("/plugins/greet/rollback").0, 200);
    assert!(news(&mut client).iter().all(|new| !new));
    let metrics = proxy.admin("/metrics").text();
    for event in ["promoted\"} 1", "rolled-back\"} 2"] {
        let line = format!("tollgate_rollouts_total{{component=\"greeting\",event=\"{event}");
        assert!(metrics.contains(&line), "{line} in {metrics}");
    }
}

#[test]
fn a_new_version_that_fails_is_rolled_back_by_itself() {
    let origin = Origin::fine();
    let proxy = Proxy::start(&config(&origin, HALF), &[("greeting", hello())]);
    let mut client = proxy.client();
    proxy.drop_in("greeting", &guest("stumble"));
    let mut failed = 0;
    for user in 0..1000 {
        failed += usize::from(of_user(&mut client, &user.to_string()).status() == 500);
        if failed == 60 {
            break;
        }
    }
    assert_eq!(failed, 60, "a part of the requests fails");
    proxy.look();
    assert!(news(&mut client).iter().all(|new| !new), "the old version has all requests");
    let state = proxy.admin("/state").text();
    assert!(state.contains("was rolled back: in the plugin `greet`, it fails "), "{state}");
    assert!(
        proxy
            .admin("/metrics")
            .text()
            .contains(r#"tollgate_rollouts_total{component="greeting",event="rolled-back"} 1"#)
    );
}

#[test]
fn without_a_rollout_a_version_can_be_rolled_back_by_hand() {
    let origin = Origin::fine();
    let proxy = Proxy::start(&config(&origin, ""), &[("greeting", hello())]);
    let mut client = proxy.client();
    proxy.drop_in("greeting", &guest("goodbye"));
    assert!(is_new(&of_user(&mut client, "all")));
    assert_eq!(proxy.tell("/plugins/greet/rollback").0, 200);
    assert!(!is_new(&of_user(&mut client, "all")));
}

#[test]
fn a_new_version_that_wants_more_is_refused_with_the_difference() {
    let origin = Origin::fine();
    let proxy = Proxy::start(&config(&origin, ""), &[("greeting", hello())]);
    proxy.drop_in("greeting", &guest("forbidden"));
    assert!(!is_new(&proxy.get("/")));
    let state = proxy.admin("/state").text();
    for words in [
        "is not granted; to grant it, add: grant = { kv = [\\\"NAME\\\"] }",
        "compared with the version that serves",
        "+ import tollgate:plugin/kv@",
    ] {
        assert!(state.contains(words), "{words} in {state}");
    }
}

#[test]
fn what_was_refused_is_tried_again_when_the_configuration_changes() {
    let origin = Origin::fine();
    let pinned = |bytes: &[u8]| format!("require = \"sha256:{}\"", sha256(bytes));
    let old = config(&origin, &pinned(&hello()));
    let proxy = Proxy::start(&old, &[("greeting", hello())]);
    proxy.drop_in("greeting", &guest("goodbye"));
    assert!(!is_new(&proxy.get("/")), "it is not the one that is required");
    assert!(proxy.admin("/state").text().contains("the configuration requires sha256:"));
    proxy.reload(&old).expect("what is refused does not keep the rest from being loaded");
    assert!(!is_new(&proxy.get("/")));
    proxy.reload(&config(&origin, &pinned(&guest("goodbye")))).expect("now the new one is required");
    assert!(is_new(&proxy.get("/")));
    let why = Proxy::try_start(&old, &[("greeting", guest("goodbye"))]).err().expect("it does not start");
    assert!(why.contains("the configuration requires sha256:"), "{why}");
}

#[test]
fn a_new_version_is_still_a_new_one_after_a_restart() {
    let origin = Origin::fine();
    let mut proxy = Proxy::start(&config(&origin, HALF), &[("greeting", hello())]);
    proxy.drop_in("greeting", &guest("goodbye"));
    let before = news(&mut proxy.client());
    assert!(before.contains(&true) && before.contains(&false));
    proxy.restart(|_| {});
    assert_eq!(news(&mut proxy.client()), before, "the same clients meet it");
    assert_eq!(proxy.tell("/plugins/greet/rollback").0, 200);
    proxy.restart(|_| {});
    assert!(news(&mut proxy.client()).iter().all(|new| !new), "what was rolled back stays so");
    proxy.reload(&config(&origin, HALF)).expect("the same again");
    assert!(news(&mut proxy.client()).iter().all(|new| !new), "whatever is loaded again");
    assert!(proxy.admin("/state").text().contains("was rolled back: before the last start"));
    proxy.drop_in("greeting", &hello());
    proxy.drop_in("greeting", &guest("goodbye"));
    assert_eq!(proxy.tell("/plugins/greet/promote").0, 200);
    proxy.restart(|_| {});
    assert!(news(&mut proxy.client()).iter().all(|new| *new), "and what was promoted, too");
}

#[test]
fn the_last_good_version_serves_after_a_restart_with_a_bad_file() {
    let origin = Origin::fine();
    let mut proxy = Proxy::start(&config(&origin, ""), &[("greeting", guest("goodbye"))]);
    let wants_more = guest("forbidden");
    for bad in [b"no component".as_slice(), &wants_more] {
        proxy.restart(|plugins| std::fs::write(plugins.join("greeting.wasm"), bad).expect("a file"));
        assert!(is_new(&proxy.get("/")), "what served before");
        assert!(proxy.admin("/state").text().contains("problem"));
    }
    proxy.drop_in("greeting", &hello());
    assert!(!is_new(&proxy.get("/")), "a good one after all of them");
}

/// How often the component is replaced while clients ask.
const REPLACEMENTS: usize = 1000;
/// More than chance gives or takes, and far less than a thousand versions would take.
const FLAT: u64 = 32 << 20;

#[test]
fn a_thousand_replacements_lose_no_request_and_leave_nothing_behind() {
    alone("rollouts::a_thousand_replacements_lose_no_request_and_leave_nothing_behind", replace_a_thousand_times);
}

fn replace_a_thousand_times() {
    let origin = Origin::fine();
    let proxy = Proxy::start(&config(&origin, ""), &[("greeting", hello())]);
    let versions = [guest("goodbye"), hello()];
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut client = proxy.client();
            let mut asked = 0;
            while !done.load(Ordering::Relaxed) {
                is_new(&client.request("GET", "/", &[], b""));
                asked += 1;
            }
            asked
        });
        let replace = |times: usize| {
            (0..times).for_each(|time| proxy.drop_in("greeting", &versions[time % 2]));
            resident()
        };
        // What the allocator and the engine keep for reuse is there by then.
        let early = replace(REPLACEMENTS / 5);
        let late = replace(REPLACEMENTS / 5 * 4);
        done.store(true, Ordering::Relaxed);
        assert!(asking.join().expect("every request was answered") > 0);
        assert!(late < early + FLAT, "from {early} to {late} bytes");
    });
    let loads =
        format!(r#"tollgate_component_loads_total{{component="greeting",result="success"}} {}"#, REPLACEMENTS + 1);
    let metrics = proxy.admin("/metrics").text();
    assert!(metrics.contains(&loads), "{loads} in {metrics}");
}
