//! What of a pass is converted, and what happens to its heads.

use tollgate_sdk::http::{Method, StatusCode};
use tollgate_sdk::{BodyFlow, Complaints, Edits, Flow, Interest, Plugin, Problem, Request, ResponseHead, log};

use crate::config::{Config, Requests, Responses, Target};
use crate::fault::{Fault, Kind};
use crate::media::{Accept, Format, MediaType};
use crate::rules::Rules;
use crate::{json_to_xml, xml_to_json};

/// Converts bodies between XML and JSON.
#[derive(Debug)]
pub struct Convert {
    rules: Rules,
    problem_rules: Rules,
    requests: Option<Requests>,
    responses: Option<Responses>,
}

/// What happens to a request's body.
enum RequestPlan {
    /// It is converted from this.
    Convert(MediaType),
    Pass,
    /// It is answered 415, if there is one.
    Unsupported,
}

/// What happens to a response.
enum ResponsePlan {
    /// Its body is converted from the first to the media type.
    Convert(MediaType, &'static str),
    /// It is what the client gets. Where true, a client with another `Accept` might get another.
    Pass { negotiated: bool },
    /// The client accepts neither format.
    NotAcceptable,
}

impl Plugin for Convert {
    type Config = Config;

    fn configure(config: Config) -> Result<Self, Complaints> {
        let rules = config.rules()?;
        let problem_rules = Rules::for_problems(rules.limits);
        Ok(Self { rules, problem_rules, requests: config.requests, responses: config.responses })
    }

    fn interest(&self) -> Interest {
        let cap = self.rules.limits.body as u64;
        let mut interest = Interest::new();
        if self.requests.is_some() {
            let headers = ["content-type", "content-encoding", "content-range", "cache-control"];
            interest = interest.request(|see| see.method().headers(headers)).request_body(cap);
        }
        if self.responses.is_some() {
            let headers = ["content-type", "content-encoding", "content-range", "cache-control", "vary"];
            interest = interest.response(|see| see.headers(headers)).response_body(cap);
            interest = interest.request(|see| see);
        }
        if self.negotiates() {
            interest = interest.request(|see| see.method().headers(["accept"]));
        }
        interest
    }

    fn on_request(&self, request: &Request) -> Flow {
        let mut edits = Edits::new();
        if let Some(requests) = &self.requests {
            match self.request_plan(requests, request) {
                RequestPlan::Convert(_) => {}
                RequestPlan::Pass => edits = edits.skip_body(),
                // A body of another type is refused before it is read. Without a type, only its arrival shows that there
                // is one; and these methods seldom have one, whatever their type says.
                RequestPlan::Unsupported => {
                    let seldom = [Method::GET, Method::HEAD, Method::DELETE, Method::OPTIONS, Method::TRACE];
                    if request.header("content-type").is_some() && !seldom.contains(&request.method()) {
                        return Flow::Refuse(unsupported(requests));
                    }
                }
            }
            if requests.rewrite_accept {
                edits = edits.set("accept", requests.to.media_types()[0]);
            }
        }
        if self.responses.is_some() {
            // A compressed response could not be converted.
            edits = edits.set("accept-encoding", "identity");
        }
        if self.negotiates() {
            edits = edits.memo(Memo::of(request).to_bytes());
        }
        if edits.is_empty() { Flow::Continue } else { Flow::Edit(edits) }
    }

    fn on_request_body(&self, request: &Request, body: Vec<u8>, _memo: Option<Vec<u8>>) -> BodyFlow {
        let Some(requests) = &self.requests else {
            return BodyFlow::Continue;
        };
        if body.is_empty() {
            return BodyFlow::Continue;
        }
        match self.request_plan(requests, request) {
            RequestPlan::Pass => BodyFlow::Continue,
            RequestPlan::Unsupported => BodyFlow::Refuse(unsupported(requests)),
            RequestPlan::Convert(media) => match self.convert(&body, &media) {
                Ok(converted) => {
                    let edits = described(Edits::new(), requests.to.media_types()[0]);
                    BodyFlow::Replace(edits, converted.into_bytes())
                }
                Err(fault) => BodyFlow::Refuse(wrong_request(media.format, &fault)),
            },
        }
    }

