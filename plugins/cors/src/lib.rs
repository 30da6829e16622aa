//! Cross-origin resource sharing (the WHATWG's Fetch standard, "CORS protocol"): lets pages of chosen origins read this
//! API's answers.
//!
//! First in its chain, the plugin answers preflights before anything asks for credentials or counts, and its response
//! hook sees every answer, also the refusals that later plugins and the gateway write. The answer to a preflight and the
//! fields of a response are made once, in `configure`.

mod lists;
mod origins;
mod vary;

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, HeaderMap, HeaderValue, VARY,
};
use http::{Method, Response, StatusCode};
use tollgate_sdk::{Complaints, Edits, Flow, Interest, Plugin, Problem, Request, ResponseHead, plugin};

use origins::Origins;

const REQUEST_METHOD: &str = "access-control-request-method";
const REQUEST_PRIVATE_NETWORK: &str = "access-control-request-private-network";
const ALLOW_PRIVATE_NETWORK: &str = "access-control-allow-private-network";

/// What an upstream may have said of all this. Ours takes its place, since browsers refuse a field that is there twice.
const UPSTREAMS_OWN: [&str; 7] = [
    "access-control-allow-origin",
    "access-control-allow-credentials",
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-expose-headers",
    "access-control-max-age",
    ALLOW_PRIVATE_NETWORK,
];

/// Who may read the answers, and what they may send.
#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    /// The origins whose pages may read answers: `https://app.example.com`, with a port where it is not the scheme's own;
    /// `https://*.example.com`, where `*` stands for exactly one label; or `*` alone for every origin.
    pub origins: Vec<String>,
    /// The methods that pages may use, or `*` alone for all. `GET`, `HEAD` and `POST` are always allowed by browsers.
    #[serde(default = "methods")]
    pub methods: Vec<String>,
    /// The request headers that pages may set, beside those that browsers always allow. `*` stands for all but
    /// `authorization`, which is named beside it where it is meant.
    #[serde(default)]
    pub headers: Vec<String>,
    /// The response headers that pages may read, beside those that browsers always show. `*` stands for all.
    #[serde(default)]
    pub expose: Vec<String>,
    /// Whether pages may send cookies and other credentials that the browser keeps. Not with any `*`, nor with
    /// `allow-null`.
    #[serde(default)]
    pub credentials: bool,
    /// How long browsers may remember the answer to a preflight: whole seconds up to `"24h"`; `"0s"` for not at all.
    #[serde(default = "max_age")]
    pub max_age: String,
    /// Whether pages of public sites may ask for this API on a private network.
    #[serde(default)]
    pub private_network: bool,
    /// Whether the origin `null` is allowed: that of sandboxed frames and local files, so of anyone.
    #[serde(default)]
    pub allow_null: bool,
}

fn methods() -> Vec<String> {
    ["GET", "HEAD", "POST"].map(str::to_owned).to_vec()
}

fn max_age() -> String {
    "10m".to_owned()
}

/// The plugin, with its configuration read.
#[derive(Debug)]
pub struct Cors {
    origins: Origins,
    /// What every allowed answer says, beside the origin where that is not `*`.
    allowed: Edits,
    /// What every answer to a preflight says, beside the origin.
    preflight: HeaderMap,
    /// On what the answer to a preflight depends.
    vary: &'static str,
    private_network: bool,
}

impl Plugin for Cors {
    type Config = Config;

