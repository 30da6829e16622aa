//! A component as `configure` left it: what instances begin with where every call takes a fresh one.
//!
//! `configure` costs what the configuration is large: 190 µs for a thousand keys. So it is run once, at load, in a copy
//! of the component that shows its memories and globals (made by Wizer), and what it left there becomes the initial state of a
//! second copy. Instances of that one are configured from the beginning, and share all pages of memory that they do not
//! write. No call of one instance is ever seen by another: each begins with the same image, and is put back to it where
//! that is possible, see [`rewind`].

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use anyhow::Context as _;
use wasmtime::component::{ComponentExportIndex, ComponentNamedList, Lift, WasmList};
use wasmtime_wizer::{ComponentInstanceState, Wizer};

use super::component::{Component, LoadError};
use super::instance::{Instance, Told};
use super::{Plugin, rewind};

/// What reading a memory takes of it.
const PAGE: usize = 64 << 10;

/// What instances begin with.
pub(super) struct Image {
    pub(super) component: Component,
    /// Puts an instance back to how it began, where it can be; see [`rewind`].
    pub(super) put_back: Option<ComponentExportIndex>,
    /// Bytes of memory that an instance has beside its own, for that.
    pub(super) beside: usize,
}

/// Configures a plugin, and makes the component that begins configured. There is none where it would not be the same:
/// where the plugin holds on to something of the host, such as an open bucket or stream, whose handle would name nothing
/// in another instance; where it waits; and where Wizer does not know a part of the component.
///
/// # Errors
/// As for any configuration on trial.
pub(super) async fn take(plugin: &Plugin) -> Result<(Option<Image>, Told), LoadError> {
    let component = &plugin.component;
    let wizer = Wizer::new();
    let shown = match component.waits {
        true => Err("it waits".to_owned()),
        false => unless_it_panics(|| wizer.instrument_component(&component.bytes)),
    };
    let (context, shown) = match shown {
        Ok(shown) => shown,
        Err(why) => return without(plugin, &why).await,
    };
    let shown = Component::compile(&plugin.engine, &component.name, component.origin.clone(), shown.into());
    let shown = match shown {
        Ok(shown) => shown,
        Err(error) => return without(plugin, &error.to_string()).await,
    };
    let (mut instance, told) = Instance::on_trial(plugin, &shown).await?;
    if instance.holds_handles() {
        tracing::debug!(plugin = &*plugin.name, "it holds handles of the host, so each instance is configured anew");
        return Ok((None, told));
    }
    instance.allow_memory(PAGE);
    let mut state = Shown { instance, failed: None };
    let image = unless_it_panics(|| now(wizer.snapshot_component(&context, &mut state)));
    let image = match (image, state.failed) {
        (Ok(image), None) => image,
        (Err(why), _) | (_, Some(why)) => return without(plugin, &why).await,
    };
    match compile(plugin, image) {
        Ok(image) => Ok((Some(image), told)),
        Err(error) => without(plugin, &error.to_string()).await,
    }
}

/// Compiles an image, with what puts its instances back where that can be.
fn compile(plugin: &Plugin, image: Vec<u8>) -> Result<Image, LoadError> {
    let original = &plugin.component;
    let compile =
        |bytes: Vec<u8>| Component::compile(&plugin.engine, &original.name, original.origin.clone(), bytes.into());
    let rewindable = || {
        let result = rewind::largest_result(original.exports()?.pre.component());
        let result = result.context("what the host writes for it has no known size")?;
        let rewind::Rewindable { bytes, beside } = rewind::add(&image, plugin.limits.memory, result)?;
        let component = compile(bytes)?;
        let put_back = component.exports()?.pre.component().get_export_index(None, rewind::PUT_BACK);
        anyhow::Ok(Image { component, put_back, beside })
    };
    match rewindable() {
        Ok(image) => Ok(image),
        Err(why) => {
            let why = format!("{why:#}");
            tracing::debug!(
                plugin = &*plugin.name,
                why,
                "its instances cannot be put back, so each call takes a new one"
            );
            Ok(Image { component: compile(image)?, put_back: None, beside: 0 })
        }
    }
}

async fn without(plugin: &Plugin, why: &str) -> Result<(Option<Image>, Told), LoadError> {
    tracing::debug!(plugin = &*plugin.name, why, "no image of it can be made, so each instance is configured anew");
    let (_, told) = Instance::on_trial(plugin, &plugin.component).await?;
    Ok((None, told))
}

/// An instance that shows its state.
struct Shown {
    instance: Instance,
    failed: Option<String>,
}

impl Shown {
    fn call<R, V>(&mut self, interface: &str, function: &str, value: impl FnOnce(&Instance, R) -> V) -> Option<V>
    where
        R: Lift + Send + Sync + 'static,
        (R,): ComponentNamedList + Lift,
    {
        match self.instance.show::<R>(interface, function) {
            Ok(shown) => Some(value(&self.instance, shown)),
            Err(error) => {
                self.failed = Some(error);
                None
            }
        }
    }
}

impl ComponentInstanceState for Shown {
    async fn call_func_ret_list_u8(&mut self, interface: &str, function: &str, see: impl FnOnce(&[u8]) + Send) {
        self.call(interface, function, |instance, list: WasmList<u8>| see(instance.bytes(&list)));
    }

    async fn call_func_ret_s32(&mut self, interface: &str, function: &str) -> i32 {
        self.call(interface, function, |_, value| value).unwrap_or_default()
    }

    async fn call_func_ret_s64(&mut self, interface: &str, function: &str) -> i64 {
        self.call(interface, function, |_, value| value).unwrap_or_default()
    }

    async fn call_func_ret_f32(&mut self, interface: &str, function: &str) -> u32 {
        self.call(interface, function, |_, value: f32| value.to_bits()).unwrap_or_default()
    }

    async fn call_func_ret_f64(&mut self, interface: &str, function: &str) -> u64 {
        self.call(interface, function, |_, value: f64| value.to_bits()).unwrap_or_default()
    }
}

/// The outcome of a future that never waits.
fn now<T>(future: impl Future<Output = wasmtime::Result<T>>) -> wasmtime::Result<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => Err(wasmtime::Error::msg("it waits")),
    }
}

/// Wizer panics at some components that it does not know, and any file may lie in the plugins directory.
fn unless_it_panics<T>(work: impl FnOnce() -> wasmtime::Result<T>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(outcome) => outcome.map_err(|error| super::component::one_line(&error)),
        Err(_) => Err("Wizer panicked".to_owned()),
    }
}
