//! What a store holds for a guest of the standard's HTTP worlds.

use std::error::Error as StdError;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, Request, Response};
use http_body_util::BodyExt as _;
use tokio::sync::mpsc::UnboundedSender;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{
    ForbiddenHeaderFilter, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView,
};

use super::convert::{error_of, is_kept_from_guests};
use super::running::Step;
use crate::capability::http_client::{self, Calls};
use crate::config::PluginLimits;
use crate::plugin::state::{Grounds, MAX_HANDLES, MAX_RANDOM, Memory, Stopped};
use crate::plugin::wasi::Stderr;

/// Bytes of a body that cross from a guest to us at once.
const PIECE: usize = 64 << 10;
/// Bytes of the fields of one message, with what each of them costs us beside its text.
const FIELDS: usize = 64 << 10;

/// The `T` of the store. Lives and dies with one request.
pub(super) struct State {
    pub(super) limits: Memory,
    /// Where a middleware's request to what comes behind it goes; none once there was one.
    pub(super) next: Option<UnboundedSender<Step>>,
    client: Client,
    table: ResourceTable,
    wasi: WasiCtx,
    http: WasiHttpCtx,
}

impl State {
    pub(super) fn new(grounds: &Grounds, limits: &PluginLimits, next: Option<UnboundedSender<Step>>) -> Self {
        let log = grounds.log.instance();
        log.begin_call();
        let mut table = ResourceTable::new();
        table.set_max_capacity(MAX_HANDLES);
        let mut wasi = WasiCtx::builder();
        wasi.stdout(Stderr::new(&log)).stderr(Stderr::new(&log)).max_random_size(MAX_RANDOM);
        if let Some(now) = grounds.now {
            wasi.wall_clock(Stopped(now));
        }
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(FIELDS);
        let client = Client { granted: grounds.http.clone(), calls: Calls::default() };
        Self { limits: Memory::new(limits), next, client, table, wasi: wasi.build(), http }
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.client, table: &mut self.table, ctx: &mut self.http }
    }
}

/// What a guest's requests go through.
struct Client {
    granted: http_client::Granted,
    calls: Calls,
}

impl WasiHttpHooks for Client {
    fn forbidden_header_filter(&mut self) -> ForbiddenHeaderFilter {
        Arc::new(|name: &HeaderName| is_kept_from_guests(name))
    }

    /// Whoever sends the request says which host it is for.
    fn set_host_header(&mut self) -> bool {
        false
    }

    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Box<dyn Future<Output = Sent> + Send>,
    ) -> Box<dyn Future<Output = Result<(Response<WasiBody>, Box<dyn Future<Output = Sent> + Send>), WasiError>> + Send>
    {
        let options = options.unwrap_or_default();
        let times = http_client::Patience {
            head: longest([options.connect_timeout, options.first_byte_timeout]),
            idle: options.between_bytes_timeout,
        };
        let request = request.map(|body| body.map_err(|error| Box::new(error) as Box<dyn StdError + Send + Sync>));
        let coming = http_client::begin(&self.granted, &mut self.calls, request, times);
        Box::new(async move {
            let response = match coming {
                Ok(coming) => coming.await.map_err(error_of)?,
                Err(error) => return Err(error_of(error)),
            };
            let response = response.map(|body| body.map_err(WasiError::from).boxed_unsync());
            let nothing_more: Box<dyn Future<Output = Sent> + Send> = Box::new(async { Ok(()) });
            Ok((response, nothing_more))
        })
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        PIECE
    }

    fn p3_outgoing_body_chunk_size(&mut self) -> usize {
        PIECE
    }
}

type WasiError = wasmtime_wasi_http::Error;
type Sent = Result<(), WasiError>;

/// Both of two times, where there are both.
fn longest(times: [Option<Duration>; 2]) -> Option<Duration> {
    times.into_iter().flatten().reduce(Duration::saturating_add)
}
