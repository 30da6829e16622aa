use std::collections::BTreeSet;
use std::sync::Arc;

use http::header::{HeaderMap, HeaderValue};
use http::{Method, Request, StatusCode};

use super::problem::Form;
use super::*;

/// One of each kind, in the order of [`Reason::CODES`].
fn all() -> Vec<Reason> {
    let plugin: Arc<str> = "keys".into();
    vec![
        Reason::BadRequest,
        Reason::BadPath,
        Reason::AmbiguousPath,
        Reason::BadHost,
        Reason::BadHeader,
        Reason::BadFraming,
        Reason::BadBody,
        Reason::UpgradeWithBody,
        Reason::HttpVersion,
        Reason::MethodRefused,
        Reason::UriTooLong,
        Reason::HeadTooLarge,
        Reason::HeadTimeout,
        Reason::BodyTooLarge,
        Reason::BodyTimeout,
        Reason::ExpectationFailed,
        Reason::Misdirected,
        Reason::NoRoute,
        Reason::MethodNotAllowed(HeaderValue::from_static("GET, HEAD")),
        Reason::Loop,
        Reason::ClientGone,
        Reason::PluginFailed(plugin.clone()),
        Reason::PluginTimeout(plugin.clone()),
        Reason::PluginOverload(plugin.clone()),
        Reason::PluginPaused(plugin.clone(), 2),
        Reason::PluginRefused(plugin.clone()),
        Reason::PluginBodyTooLarge(plugin.clone()),
        Reason::PluginResponseTooLarge(plugin.clone()),
        Reason::ServiceFailed(plugin.clone()),
        Reason::ServiceTimeout(plugin.clone()),
        Reason::ServiceOverload(plugin),
        Reason::UpstreamResolve,
        Reason::UpstreamConnect,
        Reason::UpstreamConnectTimeout,
        Reason::UpstreamTls,
        Reason::UpstreamTlsTimeout,
        Reason::UpstreamReset,
        Reason::UpstreamProtocol,
        Reason::UpstreamTimeout,
        Reason::UpstreamIdle,
        Reason::UpstreamBody,
        Reason::TotalTimeout,
        Reason::UpstreamUnavailable,
        Reason::UpstreamStatus(StatusCode::INTERNAL_SERVER_ERROR),
        Reason::Overload,
        Reason::Draining,
        Reason::Internal,
    ]
}

fn audience(method: Method, headers: &[(HeaderName, &str)]) -> Audience {
    let mut request = Request::builder().method(method);
    for (name, value) in headers {
        request = request.header(name, *value);
    }
    Audience::of(&request.body(()).unwrap().into_parts().0)
}

fn lines(reason: &Reason) -> String {
    let error = Error::because(reason.clone(), "10.0.1.5:8080 /etc/secret wasm trap: unreachable");
    let response = error.response(&Audience::default(), "0123");
    let closes = if reason.closes() { ", closes" } else { "" };
    let mut out = format!("{reason}: {}{closes}\n", response.status().as_u16());
    for name in [header::ALLOW, header::RETRY_AFTER] {
        if let Some(value) = response.headers().get(&name) {
            out += &format!("  {name}: {}\n", value.to_str().unwrap());
        }
    }
    out += &format!("  {}\n", str::from_utf8(response.body()).unwrap());
    out
}

/// The file is what the test prints when it fails; a change of it is a change of what clients depend on.
#[test]
fn every_reason_has_its_problem() {
    let found: String = all().iter().map(lines).collect();
    assert!(found == include_str!("problems.txt"), "host/src/error/problems.txt should be:\n{found}");
}

#[test]
fn every_code_is_listed_once_in_order() {
    let codes: Vec<&str> = all().iter().map(Reason::code).collect();
    assert_eq!(codes, Reason::CODES);
    assert_eq!(codes.iter().collect::<BTreeSet<_>>().len(), codes.len());
}

#[test]
fn nothing_for_the_operator_reaches_a_client() {
    for reason in all() {
        for accept in ["application/json", "application/xml", "text/plain"] {
            let response = Error::because(reason.clone(), "10.0.1.5:8080 /etc/secret trap")
                .response(&audience(Method::GET, &[(header::ACCEPT, accept)]), "0123");
            let body = str::from_utf8(response.body()).unwrap();
            for secret in ["10.0.1.5", "8080", "/etc", "trap"] {
                assert!(!body.contains(secret), "{reason}: {body}");
            }
            assert!(body.contains("0123") && body.contains(&reason.to_string()), "{body}");
        }
    }
}

#[test]
fn bodies_have_the_form_and_exact_length() {
    let error = Error::new(Reason::NoRoute);
    let table = [
        (
            "application/json",
            "application/problem+json",
            r#"{"type":"urn:tollgate:problem:no-route","title":"Not Found","status":404,"detail":"There is nothing at this address.","code":"no-route","request_id":"<&\"7"}"#,
        ),
        (
            "text/xml",
            "application/problem+xml",
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<problem xmlns=\"urn:ietf:rfc:7807\"><type>urn:tollgate:problem:no-route</type><title>Not Found</title><status>404</status><detail>There is nothing at this address.</detail><code>no-route</code><request_id>&lt;&amp;\"7</request_id></problem>\n",
        ),
        (
            "text/plain",
            "text/plain; charset=utf-8",
            "404 Not Found\nThere is nothing at this address.\n\ncode: no-route\nrequest: <&\"7\n",
        ),
    ];
    for (accept, content_type, body) in table {
        let accept = [(header::ACCEPT, accept)];
        let response = error.response(&audience(Method::GET, &accept), "<&\"7");
        assert_eq!(response.status(), 404);
        assert_eq!(response.headers()[header::CONTENT_TYPE], content_type);
        assert_eq!(response.headers()[header::CONTENT_LENGTH], body.len().to_string().as_str());
        assert_eq!(str::from_utf8(response.body()).unwrap(), body);

        let head = error.response(&audience(Method::HEAD, &accept), "<&\"7");
        assert!(head.body().is_empty());
        assert_eq!(head.headers(), response.headers(), "HEAD gets the headers of GET");
    }
}

