//! How versions that watch compare with those that serve.

use std::sync::Arc;

use prometheus_client::metrics::counter::Counter;

use super::{Metrics, RouteMetrics};

/// Decisions of a version that watches, in one route.
#[derive(Debug, Default)]
pub struct Shadowed(pub(super) [Counter; Compared::ALL.len()]);

/// What came of comparing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compared {
    /// It decided the same.
    Same,
    /// It decided something else. The rest of the pass is not compared.
    Different,
    /// It failed. The rest of the pass is not compared.
    Failed,
    /// A whole pass was not looked at: too much was waiting.
    LeftOut,
}

impl Compared {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Same, Self::Different, Self::Failed, Self::LeftOut];

    /// The word in labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Different => "different",
            Self::Failed => "failed",
            Self::LeftOut => "left-out",
        }
    }
}

impl Shadowed {
    /// Counts one.
    pub fn add(&self, compared: Compared) {
        self.0[compared as usize].inc();
    }
}

impl RouteMetrics {
    /// The decisions of a version that watches a plugin of this route, for its load.
    pub fn shadowed(&self, plugin: &str, version: &str) -> Arc<Shadowed> {
        self.shadows.find_or_make(&format!("{plugin}@{version}"))
    }
}

impl Metrics {
    /// The decisions of a version in all routes, by what came of comparing them, in the order of [`Compared::ALL`].
    pub fn compared(&self, plugin: &str, version: &str) -> [u64; Compared::ALL.len()] {
        let key = format!("{plugin}@{version}");
        let mut sums = [0; Compared::ALL.len()];
        for (_, route) in self.0.routes.alive() {
            for (_, shadowed) in route.shadows.alive().iter().filter(|(name, _)| **name == *key) {
                sums.iter_mut().zip(&shadowed.0).for_each(|(sum, count)| *sum += count.get());
            }
        }
        sums
    }
}
