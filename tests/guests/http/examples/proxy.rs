//! `wasi:http/proxy` of WASI 0.2: what it does is said by the path.
// Elsewhere, what the component model is to give does not link.
#![cfg(target_arch = "wasm32")]

use std::sync::atomic::{AtomicU32, Ordering};

use http_guests::{misbehave, number};
use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{
    Fields, IncomingBody, IncomingRequest, Method, OutgoingBody, OutgoingResponse, ResponseOutparam, Scheme,
};
use wasip2::io::streams::{InputStream, OutputStream};

wasip2::http::proxy::export!(Proxy);

struct Proxy;

static REQUESTS: AtomicU32 = AtomicU32::new(0);

impl Guest for Proxy {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        match path.split('/').nth(1).unwrap_or_default() {
            "hello" => say(out, &[("x-guest", "proxy")], "hello"),
            "count" => say(out, &[], &(REQUESTS.fetch_add(1, Ordering::Relaxed) + 1).to_string()),
            "head" => say(out, &[], &head(&request)),
            "fields" => say(out, &[("server", "guest"), ("x-kept", "yes"), ("via", "1.1 guest")], "fields"),
            "short" => say(out, &[("content-length", "10")], "short"),
            "status" => {
                let response = OutgoingResponse::new(Fields::new());
                response.set_status_code(number(&path) as u16).expect("a status");
                ResponseOutparam::set(out, Ok(response));
            }
            "refuses" => ResponseOutparam::set(out, Err(wasip2::http::types::ErrorCode::LoopDetected)),
            "silent" => drop(out),
            "sleeps" => wasip2::clocks::monotonic_clock::subscribe_duration(3_600_000_000_000).block(),
            "echo" => echo(&request, out),
            "zeros" => zeros(out, number(&path)),
            "half" => half(out, path.rsplit('/').next().unwrap_or_default()),
            other => misbehave(other),
        }
    }
}

fn say(out: ResponseOutparam, fields: &[(&str, &str)], text: &str) {
    let headers = Fields::new();
    for (name, value) in fields {
        headers.append(name, value.as_bytes()).expect("a field that may be set");
    }
    let body = begin(out, headers);
    let stream = body.write().expect("it is asked for once");
    write(&stream, text.as_bytes());
    drop(stream);
    // Of a wrong length nothing is to be said here.
    let _ = OutgoingBody::finish(body, None);
}

fn begin(out: ResponseOutparam, headers: Fields) -> OutgoingBody {
    let response = OutgoingResponse::new(headers);
    let body = response.body().expect("it is asked for once");
    ResponseOutparam::set(out, Ok(response));
    body
}

fn write(stream: &OutputStream, bytes: &[u8]) {
    for piece in bytes.chunks(4096) {
        if stream.blocking_write_and_flush(piece).is_err() {
            return;
        }
    }
}

/// What a guest is told of a request, a line for each.
fn head(request: &IncomingRequest) -> String {
    let method = match request.method() {
        Method::Get => "GET".to_owned(),
        Method::Post => "POST".to_owned(),
        Method::Other(other) => other,
        _ => "?".to_owned(),
    };
    let scheme = match request.scheme() {
        Some(Scheme::Http) => "http",
        Some(Scheme::Https) => "https",
        _ => "?",
    };
    let mut lines = vec![method, scheme.to_owned()];
    lines.extend([request.authority().unwrap_or_default(), request.path_with_query().unwrap_or_default()]);
    let fields = request.headers().entries();
    lines.extend(fields.iter().map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value))));
    lines.join("\n")
}

/// The body goes back as it comes, and its trailers after it.
fn echo(request: &IncomingRequest, out: ResponseOutparam) {
    let incoming = request.consume().expect("it is taken once");
    let body = begin(out, Fields::new());
    let stream = body.write().expect("it is asked for once");
    pass(&incoming.stream().expect("it is asked for once"), &stream);
    drop(stream);
    let trailers = IncomingBody::finish(incoming);
    trailers.subscribe().block();
    let trailers = trailers.get().and_then(|got| got.ok()?.ok()).flatten();
    let trailers = trailers.map(|fields| Fields::from_list(&fields.entries()).expect("fields that came"));
    OutgoingBody::finish(body, trailers).expect("a body of any length");
}

fn pass(from: &InputStream, to: &OutputStream) {
    while let Ok(bytes) = from.blocking_read(4096) {
        write(to, &bytes);
    }
}

fn zeros(out: ResponseOutparam, mut left: u64) {
    let body = begin(out, Fields::new());
    let stream = body.write().expect("it is asked for once");
    while left > 0 {
        let piece = left.min(4096);
        if stream.blocking_write_and_flush(&[b'0'; 4096][..piece as usize]).is_err() {
            return;
        }
        left -= piece;
    }
    drop(stream);
    OutgoingBody::finish(body, None).expect("a body of any length");
}

/// Some of a body, and then no more.
fn half(out: ResponseOutparam, how: &str) {
    let body = begin(out, Fields::new());
    let stream = body.write().expect("it is asked for once");
    write(&stream, b"half");
    if how == "sleeps" {
        wasip2::clocks::monotonic_clock::subscribe_duration(3_600_000_000_000).block();
    }
    misbehave(how);
}