    fn on_response(&self, response: &ResponseHead, memo: Option<Vec<u8>>) -> Flow {
        let Some(responses) = &self.responses else {
            return Flow::Continue;
        };
        let memo = memo.map(Memo::from_bytes).unwrap_or_default();
        match self.response_plan(responses, response, &memo) {
            ResponsePlan::Convert(..) => Flow::Continue,
            ResponsePlan::Pass { negotiated } => {
                let edits = Edits::new().skip_body();
                Flow::Edit(if negotiated { varies(edits, response) } else { edits })
            }
            ResponsePlan::NotAcceptable => {
                let title = "The response cannot be sent in a format that the client accepts";
                let problem =
                    Problem::new(StatusCode::NOT_ACCEPTABLE, "not-acceptable", title).header("vary", "Accept");
                let offered = match responses.to {
                    Target::Json => "JSON",
                    Target::Xml => "XML",
                    Target::Negotiate => "JSON and XML",
                };
                Flow::Refuse(problem.detail(format!("offered: {offered}")))
            }
        }
    }

    fn on_response_body(&self, response: &ResponseHead, body: Vec<u8>, memo: Option<Vec<u8>>) -> BodyFlow {
        let Some(responses) = &self.responses else {
            return BodyFlow::Continue;
        };
        let memo = memo.map(Memo::from_bytes).unwrap_or_default();
        let ResponsePlan::Convert(media, to) = self.response_plan(responses, response, &memo) else {
            return BodyFlow::Continue;
        };
        if body.is_empty() {
            return BodyFlow::Continue;
        }
        match self.convert(&body, &media) {
            Ok(converted) => {
                let edits = described(Edits::new(), to);
                let edits = if self.negotiates() { varies(edits, response) } else { edits };
                BodyFlow::Replace(edits, converted.into_bytes())
            }
            Err(fault) => {
                let (from, to) = (media.format.name(), media.format.other().name());
                log::write(log::Level::Warn, &format!("a response in {from} was not converted to {to}: {fault}"));
                let title = "The upstream's response could not be converted";
                BodyFlow::Refuse(Problem::new(StatusCode::BAD_GATEWAY, "response-not-convertible", title))
            }
        }
    }
}

impl Convert {
    /// Whether the client's `Accept` decides about responses.
    fn negotiates(&self) -> bool {
        self.responses.as_ref().is_some_and(|responses| responses.to == Target::Negotiate || responses.strict_accept)
    }

    fn request_plan(&self, requests: &Requests, request: &Request) -> RequestPlan {
        let media = MediaType::of(request.headers_named("content-type")).filter(|media| !media.problem);
        let whole = is_whole(|name| request.headers_named(name).collect());
        match media {
            Some(media) if whole && media.format == requests.to => RequestPlan::Pass,
            Some(media) if whole => RequestPlan::Convert(media),
            _ if requests.only => RequestPlan::Unsupported,
            _ => RequestPlan::Pass,
        }
    }

    fn response_plan(&self, responses: &Responses, response: &ResponseHead, memo: &Memo) -> ResponsePlan {
        let status = response.status();
        let bodiless = [204, 205, 206, 304].contains(&status.as_u16());
        let whole = is_whole(|name| response.headers_named(name).collect());
        let media = MediaType::of(response.headers_named("content-type"));
        let Some(media) = media.filter(|_| whole && !bodiless && !memo.head) else {
            return ResponsePlan::Pass { negotiated: false };
        };
        let accept = Accept::read(&memo.accept);
        let (here, there) = (media.format, media.format.other());
        // `max_by_key` takes the last of equals, and the usual media type is the first.
        let best = |format: Format| {
            let qualities = format.media_types().iter().map(|&media| (media, accept.quality(media)));
            qualities.rev().max_by_key(|&(_, quality)| quality).unwrap_or((format.media_types()[0], 0))
        };
        let ((to, mut other), mut as_is) = (best(there), accept.quality(&media.essence));
        let to = if media.problem { there.problem_type() } else { to };
        if media.problem {
            // Who accepts a format accepts its problems.
            other = other.max(accept.quality(to));
            as_is = as_is.max(best(here).1);
        }
        let fixed = match responses.to {
            Target::Json => Some(Format::Json),
            Target::Xml => Some(Format::Xml),
            Target::Negotiate => None,
        };
        let acceptable = match fixed {
            Some(format) if format == here => as_is > 0,
            Some(_) => other > 0,
            None => as_is > 0 || other > 0,
        };
        // A refusal would hide an error of the upstream behind another one.
        if responses.strict_accept && !acceptable && !status.is_client_error() && !status.is_server_error() {
            return ResponsePlan::NotAcceptable;
        }
        let converts = match fixed {
            Some(format) => format == there,
            None => other > as_is || (other == as_is && other > 0 && responses.prefer == Some(there)),
        };
        if converts { ResponsePlan::Convert(media, to) } else { ResponsePlan::Pass { negotiated: self.negotiates() } }
    }

