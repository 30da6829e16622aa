//! The loader: builds snapshots and hands them to the workers.

mod pulling;
mod rollout;
mod trying;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::{Semaphore, oneshot, watch};

use super::clients::Clients;
use super::inherit::{self, Inherited};
use super::seats::Seat;
use super::socket::{self, Listening as Socket};
use super::tls::{self, Tls};
use super::worker::{Command, Listening, Worker};
use super::{Options, StartError};
use crate::capability::kv;
use crate::capability::limiter::{Limiter, Sizes};
use crate::config::{self, Address, Config, Problem, Problems};
use crate::metrics::{ListenerMetrics, Metrics, RolloutEvent};
use crate::plugin::{self, Engine, Library, Plugin, Report, Stores};
use crate::proxy::{Foundation, Snapshot};
use crate::telemetry::{AccessLog, Redaction, Telemetry};
use crate::upstream::Known;
use trying::{is_tried_first, note, outcome, take_in, try_out, users};

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
    /// Of the files of listeners' certificates.
    identity: Watched,
    /// The stamps of a change that may still be going on.
    unsettled: Option<Vec<Option<Stamp>>>,
}

/// A listener's sockets, one for each worker.
struct Bound {
    listener: config::Listener,
    sockets: Vec<Socket>,
    certificates: Option<watch::Sender<Arc<Tls>>>,
    clients: Option<Arc<Clients>>,
    /// Where it is counted.
    metrics: Arc<ListenerMetrics>,
    room: Arc<Semaphore>,
}

