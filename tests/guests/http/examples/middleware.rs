//! `wasi:http/middleware` of WASI 0.3: what it does is said by the request's header `x-do`.
// Elsewhere, what the component model is to give does not link.
#![cfg(target_arch = "wasm32")]

use bindings::wasi::clocks::monotonic_clock::wait_for;
use bindings::wasi::http::handler::handle as next;
use bindings::wasi::http::types::{ErrorCode, Fields, Request, Response, Trailers};
use bindings::{wit_future, wit_stream};
use http_guests::misbehave;
use wit_bindgen::{FutureReader, StreamReader, StreamResult};

#[path = "bindings/middleware.rs"]
mod bindings;

struct Component;

const HOUR: u64 = 3_600_000_000_000;

type End = FutureReader<Result<Option<Trailers>, ErrorCode>>;

impl bindings::exports::wasi::http::handler::Guest for Component {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let how = request.get_headers().get("x-do").pop().unwrap_or_default();
        let how = String::from_utf8_lossy(&how).into_owned();
        match how.as_str() {
            "pass" => return next(request).await,
            "answer" => return Ok(say(418, "short and stout")),
            "refuse" => return Err(ErrorCode::HttpRequestDenied),
            "strange" => return Ok(say(103, "no answer")),
            "sleep" => wait_for(HOUR).await,
            "path" => request.set_path_with_query(Some("/elsewhere?by=middleware")).expect("a path"),
            other => misbehave(other),
        }
        let response = next(changed(request)).await?;
        match how.as_str() {
            "sleep-after" => wait_for(HOUR).await,
            "twice" => {
                let (_, end) = wit_future::new(|| Ok(None));
                let (request, _) = Request::new(Fields::new(), None, end, None);
                request.set_authority(Some("api.test")).expect("an authority");
                request.set_path_with_query(Some("/again")).expect("a path");
                return Ok(say(200, &format!("{:?}", next(request).await.map(|_| "answered twice"))));
            }
            "strange-after" => return Ok(say(103, "no answer")),
            other => misbehave(other.strip_suffix("-after").unwrap_or_default()),
        }
        Ok(shown(response))
    }
}

/// The same request, with one more header and a body in capitals.
fn changed(request: Request) -> Request {
    let headers = request.get_headers().clone();
    headers.append("x-middleware", b"request").expect("a field that may be set");
    let (method, path) = (request.get_method(), request.get_path_with_query());
    let (scheme, authority) = (request.get_scheme(), request.get_authority());
    let (_, fine) = wit_future::new(|| Ok(()));
    let (from, trailers) = Request::consume_body(request, fine);
    let (body, end) = capitals(from, trailers);
    let (request, _) = Request::new(headers, Some(body), end, None);
    request.set_method(&method).expect("a method that came");
    request.set_path_with_query(path.as_deref()).expect("a path that came");
    request.set_scheme(scheme.as_ref()).expect("a scheme that came");
    request.set_authority(authority.as_deref()).expect("an authority that came");
    request
}

/// The same response, with one more header and a body in capitals.
fn shown(response: Response) -> Response {
    let headers = response.get_headers().clone();
    headers.append("x-middleware", b"response").expect("a field that may be set");
    let status = response.get_status_code();
    let (_, fine) = wit_future::new(|| Ok(()));
    let (from, trailers) = Response::consume_body(response, fine);
    let (body, end) = capitals(from, trailers);
    let (response, _) = Response::new(headers, Some(body), end);
    response.set_status_code(status).expect("a status that came");
    response
}

/// A body in capitals, as it comes, with the same trailers.
fn capitals(mut from: StreamReader<u8>, trailers: End) -> (StreamReader<u8>, End) {
    let (mut writer, body) = wit_stream::new();
    let (end, ended) = wit_future::new(|| Ok(None));
    wit_bindgen::spawn_local(async move {
        loop {
            let (result, mut bytes) = from.read(Vec::with_capacity(4096)).await;
            bytes.make_ascii_uppercase();
            if !writer.write_all(bytes).await.is_empty() || result == StreamResult::Dropped {
                break;
            }
        }
        drop(writer);
        let _ = end.write(trailers.await).await;
    });
    (body, ended)
}

fn say(status: u16, text: &str) -> Response {
    let text = text.as_bytes().to_vec();
    let (mut writer, body) = wit_stream::new();
    let (_, ended) = wit_future::new(|| Ok(None));
    wit_bindgen::spawn_local(async move {
        writer.write_all(text).await;
    });
    let (response, _) = Response::new(Fields::new(), Some(body), ended);
    response.set_status_code(status).expect("a status");
    response
}
