//! Looks at JSON bodies before anybody believes them: media type, content coding, limits, and a JSON Schema.
//!
//! The head decides what it can before the body is waited for. The body goes on byte for byte as it came.

mod coding;
mod config;
mod json;
mod judge;
mod media;
mod refusal;
mod schema;

use http::{Method, StatusCode};
use tollgate_sdk::log::{self, Level};
use tollgate_sdk::{BodyFlow, Complaints, Edits, Flow, Interest, Plugin, Problem, Request, ResponseHead, plugin};

pub use config::Config;
use config::{Mode, Settings};
use judge::Fields;
use refusal::Refusal;

/// The plugin.
#[derive(Debug)]
pub struct Validate(Settings);

/// The attribute that has the code of the refusal where `mode` is `report`.
const REPORT: &str = "validate.report";

impl Plugin for Validate {
    type Config = Config;

    fn configure(config: Config) -> Result<Self, Complaints> {
        Settings::new(config).map(Self)
    }

    fn interest(&self) -> Interest {
        let settings = &self.0;
        let cap = u64::from(settings.max_body);
        let mut interest = Interest::new();
        if settings.request.is_some() {
            let fields = ["content-type", "content-encoding", "content-length"];
            interest = interest.request(|see| see.method().headers(fields)).request_body(cap);
        }
        if settings.response.is_some() {
            let fields = ["content-type", "content-encoding"];
            interest = interest.response(|see| see.headers(fields)).response_body(cap);
        }
        match settings.mode {
            Mode::Enforce => interest,
            Mode::Report => interest.sets_attributes([REPORT]),
        }
    }

    fn on_request(&self, request: &Request) -> Flow {
        let length = request.header("content-length");
        if length == Some(b"0") {
            return if self.needs_body(request) { self.refuse_request(Refusal::Missing) } else { Flow::Continue };
        }
        match self.request_fields(request) {
            Ok(Fields::Look(_)) => Flow::Continue,
            Ok(Fields::Pass) => Edits::new().skip_body().into(),
            // Without a length there may be no body, and then these fields say nothing.
            Err(_) if length.is_none() => Flow::Continue,
            Err(refusal) => self.refuse_request(refusal),
        }
    }

    fn on_request_body(&self, request: &Request, body: Vec<u8>, _: Option<Vec<u8>>) -> BodyFlow {
        let Some(side) = &self.0.request else { return BodyFlow::Continue };
        let judged = if body.is_empty() {
            if self.needs_body(request) { Err(Refusal::Missing) } else { Ok(()) }
        } else {
            self.request_fields(request).and_then(|fields| match fields {
                Fields::Look(codings) => self.0.body(side, &codings, &body),
                Fields::Pass => Ok(()),
            })
        };
        match judged {
            Ok(()) => BodyFlow::Continue,
            Err(refusal) => match self.0.mode {
                Mode::Enforce => refusal.to_client(&self.0).into(),
                Mode::Report => self.report("request", &refusal).into(),
            },
        }
    }

    fn on_response(&self, response: &ResponseHead, _: Option<Vec<u8>>) -> Flow {
        let status = response.status();
        // Other answers have other bodies: errors their own schema, a part of a body none.
        if status.is_success() && status != StatusCode::PARTIAL_CONTENT {
            Flow::Continue
        } else {
            Edits::new().skip_body().into()
        }
    }

    fn on_response_body(&self, response: &ResponseHead, body: Vec<u8>, _: Option<Vec<u8>>) -> BodyFlow {
        let Some(side) = &self.0.response else { return BodyFlow::Continue };
        if body.is_empty() {
            return BodyFlow::Continue;
        }
        let fields = self.0.fields(response.headers_named("content-type"), response.headers_named("content-encoding"));
        let judged = fields.and_then(|fields| match fields {
            Fields::Look(codings) => self.0.body(side, &codings, &body),
            Fields::Pass => Ok(()),
        });
        let Err(refusal) = judged else { return BodyFlow::Continue };
        match self.0.mode {
            Mode::Enforce => {
                // The client can do nothing about it, and the shape of a wrong answer is not for it: the log has that.
                log::write(Level::Warn, &format!("refused the response: {}", refusal.line(&self.0)));
                let title = "Invalid Response";
                Problem::new(StatusCode::BAD_GATEWAY, "invalid-response", title)
                    .detail("The upstream's answer is not what it should be.")
                    .into()
            }
            Mode::Report => self.report("response", &refusal).into(),
        }
    }
}

impl Validate {
    fn request_fields(&self, request: &Request) -> Result<Fields, Refusal> {
        self.0.fields(request.headers_named("content-type"), request.headers_named("content-encoding"))
    }

    fn needs_body(&self, request: &Request) -> bool {
        self.0.required && [Method::POST, Method::PUT, Method::PATCH].contains(&request.method())
    }

    fn refuse_request(&self, refusal: Refusal) -> Flow {
        match self.0.mode {
            Mode::Enforce => refusal.to_client(&self.0).into(),
            Mode::Report => self.report("request", &refusal).skip_body().into(),
        }
    }

    fn report(&self, what: &str, refusal: &Refusal) -> Edits {
        log::write(Level::Warn, &format!("would refuse the {what}: {}", refusal.line(&self.0)));
        Edits::new().attribute(REPORT, refusal.code())
    }
}

plugin!(Validate);
