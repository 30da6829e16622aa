//! The server: workers that serve, and a loader that builds what they serve.
//!
//! Each worker is one thread with its own single-threaded runtime, its own sockets on the shared addresses, its own
//! connections to upstreams and its own plugin instances. The loader is one more thread: it compiles components, reads
//! the configuration again, and hands whole snapshots to the workers. Nothing of it is ever on a request's path.

pub(crate) mod accept;
mod clients;
pub mod connection;
pub mod drain;
pub mod inherit;
mod loader;
pub(crate) mod seats;
pub mod socket;
pub mod tls;
pub mod upgrade;
mod worker;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use anyhow::Context as _;
use tokio::sync::oneshot;

use crate::admin::Admin;
use crate::capability::limiter::Limiter;
use crate::config::{Address, Config, Problems};
use crate::metrics::Metrics;
use crate::telemetry::{AccessLog, Telemetry};
use inherit::Inherited;
use loader::Loader;
pub(crate) use loader::{Decision, Request, View};
use upgrade::Upgrade;

/// What a server is started with beside its configuration.
#[derive(Default)]
pub struct Options {
    /// The file that a reload reads again; none where there is nothing to reload.
    pub path: Option<PathBuf>,
    /// Where access lines go in place of what the configuration says.
    pub access: Option<AccessLog>,
    /// Where everything is counted.
    pub metrics: Metrics,
    /// The counters of rate limits, in place of new ones.
    pub limiter: Option<Arc<Limiter>>,
    /// Listening sockets that are there already.
    pub inherited: Inherited,
    /// Takes the level, the format and the secrets of each configuration that is loaded.
    pub telemetry: Option<Arc<Telemetry>>,
}

/// Why a server did not start.
#[derive(Debug)]
pub enum StartError {
    /// The configuration cannot be served as it is.
    Problems(Problems),
    /// The machine said no: an address in use, no threads, no cache.
    Machine(anyhow::Error),
}

/// A running server. Dropping it stops it at once; [`stop`](Self::stop) drains.
pub struct Server {
    requests: mpsc::Sender<Request>,
    loader: Option<JoinHandle<()>>,
    addresses: Vec<(String, Address)>,
    admin: Option<Admin>,
    upgrade: Option<Upgrade>,
    superseded: Option<oneshot::Receiver<()>>,
}

impl Server {
    /// Loads everything, binds every address, and begins to serve. Returns when all workers accept.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running then.
    pub fn start(config: Config, options: Options) -> Result<Self, StartError> {
        let machine = StartError::Machine;
        let (requests, receiver) = mpsc::channel();
        let mut options = options;
        let mut inherited = std::mem::take(&mut options.inherited);
        let path = config.upgrade.as_ref().map(|upgrade| upgrade.socket.clone());
        let loader = Loader::start(config, options, &mut inherited)?;
        let addresses = loader.addresses();
        let admin = match loader.admin() {
            Some(address) => {
                let socket = inherited.take(inherit::ADMIN, &Address::Tcp(address)).pop();
                Some(Admin::start(address, socket, loader.view(), requests.clone()).map_err(machine)?)
            }
            None => None,
        };
        for left in inherited.left() {
            tracing::warn!("no listener has a use for the socket {left}, which was passed to this process");
        }
        let (tell, superseded) = oneshot::channel();
        let upgrade = match &path {
            Some(path) => {
                let admin = admin.as_ref().map(Admin::socket).transpose().map_err(machine)?;
                let upgrade = Upgrade::listen(path, requests.clone(), admin, tell);
                let place = || format!("upgrade: cannot listen on {}", path.display());
                Some(upgrade.map_err(anyhow::Error::from).with_context(place).map_err(machine)?)
            }
            None => None,
        };
        let superseded = upgrade.as_ref().map(|_| superseded);
        let run = move || loader.run(&receiver);
        let thread = std::thread::Builder::new().name("tollgate-loader".to_owned()).spawn(run);
        let loader = Some(thread.map_err(|error| StartError::Machine(error.into()))?);
        Ok(Self { requests, loader, addresses, admin, upgrade, superseded })
    }

    /// Where a listener really listens, if that is not a Unix socket.
    pub fn address(&self, listener: &str) -> Option<SocketAddr> {
        self.addresses.iter().find(|(name, _)| name == listener).and_then(|(_, address)| match address {
            Address::Tcp(address) => Some(*address),
            Address::Unix(_) => None,
        })
    }

    /// Every listener with its address.
    pub fn addresses(&self) -> &[(String, Address)] {
        &self.addresses
    }

    /// Where the admin listener listens.
    pub fn admin(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(Admin::address)
    }

    /// Hears when another process serves in the place of this one, which is to [`stop`](Self::stop) then. None where
    /// none can, and the second time.
    pub fn superseded(&mut self) -> Option<oneshot::Receiver<()>> {
        self.superseded.take()
    }

    /// Leaves the operators to the process that serves in the place of this one.
    pub fn retire(&mut self) {
        self.admin = None;
    }

    /// Reads the configuration again, and returns when every worker serves it, or why it is refused. Blocks.
    ///
    /// # Errors
    /// Every problem; what served before goes on.
    pub fn reload(&self) -> Result<(), Problems> {
        let (answer, answered) = oneshot::channel();
        let _ = self.requests.send(Request::Reload(answer));
        answered.blocking_recv().unwrap_or(Ok(()))
    }

    /// Looks at the plugins directory now, and returns when what changed is served or refused. Blocks.
    pub fn look(&self) {
        let (answer, answered) = oneshot::channel();
        let _ = self.requests.send(Request::Look(answer));
        let _ = answered.blocking_recv();
    }

    /// Stops accepting, finishes requests in flight within the configured time, and ends. Blocks. Answers how many
    /// connections had to be cut.
    pub fn stop(mut self) -> usize {
        let (answer, answered) = oneshot::channel();
        let _ = self.requests.send(Request::Stop(answer));
        let cut = answered.blocking_recv().unwrap_or(0);
        self.join();
        cut
    }

    fn join(&mut self) {
        if let Some(loader) = self.loader.take() {
            // A panic there has been reported by then.
            let _ = loader.join();
        }
        self.admin = None;
        self.upgrade = None;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.requests.send(Request::Quit);
        self.join();
    }
}

/// Loads everything that a configuration names, as a start would, and serves nothing of it. Answers what is allowed there,
/// and probably not meant.
///
/// # Errors
/// As [`Server::start`].
pub fn build(config: Config) -> Result<Problems, StartError> {
    loader::build(config)
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Problems(problems) => write!(f, "{problems}"),
            Self::Machine(error) => write!(f, "{error:#}"),
        }
    }
}

impl std::error::Error for StartError {}
