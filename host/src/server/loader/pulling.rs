//! What is pulled from registries before a configuration is loaded.

use std::path::PathBuf;

use tokio::task::{LocalSet, spawn_local};

use crate::config::Config;
use crate::config::registry::wanted;
use crate::oci;
use crate::plugin::Library;

/// Pulls what plugins use and the library lacks, all at once. What does not come is an error where it is used.
pub(super) fn pull(library: &mut Library, runtime: &tokio::runtime::Runtime, config: &Config) {
    let mut all = wanted(&config.plugin, &config.registries);
    all.retain(|name, _| library.lacks(name));
    if all.is_empty() {
        return;
    }
    let folder = config.plugins.cache.as_ref().map(|cache| cache.join("tollgate-oci"));
    let outcomes = runtime.block_on(LocalSet::new().run_until(async move {
        let pull = |(name, (reference, registry)): (String, _)| {
            let folder: Option<PathBuf> = folder.clone();
            (name, spawn_local(async move { oci::pull(&reference, &registry, folder.as_deref()).await }))
        };
        let pulls: Vec<_> = all.into_iter().map(pull).collect();
        let mut outcomes = Vec::new();
        for (name, pull) in pulls {
            outcomes.push((name, pull.await));
        }
        outcomes
    }));
    for (name, outcome) in outcomes {
        // A panic there has been reported by then.
        let pulled = outcome.unwrap_or_else(|_| Err(oci::NotPulled("it could not be pulled".to_owned())));
        match &pulled {
            Ok(_) => tracing::info!(component = name, "the component of a registry is there"),
            Err(error) => tracing::error!(component = name, %error, "the component of a registry is not there"),
        }
        library.take_pulled(&name, pulled);
    }
}
