//! Asks an endpoint again and again whether it is well.

use std::rc::Rc;
use std::sync::Weak;
use std::time::Duration;

use http::header::{HOST, HeaderValue, USER_AGENT};
use http::{Method, Request, Uri};
use tokio::time::{Instant, sleep, timeout_at};

use super::prepared::Prepared;
use crate::body::Body;
use crate::config::{Connections, HealthCheck, UpstreamTimeouts};
use crate::connect::{Connector, Outbound, Record, Target, Times, Use};
use crate::deadline::after;
use crate::random::Random;

/// The first check comes within this time, not at once: all endpoints of all upstreams begin together.
const FIRST: Duration = Duration::from_secs(1);

/// The task of one endpoint. It ends with the upstream.
pub(super) fn run(
    upstream: Weak<Prepared>,
    place: usize,
    config: HealthCheck,
) -> impl FnOnce() -> std::pin::Pin<Box<dyn Future<Output = ()>>> + Send {
    move || Box::pin(watch(upstream, place, config))
}

async fn watch(upstream: Weak<Prepared>, place: usize, config: HealthCheck) {
    let connector = Connector::new();
    let random = Random::new();
    let Some(target) = upstream.upgrade().and_then(|upstream| {
        let endpoint = upstream.config.endpoints.get(place)?;
        // No connection is kept: that a new one comes about is part of what is asked.
        let connections = Connections { idle: 0, ..Connections::default() };
        let used = upstream.used(&upstream.health[place]);
        Some(connector.target(&endpoint.endpoint, &Use { connections, counts: None, ..used }))
    }) else {
        return;
    };
    let mut row = Row::default();
    sleep(random.part(config.interval.min(FIRST))).await;
    loop {
        let outcome = check(&target, &config).await;
        // One of HTTP/2 would be kept for the next check.
        target.close();
        let Some(upstream) = upstream.upgrade() else { return };
        let now = Instant::now();
        upstream.metrics.checked(outcome.is_ok());
        match row.next(&config, outcome.is_ok(), upstream.health[place].ejections()) {
            Some(true) => {
                upstream.checked(place, false, "", now);
                upstream.readmit(place, now);
            }
            Some(false) => upstream.checked(place, true, &outcome.err().unwrap_or_default(), now),
            None => {}
        }
        drop(upstream);
        // A tenth more or less, so that checks of several proxies do not come together.
        sleep(config.interval * 9 / 10 + random.part(config.interval / 5)).await;
    }
}

/// Checks of one kind, one after another.
#[derive(Debug, Default)]
struct Row {
    succeeded: bool,
    count: u32,
    /// What the endpoint's ejections were like: successes from before one say nothing about what came after it.
    ejections: (u32, u64),
}

impl Row {
    /// Whether there are enough of them to say something, and what.
    fn next(&mut self, config: &HealthCheck, succeeded: bool, ejections: (u32, u64)) -> Option<bool> {
        if self.succeeded != succeeded || self.ejections != ejections {
            *self = Self { succeeded, count: 0, ejections };
        }
        self.count = self.count.saturating_add(1);
        let enough = if succeeded { config.healthy } else { config.unhealthy };
        (self.count == enough).then_some(succeeded)
    }
}

/// One check.
///
/// # Errors
/// What is wrong, for operators.
async fn check(target: &Rc<Target>, config: &HealthCheck) -> Result<(), String> {
    let begun = Instant::now();
    let total = after(begun, config.timeout);
    // One time for all of it.
    let limit = config.timeout;
    let timeouts =
        UpstreamTimeouts { connect: limit, tls: limit, response_header: limit, idle: limit, once: None, total: limit };
    let late = |_| "it takes too long".to_owned();
    let Some(path) = &config.path else {
        let opened = timeout_at(total, target.reachable(&timeouts, total)).await.map_err(late)?;
        return opened.map_err(|error| error.to_string());
    };
    let mut request = Request::new(Body::Empty);
    *request.method_mut() = Method::GET;
    *request.uri_mut() = Uri::from(path.clone());
    request.headers_mut().insert(HOST, target.endpoint().authority.clone());
    request.headers_mut().insert(USER_AGENT, HeaderValue::from_static("tollgate"));
    let times = Times { begun, total, head_by: None, call: None };
    let mut request = Outbound::new(request);
    let mut record = Record::default();
    let answer = timeout_at(total, target.send(&mut request, &timeouts, &times, &mut record)).await.map_err(late)?;
    let status = answer.map_err(|failed| failed.error.to_string())?.status();
    let right = if config.statuses.is_empty() { status.is_success() } else { config.statuses.contains(&status) };
    if right { Ok(()) } else { Err(format!("it answers {status}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_some_in_a_row_and_says_it_once() {
        let config =
            HealthCheck { path: None, interval: FIRST, timeout: FIRST, healthy: 2, unhealthy: 3, statuses: Vec::new() };
        let mut row = Row::default();
        let mut said = |succeeded, ejections| row.next(&config, succeeded, (ejections, 0));
        let outcomes = [true, true, true, false, false, true, false, false, false, false, true, true];
        let said_then: Vec<_> = outcomes.map(|succeeded| said(succeeded, 0)).into();
        let (no, up, down) = (None, Some(true), Some(false));
        assert_eq!(said_then, [no, up, no, no, no, no, no, no, down, no, no, up]);
        // It is ejected meanwhile: it takes as many again.
        assert_eq!([said(true, 0), said(true, 1), said(true, 1), said(true, 1)], [no, no, up, no]);
    }
}