type Stamp = (u64, u64, i64, i64);

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
            identity: Watched::new(&config),
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
                    self.follow_services();
                }
                Ok(Request::Quit) | Err(mpsc::RecvTimeoutError::Disconnected) => break,
            }
        }
        self.end_workers();
    }

    /// Reloads when a file of the configuration has changed, and has stopped changing.
    fn watch(&mut self) {
        let Some(path) = self.path.clone() else { return };
        let now = stamps(&path, &self.snapshot.config);
        if now == self.stamps {
            self.unsettled = None;
        } else if self.unsettled.as_ref() == Some(&now) {
            let read = config::load(&path);
            if stamps(&path, &self.snapshot.config) == now {
                // The outcome is in the log, the metrics and the state.
                let _ = self.serve(read, &path, now);
            } else {
                // It went on changing while it was read.
                self.unsettled = None;
            }
        } else {
            self.unsettled = Some(now);
        }
    }

    /// Reads certificates, and what clients' ones are verified by, when their files have changed and stopped changing.
    /// Nothing else is read with them: a revocation counts also while the configuration is being edited.
    fn watch_identity(&mut self) {
        if !self.identity.has_settled(&self.snapshot.config) {
            return;
        }
        for (name, bound) in &self.bound {
            let Some(certificates) = &bound.certificates else { continue };
            match tls::load(&bound.listener.tls) {
                Ok(tls) => {
                    bound.metrics.shows(tls.ends.clone());
                    certificates.send_replace(tls);
                    tracing::info!(listener = name, "certificates were read again");
                }
                Err(error) => {
                    tracing::error!(listener = name, "the certificates are refused, and the last ones go on: {error}");
                }
            }
        }
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
            self.identity = Watched::new(&self.snapshot.config);
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

    /// Brings the listeners in line with the configuration; those that stay the same are not touched.
    fn relisten(&mut self, config: &Config, new: Vec<Bound>) -> Result<(), Problems> {
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

    /// Tries what changed in the plugins directory: configured for every plugin that uses it, and only then swapped.
    fn look(&mut self) {
        let changes = self.library.look();
        if changes.is_empty() {
            return;
        }
        for change in changes {
            let name = change.name.clone();
            let config = self.snapshot.config.clone();
            let (tried, problem) =
                outcome(&change, try_out(&change, &config, &self.foundation, &self.runtime), &self.library);
            note(&change, problem.as_ref(), &self.foundation.metrics);
            let in_use = users(&config, &name).next().is_some();
            // A file that is gone while plugins use it, and no built-in takes its place, goes on as it was loaded.
            let built_in = plugin::BUILT_IN.iter().any(|(built_in, _)| *built_in == name);
            if change.now.is_none() && in_use && !built_in {
                tracing::warn!(component = name, "plugins use it, so the last version goes on until the next start");
                self.library.keep(&name);
                continue;
            }
            let swaps = problem.is_none() && !change.touched && !matches!(change.now, Some(Err(_)));
            let was_tried = self.library.candidate(&name).is_some();
            self.library.settle(change, problem, is_tried_first(&config, &name));
            // What was tried in a part of the requests is gone with its file.
            let ends = was_tried && self.library.candidate(&name).is_none();
            if (swaps || ends) && in_use {
                self.swap(&name, &tried);
            }
        }
        let refused = self.view.state().refused;
        self.show(refused);
    }

    /// Serves what the library has now of a component. False where that cannot be, which the log has then.
    fn swap(&mut self, component: &str, tried: &BTreeMap<String, Arc<Plugin>>) -> bool {
        let config = self.snapshot.config.clone();
        let build = Snapshot::build(config, &mut self.library, &self.foundation, tried, Some(&self.snapshot));
        match self.runtime.block_on(build) {
            Ok(snapshot) => {
                let goes_on = |(name, trial): (&String, &Arc<_>)| {
                    self.snapshot.trials.get(name).is_some_and(|before| Arc::ptr_eq(before, trial))
                };
                let begins = !snapshot.trials.iter().all(goes_on);
                self.snapshot = Arc::new(snapshot);
                self.install();
                self.keep_good();
                if self.library.candidate(component).is_none() {
                    tracing::info!(component, "the component was replaced");
                } else if begins {
                    self.foundation.metrics.rollout(component, RolloutEvent::Began);
                    tracing::info!(component, "the new version gets a part of the requests");
                }
                true
            }
            Err(problems) => {
                tracing::error!(component, "the component does not serve:\n{problems}");
                false
            }
        }
    }

    /// Serves the endpoints that services have now.
    fn follow_services(&mut self) {
        if !self.foundation.upstreams.services().have_changed() {
            return;
        }
        let config = self.snapshot.config.clone();
        let none = BTreeMap::new();
        let build = Snapshot::build(config, &mut self.library, &self.foundation, &none, Some(&self.snapshot));
        match self.runtime.block_on(build) {
            Ok(snapshot) => {
                self.snapshot = Arc::new(snapshot);
                self.install();
                let refused = self.view.state().refused;
                self.show(refused);
                tracing::info!("services have other endpoints now");
            }
            Err(problems) => tracing::error!("the endpoints of services do not serve:\n{problems}"),
        }
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

    fn listen(&self, bound: &Bound) -> anyhow::Result<()> {
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
    fn sockets(&self) -> Vec<(String, Socket)> {
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

    fn tell(&self, command: impl Fn() -> Command) {
        for worker in &self.workers {
            let _ = worker.commands.send(command());
        }
    }

    fn show(&self, refused: Option<String>) {
        let state = State { snapshot: self.snapshot.clone(), components: self.library.reports(), refused };
        *self.view.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
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

impl Bound {
    /// On these sockets, or, where there are none, on new ones.
    fn new(
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

/// How the configuration's own file and the others that it names look now, those of certificates aside.
fn stamps(path: &Path, config: &Config) -> Vec<Option<Stamp>> {
    let apart: Vec<&PathBuf> = config.listeners.iter().flat_map(config::Listener::tls_files).collect();
    let others = config.files.iter().filter(|file| !apart.contains(file)).map(PathBuf::as_path);
    std::iter::once(path).chain(others).map(stamp).collect()
}

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.size(), metadata.ino(), metadata.mtime(), metadata.mtime_nsec()))
}

/// Files that are watched for changes.
struct Watched {
    stamps: Vec<Option<Stamp>>,
    unsettled: Option<Vec<Option<Stamp>>>,
}

impl Watched {
    /// The files of listeners' certificates, as they are now.
    fn new(config: &Config) -> Self {
        Self { stamps: Self::look(config), unsettled: None }
    }

    /// Whether they have changed since that was asked last, and look as they did then.
    fn has_settled(&mut self, config: &Config) -> bool {
        let now = Self::look(config);
        if now == self.stamps {
            self.unsettled = None;
            return false;
        }
        if self.unsettled.as_ref() != Some(&now) {
            self.unsettled = Some(now);
            return false;
        }
        *self = Self { stamps: now, unsettled: None };
        true
    }

    fn look(config: &Config) -> Vec<Option<Stamp>> {
        config.listeners.iter().flat_map(config::Listener::tls_files).map(|file| stamp(file)).collect()
    }
}
