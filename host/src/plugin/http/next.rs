//! What a middleware calls: the rest of its chain.

use http::{Request, Response};
use tokio::sync::oneshot;
use wasmtime::component::{Accessor, Linker, Resource};
use wasmtime_wasi_http::p3::bindings::http::types::ErrorCode;
use wasmtime_wasi_http::p3::{self};
use wasmtime_wasi_http::{WasiBody, WasiHttpView as _};

use super::running::Step;
use super::state::State;
use crate::body::Ticket;

type Answer = Result<Resource<p3::Response>, ErrorCode>;

pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.instance("wasi:http/handler@0.3.0")?.func_wrap_concurrent(
        "handle",
        |accessor: &Accessor<State>, (request,): (Resource<p3::Request>,)| {
            Box::pin(async move { Ok((handle(accessor, request).await?,)) })
        },
    )
}

async fn handle(accessor: &Accessor<State>, request: Resource<p3::Request>) -> wasmtime::Result<Answer> {
    let asked = accessor.with(|mut store| ask(&mut store, request))?;
    let answer = match asked {
        Ok(answer) => answer,
        Err(code) => return Ok(Err(code)),
    };
    // Whoever would answer is gone only when the request is.
    let Ok(response) = answer.await else { return Ok(Err(ErrorCode::ConnectionTerminated)) };
    accessor.with(|mut store| {
        let view = store.data_mut().http();
        let (response, _) = p3::Response::from_http(view.hooks, response);
        Ok(Ok(view.table.push(response)?))
    })
}

type Coming = oneshot::Receiver<Response<Ticket>>;

/// Sends the request on. The first error is the end of the guest, the second one is told to it.
fn ask(
    store: &mut wasmtime::component::Access<'_, State>,
    request: Resource<p3::Request>,
) -> wasmtime::Result<Result<Coming, ErrorCode>> {
    let request = store.data_mut().http().table.delete(request)?;
    let next = store.data_mut().next.take();
    let request: Request<WasiBody> = match request.into_http(&mut *store, async { Ok(()) }) {
        Ok((request, _)) => request,
        Err(error) => return error.downcast().map(Err),
    };
    let Some(next) = next else {
        let why = "the rest of the chain can be called once".to_owned();
        return Ok(Err(ErrorCode::InternalError(Some(why))));
    };
    let (answers, answer) = oneshot::channel();
    // Nobody takes it where the request has ended, and then nobody answers.
    let _ = next.send(Step::Asks(request, answers));
    Ok(Ok(answer))
}
