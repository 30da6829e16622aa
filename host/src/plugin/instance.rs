//! One store and its bindings: calls a hook under its limits; a trap becomes an error.

use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use wasmtime::component::{ComponentNamedList, Lift, Lower, TypedFunc, WasmList};
use wasmtime::{Store, Trap};

use super::Plugin;
use super::component::{Component, Hook, LoadError, one_line};
use super::engine::TICK;
use super::state::State;
use crate::bindings::{
    BodyFlow, ChunkFlow, Complaint, Flow, Interest, OnChunk, OnRequest, OnRequestBody, OnResponse, OnResponseBody,
    Wanted,
};
use crate::recording::{Said, Tape};

/// An instance of a plugin, configured. It is dropped after any failure, and never called again.
pub(crate) struct Instance {
    // Dropped before its slot, which counts it.
    store: Store<State>,
    instance: wasmtime::component::Instance,
    hooks: Hooks,
    waits: bool,
    /// Hook calls so far.
    pub(super) calls: u32,
    _slot: OwnedSemaphorePermit,
}

#[derive(Default)]
struct Hooks {
    request: Option<TypedFunc<OnRequest, (Flow,)>>,
    request_body: Option<TypedFunc<OnRequestBody, (BodyFlow,)>>,
    response: Option<TypedFunc<OnResponse, (Flow,)>>,
    response_body: Option<TypedFunc<OnResponseBody, (BodyFlow,)>>,
    request_chunk: Option<TypedFunc<OnChunk, (ChunkFlow,)>>,
    response_chunk: Option<TypedFunc<OnChunk, (ChunkFlow,)>>,
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
}

impl Instance {
    /// Configures an instance of `component`, which is the plugin's own or made of it, and sees that all its hooks have
    /// the signatures of the contract.
    pub(super) async fn on_trial(plugin: &Plugin, component: &Component) -> Result<(Self, Told), LoadError> {
        let slot = plugin.engine.slots.clone();
        let slot = slot.try_acquire_owned().map_err(|_| LoadError::Failed("no instance is free".to_owned()))?;
        let mut instance = Self::start(plugin, component, slot, Some(plugin.engine.seed)).await?;
        instance.find_hooks(component, |_| true)?;
        let interest = instance.configure(plugin, component).await?;
        let wants = instance.wants(plugin, component).await?;
        Ok((instance, Told { interest, wants }))
    }

    /// A fresh instance of a plugin that has been on trial, configured.
    pub(super) async fn fresh(plugin: &Plugin, slot: OwnedSemaphorePermit) -> Result<Self, LoadError> {
        let component = plugin.image.as_ref().unwrap_or(&plugin.component);
        let mut instance = Self::start(plugin, component, slot, None).await?;
        instance.find_hooks(component, |hook| plugin.sight.wants(hook))?;
        if plugin.image.is_none() {
            instance.configure(plugin, component).await?;
        }
        Ok(instance)
    }

    /// What a component that was never configured says about its configuration; none where it says nothing.
    pub(super) async fn schema(plugin: &Plugin) -> Result<Option<String>, LoadError> {
        let Some(index) = plugin.component.schema.as_ref() else { return Ok(None) };
        let slot = plugin.engine.slots.clone();
        let slot = slot.try_acquire_owned().map_err(|_| LoadError::Failed("no instance is free".to_owned()))?;
        let Self { mut store, instance, waits, .. } = Self::start(plugin, &plugin.component, slot, None).await?;
        let schema: TypedFunc<(), (String,)> = instance
            .get_typed_func(&mut store, index)
            .map_err(|error| LoadError::Signature("schema", one_line(&error)))?;
        let told = call(&mut store, waits, &schema, (), plugin.configure_time()).await;
        told.map(Some).map_err(|failure| LoadError::Failed(failure.detail))
    }

    async fn start(
        plugin: &Plugin,
        component: &Component,
        slot: OwnedSemaphorePermit,
        seed: Option<u128>,
    ) -> Result<Self, LoadError> {
        let mut store = Store::new(&plugin.engine.wasmtime, State::new(&plugin.grounds, &plugin.limits, seed));
        store.limiter(|state| &mut state.limits);
        store.set_hostcall_fuel(host_memory(plugin));
        let time = plugin.configure_time();
        arm(&mut store, time);
        let failed = |error: wasmtime::Error| LoadError::Failed(one_line(&error));
        let instance = if component.waits {
            let started = tokio::time::timeout(time, component.pre.instantiate_async(&mut store)).await;
            started.map_err(|_| LoadError::Failed(format!("not instantiated within {time:?}")))?.map_err(failed)?
        } else {
            component.pre.instantiate(&mut store).map_err(failed)?
        };
        Ok(Self { store, instance, hooks: Hooks::default(), waits: component.waits, calls: 0, _slot: slot })
    }

