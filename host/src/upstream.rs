//! `Upstream::send`: pick, connect, send, time out, retry.

mod affinity;
mod background;
mod balance;
mod breaker;
mod check;
mod health;
mod known;
mod latency;
mod prepared;
mod report;
mod retry;
mod services;
mod visit;
mod window;

use std::num::NonZeroUsize;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use tokio::time::{Instant, sleep, timeout_at};

use crate::body::Body;
use crate::config::{self, Balance, Endpoint, HashKey};
use crate::connect::{self, Connector, Outbound, Target, Times, is_idempotent};
use crate::deadline::after;
use crate::error::{Error, Reason};
use crate::headers;
use crate::random::Random;

pub use crate::connect::Record;
pub use affinity::Asking;
pub(crate) use affinity::key;
pub use known::Known;
pub use prepared::Prepared;
pub use report::Report;
pub use services::Services;

use balance::{Balancer, Sight};
use health::{Health, State};
use latency::Latency;
use retry::{Budget, Failed, Next, Tries};
use visit::{Entered, Visit};

/// A worker's side of an upstream: its connections, and which endpoint is next.
#[derive(Debug)]
pub struct Upstream {
    prepared: Arc<Prepared>,
    /// In the order of the endpoints.
    peers: Vec<Peer>,
    balancer: Balancer,
    budget: Budget,
    random: Random,
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
    pub fn new(prepared: Arc<Prepared>, connector: &Connector, workers: NonZeroUsize) -> Self {
        let config = &prepared.config;
        let peer = |(endpoint, health): (&Endpoint, &Arc<Health>)| Peer {
            target: connector.target(endpoint, &prepared.used(health)),
            latency: Latency::new(),
        };
        let peers = config.endpoints().zip(&prepared.health).map(peer).collect();
        let balancer = Balancer::new(&config.balance, &config.endpoints, Random::new());
        let budget = Budget::new(u32::try_from(workers.get()).unwrap_or(u32::MAX), Instant::now());
        Self { prepared, peers, balancer, budget, random: Random::new() }
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
    /// unless the upstream is to see the client's, `Host`. Endpoints that cannot be reached give the request to another:
    /// as long as nothing was sent, that is safe for every method. Other failures are tried again where the method
    /// allows it, the body is whole, and the budget lasts. The response has our version of HTTP, and a
    /// `Content-Length` only where it is true.
    ///
    /// # Errors
    /// What happened at the last endpoint that was asked.
    pub async fn send(
        &self,
        request: &mut Outbound<'_>,
        asking: &Asking,
        record: &mut Record,
    ) -> Result<Response<Body>, Error> {
        let begun = asking.begun;
        self.budget.request(begun);
        let config = &self.prepared.config;
        let entered = Entered::new(&self.prepared, begun)?;
        let mut now = begun;
        if matches!(config.balance, Balance::ConsistentHash(HashKey::Header(_))) {
            // It may be one that we add.
            request.settle();
        }
        if config.proxy_protocol.is_some() {
            request.set_source(asking.source);
        }
        let wish = self.wish(request.request(), asking);
        let harmless = is_idempotent(request.request().method());
        let comes_once = matches!(request.request().body(), Body::Told(_) | Body::Stream(_));
        if harmless && config.retries.attempts > 0 && comes_once {
            Box::pin(self.gather(request.request_mut().body_mut(), begun)).await?;
            now = Instant::now();
        }
        let mut asked = Asked::default();
        let mut tries = Tries::default();
        let call = call_time(request.request()).map(|time| after(begun, time));
        let total = after(begun, config.timeouts.total).min(call.unwrap_or_else(|| after(begun, Duration::MAX)));
        loop {
            let Some((place, probe)) = self.pick(&wish, &asked, now, harmless) else {
                return Err(Reason::UpstreamUnavailable.into());
            };
            let visit = Visit::new(&self.prepared, place, probe);
            let Peer { target, latency } = &self.peers[place];
            if !config.preserve_host {
                request.set_host(target.endpoint().authority.clone());
            }
            record.endpoint = Some(place);
            record.asked += 1;
            let head_by = config.timeouts.once.map(|once| after(now, once));
            let times = Times { begun: now, total, head_by, call };
            let outcome = target.send(request, &config.timeouts, &times, record).await;
            if let (Balance::PeakEwma, Some(took)) = (&config.balance, record.head) {
                latency.measured(took, now + took);
            }
            let verdict = visit::verdict(&outcome);
            if verdict == Some(true) {
                now = Instant::now();
            }
            visit.ended(verdict, now);
            let failed = match &outcome {
                Ok(response) if !config.retries.statuses.contains(&response.status()) => None,
                Ok(response) => Some(Failed::Answered(response.headers())),
                Err(connect::Failed { unsent: true, error }) if *error.reason() == Reason::UpstreamUnavailable => {
                    Some(Failed::Full)
                }
                Err(connect::Failed { unsent: true, .. }) => Some(Failed::Unsent),
                Err(connect::Failed { error, .. }) => Some(Failed::Silent(error.reason())),
            };
            if let (Some(failed), true) = (failed, request.is_whole()) {
                asked.add(place);
                let elsewhere = self.is_elsewhere(&asked, now);
                let harmless = harmless && !entered.decides();
                let wait = match tries.next(&failed, harmless, elsewhere, (&config.retries, &self.budget, &self.random))
                {
                    Next::Elsewhere => Some(Duration::ZERO),
                    Next::Again(wait) => {
                        record.retries += 1;
                        self.prepared.metrics.retried();
                        Some(wait)
                    }
                    Next::Denied => {
                        self.prepared.metrics.retry_denied();
                        None
                    }
                    Next::Over => None,
                };
                if let Some(wait) = wait.filter(|wait| after(now, *wait) < total) {
                    if !wait.is_zero() {
                        // What was answered is of no use any more, and must not keep a connection meanwhile.
                        drop(outcome);
                        sleep(wait).await;
                        now = Instant::now();
                    }
                    if !elsewhere {
                        asked = Asked::default();
                    }
                    continue;
                }
            }
            entered.ended(verdict, now);
            let mut response = outcome.map_err(|failed| failed.error)?;
            if let Some(sticky) = self.prepared.sticky.as_ref().filter(|_| wish.place != Some(place)) {
                sticky.set(response.headers_mut(), place, asking.secure);
            }
            return Ok(response);
        }
    }

    /// Waits for the body of a request that may be repeated, so that it can be.
    async fn gather(&self, body: &mut Body, begun: Instant) -> Result<(), Error> {
        let config = &self.prepared.config;
        let whole = std::mem::take(body).gather(config.retries.body);
        let gathered = timeout_at(after(begun, config.timeouts.total), whole).await;
        *body = gathered.map_err(|_| Reason::TotalTimeout)?.map_err(|error| error.of_request())?;
        Ok(())
    }

    /// Where a request would like to go.
    fn wish(&self, request: &Request<Body>, asking: &Asking) -> Wish {
        let Prepared { config, sticky, .. } = &*self.prepared;
        let place = sticky.as_ref().and_then(|sticky| sticky.place(request.headers()));
        let key = match &config.balance {
            Balance::ConsistentHash(by) => key(by, request.uri(), request.headers(), asking),
            _ => None,
        };
        Wish { place, key }
    }

    /// The endpoint that is asked next, and whether this request decides if it gets others again.
    fn pick(&self, wish: &Wish, asked: &Asked, now: Instant, harmless: bool) -> Option<(usize, bool)> {
        if self.peers.len() > 1
            && let Some(place) = self.due(asked, now, harmless)
        {
            return Some((place, true));
        }
        let mut sight = Sighting { upstream: self, asked, now, worst: State::Up };
        let mut pick = |worst| {
            sight.worst = worst;
            match wish.place {
                Some(place) if sight.is_open(place) => Some(place),
                _ => self.balancer.pick(wish.key, &sight),
            }
        };
        // Where the checks of all the others fail, those that are ejected are all that there is.
        let picked = pick(State::Up).or_else(|| pick(State::Ejected));
        let picked = picked.or_else(|| if self.prepared.config.try_all_when_down { pick(State::Down) } else { None });
        picked.map(|place| (place, false))
    }

    /// An endpoint whose ejection is over. It is asked once before it gets more, rather with a request that may be
    /// repeated; one that may not is taken when none of the others has come for as long as a first ejection lasts.
    fn due(&self, asked: &Asked, now: Instant, harmless: bool) -> Option<usize> {
        let Prepared { config, health, .. } = &*self.prepared;
        let due = |place: &usize| {
            if health[*place].state() != State::Ejected || asked.0.contains(place) {
                return false;
            }
            let late = if harmless { now } else { now.checked_sub(config.ejection.time).unwrap_or(now) };
            health[*place].probe(self.prepared.at(late))
        };
        (0..health.len()).find(due)
    }

    /// Whether there is an endpoint that was not asked yet.
    fn is_elsewhere(&self, asked: &Asked, now: Instant) -> bool {
        let sight = Sighting { upstream: self, asked, now, worst: State::Up };
        (0..self.peers.len()).any(|place| sight.is_open(place))
    }
}

/// How long a client of gRPC waits for the end of its call. Calls have a body.
fn call_time(request: &Request<Body>) -> Option<Duration> {
    if matches!(request.body(), Body::Empty) { None } else { headers::grpc_timeout(request.headers()) }
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
    /// How bad it may be to be picked.
    worst: State,
}

impl Sight for Sighting<'_> {
    fn is_open(&self, place: usize) -> bool {
        let fit = match self.upstream.prepared.health[place].state() {
            State::Up => true,
            State::Ejected | State::Probed => self.worst != State::Up,
            State::Down => self.worst == State::Down,
        };
        fit && !self.asked.0.contains(&place)
    }

    fn busy(&self, place: usize) -> u64 {
        self.upstream.peers[place].target.busy() as u64
    }

    fn warmth(&self, place: usize) -> u64 {
        let Prepared { config, health, .. } = &*self.upstream.prepared;
        health[place].warmth(self.upstream.prepared.at(self.now), config.slow_start)
    }

    fn latency(&self, place: usize) -> f64 {
        self.upstream.peers[place].latency.expected(self.now)
    }
}

#[cfg(test)]
mod tests;
