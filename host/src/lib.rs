//! Tollgate: an API proxy in which everything that decides about a request is a sandboxed WebAssembly component.

pub mod config;
pub mod authority;
pub mod path;
pub mod headers;
pub mod client;
pub mod hide;
pub mod router;
pub mod error;
pub mod metrics;
pub mod telemetry;
pub mod key;
pub mod deadline;
pub mod pem;
pub mod body;
pub mod connect;
pub mod upstream;
pub mod capability;
mod bindings;
pub mod plugin;
mod chain;
pub mod server;
