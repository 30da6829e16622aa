//! The loader: builds snapshots and hands them to the workers.

mod changes;
mod listening;
mod pulling;
mod rollout;
mod trying;
mod watched;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use tokio::sync::oneshot;

use super::inherit::{self, Inherited};
use super::socket::Listening as Socket;
use super::worker::{Command, Worker};
use super::{Options, StartError};
use crate::capability::kv;
use crate::capability::limiter::{Limiter, Sizes};
use crate::config::{self, Address, Config, Problem, Problems};
use crate::metrics::Metrics;
use crate::plugin::{Engine, Library, Report, Stores};
use crate::proxy::{Foundation, Snapshot};
use crate::telemetry::{AccessLog, Redaction, Telemetry};
use crate::upstream::Known;
use listening::Bound;
use trying::take_in;
use watched::{Stamp, Watched, stamps};

/// How often the plugins directory and the configuration's files are looked at.
const LOOK: Duration = Duration::from_millis(250);

/// What is asked of the loader.
pub(crate) enum Request {
    /// Read the configuration again.
    Reload(oneshot::Sender<Result<(), Problems>>),
    /// Look at the plugins directory.
    Look(oneshot::Sender<()>),
    /// Answer with every listening socket, and what it is called.
    Sockets(oneshot::Sender<Vec<(String, Socket)>>),
    /// What becomes of a new version of a plugin.
    Rollout(String, Decision, oneshot::Sender<Result<String, String>>),
    /// Drain, then end.
    Stop(oneshot::Sender<usize>),
    /// End.
    Quit,
}

/// What an operator decides about a new version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    /// It gets all requests.
    Promote,
    /// It gets none; where it had all, the one before it gets them again.
    RollBack,
}

/// What the admin listener shows.
pub(crate) struct View {
    pub(crate) metrics: Metrics,
    pub(crate) draining: AtomicBool,
    state: Mutex<State>,
}

/// The parts of `/state`.
#[derive(Clone)]
pub(crate) struct State {
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) components: Vec<Report>,
    /// Why the configuration as it is in its file now does not serve.
    pub(crate) refused: Option<String>,
}

