//! The end of an HTTP/1 connection: what the client still gets, and how it learns that there is no more.

use std::future::poll_fn;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::ended::Ended;
use crate::http1::wire::Wire;
use crate::transport::socket::Socket;

/// How long a client may take to say something that we no longer hear, and to end its side.
const LINGER: Duration = Duration::from_secs(2);
/// How much of it we throw away.
const MOST: usize = 1024 * 1024;

/// Ends a connection, which had this reason if it is not by agreement.
pub(super) async fn end(mut wire: Wire, why: Option<&Ended>) {
    let until = Instant::now() + LINGER;
    match why {
        // Those that do not read, and those that were cut in the middle, get no orderly end: it would make what they
        // have look whole. The end of a body of HTTP/1.0 may be just that, so there it takes a reset.
        Some(Ended::Write | Ended::Cut | Ended::Broken { ends_with_connection: true }) => {
            return wire.io().socket().set_zero_linger();
        }
        Some(Ended::Broken { .. } | Ended::Gone) => return,
        _ => {}
    }
    let farewell = poll_fn(|context| {
        std::task::ready!(wire.poll_write(context, &mut false))?;
        wire.poll_shutdown(context)
    });
    // A client is as good as gone if it does not read this either.
    if matches!(timeout_at(until, farewell).await, Ok(Ok(()))) && !wire.has_ended() {
        linger(wire.io().socket(), until).await;
    }
}

/// Reads what the client is still sending, and throws it away. Closed with unread bytes in it, a connection is reset by
/// the kernel, which can take our last response from the client before it has read it (RFC 9112, section 9.6).
async fn linger(stream: &Socket, until: Instant) {
    let mut left = MOST;
    let mut waste = [0; 4096];
    while left > 0 {
        match stream.try_read(&mut waste) {
            Ok(0) => return,
            Ok(read) => left = left.saturating_sub(read),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                if !matches!(timeout_at(until, stream.readable()).await, Ok(Ok(()))) {
                    return;
                }
            }
            Err(_) => return,
        }
    }
}
