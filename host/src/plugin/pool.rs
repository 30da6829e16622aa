//! The instances of one plugin on one worker, and the isolation policy.

mod held;

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Plugin;
use super::component::LoadError;
use super::health::Then;
use super::instance::{Failure, FailureKind, Instance, Time};
use crate::bindings::{BodyFlow, Flow, OnRequest, OnRequestBody, OnResponse, OnResponseBody};
use crate::config::Isolation;
use crate::metrics::{PluginInstances, Spent, WorkerInstances};
use crate::recording::{Call, Input};

pub(crate) use held::Held;

/// Calls after which an instance is replaced, so that what a guest leaks is bounded.
const MAX_CALLS: u32 = 100_000;
/// Idle instances of one plugin on one worker. One is all that a plugin which never waits can use.
const MAX_IDLE: usize = 8;

/// The instances of one plugin on one worker: few, and hot.
pub struct Pool {
    pub(crate) plugin: Arc<Plugin>,
    /// The one used last at the end.
    idle: RefCell<Vec<Idle>>,
    /// The most memory that an instance had when it was given back, in bytes.
    memory: Cell<usize>,
    counted: Counted,
}

/// What is counted of a pool, and that it is.
struct Counted {
    worker: Arc<WorkerInstances>,
    /// Keeps the series of the plugin.
    all: Arc<PluginInstances>,
}

struct Idle {
    instance: Box<Instance>,
    /// Whether it was used since idle ones were last looked at.
    used: bool,
}

/// One call of a body hook.
pub(crate) enum BodyCall<'a> {
    Request(OnRequestBody<'a>),
    Response(OnResponseBody<'a>),
}

/// What goes with a call beside its input, and is kept of it beside its answer.
pub(crate) struct Ledger<'a> {
    /// When it began.
    pub(crate) began: Instant,
    /// What it was told, where somebody wants to know.
    pub(crate) call: Option<&'a mut Call>,
    pub(crate) spent: &'a mut Spent,
}

impl Ledger<'_> {
    /// Keeps what a hook is given, where somebody wants to know.
    pub(crate) fn given(&mut self, input: impl FnOnce() -> Input, body: Option<&Bytes>) {
        if let Some(call) = &mut self.call {
            call.input = input();
            call.body = body.map(|body| body.to_vec());
        }
    }
}

impl Pool {
    /// No instances yet; `all` counts them with those of other workers.
    #[must_use]
    pub fn new(plugin: Arc<Plugin>, all: Arc<PluginInstances>) -> Self {
        all.show_trouble(plugin.health.troubled());
        let counted = Counted { worker: all.worker(), all };
        Self { plugin, idle: RefCell::default(), memory: Cell::default(), counted }
    }

    pub(crate) async fn on_request(&self, input: OnRequest<'_>, ledger: Ledger<'_>) -> Result<Flow, Failure> {
        let Ledger { began, call, spent } = ledger;
        let mut leased = self.lease(spent).await?;
        leased.listen(call.is_some());
        let time = self.time(began, spent);
        let flow = leased.instance.on_request(input, time, spent).await;
        leased.heard(call);
        let flow = flow?;
        self.give_back(leased);
        Ok(flow)
    }

    pub(crate) async fn on_response(&self, input: OnResponse<'_>, ledger: Ledger<'_>) -> Result<Flow, Failure> {
        let Ledger { began, call, spent } = ledger;
        let mut leased = self.lease(spent).await?;
        leased.listen(call.is_some());
        let time = self.time(began, spent);
        let flow = leased.instance.on_response(input, time, spent).await;
        leased.heard(call);
        let flow = flow?;
        self.give_back(leased);
        Ok(flow)
    }

    pub(crate) async fn on_body(&self, input: BodyCall<'_>, ledger: Ledger<'_>) -> Result<BodyFlow, Failure> {
        let Ledger { began, call, spent } = ledger;
        let mut leased = self.lease(spent).await?;
        leased.listen(call.is_some());
        let time = self.time(began, spent);
        let flow = match input {
            BodyCall::Request(input) => leased.instance.on_request_body(input, time, spent).await,
            BodyCall::Response(input) => leased.instance.on_response_body(input, time, spent).await,
        };
        leased.heard(call);
        let flow = flow?;
        self.give_back(leased);
        Ok(flow)
    }

    /// How long a call that has its instance now may last.
    fn time(&self, began: Instant, spent: &Spent) -> Time {
        let waited = spent.queued.is_some() || spent.started.is_some();
        Time { began: if waited { Instant::now() } else { began }, limit: self.plugin.limits.time }
    }

    /// Makes an instance, so that the next call finds one. Where each call takes a fresh one, the first call makes it.
    pub(crate) async fn warm(&self) {
        if self.plugin.isolation == Isolation::Pooled
            && self.plugin.component.world().is_none()
            && let Ok(leased) = self.lease(&mut Spent::default()).await
        {
            self.give_back(leased);
        }
    }

    /// Drops the instance that was given back last: what it answered turned out to be none. Nothing was waited for since
    /// then, so it is that one, or where it never came back, one that can be made again.
    pub(crate) fn discard(&self) {
        drop(self.take());
    }

    /// A call failed that was made for a client. Too many of that pause the plugin in all workers.
    pub(crate) fn failed(&self, client: IpAddr) {
        if let Then::Pauses(time) = self.plugin.health.failed(client, || self.counted.all.calls()) {
            self.counted.all.paused();
            let version = self.plugin.component.version();
            tracing::error!(plugin = &*self.plugin.name, version, "paused for {time:?}: it fails too often");
        }
    }