impl View {
    pub(crate) fn state(&self) -> State {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

pub(super) struct Loader {
    path: Option<PathBuf>,
    runtime: tokio::runtime::Runtime,
    foundation: Foundation,
    library: Library,
    access: AccessLog,
    /// Given by the embedder, and so not changed by a reload.
    access_is_given: bool,
    telemetry: Option<Arc<Telemetry>>,
    snapshot: Arc<Snapshot>,
    workers: Vec<Worker>,
    bound: BTreeMap<String, Bound>,
    view: Arc<View>,
    stamps: Vec<Option<Stamp>>,
    /// The files of listeners' certificates.
    identity: Watched,
    /// Those of upstreams' roots and of what they are shown.
    trust: Watched,
    /// The stamps of a change that may still be going on.
    unsettled: Option<Vec<Option<Stamp>>>,
}

impl Loader {
    pub(super) fn start(config: Config, options: Options, inherited: &mut Inherited) -> Result<Self, StartError> {
        let machine = |error: anyhow::Error| StartError::Machine(error);
        let metrics = options.metrics;
        let limiter = options.limiter.unwrap_or_else(|| Limiter::new(Sizes::default()));
        let Loaded { runtime, foundation, library, snapshot } = load(config, metrics.clone(), limiter)?;
        let (config, snapshot) = (snapshot.config.clone(), Arc::new(snapshot));
        let access_is_given = options.access.is_some();
        let access = match options.access {
            Some(access) => access,
            None => AccessLog::open(&config.log.access, metrics.access_log_dropped())
                .map_err(|error| machine(anyhow::Error::from(error).context("the access log cannot be opened")))?,
        };
        let view = Arc::new(View {
            metrics,
            draining: AtomicBool::new(false),
            state: Mutex::new(State { snapshot: snapshot.clone(), components: library.reports(), refused: None }),
        });
        let mut bound = BTreeMap::new();
        for listener in &config.listeners {
            let sockets = inherited.take(&inherit::name_of(&listener.name), &listener.address);
            let made = Bound::new(listener, sockets, config.workers.get(), &snapshot).map_err(machine)?;
            bound.insert(listener.name.clone(), made);
        }
        let mut workers = Vec::new();
        for index in 0..config.workers.get() {
            workers.push(Worker::start(index).map_err(|error| machine(error.into()))?);
        }
        let stamps = options.path.as_ref().map(|path| stamps(path, &config)).unwrap_or_default();
        let loader = Self {
            path: options.path,
            runtime,
            foundation,
            library,
            access,
            access_is_given,
            telemetry: options.telemetry,
            snapshot,
            workers,
            bound,
            view,
            stamps,
            identity: Watched::listeners(&config),
            trust: Watched::upstreams(&config),
            unsettled: None,
        };
        warn(&loader.snapshot);
        loader.install();
        loader.keep_good();
        for bound in loader.bound.values() {
            loader.listen(bound).map_err(machine)?;
        }
        loader.foundation.metrics.config_loaded(&config.hash);
        Ok(loader)
    }

    pub(super) fn addresses(&self) -> Vec<(String, Address)> {
        let address = |bound: &Bound| bound.sockets.first().and_then(|socket| socket.address().ok());
        self.bound.iter().filter_map(|(name, bound)| Some((name.clone(), address(bound)?))).collect()
    }

    pub(super) fn admin(&self) -> Option<SocketAddr> {
        self.snapshot.config.admin.as_ref().map(|admin| admin.address)
    }

    pub(super) fn view(&self) -> Arc<View> {
        self.view.clone()
    }

    /// Serves requests to the loader until one ends it, and looks around in between.
    pub(super) fn run(mut self, requests: &mpsc::Receiver<Request>) {
        loop {
            match requests.recv_timeout(LOOK) {
                Ok(Request::Reload(answer)) => {
                    let outcome = self.reload();
                    let _ = answer.send(outcome);
                }
                Ok(Request::Look(answer)) => {
                    self.look();
                    self.judge();
                    let _ = answer.send(());
                }
                Ok(Request::Sockets(answer)) => {
                    let _ = answer.send(self.sockets());
                }
                Ok(Request::Rollout(name, decision, answer)) => {
                    let _ = answer.send(self.decide(&name, decision));
                }
                Ok(Request::Stop(answer)) => {
                    let _ = answer.send(self.drain());
                    return;
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    self.look();
                    self.judge();
                    self.watch();
                    self.watch_identity();
                    self.watch_trust();
                    self.follow_services();
                }
                Ok(Request::Quit) | Err(mpsc::RecvTimeoutError::Disconnected) => break,
            }
        }
        self.end_workers();
    }

    fn reload(&mut self) -> Result<(), Problems> {
        let Some(path) = self.path.clone() else { return Ok(()) };
        let before = stamps(&path, &self.snapshot.config);
        self.serve(config::load(&path), &path, before)
    }

    /// Serves a configuration as it was read, if it can be served. `before` is how its files looked then.
    fn serve(
        &mut self,
        read: Result<Config, Problems>,
        path: &Path,
        before: Vec<Option<Stamp>>,
    ) -> Result<(), Problems> {
        self.unsettled = None;
        let after = read.as_ref().map(|config| stamps(path, config)).unwrap_or_default();
        let outcome = read.and_then(|config| self.load_again(config));
        // The list of files may be another one now, but the first is the configuration itself: where that has changed
        // meanwhile, what was read is not what is there.
        if outcome.is_ok() {
            self.identity = Watched::listeners(&self.snapshot.config);
            self.trust = Watched::upstreams(&self.snapshot.config);
        }
        self.stamps = if outcome.is_ok() && after.first() == before.first() { after } else { before };
        match &outcome {
            Ok(()) => {
                self.foundation.metrics.config_loaded(&self.snapshot.config.hash);
                self.library.keep_pulled(self.snapshot.config.plugin.values().map(|spec| &*spec.component));
                tracing::info!(hash = self.snapshot.config.hash, "the configuration was reloaded");
                self.show(None);
            }
            Err(problems) => {
                self.foundation.metrics.config_refused();
                // What it would have required of files is required of none.
                self.library.require(self.snapshot.config.plugin.values());
                tracing::error!("the configuration is refused, and the last one goes on:\n{problems}");
                self.show(Some(problems.to_string()));
            }
        }
        outcome
    }

    fn load_again(&mut self, config: Config) -> Result<(), Problems> {
        let config = Arc::new(config);
        let running = &self.snapshot.config;
        if let Some(telemetry) = &self.telemetry {
            // What is said while it is tried may hold its secrets already, and those of the running one still count.
            let secrets = running.secrets.iter().chain(config.secrets.iter());
            telemetry.reload(&running.log, Arc::new(Redaction::new(secrets, [])));
        }
        let mut fixed = Vec::new();
        if config.workers != running.workers {
            fixed.push("workers");
        }
        let at_start = |config: &Config| {
            let plugins = config.plugins.clone();
            (plugins.cache, plugins.versions, plugins.instances)
        };
        if at_start(&config) != at_start(running) {
            fixed.push("plugins.cache, plugins.versions and plugins.instances");
        }
        if config.admin != running.admin {
            fixed.push("admin");
        }
        for what in fixed {
            tracing::warn!("{what} changes with the next start, not with a reload");
        }
        self.library.set_directory(config.plugins.directory.clone());
        self.library.require(config.plugin.values());
        self.library.try_again();
        pulling::pull(&mut self.library, &self.runtime, &config);
        let tried = take_in(&mut self.library, &self.foundation, &self.runtime, &config);
        let before = Some(&*self.snapshot);
        let build = Snapshot::build(config.clone(), &mut self.library, &self.foundation, &tried, before);
        let snapshot = Arc::new(self.runtime.block_on(build)?);

        // Everything that can fail comes before anything changes.
        let mut new = Vec::new();
        for listener in &config.listeners {
            let same_address =
                self.bound.get(&listener.name).is_some_and(|bound| bound.listener.address == listener.address);
            if !same_address {
                let bound = Bound::new(listener, Vec::new(), self.workers.len(), &snapshot);
                new.push(bound.map_err(|error| problem(format!("listener `{}`: {error:#}", listener.name)))?);
            }
        }
        if !self.access_is_given && config.log.access != running.log.access {
            let opened = AccessLog::open(&config.log.access, self.foundation.metrics.access_log_dropped());
            self.access = opened.map_err(|error| problem(format!("the access log cannot be opened: {error}")))?;
        }
        self.snapshot = snapshot;
        warn(&self.snapshot);
        self.install();
        self.keep_good();
        self.relisten(&config, new)
    }

    /// Keeps what serves for the next start.
    fn keep_good(&self) {
        self.library.keep_good(self.snapshot.config.plugin.values().map(|spec| &*spec.component));
    }

    /// Hands the snapshot to every worker, and waits until all serve it.
    fn install(&self) {
        for upstream in &self.snapshot.upstreams {
            upstream.start(&self.foundation.upstreams);
        }
        let config = &self.snapshot.config;
        let redaction = Arc::new(Redaction::new(config.secrets.iter(), []));
        if let Some(telemetry) = &self.telemetry {
            telemetry.reload(&config.log, redaction.clone());
        }
        let mut installed = Vec::new();
        for worker in &self.workers {
            let (done, waits) = oneshot::channel();
            let lines = self.access.worker(config.log.format, redaction.clone());
            if worker.commands.send(Command::Install(self.snapshot.clone(), lines, done)).is_ok() {
                installed.push(waits);
            }
        }
        for waits in installed {
            // A worker that is gone has nothing to serve.
            let _ = self.runtime.block_on(waits);
        }
    }

    fn tell(&self, command: impl Fn() -> Command) {
        for worker in &self.workers {
            let _ = worker.commands.send(command());
        }
    }

    /// Shows what serves now, and why the configuration in its file does not, where that is so.
    fn show(&self, refused: Option<String>) {
        let state = State { snapshot: self.snapshot.clone(), components: self.library.reports(), refused };
        *self.view.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }

    /// Shows what serves now. Of the configuration in its file nothing new is known.
    fn show_again(&self) {
        let refused = self.view.state().refused;
        self.show(refused);
    }

    /// Not ready any more, then closed for new connections, then finished.
    fn drain(mut self) -> usize {
        let drain = self.snapshot.config.drain.clone();
        self.view.draining.store(true, Ordering::Relaxed);
        self.runtime.block_on(async { tokio::time::sleep(drain.grace).await });
        self.bound.clear();
        let mut drained = Vec::new();
        for worker in &self.workers {
            let (done, waits) = oneshot::channel();
            let _ = worker.commands.send(Command::Drain(drain.timeout, done));
            drained.push(waits);
        }
        let cut = drained.into_iter().map(|waits| self.runtime.block_on(waits).unwrap_or(0)).sum();
        self.end_workers();
        cut
    }

    fn end_workers(&mut self) {
        for Worker { commands, thread } in self.workers.drain(..) {
            drop(commands);
            // A panic there has been reported by then.
            let _ = thread.join();
        }
    }
}

/// See [`super::build`].
pub(super) fn build(mut config: Config) -> Result<Problems, StartError> {
    // What an earlier process found good says nothing of what is there now.
    config.plugins.versions = None;
    let loaded = load(config, Metrics::default(), Limiter::new(Sizes::default()))?;
    Ok(loaded.snapshot.warnings.into_iter().collect())
}

/// What serves, and what it is made with.
struct Loaded {
    runtime: tokio::runtime::Runtime,
    foundation: Foundation,
    library: Library,
    snapshot: Snapshot,
}

fn load(config: Config, metrics: Metrics, limiter: Arc<Limiter>) -> Result<Loaded, StartError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| StartError::Machine(error.into()))?;
    let cache = config.plugins.cache.clone();
    let engine = Engine::new(config.plugins.instances.get(), cache.as_deref()).map_err(StartError::Machine)?;
    let kv = Arc::new(kv::Stores::new(kv::Quota::default()));
    let stores = Stores { limiter, kv, metrics: metrics.clone() };
    let upstreams = Known::new(metrics.clone());
    let foundation = Foundation { engine: Arc::new(engine), stores, upstreams, metrics };
    let mut library = Library::new(foundation.engine.clone(), config.plugins.directory.clone());
    library.keep_versions(config.plugins.versions.clone());
    library.require(config.plugin.values());
    pulling::pull(&mut library, &runtime, &config);
    let tried = take_in(&mut library, &foundation, &runtime, &config);
    let built = runtime.block_on(Snapshot::build(Arc::new(config), &mut library, &foundation, &tried, None));
    let snapshot = built.map_err(StartError::Problems)?;
    Ok(Loaded { runtime, foundation, library, snapshot })
}

/// Tells the operator what is allowed, and probably not meant.
fn warn(snapshot: &Snapshot) {
    for warning in &snapshot.warnings {
        let at = warning.place.as_ref().map(ToString::to_string);
        tracing::warn!(at, help = warning.help, "{}", warning.message);
    }
}

fn problem(message: String) -> Problems {
    std::iter::once(Problem::error(message)).collect()
}
