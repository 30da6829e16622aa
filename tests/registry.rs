//! Components of registries: pulled from a real one, and refused from those that lie, lead astray or take their time.

mod distribution;

use std::net::SocketAddr;
use std::path::Path;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tollgate::minisign::{Message as Signed, SecretKey};

use crate::harness::{Diagnostics, Gate, Identity, Message, Origin, Proxy, guest, hello};
use distribution::Distribution;

/// What a manifest names.
struct Layer<'a> {
    kind: &'a str,
    title: &'a str,
    bytes: &'a [u8],
}

fn component(bytes: &[u8]) -> Layer<'_> {
    Layer { kind: "application/wasm", title: "greeting.wasm", bytes }
}

/// As hexadecimal digits.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn manifest(layers: &[Layer<'_>]) -> String {
    let descriptor = |kind: &str, bytes: &[u8], title: &str| {
        let title = if title.is_empty() {
            String::new()
        } else {
            format!(r#","annotations":{{"org.opencontainers.image.title":"{title}"}}"#)
        };
        format!(r#"{{"mediaType":"{kind}","digest":"sha256:{}","size":{}{title}}}"#, sha256(bytes), bytes.len())
    };
    let config = descriptor("application/vnd.wasm.config.v0+json", b"{}", "");
    let layers: Vec<_> = layers.iter().map(|layer| descriptor(layer.kind, layer.bytes, layer.title)).collect();
    let kind = "application/vnd.oci.image.manifest.v1+json";
    format!(r#"{{"schemaVersion":2,"mediaType":"{kind}","config":{config},"layers":[{}]}}"#, layers.join(","))
}

/// A configuration with a plugin of this digest, and what the table of its registry has beside the origin. What is pulled
/// is kept in `cache`.
struct Config<'a> {
    origin: &'a Origin,
    scheme: &'a str,
    registry: SocketAddr,
    cache: &'a Path,
}

impl Config<'_> {
    fn text(&self, digest: &str, plugin: &str, registry: &str) -> String {
        let Self { origin, scheme, registry: address, cache } = self;
        format!(
            r#"
            plugins.cache = {cache:?}
            upstream.o.endpoints = ["{}"]
            route.all = {{ path-prefix = "/", chain = ["greet"], upstream = "o" }}
            [plugin.greet]
            component = "oci://{address}/team/greeting:1@sha256:{digest}"
            config.name = "world"
            limits.time = "5s"
            {plugin}
            [registry.local]
            origin = "{scheme}://{address}"
            {registry}
            "#,
            origin.url()
        )
    }
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

fn says(proxy: &Proxy) -> &'static str {
    let response = proxy.get("/");
    assert_eq!(response.status(), 200, "{response:?}");
    if response.header("x-hello").is_some() { "hello" } else { "goodbye" }
}

