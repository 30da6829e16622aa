//! What clients learn of the servers behind: nothing.

use super::with;
use crate::harness::{Origin, Proxy};

#[test]
fn an_address_in_a_dozen_headers_and_a_page_of_an_error_reaches_nobody() {
    let origin = Origin::start(|request| {
        let me = request.header("host").expect("a host").to_owned();
        let (host, port) = me.split_once(':').expect("a port");
        let fields = format!(
            "location: http://{me}/a\r\ncontent-location: //{me}/b\r\nrefresh: 1; url=http://{me}/c\r\n\
             link: <http://{me}/d>; rel=next, <//{me}/e>; rel=prev\r\nset-cookie: a=b; Domain={host}; Path=/\r\n\
             set-cookie: back=http://{me}/\r\nserver: nginx on {me}\r\nvia: 1.1 {me}\r\nx-powered-by: PHP on {me}\r\n\
             x-upstream-addr: {me}\r\nx-backend-server: {host}\r\nalt-svc: h3=\"{me}\"\r\nx-envoy-upstream: {me}\r\n\
             www-authenticate: Basic realm=\"{me}\"\r\naccess-control-allow-origin: http://{me}\r\n\
             warning: 199 {me} \"stale\"\r\nx-custom: {host}, port={port} at {me}\r\netag: \"{me}\"\r\n"
        );
        let (status, body) = match request.target() {
            "/broken" => ("500 Broken", format!("<html><h1>nginx</h1>{me} at {host} cannot</html>")),
            "/moved" => ("302 Found", String::new()),
            _ => ("200 OK", "fine".to_owned()),
        };
        format!("HTTP/1.1 {status}\r\n{fields}content-length: {}\r\n\r\n{body}", body.len()).into_bytes()
    });
    let endpoint = format!("http://127.0.0.1:{}", origin.address().port());
    let proxy = Proxy::start(&with(&format!("endpoints = [{endpoint:?}]")), &[]);
    for (path, status) in [("/", 200), ("/moved", 302), ("/broken", 500)] {
        let mut client = proxy.client();
        client.send(format!("GET {path} HTTP/1.1\r\nhost: api.test\r\nconnection: close\r\n\r\n"));
        let transcript = client.rest();
        assert!(transcript.starts_with(&format!("HTTP/1.1 {status}")), "{transcript}");
        for secret in ["127.0.0.1", &origin.address().to_string(), "nginx", "PHP", "via", "envoy"] {
            assert!(!transcript.contains(secret), "{secret} in {transcript}");
        }
        if path == "/moved" {
            assert!(transcript.contains("location: http://api.test/a\r\n"), "{transcript}");
        }
    }
    let metrics = proxy.admin("/metrics").text();
    let leaks = metrics.lines().find_map(|line| line.strip_prefix("tollgate_upstream_leaks_total{upstream=\"o\"} "));
    assert!(leaks.and_then(|leaks| leaks.parse::<u64>().ok()).is_some_and(|leaks| leaks >= 10), "{leaks:?}");
}

#[test]
fn via_names_us_in_both_directions_and_ends_circles() {
    let origin = Origin::start(|_| b"HTTP/1.1 200 OK\r\nvia: 1.1 secret\r\ncontent-length: 0\r\n\r\n".to_vec());
    let config = format!("via = \"edge\"\n{}", with(&format!("endpoints = [{:?}]", origin.url())));
    let proxy = Proxy::start(&config, &[]);
    let response = proxy.client().request("GET", "/", &[("via", "1.0 other")], b"");
    let all = |message: &crate::harness::Message| -> Vec<String> {
        message.headers.iter().filter(|(name, _)| name == "via").map(|(_, value)| value.clone()).collect()
    };
    assert_eq!(
        (all(&response), all(&origin.last())),
        (vec!["1.1 edge".into()], vec!["1.0 other".into(), "1.1 edge".into()])
    );
    // Before itself, a proxy is seen by its own name.
    let circle = Proxy::start(&config, &[]);
    let endpoint = format!("http://{}", circle.address("public"));
    circle.reload(&format!("via = \"edge\"\n{}", with(&format!("endpoints = [{endpoint:?}]")))).expect("a right one");
    let refused = circle.get("/");
    assert_eq!((refused.status(), refused.code().as_str()), (508, "upstream-status"));
    let seen = proxy.client().request("GET", "/", &[("via", "1.1 edge")], b"");
    assert_eq!((seen.status(), seen.code().as_str(), seen.header("via")), (508, "loop", None));
}
