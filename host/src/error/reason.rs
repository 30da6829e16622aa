//! The words for how a request ends badly, and what each of them means for the client.

use std::fmt;
use std::sync::Arc;

use http::StatusCode;
use http::header::HeaderValue;

/// A way in which a request ends badly. Those of plugins carry the plugin's name, which exists since load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// The request is not HTTP as we accept it, in a way that no other reason names.
    BadRequest,
    /// The request target or its path: malformed, or with bytes that other programs read in another way.
    BadPath,
    /// A path that a lenient server could read as that of a better protected route.
    AmbiguousPath,
    /// No `Host`, several, or one that is not a host and port.
    BadHost,
    /// A header that the listener refuses.
    BadHeader,
    /// Where the body ends is said twice, not at all, or in an unknown way.
    BadFraming,
    /// The body broke off, or its chunks are malformed.
    BadBody,
    /// `Upgrade` on a request that has a body.
    UpgradeWithBody,
    /// A version of HTTP that we do not speak.
    HttpVersion,
    /// `CONNECT` and `TRACE`, which no route may take.
    MethodRefused,
    /// The target is longer than we take.
    UriTooLong,
    /// The head has more bytes or fields than the listener takes.
    HeadTooLarge,
    /// The head did not arrive in time.
    HeadTimeout,
    /// The body is longer than the route takes.
    BodyTooLarge,
    /// The body stopped arriving.
    BodyTimeout,
    /// `Expect` with anything but `100-continue`.
    ExpectationFailed,
    /// The host belongs to another certificate than the one of this connection.
    Misdirected,
    /// No route takes the request.
    NoRoute,
    /// A route takes the path, but not with this method; the value is for `Allow`.
    MethodNotAllowed(HeaderValue),
    /// The request has come through here before.
    Loop,
    /// The client closed its connection. Only ever logged.
    ClientGone,

    /// A trap, or an answer that is not allowed.
    PluginFailed(Arc<str>),
    /// A call ran longer than its limit.
    PluginTimeout(Arc<str>),
    /// No instance became free in time.
    PluginOverload(Arc<str>),
    /// It is not called, since it failed too often, for so many seconds.
    PluginPaused(Arc<str>, u32),
    /// A plugin that looks at the pieces of a body refused one.
    PluginRefused(Arc<str>),
    /// The request body is longer than the plugin's cap.
    PluginBodyTooLarge(Arc<str>),
    /// The response body is longer than the plugin's cap.
    PluginResponseTooLarge(Arc<str>),

    /// A component that answers in the place of an upstream trapped, or answered what is not allowed.
    ServiceFailed(Arc<str>),
    /// It took longer than its limits.
    ServiceTimeout(Arc<str>),
    /// No instance of it became free in time.
    ServiceOverload(Arc<str>),

    /// The name of the endpoint could not be resolved.
    UpstreamResolve,
    /// No connection to the endpoint.
    UpstreamConnect,
    /// No connection to the endpoint in time.
    UpstreamConnectTimeout,
    /// The endpoint's TLS or its certificate is wrong.
    UpstreamTls,
    /// The TLS handshake with the endpoint took too long.
    UpstreamTlsTimeout,
    /// The connection ended before a whole response head was there.
    UpstreamReset,
    /// What came is not HTTP as we accept it.
    UpstreamProtocol,
    /// The head of the response did not come in time.
    UpstreamTimeout,
    /// The body of the response stopped coming.
    UpstreamIdle,
    /// The body of the response broke off.
    UpstreamBody,
    /// The whole exchange took too long.
    TotalTimeout,
    /// No endpoint can take the request.
    UpstreamUnavailable,
    /// The upstream answered 5xx, and its body is hidden. The status stays its own.
    UpstreamStatus(StatusCode),

    /// The proxy itself is at a limit.
    Overload,
    /// The proxy is going down.
    Draining,
    /// A mistake of ours.
    Internal,
}

/// What is known about a reason without looking at the request.
pub(super) struct Entry {
    pub(super) code: &'static str,
    pub(super) status: StatusCode,
    pub(super) detail: &'static str,
}

impl Reason {
    /// Every word that [`Reason::code`] can answer, for metrics that exist since load.
    pub const CODES: &[&str] = &[
        "bad-request",
        "bad-path",
        "ambiguous-path",
        "bad-host",
        "bad-header",
        "bad-framing",
        "bad-body",
        "upgrade-with-body",
        "http-version",
        "method-refused",
        "uri-too-long",
        "head-too-large",
        "head-timeout",
        "body-too-large",
        "body-timeout",
        "expectation-failed",
        "misdirected",
        "no-route",
        "method-not-allowed",
        "loop",
        "client-gone",
        "plugin-failed",
        "plugin-timeout",
        "plugin-overload",
        "plugin-paused",
        "plugin-refused",
        "plugin-body-too-large",
        "plugin-response-too-large",
        "service-failed",
        "service-timeout",
        "service-overload",
        "upstream-resolve",
        "upstream-connect",
        "upstream-connect-timeout",
        "upstream-tls",
        "upstream-tls-timeout",
        "upstream-reset",
        "upstream-protocol",
        "upstream-timeout",
        "upstream-idle",
        "upstream-body",
        "total-timeout",
        "upstream-unavailable",
        "upstream-status",
        "overload",
        "draining",
        "internal",
    ];

