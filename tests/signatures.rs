//! Components that have to be signed: which are taken, and what is said of the others.

use bytes::Bytes;
use tollgate::minisign::{Message, SecretKey};

use crate::harness::{Origin, Proxy, guest, hello};

struct Keys {
    release: SecretKey,
    next: SecretKey,
}

fn keys() -> Keys {
    let key = || SecretKey::generate().expect("random numbers");
    Keys { release: key(), next: key() }
}

/// A plugin that requires this, and both keys.
fn config(origin: &Origin, keys: &Keys, require: &str) -> String {
    format!(
        r#"
        upstream.o.endpoints = ["{}"]
        plugin.greet = {{ component = "greeting", config.name = "world", limits.time = "5s", require = {require} }}
        route.all = {{ path-prefix = "/", chain = ["greet"], upstream = "o" }}
        key.release.public-key = "{}"
        key.next.public-key = "{}"
        "#,
        origin.url(),
        keys.release.public(),
        keys.next.public(),
    )
}

const BY_RELEASE: &str = r#"["signature:release"]"#;
const BY_EITHER: &str = r#"["signature:release", "signature:next"]"#;
const SIGNATURE: &str = "greeting.wasm.minisig";

fn sign(key: &SecretKey, component: &[u8]) -> Vec<u8> {
    key.sign(&Message::new(Bytes::copy_from_slice(component)), "a comment").into_bytes()
}

/// Which version answers: the first says hello, the second goodbye.
fn says(proxy: &Proxy) -> &'static str {
    let response = proxy.get("/");
    assert_eq!(response.status(), 200, "{response:?}");
    match (response.header("x-hello"), response.header("x-goodbye")) {
        (Some(_), None) => "hello",
        (None, Some(_)) => "goodbye",
        _ => panic!("one version answers: {response:?}"),
    }
}