    fn convert(&self, body: &[u8], media: &MediaType) -> Result<String, Fault> {
        let rules = if media.problem { &self.problem_rules } else { &self.rules };
        match media.format {
            Format::Xml => xml_to_json(body, media.charset.as_deref(), rules),
            Format::Json => json_to_xml(body, rules),
        }
    }
}

/// What the response hooks need to know of the request.
#[derive(Debug, Default)]
struct Memo {
    head: bool,
    accept: String,
}

impl Memo {
    /// A longer `Accept` is read as none: nobody needs one.
    const LONGEST_ACCEPT: usize = 4096;

    fn of(request: &Request) -> Self {
        let fields: Vec<_> = request.headers_named("accept").map(String::from_utf8_lossy).collect();
        let accept = fields.join(",");
        let accept = if accept.len() > Self::LONGEST_ACCEPT { String::new() } else { accept };
        Self { head: request.method() == Method::HEAD, accept }
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![u8::from(self.head)];
        bytes.extend_from_slice(self.accept.as_bytes());
        bytes
    }

    fn from_bytes(bytes: Vec<u8>) -> Self {
        let (head, accept) = bytes.split_first().unwrap_or((&0, &[]));
        Self { head: *head == 1, accept: String::from_utf8_lossy(accept).into_owned() }
    }
}

/// Whether a body is all of a representation, not compressed, and may be changed on its way (RFC 9110, section 7.7).
fn is_whole<'h>(fields: impl Fn(&'static str) -> Vec<&'h [u8]>) -> bool {
    let identity =
        fields("content-encoding").iter().all(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"identity"));
    let mut directives = fields("cache-control");
    let directive = |part: &[u8]| part.trim_ascii().eq_ignore_ascii_case(b"no-transform");
    let fixed = directives.drain(..).any(|field| field.split(|&byte| byte == b',').any(directive));
    identity && !fixed && fields("content-range").is_empty()
}

/// The head of a converted body. The host sees to its length and its validator.
fn described(edits: Edits, media: &str) -> Edits {
    // Both digests are of the representation, which is another one now (RFC 9530, section 3; RFC 3230).
    edits.remove("repr-digest").remove("digest").set("content-type", format!("{media}; charset=utf-8"))
}

/// Adds `Accept` to `Vary`, unless it is in it.
fn varies(edits: Edits, response: &ResponseHead) -> Edits {
    let fields: Vec<_> = response.headers_named("vary").collect();
    let mut names = fields.iter().flat_map(|field| field.split(|&byte| byte == b',')).map(<[u8]>::trim_ascii);
    if names.any(|name| name == b"*" || name.eq_ignore_ascii_case(b"accept")) {
        return edits;
    }
    let mut all = fields.join(&b", "[..]);
    if !all.is_empty() {
        all.extend_from_slice(b", ");
    }
    all.extend_from_slice(b"Accept");
    edits.set("vary", all)
}

fn unsupported(requests: &Requests) -> Problem {
    let title = "The body is of a media type or an encoding that is not taken";
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", title)
        .detail(format!("taken: uncompressed {} and {}", requests.to.other().name(), requests.to.name()))
        .header("accept", [requests.to.other().media_types()[0], requests.to.media_types()[0]].join(", "))
        .header("accept-encoding", "identity")
}

fn wrong_request(format: Format, fault: &Fault) -> Problem {
    let problem = match (fault.kind, format) {
        (Kind::Malformed, Format::Json) => {
            Problem::new(StatusCode::BAD_REQUEST, "malformed-json", "The body is not JSON that is taken")
        }
        (Kind::Malformed, Format::Xml) => {
            Problem::new(StatusCode::BAD_REQUEST, "malformed-xml", "The body is not XML that is taken")
        }
        (Kind::Unrepresentable, _) => {
            let title = "The body has no form in the format that the service reads";
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "not-convertible", title)
        }
        (Kind::TooLong, _) => Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "converted-body-too-long",
            "The converted body would be too long",
        ),
    };
    problem.detail(fault.to_string())
}
