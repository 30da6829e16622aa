//! Plugins that ask servers of their own: which they may, how long, and what is left when nobody waits any more.

use std::io::{ErrorKind, Read as _};
use std::sync::Arc;

use crate::harness::{Gate, Identity, Origin, PATIENCE, Proxy, answer, guest};

/// Calls of the plugin may take a minute, unless the settings say otherwise.
fn start(grant: &str, settings: &str) -> Result<(Origin, Proxy), String> {
    let origin = Origin::fine();
    let limits = if settings.contains("limits") { "" } else { "limits.time = \"1m\"" };
    let config = format!(
        r#"
        upstream.o.endpoints = ["{}"]
        route.asked = {{ path = "/asked", chain = ["ask"], upstream = "o" }}
        route.open = {{ path = "/open", upstream = "o" }}
        [plugin.ask]
        component = "ask"
        grant.http = [{grant}]
        {limits}
        {settings}
        "#,
        origin.url()
    );
    let proxy = Proxy::try_start(&config, &[("ask", guest("ask"))])?;
    Ok((origin, proxy))
}

/// What the plugin was told.
fn answers(grant: &str, settings: &str) -> String {
    let (origin, proxy) = start(grant, settings).unwrap_or_else(|why| panic!("{why}"));
    let response = proxy.get("/asked");
    assert_eq!(response.status(), 200, "{response:?}");
    origin.last().header("x-answers").expect("answers").to_owned()
}

#[test]
fn what_a_server_says_arrives() {
    let asked = Origin::start(|_| answer("text/plain", "it is me"));
    let url = asked.url();
    let told = answers(&format!("{url:?}"), &format!("config.urls = [\"{url}/who?a=b\", \"{url}\"]"));
    assert_eq!(told, "200 text/plain it is me, 200 text/plain it is me");
    let [first, second] = &asked.seen()[..] else { panic!("two requests") };
    assert_eq!((first.start.as_str(), second.start.as_str()), ("POST /who?a=b HTTP/1.1", "POST / HTTP/1.1"));
    assert_eq!(first.header("host"), Some(asked.address().to_string().as_str()));
    assert_eq!((first.header("x-asks"), first.text().as_str()), (Some("plugin"), "who?"));
    assert_eq!(asked.accepted(), 1, "the connection is kept");
}

#[test]
fn only_origins_that_are_granted() {
    let (asked, other) = (Origin::fine(), Origin::fine());
    let (url, other_url) = (asked.url(), other.url());
    assert_eq!(answers(&format!("{url:?}"), &format!("config.urls = [\"{other_url}\"]")), "NotGranted");
    assert_eq!(other.accepted(), 0);
    let why = start("", &format!("config.urls = [\"{url}\"]")).err().expect("it does not load");
    assert!(why.contains("add: grant = { http = [\"https://HOST\"] }"), "{why}");
}

#[test]
fn a_name_must_not_stand_for_an_address_that_is_not_public() {
    let asked = Origin::fine();
    let url = format!("http://localhost:{}", asked.address().port());
    assert_eq!(answers(&format!("{url:?}"), &format!("config.urls = [\"{url}\"]")), "AddressNotAllowed");
    assert_eq!(asked.accepted(), 0);
    let grant = format!("{{ origin = {url:?}, addresses = [\"127.0.0.1\"] }}");
    assert_eq!(answers(&grant, &format!("config.urls = [\"{url}\"]")), "200 text/plain fine");
}

#[test]
fn several_are_under_way_at_once() {
    // Each waits until all three are there.
    let gate = Gate::default();
    let inside = gate.clone();
    let asked = Origin::start(move |_| {
        inside.pass();
        answer("text/plain", "open")
    });
    let url = asked.url();
    let (origin, proxy) =
        start(&format!("{url:?}"), &format!("config = {{ urls = [{url:?}, {url:?}, {url:?}], at-once = true }}"))
            .expect("it loads");
    let mut client = proxy.client();
    client.send("GET /asked HTTP/1.1\r\nhost: a\r\n\r\n");
    gate.arrived(3);
    // Meanwhile the worker serves others.
    assert_eq!(proxy.get("/open").status(), 200);
    gate.open();
    assert_eq!(client.response().status(), 200);
    let told = origin.last().header("x-answers").map(str::to_owned);
    assert_eq!(told.as_deref(), Some("200 text/plain open, 200 text/plain open, 200 text/plain open"));
}

