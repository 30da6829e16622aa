//! What a new version of a component has to do before it serves.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::cases;
use crate::config::{Config, PluginSpec, Problem};
use crate::metrics::Metrics;
use crate::plugin::{self, Change, Engine, Library, LoadError, Plugin};
use crate::proxy::{Foundation, misplaced};

/// Takes what is in the plugins directory and passes its own cases. A new version of what serves has to do for every
/// plugin that uses it, too; what never served is checked with all the rest of the configuration afterwards.
pub(super) fn take_in(
    library: &mut Library,
    foundation: &Foundation,
    runtime: &tokio::runtime::Runtime,
    config: &Config,
) -> BTreeMap<String, Arc<Plugin>> {
    let mut all = BTreeMap::new();
    for change in library.look() {
        let attempt = match library.restore(&change) {
            Err(rolled_back) => Err(rolled_back),
            Ok(()) if library.serving(&change.name).is_some() => try_out(&change, config, foundation, runtime),
            Ok(()) => runtime.block_on(try_cases(&change, &foundation.engine)).map(|()| BTreeMap::new()),
        };
        let (tried, problem) = outcome(&change, attempt, library);
        note(&change, problem.as_ref(), &foundation.metrics);
        let on_trial = is_tried_first(config, &change.name);
        library.settle(change, problem, on_trial);
        all.extend(tried);
    }
    all
}

/// Configures a component for every plugin that uses it.
///
/// # Errors
/// Why it cannot take the place of the one before it: it does not pass its own cases, some plugin is not granted what it
/// imports, or it refuses that plugin's configuration.
pub(super) fn try_out(
    change: &Change,
    config: &Config,
    foundation: &Foundation,
    runtime: &tokio::runtime::Runtime,
) -> Result<BTreeMap<String, Arc<Plugin>>, LoadError> {
    let mut tried = BTreeMap::new();
    let Some(Ok(component)) = change.now.as_ref().filter(|_| !change.touched) else { return Ok(tried) };
    let Foundation { engine, stores, .. } = foundation;
    runtime.block_on(try_cases(change, engine))?;
    for spec in users(config, &change.name) {
        let plugin = runtime.block_on(Plugin::load(engine, component, spec, stores))?;
        tried.insert(spec.name.clone(), Arc::new(plugin));
    }
    match misplaced(config, &tried).into_iter().next() {
        Some(Problem { message, help, .. }) => {
            Err(LoadError::Misplaced(format!("{message}: {}", help.unwrap_or_default())))
        }
        None => Ok(tried),
    }
}

/// What came of trying a new version, and for one that is refused how it differs from what serves.
pub(super) fn outcome(
    change: &Change,
    attempt: Result<BTreeMap<String, Arc<Plugin>>, LoadError>,
    library: &Library,
) -> (BTreeMap<String, Arc<Plugin>>, Option<LoadError>) {
    match (attempt, library.serving(&change.name), &change.now) {
        (Ok(tried), ..) => (tried, None),
        (Err(error @ LoadError::RolledBack(_)), ..) => (BTreeMap::new(), Some(error)),
        (Err(error), Some(old), Some(Ok(new))) => {
            (BTreeMap::new(), Some(LoadError::NewVersion(Box::new(error), plugin::difference(old, new))))
        }
        (Err(error), ..) => (BTreeMap::new(), Some(error)),
    }
}

/// The plugins that use a component.
pub(super) fn users<'a>(config: &'a Config, component: &'a str) -> impl Iterator<Item = &'a PluginSpec> {
    config.plugin.values().filter(move |spec| spec.component == component)
}

/// Whether some plugin gives new versions of a component only a part of the requests.
pub(super) fn is_tried_first(config: &Config, component: &str) -> bool {
    users(config, component).any(|spec| spec.rollout.is_some())
}

/// Runs the cases that lie beside a new component.
async fn try_cases(change: &Change, engine: &Arc<Engine>) -> Result<(), LoadError> {
    match (&change.now, &change.cases) {
        (Some(Ok(component)), Some(path)) => cases::pass_all(engine, component, path).await,
        _ => Ok(()),
    }
}

/// Tells the operator what became of a file.
pub(super) fn note(change: &Change, problem: Option<&LoadError>, metrics: &Metrics) {
    if change.touched {
        return;
    }
    let name = &change.name;
    let problem = problem.or(match &change.now {
        Some(Err(error)) => Some(error),
        _ => None,
    });
    match (&change.now, problem) {
        (_, Some(problem)) => {
            metrics.component_loaded(name, false);
            tracing::error!(component = name, "{name}.wasm {problem}");
        }
        (Some(_), None) => {
            metrics.component_loaded(name, true);
            tracing::info!(component = name, "{name}.wasm was loaded");
        }
        (None, None) => tracing::info!(component = name, "{name}.wasm was removed"),
    }
}
