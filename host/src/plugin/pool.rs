//! The instances of one plugin on one worker, and the isolation policy.

mod held;

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Plugin;
use super::component::LoadError;
use super::instance::{Failure, FailureKind, Instance};
use crate::bindings::{BodyFlow, Flow, OnRequest, OnRequestBody, OnResponse, OnResponseBody};
use crate::config::Isolation;
use crate::metrics::{PluginInstances, WorkerInstances};
use crate::recording::Call;

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
    _all: Arc<PluginInstances>,
}

struct Idle {
    instance: Box<Instance>,
    /// Whether it was used since idle ones were last looked at.
    used: bool,
}

/// One call of a body hook.
pub(crate) enum BodyCall {
    Request(OnRequestBody),
    Response(OnResponseBody),
}

impl Pool {
    /// No instances yet; `all` counts them with those of other workers.
    #[must_use]
    pub fn new(plugin: Arc<Plugin>, all: Arc<PluginInstances>) -> Self {
        let counted = Counted { worker: all.worker(), _all: all };
        Self { plugin, idle: RefCell::default(), memory: Cell::default(), counted }
    }

    pub(crate) async fn on_request(&self, input: OnRequest, call: Option<&mut Call>) -> Result<Flow, Failure> {
        let mut leased = self.lease().await?;
        leased.listen(call.is_some());
        let flow = leased.instance.on_request(input, self.plugin.limits.time).await;
        leased.heard(call);
        let flow = flow?;
        self.give_back(leased);
        Ok(flow)
    }

    pub(crate) async fn on_response(&self, input: OnResponse, call: Option<&mut Call>) -> Result<Flow, Failure> {
        let mut leased = self.lease().await?;
        leased.listen(call.is_some());
        let flow = leased.instance.on_response(input, self.plugin.limits.time).await;
        leased.heard(call);
        let flow = flow?;
        self.give_back(leased);
        Ok(flow)
    }

    pub(crate) async fn on_body(&self, input: BodyCall, call: Option<&mut Call>) -> Result<BodyFlow, Failure> {
        let mut leased = self.lease().await?;
        leased.listen(call.is_some());
        let time = self.plugin.limits.time;
        let flow = match input {
            BodyCall::Request(input) => leased.instance.on_request_body(input, time).await,
            BodyCall::Response(input) => leased.instance.on_response_body(input, time).await,
        };
        leased.heard(call);
        let flow = flow?;
        self.give_back(leased);
        Ok(flow)
    }

    /// Makes an instance, so that the next call finds one. Where each call takes a fresh one, there is nothing to make.
    pub(crate) async fn warm(&self) {
        if self.plugin.isolation == Isolation::Pooled
            && let Ok(leased) = self.lease().await
        {
            self.give_back(leased);
        }
    }

    /// The most linear memory that an instance had after a call, in bytes; 0 where none came back.
    pub(crate) fn memory_used(&self) -> usize {
        self.memory.get()
    }

    /// Drops instances that nobody has needed since this was called before. No call need look at the clock for it.
    pub(crate) fn reap(&self) {
        let mut idle = self.idle.borrow_mut();
        idle.retain_mut(|idle| std::mem::take(&mut idle.used));
        self.counted.worker.set_idle(idle.len());
    }

    /// An instance for one call. Dropping it, as a failed or abandoned call does, drops the instance.
    async fn lease(&self) -> Result<Leased<'_>, Failure> {
        let permit =
            if self.plugin.component.waits { Some(Box::pin(permit(&self.plugin.in_use, self)).await?) } else { None };
        let in_use = InUse::new(&self.counted.worker);
        let instance = match self.take() {
            Some(instance) => instance,
            None => Box::pin(self.fresh()).await?,
        };
        Ok(Leased { instance, _in_use: in_use, _permit: permit })
    }

    fn take(&self) -> Option<Box<Instance>> {
        let mut idle = self.idle.borrow_mut();
        let taken = idle.pop()?;
        self.counted.worker.set_idle(idle.len());
        Some(taken.instance)
    }

    async fn fresh(&self) -> Result<Box<Instance>, Failure> {
        let slot = permit(&self.plugin.engine.slots, self).await?;
        match Instance::fresh(&self.plugin, slot).await {
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
        if used > self.memory.get() {
            self.memory.set(used);
            self.counted.worker.set_memory(used);
        }
        // Linear memory never shrinks: one large request would be kept for ever.
        let worn = leased.instance.calls >= MAX_CALLS || used > self.plugin.limits.memory / 4 * 3;
        if self.plugin.isolation == Isolation::Request || worn {
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
        worker.add_in_use(1);
        Self(worker)
    }
}

impl Drop for InUse<'_> {
    fn drop(&mut self) {
        self.0.add_in_use(-1);
    }
}

/// Waits for a permit as long as a request waits for an instance of this plugin.
async fn permit(of: &Arc<Semaphore>, pool: &Pool) -> Result<OwnedSemaphorePermit, Failure> {
    if let Ok(permit) = of.clone().try_acquire_owned() {
        return Ok(permit);
    }
    let wait = pool.plugin.limits.wait;
    match tokio::time::timeout(wait, of.clone().acquire_owned()).await {
        Ok(Ok(permit)) => Ok(permit),
        _ => Err(Failure { kind: FailureKind::Overload, detail: format!("no instance became free within {wait:?}") }),
    }
}
