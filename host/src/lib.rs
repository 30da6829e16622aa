//! draft
pub mod config;
pub mod authority;
pub mod path;
pub mod headers;
pub mod client;
pub mod error;
pub mod capability;
mod bindings;
pub mod plugin;
