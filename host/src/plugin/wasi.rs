//! The part of WASI 0.2 that every guest gets: clocks and random numbers, and an empty world around them.
//!
//! Compilers and language runtimes import standard streams, an environment and a file system whether a program uses
//! them or not. They are linked, with nothing behind them: no variables, no arguments, no directory, standard input at
//! its end, standard output and error into the plugin's log. Sockets and `wasi:http` are not linked at all, so that a
//! component which imports them does not load.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::io::AsyncWrite;
use wasmtime::StoreContextMut;
use wasmtime::component::{HasData, Linker, Resource, ResourceType};
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::cli::{WasiCli, WasiCliView};
use wasmtime_wasi::clocks::{WasiClocks, WasiClocksView};
use wasmtime_wasi::filesystem::{WasiFilesystem, WasiFilesystemView};
use wasmtime_wasi::p2::bindings::io::{error, poll, streams};
use wasmtime_wasi::p2::bindings::{cli, clocks, filesystem, random};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, DynPollable, OutputStream, Pollable, StreamResult};
use wasmtime_wasi::random::WasiRandom;
use wasmtime_wasi::{ResourceTable, WasiView};

use super::state::State;
use crate::capability::log::PluginLog;

/// Functions during which a guest waits. A component that imports one of them is called on a stack of its own, which
/// can be left and dropped while it waits; all others are called in place.
pub(super) fn waits(interface: &str, function: &str) -> bool {
    let interface = interface.split('@').next().unwrap_or_default();
    match interface {
        "wasi:io/poll" => function == "poll",
        // What a guest can wait for. `pollable.block` alone tells nothing: every Rust program imports it for its
        // standard streams, which are always ready.
        "wasi:clocks/monotonic-clock" => function.starts_with("subscribe"),
        "wasi:io/streams" => matches!(
            function,
            "[method]input-stream.blocking-skip"
                | "[method]output-stream.blocking-write-zeroes-and-flush"
                | "[method]output-stream.blocking-splice"
        ),
        "tollgate:plugin/http-client" => true,
        // Nothing can be opened, but wasmtime-wasi's functions for it are asynchronous.
        "wasi:filesystem/types" => function.starts_with("[method]"),
        _ => false,
    }
}

/// Links it.
pub(super) fn link<T: WasiView + 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    error::add_to_linker::<T, Io>(linker, |state| state.ctx().table)?;
    poll::add_to_linker::<T, Io>(linker, |state| state.ctx().table)?;
    streams::add_to_linker::<T, Io>(linker, |state| state.ctx().table)?;
    clocks::wall_clock::add_to_linker::<T, WasiClocks>(linker, T::clocks)?;
    clocks::monotonic_clock::add_to_linker::<T, WasiClocks>(linker, T::clocks)?;
    filesystem::preopens::add_to_linker::<T, WasiFilesystem>(linker, T::filesystem)?;
    filesystem::types::add_to_linker::<T, WasiFilesystem>(linker, T::filesystem)?;
    random::random::add_to_linker::<T, WasiRandom>(linker, |state| state.ctx().ctx.random())?;
    random::insecure::add_to_linker::<T, WasiRandom>(linker, |state| state.ctx().ctx.random())?;
    random::insecure_seed::add_to_linker::<T, WasiRandom>(linker, |state| state.ctx().ctx.random())?;
    cli::exit::add_to_linker::<T, WasiCli>(linker, T::cli)?;
    cli::environment::add_to_linker::<T, WasiCli>(linker, T::cli)?;
    cli::stdin::add_to_linker::<T, WasiCli>(linker, T::cli)?;
    cli::stdout::add_to_linker::<T, WasiCli>(linker, T::cli)?;
    cli::stderr::add_to_linker::<T, WasiCli>(linker, T::cli)?;
    cli::terminal_input::add_to_linker::<T, WasiCli>(linker, T::cli)?;
    cli::terminal_output::add_to_linker::<T, WasiCli>(linker, T::cli)?;
    cli::terminal_stdin::add_to_linker::<T, WasiCli>(linker, T::cli)?;
    cli::terminal_stdout::add_to_linker::<T, WasiCli>(linker, T::cli)?;
    cli::terminal_stderr::add_to_linker::<T, WasiCli>(linker, T::cli)
}

