//! A new version of a plugin that gets a part of the requests, and how it is judged.
//!
//! The old version and the new one are counted apart, and in the same time. What a version does in `n` requests is only
//! a sample of what it would do in all: its range is the Wilson interval of three standard deviations. A new version
//! that fails more often leaves the old one's range when its whole range lies above; one that refuses more or less often,
//! when its whole range lies outside. Whatever the old one does, it fails too often when that is surely more than half.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::chain::Watcher;
use crate::config::{Config, Part, Rollout};
use crate::metrics::{Metrics, Tally};
use crate::plugin::Plugin;

/// Requests that a new version sees before it is judged.
const VOLUME: u64 = 50;
/// Standard deviations to both sides. It is looked at four times a second, so chance must be very unlikely.
const DEVIATIONS: f64 = 3.0;

/// A new version of a plugin beside the old one.
pub(crate) struct Trial {
    pub(crate) plugin: Arc<Plugin>,
    pub(crate) rollout: Rollout,
    /// What it is called where it is counted: the plugin's name and its version.
    pub(crate) label: String,
    /// What had been counted of the old version when this one began.
    before: Tally,
    /// And of the new one, which may have been tried earlier.
    earlier: Tally,
    /// Where it only watches.
    pub(crate) watcher: Option<Arc<Watcher>>,
}

/// What is thought of a new version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It has not seen enough requests.
    Waiting,
    /// It does what the old one does.
    InRange,
    /// It does something more or less often, and what.
    OutOfRange(String),
}

impl Trial {
    /// # Errors
    /// The system has no thread for a version that watches.
    pub(crate) fn new<'a>(
        plugin: Arc<Plugin>,
        rollout: Rollout,
        metrics: &Metrics,
        routes: impl Iterator<Item = &'a str> + Clone,
    ) -> std::io::Result<Self> {
        let label = format!("{}@{}", plugin.name, plugin.component().version());
        let before = metrics.tally(&plugin.name, routes.clone());
        let earlier = metrics.tally(&label, routes);
        let watcher = match rollout {
            Rollout::Canary(_) => None,
            Rollout::Shadow => Some(Watcher::start(plugin.clone(), metrics, &label)?),
        };
        Ok(Self { before, earlier, label, plugin, rollout, watcher })
    }

    /// The routes whose chain a plugin is in.
    pub(crate) fn routes<'a>(config: &'a Config, plugin: &'a str) -> impl Iterator<Item = &'a str> + Clone {
        let uses = move |name: &String| name == plugin;
        config.routes.iter().filter(move |route| route.chain.iter().any(uses)).map(|route| &*route.name)
    }

    /// Whether it goes on with this.
    pub(crate) fn is(&self, plugin: &Arc<Plugin>, rollout: &Rollout) -> bool {
        Arc::ptr_eq(&self.plugin, plugin) && self.rollout == *rollout
    }

    /// What was counted of the old version and of the new one since it began.
    fn counts(&self, config: &Config, metrics: &Metrics) -> (Tally, Tally) {
        let routes = Self::routes(config, &self.plugin.name);
        let old = metrics.tally(&self.plugin.name, routes.clone()).since(self.before);
        (old, metrics.tally(&self.label, routes).since(self.earlier))
    }

    pub(crate) fn verdict(&self, config: &Config, metrics: &Metrics) -> Verdict {
        if self.watcher.is_some() {
            // Nobody is harmed by what it does.
            return Verdict::InRange;
        }
        let (old, new) = self.counts(config, metrics);
        verdict(old, new)
    }

    /// How a version that watches stands.
    fn compared(&self, watcher: &Watcher, metrics: &Metrics) -> Value {
        let component = self.plugin.component();
        let [same, different, failed, left_out] = metrics.compared(&self.plugin.name, component.version());
        json!({
            "sha256": component.sha256,
            "shadow": { "same": same, "different": different, "failed": failed, "left_out": left_out },
            "verdict": format!("the same in {same} of {} decisions", same + different + failed),
            "last_difference": watcher.last_difference(),
        })
    }

    /// How it stands, for operators.
    pub(crate) fn report(&self, config: &Config, metrics: &Metrics) -> Value {
        let part = match (&self.rollout, &self.watcher) {
            (_, Some(watcher)) => return self.compared(watcher, metrics),
            (Rollout::Canary(part), None) => part.canary,
            (Rollout::Shadow, None) => Part(0),
        };
        let (old, new) = self.counts(config, metrics);
        json!({
            "sha256": self.plugin.component().sha256,
            "canary": format!("{}%", f64::from(part.0) * 100.0 / f64::from(Part::ALL.0)),
            "old": old,
            "new": new,
            "verdict": match verdict(old, new) {
                Verdict::Waiting => format!("waiting for {VOLUME} requests"),
                Verdict::InRange => "in range".to_owned(),
                Verdict::OutOfRange(why) => why,
            },
        })
    }
}

