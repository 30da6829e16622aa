//! Services (SRV, RFC 2782): names that stand for endpoints, which come and go.
//!
//! What a service stands for is taken in when a snapshot is built, so that its endpoints are like those that the
//! configuration names: hidden, checked, balanced, and drained when they vanish. A task looks each service up again when
//! its answer's time is over; where it has other endpoints then, a new snapshot takes the place of the old one.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::HeaderValue;
use tokio::time::{Instant, sleep_until, timeout};

use crate::config::{self, Endpoint, Member};
use crate::connect::dns::message::Service;
use crate::connect::dns::{Found, Resolver};
use crate::deadline::after;

/// How long the load of a configuration waits for a service that was never known.
const FIRST: Duration = Duration::from_secs(5);

/// What is known of services, by name; it outlives a reload.
#[derive(Debug, Clone, Default)]
pub struct Services(Arc<All>);

#[derive(Debug, Default)]
struct All {
    known: Mutex<HashMap<String, Known>>,
    changed: AtomicBool,
}

#[derive(Debug, Clone)]
struct Known {
    /// The last good answer, sorted; empty before there was one.
    endpoints: Vec<Service>,
    /// When it is looked up again.
    due: Instant,
}

impl Services {
    /// Adds the endpoints of its services to an upstream. One that was never known is looked up.
    pub async fn expand(&self, upstream: &mut config::Upstream, resolver: &Resolver) {
        for service in &upstream.services {
            let known = self.known().get(&service.name).cloned();
            let known = match known {
                Some(known) if !known.endpoints.is_empty() => known,
                _ => {
                    if timeout(FIRST, self.look(&service.name, resolver)).await.is_err() {
                        tracing::warn!(service = service.name, "is not looked up in time, and has no endpoints so far");
                    }
                    let Some(known) = self.known().get(&service.name).cloned() else { continue };
                    known
                }
            };
            for found in &known.endpoints {
                let Some(member) = member(found, service.tls) else { continue };
                if !upstream.endpoints.iter().any(|known| known.endpoint == member.endpoint) {
                    upstream.endpoints.push(member);
                }
            }
        }
    }

    /// Whether a service has other endpoints than before. It is said once.
    pub fn have_changed(&self) -> bool {
        self.0.changed.swap(false, Relaxed)
    }

    /// Looks a service up again and again.
    pub(super) fn watch(
        &self,
        service: &config::Service,
        resolver: &Resolver,
    ) -> impl FnOnce() -> Pin<Box<dyn Future<Output = ()>>> + Send + 'static {
        let (services, name, resolver) = (self.clone(), service.name.clone(), resolver.clone());
        move || {
            Box::pin(async move {
                loop {
                    let due = services.known().get(&name).map_or_else(Instant::now, |known| known.due);
                    sleep_until(due).await;
                    if services.look(&name, &resolver).await {
                        services.0.changed.store(true, Relaxed);
                    }
                }
            })
        }
    }

    /// Looks a service up. Answers whether it has other endpoints now. The last good answer stays where there is none.
    async fn look(&self, name: &str, resolver: &Resolver) -> bool {
        let looked = resolver.services(name).await;
        let now = Instant::now();
        let mut all = self.known();
        let known = all.entry(name.to_owned()).or_insert(Known { endpoints: Vec::new(), due: now });
        match looked {
            Ok(Found { mut records, again }) => {
                records.sort();
                known.due = after(now, again);
                let changed = known.endpoints != records;
                known.endpoints = records;
                changed
            }
            Err(missing) => {
                known.due = after(now, missing.again);
                tracing::warn!(service = name, %missing, "cannot be looked up, its last endpoints stay");
                false
            }
        }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An endpoint of a service as the configuration would write it. The lowest priority of a service is our highest.
fn member(service: &Service, tls: bool) -> Option<Member> {
    let default = if tls { 443 } else { 80 };
    let authority =
        if service.port == default { service.host.clone() } else { format!("{}:{}", service.host, service.port) };
    let authority = HeaderValue::try_from(authority).ok()?;
    let endpoint = Endpoint { tls, host: service.host.clone(), port: service.port, authority, unix: None };
    // A weight of 0 is as good as none beside others (RFC 2782).
    let weight = NonZeroU32::new(service.weight.into()).unwrap_or(NonZeroU32::MIN);
    Some(Member { endpoint, weight, priority: -i32::from(service.priority) })
}