#[test]
fn a_component_is_pulled_from_a_real_registry_and_then_kept() {
    let Some(registry) = Distribution::start(false) else { return };
    let (origin, cache) = (Origin::fine(), folder());
    let [hello, goodbye] = [hello(), guest("goodbye")];
    let first = registry.push("team/greeting", &[component(&hello)]);
    let second = registry.push("team/greeting", &[component(&goodbye)]);
    assert_ne!(first, second);
    let config = Config { origin: &origin, scheme: "http", registry: registry.address, cache: cache.path() };
    let mut proxy = Proxy::start(&config.text(&first, "", ""), &[]);
    assert_eq!(says(&proxy), "hello");
    let state: serde_json::Value = serde_json::from_str(&proxy.admin("/state").text()).expect("JSON");
    let components = state["components"].as_array().expect("a list");
    let pulled = components.iter().find(|one| one["origin"] == "registry").expect("it is pulled");
    assert_eq!(pulled["sha256"], sha256(&hello), "{pulled}");
    assert!(pulled["name"].as_str().is_some_and(|name| name.ends_with(&first)), "{pulled}");
    // Another digest in the configuration is another version.
    proxy.reload(&config.text(&second, "", "")).expect("it is there");
    assert_eq!(says(&proxy), "goodbye");
    // What is not there changes nothing.
    let why = proxy.reload(&config.text(&"0".repeat(64), "", "")).expect_err("it is not there");
    assert!(why.contains("cannot be pulled") && why.contains("does not have the manifest"), "{why}");
    assert_eq!(says(&proxy), "goodbye");
    proxy.reload(&config.text(&second, "", "")).expect("the last one again");

    // What was pulled is asked for no more.
    let address = registry.address;
    drop(registry);
    assert!(std::net::TcpStream::connect(address).is_err(), "it is gone");
    proxy.restart(|_| {});
    assert_eq!(says(&proxy), "goodbye");
    proxy.reload(&config.text(&first, "", "")).expect("the one before is kept, too");
    assert_eq!(says(&proxy), "hello");
    // What was damaged there is pulled again, and so is missed.
    let damaged = cache.path().join("tollgate-oci").join(format!("sha256-{}", sha256(&goodbye)));
    std::fs::write(&damaged, &hello).expect("it was kept");
    let why = proxy.reload(&config.text(&second, "", "")).expect_err("it is damaged");
    assert!(why.contains("cannot be reached"), "{why}");
    assert_eq!(says(&proxy), "hello");
}

#[test]
fn a_real_registry_is_told_who_asks() {
    let Some(registry) = Distribution::start(true) else { return };
    let (origin, cache) = (Origin::fine(), folder());
    let digest = registry.push("team/greeting", &[component(&hello())]);
    let config = Config { origin: &origin, scheme: "http", registry: registry.address, cache: cache.path() };
    let diagnostics = Diagnostics::listen();
    let start = |who: &str| Proxy::try_start(&config.text(&digest, "", who), &[]);
    let why = start("").map(drop).expect_err("it is not said who asks");
    assert!(why.contains("asks for a user and a password"), "{why}");
    let why = start("username = \"reader\"\npassword = \"hunter3-canary\"").map(drop).expect_err("wrong");
    assert!(why.contains("does not give the manifest to this user (401)"), "{why}");
    let text = config.text(&digest, "", "username = \"reader\"\npassword = \"hunter2-canary\"");
    let proxy = Proxy::start_heard(&text, &[], &diagnostics);
    assert_eq!(says(&proxy), "hello");
    let said = diagnostics.text();
    for secret in ["hunter2-canary", "cmVhZGVyOmh1bnRlcjItY2FuYXJ5", "hunter3-canary"] {
        assert!(!said.contains(secret) && !proxy.admin("/state").text().contains(secret) && !why.contains(secret));
    }
}

#[test]
fn a_signature_comes_with_the_component() {
    let Some(registry) = Distribution::start(false) else { return };
    let (origin, cache) = (Origin::fine(), folder());
    let key = SecretKey::generate().expect("random numbers");
    let component_bytes = hello();
    let signature = key.sign(&Signed::new(Bytes::from(component_bytes.clone())), "of a test");
    let config = Config { origin: &origin, scheme: "http", registry: registry.address, cache: cache.path() };
    let text = |digest: &str| {
        let requires = "require = \"signature:release\"";
        let keys = format!("[key.release]\npublic-key = \"{}\"", key.public());
        format!("{}\n{keys}", config.text(digest, requires, ""))
    };
    let bare = registry.push("team/greeting", &[component(&component_bytes)]);
    let why = Proxy::try_start(&text(&bare), &[]).map(drop).expect_err("it is not signed");
    assert!(why.contains("has no signature beside it") && why.contains("push it with the component"), "{why}");
    let other = guest("goodbye");
    for (bytes, taken) in [(&other, false), (&component_bytes, true)] {
        let beside = Layer { kind: "text/plain", title: "greeting.wasm.minisig", bytes: signature.as_bytes() };
        let layers = [component(bytes), beside];
        let digest = registry.push("team/greeting", &layers);
        match Proxy::try_start(&text(&digest), &[]) {
            Ok(proxy) => assert!(taken && says(&proxy) == "hello"),
            Err(why) => assert!(!taken && why.contains("it is not of this file"), "{why}"),
        }
    }
}

