//! One whole state of configuration, plugins and upstreams, checked; shared by the workers and never changed.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::order;
use crate::config::{self, Config, Listener, PluginSpec, Problem, Problems};
use crate::connect::dns::Resolver;
use crate::headers::Via;
use crate::hide::Hidden;
use crate::metrics::Metrics;
use crate::plugin::{Component, Engine, Library, LoadError, Plugin, Stores, about};
use crate::recording::Recorder;
use crate::router::Router;
use crate::server::tls::{self, Tls};
use crate::upstream::{Known, Prepared};

use super::trial::Trial;

/// What every snapshot stands on, and outlives them all.
pub struct Foundation {
    /// Compiles and runs components.
    pub engine: Arc<Engine>,
    /// Counters and values of plugins.
    pub stores: Stores,
    /// What is known of upstreams.
    pub upstreams: Known,
    /// All counts.
    pub metrics: Metrics,
}

/// See the module.
pub struct Snapshot {
    /// What the operator wrote.
    pub config: Arc<Config>,
    /// By the name that chains use.
    pub plugins: BTreeMap<String, Arc<Plugin>>,
    /// New versions that get a part of the requests, by the name of the plugin.
    pub(crate) trials: BTreeMap<String, Arc<Trial>>,
    /// What is allowed, and probably not meant.
    pub(crate) warnings: Vec<Problem>,
    pub(crate) upstreams: Vec<Arc<Prepared>>,
    pub(crate) router: Router<usize>,
    pub(crate) hidden: Hidden,
    pub(crate) via: Option<Via>,
    pub(crate) metrics: Metrics,
    /// By plugin, those that are recorded.
    pub(crate) recorders: BTreeMap<String, Arc<Recorder>>,
    /// By listener, those that have certificates.
    pub(crate) tls: BTreeMap<String, Arc<Tls>>,
}

impl Snapshot {
    /// Builds and checks everything that a configuration means: components are found, plugins configured, certificates
    /// and roots read. Plugins of `tried` and `before` that the configuration still means are kept, and trials go on.
    ///
    /// # Errors
    /// Every problem, each at its place.
    pub async fn build(
        config: Arc<Config>,
        library: &mut Library,
        foundation: &Foundation,
        tried: &BTreeMap<String, Arc<Plugin>>,
        before: Option<&Self>,
    ) -> Result<Self, Problems> {
        let mut problems = Vec::new();
        let (mut plugins, mut trials) = (BTreeMap::new(), BTreeMap::new());
        for (name, spec) in &config.plugin {
            let serving = before.and_then(|before| before.plugins.get(name));
            let trial = before.and_then(|before| before.trials.get(name));
            let known: Vec<_> =
                tried.get(name).into_iter().chain(serving).chain(trial.map(|trial| &trial.plugin)).collect();
            match plugin(spec, library, foundation, &known).await {
                Ok(plugin) => {
                    plugins.insert(name.clone(), plugin);
                }
                Err(error) => problems.extend(describe(spec, error, library, &config)),
            }
            let candidate = library.candidate(&spec.component).cloned();
            let Some((rollout, candidate)) = spec.rollout.as_ref().zip(candidate) else { continue };
            match load(spec, &candidate, foundation, &known).await {
                Ok(plugin) => {
                    let goes_on = trial.filter(|trial| trial.is(&plugin, rollout)).cloned();
                    let routes = Trial::routes(&config, name);
                    let begins = || Arc::new(Trial::new(plugin, rollout.clone(), &foundation.metrics, routes));
                    trials.insert(name.clone(), goes_on.unwrap_or_else(begins));
                }
                Err(error) => problems.extend(describe(spec, Missing::Load(error), library, &config)),
            }
        }
        let mut upstreams = Vec::new();
        let resolver = Resolver::new(&config.resolver);
        for upstream in &config.upstreams {
            let mut upstream = upstream.clone();
            foundation.upstreams.services().expand(&mut upstream, &resolver).await;
            let name = upstream.name.clone();
            match Prepared::load(upstream, &foundation.upstreams, &resolver) {
                Ok(prepared) => upstreams.push(Arc::new(prepared)),
                Err(error) => problems.push(Problem::error(format!("upstream `{name}`: {error}"))),
            }
        }
        let mut tls = BTreeMap::new();
        for listener in config.listeners.iter().filter(|listener| !listener.tls.is_empty()) {
            match tls::load(&listener.tls) {
                Ok(loaded) => {
                    tls.insert(listener.name.clone(), loaded);
                }
                Err(error) => problems.push(Problem::error(format!("listener `{}`: {error}", listener.name))),
            }
        }
        problems.extend(order::waiting(&config, &plugins));
        if !problems.is_empty() {
            return Err(problems.into_iter().collect());
        }
        let router = Router::new(config.routes.iter().enumerate().map(|(index, route)| (route, index)));
        let hidden = Hidden::new(upstreams.iter().flat_map(|upstream: &Arc<Prepared>| upstream.config().endpoints()));
        let via = config.via.as_deref().map(Via::new);
        let metrics = foundation.metrics.clone();
        let recorders = recorders(&config, &plugins, &metrics);
        let warnings = order::warnings(&config, &plugins);
        Ok(Self { warnings, plugins, trials, recorders, upstreams, router, hidden, via, metrics, tls, config })
    }

