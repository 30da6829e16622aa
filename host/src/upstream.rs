//! `Upstream::send`: pick, connect, send, time out, retry.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use http::{Request, Response, header};
use tokio::time::Instant;

use crate::body::Body;
use crate::config::{self, Endpoint};
use crate::connect::{Connector, Target, Trust, server_name};
use crate::error::{Error, Reason};
use crate::pem::PemError;

pub use crate::connect::Record;

/// An upstream as it was checked at load: part of the snapshot, shared by the workers.
#[derive(Debug)]
pub struct Prepared {
    config: config::Upstream,
    /// Read only where an endpoint has TLS.
    trust: Option<Trust>,
}

impl Prepared {
    /// Reads what TLS endpoints are verified by.
    ///
    /// # Errors
    /// Roots that cannot be read, or an endpoint whose name no certificate can be for.
    pub fn load(config: config::Upstream) -> Result<Self, PemError> {
        let trust = match config.endpoints.iter().find(|endpoint| endpoint.tls) {
            None => None,
            Some(_) => Some(Trust::load(&config.tls)?),
        };
        if config.tls.name.is_none() {
            config.endpoints.iter().filter(|endpoint| endpoint.tls).try_for_each(|it| server_name(it).map(drop))?;
        }
        Ok(Self { config, trust })
    }

    /// What the operator wrote.
    #[must_use]
    pub fn config(&self) -> &config::Upstream {
        &self.config
    }
}

/// A worker's side of an upstream: its connections and its turn.
#[derive(Debug)]
pub struct Upstream {
    prepared: Arc<Prepared>,
    /// In the order of the endpoints.
    targets: Vec<Rc<Target>>,
    next: Cell<usize>,
}

impl Upstream {
    /// Takes over the connections that `connector` already has to the same endpoints.
    #[must_use]
    pub fn new(prepared: Arc<Prepared>, connector: &Connector) -> Self {
        let config = &prepared.config;
        let target = |endpoint: &Endpoint| connector.target(endpoint, prepared.trust.as_ref(), config.idle_connections);
        let targets = config.endpoints.iter().map(target).collect();
        Self { prepared, targets, next: Cell::new(0) }
    }

    /// What the operator wrote.
    #[must_use]
    pub fn config(&self) -> &config::Upstream {
        &self.prepared.config
    }

    /// The endpoint at a place that a [`Record`] speaks of.
    #[must_use]
    pub fn endpoint(&self, place: usize) -> Option<&Endpoint> {
        self.prepared.config.endpoints.get(place)
    }

    /// Sends a request, from now on (`begun`), and waits for the head of the response; its body comes as it is read.
    ///
    /// The request's path and query are sent as they are, its headers too, apart from what says where the body ends and,
    /// unless the upstream is to see the client's, `Host`. Endpoints take turns. One that cannot be reached gives the request to the next, each at most once: as
    /// long as nothing was sent, that is safe for every method. The response has our version of HTTP, and a
    /// `Content-Length` only where it is true.
    ///
    /// # Errors
    /// What happened at the last endpoint that was asked.
    pub async fn send(
        &self,
        request: Request<Body>,
        begun: Instant,
        record: &mut Record,
    ) -> Result<Response<Body>, Error> {
        let config = &self.prepared.config;
        let mut request = Some(request);
        let turn = self.turn();
        let mut outcome = Err(Error::new(Reason::UpstreamUnavailable));
        for place in 0..self.targets.len() {
            let place = (turn + place) % self.targets.len();
            let target = &self.targets[place];
            if let Some(request) = request.as_mut().filter(|_| !config.preserve_host) {
                request.headers_mut().insert(header::HOST, target.endpoint().authority.clone());
            }
            record.endpoint = Some(place);
            record.asked += 1;
            outcome = target.send(&mut request, &config.timeouts, begun, record).await;
            if outcome.is_ok() || request.is_none() || begun.elapsed() >= config.timeouts.total {
                break;
            }
        }
        outcome
    }

    /// Round robin. Each worker keeps its own turn, since nothing is shared on this path.
    fn turn(&self) -> usize {
        let turn = self.next.get();
        self.next.set(turn.wrapping_add(1));
        turn % self.targets.len().max(1)
    }
}

#[cfg(test)]
mod tests;
