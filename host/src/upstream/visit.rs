//! What a request says about the upstream and the endpoint that it went to, also where nobody hears how it ends.

use http::Response;
use tokio::time::Instant;

use super::breaker::Pass;
use super::prepared::Prepared;
use crate::body::Body;
use crate::connect;
use crate::error::{Error, Reason};

/// A try at one endpoint. Dropped early, it says nothing, and where it was to decide, another one does.
pub(super) struct Visit<'u> {
    upstream: &'u Prepared,
    place: usize,
    /// Whether it decides if the endpoint gets others again.
    probe: bool,
}

impl<'u> Visit<'u> {
    pub(super) fn new(upstream: &'u Prepared, place: usize, probe: bool) -> Self {
        Self { upstream, place, probe }
    }

    pub(super) fn ended(mut self, verdict: Option<bool>, now: Instant) {
        let Some(failed) = verdict else { return };
        if self.probe {
            self.probe = false;
            self.upstream.probe_ended(self.place, failed, now);
        } else {
            self.upstream.request_ended(self.place, failed, now);
        }
    }
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        if self.probe {
            self.upstream.health[self.place].probe_lost();
        }
    }
}

/// A request that the breaker let pass.
pub(super) struct Entered<'u> {
    upstream: &'u Prepared,
    /// None where there is no breaker, or it was told.
    pass: Option<Pass>,
}

impl<'u> Entered<'u> {
    /// # Errors
    /// The breaker is open.
    pub(super) fn new(upstream: &'u Prepared, now: Instant) -> Result<Self, Error> {
        let Some(config) = &upstream.config.breaker else { return Ok(Self { upstream, pass: None }) };
        match upstream.breaker().enter(config, upstream.at(now)) {
            Some(pass) => Ok(Self { upstream, pass: Some(pass) }),
            None => {
                upstream.metrics.breaker_refused();
                Err(Error::because(Reason::UpstreamUnavailable, "the breaker is open"))
            }
        }
    }

    /// Whether it is one of the few that decide: then it must stay one.
    pub(super) fn decides(&self) -> bool {
        matches!(self.pass, Some(Pass::Probe(_)))
    }

    pub(super) fn ended(mut self, verdict: Option<bool>, now: Instant) {
        let Some(failed) = verdict else { return };
        if let Some(pass) = self.pass.take() {
            self.upstream.breaker_ended(pass, failed, now);
        }
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        if let Some(pass) = self.pass {
            self.upstream.breaker().lost(pass);
        }
    }
}

/// Whether the upstream failed. What the client did wrong says nothing about it.
pub(super) fn verdict(outcome: &Result<Response<Body>, connect::Failed>) -> Option<bool> {
    match outcome {
        Ok(response) => Some(response.status().is_server_error()),
        Err(failed) => match failed.error.reason() {
            Reason::UpstreamResolve
            | Reason::UpstreamConnect
            | Reason::UpstreamConnectTimeout
            | Reason::UpstreamTls
            | Reason::UpstreamTlsTimeout
            | Reason::UpstreamReset
            | Reason::UpstreamProtocol
            | Reason::UpstreamTimeout
            | Reason::UpstreamIdle
            | Reason::UpstreamBody => Some(true),
            _ => None,
        },
    }
}
