//! HTTP/1.1 framing of our own (RFC 9112), for clients and for upstreams.
//!
//! Strict by construction: what two programs could read in two ways is refused here, byte by byte, and what we write is
//! written anew and never copied. In reading order: where a head ends and what it says ([`head`]; `shape`
//! makes the same of heads that come again, faster), where its body ends
//! ([`framing`]), the body itself ([`body`], [`chunked`]), and how heads are written ([`write`]). None of these touches a
//! socket; [`wire`] does, over a [`transport`](crate::transport), and [`incoming`] hands the body of a request to whoever
//! reads it. [`upgrade`] is how a connection goes on with another protocol.

pub mod body;
pub mod chunked;
pub mod framing;
pub mod head;
pub mod incoming;
mod shape;
pub mod upgrade;
pub mod wire;
pub mod write;