    /// The machine-readable word, without a plugin's name. Stable: it never changes its meaning.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.entry().code
    }

    /// The plugin that it is about.
    #[must_use]
    pub fn plugin(&self) -> Option<&Arc<str>> {
        match self {
            Self::PluginFailed(name)
            | Self::PluginTimeout(name)
            | Self::PluginOverload(name)
            | Self::PluginPaused(name, _)
            | Self::PluginRefused(name)
            | Self::PluginBodyTooLarge(name)
            | Self::PluginResponseTooLarge(name)
            | Self::ServiceFailed(name)
            | Self::ServiceTimeout(name)
            | Self::ServiceOverload(name) => Some(name),
            _ => None,
        }
    }

    /// The status of the response; for [`Reason::ClientGone`] the 499 that only the log shows.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.entry().status
    }

    /// Whether an HTTP/1 connection cannot be used any more: where the next request begins is not known, or the client
    /// is to be held off.
    #[must_use]
    pub fn closes(&self) -> bool {
        matches!(
            self,
            Self::BadRequest
                | Self::BadHost
                | Self::BadFraming
                | Self::BadBody
                | Self::UpgradeWithBody
                | Self::HttpVersion
                | Self::UriTooLong
                | Self::HeadTooLarge
                | Self::HeadTimeout
                | Self::BodyTooLarge
                | Self::BodyTimeout
                | Self::ExpectationFailed
                | Self::MethodRefused
                | Self::PluginBodyTooLarge(_)
                | Self::ClientGone
                | Self::Draining
        )
    }

    /// Seconds for `Retry-After`. One second is the shortest there is, and what refuses for a lack of room has room
    /// again within it; a process that drains is replaced more slowly.
    pub(super) fn retry_after(&self) -> Option<HeaderValue> {
        match self {
            Self::PluginOverload(_) | Self::ServiceOverload(_) | Self::Overload | Self::UpstreamUnavailable => {
                Some(HeaderValue::from_static("1"))
            }
            Self::PluginPaused(_, seconds) => Some((*seconds).into()),
            Self::Draining => Some(HeaderValue::from_static("5")),
            _ => None,
        }
    }

    /// Methods for `Allow`, which a 405 must carry (RFC 9110, section 15.5.6).
    pub(super) fn allow(&self) -> Option<HeaderValue> {
        match self {
            Self::MethodNotAllowed(allow) => Some(allow.clone()),
            Self::MethodRefused => Some(HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")),
            _ => None,
        }
    }

    pub(super) fn entry(&self) -> Entry {
        use StatusCode as S;
        let (code, status, detail) = match self {
            Self::BadRequest => ("bad-request", S::BAD_REQUEST, "The request is not valid HTTP."),
            Self::BadPath => ("bad-path", S::BAD_REQUEST, "The path of the request is malformed or not allowed."),
            Self::AmbiguousPath => {
                ("ambiguous-path", S::BAD_REQUEST, "The path of the request can be read in more than one way.")
            }
            Self::BadHost => ("bad-host", S::BAD_REQUEST, "The request must name exactly one valid host."),
            Self::BadHeader => ("bad-header", S::BAD_REQUEST, "The request has a header that is not allowed."),
            Self::BadFraming => {
                ("bad-framing", S::BAD_REQUEST, "The request does not say clearly where its body ends.")
            }
            Self::BadBody => ("bad-body", S::BAD_REQUEST, "The body of the request is malformed or incomplete."),
            Self::UpgradeWithBody => {
                ("upgrade-with-body", S::BAD_REQUEST, "A request that asks for an upgrade cannot have a body.")
            }
            Self::HttpVersion => {
                ("http-version", S::HTTP_VERSION_NOT_SUPPORTED, "This version of HTTP is not supported.")
            }
            Self::MethodRefused => ("method-refused", S::METHOD_NOT_ALLOWED, "This method is never allowed here."),
            Self::UriTooLong => ("uri-too-long", S::URI_TOO_LONG, "The target of the request is too long."),
            Self::HeadTooLarge => {
                ("head-too-large", S::REQUEST_HEADER_FIELDS_TOO_LARGE, "The headers of the request are too large.")
            }
            Self::HeadTimeout => {
                ("head-timeout", S::REQUEST_TIMEOUT, "The headers of the request did not arrive in time.")
            }
            Self::BodyTooLarge => ("body-too-large", S::PAYLOAD_TOO_LARGE, "The body of the request is too large."),
            Self::BodyTimeout => {
                ("body-timeout", S::REQUEST_TIMEOUT, "The body of the request did not arrive in time.")
            }
            Self::ExpectationFailed => {
                ("expectation-failed", S::EXPECTATION_FAILED, "The only expectation supported is 100-continue.")
            }
            Self::Misdirected => {
                ("misdirected", S::MISDIRECTED_REQUEST, "This connection was not made for the host of the request.")
            }
            Self::NoRoute => ("no-route", S::NOT_FOUND, "There is nothing at this address."),
            Self::MethodNotAllowed(_) => {
                ("method-not-allowed", S::METHOD_NOT_ALLOWED, "This address does not take this method.")
            }
            Self::Loop => ("loop", S::LOOP_DETECTED, "The request has come back to where it was before."),
            Self::ClientGone => ("client-gone", client_closed_request(), "The client closed the connection."),
            Self::PluginFailed(_) => ("plugin-failed", S::INTERNAL_SERVER_ERROR, "The request could not be checked."),
            Self::PluginTimeout(_) => {
                ("plugin-timeout", S::INTERNAL_SERVER_ERROR, "The request could not be checked in time.")
            }
            Self::PluginOverload(_) => {
                ("plugin-overload", S::SERVICE_UNAVAILABLE, "Too many requests are being checked. Try again later.")
            }
            Self::PluginPaused(..) => {
                ("plugin-paused", S::SERVICE_UNAVAILABLE, "Requests cannot be checked just now. Try again later.")
            }
            Self::PluginRefused(_) => ("plugin-refused", S::FORBIDDEN, "The body was refused."),
            Self::PluginBodyTooLarge(_) => {
                ("plugin-body-too-large", S::PAYLOAD_TOO_LARGE, "The body of the request is too large to be checked.")
            }
            Self::PluginResponseTooLarge(_) => {
                ("plugin-response-too-large", S::BAD_GATEWAY, "The response is too large to be checked.")
            }
            Self::ServiceFailed(_) => ("service-failed", S::BAD_GATEWAY, "The service failed to answer the request."),
            Self::ServiceTimeout(_) => ("service-timeout", S::GATEWAY_TIMEOUT, "The service did not answer in time."),
            Self::ServiceOverload(_) => {
                ("service-overload", S::SERVICE_UNAVAILABLE, "The service has too much to do. Try again later.")
            }
            Self::UpstreamResolve => ("upstream-resolve", S::BAD_GATEWAY, "The service could not be reached."),
            Self::UpstreamConnect => ("upstream-connect", S::BAD_GATEWAY, "The service could not be reached."),
            Self::UpstreamConnectTimeout => {
                ("upstream-connect-timeout", S::GATEWAY_TIMEOUT, "The service could not be reached in time.")
            }
            Self::UpstreamTls => ("upstream-tls", S::BAD_GATEWAY, "The service could not be reached securely."),
            Self::UpstreamTlsTimeout => {
                ("upstream-tls-timeout", S::GATEWAY_TIMEOUT, "The service could not be reached securely in time.")
            }
            Self::UpstreamReset => ("upstream-reset", S::BAD_GATEWAY, "The service ended the exchange early."),
            Self::UpstreamProtocol => ("upstream-protocol", S::BAD_GATEWAY, "The service answered with invalid HTTP."),
            Self::UpstreamTimeout => ("upstream-timeout", S::GATEWAY_TIMEOUT, "The service did not answer in time."),
            Self::UpstreamIdle => ("upstream-idle", S::GATEWAY_TIMEOUT, "The service stopped answering."),
            Self::UpstreamBody => ("upstream-body", S::BAD_GATEWAY, "The answer of the service was incomplete."),
            Self::TotalTimeout => ("total-timeout", S::GATEWAY_TIMEOUT, "The exchange took too long."),
            Self::UpstreamUnavailable => {
                ("upstream-unavailable", S::SERVICE_UNAVAILABLE, "The service is not available. Try again later.")
            }
            Self::UpstreamStatus(status) => ("upstream-status", *status, "The service failed to answer the request."),
            Self::Overload => ("overload", S::SERVICE_UNAVAILABLE, "Too many requests at once. Try again later."),
            Self::Draining => ("draining", S::SERVICE_UNAVAILABLE, "This server is going down. Try again."),
            Self::Internal => ("internal", S::INTERNAL_SERVER_ERROR, "The request could not be handled."),
        };
        Entry { code, status, detail }
    }
}

/// The word as the log has it: the code and, after a colon, the plugin.
impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.plugin() {
            Some(plugin) => write!(f, "{}:{plugin}", self.code()),
            None => f.write_str(self.code()),
        }
    }
}

/// nginx's 499: the one status that no client can ever receive.
fn client_closed_request() -> StatusCode {
    StatusCode::from_u16(499).expect("499 is a status code")
}
