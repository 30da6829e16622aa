//! Requests whose connection may go on with another protocol.

use std::rc::Rc;

use http::header::UPGRADE;
use http::{HeaderValue, Request, Response, StatusCode, Version};

use super::Route;
use super::record::{Counted, Entry};
use crate::body::Body;
use crate::chain::Pass;
use crate::error::{Error, Reason};
use crate::http1::upgrade::{Allowed, Offered, choose};

/// What a client offers to go on with, and its route allows.
pub(super) struct Upgrade {
    protocol: HeaderValue,
    /// What follows, held back until the upstream agrees.
    client: Body,
}

impl Upgrade {
    /// Takes it out of the request, so that the chain sees a request without a body. What is not allowed is forgotten.
    ///
    /// # Errors
    /// An extended CONNECT of HTTP/2 that the route does not allow: it cannot be answered as anything else.
    pub(super) fn take(request: &mut Request<Body>, route: &Route, entry: &mut Entry) -> Result<Option<Self>, Error> {
        if request.extensions_mut().remove::<Offered>().is_none() {
            return Ok(None);
        }
        let client = std::mem::take(request.body_mut());
        let Some(protocol) = choose(request.headers(), &route.upgrade) else {
            let extended = request.version() == Version::HTTP_2;
            return if extended { Err(Reason::MethodRefused.into()) } else { Ok(None) };
        };
        let client = client.observe(Rc::new(Counted(entry.bytes_in.insert(Rc::default()).clone())));
        Ok(Some(Self { protocol, client }))
    }

    /// Puts it into the request as it goes to the upstream.
    pub(super) fn put_into(self, request: &mut Request<Body>) {
        request.headers_mut().insert(UPGRADE, self.protocol.clone());
        request.extensions_mut().insert(Allowed(self.protocol));
        *request.body_mut() = self.client;
    }
}

/// Takes a 101 back through the chain. What follows it is none of the chain's business, and is lost where a plugin puts
/// another response in its place.
pub(super) async fn on_response(pass: &mut Pass<'_>, mut response: Response<Body>) -> Response<Body> {
    let upstream = std::mem::take(response.body_mut());
    let mut response = pass.on_response(response).await;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        *response.body_mut() = upstream;
    }
    response
}
