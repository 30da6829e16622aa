//! An upstream as it was checked at load: part of the snapshot, shared by the workers.

use std::sync::{Arc, OnceLock};

use tokio::time::Instant;

use super::affinity::Sticky;
use super::background::Task;
use super::breaker::{Breaker, Pass, State as BreakerState};
use super::health::{Health, State};
use super::known::{Known, Shared};
use super::{check, known};
use crate::config;
use crate::connect::dns::Resolver;
use crate::connect::{Counts, Trust, Use, server_name};
use crate::metrics::UpstreamMetrics;
use crate::pem::PemError;

/// See the module.
#[derive(Debug)]
pub struct Prepared {
    pub(super) config: config::Upstream,
    /// Read only where an endpoint has TLS.
    pub(super) trust: Option<Trust>,
    resolver: Resolver,
    shared: Arc<Shared>,
    /// In the order of the endpoints.
    pub(super) health: Vec<Arc<Health>>,
    pub(super) sticky: Option<Sticky>,
    pub(super) metrics: Arc<UpstreamMetrics>,
    /// They stop with the last snapshot that has this upstream.
    tasks: OnceLock<Vec<Task>>,
}

impl Prepared {
    /// Reads what TLS endpoints are verified by and shown, unless it is given, and finds what is known of an upstream of
    /// this name.
    ///
    /// # Errors
    /// Roots or a certificate that cannot be read, or an endpoint whose name no certificate can be for.
    pub fn load(
        config: config::Upstream,
        known: &Known,
        resolver: &Resolver,
        trust: Option<&Trust>,
    ) -> Result<Self, PemError> {
        let trust = match config.endpoints().find(|endpoint| endpoint.tls) {
            None => None,
            Some(_) => Some(trust.cloned().map_or_else(|| Trust::load(&config.tls), Ok)?),
        };
        if config.tls.name.is_none() {
            config.endpoints().filter(|endpoint| endpoint.tls).try_for_each(|it| server_name(it).map(drop))?;
        }
        let known::Found { shared, health, metrics } = known.find(&config);
        let sticky = config.sticky.as_ref().map(|sticky| Sticky::new(sticky, &config.name, &config.endpoints));
        let resolver = resolver.clone();
        Ok(Self { config, trust, resolver, shared, health, sticky, metrics, tasks: OnceLock::new() })
    }

    /// What the operator wrote.
    #[must_use]
    pub fn config(&self) -> &config::Upstream {
        &self.config
    }

    /// What TLS endpoints are verified by and shown, where there are any.
    pub(crate) fn trust(&self) -> Option<&Trust> {
        self.trust.as_ref()
    }

    /// Begins to serve: checks go on from now until this is dropped, and what an older configuration left is cleared.
    pub fn start(self: &Arc<Self>, known: &Known) {
        let now = self.at(Instant::now());
        if self.config.breaker.is_none() {
            self.shared.breaker().forget();
        }
        if self.config.health.is_none() {
            for health in &self.health {
                health.set_down(false, now);
            }
        }
        self.tasks.get_or_init(|| {
            let background = |task| known.background().spawn(task);
            let check = |config: &config::HealthCheck| {
                let check = |place| background(check::run(Arc::downgrade(self), place, config.clone()));
                (0..self.health.len()).map(check).collect::<Vec<_>>()
            };
            let mut tasks = self.config.health.as_ref().map(check).unwrap_or_default();
            for service in &self.config.services {
                tasks.push(known.background().spawn(known.services().watch(service, &self.resolver)));
            }
            tasks
        });
        self.show();
    }

