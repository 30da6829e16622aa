//! Messages on their way into a guest of the standard and out of it. What comes out is as hostile as what any plugin says.

use http::header::{CONTENT_LENGTH, HOST, HeaderMap, HeaderName, TE};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, Request, Response, Uri, request, response};
use http_body_util::BodyExt as _;
use wasmtime_wasi_http::{Error as WasiError, WasiBody};

use crate::authority;
use crate::body::{Body, BodyError};
use crate::capability::http_client;
use crate::headers::{is_hop_by_hop, may_plugin_set, remove_where};
use crate::plugin::convert::{Refused, refuse, status, target};

/// What a request is asked with, beside its head.
pub(crate) struct Asked<'a> {
    pub(crate) scheme: authority::Scheme,
    /// Host and port in normal form.
    pub(crate) authority: &'a str,
}

/// Fields that are between two hops, and the host, which the request says elsewhere: no guest sees or sets them.
pub(super) fn is_kept_from_guests(name: &HeaderName) -> bool {
    *name == HOST || is_hop_by_hop(name)
}

/// A request as a guest gets it: with a whole URI.
pub(super) fn request<B>(head: &request::Parts, asked: &Asked<'_>, body: B) -> Result<Request<B>, Refused> {
    let authority = Authority::try_from(asked.authority);
    let authority = authority.map_err(|_| Refused("the host of the request cannot be told to it".to_owned()))?;
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(match asked.scheme {
        authority::Scheme::Https => Scheme::HTTPS,
        authority::Scheme::Http => Scheme::HTTP,
    });
    parts.authority = Some(authority);
    parts.path_and_query = Some(head.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/")));
    let uri = Uri::from_parts(parts);
    let uri = uri.map_err(|_| Refused("the target of the request cannot be told to it".to_owned()))?;
    let mut request = Request::new(body);
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = uri;
    *request.headers_mut() = head.headers.clone();
    Ok(request)
}

/// Makes of the head that a middleware was given the one that it passes on. Whom the request is for, it cannot change:
/// that is decided.
pub(crate) fn check_request(
    now: request::Parts,
    head: &mut request::Parts,
    encoded_slash: bool,
) -> Result<(), Refused> {
    if matches!(now.method, Method::CONNECT | Method::TRACE) {
        return refuse(format!("it asks with the method {}", now.method));
    }
    if now.uri.path_and_query() != head.uri.path_and_query() {
        let target = target(head, Some(now.uri.path()), Some(now.uri.query().unwrap_or_default()), encoded_slash)?;
        head.uri = Uri::from(target);
    }
    let mut headers = now.headers;
    let as_it_was = |name: &HeaderName| headers.get_all(name).iter().eq(head.headers.get_all(name).iter());
    let strange: Vec<_> = headers.keys().filter(|name| !may_plugin_set(name) && !as_it_was(name)).cloned().collect();
    for name in strange {
        headers.remove(name);
    }
    // What it could not see stays.
    for name in [HOST, TE] {
        if let Some(value) = head.headers.get(&name) {
            headers.insert(name, value.clone());
        }
    }
    (head.method, head.headers) = (now.method, headers);
    Ok(())
}

/// A response that is checked: its head, its body, and how long that is where the head says so.
pub(crate) type Checked = (response::Parts, WasiBody, Option<u64>);

/// Checks a response of a guest.
pub(crate) fn check_response(now: Response<WasiBody>) -> Result<Checked, Refused> {
    let (mut head, body) = now.into_parts();
    status(head.status.as_u16())?;
    remove_where(&mut head.headers, |name| *name != CONTENT_LENGTH && !may_plugin_set(name));
    let length = length(&head.headers)?;
    Ok((head, body, length))
}

fn length(headers: &HeaderMap) -> Result<Option<u64>, Refused> {
    let Some(said) = headers.get(CONTENT_LENGTH) else { return Ok(None) };
    let digits = said.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    match digits.and_then(|digits| digits.parse().ok()) {
        Some(length) => Ok(Some(length)),
        None => refuse("it says how long its body is, and that is no length"),
    }
}

/// A body of a guest as one of ours.
pub(crate) fn body(of: WasiBody) -> Body {
    Body::stream(of.map_err(|error| BodyError::Broken(error.into())))
}

/// What a guest is told of a body that does not come whole.
impl From<BodyError> for WasiError {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::Idle | BodyError::Slow | BodyError::Late => Self::ConnectionReadTimeout,
            BodyError::TooLarge => Self::HttpRequestBodySize(None),
            BodyError::Plugin(_) => Self::HttpProtocolError,
            BodyError::Left | BodyError::Broken(_) => Self::ConnectionTerminated,
        }
    }
}

/// What a guest is told of a request that could not be sent.
pub(super) fn error_of(error: http_client::Error) -> WasiError {
    use http_client::Error as E;
    match error {
        E::NotGranted => WasiError::HttpRequestDenied,
        E::InvalidRequest(why) => WasiError::InternalError(Some(why)),
        E::AddressNotAllowed => WasiError::DestinationIpProhibited,
        E::Resolve => WasiError::DnsError { rcode: None, info_code: None },
        E::Connect => WasiError::ConnectionRefused,
        E::Tls => WasiError::TlsProtocolError,
        E::Timeout => WasiError::HttpResponseTimeout,
        E::Protocol => WasiError::HttpProtocolError,
        E::TooLarge => WasiError::HttpResponseBodySize(None),
        E::TooMany => WasiError::ConnectionLimitReached,
        E::Unavailable => WasiError::DestinationUnavailable,
    }
}
