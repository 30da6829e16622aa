//! The capabilities: what a plugin may import, one interface each.
//!
//! Each file has the shared store above, plain Rust that knows nothing of WebAssembly, and in `guest.rs` below it what
//! a guest sees of it. Every number that comes from a guest is hostile.

pub mod crypto;
pub mod http_client;
pub mod kv;
pub mod limiter;
pub mod log;
pub mod metrics;

use wasmtime::component::Linker;

/// What the state of a store lends to the capabilities.
pub(crate) trait Capabilities: Send + 'static {
    fn log(&mut self) -> &mut log::PluginLog;
    fn limiter(&mut self) -> limiter::Guest<'_>;
    fn kv(&mut self) -> kv::Guest<'_>;
    fn http_client(&mut self) -> http_client::Guest<'_>;
    /// It needs nothing.
    fn crypto(&mut self);
    fn metrics(&mut self) -> metrics::Guest<'_>;
}

/// Links all of them. What a component may use of it is decided by its grants, before it is instantiated.
pub(crate) fn link<T: Capabilities>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    log::link(linker)?;
    limiter::link(linker)?;
    kv::link(linker)?;
    http_client::link(linker)?;
    crypto::link(linker)?;
    metrics::link(linker)
}
