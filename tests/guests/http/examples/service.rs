//! `wasi:http/service` of WASI 0.3: what it does is said by the path.
// Elsewhere, what the component model is to give does not link.
#![cfg(target_arch = "wasm32")]

use std::sync::atomic::{AtomicU32, Ordering};

use bindings::wasi::clocks::monotonic_clock::wait_for;
use bindings::wasi::http::types::{ErrorCode, Fields, Method, Request, Response, Scheme, Trailers};
use bindings::{wit_future, wit_stream};
use http_guests::{misbehave, number};
use wit_bindgen::{FutureReader, StreamReader, StreamResult};

#[path = "bindings/service.rs"]
mod bindings;

struct Component;

static REQUESTS: AtomicU32 = AtomicU32::new(0);

const HOUR: u64 = 3_600_000_000_000;

type End = FutureReader<Result<Option<Trailers>, ErrorCode>>;

impl bindings::exports::wasi::http::handler::Guest for Component {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let path = request.get_path_with_query().unwrap_or_default();
        Ok(match path.split('/').nth(1).unwrap_or_default() {
            "hello" => say(&[("x-guest", "service")], "hello".to_owned()),
            "count" => say(&[], (REQUESTS.fetch_add(1, Ordering::Relaxed) + 1).to_string()),
            "head" => say(&[], head(&request)),
            "fields" => say(&[("server", "guest"), ("x-kept", "yes"), ("via", "1.1 guest")], "fields".to_owned()),
            "short" => say(&[("content-length", "10")], "short".to_owned()),
            "status" => {
                let response = say(&[], String::new());
                response.set_status_code(number(&path) as u16).expect("a status");
                response
            }
            "refuses" => return Err(ErrorCode::LoopDetected),
            "sleeps" => {
                wait_for(HOUR).await;
                say(&[], String::new())
            }
            "echo" => echo(request),
            "zeros" => zeros(number(&path)),
            "hoard" => loop {
                std::mem::forget(wit_stream::new::<u8>());
            },
            "half" => half(path.rsplit('/').next().unwrap_or_default().to_owned()),
            other => {
                misbehave(other);
                say(&[], String::new())
            }
        })
    }
}

fn answer(headers: Fields, body: StreamReader<u8>, end: End) -> Response {
    Response::new(headers, Some(body), end).0
}

fn say(fields: &[(&str, &str)], text: String) -> Response {
    let headers = Fields::new();
    for (name, value) in fields {
        headers.append(name, value.as_bytes()).expect("a field that may be set");
    }
    let (mut writer, body) = wit_stream::new();
    let (end, ended) = wit_future::new(|| Ok(None));
    wit_bindgen::spawn_local(async move {
        writer.write_all(text.into_bytes()).await;
        drop(writer);
        let _ = end.write(Ok(None)).await;
    });
    answer(headers, body, ended)
}

/// What a guest is told of a request, a line for each.
fn head(request: &Request) -> String {
    let method = match request.get_method() {
        Method::Get => "GET".to_owned(),
        Method::Post => "POST".to_owned(),
        Method::Other(other) => other,
        _ => "?".to_owned(),
    };
    let scheme = match request.get_scheme() {
        Some(Scheme::Http) => "http",
        Some(Scheme::Https) => "https",
        _ => "?",
    };
    let mut lines = vec![method, scheme.to_owned()];
    lines.extend([request.get_authority().unwrap_or_default(), request.get_path_with_query().unwrap_or_default()]);
    let fields = request.get_headers().copy_all();
    lines.extend(fields.iter().map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value))));
    lines.join("\n")
}

/// The body goes back as it comes, and its trailers after it.
fn echo(request: Request) -> Response {
    let (_, fine) = wit_future::new(|| Ok(()));
    let (mut from, trailers) = Request::consume_body(request, fine);
    let (mut writer, body) = wit_stream::new();
    let (end, ended) = wit_future::new(|| Ok(None));
    wit_bindgen::spawn_local(async move {
        loop {
            let (result, bytes) = from.read(Vec::with_capacity(4096)).await;
            if !writer.write_all(bytes).await.is_empty() || result == StreamResult::Dropped {
                break;
            }
        }
        drop(writer);
        let _ = end.write(trailers.await).await;
    });
    answer(Fields::new(), body, ended)
}

fn zeros(mut left: u64) -> Response {
    let (mut writer, body) = wit_stream::new();
    let (end, ended) = wit_future::new(|| Ok(None));
    wit_bindgen::spawn_local(async move {
        while left > 0 {
            let piece = left.min(4096);
            if !writer.write_all(vec![b'0'; piece as usize]).await.is_empty() {
                return;
            }
            left -= piece;
        }
        drop(writer);
        let _ = end.write(Ok(None)).await;
    });
    answer(Fields::new(), body, ended)
}

/// Some of a body, and then no more.
fn half(how: String) -> Response {
    let (mut writer, body) = wit_stream::new();
    let (end, ended) = wit_future::new(|| Ok(None));
    wit_bindgen::spawn_local(async move {
        writer.write_all(b"half".to_vec()).await;
        if how == "sleeps" {
            wait_for(HOUR).await;
        }
        misbehave(&how);
        drop(end);
    });
    answer(Fields::new(), body, ended)
}