/// An answer with this status, these lines of fields, and this body.
fn respond(status: u16, fields: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status} Any\r\n{fields}content-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// A registry that has this component, and the digest of its manifest.
pub(crate) fn of(bytes: Vec<u8>) -> (String, Origin) {
    let manifest = manifest(&[component(&bytes)]);
    let digest = sha256(manifest.as_bytes());
    let registry = Origin::start(move |request| match is_blob(request) {
        true => respond(200, "", &bytes),
        false => respond(200, "", manifest.as_bytes()),
    });
    (digest, registry)
}

/// What a registry answers in the place of the right answer.
type Instead = Box<dyn Fn(&Message) -> Option<Vec<u8>> + Send + Sync>;

/// A registry that has one component, and answers what it is told to for everything but this.
struct Scripted {
    registry: Origin,
    digest: String,
}

impl Scripted {
    /// `instead` answers in the place of the right answer, where it answers anything.
    fn start(instead: impl Fn(&Message) -> Option<Vec<u8>> + Send + Sync + 'static) -> Self {
        let bytes = hello();
        let manifest = manifest(&[component(&bytes)]);
        let digest = sha256(manifest.as_bytes());
        let registry = Origin::start(move |request| match instead(request) {
            Some(answer) => answer,
            None if request.target().contains("/manifests/") => respond(200, "", manifest.as_bytes()),
            None => respond(200, "", &bytes),
        });
        Self { registry, digest }
    }

    fn try_start(&self, more: &str) -> Result<String, String> {
        let (origin, cache) = (Origin::fine(), folder());
        let registry = self.registry.address();
        let config = Config { origin: &origin, scheme: "http", registry, cache: cache.path() };
        let proxy = Proxy::try_start(&config.text(&self.digest, "", more), &[])?;
        Ok(says(&proxy).to_owned())
    }

    fn refused(&self, more: &str) -> String {
        self.try_start(more).expect_err("it does not start")
    }
}

fn is_blob(request: &Message) -> bool {
    request.target().contains("/blobs/")
}

