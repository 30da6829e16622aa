//! What carries bytes, whichever protocol they are of: the [`socket`] that they come and go over, with TLS or without
//! ([`io`]), what waits to be sent, and the [`pipe`] through which large bodies pass from one socket to another without
//! being read.

pub mod io;
pub(crate) mod outbox;
pub mod pipe;
pub mod socket;
