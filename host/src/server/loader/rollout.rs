//! What becomes of new versions that get a part of the requests.

use std::collections::BTreeMap;

use super::{Decision, Loader};
use crate::metrics::RolloutEvent;
use crate::proxy::Verdict;

impl Loader {
    /// Rolls back what leaves the range of the version before it.
    pub(super) fn judge(&mut self) {
        let (config, metrics) = (&self.snapshot.config, &self.foundation.metrics);
        let verdicts: Vec<_> = self
            .snapshot
            .trials
            .values()
            .filter_map(|trial| match trial.verdict(config, metrics) {
                Verdict::OutOfRange(why) => Some((trial.plugin.clone(), why)),
                Verdict::Waiting | Verdict::InRange => None,
            })
            .collect();
        for (plugin, why) in verdicts {
            let component = plugin.component().name.clone();
            let version = plugin.component().version();
            if self.library.roll_back(&component, &format!("in the plugin `{}`, {why}", plugin.name)) {
                tracing::error!(component = &*component, version, plugin = &*plugin.name, "rolled back: {why}");
                self.settle_rollout(&component, RolloutEvent::RolledBack);
            }
        }
    }

    /// Does what an operator decides, for a plugin and all others that use its component. The answer is for people.
    pub(super) fn decide(&mut self, name: &str, decision: Decision) -> Result<String, String> {
        let Some(spec) = self.snapshot.config.plugin.get(name) else {
            return Err(format!("there is no plugin `{name}`"));
        };
        let component = spec.component.clone();
        let (done, event) = match decision {
            Decision::Promote => (self.library.promote(&component), RolloutEvent::Promoted),
            Decision::RollBack => (self.library.roll_back(&component, "an operator said so"), RolloutEvent::RolledBack),
        };
        if !done {
            return Err(match decision {
                Decision::Promote => format!("no new version of `{component}` waits to be promoted"),
                Decision::RollBack => format!("there is no other version of `{component}` to go back to"),
            });
        }
        if !self.settle_rollout(&component, event) {
            return Err(format!("{component} cannot be replaced just now: the log says why"));
        }
        let version = self.library.serving(&component).map(|serving| serving.version().to_owned()).unwrap_or_default();
        tracing::info!(component, version, event = event.as_str(), "an operator decided");
        Ok(format!("{component}: {version} serves all requests"))
    }

    fn settle_rollout(&mut self, component: &str, event: RolloutEvent) -> bool {
        self.foundation.metrics.rollout(component, event);
        let swapped = self.swap(component, &BTreeMap::new());
        self.show_again();
        swapped
    }
}
