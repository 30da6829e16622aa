//! Outgoing connections: resolve, TLS, reuse; for upstreams and for whatever else speaks HTTP to others.
//!
//! A [`Connector`] belongs to one worker. It keeps a [`Target`] for each endpoint, and the target keeps the connections
//! that are idle. A connection is driven by the task that uses it: nothing is spawned for it and no other task is woken,
//! and dropping an exchange half-way closes its connection. While it is idle nobody drives it; a connection that the
//! other side closed is found when it is taken, or by the sweeper.

mod arriving;
pub mod dns;
mod exchange;
mod http2;
mod live;
mod names;
mod outbound;
mod room;
mod sending;
mod target;
mod trust;
mod tunnel;

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::time::Duration;

use tokio::task::{AbortHandle, spawn_local};
use tokio::time::{MissedTickBehavior, interval};

use crate::config::{Connections, Endpoint, ProxyVersion, UpstreamProtocol};

use dns::Resolver;
use names::Lookup;
pub use outbound::{Hear, Outbound};
pub use room::Counts;
pub use sending::is_idempotent;
pub use target::{Failed, Target, Times};
pub use trust::{Trust, server_name};

/// How often names are looked up of which it is time.
const TICK: Duration = Duration::from_secs(1);
/// How many times as often idle connections are looked at.
const SWEEP: u32 = 5;

/// The outgoing connections of one worker.
pub struct Connector {
    /// Those in use by some upstream; a reload finds the connections of an endpoint here.
    targets: Rc<Targets>,
    sweeper: AbortHandle,
    /// Asked in place of a resolver.
    instead: Option<Lookup>,
}

type Targets = RefCell<HashMap<Endpoint, Vec<Weak<Target>>>>;

/// How the connections to an endpoint are used.
#[derive(Debug)]
pub struct Use<'a> {
    /// What verifies an endpoint with TLS.
    pub trust: Option<&'a Trust>,
    /// How many there may be, and for how long.
    pub connections: Connections,
    /// Who looks its name up. None: by the system's files alone.
    pub resolver: Option<&'a Resolver>,
    /// How often that is done, whatever the answer says.
    pub resolve: Option<Duration>,
    /// Where they are counted, if anywhere.
    pub counts: Option<Counts>,
    /// What is spoken over them.
    pub protocol: UpstreamProtocol,
    /// What each begins with, if anything: who the client is. Each carries requests of one client alone then.
    pub proxy_protocol: Option<ProxyVersion>,
}

/// What is known about one exchange, also when it fails. The caller logs and counts it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// The endpoint that was asked last, by its place in the upstream.
    pub endpoint: Option<usize>,
    /// Endpoints that were asked.
    pub asked: u32,
    /// Whether the request went over a connection that had served others before.
    pub reused: bool,
    /// Tries beside the first that were worth it for how the one before ended.
    pub retries: u32,
    /// Whether it was sent a second time, because a reused connection turned out to be closed.
    pub repeated: bool,
    /// Time for names, TCP and TLS, where a new connection was made.
    pub connect: Option<Duration>,
    /// Time from the beginning of the last try to the end of the response's head.
    pub head: Option<Duration>,
}

impl Connector {
    /// Needs a runtime of one thread around it that takes local tasks.
    #[must_use]
    pub fn new() -> Self {
        Self::with(None)
    }

    fn with(instead: Option<Lookup>) -> Self {
        let targets = Rc::new(Targets::default());
        let sweeper = spawn_local(sweep(Rc::downgrade(&targets))).abort_handle();
        Self { targets, sweeper, instead }
    }

    /// Asks this in place of a resolver. An answer holds for half a minute, and none for a second.
    #[cfg(test)]
    pub(crate) fn resolving(
        lookup: impl Fn(String, u16) -> std::io::Result<Vec<std::net::SocketAddr>> + 'static,
    ) -> Self {
        Self::with(Some(Rc::new(move |host, port| {
            let answer = lookup(host, port);
            Box::pin(async move {
                let missing = |why: String| dns::Missing { why, again: Duration::from_secs(1) };
                match answer {
                    Ok(records) if records.is_empty() => Err(missing("nothing".to_owned())),
                    Ok(records) => Ok(dns::Found { records, again: Duration::from_secs(30) }),
                    Err(error) => Err(missing(error.to_string())),
                }
            })
        })))
    }

    /// The connections to an endpoint. Whoever verifies it alike and counts them together shares them, before and after a
    /// reload.
    #[must_use]
    pub fn target(&self, endpoint: &Endpoint, used: &Use<'_>) -> Rc<Target> {
        let mut targets = self.targets.borrow_mut();
        let known = targets.entry(endpoint.clone()).or_default();
        known.retain(|target| target.strong_count() > 0);
        let same = known.iter().filter_map(Weak::upgrade).find(|target| target.is_for(used));
        let target = same.unwrap_or_else(|| {
            let target = Rc::new(Target::new(endpoint.clone(), used, self.instead.as_ref()));
            known.push(Rc::downgrade(&target));
            target
        });
        target.adopt(used);
        target
    }
}

impl Default for Connector {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Connector {
    fn drop(&mut self) {
        self.sweeper.abort();
    }
}

/// Closes what has been idle for long or was closed by the other side, and forgets endpoints that no upstream has.
async fn sweep(targets: Weak<Targets>) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for tick in (0..SWEEP).cycle() {
        let now = ticks.tick().await;
        let Some(targets) = targets.upgrade() else { return };
        targets.borrow_mut().retain(|_, known| {
            known.retain(|target| match target.upgrade() {
                Some(target) => {
                    target.renew(now);
                    if tick == 0 {
                        target.sweep(now);
                    }
                    true
                }
                None => false,
            });
            !known.is_empty()
        });
    }
}