    fn find_hooks(&mut self, component: &Component, wanted: impl Fn(Hook) -> bool) -> Result<(), LoadError> {
        let Self { store, instance, hooks, .. } = self;
        for (hook, index) in Hook::ALL.into_iter().zip(&component.hooks) {
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
            .get_typed_func(&mut *store, component.configure)
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
        let Some(index) = component.wants.as_ref() else { return Ok(None) };
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

    pub(super) async fn on_request(&mut self, input: OnRequest, time: Duration) -> Result<Flow, Failure> {
        let Self { store, hooks, waits, .. } = self;
        call(store, *waits, present(hooks.request.as_ref())?, input, time).await
    }

    pub(super) async fn on_request_body(&mut self, input: OnRequestBody, time: Duration) -> Result<BodyFlow, Failure> {
        let Self { store, hooks, waits, .. } = self;
        call(store, *waits, present(hooks.request_body.as_ref())?, input, time).await
    }

    pub(super) async fn on_response(&mut self, input: OnResponse, time: Duration) -> Result<Flow, Failure> {
        let Self { store, hooks, waits, .. } = self;
        call(store, *waits, present(hooks.response.as_ref())?, input, time).await
    }

    pub(super) async fn on_response_body(
        &mut self,
        input: OnResponseBody,
        time: Duration,
    ) -> Result<BodyFlow, Failure> {
        let Self { store, hooks, waits, .. } = self;
        call(store, *waits, present(hooks.response_body.as_ref())?, input, time).await
    }

    /// One of the two hooks for chunks.
    pub(super) async fn on_chunk(&mut self, of: Hook, input: OnChunk, time: Duration) -> Result<ChunkFlow, Failure> {
        let Self { store, hooks, waits, .. } = self;
        let hook = if of == Hook::RequestChunk { &hooks.request_chunk } else { &hooks.response_chunk };
        call(store, *waits, present(hook.as_ref())?, input, time).await
    }
}

/// Bytes that one call may make the host allocate for what a guest hands over: a whole body at its cap, and heads.
fn host_memory(plugin: &Plugin) -> usize {
    plugin.limits.memory.saturating_mul(2).max(4 << 20)
}

/// [`Sight::new`](super::Sight::new) checks that every hook which is wanted is exported.
fn present<T>(hook: Option<&T>) -> Result<&T, Failure> {
    hook.ok_or_else(|| Failure { kind: FailureKind::Output, detail: "the hook is not exported".to_owned() })
}

const TICKS_PER_SECOND: u64 = 1_000_000_000 / TICK.subsec_nanos() as u64;

/// Gives the guest `time` from now. One tick more than that, since the current one has begun already.
fn arm(store: &mut Store<State>, time: Duration) {
    // In numbers of 64 bits: dividing larger ones takes a function of its own.
    let rest = u64::from(time.subsec_nanos().div_ceil(TICK.subsec_nanos()));
    let ticks = time.as_secs().saturating_mul(TICKS_PER_SECOND).saturating_add(rest).min(u64::MAX >> 1) + 1;
    store.data().pace.begin(ticks);
    store.set_epoch_deadline(ticks);
}

async fn call<P, R>(
    store: &mut Store<State>,
    waits: bool,
    hook: &TypedFunc<P, (R,)>,
    input: P,
    time: Duration,
) -> Result<R, Failure>
where
    P: ComponentNamedList + Lower + Send + Sync,
    R: Lift + Send + Sync + 'static,
    (R,): ComponentNamedList + Lift,
{
    arm(store, time);
    store.data_mut().begin_call();
    let answer = if waits {
        // The epoch ends a guest that computes, the clock one that waits. Dropping the call drops its stack, and the
        // caller drops the store. Boxed, so that the calls of those that never wait have no room for it.
        match Box::pin(tokio::time::timeout(time, hook.call_async(&mut *store, input))).await {
            Ok(answer) => answer,
            Err(_) => {
                return Err(Failure { kind: FailureKind::Timeout, detail: format!("waited longer than {time:?}") });
            }
        }
    } else {
        hook.call(&mut *store, input)
    };
    store.data_mut().calls.end();
    match answer {
        Ok((answer,)) => Ok(answer),
        Err(error) => Err(failure(store, &error)),
    }
}

fn failure(store: &Store<State>, error: &wasmtime::Error) -> Failure {
    let kind = match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => FailureKind::Timeout,
        _ if store.data().limits.refused => FailureKind::Memory,
        Some(_) => FailureKind::Trap,
        // What a guest's `exit` gives, and what wasmtime says of values that cannot be lifted.
        None if error.is::<wasmtime_wasi::I32Exit>() => FailureKind::Trap,
        None => FailureKind::Output,
    };
    Failure { kind, detail: one_line(error) }
}