#[test]
fn every_failure_has_a_word() {
    let silent = Gate::default();
    let inside = silent.clone();
    let never = Origin::start(move |_| {
        inside.pass();
        Vec::new()
    });
    let closed = Origin::once(b"");
    let broken = Origin::once(b"SMTP ready\r\n\r\n");
    let cut = Origin::once(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\ncut");
    let large = Origin::start(|_| answer("text/plain", &"x".repeat((1 << 20) + 1)));
    let largest = Origin::start(|_| answer("text/plain", &"x".repeat(1 << 20)));
    let moved = Origin::once(b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n");
    // A port that was free a moment ago.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").and_then(|one| one.local_addr()).expect("a port");
    let nobody = format!("http://{nobody}");
    for (url, told) in [
        (never.url(), "Timeout"),
        (closed.url(), "Connect"),
        (broken.url(), "Protocol"),
        (cut.url(), "Protocol"),
        (large.url(), "TooLarge"),
        (largest.url(), "200 text/plain xxxxxxxxxxxxxxxxxxxx"),
        (moved.url(), "302 none "),
        (nobody, "Connect"),
    ] {
        let time = if told == "Timeout" { "timeout-ms = 50" } else { "timeout-ms = 60000" };
        let found = answers(&format!("{url:?}"), &format!("config = {{ urls = [{url:?}], {time} }}"));
        assert_eq!(found.trim(), told.trim(), "{url}");
    }
    silent.open();
    let url = "http://does-not-exist.invalid";
    assert_eq!(answers(&format!("{url:?}"), &format!("config.urls = [{url:?}]")), "Resolve");
}

#[test]
fn tls_is_verified_by_the_granted_roots() {
    let identity = Arc::new(Identity::new(&["127.0.0.1"]));
    let asked = Origin::start_tls(&identity, |_| answer("text/plain", "proven"));
    let url = format!("https://{}", asked.address());
    let folder = tempfile::tempdir().expect("a folder");
    identity.write(folder.path(), "own");
    Identity::new(&["127.0.0.1"]).write(folder.path(), "other");
    for (roots, told) in [("own.pem", "200 text/plain proven"), ("other.pem", "Tls")] {
        let roots = folder.path().join(roots);
        let grant = format!("{{ origin = {url:?}, roots = {roots:?} }}");
        assert_eq!(answers(&grant, &format!("config.urls = [{url:?}]")), told);
    }
    let missing = format!("{{ origin = {url:?}, roots = \"nothing.pem\" }}");
    let why = start(&missing, &format!("config.urls = [{url:?}]")).err().expect("it does not load");
    assert!(why.contains("nothing.pem"), "{why}");
}

#[test]
fn roots_that_changed_are_read_with_the_next_reload() {
    let identity = Arc::new(Identity::new(&["127.0.0.1"]));
    let asked = Origin::start_tls(&identity, |_| answer("text/plain", "proven"));
    let url = format!("https://{}", asked.address());
    let folder = tempfile::tempdir().expect("a folder");
    Identity::new(&["127.0.0.1"]).write(folder.path(), "roots");
    let roots = folder.path().join("roots.pem");
    let origin = Origin::fine();
    let config = format!(
        r#"
        upstream.o.endpoints = ["{}"]
        route.asked = {{ path = "/asked", chain = ["ask"], upstream = "o" }}
        [plugin.ask]
        component = "ask"
        grant.http = [{{ origin = {url:?}, roots = {roots:?} }}]
        limits.time = "1m"
        config.urls = [{url:?}]
        "#,
        origin.url()
    );
    let proxy = Proxy::start(&config, &[("ask", guest("ask"))]);
    let told = || {
        assert_eq!(proxy.get("/asked").status(), 200);
        origin.last().header("x-answers").expect("answers").to_owned()
    };
    assert_eq!(told(), "Tls");
    identity.write(folder.path(), "roots");
    proxy.reload(&config).expect("it is fine");
    assert_eq!(told(), "200 text/plain proven");
    std::fs::write(&roots, "nothing").expect("a file");
    let why = proxy.reload(&config).expect_err("there is no root in it");
    assert!(why.contains("roots.pem"), "{why}");
    assert_eq!(told(), "200 text/plain proven", "what served goes on");
}

#[test]
fn a_call_has_a_quota_and_a_time() {
    let asked = Origin::fine();
    let url = asked.url();
    let many = vec![format!("{url:?}"); 18].join(", ");
    let told = answers(&format!("{url:?}"), &format!("config.urls = [{many}]"));
    assert_eq!((told.matches("200").count(), told.matches("TooMany").count()), (16, 2), "{told}");

    let gate = Gate::default();
    let inside = gate.clone();
    let never = Origin::start(move |_| {
        inside.pass();
        Vec::new()
    });
    let url = never.url();
    let (_origin, proxy) =
        start(&format!("{url:?}"), &format!("config.urls = [{url:?}]\nlimits.time = \"100ms\"")).expect("it loads");
    for _ in 0..2 {
        let refused = proxy.get("/asked");
        assert_eq!((refused.status(), refused.code().as_str()), (500, "plugin-timeout:ask"), "{refused:?}");
        assert_eq!(proxy.get("/open").status(), 200);
    }
    gate.open();
}

#[test]
fn what_a_plugin_begins_and_forgets_ends_with_its_call() {
    let asked = Origin::fine();
    let url = asked.url();
    let (_origin, proxy) =
        start(&format!("{url:?}"), &format!("config = {{ urls = [{url:?}, {url:?}], forget = true }}"))
            .expect("it loads");
    for _ in 0..100 {
        assert_eq!(proxy.get("/asked").status(), 200);
    }
    assert_eq!(proxy.get("/open").status(), 200);
    // Before it had even begun, since the plugin did not wait.
    assert_eq!(asked.accepted(), 0);
}

#[test]
fn what_a_plugin_waits_for_ends_with_the_request() {
    let asked = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", asked.local_addr().expect("an address"));
    let (_origin, proxy) = start(&format!("{url:?}"), &format!("config.urls = [{url:?}]")).expect("it loads");
    let mut client = proxy.client();
    client.send("GET /asked HTTP/1.1\r\nhost: a\r\n\r\n");
    let (mut stream, _) = asked.accept().expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout above zero");
    let mut first = [0];
    stream.read_exact(&mut first).expect("a request");
    drop(client);
    let mut rest = Vec::new();
    // To the end of the connection, or to its reset.
    let ended = stream.read_to_end(&mut rest);
    assert!(ended.is_ok() || ended.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset));
    assert!(rest.starts_with(b"OST / HTTP/1.1\r\n"), "{rest:?}");
    assert_eq!(proxy.get("/open").status(), 200);
}

#[test]
fn nothing_is_sent_while_a_plugin_is_configured() {
    let asked = Origin::fine();
    let url = asked.url();
    let why = start(&format!("{url:?}"), &format!("config = {{ urls = [{url:?}], while-configured = true }}")).err();
    assert!(why.as_ref().is_some_and(|why| why.contains("it was told Err(Unavailable)")), "{why:?}");
    assert_eq!(asked.accepted(), 0);
}
