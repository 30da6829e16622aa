//! One worker: a thread that serves.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::{LocalSet, spawn_local};

use super::clients::Clients;
use super::connection::{Certificates, Connections, Entrance};
use super::drain::Drain;
use super::seats::Seat;
use super::{accept, socket};
use crate::capability::http_client;
use crate::config::Listener;
use crate::connect::Connector;
use crate::metrics::ListenerMetrics;
use crate::proxy::{Proxy, Snapshot};
use crate::request_id::RequestIds;
use crate::telemetry::AccessLines;
use crate::transport::pipe;

/// Look-ups of names that may hang at once, on threads beside the worker.
const BLOCKING_THREADS: usize = 4;
/// How often, and from which age on, idle instances are dropped, and pipes that nobody uses.
const REAP: Duration = Duration::from_secs(30);

/// What the loader tells a worker.
pub(super) enum Command {
    /// Serve this from now on.
    Install(Arc<Snapshot>, AccessLines, oneshot::Sender<()>),
    /// Accept on this socket.
    Listen(Box<Listening>),
    /// Accept no more on a listener.
    Unlisten(String),
    /// Accept nothing more, finish, end. Answers how many connections were cut.
    Drain(Duration, oneshot::Sender<usize>),
}

pub(super) struct Listening {
    pub(super) listener: Listener,
    pub(super) socket: socket::Listening,
    pub(super) seat: Seat,
    pub(super) certificates: Option<Certificates>,
    /// The connections of each client, in all workers.
    pub(super) clients: Option<Arc<Clients>>,
    /// For connections, shared by all workers.
    pub(super) room: Arc<Semaphore>,
    pub(super) metrics: Arc<ListenerMetrics>,
}

/// A worker's thread. It ends when it has drained, or its commands have.
pub(super) struct Worker {
    pub(super) commands: mpsc::UnboundedSender<Command>,
    pub(super) thread: JoinHandle<()>,
}

impl Worker {
    pub(super) fn start(index: usize) -> std::io::Result<Self> {
        let (commands, receiver) = mpsc::unbounded_channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(BLOCKING_THREADS)
            .build()?;
        let work = move || LocalSet::new().block_on(&runtime, work(receiver));
        let thread = std::thread::Builder::new().name(format!("tollgate-{index}")).spawn(work)?;
        Ok(Self { commands, thread })
    }
}

async fn work(mut commands: mpsc::UnboundedReceiver<Command>) {
    let connector = Connector::new();
    let _open = http_client::open();
    let drain = Drain::new();
    let ids = Rc::new(RequestIds::new());
    let current: Rc<RefCell<Option<Rc<Proxy>>>> = Rc::default();
    // A worker may have several sockets of one listener.
    let mut accepting: HashMap<String, Vec<oneshot::Sender<()>>> = HashMap::new();
    let mut reap = tokio::time::interval(REAP);
    loop {
        let command = tokio::select! {
            command = commands.recv() => command,
            _ = reap.tick() => {
                pipe::reap();
                if let Some(proxy) = &*current.borrow() {
                    proxy.reap();
                }
                continue;
            }
        };
        match command {
            Some(Command::Install(snapshot, lines, done)) => {
                let before = current.borrow().clone();
                let proxy = Proxy::new(snapshot, &connector, Rc::new(lines), ids.clone(), before.as_deref());
                *current.borrow_mut() = Some(Rc::new(proxy));
                // Nobody waits for a worker whose loader is gone.
                let _ = done.send(());
            }
            Some(Command::Listen(listening)) => {
                let name = listening.listener.name.clone();
                if let Some(stop) = listen(*listening, &current, &drain) {
                    accepting.entry(name).or_default().push(stop);
                }
            }
            Some(Command::Unlisten(name)) => drop(accepting.remove(&name)),
            Some(Command::Drain(time, done)) => {
                accepting.clear();
                let _ = done.send(drain.finish(time).await);
                return;
            }
            None => return,
        }
    }
}

/// Accepts until the answer is dropped.
fn listen(
    listening: Listening,
    current: &Rc<RefCell<Option<Rc<Proxy>>>>,
    drain: &Rc<Drain>,
) -> Option<oneshot::Sender<()>> {
    let Listening { listener, socket, seat, certificates, clients, room, metrics } = listening;
    let name: Rc<str> = listener.name.as_str().into();
    let socket = match socket.acceptor() {
        Ok(socket) => socket,
        Err(error) => {
            tracing::error!(listener = &*name, %error, "a worker cannot accept");
            return None;
        }
    };
    let current = current.clone();
    let carry = move |received, peer: Rc<super::connection::Peer>| {
        let (proxy, name) = (current.borrow().clone(), name.clone());
        async move {
            match proxy {
                Some(proxy) => proxy.carry(received, &peer, &name).await,
                // A worker accepts only after its first snapshot.
                None => http::Response::default(),
            }
        }
    };
    let entrance = Entrance { proxies: listener.proxy_protocol, clients, metrics: metrics.clone() };
    let connections = Connections::new(carry, listener.limits, certificates, drain.clone()).behind(entrance);
    let connections = Rc::new(connections);
    let (stop, stopped) = oneshot::channel::<()>();
    spawn_local(accept::run(socket, connections, seat, room, metrics, async {
        let _ = stopped.await;
    }));
    Some(stop)
}