#[test]
fn faults_are_listed() {
    let faults = [("/a".to_owned(), "is \"no\" number\u{1}".to_owned()), ("/b<c".to_owned(), "is missing".to_owned())];
    let problem = Problem {
        status: StatusCode::UNPROCESSABLE_ENTITY,
        code: "invalid-body",
        title: "Invalid body",
        detail: None,
        faults: &faults,
    };
    let body = |accept: &str| {
        let response = problem.response(&audience(Method::GET, &[(header::ACCEPT, accept)]), "7");
        String::from_utf8(response.into_body().to_vec()).unwrap()
    };
    assert_eq!(
        body("*/*"),
        r#"{"type":"urn:tollgate:problem:invalid-body","title":"Invalid body","status":422,"code":"invalid-body","request_id":"7","errors":[{"pointer":"/a","detail":"is \"no\" number\u0001"},{"pointer":"/b<c","detail":"is missing"}]}"#
    );
    assert!(body("application/xml").ends_with(
        "<errors><i><pointer>/a</pointer><detail>is \"no\" number\u{fffd}</detail></i>\
         <i><pointer>/b&lt;c</pointer><detail>is missing</detail></i></errors></problem>\n"
    ));
    assert!(body("text/plain").starts_with("422 Invalid body\n- /a: is \"no\" number\u{1}\n- /b<c: is missing\n\n"));
}

#[test]
fn grpc_gets_headers_alone() {
    let grpc = audience(Method::POST, &[(header::CONTENT_TYPE, "application/grpc+proto")]);
    let table = [
        (Reason::NoRoute, "12"),
        (Reason::UpstreamTimeout, "4"),
        (Reason::UpstreamConnect, "14"),
        (Reason::BodyTooLarge, "8"),
        (Reason::PluginFailed("keys".into()), "13"),
        (Reason::BadHost, "3"),
    ];
    for (reason, status) in table {
        let response = Error::new(reason).response(&grpc, "7");
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/grpc");
        assert_eq!(response.headers()["grpc-status"], status);
        assert!(!response.headers()["grpc-message"].is_empty() && response.body().is_empty());
    }
    let problem =
        Problem { status: StatusCode::UNAUTHORIZED, code: "x", title: "50% \u{e9}\n", detail: None, faults: &[] };
    let response = problem.response(&grpc, "7");
    assert_eq!(response.headers()["grpc-status"], "16");
    assert_eq!(response.headers()["grpc-message"], "50%25 %C3%A9%0A");
}

#[test]
fn accept_is_negotiated() {
    let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8";
    let table = [
        ("", Form::Json),
        ("*/*", Form::Json),
        ("application/*", Form::Json),
        ("text/*", Form::Text),
        ("application/json", Form::Json),
        ("application/vnd.api+json", Form::Json),
        ("APPLICATION/XML", Form::Xml),
        ("application/problem+xml", Form::Xml),
        ("application/soap+xml; charset=utf-8", Form::Xml),
        ("text/xml", Form::Xml),
        ("text/plain", Form::Text),
        (browser, Form::Text),
        ("application/xml, application/json", Form::Json),
        ("application/xml;q=0.9, application/json;q=0.8", Form::Xml),
        ("application/xml;q=0.5, */*;q=0.1", Form::Xml),
        ("application/json;q=0, */*", Form::Xml),
        ("application/json;q=0, application/*;q=0.2, text/plain;q=0.3", Form::Text),
        ("application/xml; q=1.000 , application/json ; q=0.999", Form::Xml),
        ("application/xml;q=2, application/json;q=0.1", Form::Json),
        ("application/xml;q=x, text/plain;q=0.01", Form::Text),
        ("application/xml;q=0.1234, text/plain;q=0.01", Form::Text),
        ("image/png", Form::Json),
        ("application/json;q=0, application/xml;q=0, text/plain;q=0", Form::Json),
        (";;,,/;q=", Form::Json),
    ];
    for (accept, form) in table {
        assert_eq!(Form::preferred(accept.as_bytes()), form, "{accept}");
    }
}

#[test]
fn several_lines_of_accept_are_one_list() {
    let mut headers = HeaderMap::new();
    headers.append(header::ACCEPT, HeaderValue::from_static("application/json;q=0.1"));
    headers.append(header::ACCEPT, HeaderValue::from_static("application/xml"));
    let mut parts = Request::new(()).into_parts().0;
    parts.headers = headers;
    let response = Error::new(Reason::NoRoute).response(&Audience::of(&parts), "7");
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+xml");
}

#[test]
fn errors_are_written_for_the_operator() {
    assert_eq!(Error::new(Reason::NoRoute).to_string(), "no-route");
    let error = Error::because(Reason::PluginFailed("keys".into()), "trap");
    assert_eq!(error.to_string(), "plugin-failed:keys: trap");
}