#[test]
fn a_registry_that_lies_is_found_out() {
    let other = || guest("goodbye");
    let right = hello().len();
    let whole = Scripted::start(|_| None);
    assert_eq!(whole.try_start("").as_deref(), Ok("hello"), "one that does not lie");
    let accept = whole.registry.seen()[0].header("accept").map(str::to_owned);
    assert_eq!(accept.as_deref(), Some("application/vnd.oci.image.manifest.v1+json"));

    let same_length = vec![0; right];
    let cases: [(&str, Instead, &str); 8] = [
        (
            "another manifest",
            Box::new(|it| (!is_blob(it)).then(|| respond(200, "", b"{}"))),
            "the manifest that came has the digest",
        ),
        (
            "other bytes",
            Box::new(move |it| is_blob(it).then(|| respond(200, "", &same_length))),
            "the component that came has the digest",
        ),
        (
            "fewer bytes",
            Box::new(|it| is_blob(it).then(|| respond(200, "", b"\0asm"))),
            "the component that came has the digest",
        ),
        (
            "more bytes",
            Box::new(move |it| is_blob(it).then(|| respond(200, "", &vec![0; right + 1]))),
            "is longer than",
        ),
        (
            "bytes without an end",
            Box::new(move |it| {
                let chunk = |_| format!("{:x}\r\n{}\r\n", 60_000, "x".repeat(60_000));
                let chunks: String = (0..=right / 60_000).map(chunk).collect();
                is_blob(it)
                    .then(|| format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{chunks}").into_bytes())
            }),
            "is longer than",
        ),
        (
            "a manifest without an end",
            Box::new(|it| (!is_blob(it)).then(|| respond(200, "", &vec![b' '; 300_000]))),
            "the manifest that",
        ),
        ("nothing of it", Box::new(|it| is_blob(it).then(|| respond(404, "", b""))), "does not have the component"),
        ("an answer that is none", Box::new(|it| is_blob(it).then(|| b"nonsense\r\n\r\n".to_vec())), "is not HTTP"),
    ];
    for (what, instead, words) in cases {
        let scripted = Scripted::start(instead);
        let why = scripted.refused("");
        assert!(why.contains(words), "{what}: {why}");
    }
    // A manifest of something else, under its own digest.
    for (layers, words) in [
        (manifest(&[Layer { kind: "text/plain", ..component(&other()) }]), "0 layers of the type application/wasm"),
        (r#"{"schemaVersion":2,"manifests":[]}"#.to_owned(), "list of manifests"),
        (manifest(&[component(b"no component")]), "does not have the component"),
    ] {
        let digest = sha256(layers.as_bytes());
        let registry = Origin::start(move |it| match is_blob(it) {
            true => respond(404, "", b""),
            false => respond(200, "", layers.as_bytes()),
        });
        let why = Scripted { registry, digest }.refused("");
        assert!(why.contains(words), "{why}");
    }
}

#[test]
fn a_registry_that_sends_us_on_is_followed_only_to_where_we_may_go() {
    // A server of blobs behind it, which must not see what is for the registry.
    let bytes = hello();
    let store = Origin::start(move |_| respond(200, "", &bytes));
    let location = format!("location: {}/blob?signed=yes\r\n", store.url());
    let basic = |it: &Message| it.header("authorization").is_none();
    let challenge = || Some(respond(401, "www-authenticate: Basic realm=\"a\"\r\n", b""));
    let scripted = Scripted::start(move |it| match is_blob(it) {
        _ if basic(it) => challenge(),
        true => Some(respond(307, &location, b"")),
        false => None,
    });
    let who = "username = \"reader\"\npassword = \"hunter2-canary\"\n";
    let why = scripted.refused(who);
    assert!(why.contains("which is not public") && why.contains("`addresses`"), "{why}");
    assert!(store.seen().is_empty());
    assert_eq!(scripted.try_start(&format!("{who}addresses = [\"127.0.0.0/8\"]")).as_deref(), Ok("hello"));
    assert_eq!(store.last().target(), "/blob?signed=yes");
    assert_eq!(store.last().header("authorization"), None, "the password is for the registry");
    assert!(scripted.registry.seen().iter().any(|it| it.header("authorization").is_some()));

    // Nor may that one ask for it.
    let thief = Origin::start(|_| respond(200, "", br#"{"token":"a-token"}"#));
    let challenge = format!("www-authenticate: Bearer realm=\"{}/token\"\r\n", thief.url());
    let store = Origin::start(move |_| respond(401, &challenge, b""));
    let location = format!("location: {}/blob\r\n", store.url());
    let scripted = Scripted::start(move |it| is_blob(it).then(|| respond(307, &location, b"")));
    let why = scripted.refused(&format!("{who}addresses = [\"127.0.0.0/8\"]"));
    assert!(why.contains("does not give the component"), "{why}");
    assert!(thief.seen().is_empty(), "{:?}", thief.seen());

    for (location, words) in [
        ("http://169.254.169.254/latest/meta-data", "http://169.254.169.254, which is not public"),
        ("https://[::1]/x", "https://[::1], which is not public"),
        ("http://localhost:9/x", "which is not public"),
        ("ftp://example.com/x", "to where nothing can be"),
        ("http://user@example.com/x", "to where nothing can be"),
        ("/v2/team/greeting/blobs/again", "more than 5 times"),
    ] {
        let field = format!("location: {location}\r\n");
        let scripted = Scripted::start(move |it| is_blob(it).then(|| respond(302, &field, b"")));
        let why = scripted.refused("");
        assert!(why.contains(words), "{location}: {why}");
    }
    let lost = Scripted::start(move |it| is_blob(it).then(|| respond(302, "", b"")));
    assert!(lost.refused("").contains("does not say where to"));
}

#[test]
fn a_token_is_asked_for_where_the_registry_says() {
    let tokens = Origin::start(|it| match it.header("authorization") {
        Some("Basic cmVhZGVyOmh1bnRlcjItY2FuYXJ5") => respond(200, "", br#"{"token":"a-token"}"#),
        _ => respond(403, "", b"{}"),
    });
    let challenge = format!(
        "www-authenticate: Bearer realm=\"{}/token?a=b\",service=\"the registry\",scope=\"repository:team/greeting:pull\"\r\n",
        tokens.url()
    );
    let scripted = Scripted::start(move |it| match it.header("authorization") {
        Some("Bearer a-token") => None,
        _ => Some(respond(401, &challenge, b"")),
    });
    let loopback = "addresses = [\"127.0.0.0/8\"]\n";
    let who = format!("{loopback}username = \"reader\"\npassword = \"hunter2-canary\"\n");
    assert_eq!(scripted.try_start(&who).as_deref(), Ok("hello"));
    assert_eq!(tokens.last().target(), "/token?a=b&service=the%20registry&scope=repository%3Ateam%2Fgreeting%3Apull");
    assert_eq!(tokens.seen().len(), 1, "one for all of it");
    let why = scripted.refused(loopback);
    assert!(why.contains("answers 403 for a token"), "{why}");
    let why = scripted.refused("username = \"reader\"\npassword = \"hunter2-canary\"\n");
    assert!(why.contains("for a token") && why.contains("not public"), "{why}");
    assert_eq!(tokens.seen().len(), 2, "it was not asked");

    // A registry that is content with nothing is asked twice, and not for ever.
    let never = Scripted::start(|_| Some(respond(401, "www-authenticate: Basic\r\n", b"")));
    let why = never.refused("username = \"reader\"\npassword = \"hunter2-canary\"\n");
    assert!(why.contains("does not give the manifest to this user (401)"), "{why}");
    assert_eq!(never.registry.seen().len(), 2);
    let odd = Scripted::start(|_| Some(respond(401, "www-authenticate: Negotiate\r\n", b"")));
    assert!(odd.refused("").contains("in a way that is not known here"));
}

#[test]
fn a_registry_that_takes_its_time_is_not_waited_for() {
    let gate = Gate::default();
    let scripted = Scripted::start({
        let gate = gate.clone();
        move |it| {
            if is_blob(it) {
                gate.pass();
            }
            None
        }
    });
    let why = scripted.refused("timeout = \"300ms\"");
    assert!(why.contains("takes longer than 300ms") || why.contains("takes too long"), "{why}");
    gate.open();
    assert_eq!(scripted.try_start("timeout = \"60s\"").as_deref(), Ok("hello"));
}

#[test]
fn a_registry_proves_who_it_is() {
    let identity = Identity::new(&["127.0.0.1"]);
    let folder = folder();
    identity.write(folder.path(), "registry");
    let bytes = hello();
    let manifest = manifest(&[component(&bytes)]);
    let digest = sha256(manifest.as_bytes());
    let registry = Origin::start_tls(&identity, move |it| match is_blob(it) {
        true => respond(200, "", &bytes),
        false => respond(200, "", manifest.as_bytes()),
    });
    let origin = Origin::fine();
    let config = Config { origin: &origin, scheme: "https", registry: registry.address(), cache: folder.path() };
    let why = Proxy::try_start(&config.text(&digest, "", ""), &[]).map(drop).expect_err("nobody trusts it");
    assert!(why.contains("does not prove who it is"), "{why}");
    // Where no table is about it, it is asked by HTTPS all the same.
    let alone = config.text(&digest, "", "");
    let alone = alone.split("[registry.local]").next().expect("the begin");
    let why = Proxy::try_start(alone, &[]).map(drop).expect_err("nobody trusts it");
    assert!(why.contains("does not prove who it is"), "{why}");
    let roots = format!("roots = {:?}", folder.path().join("registry.pem"));
    let proxy = Proxy::start(&config.text(&digest, "", &roots), &[]);
    assert_eq!(says(&proxy), "hello");
}
