//! `Upstream::send`: pick, connect, send, time out, retry.

mod affinity;
mod balance;
mod health;
mod known;
mod latency;
mod report;

use std::rc::Rc;
use std::sync::Arc;

use http::{Request, Response, header};
use tokio::time::Instant;

use crate::body::Body;
use crate::config::{self, Balance, Endpoint};
use crate::connect::{Connector, Target, Trust, server_name};
use crate::error::{Error, Reason};
use crate::pem::PemError;

pub use crate::connect::Record;
pub use affinity::Asking;
pub use known::Known;
pub use report::Report;

use affinity::Sticky;
use balance::{Balancer, Random, Sight};
use health::Health;
use known::Shared;
use latency::Latency;

/// An upstream as it was checked at load: part of the snapshot, shared by the workers.
#[derive(Debug)]
pub struct Prepared {
    config: config::Upstream,
    /// Read only where an endpoint has TLS.
    trust: Option<Trust>,
    shared: Arc<Shared>,
    /// In the order of the endpoints.
    health: Vec<Arc<Health>>,
    sticky: Option<Sticky>,
}

impl Prepared {
    /// Reads what TLS endpoints are verified by, and finds what is known of an upstream of this name.
    ///
    /// # Errors
    /// Roots that cannot be read, or an endpoint whose name no certificate can be for.
    pub fn load(config: config::Upstream, known: &Known) -> Result<Self, PemError> {
        let trust = match config.endpoints().find(|endpoint| endpoint.tls) {
            None => None,
            Some(_) => Some(Trust::load(&config.tls)?),
        };
        if config.tls.name.is_none() {
            config.endpoints().filter(|endpoint| endpoint.tls).try_for_each(|it| server_name(it).map(drop))?;
        }
        let (shared, health) = known.find(&config);
        let sticky = config.sticky.as_ref().map(|sticky| Sticky::new(sticky, &config.name, &config.endpoints));
        Ok(Self { config, trust, shared, health, sticky })
    }

    /// What the operator wrote.
    #[must_use]
    pub fn config(&self) -> &config::Upstream {
        &self.config
    }
}

/// A worker's side of an upstream: its connections, and which endpoint is next.
#[derive(Debug)]
pub struct Upstream {
    prepared: Arc<Prepared>,
    /// In the order of the endpoints.
    peers: Vec<Peer>,
    balancer: Balancer,
}

/// A worker's side of an endpoint.
#[derive(Debug)]
struct Peer {
    target: Rc<Target>,
    latency: Latency,
}

impl Upstream {
    /// Takes over the connections that `connector` already has to the same endpoints.
    #[must_use]
    pub fn new(prepared: Arc<Prepared>, connector: &Connector) -> Self {
        let config = &prepared.config;
        let peer = |endpoint: &Endpoint| Peer {
            target: connector.target(endpoint, prepared.trust.as_ref(), config.idle_connections),
            latency: Latency::new(),
        };
        let peers = config.endpoints().map(peer).collect();
        let balancer = Balancer::new(&config.balance, &config.endpoints, Random::new());
        Self { prepared, peers, balancer }
    }

    /// What the operator wrote.
    #[must_use]
    pub fn config(&self) -> &config::Upstream {
        &self.prepared.config
    }

    /// The endpoint at a place that a [`Record`] speaks of.
    #[must_use]
    pub fn endpoint(&self, place: usize) -> Option<&Endpoint> {
        self.prepared.config.endpoints.get(place).map(|member| &member.endpoint)
    }

    /// Sends a request and waits for the head of the response; its body comes as it is read.
    ///
    /// The request's path and query are sent as they are, its headers too, apart from what says where the body ends and,
    /// unless the upstream is to see the client's, `Host`. One endpoint that cannot be reached gives the request to
    /// another, each at most once: as long as nothing was sent, that is safe for every method. The response has our
    /// version of HTTP, and a `Content-Length` only where it is true.
    ///
    /// # Errors
    /// What happened at the last endpoint that was asked.
    pub async fn send(
        &self,
        request: Request<Body>,
        asking: Asking,
        record: &mut Record,
    ) -> Result<Response<Body>, Error> {
        let begun = asking.begun;
        let config = &self.prepared.config;
        let wish = self.wish(&request, asking);
        let mut request = Some(request);
        let mut asked = Asked::default();
        let mut outcome = Err(Error::new(Reason::UpstreamUnavailable));
        while let Some(place) = self.pick(&wish, &asked, begun) {
            let Peer { target, latency } = &self.peers[place];
            if let Some(request) = request.as_mut().filter(|_| !config.preserve_host) {
                request.headers_mut().insert(header::HOST, target.endpoint().authority.clone());
            }
            record.endpoint = Some(place);
            record.asked += 1;
            outcome = target.send(&mut request, &config.timeouts, begun, record).await;
            if let (Balance::PeakEwma, Some(took)) = (&config.balance, record.head) {
                latency.measured(took, begun + took);
            }
            if outcome.is_ok() || request.is_none() || begun.elapsed() >= config.timeouts.total {
                break;
            }
            asked.add(place);
        }
        if let (Ok(response), Some(sticky), Some(place)) = (&mut outcome, &self.prepared.sticky, record.endpoint)
            && wish.place != Some(place)
        {
            sticky.set(response.headers_mut(), place, asking.secure);
        }
        outcome
    }

    /// Where a request would like to go.
    fn wish(&self, request: &Request<Body>, asking: Asking) -> Wish {
        let Prepared { config, sticky, .. } = &*self.prepared;
        let place = sticky.as_ref().and_then(|sticky| sticky.place(request.headers()));
        let key = match &config.balance {
            Balance::ConsistentHash(by) => affinity::key(by, request.uri(), request.headers(), asking),
            _ => None,
        };
        Wish { place, key }
    }

    fn pick(&self, wish: &Wish, asked: &Asked, now: Instant) -> Option<usize> {
        let sight = Sighting { upstream: self, asked, now };
        match wish.place {
            Some(place) if sight.is_open(place) => Some(place),
            _ => self.balancer.pick(wish.key, &sight),
        }
    }
}

/// Where a request would like to go.
struct Wish {
    /// By its cookie.
    place: Option<usize>,
    /// By its hash.
    key: Option<u64>,
}

/// The places of endpoints that were asked in vain.
#[derive(Default)]
struct Asked(Vec<usize>);

impl Asked {
    fn add(&mut self, place: usize) {
        self.0.push(place);
    }
}

/// The endpoints as they are while one is picked.
struct Sighting<'a> {
    upstream: &'a Upstream,
    asked: &'a Asked,
    now: Instant,
}

impl Sight for Sighting<'_> {
    fn is_open(&self, place: usize) -> bool {
        !self.asked.0.contains(&place)
    }

    fn busy(&self, place: usize) -> u64 {
        self.upstream.peers[place].target.busy() as u64
    }

    fn warmth(&self, place: usize) -> u64 {
        let Prepared { config, shared, health, .. } = &*self.upstream.prepared;
        health[place].warmth(shared.clock().at(self.now), config.slow_start)
    }

    fn latency(&self, place: usize) -> f64 {
        self.upstream.peers[place].latency.expected(self.now)
    }
}

#[cfg(test)]
mod tests;
