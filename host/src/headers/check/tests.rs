use http::header::HeaderValue;
use http::{Request, Version};

use super::*;

fn headers(lines: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.append(name, HeaderValue::from_str(value).unwrap());
    }
    headers
}

fn request(version: Version, method: &str, target: &str, lines: &[(&str, &str)]) -> Request<()> {
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    let mut request = Request::builder().version(version).method(method).uri(target).body(()).unwrap();
    *request.headers_mut() = headers(lines);
    request
}

/// The code of the refusal, or the authority.
fn check(version: Version, method: &str, target: &str, lines: &[(&str, &str)]) -> String {
    let request = request(version, method, target, lines);
    match check_request(&request, Kinds::of(request.headers()), Scheme::Http) {
        Ok(authority) => authority.as_str().to_owned(),
        Err(error) => error.reason().code().to_owned(),
    }
}

#[test]
fn heads_are_checked() {
    const H10: Version = Version::HTTP_10;
    const H11: Version = Version::HTTP_11;
    const H2: Version = Version::HTTP_2;
    const HOST: (&str, &str) = ("host", "a");
    type Lines<'a> = &'a [(&'a str, &'a str)];
    let table: &[(Version, &str, &str, Lines<'_>, &str)] = &[
        (H11, "GET", "/", &[HOST], "a"),
        (H10, "GET", "/", &[HOST], "a"),
        (H2, "GET", "http://a/", &[], "a"),
        (H2, "GET", "http://A:80/", &[("host", "a")], "a"),
        (H2, "GET", "/", &[HOST], "a"),
        (Version::HTTP_09, "GET", "/", &[HOST], "http-version"),
        (Version::HTTP_3, "GET", "/", &[HOST], "http-version"),
        // Methods and targets.
        (H11, "CONNECT", "127.0.0.1:22", &[HOST], "method-refused"),
        (H11, "TRACE", "/", &[HOST], "method-refused"),
        (H11, "GET", "*", &[HOST], "bad-request"),
        (H11, "OPTIONS", "*", &[HOST], "a"),
        (H11, "GET", "a:80", &[HOST], "bad-request"),
        (H11, "GET", "ftp://a/", &[HOST], "bad-request"),
        (H11, "GET", "http://B.example:8080/x", &[HOST], "b.example:8080"),
        (H11, "GET", "http://169.254.169.254/latest", &[HOST], "169.254.169.254"),
        (H11, "GET", "http://b/", &[], "bad-host"),
        (H11, "GET", "http://u:p@b/", &[HOST], "bad-host"),
        // Host.
        (H11, "GET", "/", &[], "bad-host"),
        (H10, "GET", "/", &[], "bad-host"),
        (H2, "GET", "/", &[], "bad-host"),
        (H11, "GET", "/", &[HOST, HOST], "bad-host"),
        (H11, "GET", "/", &[("host", "")], "bad-host"),
        (H11, "GET", "/", &[("host", "a@b")], "bad-host"),
        (H11, "GET", "/", &[("host", "a/b")], "bad-host"),
        (H11, "GET", "/", &[("host", "a, b")], "bad-host"),
        (H11, "GET", "/", &[("host", "a:99999999")], "bad-host"),
        (H11, "GET", "http://b/", &[("host", "a@b")], "bad-host"),
        (H2, "GET", "http://b/", &[HOST], "bad-host"),
        // Framing.
        (H11, "POST", "/", &[HOST, ("content-length", "5")], "a"),
        (H11, "POST", "/", &[HOST, ("transfer-encoding", "chunked")], "a"),
        (H11, "POST", "/", &[HOST, ("transfer-encoding", "Chunked")], "a"),
        (H11, "POST", "/", &[HOST, ("content-length", "5"), ("content-length", "6")], "bad-framing"),
        (H11, "POST", "/", &[HOST, ("content-length", "5"), ("content-length", "5")], "bad-framing"),
        (H11, "POST", "/", &[HOST, ("content-length", "5, 5")], "bad-framing"),
        (H11, "POST", "/", &[HOST, ("content-length", "+5")], "bad-framing"),
        (H11, "POST", "/", &[HOST, ("content-length", "-1")], "bad-framing"),
        (H11, "POST", "/", &[HOST, ("content-length", "0x5")], "bad-framing"),
        (H11, "POST", "/", &[HOST, ("content-length", "")], "bad-framing"),
        (H11, "POST", "/", &[HOST, ("content-length", "18446744073709551621")], "bad-framing"),
        (H11, "POST", "/", &[HOST, ("content-length", "5"), ("transfer-encoding", "chunked")], "bad-framing"),
        (H11, "POST", "/", &[HOST, ("transfer-encoding", "xchunked")], "bad-framing"),
        (H11, "POST", "/", &[HOST, ("transfer-encoding", "chunked, identity")], "bad-framing"),
        (H11, "POST", "/", &[HOST, ("transfer-encoding", "gzip, chunked")], "bad-framing"),
        (H11, "POST", "/", &[HOST, ("transfer-encoding", "chunked"), ("transfer-encoding", "cow")], "bad-framing"),
        (H10, "POST", "/", &[HOST, ("transfer-encoding", "chunked")], "bad-framing"),
        (H2, "POST", "http://a/", &[("transfer-encoding", "chunked")], "bad-framing"),
        // Expect.
        (H11, "POST", "/", &[HOST, ("expect", "100-Continue"), ("content-length", "5")], "a"),
        (H11, "POST", "/", &[HOST, ("expect", "y 100-continue")], "expectation-failed"),
        (H11, "POST", "/", &[HOST, ("expect", "100-continue"), ("expect", "100-continue")], "expectation-failed"),
        (H10, "POST", "/", &[HOST, ("expect", "nonsense")], "a"),
        // Upgrade.
        (H11, "GET", "/", &[HOST, ("upgrade", "websocket")], "a"),
        (H11, "POST", "/", &[HOST, ("upgrade", "websocket"), ("content-length", "0")], "a"),
        (H11, "POST", "/", &[HOST, ("upgrade", "websocket"), ("content-length", "5")], "upgrade-with-body"),
        (H11, "POST", "/", &[HOST, ("upgrade", "foo"), ("transfer-encoding", "chunked")], "upgrade-with-body"),
        (H11, "POST", "/", &[HOST, ("upgrade", "h2c"), ("content-length", "5")], "a"),
    ];
    for (version, method, target, lines, expected) in table {
        assert_eq!(check(*version, method, target, lines), *expected, "{version:?} {method} {target} {lines:?}");
    }
}

#[test]
fn heads_have_a_size() {
    let request = request(Version::HTTP_11, "GET", "/abc?de", &[("host", "a"), ("x", "12345")]);
    // 7 of the target, 4 + 1 + 4 and 1 + 5 + 4 of the fields.
    assert!(check_size(&request, 2, 26).is_ok());
    assert_eq!(*check_size(&request, 2, 25).unwrap_err().reason(), Reason::HeadTooLarge);
    assert_eq!(*check_size(&request, 1, 1000).unwrap_err().reason(), Reason::HeadTooLarge);
}
