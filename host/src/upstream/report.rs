//! How an upstream stands, for operators.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use serde::Serialize;
use tokio::time::Instant;

use super::balance::WHOLE;
use super::health::Health;
use super::prepared::Prepared;
use crate::config::{Balance, Member};

/// One upstream in `/state`.
#[derive(Debug, Serialize)]
pub struct Report {
    name: String,
    balance: &'static str,
    /// `closed`, `open` or `half-open`; none where there is no breaker.
    breaker: Option<&'static str>,
    endpoints: Vec<EndpointReport>,
}

#[derive(Debug, Serialize)]
struct EndpointReport {
    address: String,
    weight: u32,
    priority: i32,
    /// `up`, `ejected`, `probed` or `down`.
    state: &'static str,
    /// Open connections of all workers.
    connections: usize,
    /// The part of its weight that a slow start has come to, in percent.
    warmth: u64,
}

impl Prepared {
    /// How it stands now.
    #[must_use]
    pub fn report(&self) -> Report {
        let now = self.at(Instant::now());
        let endpoint = |(Member { endpoint, weight, priority }, health): (&Member, &Arc<Health>)| {
            let address = endpoint.address();
            let warmth = health.warmth(now, self.config.slow_start) * 100 / WHOLE;
            EndpointReport {
                address,
                weight: weight.get(),
                priority: *priority,
                state: health.state().as_str(),
                connections: health.connections.load(Relaxed),
                warmth,
            }
        };
        Report {
            name: self.config.name.clone(),
            balance: match self.config.balance {
                Balance::LeastRequest => "least-request",
                Balance::RoundRobin => "round-robin",
                Balance::PeakEwma => "peak-ewma",
                Balance::ConsistentHash(_) => "consistent-hash",
            },
            breaker: self.config.breaker.as_ref().map(|_| self.breaker().state().as_str()),
            endpoints: self.config.endpoints.iter().zip(&self.health).map(endpoint).collect(),
        }
    }
}
