//! A plugin in a chain: its instances, and what is counted of it there.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tracing::Span;

use super::{Canary, Shadow};
use crate::config::OnFailure;
use crate::error::Reason;
use crate::metrics::{self, Account, PluginMetrics, RouteMetrics, Spent};
use crate::plugin::{Failure, FailureKind, Hook, Pool};
use crate::recording::Tap;
use crate::request_id::RequestId;

/// A plugin in a chain.
pub struct Link {
    /// Its instances.
    pub(crate) pool: Rc<Pool>,
    /// Its counts in this route.
    metrics: Arc<PluginMetrics>,
    /// What its version costs in this route, on this worker.
    account: Account,
    /// A new version of it, which takes its place in a part of the passes.
    pub(super) canary: Option<Box<Canary>>,
    /// A new version that sees what it sees, and is compared with it.
    pub(super) shadow: Option<Box<Shadow>>,
    /// Who records what it sees and answers; none where nobody does.
    pub(super) tap: Option<Tap>,
}

impl Link {
    /// A plugin in the chain of a route, where it is counted under this name.
    #[must_use]
    pub fn new(pool: Rc<Pool>, route: &RouteMetrics, name: &str) -> Self {
        let plugin = &pool.plugin;
        let account = route.costs(&plugin.name, plugin.component.version()).account();
        Self { metrics: route.plugin(name), account, canary: None, shadow: None, tap: None, pool }
    }

    /// The same with a new version beside it, in place of it at times or watching, and with somebody who records.
    #[must_use]
    pub(crate) fn with(self, canary: Option<Box<Canary>>, shadow: Option<Box<Shadow>>, tap: Option<Tap>) -> Self {
        Self { canary, shadow, tap, ..self }
    }

    /// Whether it has to do with responses.
    pub(super) fn answers(&self) -> bool {
        let plugin = &self.pool.plugin;
        let hooks = [Hook::Response, Hook::ResponseBody, Hook::ResponseChunk];
        // One that watches has its own hooks.
        plugin.component.world().is_some()
            || self.shadow.is_some()
            || hooks.iter().any(|hook| plugin.sight.wants(*hook))
    }

    /// The same for what outlives the pass, in the version that the pass met.
    pub(super) fn alone(&self) -> Self {
        Self {
            pool: self.pool.clone(),
            metrics: self.metrics.clone(),
            account: self.account.clone(),
            canary: None,
            shadow: None,
            tap: None,
        }
    }

    /// A call begins. What it cost is written to the span when it has ended, where anybody wants to know.
    pub(super) fn span(&self, hook: Hook, request_id: &RequestId) -> Span {
        tracing::debug_span!(
            target: "tollgate::hook",
            "hook",
            plugin = &*self.pool.plugin.name,
            version = self.pool.plugin.component.version(),
            hook = hook.as_str(),
            request = request_id.as_str(),
            guest_ns = tracing::field::Empty,
            host_calls = tracing::field::Empty,
            bytes_in = tracing::field::Empty,
            bytes_out = tracing::field::Empty,
            memory = tracing::field::Empty,
            queued_ns = tracing::field::Empty,
            started_ns = tracing::field::Empty,
            idle_ns = tracing::field::Empty,
            failure = tracing::field::Empty,
        )
    }

    /// Counts a call that has ended.
    pub(super) fn called(
        &self,
        hook: impl Into<metrics::Hook>,
        took: Duration,
        spent: &Spent,
        failure: Option<FailureKind>,
        span: &Span,
    ) {
        let hook = hook.into();
        match failure {
            None => self.pool.succeeded(),
            // It was none.
            Some(FailureKind::Paused(_)) => return,
            Some(_) => {}
        }
        self.metrics.called(hook, took);
        self.account.called(hook, took, spent);
        if span.is_disabled() {
            return;
        }
        let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        span.record("guest_ns", nanos(spent.in_guest(took)));
        span.record("host_calls", spent.host_calls);
        span.record("bytes_in", spent.bytes_in);
        span.record("bytes_out", spent.bytes_out);
        span.record("memory", spent.memory as u64);
        span.record("queued_ns", spent.queued.map(nanos));
        span.record("started_ns", spent.started.map(nanos));
        span.record("idle_ns", nanos(spent.idle));
        if let Some(kind) = failure {
            span.record("failure", metrics::PluginError::from(kind).as_str());
        }
    }

    /// Counts a response that its plugin made itself.
    pub(super) fn refused(&self) {
        self.metrics.refused();
    }

    /// Counts a failure of its plugin, and tells of it.
    pub(super) fn failed(&self, failure: &Failure, client: IpAddr, request_id: &RequestId) {
        let plugin = &self.pool.plugin;
        self.metrics.failed(failure.kind);
        self.account.failed(failure.kind);
        match failure.kind {
            // The log has a line for the pause, not one for each request.
            FailureKind::Paused(_) => return,
            // That says something of the load, not of the plugin.
            FailureKind::Overload => {}
            _ => self.pool.failed(client),
        }
        tracing::warn!(
            plugin = &*plugin.name,
            kind = ?failure.kind,
            request = request_id.as_str(),
            on_failure = if plugin.on_failure == OnFailure::Open { "open" } else { "closed" },
            "{}",
            failure.detail
        );
    }

    /// How a request ends by a failure of its plugin.
    pub(super) fn reason(&self, failure: FailureKind) -> Reason {
        let name = self.pool.plugin.name.clone();
        match failure {
            FailureKind::Timeout => Reason::PluginTimeout(name),
            FailureKind::Overload => Reason::PluginOverload(name),
            FailureKind::Paused(seconds) => Reason::PluginPaused(name, seconds),
            FailureKind::Trap | FailureKind::Memory | FailureKind::Output | FailureKind::Configure => {
                Reason::PluginFailed(name)
            }
        }
    }
}

#[cfg(test)]
mod tests;