    /// A call went well.
    pub(crate) fn succeeded(&self) {
        if self.plugin.health.is_troubled() && self.plugin.health.succeeded() {
            let version = self.plugin.component.version();
            tracing::info!(plugin = &*self.plugin.name, version, "no longer paused: it does not fail any more");
        }
    }

    /// The most linear memory that an instance had after a call, in bytes; 0 where none came back.
    pub(crate) fn memory_used(&self) -> usize {
        self.memory.get()
    }

    /// Counts one more in use, until what it answers is dropped.
    pub(super) fn count(&self) -> held::Counted {
        held::Counted::new(&self.counted.worker)
    }

    /// Takes note of the most memory that an instance had.
    pub(super) fn note_memory(&self, used: usize) {
        if used > self.memory.get() {
            self.memory.set(used);
            self.counted.worker.set_memory(used);
        }
    }

    /// Drops instances that nobody has needed since this was called before. No call need look at the clock for it.
    pub(crate) fn reap(&self) {
        let mut idle = self.idle.borrow_mut();
        idle.retain_mut(|idle| std::mem::take(&mut idle.used));
        self.counted.worker.set_idle(idle.len());
    }

    /// An instance for one call. Dropping it, as a failed or abandoned call does, drops the instance.
    async fn lease(&self, spent: &mut Spent) -> Result<Leased<'_>, Failure> {
        self.plugin.health.admit().map_err(paused)?;
        let permit = match self.plugin.component.waits {
            true => Some(Box::pin(permit(&self.plugin.in_use, self, spent)).await?),
            false => None,
        };
        let in_use = InUse::new(&self.counted.worker);
        let instance = match self.take() {
            Some(instance) => instance,
            None => Box::pin(self.fresh(spent)).await?,
        };
        Ok(Leased { instance, _in_use: in_use, _permit: permit })
    }

    fn take(&self) -> Option<Box<Instance>> {
        let mut idle = self.idle.borrow_mut();
        let taken = idle.pop()?;
        self.counted.worker.set_idle(idle.len());
        Some(taken.instance)
    }

    async fn fresh(&self, spent: &mut Spent) -> Result<Box<Instance>, Failure> {
        let slot = permit(&self.plugin.engine.slots, self, spent).await?;
        let began = Instant::now();
        let fresh = Instance::fresh(&self.plugin, slot).await;
        spent.started = Some(began.elapsed());
        match fresh {
            Ok(instance) => Ok(Box::new(instance)),
            Err(error @ LoadError::Failed(_)) => {
                Err(Failure { kind: FailureKind::Configure, detail: error.to_string() })
            }
            Err(error) => Err(Failure { kind: FailureKind::Output, detail: error.to_string() }),
        }
    }

    fn give_back(&self, mut leased: Leased<'_>) {
        leased.instance.calls += 1;
        let used = leased.instance.memory_used();
        self.note_memory(used);
        // Linear memory never shrinks: one large request would be kept for ever.
        let worn = leased.instance.calls >= MAX_CALLS || used > self.plugin.limits.memory / 4 * 3;
        if worn || self.plugin.isolation == Isolation::Request && !leased.instance.put_back(&self.plugin) {
            return;
        }
        let mut idle = self.idle.borrow_mut();
        if idle.len() < MAX_IDLE {
            idle.push(Idle { instance: leased.instance, used: true });
            self.counted.worker.set_idle(idle.len());
        }
    }
}

struct Leased<'a> {
    instance: Box<Instance>,
    _in_use: InUse<'a>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Leased<'_> {
    fn listen(&mut self, recorded: bool) {
        if recorded {
            self.instance.listen();
        }
    }

    fn heard(&mut self, call: Option<&mut Call>) {
        if let Some(call) = call {
            call.said = self.instance.heard();
        }
    }
}

/// Counts an instance as in use until it is dropped.
struct InUse<'a>(&'a WorkerInstances);

impl<'a> InUse<'a> {
    fn new(worker: &'a WorkerInstances) -> Self {
        worker.call_began();
        Self(worker)
    }
}

impl Drop for InUse<'_> {
    fn drop(&mut self) {
        self.0.call_ended();
    }
}

/// Why a plugin is not called for so long.
pub(super) fn paused(time: Duration) -> Failure {
    let seconds = u32::try_from(time.as_secs()).unwrap_or(u32::MAX).saturating_add(1);
    Failure { kind: FailureKind::Paused(seconds), detail: "it is paused, since it failed too often".to_owned() }
}

/// Waits for a permit as long as a request waits for an instance of this plugin.
pub(super) async fn permit(
    of: &Arc<Semaphore>,
    pool: &Pool,
    spent: &mut Spent,
) -> Result<OwnedSemaphorePermit, Failure> {
    if let Ok(permit) = of.clone().try_acquire_owned() {
        return Ok(permit);
    }
    let (wait, began) = (pool.plugin.limits.wait, Instant::now());
    let permit = tokio::time::timeout(wait, of.clone().acquire_owned()).await;
    *spent.queued.get_or_insert_default() += began.elapsed();
    match permit {
        Ok(Ok(permit)) => Ok(permit),
        _ => Err(Failure { kind: FailureKind::Overload, detail: format!("no instance became free within {wait:?}") }),
    }
}
