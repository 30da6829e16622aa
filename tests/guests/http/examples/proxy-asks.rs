//! `wasi:http/proxy` of WASI 0.2 that asks the server of its query, `/?http://host:port/path`, and passes on what it says.
// Elsewhere, what the component model is to give does not link.
#![cfg(target_arch = "wasm32")]

use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::outgoing_handler::handle;
use wasip2::http::types::{
    ErrorCode, Fields, IncomingRequest, IncomingResponse, OutgoingBody, OutgoingRequest, OutgoingResponse,
    ResponseOutparam, Scheme,
};

wasip2::http::proxy::export!(Asks);

struct Asks;

impl Guest for Asks {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        let url = path.split_once('?').map(|(_, url)| url).unwrap_or_default();
        match ask(url) {
            Ok(answer) => pass(&answer, out),
            Err(error) => say(out, &format!("{error:?}")),
        }
    }
}

fn ask(url: &str) -> Result<IncomingResponse, ErrorCode> {
    let (scheme, rest) = url.split_once("://").expect("a URL");
    let (authority, path) = rest.split_once('/').expect("a URL with a path");
    let request = OutgoingRequest::new(Fields::new());
    request.set_scheme(Some(&if scheme == "https" { Scheme::Https } else { Scheme::Http })).expect("a scheme");
    request.set_authority(Some(authority)).expect("an authority");
    request.set_path_with_query(Some(&format!("/{path}"))).expect("a path");
    let body = request.body().expect("it is asked for once");
    let coming = handle(request, None)?;
    OutgoingBody::finish(body, None)?;
    coming.subscribe().block();
    coming.get().expect("it is there").expect("it is taken once")
}

fn pass(answer: &IncomingResponse, out: ResponseOutparam) {
    let response = OutgoingResponse::new(Fields::new());
    response.set_status_code(answer.status()).expect("a status that came");
    let body = response.body().expect("it is asked for once");
    ResponseOutparam::set(out, Ok(response));
    let stream = body.write().expect("it is asked for once");
    let incoming = answer.consume().expect("it is taken once");
    let from = incoming.stream().expect("it is asked for once");
    while let Ok(bytes) = from.blocking_read(4096) {
        stream.blocking_write_and_flush(&bytes).expect("somebody reads");
    }
    drop(stream);
    OutgoingBody::finish(body, None).expect("a body of any length");
}

fn say(out: ResponseOutparam, text: &str) {
    let response = OutgoingResponse::new(Fields::new());
    let body = response.body().expect("it is asked for once");
    ResponseOutparam::set(out, Ok(response));
    let stream = body.write().expect("it is asked for once");
    stream.blocking_write_and_flush(text.as_bytes()).expect("somebody reads");
    drop(stream);
    OutgoingBody::finish(body, None).expect("a body of any length");
}