fn problem(proxy: &Proxy) -> String {
    let state: serde_json::Value = serde_json::from_str(&proxy.admin("/state").text()).expect("JSON");
    let components = state["components"].as_array().expect("a list");
    let greeting = components.iter().find(|one| one["name"] == "greeting").expect("it is there");
    greeting["problem"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn what_nobody_vouches_for_is_not_taken_and_the_old_version_goes_on() {
    let (origin, keys) = (Origin::fine(), keys());
    let (old, new) = (hello(), guest("goodbye"));
    let beside = (SIGNATURE, sign(&keys.release, &old));
    let proxy = Proxy::start(&config(&origin, &keys, BY_RELEASE), &[("greeting", old.clone()), beside]);
    assert_eq!(says(&proxy), "hello");

    let right = sign(&keys.release, &new);
    let changed = String::from_utf8(right.clone()).expect("text").replace("a comment", "b comment");
    for (what, signature, words) in [
        ("the old one's", sign(&keys.release, &old), "does not verify with the key `release`: it is not of this file"),
        ("another key's", sign(&keys.next, &new), "does not verify with the key `release`: it is by another key, "),
        ("cut off", right[..right.len() / 2].to_vec(), "has a signature that is none ("),
        ("empty", Vec::new(), "has a signature that is none (it has not four lines)"),
        ("with another comment", changed.into_bytes(), "its trusted comment was changed"),
        ("no text", vec![0xff; 300], "it is not UTF-8 text"),
        ("a component", new.clone(), "has a signature that is none"),
    ] {
        proxy.drop_in(SIGNATURE, &signature);
        proxy.drop_in("greeting", &new);
        assert_eq!(says(&proxy), "hello", "{what}");
        let said = problem(&proxy);
        for words in [words, "requires a signature by the key `release`", "greeting.wasm.minisig"] {
            assert!(said.contains(words), "{what}: {said}");
        }
    }
    proxy.take_out(SIGNATURE);
    assert_eq!(says(&proxy), "hello");
    assert!(problem(&proxy).contains("has no signature beside it"), "{}", problem(&proxy));
    assert!(proxy.admin("/metrics").text().contains("tollgate_component_loads_total"), "they are counted");

    proxy.drop_in(SIGNATURE, &right);
    assert_eq!(says(&proxy), "goodbye", "signed at last");
    assert_eq!(problem(&proxy), "");
}

#[test]
fn either_of_the_two_files_may_come_first() {
    let (origin, keys) = (Origin::fine(), keys());
    let beside = (SIGNATURE, sign(&keys.release, &hello()));
    let proxy = Proxy::start(&config(&origin, &keys, BY_EITHER), &[("greeting", hello()), beside]);
    // The component.
    proxy.drop_in("greeting", &guest("goodbye"));
    assert_eq!(says(&proxy), "hello");
    proxy.drop_in(SIGNATURE, &sign(&keys.next, &guest("goodbye")));
    assert_eq!(says(&proxy), "goodbye", "by the key that takes the place of the other");
    // The signature.
    proxy.drop_in(SIGNATURE, &sign(&keys.next, &hello()));
    assert_eq!(says(&proxy), "goodbye");
    proxy.drop_in("greeting", &hello());
    assert_eq!(says(&proxy), "hello");
}

#[test]
fn a_server_that_starts_takes_only_what_is_signed() {
    let (origin, keys) = (Origin::fine(), keys());
    let config = config(&origin, &keys, BY_RELEASE);
    let start = |components: &[(&str, Vec<u8>)]| Proxy::try_start(&config, components).map(drop);
    let why = start(&[("greeting", hello())]).expect_err("it does not start");
    assert!(why.contains("has no signature beside it") && why.contains("`tollgate plugin sign`"), "{why}");
    let why = start(&[("greeting", hello()), (SIGNATURE, sign(&keys.next, &hello()))]).expect_err("it does not start");
    assert!(why.contains("it is by another key"), "{why}");
    // What is no component is not even looked at before it is signed, and then it is.
    let nonsense = b"no component".to_vec();
    let why = start(&[("greeting", nonsense.clone())]).expect_err("it does not start");
    assert!(why.contains("has no signature beside it"), "{why}");
    let why = start(&[("greeting", nonsense.clone()), (SIGNATURE, sign(&keys.release, &nonsense))]);
    assert!(why.as_ref().is_err_and(|why| why.contains("not a WebAssembly component")), "{why:?}");
    // A built-in is signed by nobody.
    let built_in = config.replace("\"greeting\"", "\"headers\"").replace("config.name = \"world\"", "config = {}");
    let why = Proxy::try_start(&built_in, &[]).map(drop).expect_err("it does not start");
    assert!(why.contains("has no signature beside it"), "{why}");
}

#[test]
fn the_last_good_version_is_verified_when_it_is_taken_out_again() {
    let (origin, keys) = (Origin::fine(), keys());
    let signed = config(&origin, &keys, BY_RELEASE);
    let beside = (SIGNATURE, sign(&keys.release, &hello()));
    let mut proxy = Proxy::start(&signed, &[("greeting", hello()), beside]);
    proxy.restart(|plugins| std::fs::write(plugins.join("greeting.wasm"), guest("goodbye")).expect("a file"));
    assert_eq!(says(&proxy), "hello", "the new file is not the one that was signed");
    assert!(problem(&proxy).contains("it is not of this file"), "{}", problem(&proxy));
    // Whoever writes another signature where versions are kept has won nothing.
    let versions = proxy.folder().join("versions");
    let kept: Vec<_> =
        walk(&versions).into_iter().filter(|path| path.to_string_lossy().ends_with(".minisig")).collect();
    assert_eq!(kept.len(), 1, "{kept:?}");
    let right = std::fs::read(&kept[0]).expect("a signature");
    std::fs::write(&kept[0], sign(&keys.next, &hello())).expect("a file");
    let why = proxy.try_restart(|_| {}).expect_err("nothing that is there is signed");
    assert!(why.contains("it is not of this file"), "{why}");
    std::fs::write(&kept[0], right).expect("a file");
    proxy.restart(|_| {});
    assert_eq!(says(&proxy), "hello");
}

/// Keys change without a gap: the next one beside the old one, a new signature, and the old one is gone. What serves is the
/// same component, so there is nothing to try first.
#[test]
fn a_key_takes_the_place_of_another_while_requests_run() {
    let (origin, keys) = (Origin::fine(), keys());
    let rollout = "rollout = { canary = \"50%\", key = \"header:x-user\" }";
    let config = |require: &str| config(&origin, &keys, &format!("{require}, {rollout}"));
    let beside = (SIGNATURE, sign(&keys.release, &hello()));
    let proxy = Proxy::start(&config(BY_RELEASE), &[("greeting", hello()), beside]);
    proxy.reload(&config(BY_EITHER)).expect("it is signed by one of them");
    proxy.drop_in(SIGNATURE, &sign(&keys.next, &hello()));
    let state: serde_json::Value = serde_json::from_str(&proxy.admin("/state").text()).expect("JSON");
    assert!(state["plugins"][0]["trial"].is_null(), "{state}");
    proxy.reload(&config(r#""signature:next""#)).expect("it is signed by the next one");
    assert_eq!(says(&proxy), "hello");
    // An old version that was signed by the old key is none that can come back.
    proxy.drop_in("greeting", &guest("goodbye"));
    proxy.drop_in(SIGNATURE, &sign(&keys.release, &guest("goodbye")));
    assert!(problem(&proxy).contains("it is by another key"), "{}", problem(&proxy));
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

#[test]
fn what_is_required_changes_with_the_configuration() {
    let (origin, keys) = (Origin::fine(), keys());
    let beside = (SIGNATURE, sign(&keys.release, &hello()));
    let proxy = Proxy::start(&config(&origin, &keys, BY_RELEASE), &[("greeting", hello()), beside]);
    let why = proxy.reload(&config(&origin, &keys, r#""signature:next""#)).expect_err("it is signed by the other");
    assert!(why.contains("it is by another key") && why.contains("the key `next`"), "{why}");
    assert_eq!(says(&proxy), "hello", "what serves goes on");
    proxy.drop_in(SIGNATURE, &sign(&keys.next, &hello()));
    proxy.reload(&config(&origin, &keys, r#""signature:next""#)).expect("signed by the right one now");
    assert_eq!(says(&proxy), "hello");
    // A digest is enough, where it is one of what is required.
    let digest = "0".repeat(64);
    let why = proxy.reload(&config(&origin, &keys, &format!(r#"["sha256:{digest}", "signature:release"]"#)));
    let why = why.expect_err("neither the digest nor the signature");
    assert!(why.contains("has the digest sha256:") && why.contains(" and has a signature that does not"), "{why}");
}

/// Two builds of one plugin under one key can be told apart by nothing but their bytes: each signature is of one.
#[test]
fn the_signature_of_one_component_is_none_of_another() {
    let (origin, keys) = (Origin::fine(), keys());
    let (one, other) = (hello(), guest("goodbye"));
    let components = [
        ("greeting", one.clone()),
        (SIGNATURE, sign(&keys.release, &other)),
        ("parting", other),
        ("parting.wasm.minisig", sign(&keys.release, &one)),
    ];
    let why = Proxy::try_start(&config(&origin, &keys, BY_RELEASE), &components).map(drop).expect_err("swapped");
    assert!(why.contains("it is not of this file"), "{why}");
}
