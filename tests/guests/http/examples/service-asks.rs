//! `wasi:http/service` of WASI 0.3 that asks the server of its query, `/?http://host:port/path`, and passes on what it
//! says.
// Elsewhere, what the component model is to give does not link.
#![cfg(target_arch = "wasm32")]

use bindings::wasi::http::client::send;
use bindings::wasi::http::types::{ErrorCode, Fields, Request, Response, Scheme};
use bindings::{wit_future, wit_stream};

#[path = "bindings/service.rs"]
mod bindings;

struct Component;

impl bindings::exports::wasi::http::handler::Guest for Component {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let path = request.get_path_with_query().unwrap_or_default();
        let url = path.split_once('?').map(|(_, url)| url).unwrap_or_default();
        match ask(url).await {
            Ok(answer) => Ok(answer),
            Err(error) => Ok(say(format!("{error:?}"))),
        }
    }
}

async fn ask(url: &str) -> Result<Response, ErrorCode> {
    let (scheme, rest) = url.split_once("://").expect("a URL");
    let (authority, path) = rest.split_once('/').expect("a URL with a path");
    let (_, end) = wit_future::new(|| Ok(None));
    let (request, _) = Request::new(Fields::new(), None, end, None);
    request.set_scheme(Some(&if scheme == "https" { Scheme::Https } else { Scheme::Http })).expect("a scheme");
    request.set_authority(Some(authority)).expect("an authority");
    request.set_path_with_query(Some(&format!("/{path}"))).expect("a path");
    send(request).await
}

fn say(text: String) -> Response {
    let (mut writer, body) = wit_stream::new();
    let (_, ended) = wit_future::new(|| Ok(None));
    wit_bindgen::spawn_local(async move {
        writer.write_all(text.into_bytes()).await;
    });
    Response::new(Fields::new(), Some(body), ended).0
}
