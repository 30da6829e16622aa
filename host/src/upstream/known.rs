//! What is known about upstreams and outlives a reload, by their names.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use tokio::time::Instant;

use super::background::Background;
use super::breaker::Breaker;
use super::health::Health;
use super::services::Services;
use crate::config::{self, Endpoint};
use crate::metrics::{Metrics, UpstreamMetrics};

/// The upstreams of all configurations that serve. Looked into at load, never while a request waits.
#[derive(Default)]
pub struct Known {
    upstreams: Mutex<HashMap<String, Weak<Shared>>>,
    metrics: Metrics,
    background: OnceLock<Background>,
    services: Services,
}

/// What workers share about one upstream.
#[derive(Debug)]
pub(super) struct Shared {
    clock: Clock,
    endpoints: Mutex<HashMap<Endpoint, Weak<Health>>>,
    breaker: Breaker,
    change: Mutex<()>,
}

/// What is known of an upstream.
pub(super) struct Found {
    pub(super) shared: Arc<Shared>,
    /// In the order of the endpoints.
    pub(super) health: Vec<Arc<Health>>,
    pub(super) metrics: Arc<UpstreamMetrics>,
}

/// Milliseconds since this upstream was known first, so that a moment fits into an atomic number. Never 0.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock(Instant);

impl Known {
    /// Counts there.
    #[must_use]
    pub fn new(metrics: Metrics) -> Self {
        Self { metrics, ..Self::default() }
    }

    /// The upstream with this name: as it is known already, or new.
    pub(super) fn find(&self, config: &config::Upstream) -> Found {
        let mut upstreams = self.upstreams.lock().unwrap_or_else(PoisonError::into_inner);
        upstreams.retain(|_, shared| shared.strong_count() > 0);
        let known = upstreams.get(&config.name).and_then(Weak::upgrade);
        // All endpoints of a new upstream begin together, and none has to take over slowly from another.
        let is_new = known.is_none();
        let shared = known.unwrap_or_else(|| {
            let shared = Arc::new(Shared {
                clock: Clock(Instant::now()),
                endpoints: Mutex::default(),
                breaker: Breaker::default(),
                change: Mutex::default(),
            });
            upstreams.insert(config.name.clone(), Arc::downgrade(&shared));
            shared
        });
        let health = config.endpoints().map(|endpoint| shared.endpoint(endpoint, is_new)).collect();
        Found { shared, health, metrics: self.metrics.upstream(&config.name) }
    }

    /// The endpoints of services.
    pub fn services(&self) -> &Services {
        &self.services
    }

    /// The thread for checks, which exists from the first one on.
    pub(super) fn background(&self) -> &Background {
        self.background.get_or_init(Background::start)
    }
}

impl Shared {
    fn endpoint(&self, endpoint: &Endpoint, upstream_is_new: bool) -> Arc<Health> {
        let mut endpoints = self.endpoints.lock().unwrap_or_else(PoisonError::into_inner);
        endpoints.retain(|_, health| health.strong_count() > 0);
        if let Some(health) = endpoints.get(endpoint).and_then(Weak::upgrade) {
            return health;
        }
        let since = if upstream_is_new { 0 } else { self.clock.at(Instant::now()) };
        let health = Arc::new(Health::new(since));
        endpoints.insert(endpoint.clone(), Arc::downgrade(&health));
        health
    }

    pub(super) fn breaker(&self) -> &Breaker {
        &self.breaker
    }

    /// Held while one endpoint is ejected.
    pub(super) fn change(&self) -> MutexGuard<'_, ()> {
        self.change.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn clock(&self) -> Clock {
        self.clock
    }
}

impl Clock {
    pub(super) fn at(self, moment: Instant) -> u64 {
        u64::try_from(moment.saturating_duration_since(self.0).as_millis()).unwrap_or(u64::MAX - 1) + 1
    }
}

impl fmt::Debug for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let upstreams = self.upstreams.lock().unwrap_or_else(PoisonError::into_inner);
        f.debug_set().entries(upstreams.keys()).finish()
    }
}
