//! How a plugin did so far, in few numbers.

use serde::Serialize;

use super::{Metrics, PluginError, PluginMetrics};

/// What was counted of a plugin, in all routes together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Requests that it saw: calls of the hook that was called most.
    pub requests: u64,
    /// Of these, how often it trapped, took too long, or answered what no plugin may.
    pub failures: u64,
    /// Of these, how often it refused.
    pub refusals: u64,
}

impl Tally {
    /// What was counted after `earlier`.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            requests: self.requests.saturating_sub(earlier.requests),
            failures: self.failures.saturating_sub(earlier.failures),
            refusals: self.refusals.saturating_sub(earlier.refusals),
        }
    }
}

impl Metrics {
    /// What was counted of a plugin in these routes, by the name that it has in them.
    pub fn tally<'a>(&self, plugin: &str, routes: impl Iterator<Item = &'a str>) -> Tally {
        routes.fold(Tally::default(), |sum, route| {
            let one = self.route(route).plugin(plugin).tally();
            Tally {
                requests: sum.requests + one.requests,
                failures: sum.failures + one.failures,
                refusals: sum.refusals + one.refusals,
            }
        })
    }
}

impl PluginMetrics {
    fn tally(&self) -> Tally {
        // What had no place says something of the load, not of the plugin.
        let own = PluginError::ALL.iter().filter(|kind| **kind != PluginError::Overload);
        // Which is no call of a hook, but a request that came to grief by it.
        let paused = self.errors[PluginError::Paused as usize].get();
        Tally {
            requests: self.calls.iter().map(|calls| calls.count()).max().unwrap_or_default() + paused,
            failures: own.map(|kind| self.errors[*kind as usize].get()).sum(),
            refusals: self.refusals.get(),
        }
    }
}
