//! Requests of the plugin's own. Granted with `grant = { http = ["https://HOST"] }`.
//!
//! ```
//! use tollgate_sdk::{http, http_client};
//!
//! # http_client::stand_in(|_| Ok(http::Response::new(br#"{"active":true}"#.to_vec())));
//! let request = http::Request::post("https://idp.example.com/introspect").body(b"token=abc".to_vec()).unwrap();
//! let response = http_client::send(request, Some(std::time::Duration::from_millis(500)))?;
//! assert_eq!(response.status(), 200);
//! # Ok::<(), http_client::Error>(())
//! ```

use std::fmt;
use std::time::Duration;

use http::{Request, Response};

#[cfg(target_arch = "wasm32")]
use crate::bindings::tollgate::plugin::http_client as wit;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// The configuration does not grant this origin.
    NotGranted,
    /// What is wrong with the request.
    InvalidRequest(String),
    /// The name resolves to no address that may be dialled.
    AddressNotAllowed,
    /// The name does not resolve.
    Resolve,
    /// No connection, or one that was closed before the answer.
    Connect,
    /// TLS failed.
    Tls,
    /// It took longer than it may.
    Timeout,
    /// What came is not HTTP.
    Protocol,
    /// The body of the answer is longer than 1 MiB.
    TooLarge,
    /// More than 16 requests in one call, or more than 64 of one plugin at once.
    TooMany,
    /// Nothing can be sent while a plugin is configured.
    Unavailable,
}

/// A request that is under way. Dropping it ends the exchange.
#[derive(Debug)]
#[must_use = "the exchange ends when it is dropped"]
pub struct Pending {
    #[cfg(target_arch = "wasm32")]
    pending: wit::Pending,
    #[cfg(not(target_arch = "wasm32"))]
    answer: Result<Response<Vec<u8>>, Error>,
}

/// Sends a request, whose URI is absolute, and waits for its answer: as long as `within`, and never longer than the call
/// of the hook may take.
pub fn send(request: Request<Vec<u8>>, within: Option<Duration>) -> Result<Response<Vec<u8>>, Error> {
    #[cfg(target_arch = "wasm32")]
    return wit::send(&lower(request, within)).map_err(Into::into).and_then(lift);
    #[cfg(not(target_arch = "wasm32"))]
    start(request, within)?.wait()
}

/// Begins to send a request. Several can be under way at once: begin them all, then wait for each.
pub fn start(request: Request<Vec<u8>>, within: Option<Duration>) -> Result<Pending, Error> {
    #[cfg(target_arch = "wasm32")]
    return Ok(Pending { pending: wit::Pending::start(&lower(request, within))? });
    #[cfg(not(target_arch = "wasm32"))]
    {
        let _ = within;
        Ok(Pending { answer: stand_in::answer(&request) })
    }
}

impl Pending {
    /// Waits for the answer.
    pub fn wait(self) -> Result<Response<Vec<u8>>, Error> {
        #[cfg(target_arch = "wasm32")]
        return wit::Pending::wait(self.pending).map_err(Into::into).and_then(lift);
        #[cfg(not(target_arch = "wasm32"))]
        self.answer
    }
}

/// For native tests of a plugin's logic: what answers the requests of this thread from now on. Without it, no server can
/// be reached.
#[cfg(not(target_arch = "wasm32"))]
pub fn stand_in(answer: impl FnMut(&Request<Vec<u8>>) -> Result<Response<Vec<u8>>, Error> + 'static) {
    stand_in::install(Box::new(answer));
}

#[cfg(target_arch = "wasm32")]
fn lower(request: Request<Vec<u8>>, within: Option<Duration>) -> wit::Request {
    let (head, body) = request.into_parts();
    wit::Request {
        method: head.method.as_str().to_owned(),
        url: head.uri.to_string(),
        headers: crate::message::list(&head.headers),
        body,
        timeout_ms: within.map(|time| u32::try_from(time.as_millis()).unwrap_or(u32::MAX)),
    }
}

#[cfg(target_arch = "wasm32")]
fn lift(response: crate::bindings::tollgate::plugin::http::Response) -> Result<Response<Vec<u8>>, Error> {
    let mut lifted = Response::new(response.body);
    *lifted.status_mut() = http::StatusCode::from_u16(response.status).map_err(|_| Error::Protocol)?;
    *lifted.headers_mut() = crate::message::map(&response.headers);
    Ok(lifted)
}

#[cfg(target_arch = "wasm32")]
impl From<wit::Error> for Error {
    fn from(error: wit::Error) -> Self {
        match error {
            wit::Error::NotGranted => Self::NotGranted,
            wit::Error::InvalidRequest(why) => Self::InvalidRequest(why),
            wit::Error::AddressNotAllowed => Self::AddressNotAllowed,
            wit::Error::Resolve => Self::Resolve,
            wit::Error::Connect => Self::Connect,
            wit::Error::Tls => Self::Tls,
            wit::Error::Timeout => Self::Timeout,
            wit::Error::Protocol => Self::Protocol,
            wit::Error::TooLarge => Self::TooLarge,
            wit::Error::TooMany => Self::TooMany,
            wit::Error::Unavailable => Self::Unavailable,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotGranted => "the origin is not granted",
            Self::InvalidRequest(why) => return write!(f, "the request is none: {why}"),
            Self::AddressNotAllowed => "the name stands for no address that may be dialled",
            Self::Resolve => "the name does not resolve",
            Self::Connect => "the server cannot be reached",
            Self::Tls => "the server does not prove who it is",
            Self::Timeout => "it took too long",
            Self::Protocol => "the answer is not HTTP",
            Self::TooLarge => "the answer is too long",
            Self::TooMany => "too many requests",
            Self::Unavailable => "nothing can be sent now",
        })
    }
}

impl std::error::Error for Error {}

#[cfg(not(target_arch = "wasm32"))]
mod stand_in {
    use std::cell::RefCell;

    use super::{Error, Request, Response};

    type Answers = dyn FnMut(&Request<Vec<u8>>) -> Result<Response<Vec<u8>>, Error>;

    thread_local! {
        static ANSWERS: RefCell<Option<Box<Answers>>> = const { RefCell::new(None) };
    }

    pub(super) fn install(answers: Box<Answers>) {
        ANSWERS.with_borrow_mut(|here| *here = Some(answers));
    }

    pub(super) fn answer(request: &Request<Vec<u8>>) -> Result<Response<Vec<u8>>, Error> {
        ANSWERS.with_borrow_mut(|here| here.as_mut().map_or(Err(Error::Connect), |answers| answers(request)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stand_in_answers_what_a_test_says() {
        let ask = || send(Request::get("https://a.test/b").body(Vec::new()).unwrap(), None);
        assert_eq!(ask().unwrap_err(), Error::Connect);
        stand_in(|request| Ok(Response::new(request.uri().path().as_bytes().to_vec())));
        assert_eq!(ask().unwrap().body(), b"/b");
    }
}
