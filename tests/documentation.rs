//! What the documentation shows: each example starts as it is written, with stand-ins for addresses and files, and does
//! what the page beside it says.

use std::fs;
use std::path::Path;

use tempfile::TempDir;
use tollgate::minisign::{Message as Signed, SecretKey};
use tollgate::server::{Options, Server};

use crate::harness::{Client, Identity, Message, Origin, Proxy, answer, drop_in, handshake, hello};
use crate::main_job::{self, KEY};
use crate::registry::{self, sha256};

const XML: &str = "<catalog><item>tea</item></catalog>";

/// The examples of a page, by their place on it.
fn examples(page: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(page);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{page}: {error}"));
    let examples = text.split("```toml\n").skip(1).map(|rest| rest.split("```").next().expect("text"));
    // How long a call may take says something about a machine, and this one may be busy.
    examples
        .map(|example| example.replace("time = \"10ms\"", "time = \"5s\"").replace("time = \"50ms\"", "time = \"5s\""))
        .collect()
}

/// The plugins that an example has, in its order.
fn plugins(example: &str) -> Vec<String> {
    let heading = |line: &str| line.strip_prefix("[plugin.")?.strip_suffix(']').map(str::to_owned);
    example.lines().filter_map(heading).filter(|name| !name.contains('.')).collect()
}

/// A proxy with the examples of a plugin's page, and a route `/NAME` through each of them.
fn start(name: &str) -> (Origin, Proxy) {
    let origin = Origin::start(|_| answer("application/xml", XML));
    let mut config = format!("upstream.o.endpoints = [\"{}\"]\n", origin.url());
    let (mut routes, mut tables) = (String::new(), String::new());
    for mut example in examples(&format!("plugins/{name}/README.md")) {
        for plugin in plugins(&example) {
            routes += &format!(
                "route.{plugin} = {{ path-prefix = \"/{plugin}\", chain = [\"{plugin}\"], upstream = \"o\" }}\n"
            );
            if !example.contains("limits =") {
                let heading = format!("[plugin.{plugin}]\n");
                example = example.replace(&heading, &format!("{heading}limits.time = \"5s\"\n"));
            }
        }
        tables += &example;
    }
    config += &(routes + &tables);
    let proxy = Proxy::try_start(&config, &[]).unwrap_or_else(|why| panic!("the example of {name}: {why}"));
    (origin, proxy)
}

fn ask(proxy: &Proxy, method: &str, target: &str, fields: &[(&str, &str)], body: &str) -> Message {
    proxy.client().request(method, target, fields, body.as_bytes())
}

#[test]
fn every_plugin_has_an_example() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins");
    let mut names: Vec<String> = fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry"))
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().into_string().expect("UTF-8"))
        .collect();
    names.sort();
    assert_eq!(names, ["api-key", "convert", "cors", "headers", "rate-limit", "validate"], "each has a test below");
    for name in names {
        let examples = examples(&format!("plugins/{name}/README.md"));
        assert!(!examples.is_empty(), "{name} shows none");
        for example in examples {
            assert!(example.contains(&format!("component = \"{name}\"")), "{name} in:\n{example}");
        }
        start(&name);
    }
}

#[test]
fn api_key() {
    let (origin, proxy) = start("api-key");
    assert_eq!(ask(&proxy, "GET", "/keys", &[("x-api-key", KEY)], "").status(), 200);
    let seen = origin.last();
    let told = ["x-consumer-id", "x-consumer-scopes", "x-api-key"].map(|name| seen.header(name));
    assert_eq!(told, [Some("alice"), Some("read"), None], "{seen:?}");
    let none = ask(&proxy, "GET", "/keys", &[], "");
    assert_eq!((none.status(), none.code().as_str()), (401, "missing-credential"));
    assert!(
        none.header("www-authenticate").is_some_and(|challenge| challenge.contains("realm=\"search\"")),
        "{none:?}"
    );
    let bearer = format!("Bearer {KEY}");
    let other = ask(&proxy, "GET", "/write-keys", &[("authorization", &bearer)], "");
    assert_eq!((other.status(), other.code().as_str()), (401, "invalid-credential"), "alice is no writer");
}

