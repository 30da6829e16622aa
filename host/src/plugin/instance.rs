//! One store and its bindings: calls a hook under its limits; a trap becomes an error.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::OwnedSemaphorePermit;
use wasmtime::component::{ComponentNamedList, Lift, Lower, TypedFunc, WasmList};
use wasmtime::{Store, Trap};

use super::Plugin;
use super::component::{Component, Hook, LoadError, one_line};
use super::engine::Pace;
use super::image::Image;
use super::state::State;
use super::weight::Weight;
use crate::bindings::{
    BodyFlow, ChunkFlow, Complaint, Flow, Interest, OnChunk, OnRequest, OnRequestBody, OnResponse, OnResponseBody,
    Wanted,
};
use crate::metrics::Spent;
use crate::recording::{Said, Tape};

/// An instance of a plugin, configured. It is dropped after any failure, and never called again.
pub(crate) struct Instance {
    // Dropped before its slot, which counts it.
    store: Store<State>,
    instance: wasmtime::component::Instance,
    hooks: Hooks,
    rewind: Option<Rewind>,
    waits: bool,
    /// Hook calls so far.
    pub(super) calls: u32,
    _slot: OwnedSemaphorePermit,
}

/// How an instance is put back to how it began.
struct Rewind {
    put_back: TypedFunc<(), ()>,
    /// Bytes of memory that it began with.
    memory: usize,
}

#[derive(Default)]
struct Hooks {
    request: Option<TypedFunc<OnRequest<'static>, (Flow,)>>,
    request_body: Option<TypedFunc<OnRequestBody<'static>, (BodyFlow,)>>,
    response: Option<TypedFunc<OnResponse<'static>, (Flow,)>>,
    response_body: Option<TypedFunc<OnResponseBody<'static>, (BodyFlow,)>>,
    request_chunk: Option<TypedFunc<OnChunk, (ChunkFlow,)>>,
    response_chunk: Option<TypedFunc<OnChunk, (ChunkFlow,)>>,
}

/// How long a call may last.
#[derive(Debug, Clone, Copy)]
pub(super) struct Time {
    /// When it began. Whoever calls knows it, and the clock is not read again.
    pub(super) began: Instant,
    pub(super) limit: Duration,
}

/// What a plugin says of itself once it is configured.
pub(super) struct Told {
    pub(super) interest: Interest,
    /// Where it exports `chunks`.
    pub(super) wants: Option<Wanted>,
}

/// Why a call of a plugin gave no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) kind: FailureKind,
    /// For operators: it may hold names of guest functions.
    pub(crate) detail: String,
}

/// The kinds that are counted apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum FailureKind {
    /// The guest did what no guest may: a trap.
    Trap,
    /// It ran or waited longer than its limit.
    Timeout,
    /// A trap after it was refused memory.
    Memory,
    /// It answered what no plugin may answer.
    Output,
    /// No instance became free in time.
    Overload,
    /// A fresh instance could not be configured, though the first one could.
    Configure,
    /// It was not called, since it failed too often. It may be again after so many seconds.
    Paused(u32),
}

impl Instance {
    /// Configures an instance of `component`, which is the plugin's own or made of it, and sees that all its hooks have
    /// the signatures of the contract.
    pub(super) async fn on_trial(plugin: &Plugin, component: &Component) -> Result<(Self, Told), LoadError> {
        let slot = plugin.engine.slots.clone();
        let slot = slot.try_acquire_owned().map_err(|_| LoadError::Failed("no instance is free".to_owned()))?;
        plugin.engine.pace().limit(plugin.limits.time);
        let mut instance = Self::start(plugin, component, slot, Some(plugin.engine.seed), 0).await?;
        instance.find_hooks(component, |_| true)?;
        let interest = instance.configure(plugin, component).await?;
        let wants = instance.wants(plugin, component).await?;
        Ok((instance, Told { interest, wants }))
    }

    /// A fresh instance of a plugin that has been on trial, configured.
    pub(super) async fn fresh(plugin: &Plugin, slot: OwnedSemaphorePermit) -> Result<Self, LoadError> {
        let wanted = |hook| plugin.sight.wants(hook);
        let Some(image) = &plugin.image else {
            let mut instance = Self::start(plugin, &plugin.component, slot, None, 0).await?;
            instance.find_hooks(&plugin.component, wanted)?;
            instance.configure(plugin, &plugin.component).await?;
            return Ok(instance);
        };
        let mut instance = Self::start(plugin, &image.component, slot, None, image.beside).await?;
        instance.find_hooks(&image.component, wanted)?;
        instance.find_rewind(image)?;
        Ok(instance)
    }

