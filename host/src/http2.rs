//! The server's side of a stream of HTTP/2 (RFC 9113), as those need it who know no connection: what comes from the client,
//! and what it is answered.

mod answering;
mod receiving;

pub use answering::Answering;
pub use receiving::Receiving;