#[test]
fn rate_limit() {
    let (_origin, proxy) = start("rate-limit");
    let quiet = ask(&proxy, "GET", "/per-address", &[], "");
    assert_eq!((quiet.status(), quiet.header("ratelimit")), (200, None), "it tells a guesser nothing");
    let told = ask(&proxy, "GET", "/per-minute", &[], "");
    assert_eq!(told.header("ratelimit-policy"), Some("\"minute\";q=100;w=60"), "{told:?}");
    assert!(told.header("ratelimit").is_some_and(|limit| limit.starts_with("\"minute\";r=99;")), "{told:?}");
    let refused = ask(&proxy, "GET", "/per-tenant", &[], "");
    assert_eq!((refused.status(), refused.code().as_str()), (403, "missing-limit-key"), "nobody knows the consumer");
}

#[test]
fn validate() {
    let (origin, proxy) = start("validate");
    let json = [("content-type", "application/json")];
    let right = r#"{"sku":"ABC-1234","quantity":1}"#;
    assert_eq!(ask(&proxy, "POST", "/order", &json, right).status(), 200);
    assert_eq!(origin.last().text(), right, "byte for byte");
    let wrong = ask(&proxy, "POST", "/order", &json, r#"{"sku":"ABC-1234","quantity":1001}"#);
    assert_eq!((wrong.status(), wrong.code().as_str()), (400, "invalid-body"));
    assert_eq!(wrong.json()["errors"][0]["pointer"], "/quantity", "{wrong:?}");
    assert_eq!(ask(&proxy, "POST", "/order", &[("content-type", "text/plain")], right).status(), 415);
    assert_eq!(origin.seen().len(), 1);
}

#[test]
fn convert() {
    let (origin, proxy) = start("convert");
    let fields = [("content-type", "application/json"), ("accept", "*/*")];
    let response = ask(&proxy, "POST", "/to-json", &fields, r#"{"order":{"@id":"7","item":"tea"}}"#);
    assert_eq!(response.status(), 200, "{response:?}");
    assert_eq!(response.json(), serde_json::json!({ "catalog": { "item": ["tea"] } }), "always an array");
    let sent = origin.last();
    assert!(sent.header("content-type").is_some_and(|kind| kind.starts_with("application/xml")), "{sent:?}");
    assert!(sent.text().ends_with("<order id=\"7\"><item>tea</item></order>"), "{sent:?}");
    let xml = ask(&proxy, "GET", "/to-json", &[("accept", "application/xml")], "");
    assert_eq!(xml.text(), XML, "for those who like it");
    assert_eq!(ask(&proxy, "POST", "/to-json", &[("content-type", "text/plain")], "tea").status(), 415);
}

#[test]
fn headers() {
    let (origin, proxy) = start("headers");
    let fields = [("x-debug", "1"), ("x-internal-a", "1"), ("x-old-token", "t"), ("x-consumer", "root")];
    let response = ask(&proxy, "GET", "/tidy/a?b", &fields, "");
    let seen = origin.last();
    for (name, value) in [
        ("x-debug", None),
        ("x-internal-a", None),
        ("x-old-token", None),
        ("x-token", Some("t")),
        ("x-consumer", None),
        ("x-stage", Some("live")),
        ("accept-language", Some("en")),
    ] {
        assert_eq!(seen.header(name), value, "{name}: {seen:?}");
    }
    assert_eq!(response.header("x-served-for"), Some("GET /tidy/a"), "{response:?}");
    assert_eq!(response.header("x-content-type-options"), Some("nosniff"), "{response:?}");
    assert_eq!(response.headers.iter().filter(|(name, _)| name == "link").count(), 2, "{response:?}");
}

#[test]
fn cors() {
    let (origin, proxy) = start("cors");
    let asks = [("origin", "https://a.preview.example.com"), ("access-control-request-method", "PUT")];
    let preflight = ask(&proxy, "OPTIONS", "/pages", &asks, "");
    assert_eq!(preflight.status(), 204, "{preflight:?}");
    assert_eq!(preflight.header("access-control-max-age"), Some("3600"), "{preflight:?}");
    let stranger = [("origin", "https://evil-preview.example.com"), ("access-control-request-method", "PUT")];
    assert_eq!(ask(&proxy, "OPTIONS", "/pages", &stranger, "").code(), "origin-not-allowed");
    assert!(origin.seen().is_empty());
    let read = ask(&proxy, "GET", "/pages", &[("origin", "http://localhost:3000")], "");
    assert_eq!(read.header("access-control-allow-origin"), Some("http://localhost:3000"), "{read:?}");
    assert_eq!(read.header("access-control-expose-headers"), Some("retry-after, x-request-id"), "{read:?}");
}

/// The order that the page about all of them recommends.
#[test]
fn the_recommended_chain() {
    let route = examples("plugins/README.md").remove(0);
    let origin = Origin::start(|_| answer("application/xml", "<a>1</a>"));
    let config = main_job::config(&origin, 1);
    let (plugins, _) = config.split_once("[route.search]").expect("a route");
    let proxy = Proxy::start(
        &format!("{plugins}\n[plugin.secure]\ncomponent = \"headers\"\nconfig.preset = \"api\"\n{route}"),
        &[],
    );
    let page = ("origin", "https://app.example.com");
    let preflight = [page, ("access-control-request-method", "GET"), ("access-control-request-headers", "x-api-key")];
    for _ in 0..3 {
        assert_eq!(ask(&proxy, "OPTIONS", "/v1/search", &preflight, "").status(), 204, "counts against no limit");
    }
    for (fields, status) in [(&[page][..], 401), (&[page, ("x-api-key", KEY)], 200), (&[page, ("x-api-key", KEY)], 429)]
    {
        let response = ask(&proxy, "GET", "/v1/search", fields, "");
        assert_eq!(response.status(), status, "{response:?}");
        assert_eq!(response.header("access-control-allow-origin"), Some("https://app.example.com"), "{response:?}");
        assert_eq!(response.header("x-content-type-options"), Some("nosniff"), "{response:?}");
    }
}

/// The configuration of the front page, and what it says about a plugin of one's own.
#[test]
fn the_front_page() {
    let page = examples("README.md");
    let [config, greet, ..] = &page[..] else { panic!("two examples on the front page: {page:?}") };
    let origin = Origin::start(|_| answer("application/xml", "<a>1</a>"));
    let folder = TempDir::new().expect("a folder");
    let file = |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("a file");
    let identity = Identity::new(&["api.example.com"]);
    identity.write(folder.path(), "pair");
    for (from, to) in [("pair.pem", "cert.pem"), ("pair.key.pem", "key.pem")] {
        fs::rename(folder.path().join(from), folder.path().join(to)).expect("a folder");
    }
    file("alice.sha256", "102505fad4af93f9f14554c6f219ad49b020adfdddd71bb7b2989be7dfcabce2\n");
    fs::create_dir(folder.path().join("plugins")).expect("a folder");
    drop_in(folder.path(), "hello", &hello());
    let mut config = format!("log.access = \"off\"\nworkers = 1\n{config}{greet}");
    for (written, stands_for) in [
        ("\"0.0.0.0:8443\"", "\"127.0.0.1:0\"".to_owned()),
        ("\"127.0.0.1:9901\"", "\"127.0.0.1:0\"".to_owned()),
        ("\"http://10.0.1.5:8080\", \"http://10.0.1.6:8080\"", format!("{:?}", origin.url())),
        ("/run/secrets/alice.sha256", "alice.sha256".to_owned()),
        ("directory = \"plugins\"", format!("directory = \"plugins\"\ncache = {:?}", env!("COMPILED"))),
        // What its comment says.
        ("\"as-json\"]", "\"as-json\", \"greet\"]".to_owned()),
    ] {
        assert!(config.contains(written), "{written} in:\n{config}");
        config = config.replace(written, &stands_for);
    }
    file("tollgate.toml", &config);
    let loaded = tollgate::config::load(&folder.path().join("tollgate.toml")).unwrap_or_else(|why| panic!("{why}"));
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    let server = Server::start(loaded, Options::default()).unwrap_or_else(|why| panic!("{why}"));
    let address = server.address("public").expect("a listener");
    let ask = |fields: &[(&str, &str)]| {
        let stream = handshake(address, "api.example.com", identity.client(&[])).expect("a handshake");
        let mut client = Client::over(stream);
        let mut head = "GET /v1/search HTTP/1.1\r\nhost: api.example.com\r\n".to_owned();
        fields.iter().for_each(|(name, value)| head += &format!("{name}: {value}\r\n"));
        client.send(head + "\r\n");
        client.response()
    };
    assert_eq!(ask(&[]).status(), 401);
    let response = ask(&[("x-api-key", KEY)]);
    assert_eq!((response.status(), response.text().as_str()), (200, r#"{"a":"1"}"#), "{response:?}");
    assert_eq!(response.header("x-hello"), Some("world"), "{response:?}");
    assert!(response.header("ratelimit").is_some_and(|limit| limit.contains("r=99")), "{response:?}");
}

#[test]
fn upstreams_and_protocols() {
    let pages = ["docs/upstreams.md", "docs/protocols.md"].map(examples);
    assert!(pages.iter().all(|examples| examples.len() > 1), "{pages:?}");
    for example in pages.concat() {
        let names = example.lines().filter_map(|line| line.strip_prefix("[upstream.")?.strip_suffix(']'));
        let routes: String = names
            .filter(|_| !example.contains("[route."))
            .map(|name| format!("route.{name} = {{ path-prefix = \"/{name}\", upstream = \"{name}\" }}\n"))
            .collect();
        // Nobody's traffic leaves this machine.
        let example = example.replace("10.0.1.", "127.0.1.").replace("${file:sticky.key}", "0123456789abcdef");
        let config = format!("{routes}{example}");
        Proxy::try_start(&config, &[]).unwrap_or_else(|why| panic!("{why} in:\n{config}"));
    }
}

#[test]
fn deploying() {
    let examples = examples("docs/deploying.md");
    assert!(!examples.is_empty());
    let origin = Origin::fine();
    for example in examples {
        // The harness has both of these already.
        let tables = ["[plugins]\ndirectory = \"plugins\"\n", "[admin]\naddress = \"127.0.0.1:9901\"\n"];
        let example = tables.iter().fold(example, |text, table| text.replace(table, ""));
        let example = example.replace("10.0.1.5:8080", &origin.url()["http://".len()..]);
        let example = example.replace("\nrollout", "\nlimits.time = \"5s\"\nrollout");
        let rest = format!(
            "upstream.search.endpoints = [\"{}\"]\nroute.all = {{ path-prefix = \"/\", chain = [\"greet\"], upstream = \"search\" }}\n",
            origin.url()
        );
        let config = if example.contains("[route.") { example } else { rest + &example };
        let proxy =
            Proxy::try_start(&config, &[("greeting", hello())]).unwrap_or_else(|why| panic!("{why} in:\n{config}"));
        assert_eq!(proxy.get("/").status(), 200, "{config}");
    }
}

#[test]
fn trusting() {
    let page = examples("docs/trust.md");
    assert_eq!(page.len(), 3, "{page:?}");
    let origin = Origin::fine();
    let (digest, registry) = registry::of(hello());
    let key = SecretKey::generate().expect("random numbers");
    let signature = key.sign(&Signed::new(hello().into()), "");
    let folder = tempfile::tempdir().expect("a folder");
    let password = folder.path().join("password");
    fs::write(&password, "a password").expect("a file");
    for example in page {
        let from_registry = example.contains("oci://");
        let digest = if from_registry { &digest } else { &sha256(&hello()) };
        let example = example
            .replace("[plugins]\ndirectory = \"plugins\"\n", "")
            .replace("@sha256:…", &format!("@sha256:{digest}"))
            .replace("sha256:…", &format!("sha256:{digest}"))
            .replace("RWQ…", &key.public().to_string())
            .replace("https://registry.example.com", &registry.url())
            .replace("registry.example.com", &registry.address().to_string())
            .replace("/run/secrets/registry", password.to_str().expect("a path of text"))
            .replace("[plugin.greet]", "[plugin.greet]\nlimits.time = \"5s\"");
        let config = format!(
            "plugins.cache = {:?}\nupstream.o.endpoints = [\"{}\"]\n\
             route.all = {{ path-prefix = \"/\", chain = [\"greet\"], upstream = \"o\" }}\n{example}",
            folder.path(),
            origin.url()
        );
        let here = [("greeting", hello()), ("greeting.wasm.minisig", signature.clone().into_bytes())];
        let here = if from_registry { &[][..] } else { &here };
        let proxy = Proxy::try_start(&config, here).unwrap_or_else(|why| panic!("{why} in:\n{config}"));
        assert_eq!(proxy.get("/").header("x-hello"), Some("world"), "{config}");
    }
}