    /// What a component that was never configured says about its configuration; none where it says nothing.
    pub(super) async fn schema(plugin: &Plugin) -> Result<Option<String>, LoadError> {
        let Some(index) = plugin.component.exports()?.schema.as_ref() else { return Ok(None) };
        let slot = plugin.engine.slots.clone();
        let slot = slot.try_acquire_owned().map_err(|_| LoadError::Failed("no instance is free".to_owned()))?;
        let Self { mut store, instance, waits, .. } = Self::start(plugin, &plugin.component, slot, None, 0).await?;
        let schema: TypedFunc<(), (String,)> = instance
            .get_typed_func(&mut store, index)
            .map_err(|error| LoadError::Signature("schema", one_line(&error)))?;
        let told = call(&mut store, waits, &schema, (), plugin.configure_time()).await;
        told.map(Some).map_err(|failure| LoadError::Failed(failure.detail))
    }

    /// `beside` is how much memory it has that is not its own.
    async fn start(
        plugin: &Plugin,
        component: &Component,
        slot: OwnedSemaphorePermit,
        seed: Option<u128>,
        beside: usize,
    ) -> Result<Self, LoadError> {
        let mut store = Store::new(&plugin.engine.wasmtime, State::new(&plugin.grounds, &plugin.limits, seed));
        store.data_mut().limits.allow(beside);
        store.limiter(|state| &mut state.limits);
        store.set_hostcall_fuel(host_memory(plugin));
        store.epoch_deadline_callback(|store| Ok(store.data().tick()));
        let time = plugin.configure_time();
        arm(&mut store, Instant::now(), time);
        let failed = |error: wasmtime::Error| LoadError::Failed(one_line(&error));
        let pre = &component.exports()?.pre;
        let instance = if component.waits {
            let (pace, mut idle) = (store.data().pace().clone(), Duration::default());
            let started = watched(pre.instantiate_async(&mut store), pace, &mut idle);
            let started = tokio::time::timeout(time, started).await;
            started.map_err(|_| LoadError::Failed(format!("not instantiated within {time:?}")))?.map_err(failed)?
        } else {
            pre.instantiate(&mut store).map_err(failed)?
        };
        store.data_mut().limits.take_out(beside);
        let (hooks, waits) = (Hooks::default(), component.waits);
        Ok(Self { store, instance, hooks, rewind: None, waits, calls: 0, _slot: slot })
    }

    fn find_rewind(&mut self, image: &Image) -> Result<(), LoadError> {
        let Some(index) = &image.put_back else { return Ok(()) };
        let put_back = self.instance.get_typed_func(&mut self.store, index);
        let put_back = put_back.map_err(|error| LoadError::Failed(one_line(&error)))?;
        self.rewind = Some(Rewind { put_back, memory: self.memory_used() });
        Ok(())
    }

    /// Puts it back to how it began, after a call that went well. False where it has to be given up instead: where nothing
    /// can put it back, or something that cannot be put back has changed.
    pub(super) fn put_back(&mut self, plugin: &Plugin) -> bool {
        let Self { store, rewind: Some(rewind), .. } = self else { return false };
        if store.data().limits.used != rewind.memory || !store.data_mut().renew() {
            return false;
        }
        arm(store, Instant::now(), plugin.limits.time);
        rewind.put_back.call(&mut *store, ()).is_ok()
    }

    fn find_hooks(&mut self, component: &Component, wanted: impl Fn(Hook) -> bool) -> Result<(), LoadError> {
        let Self { store, instance, hooks, .. } = self;
        for (hook, index) in Hook::ALL.into_iter().zip(&component.exports()?.hooks) {
            let Some(index) = index.as_ref().filter(|_| wanted(hook)) else { continue };
            let wrong = |error: wasmtime::Error| LoadError::Signature(hook.as_str(), one_line(&error));
            match hook {
                Hook::Request => hooks.request = Some(instance.get_typed_func(&mut *store, index).map_err(wrong)?),
                Hook::RequestBody => {
                    hooks.request_body = Some(instance.get_typed_func(&mut *store, index).map_err(wrong)?);
                }
                Hook::Response => hooks.response = Some(instance.get_typed_func(&mut *store, index).map_err(wrong)?),
                Hook::ResponseBody => {
                    hooks.response_body = Some(instance.get_typed_func(&mut *store, index).map_err(wrong)?);
                }
                Hook::RequestChunk => {
                    hooks.request_chunk = Some(instance.get_typed_func(&mut *store, index).map_err(wrong)?);
                }
                Hook::ResponseChunk => {
                    hooks.response_chunk = Some(instance.get_typed_func(&mut *store, index).map_err(wrong)?);
                }
            }
        }
        Ok(())
    }

