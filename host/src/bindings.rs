//! The contract in Rust: what `bindgen!` makes of `wit/`, and the records that go into a guest.
//!
//! The generated module is private; what the rest of the host may see is the list of re-exports. Records that go *into*
//! a guest are written by hand, with the same shape, because the host keeps names as `Arc<str>` and bodies as `Bytes`
//! and need not copy them to hand them over.

#![allow(
    unsafe_code,
    reason = "the derives and `bindgen!` expand to wasmtime's own unsafe traits; none is written here"
)]

use std::sync::Arc;

use bytes::Bytes;
use wasmtime::component::{ComponentType, Lower};

#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all, reason = "generated code")]
#[allow(clippy::unwrap_used, clippy::allow_attributes_without_reason, reason = "generated code")]
mod generated {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "streaming",
        imports: {
            // What waits.
            "tollgate:plugin/http-client.send": async | trappable,
            "tollgate:plugin/http-client.[static]pending.wait": async | trappable,
            default: trappable,
        },
        with: {
            "tollgate:plugin/limiter.bucket": crate::capability::limiter::BucketHandle,
            "tollgate:plugin/kv.store": crate::capability::kv::StoreHandle,
            "tollgate:plugin/http-client.pending": crate::capability::http_client::PendingHandle,
            "tollgate:plugin/metrics.counter": crate::capability::metrics::CounterHandle,
            "tollgate:plugin/metrics.gauge": crate::capability::metrics::GaugeHandle,
            "tollgate:plugin/metrics.histogram": crate::capability::metrics::HistogramHandle,
        },
    });
}

pub(crate) use generated::exports::tollgate::plugin::chunks::{ChunkFlow, Passing, Wanted};
pub(crate) use generated::exports::tollgate::plugin::hooks::{
    BodyInterest, Complaint, Interest, Names, Parts, ResponseInterest,
};
pub(crate) use generated::tollgate::plugin::http::{BodyFlow, Edits, Fault, Flow, Header, Problem, Response};
pub(crate) use generated::tollgate::plugin::{crypto, http_client, kv, limiter, log, metrics};

/// The name of the interface that every plugin exports.
pub(crate) const HOOKS: &str = "tollgate:plugin/hooks@0.1.0";
/// The name of the interface that plugins export which stream bodies.
pub(crate) const CHUNKS: &str = "tollgate:plugin/chunks@0.1.0";

/// A header field on its way into a guest.
#[derive(Debug, Clone, ComponentType, Lower)]
#[component(record)]
pub(crate) struct HeaderIn {
    pub(crate) name: Arc<str>,
    pub(crate) value: Vec<u8>,
}

/// The head of a request on its way into a guest.
#[derive(Debug, Clone, ComponentType, Lower)]
#[component(record)]
pub(crate) struct RequestIn {
    pub(crate) method: Option<String>,
    pub(crate) scheme: Option<&'static str>,
    pub(crate) authority: Option<String>,
    pub(crate) path: Option<String>,
    pub(crate) query: Option<String>,
    pub(crate) headers: Vec<HeaderIn>,
    pub(crate) client: Option<String>,
    pub(crate) attributes: Vec<(Arc<str>, Arc<str>)>,
}

/// The head of a response on its way into a guest.
#[derive(Debug, Clone, ComponentType, Lower)]
#[component(record)]
pub(crate) struct ResponseHeadIn {
    pub(crate) status: u16,
    pub(crate) headers: Vec<HeaderIn>,
    pub(crate) attributes: Vec<(Arc<str>, Arc<str>)>,
}

/// A piece of a body on its way into a guest.
#[derive(Debug, Clone, Default, ComponentType, Lower)]
#[component(record)]
pub(crate) struct ChunkIn {
    pub(crate) bytes: Bytes,
    pub(crate) first: bool,
    pub(crate) last: bool,
    pub(crate) memo: Option<Bytes>,
    pub(crate) trailers: Vec<HeaderIn>,
}

/// What `on-request` takes.
pub(crate) type OnRequest<'a> = (&'a RequestIn,);
/// What `on-request-body` takes.
pub(crate) type OnRequestBody<'a> = (&'a RequestIn, Bytes, Option<Bytes>);
/// What `on-response` takes.
pub(crate) type OnResponse<'a> = (&'a ResponseHeadIn, Option<Bytes>);
/// What `on-response-body` takes.
pub(crate) type OnResponseBody<'a> = (&'a ResponseHeadIn, Bytes, Option<Bytes>);
/// What `on-request-chunk` and `on-response-chunk` take.
pub(crate) type OnChunk = (ChunkIn,);