    pub(crate) fn listener(&self, name: &str) -> Option<&Listener> {
        self.config.listeners.iter().find(|listener| listener.name == name)
    }
}

/// Who records what plugins see and answer. They do nothing before there is something to write.
fn recorders(
    config: &Config,
    plugins: &BTreeMap<String, Arc<Plugin>>,
    metrics: &Metrics,
) -> BTreeMap<String, Arc<Recorder>> {
    let recorder = |(name, plugin): (&String, &Arc<Plugin>)| {
        let settings = config.plugin.get(name)?.record.as_ref()?;
        let recorder = Recorder::new(settings, about(plugin), config.secrets.iter(), metrics.plugin(name));
        Some((name.clone(), Arc::new(recorder)))
    };
    plugins.iter().filter_map(recorder).collect()
}

/// Why a plugin of the configuration is not there.
enum Missing {
    Component,
    Load(LoadError),
}

async fn plugin(
    spec: &PluginSpec,
    library: &mut Library,
    foundation: &Foundation,
    known: &[&Arc<Plugin>],
) -> Result<Arc<Plugin>, Missing> {
    let serving = library.find(&spec.component).map_err(Missing::Load)?.ok_or(Missing::Component)?;
    // Who asks for no rollout has the new version at once.
    let newest = library.candidate(&spec.component).filter(|_| spec.rollout.is_none());
    let component = newest.cloned().unwrap_or(serving);
    load(spec, &component, foundation, known).await.map_err(Missing::Load)
}

async fn load(
    spec: &PluginSpec,
    component: &Arc<Component>,
    foundation: &Foundation,
    known: &[&Arc<Plugin>],
) -> Result<Arc<Plugin>, LoadError> {
    if let Some(kept) = known.iter().find(|one| one.is(component, spec)) {
        return Ok(Arc::clone(kept));
    }
    Plugin::load(&foundation.engine, component, spec, &foundation.stores).await.map(Arc::new)
}

fn describe(spec: &PluginSpec, missing: Missing, library: &Library, config: &Config) -> Vec<Problem> {
    match missing {
        Missing::Component => {
            let place = match library.directory() {
                Some(directory) => format!("neither built in nor {}/{}.wasm", directory.display(), spec.component),
                None => "not built in, and there is no plugins directory".to_owned(),
            };
            let known = library.names().map(str::to_owned).collect::<Vec<_>>();
            let near = config::nearest(&spec.component, known.iter().map(String::as_str)).map(str::to_owned);
            vec![
                spec.complaint("", &format!("there is no component `{}`: {place}", spec.component), &config.secrets)
                    .suggest(near),
            ]
        }
        Missing::Load(LoadError::Refused(complaints)) => {
            let place = |(pointer, message): &(String, String)| spec.complaint(pointer, message, &config.secrets);
            complaints.iter().map(place).collect()
        }
        Missing::Load(error) => {
            vec![spec.fault(&error.to_string(), &config.secrets)]
        }
    }
}
