//! The end of an HTTP/1 connection: what the client still gets, and how it learns that there is no more.

use std::time::Duration;

use bytes::Bytes;
use http::Response;
use tokio::io::AsyncWriteExt as _;
use tokio::time::{Instant, timeout_at};

use super::Ended;
use super::activity::Activity;
use super::wire::Carrier;
use crate::error::{Audience, Error, Reason};

/// How long a client may take to say something that we no longer hear, and to end its side.
const LINGER: Duration = Duration::from_secs(2);
/// How much of it we throw away.
const MOST: usize = 1024 * 1024;

/// Ends a connection on which hyper does no more.
pub(super) async fn end<T: Carrier>(mut stream: T, activity: &Activity, why: Option<&Ended>) {
    let until = Instant::now() + LINGER;
    match why {
        Some(Ended::Head) => {
            let late = Error::new(Reason::HeadTimeout).response(&Audience::default(), "");
            let farewell = async {
                stream.write_all(&bytes(&late)).await?;
                stream.shutdown().await
            };
            // It is as good as gone if it does not read this either.
            if !matches!(timeout_at(until, farewell).await, Ok(Ok(()))) {
                return;
            }
        }
        // Those that do not read, and those that were cut in the middle, get no orderly end: it would make what they
        // have look whole. The end of a body of HTTP/1.0 may be just that, so there it takes a reset.
        Some(Ended::Write | Ended::Cut) => return reset(&stream),
        _ if activity.broken.get() && activity.http10.get() => return reset(&stream),
        _ if activity.broken.get() => return,
        Some(_) => _ = timeout_at(until, stream.shutdown()).await,
        None => {}
    }
    if !activity.ended.get() {
        linger(&stream, until).await;
    }
}

/// Reads what the client is still sending, and throws it away. Closed with unread bytes in it, a connection is reset by
/// the kernel, which can take our last response from the client before it has read it (RFC 9112, section 9.6).
async fn linger<T: Carrier>(stream: &T, until: Instant) {
    let mut left = MOST;
    let mut waste = [0; 4096];
    while left > 0 {
        match stream.tcp().try_read(&mut waste) {
            Ok(0) => return,
            Ok(read) => left = left.saturating_sub(read),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                if !matches!(timeout_at(until, stream.tcp().readable()).await, Ok(Ok(()))) {
                    return;
                }
            }
            Err(_) => return,
        }
    }
}

fn reset<T: Carrier>(stream: &T) {
    // Without it the end is an orderly one, which is the best there is then.
    let _ = stream.tcp().set_zero_linger();
}

/// A response as bytes, for a connection that ends with it.
fn bytes(response: &Response<Bytes>) -> Vec<u8> {
    let status = response.status();
    let mut out = format!("HTTP/1.1 {} {}\r\n", status.as_str(), status.canonical_reason().unwrap_or("")).into_bytes();
    for (name, value) in response.headers() {
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"connection: close\r\n\r\n");
    out.extend_from_slice(response.body());
    out
}
