//! What is looked at while the proxy runs, and what is done when it has changed: files of the configuration, certificates,
//! plugins, and the endpoints of services.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Loader;
use super::trying::{is_tried_first, note, outcome, try_out, users};
use super::watched::stamps;
use crate::config::{self, Problems};
use crate::metrics::RolloutEvent;
use crate::plugin::{self, Plugin};
use crate::proxy::Snapshot;
use crate::server::tls;

impl Loader {
    /// Reloads when a file of the configuration has changed, and has stopped changing.
    pub(super) fn watch(&mut self) {
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
    pub(super) fn watch_identity(&mut self) {
        if !self.identity.has_settled() {
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

    /// The same for what upstreams are verified by and shown. Connections that are there go on; new ones are made with
    /// what the files say now.
    pub(super) fn watch_trust(&mut self) {
        if !self.trust.has_settled() {
            return;
        }
        let (snapshot, errors) = self.snapshot.trusting_again(&self.foundation);
        for (upstream, error) in errors {
            tracing::error!(upstream, "the roots or the certificate are refused, and the last ones go on: {error}");
        }
        self.snapshot = Arc::new(snapshot);
        self.install();
        self.show_again();
        tracing::info!("roots and certificates of upstreams were read again");
    }

    /// Tries what changed in the plugins directory: configured for every plugin that uses it, and only then swapped.
    pub(super) fn look(&mut self) {
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
        self.show_again();
    }

    /// Serves what the library has now of a component. False where that cannot be, which the log has then.
    pub(super) fn swap(&mut self, component: &str, tried: &BTreeMap<String, Arc<Plugin>>) -> bool {
        match self.build_again(tried) {
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
                    let watches = self.snapshot.trials.values().all(|trial| trial.watcher.is_some());
                    let what = if watches { "watches" } else { "gets a part of the requests" };
                    tracing::info!(component, "the new version {what}");
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
    pub(super) fn follow_services(&mut self) {
        if !self.foundation.upstreams.services().have_changed() {
            return;
        }
        match self.build_again(&BTreeMap::new()) {
            Ok(snapshot) => {
                self.snapshot = Arc::new(snapshot);
                self.install();
                self.show_again();
                tracing::info!("services have other endpoints now");
            }
            Err(problems) => tracing::error!("the endpoints of services do not serve:\n{problems}"),
        }
    }

    /// What the configuration that serves makes of the components and endpoints that there are now.
    fn build_again(&mut self, tried: &BTreeMap<String, Arc<Plugin>>) -> Result<Snapshot, Problems> {
        let config = self.snapshot.config.clone();
        let build = Snapshot::build(config, &mut self.library, &self.foundation, tried, Some(&self.snapshot));
        self.runtime.block_on(build)
    }
}
