//! What the two directions of a pass do not have in common.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Response, request, response};

use super::{Given, Link, Pass};
use crate::bindings;
use crate::body::{Body, BodyError};
use crate::error::{Error, Reason};
use crate::plugin::{
    Applied, BodyCall, Chunks, Failure, Hook, Ledger, Refused, Sight, edit_request, edit_response, input_of_request,
    input_of_response,
};

/// Implemented by the heads that hooks see and edit.
pub(super) trait Side {
    const HOOK: Hook;
    const BODY_HOOK: Hook;
    const CHUNK_HOOK: Hook;

    /// Whether the hook for heads is called, up to which length the one for bodies, and for what the one for chunks.
    fn wanted(sight: &Sight) -> (bool, Option<u64>, Chunks);

    /// Calls the hook; what it is given and told goes to the call in `ledger`, too.
    async fn call(&self, pass: &Pass<'_>, index: usize, ledger: Ledger<'_>) -> Result<bindings::Flow, Failure>;

    async fn call_with_body(
        &self,
        pass: &Pass<'_>,
        index: usize,
        body: Bytes,
        ledger: Ledger<'_>,
    ) -> Result<bindings::BodyFlow, Failure>;

    fn edit(&mut self, edits: bindings::Edits, link: &Link, pass: &mut Pass<'_>) -> Result<Applied, Refused>;

    /// Goes through a middleware.
    async fn pass_around(
        &mut self,
        pass: &mut Pass<'_>,
        index: usize,
        body: &mut Body,
    ) -> Result<Option<Response<Body>>, Error>;

    fn headers(&mut self) -> &mut HeaderMap;

    /// What another version is given for the same hook, whose interest this is.
    fn given(&self, pass: &Pass<'_>, sight: &Sight, body: Option<&Bytes>) -> Given;

    /// A body longer than a plugin takes.
    fn too_large(plugin: Arc<str>) -> Reason;

    fn broken(error: &BodyError) -> Reason;
}

impl Side for request::Parts {
    const HOOK: Hook = Hook::Request;
    const BODY_HOOK: Hook = Hook::RequestBody;
    const CHUNK_HOOK: Hook = Hook::RequestChunk;

    fn wanted(sight: &Sight) -> (bool, Option<u64>, Chunks) {
        (sight.on_request, sight.request_body, sight.request_chunks)
    }

    async fn call(&self, pass: &Pass<'_>, index: usize, mut ledger: Ledger<'_>) -> Result<bindings::Flow, Failure> {
        let pool = &pass.link(index).pool;
        let head = pool.plugin.sight.request.request(&pass.head(self));
        ledger.given(|| input_of_request(&head), None);
        pool.on_request((&head,), ledger).await
    }

    async fn call_with_body(
        &self,
        pass: &Pass<'_>,
        index: usize,
        body: Bytes,
        mut ledger: Ledger<'_>,
    ) -> Result<bindings::BodyFlow, Failure> {
        let pool = &pass.link(index).pool;
        let head = pool.plugin.sight.request.request(&pass.head(self));
        ledger.given(|| input_of_request(&head), Some(&body));
        pool.on_body(BodyCall::Request((&head, body, pass.memo(index))), ledger).await
    }

    fn edit(&mut self, edits: bindings::Edits, link: &Link, pass: &mut Pass<'_>) -> Result<Applied, Refused> {
        edit_request(edits, &link.pool.plugin.sight, self, &mut pass.attributes, pass.chain.encoded_slash)
    }

    async fn pass_around(
        &mut self,
        pass: &mut Pass<'_>,
        index: usize,
        body: &mut Body,
    ) -> Result<Option<Response<Body>>, Error> {
        pass.enter(index, self, body).await
    }

    fn headers(&mut self) -> &mut HeaderMap {
        &mut self.headers
    }

    fn given(&self, pass: &Pass<'_>, sight: &Sight, body: Option<&Bytes>) -> Given {
        let head = sight.request.request(&pass.head(self));
        match body {
            None => Given::Request(head),
            Some(body) => Given::RequestBody(head, body.clone()),
        }
    }

    fn too_large(plugin: Arc<str>) -> Reason {
        Reason::PluginBodyTooLarge(plugin)
    }

    fn broken(error: &BodyError) -> Reason {
        error.of_request()
    }
}

impl Side for response::Parts {
    const HOOK: Hook = Hook::Response;
    const BODY_HOOK: Hook = Hook::ResponseBody;
    const CHUNK_HOOK: Hook = Hook::ResponseChunk;

    fn wanted(sight: &Sight) -> (bool, Option<u64>, Chunks) {
        (sight.on_response, sight.response_body, sight.response_chunks)
    }

    async fn call(&self, pass: &Pass<'_>, index: usize, mut ledger: Ledger<'_>) -> Result<bindings::Flow, Failure> {
        let pool = &pass.link(index).pool;
        let head = pool.plugin.sight.response.response(self, &pass.attributes);
        ledger.given(|| input_of_response(&head), None);
        pool.on_response((&head, pass.memo(index)), ledger).await
    }

    async fn call_with_body(
        &self,
        pass: &Pass<'_>,
        index: usize,
        body: Bytes,
        mut ledger: Ledger<'_>,
    ) -> Result<bindings::BodyFlow, Failure> {
        let pool = &pass.link(index).pool;
        let head = pool.plugin.sight.response.response(self, &pass.attributes);
        ledger.given(|| input_of_response(&head), Some(&body));
        pool.on_body(BodyCall::Response((&head, body, pass.memo(index))), ledger).await
    }

    fn edit(&mut self, edits: bindings::Edits, link: &Link, pass: &mut Pass<'_>) -> Result<Applied, Refused> {
        edit_response(edits, &link.pool.plugin.sight, self, &mut pass.attributes)
    }

    async fn pass_around(
        &mut self,
        pass: &mut Pass<'_>,
        index: usize,
        body: &mut Body,
    ) -> Result<Option<Response<Body>>, Error> {
        pass.leave(index, self, body).await
    }

    fn headers(&mut self) -> &mut HeaderMap {
        &mut self.headers
    }

    fn given(&self, pass: &Pass<'_>, sight: &Sight, body: Option<&Bytes>) -> Given {
        let head = sight.response.response(self, &pass.attributes);
        match body {
            None => Given::Response(head),
            Some(body) => Given::ResponseBody(head, body.clone()),
        }
    }

    fn too_large(plugin: Arc<str>) -> Reason {
        Reason::PluginResponseTooLarge(plugin)
    }

    fn broken(error: &BodyError) -> Reason {
        error.of_response()
    }
}
