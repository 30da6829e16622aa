//! Accepting.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::Response;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_local;
use tokio::time::sleep;
use tracing::{debug, warn};

use super::connection::{Connections, Peer, Received};
use super::seats::{Passed, Seat, Taken};
use super::socket::{Acceptor, Parked};
use crate::body::Body;
use crate::metrics::ListenerMetrics;
use crate::transport::socket::Socket;

/// The pause after an error that concerns us rather than one client, such as a lack of file descriptors.
const PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Accepts connections and serves each in a task of its own, until `stop`; those that are another worker's go there.
/// `room` is the number of connections that may be open, in all workers together: while there is none, clients wait in
/// the backlog of the kernel.
pub(crate) async fn run<C, F>(
    listener: Acceptor,
    connections: Rc<Connections<C>>,
    mut seat: Seat,
    room: Arc<Semaphore>,
    metrics: Arc<ListenerMetrics>,
    stop: impl Future<Output = ()>,
) where
    C: Fn(Received, Rc<Peer>) -> F + 'static,
    F: Future<Output = Response<Body>> + 'static,
{
    let mut stop = pin!(stop);
    let mut pause = PAUSE;
    let serve = |stream: Socket, address: SocketAddr, kept: (OwnedSemaphorePermit, Taken)| {
        spawn_local(connections.serve(stream, address, (kept, Counted::new(&metrics))));
    };
    let serve_passed = |passed: Passed| match passed.stream.resume() {
        Ok(stream) => serve(stream, passed.address, (passed.permit, passed.taken)),
        Err(error) => warn!(%error, "a connection that one worker passed to another is lost"),
    };
    'accepting: loop {
        // No worker keeps a place for the client that may come to it: with fewer places than workers, some would never
        // accept. So we wait until there is room, and take the place for the client that came.
        let next = async {
            drop(room.acquire().await.ok()?);
            Some(listener.accept().await)
        };
        let accepted = tokio::select! {
            biased;
            () = &mut stop => break,
            Some(passed) = seat.next() => {
                serve_passed(passed);
                continue;
            }
            next = next => match next {
                Some(next) => next,
                None => break,
            },
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) if is_of_one_client(&error) => {
                debug!(%error, "a client left before it was accepted");
                continue;
            }
            Err(error) => {
                warn!(%error, pause = ?pause, "cannot accept connections");
                tokio::select! {
                    biased;
                    () = &mut stop => break,
                    () = sleep(pause) => {}
                }
                pause = (pause * 2).min(LONGEST_PAUSE);
                continue;
            }
        };
        pause = PAUSE;
        let mut place = pin!(room.clone().acquire_owned());
        let permit = loop {
            tokio::select! {
                biased;
                () = &mut stop => break 'accepting,
                // What others passed has its place already, and may be what this one waits for.
                Some(passed) = seat.next() => serve_passed(passed),
                permit = &mut place => match permit {
                    Ok(permit) => break permit,
                    Err(_) => break 'accepting,
                },
            }
        };
        let taken = seat.take();
        if seat.is_own(&taken) {
            serve(stream, address, (permit, taken));
            continue;
        }
        match Parked::park(stream) {
            Ok(stream) => _ = seat.pass(Passed { stream, address, permit, taken }).map_err(serve_passed),
            Err(error) => warn!(%error, "a connection that was to go to another worker is lost"),
        }
    }
    seat.leave().for_each(serve_passed);
}

/// Counts a connection as open until it is dropped.
struct Counted(Arc<ListenerMetrics>);

impl Counted {
    fn new(metrics: &Arc<ListenerMetrics>) -> Self {
        metrics.connections.inc();
        Self(metrics.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.connections.dec();
    }
}

/// Linux passes on what was wrong with the new connection (accept(2)), which says nothing about the next one.
fn is_of_one_client(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::ConnectionAborted
            | Kind::ConnectionReset
            | Kind::Interrupted
            | Kind::WouldBlock
            | Kind::TimedOut
            | Kind::HostUnreachable
            | Kind::NetworkUnreachable
            | Kind::NetworkDown
            | Kind::PermissionDenied
    )
}
