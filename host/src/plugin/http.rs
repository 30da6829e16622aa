//! Components of the standard's HTTP worlds, which know nothing of Tollgate.
//!
//! A `wasi:http/proxy` (WASI 0.2) or `wasi:http/service` (0.3) answers requests, in the place of an upstream; a
//! `wasi:http/middleware` (0.3) stands in a chain, and calls what comes behind it. They have the limits and the grants
//! of plugins, and no hooks: a request runs through a fresh instance from its head to the end of its answer's body.
//! Those of 0.2 run on the engine of plugins. Those of 0.3 are made of the component model's own async, which makes each
//! call dearer, and so they have an engine of their own, which is there when one of them is.

mod convert;
mod next;
mod running;
mod state;
mod turn;
mod world;

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use wasmtime::component::Linker;
use wasmtime_wasi_http::p2::bindings::ProxyPre;
use wasmtime_wasi_http::p3::bindings::ServicePre;

use super::component::{LINKED, LoadError, one_line};
use super::engine::{Engine, Pace, Ticker, settings};
use super::wasi;
use crate::config::PluginSpec;
pub(crate) use convert::{Asked, Checked, body as guest_body, check_request, check_response};
pub(in crate::plugin) use running::on_trial;
pub(crate) use running::{GuestBody, Next, Running, Step};
use state::State;
pub use world::World;

/// What sends requests in WASI 0.3, and in 0.2.
pub(super) const CLIENT: &str = "wasi:http/client";
pub(super) const OLD_CLIENT: &str = "wasi:http/outgoing-handler";

/// The client that an import is, without its version.
pub(super) fn client(import: &str) -> Option<&'static str> {
    let name = import.split('@').next()?;
    [CLIENT, OLD_CLIENT].into_iter().find(|known| *known == name)
}

/// A compiled component of one of the worlds.
pub(super) struct Code {
    pub(super) world: World,
    pre: Pre,
}

enum Pre {
    Proxy(ProxyPre<State>),
    Service(ServicePre<State>),
}

/// What such components run on.
pub(super) struct Engines {
    instances: u32,
    cache: Option<PathBuf>,
    /// Of WASI 0.2, on the engine of plugins.
    proxies: OnceLock<Linker<State>>,
    /// Of WASI 0.3.
    concurrent: OnceLock<Concurrent>,
}

/// An engine with the component model's own async.
struct Concurrent {
    wasmtime: wasmtime::Engine,
    linker: Linker<State>,
    ticker: Ticker,
}

impl Engines {
    pub(super) fn new(instances: u32, cache: Option<PathBuf>) -> Self {
        Self { instances, cache, proxies: OnceLock::new(), concurrent: OnceLock::new() }
    }

    fn proxies(&self, engine: &wasmtime::Engine) -> wasmtime::Result<&Linker<State>> {
        if let Some(known) = self.proxies.get() {
            return Ok(known);
        }
        let mut linker = Linker::new(engine);
        wasi::link(&mut linker)?;
        wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
        Ok(self.proxies.get_or_init(|| linker))
    }

    fn concurrent(&self) -> anyhow::Result<&Concurrent> {
        if let Some(known) = self.concurrent.get() {
            return Ok(known);
        }
        let wasmtime = wasmtime::Engine::new(&settings(self.instances, self.cache.as_deref(), true)?)?;
        let mut linker = Linker::new(&wasmtime);
        // The libraries of languages import both.
        wasi::link(&mut linker)?;
        wasmtime_wasi::p3::cli::add_to_linker(&mut linker)?;
        wasmtime_wasi::p3::clocks::add_to_linker(&mut linker)?;
        wasmtime_wasi::p3::random::add_to_linker(&mut linker)?;
        wasmtime_wasi::p3::filesystem::add_to_linker(&mut linker)?;
        wasmtime_wasi_http::p3::add_to_linker(&mut linker)?;
        next::link(&mut linker)?;
        let ticker = Ticker::start(&wasmtime)?;
        Ok(self.concurrent.get_or_init(|| Concurrent { wasmtime, linker, ticker }))
    }

    /// The clock of the engine that a component runs on.
    fn pace<'a>(&'a self, code: &Code, engine: &'a Engine) -> &'a Arc<Pace> {
        match (&code.pre, self.concurrent.get()) {
            (Pre::Service(_), Some(concurrent)) => &concurrent.ticker.pace,
            _ => engine.pace(),
        }
    }
}

/// Compiles a component of a world, and answers what it imports.
///
/// # Errors
/// [`LoadError`] where `bytes` is no component, or needs what no grant can give.
pub(super) fn compile(engine: &Engine, world: World, bytes: &[u8]) -> Result<(Code, Vec<String>), LoadError> {
    let machine = |error: &dyn std::fmt::Display| LoadError::Failed(error.to_string());
    let engines = engine.http();
    let (wasmtime, linker) = match world {
        World::Proxy => {
            let linker = engines.proxies(&engine.wasmtime).map_err(|error| machine(&error))?;
            (&engine.wasmtime, linker)
        }
        World::Service | World::Middleware => {
            let concurrent = engines.concurrent().map_err(|error| machine(&error))?;
            (&concurrent.wasmtime, &concurrent.linker)
        }
    };
    let compiled = wasmtime::component::Component::from_binary(wasmtime, bytes)
        .map_err(|error| LoadError::Invalid(one_line(&error)))?;
    let imports: Vec<_> = compiled.component_type().imports(wasmtime).map(|(name, _)| name.to_owned()).collect();
    if let Some(refused) = imports.iter().find(|import| !is_linked(import)) {
        return Err(LoadError::Import(refused.clone()));
    }
    let link = |error: wasmtime::Error| LoadError::Link(one_line(&error));
    let pre = linker.instantiate_pre(&compiled).map_err(link)?;
    let pre = match world {
        World::Proxy => ProxyPre::new(pre).map(Pre::Proxy),
        World::Service | World::Middleware => ServicePre::new(pre).map(Pre::Service),
    };
    Ok((Code { world, pre: pre.map_err(link)? }, imports))
}

/// Whether there is something behind an import; what a component may use of it is decided by its grants.
fn is_linked(import: &str) -> bool {
    let of_http = ["wasi:http/types@", "wasi:http/handler@"];
    LINKED.iter().chain(&of_http).any(|begin| import.starts_with(begin)) || client(import).is_some()
}

/// Refuses what says something about hooks.
///
/// # Errors
/// [`LoadError::NoSetting`].
pub(super) fn check_settings(world: World, spec: &PluginSpec) -> Result<(), LoadError> {
    let settings = [("config", spec.config != "{}"), ("record", spec.record.is_some())];
    match settings.into_iter().find(|(_, given)| *given) {
        Some((setting, _)) => Err(LoadError::NoSetting(world, setting)),
        None => Ok(()),
    }
}