    /// How connections to an endpoint are used.
    pub(super) fn used(&self, health: &Health) -> Use<'_> {
        let Self { config, trust, metrics, resolver, .. } = self;
        let counts = Counts { endpoint: health.connections.clone(), upstream: metrics.clone() };
        let (connections, resolve) = (config.connections, config.resolve);
        let (trust, counts, protocol) = (trust.as_ref(), Some(counts), config.protocol);
        let proxy_protocol = config.proxy_protocol;
        Use { trust, connections, resolver: Some(resolver), resolve, counts, protocol, proxy_protocol }
    }

    /// A moment on the upstream's clock.
    pub(super) fn at(&self, moment: Instant) -> u64 {
        self.shared.clock().at(moment)
    }

    pub(super) fn breaker(&self) -> &Breaker {
        self.shared.breaker()
    }

    /// Takes how a request to an endpoint ended. One endpoint alone is never ejected, so nothing is counted of it.
    pub(super) fn request_ended(&self, place: usize, failed: bool, now: Instant) {
        let health = &self.health[place];
        if self.health.len() > 1 && health.request_ended(&self.config.ejection, failed, self.at(now)) {
            self.eject(place, now);
        }
    }

    /// Takes how the one request ended that decides about an endpoint.
    pub(super) fn probe_ended(&self, place: usize, failed: bool, now: Instant) {
        if !failed {
            return self.readmit(place, now);
        }
        let time = self.health[place].eject(&self.config.ejection, self.at(now));
        self.metrics.ejected();
        tracing::warn!(
            upstream = self.config.name,
            endpoint = self.address(place),
            ?time,
            "still fails, ejected again"
        );
        self.show();
    }

    fn eject(&self, place: usize, now: Instant) {
        let ejection = &self.config.ejection;
        // Two at once must not take the last two for each other's spare.
        let _one_at_a_time = self.shared.change();
        let others = || self.health.iter().enumerate().filter(|(other, _)| *other != place).map(|(_, health)| health);
        let ejected = others().filter(|other| matches!(other.state(), State::Ejected | State::Probed)).count();
        let up = others().any(|other| other.state() == State::Up);
        let most = (self.health.len() * ejection.most as usize / 100).max(1);
        if !up || ejected >= most || self.health[place].state() != State::Up {
            return;
        }
        let time = self.health[place].eject(ejection, self.at(now));
        self.metrics.ejected();
        tracing::warn!(upstream = self.config.name, endpoint = self.address(place), ?time, "fails, ejected");
        self.show();
    }

    /// Gives an endpoint requests again, whatever became of those before.
    pub(super) fn readmit(&self, place: usize, now: Instant) {
        if self.health[place].readmit(self.at(now)) {
            tracing::info!(upstream = self.config.name, endpoint = self.address(place), "gets requests again");
            self.show();
        }
    }

    /// Takes what the checks of an endpoint have come to.
    pub(super) fn checked(&self, place: usize, down: bool, why: &str, now: Instant) {
        if self.health[place].set_down(down, self.at(now)) {
            if down {
                tracing::warn!(upstream = self.config.name, endpoint = self.address(place), why, "its checks fail");
            } else {
                tracing::info!(upstream = self.config.name, endpoint = self.address(place), "its checks succeed");
            }
            self.show();
        }
    }

    /// Takes how a request ended that the breaker let pass.
    pub(super) fn breaker_ended(&self, pass: Pass, failed: bool, now: Instant) {
        let Some(config) = &self.config.breaker else { return };
        let Some(state) = self.shared.breaker().ended(config, pass, failed, self.at(now)) else { return };
        match state {
            BreakerState::Open { .. } => {
                self.metrics.breaker_opened();
                tracing::warn!(upstream = self.config.name, "too many requests fail: the breaker is open");
            }
            _ => tracing::info!(upstream = self.config.name, "the breaker is closed again"),
        }
    }

    fn address(&self, place: usize) -> String {
        self.config.endpoints[place].endpoint.address()
    }

    /// Shows how many endpoints are in which state.
    fn show(&self) {
        let count = |of: fn(State) -> bool| self.health.iter().filter(|health| of(health.state())).count();
        self.metrics.show_endpoints([
            count(|state| state == State::Up),
            count(|state| matches!(state, State::Ejected | State::Probed)),
            count(|state| state == State::Down),
        ]);
    }
}
