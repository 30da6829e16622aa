//! The sockets of the listeners, and what of them changes with a reload.

use std::sync::Arc;

use anyhow::Context as _;
use tokio::sync::{Semaphore, watch};

use super::{Loader, problem};
use crate::config::{self, Config, Problems};
use crate::metrics::ListenerMetrics;
use crate::proxy::Snapshot;
use crate::server::clients::Clients;
use crate::server::inherit;
use crate::server::seats::Seat;
use crate::server::socket::{self, Listening as Socket};
use crate::server::tls::Tls;
use crate::server::worker::{Command, Listening};

/// A listener's sockets, one for each worker.
pub(super) struct Bound {
    pub(super) listener: config::Listener,
    pub(super) sockets: Vec<Socket>,
    pub(super) certificates: Option<watch::Sender<Arc<Tls>>>,
    clients: Option<Arc<Clients>>,
    /// Where it is counted.
    pub(super) metrics: Arc<ListenerMetrics>,
    room: Arc<Semaphore>,
}

impl Bound {
    /// On these sockets, or, where there are none, on new ones.
    pub(super) fn new(
        listener: &config::Listener,
        inherited: Vec<Socket>,
        workers: usize,
        snapshot: &Snapshot,
    ) -> anyhow::Result<Self> {
        let mut sockets = inherited;
        if sockets.is_empty() {
            let place = || format!("cannot listen on {}", listener.address);
            sockets = socket::bind(&listener.address, listener.mode, workers).with_context(place)?;
        }
        // Workers that have none of their own accept on another one's; and one may have several, for what waits in a
        // socket that nobody accepts on is lost.
        for place in 0..workers.saturating_sub(sockets.len()) {
            sockets.push(sockets[place].try_clone()?);
        }
        let tls = snapshot.tls.get(&listener.name);
        let metrics = snapshot.metrics.listener(&listener.name);
        metrics.shows(tls.map(|tls| tls.ends.clone()).unwrap_or_default());
        Ok(Self {
            sockets,
            certificates: tls.map(|tls| watch::Sender::new(tls.clone())),
            clients: Clients::new(listener),
            metrics,
            room: Arc::new(Semaphore::new(listener.limits.connections.get())),
            listener: listener.clone(),
        })
    }
}

impl Loader {
    /// Brings the listeners in line with the configuration; those that stay the same are not touched.
    pub(super) fn relisten(&mut self, config: &Config, new: Vec<Bound>) -> Result<(), Problems> {
        let gone: Vec<String> = self
            .bound
            .keys()
            .filter(|name| !config.listeners.iter().any(|listener| listener.name == **name))
            .cloned()
            .collect();
        for name in gone {
            self.tell(|| Command::Unlisten(name.clone()));
            self.bound.remove(&name);
        }
        for bound in new {
            let name = bound.listener.name.clone();
            self.tell(|| Command::Unlisten(name.clone()));
            self.listen(&bound).map_err(|error| problem(format!("listener `{name}`: {error:#}")))?;
            self.bound.insert(name, bound);
        }
        for listener in &config.listeners {
            let Some(bound) = self.bound.get_mut(&listener.name) else { continue };
            let tls = self.snapshot.tls.get(&listener.name);
            let restart = !bound.listener.serves_like(listener) || bound.certificates.is_some() != tls.is_some();
            if bound.listener.mode != listener.mode
                && let Err(error) = socket::set_mode(&listener.address, listener.mode)
            {
                tracing::error!(listener = listener.name, %error, "the permissions of its file stay as they were");
            }
            bound.listener = listener.clone();
            if let Some(tls) = tls {
                bound.metrics.shows(tls.ends.clone());
            }
            if restart {
                bound.certificates = tls.map(|tls| watch::Sender::new(tls.clone()));
                bound.clients = Clients::new(listener);
                bound.room = Arc::new(Semaphore::new(listener.limits.connections.get()));
                let name = listener.name.clone();
                self.tell(|| Command::Unlisten(name.clone()));
                let bound = &self.bound[&listener.name];
                self.listen(bound).map_err(|error| problem(format!("listener `{}`: {error:#}", listener.name)))?;
            } else if let (Some(certificates), Some(tls)) = (&bound.certificates, tls) {
                certificates.send_replace(tls.clone());
            }
        }
        Ok(())
    }

    pub(super) fn listen(&self, bound: &Bound) -> anyhow::Result<()> {
        let seats = Seat::all(bound.sockets.len());
        for ((worker, socket), seat) in self.workers.iter().cycle().zip(&bound.sockets).zip(seats) {
            let listening = Listening {
                listener: bound.listener.clone(),
                socket: socket.try_clone()?,
                seat,
                certificates: bound.certificates.as_ref().map(watch::Sender::subscribe),
                clients: bound.clients.clone(),
                room: bound.room.clone(),
                metrics: bound.metrics.clone(),
            };
            let _ = worker.commands.send(Command::Listen(Box::new(listening)));
        }
        Ok(())
    }

    /// One more handle of each socket. One of which there cannot be another stays with us: the next process binds it.
    pub(super) fn sockets(&self) -> Vec<(String, Socket)> {
        let of = |(name, bound): (&String, &Bound)| {
            let name = inherit::name_of(name);
            bound
                .sockets
                .iter()
                .filter_map(move |socket| Some((name.clone(), socket.try_clone().ok()?)))
                .collect::<Vec<_>>()
        };
        self.bound.iter().flat_map(of).collect()
    }
}
