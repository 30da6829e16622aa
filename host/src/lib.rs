//! Tollgate: an API proxy in which everything that decides about a request is a sandboxed WebAssembly component.
//!
//! In reading order: what the operator wrote ([`config`]); the server that runs it ([`server`]); the straight line of a
//! request ([`proxy`]) and its parts: the way in ([`authority`], [`path`], [`headers`], [`client`], [`router`]), the chain
//! of plugins ([`plugin`], [`capability`]), the upstream ([`upstream`], [`connect`]), and the way out ([`hide`],
//! [`error`]). [`body`] goes through all of them. [`metrics`] and [`telemetry`] tell about it.

pub mod cli;
pub mod config;
pub mod server;
pub mod proxy;
pub mod authority;
pub mod path;
pub mod headers;
pub mod client;
pub mod router;
mod chain;
pub mod plugin;
pub mod capability;
mod bindings;
pub mod upstream;
pub mod connect;
pub mod hide;
pub mod error;
pub mod body;
pub mod metrics;
pub mod telemetry;
mod admin;
pub mod demo;
pub mod key;
mod deadline;
pub mod pem;