struct Io;

impl HasData for Io {
    type Data<'a> = &'a mut ResourceTable;
}

/// Puts synchronous functions in the place of those that wait for a stream.
///
/// A guest's standard streams are the only streams there are: input is at its end, and output goes into a buffer that
/// always takes more. Nothing ever waits, so a plugin that may print a panic message need not pay for the stack of an
/// asynchronous call (0.1 µs and a switch).
pub(super) fn never_wait(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let mut instance = linker.instance("wasi:io/streams@0.2.12")?;
    let output = ResourceType::host::<DynOutputStream>();
    instance.resource("output-stream", output, |mut store, id| {
        store.data_mut().table().delete(Resource::<DynOutputStream>::new_own(id))?;
        Ok(())
    })?;
    let input = ResourceType::host::<DynInputStream>();
    instance.resource("input-stream", input, |mut store, id| {
        store.data_mut().table().delete(Resource::<DynInputStream>::new_own(id))?;
        Ok(())
    })?;
    instance.func_wrap(
        "[method]output-stream.blocking-write-and-flush",
        |mut store: StoreContextMut<'_, State>, (stream, bytes): (Resource<DynOutputStream>, Vec<u8>)| {
            let table = store.data_mut().table();
            let written = write(table, &stream, bytes);
            Ok((answer(table, written)?,))
        },
    )?;
    instance.func_wrap(
        "[method]output-stream.blocking-flush",
        |mut store: StoreContextMut<'_, State>, (stream,): (Resource<DynOutputStream>,)| {
            let table = store.data_mut().table();
            let flushed = flush(table, &stream);
            Ok((answer(table, flushed)?,))
        },
    )?;
    instance.func_wrap(
        "[method]input-stream.blocking-read",
        |mut store: StoreContextMut<'_, State>, (stream, length): (Resource<DynInputStream>, u64)| {
            let table = store.data_mut().table();
            let read = read(table, &stream, length);
            Ok((answer(table, read)?,))
        },
    )?;
    let mut instance = linker.instance("wasi:io/poll@0.2.12")?;
    instance.func_wrap(
        "[method]pollable.block",
        |mut store: StoreContextMut<'_, State>, (pollable,): (Resource<DynPollable>,)| {
            let block = std::pin::pin!(poll::HostPollable::block(store.data_mut().table(), pollable));
            match block.poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(ready) => ready,
                Poll::Pending => Err(wasmtime::Error::msg("it waits, though it imports nothing to wait for")),
            }
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

fn write(table: &mut ResourceTable, stream: &Resource<DynOutputStream>, bytes: Vec<u8>) -> StreamResult<()> {
    let stream = table.get_mut(stream)?;
    stream.write(bytes.into())?;
    stream.flush()
}

fn flush(table: &mut ResourceTable, stream: &Resource<DynOutputStream>) -> StreamResult<()> {
    table.get_mut(stream)?.flush()
}

fn read(table: &mut ResourceTable, stream: &Resource<DynInputStream>, length: u64) -> StreamResult<Vec<u8>> {
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    Ok(table.get_mut(stream)?.read(length)?.into())
}

fn answer<T>(table: &mut ResourceTable, result: StreamResult<T>) -> wasmtime::Result<Result<T, streams::StreamError>> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(error) => Ok(Err(streams::Host::convert_stream_error(table, error)?)),
    }
}

/// A guest's standard output and error: lines of the plugin's log.
#[derive(Clone)]
pub(super) struct Stderr(PluginLog);

impl Stderr {
    pub(super) fn new(log: &PluginLog) -> Self {
        Self(log.clone())
    }
}

impl IsTerminal for Stderr {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Stderr {
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }

    /// For WASI 0.3.
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }
}

impl AsyncWrite for Stderr {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().0.output(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Stderr {
    async fn ready(&mut self) {}
}

impl OutputStream for Stderr {
    fn write(&mut self, bytes: bytes::Bytes) -> StreamResult<()> {
        self.0.output(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(4096)
    }
}