    fn configure(config: Config) -> Result<Self, Complaints> {
        let mut complaints = Complaints::new();
        let origins = Origins::read(&config, &mut complaints);
        let methods = lists::methods(&config, &mut complaints);
        let headers = lists::names(&config.headers, "/headers", config.credentials, &mut complaints);
        let expose = lists::names(&config.expose, "/expose", config.credentials, &mut complaints);
        let max_age = lists::seconds(&config.max_age).unwrap_or_else(|message| {
            complaints.add("/max-age", message);
            0
        });

        let mut preflight = HeaderMap::new();
        let mut allowed = Edits::new();
        preflight.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from(max_age));
        for (name, list) in [(ACCESS_CONTROL_ALLOW_METHODS, methods), (ACCESS_CONTROL_ALLOW_HEADERS, headers)] {
            preflight.extend(list.map(|list| (name, list)));
        }
        if let Some(expose) = expose {
            allowed = allowed.set(ACCESS_CONTROL_EXPOSE_HEADERS, expose);
        }
        if config.credentials {
            preflight.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
            allowed = allowed.set(ACCESS_CONTROL_ALLOW_CREDENTIALS, "true");
        }
        if origins == Origins::Any {
            allowed = allowed.set(ACCESS_CONTROL_ALLOW_ORIGIN, "*");
        }
        let vary = vary::of_preflight(origins != Origins::Any, config.private_network);
        let private_network = config.private_network;
        complaints.or(|| Self { origins, allowed, preflight, vary, private_network })
    }

    fn interest(&self) -> Interest {
        let private_network = self.private_network.then_some(REQUEST_PRIVATE_NETWORK);
        let vary = (self.origins != Origins::Any).then_some("vary");
        Interest::new()
            .request(|see| see.method().headers(["origin", REQUEST_METHOD]).headers(private_network))
            .response(|see| see.headers(UPSTREAMS_OWN).headers(vary))
    }

    fn on_request(&self, request: &Request) -> Flow {
        let mut fields = request.headers_named("origin");
        let Some(origin) = fields.next() else {
            return Flow::Continue;
        };
        // Several are nobody's: no browser sends them, and what is behind us may read another one than we do.
        let allowed = fields.next().is_none() && self.origins.allow(origin);
        if request.header(REQUEST_METHOD).is_some() && request.method() == Method::OPTIONS {
            return if allowed { self.grant(request, origin) } else { self.deny() };
        }
        match self.origins {
            Origins::Listed(_) if allowed => Edits::new().memo(origin).into(),
            Origins::Listed(_) | Origins::Any => Flow::Continue,
        }
    }

    fn on_response(&self, response: &ResponseHead, memo: Option<Vec<u8>>) -> Flow {
        let mut edits = match (&self.origins, &memo) {
            (Origins::Any, _) => self.allowed.clone(),
            (Origins::Listed(_), Some(origin)) => self.allowed.clone().set(ACCESS_CONTROL_ALLOW_ORIGIN, origin),
            (Origins::Listed(_), None) => Edits::new(),
        };
        for name in UPSTREAMS_OWN {
            if response.header(name).is_some() {
                edits = edits.remove(name);
            }
        }
        // An answer to no origin, or to one not allowed, is another one as well: caches must know.
        if self.origins != Origins::Any
            && let Some(vary) = vary::with_origin(response)
        {
            edits = edits.set(VARY, vary);
        }
        edits.into()
    }
}

impl Cors {
    /// The answer to a preflight of an allowed origin. It says what is allowed, whatever was asked: the browser compares,
    /// and its message then names what is missing.
    fn grant(&self, request: &Request, origin: &[u8]) -> Flow {
        let origin = match self.origins {
            Origins::Any => HeaderValue::from_static("*"),
            Origins::Listed(_) => match HeaderValue::from_bytes(origin) {
                Ok(origin) => origin,
                Err(_) => return self.deny(),
            },
        };
        let mut response = Response::new(Vec::new());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        headers.clone_from(&self.preflight);
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(VARY, HeaderValue::from_static(self.vary));
        if self.private_network && request.header(REQUEST_PRIVATE_NETWORK) == Some(b"true") {
            headers.insert(ALLOW_PRIVATE_NETWORK, HeaderValue::from_static("true"));
        }
        Flow::Respond(response)
    }

    fn deny(&self) -> Flow {
        Problem::new(StatusCode::FORBIDDEN, "origin-not-allowed", "Pages of this origin may not use this API")
            .header(VARY, self.vary)
            .into()
    }
}

plugin!(Cors);
