//! Upstreams stay hidden, whatever is around their addresses in a field of their answer.

use std::sync::LazyLock;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use tollgate::authority::Scheme;
use tollgate::config::Endpoint;
use tollgate::hide::{Hidden, Public};

static HIDDEN: LazyLock<Hidden> = LazyLock::new(|| {
    let hosts = [("10.0.1.5", 8080), ("backend.internal", 80), ("search", 3000), ("fd00::5", 8080)];
    let endpoint = |(host, port): (&str, u16)| Endpoint {
        tls: false,
        host: host.to_owned(),
        port,
        authority: HeaderValue::from_static("-"),
        unix: None,
    };
    Hidden::new(&hosts.map(endpoint))
});

/// The value of a field.
pub fn check(bytes: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(bytes) else { return };
    for (scheme, authority) in [
        (Scheme::Https, "api.example.com"),
        (Scheme::Http, "api.example.com:8080"),
        (Scheme::Http, "[2001:db8::1]:8080"),
        // The upstream's own name, as in a container's network.
        (Scheme::Https, "search"),
    ] {
        let public = Public { scheme, authority };
        for name in ["location", "link", "set-cookie", "x-other"] {
            let mut headers = HeaderMap::new();
            headers.insert(HeaderName::from_static(name), value.clone());
            HIDDEN.apply(&mut headers, public);
            assert_eq!(HIDDEN.leaks(&headers, public), 0, "{name}: {value:?} became {headers:?}");
        }
    }
}
