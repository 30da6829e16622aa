//! Tollgate: an API proxy in which everything that decides about a request is a sandboxed WebAssembly component.
//!
//! In reading order: what the operator wrote ([`config`]); the server that runs it ([`server`]); the straight line of a
//! request ([`proxy`]) and its parts: the way in ([`authority`], [`path`], [`headers`], [`client`], [`router`]), the chain
//! of plugins ([`plugin`], [`capability`]), the upstream ([`rewrite`], [`upstream`], [`connect`]), and the way out ([`hide`],
//! [`error`]). [`http1`] and [`http2`] are how both sides are spoken to over a [`transport`], [`proxy_protocol`] is what may come before that, and [`body`] goes through all of them. [`cases`] tries one plugin alone, [`recording`] keeps what it saw, and [`replay`] shows it to another build. [`metrics`] and [`telemetry`] tell about it.

mod admin;
pub mod authority;
mod bindings;
pub mod body;
pub mod capability;
pub mod cases;
mod certificate;
pub mod chain;
pub mod cli;
pub mod client;
pub mod config;
pub mod connect;
pub mod deadline;
pub mod demo;
pub mod error;
pub mod headers;
pub mod hide;
pub mod http1;
pub mod http2;
pub mod key;
pub mod metrics;
pub mod minisign;
pub mod oci;
pub mod path;
pub mod pem;
pub mod plugin;
pub mod proxy;
pub mod proxy_protocol;
pub mod random;
pub mod recording;
pub mod replay;
pub mod request_id;
pub mod rewrite;
pub mod router;
pub mod server;
pub mod telemetry;
pub mod transport;
pub mod upstream;