    async fn configure(&mut self, plugin: &Plugin, component: &Component) -> Result<Interest, LoadError> {
        let Self { store, instance, waits, .. } = self;
        let configure: TypedFunc<(&str,), (Result<Interest, Vec<Complaint>>,)> = instance
            .get_typed_func(&mut *store, component.exports()?.configure)
            .map_err(|error| LoadError::Signature("configure", one_line(&error)))?;
        store.data_mut().calls.configuring = true;
        let answer = call(store, *waits, &configure, (&plugin.config,), plugin.configure_time()).await;
        store.data_mut().calls.configuring = false;
        let complaint = |one: Complaint| (one.pointer, one.message);
        answer
            .map_err(|failure| LoadError::Failed(failure.detail))?
            .map_err(|complaints| LoadError::Refused(complaints.into_iter().map(complaint).collect()))
    }

    async fn wants(&mut self, plugin: &Plugin, component: &Component) -> Result<Option<Wanted>, LoadError> {
        let Some(index) = component.exports()?.wants.as_ref() else { return Ok(None) };
        let Self { store, instance, waits, .. } = self;
        let wants: TypedFunc<(), (Wanted,)> = instance
            .get_typed_func(&mut *store, index)
            .map_err(|error| LoadError::Signature("wants", one_line(&error)))?;
        let told = call(store, *waits, &wants, (), plugin.configure_time()).await;
        told.map(Some).map_err(|failure| LoadError::Failed(failure.detail))
    }

    /// Whether the guest holds on to something of the host.
    pub(super) fn holds_handles(&mut self) -> bool {
        !self.store.data_mut().table().is_empty()
    }

    /// Allows so much more memory than the plugin may have.
    pub(super) fn allow_memory(&mut self, more: usize) {
        self.store.data_mut().limits.allow(more);
    }

    /// Calls a function that Wizer added, and that takes nothing.
    pub(super) fn show<R>(&mut self, interface: &str, function: &str) -> Result<R, String>
    where
        R: Lift + Send + Sync + 'static,
        (R,): ComponentNamedList + Lift,
    {
        let Self { store, instance, .. } = self;
        let interface = instance.get_export_index(&mut *store, None, interface);
        let index = interface.and_then(|index| instance.get_export_index(&mut *store, Some(&index), function));
        let index = index.ok_or_else(|| format!("`{function}` is not there"))?;
        let shown = instance.get_typed_func::<(), (R,)>(&mut *store, index);
        shown
            .and_then(|function| function.call(&mut *store, ()))
            .map(|(shown,)| shown)
            .map_err(|error| one_line(&error))
    }

    /// The bytes of a list in its memory.
    pub(super) fn bytes<'a>(&'a self, list: &'a WasmList<u8>) -> &'a [u8] {
        list.as_le_slice(&self.store)
    }

    /// Listens to what capabilities answer in the next call.
    pub(super) fn listen(&mut self) {
        self.store.data_mut().tape = Tape::Records(Vec::new());
    }

    /// What they answered since then.
    pub(super) fn heard(&mut self) -> Vec<Said> {
        self.store.data_mut().tape.take()
    }

    /// Bytes of linear memory.
    pub(super) fn memory_used(&self) -> usize {
        self.store.data().limits.used
    }

    pub(super) async fn on_request(
        &mut self,
        input: OnRequest<'_>,
        time: Time,
        spent: &mut Spent,
    ) -> Result<Flow, Failure> {
        let Self { store, hooks, waits, .. } = self;
        call_hook(store, *waits, hooks.request.as_ref(), input, time, spent).await
    }

    pub(super) async fn on_request_body(
        &mut self,
        input: OnRequestBody<'_>,
        time: Time,
        spent: &mut Spent,
    ) -> Result<BodyFlow, Failure> {
        let Self { store, hooks, waits, .. } = self;
        call_hook(store, *waits, hooks.request_body.as_ref(), input, time, spent).await
    }

    pub(super) async fn on_response(
        &mut self,
        input: OnResponse<'_>,
        time: Time,
        spent: &mut Spent,
    ) -> Result<Flow, Failure> {
        let Self { store, hooks, waits, .. } = self;
        call_hook(store, *waits, hooks.response.as_ref(), input, time, spent).await
    }

    pub(super) async fn on_response_body(
        &mut self,
        input: OnResponseBody<'_>,
        time: Time,
        spent: &mut Spent,
    ) -> Result<BodyFlow, Failure> {
        let Self { store, hooks, waits, .. } = self;
        call_hook(store, *waits, hooks.response_body.as_ref(), input, time, spent).await
    }

    /// One of the two hooks for chunks.
    pub(super) async fn on_chunk(
        &mut self,
        of: Hook,
        input: OnChunk,
        time: Time,
        spent: &mut Spent,
    ) -> Result<ChunkFlow, Failure> {
        let Self { store, hooks, waits, .. } = self;
        let hook = if of == Hook::RequestChunk { &hooks.request_chunk } else { &hooks.response_chunk };
        call_hook(store, *waits, hook.as_ref(), input, time, spent).await
    }
}

