//! A plugin: a component with its configuration, under the name that chains use.
//!
//! [`Component`] is what a file gives: compiled code, its imports, the hooks it exports. [`Plugin`] is what the
//! configuration makes of it: checked against its grants, configured once on trial, its interest known. Both exist once
//! for the process and are shared by all workers; each worker has its own [`Pool`] of instances.

pub mod answers;
mod component;
mod convert;
mod difference;
mod engine;
mod health;
mod http;
mod image;
mod inspect;
mod instance;
mod interest;
mod library;
mod pool;
mod recorded;
mod rewind;
mod state;
mod trust;
mod version;
mod wasi;
mod weight;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::Semaphore;

pub(crate) use component::LARGEST_COMPONENT;
pub use component::{Component, Hook, LoadError, Origin};
pub(crate) use convert::{
    Applied, Attributes, Head, Refusal, Refused, describe_new_body, edit_request, edit_response, fields, fields_in,
    refusal, whole,
};
pub use difference::difference;
pub use engine::Engine;
use health::Health;
pub use http::World;
pub(crate) use http::{Asked, Checked, GuestBody, Next, Running, Step, check_request, check_response, guest_body};
use image::Image;
pub use inspect::Inspection;
use instance::Instance;
pub(crate) use instance::{Failure, FailureKind};
pub(crate) use interest::{Chunks, Sight};
pub use library::{BUILT_IN, Change, Library, Report};
pub use pool::Pool;
pub(crate) use pool::{BodyCall, Held, Ledger};
pub(crate) use recorded::{about, input_of_request, input_of_response, outcome, outcome_with_body};
use state::Grounds;

use crate::capability::limiter::{Limiter, Sizes};
use crate::capability::log::PluginLog;
use crate::capability::{http_client, kv};
use crate::config::{Grant, Isolation, OnFailure, PluginLimits, PluginSpec};
use crate::metrics::Metrics;
use crate::recording::Played;

/// The least time that `configure` is given, whatever a hook call may take.
const CONFIGURE_TIME: Duration = Duration::from_secs(1);

/// A component with its configuration, checked and ready.
pub struct Plugin {
    /// The name that chains use.
    pub name: Arc<str>,
    /// What a failure does to the request.
    pub on_failure: OnFailure,
    pub(crate) component: Arc<Component>,
    pub(crate) isolation: Isolation,
    pub(crate) limits: PluginLimits,
    pub(crate) sight: Sight,
    pub(crate) engine: Arc<Engine>,
    /// The component as `configure` left it, where instances begin with that.
    image: Option<Image>,
    config: Arc<str>,
    grant: Grant,
    grounds: Grounds,
    pub(crate) health: Health,
    /// One permit for each instance in use, for plugins that wait; others hold an instance only while they compute.
    in_use: Arc<Semaphore>,
}

/// The stores behind the capabilities, which outlive every plugin and every reload.
#[derive(Clone)]
pub struct Stores {
    /// Behind `limiter`.
    pub limiter: Arc<Limiter>,
    /// Behind `kv`.
    pub kv: Arc<kv::Stores>,
    /// Where numbers of plugins are shown.
    pub metrics: Metrics,
}

/// What a plugin finds in place of the world, when it is tried.
#[derive(Debug, Clone, Default)]
pub struct Scene {
    /// What its wall clock shows; none for the time.
    pub now: Option<SystemTime>,
    /// What answers its requests; none for the network.
    pub http: Option<Arc<http_client::Script>>,
    /// What its capabilities say; none for what they answer.
    pub played: Option<Played>,
    /// Whether nobody sees its lines.
    pub silent: bool,
}

/// Empty ones, which nobody else has.
impl Default for Stores {
    fn default() -> Self {
        Self {
            limiter: Limiter::new(Sizes::default()),
            kv: Arc::new(kv::Stores::new(kv::Quota::default())),
            metrics: Metrics::default(),
        }
    }
}

impl Plugin {
    /// Checks a component against the grants of `spec`, and configures an instance on trial.
    ///
    /// # Errors
    ///
    /// [`LoadError`] where an import is not granted, or the plugin refuses its configuration.
    pub async fn load(
        engine: &Arc<Engine>,
        component: &Arc<Component>,
        spec: &PluginSpec,
        stores: &Stores,
    ) -> Result<Self, LoadError> {
        Self::load_in(engine, component, spec, stores, &Scene::default()).await
    }

