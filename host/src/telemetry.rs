//! What the proxy tells its operator in lines: one for each request in the access log, and the others on standard
//! error.
//!
//! Both go through a thread each, so that a slow disk or a stuck pipe never holds a request, and through the same
//! sieve: no control characters, nothing endless, no configured secret.

mod access;
mod other;
mod redaction;
mod text;
mod writer;

pub use access::{AccessEntry, AccessLines, AccessLog};
pub use other::{AlreadyInstalled, Telemetry};
pub use redaction::Redaction;