/// Bytes that one call may make the host allocate for what a guest hands over: a whole body at its cap, and heads.
pub(super) fn host_memory(plugin: &Plugin) -> usize {
    plugin.limits.memory.saturating_mul(2).max(4 << 20)
}

/// Calls a hook, and weighs what crosses.
async fn call_hook<P, R>(
    store: &mut Store<State>,
    waits: bool,
    hook: Option<&TypedFunc<P, (R,)>>,
    input: P,
    time: Time,
    spent: &mut Spent,
) -> Result<R, Failure>
where
    P: ComponentNamedList + Lower + Send + Sync + Weight,
    R: Lift + Send + Sync + Weight + 'static,
    (R,): ComponentNamedList + Lift,
{
    // `Sight::new` checks that every hook which is wanted is exported.
    let missing = || Failure { kind: FailureKind::Output, detail: "the hook is not exported".to_owned() };
    let hook = hook.ok_or_else(missing)?;
    spent.bytes_in = input.weight() as u64;
    let answer = call_timed(store, waits, hook, input, time, &mut spent.idle).await;
    spent.host_calls = store.data().host_calls;
    spent.memory = store.data().limits.used;
    if let Ok(answer) = &answer {
        spent.bytes_out = answer.weight() as u64;
    }
    answer
}

/// Gives the guest `time` from `began`.
fn arm(store: &mut Store<State>, began: Instant, time: Duration) {
    store.data_mut().allow(began + time);
    // The next tick asks whether that is over.
    store.set_epoch_deadline(1);
}

/// Calls a function whose costs nobody counts.
async fn call<P, R>(
    store: &mut Store<State>,
    waits: bool,
    function: &TypedFunc<P, (R,)>,
    input: P,
    time: Duration,
) -> Result<R, Failure>
where
    P: ComponentNamedList + Lower + Send + Sync,
    R: Lift + Send + Sync + 'static,
    (R,): ComponentNamedList + Lift,
{
    let time = Time { began: Instant::now(), limit: time };
    call_timed(store, waits, function, input, time, &mut Duration::default()).await
}

/// Calls a function within `time`. What of that the guest waited goes to `idle`.
async fn call_timed<P, R>(
    store: &mut Store<State>,
    waits: bool,
    hook: &TypedFunc<P, (R,)>,
    input: P,
    time: Time,
    idle: &mut Duration,
) -> Result<R, Failure>
where
    P: ComponentNamedList + Lower + Send + Sync,
    R: Lift + Send + Sync + 'static,
    (R,): ComponentNamedList + Lift,
{
    let Time { began, limit } = time;
    arm(store, began, limit);
    store.data_mut().begin_call();
    let answer = if waits {
        // The epoch ends a guest that computes, the clock one that waits. Dropping the call drops its stack, and the
        // caller drops the store. Boxed, so that the calls of those that never wait have no room for it.
        let pace = store.data().pace().clone();
        match Box::pin(tokio::time::timeout(limit, watched(hook.call_async(&mut *store, input), pace, idle))).await {
            Ok(answer) => answer,
            Err(_) => {
                return Err(Failure { kind: FailureKind::Timeout, detail: format!("waited longer than {limit:?}") });
            }
        }
    } else {
        hook.call(&mut *store, input)
    };
    store.data_mut().calls.end();
    match answer {
        Ok((answer,)) => Ok(answer),
        Err(error) => Err(failure(&error, store.data().limits.refused)),
    }
}

/// Counts the time in which the future of a guest is not polled. Whenever it is, the epoch advances: it may have come to
/// rest while the guest waited, and then nothing would end one that computes for ever.
async fn watched<F: Future>(future: F, pace: Arc<Pace>, idle: &mut Duration) -> F::Output {
    let mut future = pin!(future);
    let mut left: Option<Instant> = None;
    poll_fn(|context| {
        if let Some(left) = left {
            *idle += left.elapsed();
        }
        pace.begin();
        let polled = future.as_mut().poll(context);
        left = Some(Instant::now());
        polled
    })
    .await
}

/// What an error of the engine was, by whether the guest was refused memory before.
pub(super) fn failure(error: &wasmtime::Error, refused_memory: bool) -> Failure {
    let kind = match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => FailureKind::Timeout,
        _ if refused_memory => FailureKind::Memory,
        Some(_) => FailureKind::Trap,
        // What a guest's `exit` gives, and what wasmtime says of values that cannot be lifted.
        None if error.is::<wasmtime_wasi::I32Exit>() => FailureKind::Trap,
        None => FailureKind::Output,
    };
    Failure { kind, detail: one_line(error) }
}
