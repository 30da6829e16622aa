//! Draft.
pub mod accept;
pub mod connection;
pub mod drain;
pub mod tls;