fn verdict(old: Tally, new: Tally) -> Verdict {
    if new.requests < VOLUME {
        return Verdict::Waiting;
    }
    let differs = |what: &str, of: fn(&Tally) -> u64| {
        let (new_part, old_part) = (of(&new), of(&old));
        let (new, old) = (new.requests, old.requests);
        Verdict::OutOfRange(format!(
            "it {what} {new_part} of {new} requests, the version before it {old_part} of {old}"
        ))
    };
    let fails = range(new.failures, new.requests);
    if fails.0 > 0.5 || fails.0 > range(old.failures, old.requests).1 {
        return differs("fails", |tally| tally.failures);
    }
    let (refuses, refused) = (range(new.refusals, new.requests), range(old.refusals, old.requests));
    if refuses.0 > refused.1 || refuses.1 < refused.0 {
        return differs("refuses", |tally| tally.refusals);
    }
    Verdict::InRange
}

/// Between which parts what was seen `part` times in `of` may well lie (E. B. Wilson, 1927).
fn range(part: u64, of: u64) -> (f64, f64) {
    if of == 0 {
        return (0.0, 1.0);
    }
    // A request can fail in more than one hook.
    let (n, part) = (of as f64, part.min(of) as f64);
    let z2 = DEVIATIONS * DEVIATIONS;
    let middle = (part + z2 / 2.0) / (n + z2);
    let half = DEVIATIONS / (n + z2) * (part * (n - part) / n + z2 / 4.0).sqrt();
    ((middle - half).max(0.0), (middle + half).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(requests: u64, failures: u64, refusals: u64) -> Tally {
        Tally { requests, failures, refusals }
    }

    fn is_out(old: Tally, new: Tally) -> bool {
        matches!(verdict(old, new), Verdict::OutOfRange(_))
    }

    #[test]
    fn nothing_is_said_of_few_requests() {
        assert_eq!(verdict(tally(1000, 0, 0), tally(VOLUME - 1, VOLUME - 1, 0)), Verdict::Waiting);
        assert!(is_out(tally(1000, 0, 0), tally(VOLUME, VOLUME, 0)));
    }

    #[test]
    fn a_version_that_does_the_same_is_in_range() {
        for (old, new) in [
            (tally(1000, 0, 0), tally(50, 0, 0)),
            (tally(1000, 0, 0), tally(50, 1, 0)),
            (tally(1000, 100, 0), tally(50, 5, 0)),
            (tally(1000, 0, 300), tally(100, 0, 30)),
            (tally(1000, 0, 300), tally(100, 0, 40)),
            // It fails less often: nobody minds.
            (tally(1000, 900, 0), tally(500, 0, 0)),
            // Nothing to compare with.
            (tally(0, 0, 0), tally(500, 0, 500)),
        ] {
            assert_eq!(verdict(old, new), Verdict::InRange, "{old:?} {new:?}");
        }
    }

    #[test]
    fn a_version_that_does_something_else_is_out_of_range() {
        for (old, new) in [
            (tally(1000, 0, 0), tally(60, 6, 0)),
            (tally(1000, 100, 0), tally(100, 60, 0)),
            (tally(1000, 0, 0), tally(100, 0, 30)),
            (tally(1000, 0, 300), tally(200, 0, 150)),
            // It lets pass what the old one refused.
            (tally(1000, 0, 300), tally(100, 0, 0)),
            (tally(0, 0, 0), tally(100, 80, 0)),
        ] {
            assert!(is_out(old, new), "{old:?} {new:?}");
        }
    }

    #[test]
    fn ranges_hold_the_part_and_narrow_with_more_requests() {
        for of in [1, 10, 1000, u64::MAX / 2] {
            for part in [0, 1, of / 2, of, of + 1] {
                let (low, high) = range(part, of);
                let seen = part.min(of) as f64 / of as f64;
                assert!((0.0..=1.0).contains(&low) && low <= seen + 1e-9 && seen <= high + 1e-9 && high <= 1.0);
            }
        }
        let width = |of: u64| range(of / 2, of).1 - range(of / 2, of).0;
        assert!(width(1000) < width(100) && width(100) < width(10));
    }
}