    /// The same, in a world that is made up.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load).
    pub async fn load_in(
        engine: &Arc<Engine>,
        component: &Arc<Component>,
        spec: &PluginSpec,
        stores: &Stores,
        scene: &Scene,
    ) -> Result<Self, LoadError> {
        component.check_required(spec)?;
        component.check_grants(&spec.grant)?;
        let mut plugin = Self::unconfigured(engine, component, spec, stores, scene)?;
        if let Some(world) = component.world() {
            // What is made up is made up for hooks.
            if scene.http.is_some() || scene.played.is_some() {
                return Err(LoadError::NoPlugin(world));
            }
            http::check_settings(world, spec)?;
            http::on_trial(&plugin).await?;
            return Ok(plugin);
        }
        let (image, told) = match plugin.isolation {
            // One configuration for many calls.
            Isolation::Pooled => (None, Instance::on_trial(&plugin, component).await?.1),
            Isolation::Request => image::take(&plugin).await?,
        };
        plugin.sight =
            Sight::new(told.interest, told.wants, |hook| component.has(hook)).map_err(LoadError::Interest)?;
        plugin.image = image;
        Ok(plugin)
    }

    /// As it is before anything of it has run.
    fn unconfigured(
        engine: &Arc<Engine>,
        component: &Arc<Component>,
        spec: &PluginSpec,
        stores: &Stores,
        scene: &Scene,
    ) -> Result<Self, LoadError> {
        let http = http_client::Granted::load(&spec.grant.http, scene.http.clone());
        let grounds = Grounds {
            pace: engine.pace().clone(),
            log: if scene.silent { PluginLog::silent(&spec.name) } else { PluginLog::new(&spec.name) },
            limiter: Arc::new(stores.limiter.plugin(&spec.name)),
            kv: kv::Granted::new(&stores.kv, &spec.grant.kv),
            http: http.map_err(|error| LoadError::Roots(error.to_string()))?,
            custom: stores.metrics.custom(&spec.name),
            now: scene.now,
            played: scene.played.clone(),
        };
        Ok(Self {
            name: spec.name.as_str().into(),
            on_failure: spec.on_failure,
            component: component.clone(),
            isolation: spec.isolation,
            limits: spec.limits.clone(),
            sight: Sight::default(),
            image: None,
            engine: engine.clone(),
            config: spec.config.as_str().into(),
            grant: spec.grant.clone(),
            grounds,
            health: Health::new(),
            in_use: Arc::new(Semaphore::new(spec.limits.instances.get() as usize)),
        })
    }

    /// Loads a version that watches: with stores that nobody else has, without a log and without a network. What its
    /// capabilities say is laid down before each call.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load).
    pub(crate) async fn load_to_watch(
        engine: &Arc<Engine>,
        component: &Arc<Component>,
        spec: &PluginSpec,
    ) -> Result<Self, LoadError> {
        let scene = Scene { now: None, http: Some(Arc::default()), played: Some(Played::default()), silent: true };
        Self::load_in(engine, component, spec, &Stores::default(), &scene).await
    }

    /// Where what its capabilities say is laid down; none where they answer themselves.
    pub(crate) fn played(&self) -> Option<&Played> {
        self.grounds.played.as_ref()
    }

    /// Whether this is what `component` and `spec` would give again, so that it and its instances can be kept. A version
    /// that watches is never what would serve.
    pub fn is(&self, component: &Arc<Component>, spec: &PluginSpec) -> bool {
        self.played().is_none() && self.would_be(component, spec)
    }

    /// The same of a version that watches.
    pub(crate) fn watches(&self, component: &Arc<Component>, spec: &PluginSpec) -> bool {
        self.played().is_some() && self.would_be(component, spec)
    }

    fn would_be(&self, component: &Arc<Component>, spec: &PluginSpec) -> bool {
        Arc::ptr_eq(&self.component, component)
            && *self.config == *spec.config
            && self.grant == spec.grant
            && self.limits == spec.limits
            && self.isolation == spec.isolation
            && self.on_failure == spec.on_failure
            && component.check_required(spec).is_ok()
            && self.grounds.http.is_current()
    }

    /// The component that it runs.
    pub fn component(&self) -> &Arc<Component> {
        &self.component
    }

    /// The attributes that its hooks look at by name: those of requests, and those of responses.
    pub(crate) fn looks_at(&self) -> [&[Arc<str>]; 2] {
        self.sight.looks_at()
    }

    /// The attributes that it may set.
    pub(crate) fn sets(&self) -> &[Arc<str>] {
        &self.sight.sets
    }

    fn configure_time(&self) -> Duration {
        self.limits.time.saturating_mul(10).max(CONFIGURE_TIME)
    }
}

impl fmt::Debug for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plugin")
            .field("name", &self.name)
            .field("component", &self.component.name)
            .finish_non_exhaustive()
    }
}
