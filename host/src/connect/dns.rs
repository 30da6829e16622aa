//! Names and services, looked up as a stub resolver does it: in `/etc/hosts`, then at the servers of `/etc/resolv.conf`
//! or of the configuration (RFC 1034, section 5.3.1).
//!
//! It is one of our own since the system's tells no time to live and no services (SRV), and since those that there are
//! bring a cache, a runtime's threads and a dozen crates along, where a few kinds of records are needed.

mod ask;
pub mod message;
mod system;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config;
use message::{Kind, Record, Reply, Service};
use system::System;

/// The most addresses of a name, and endpoints of a service, that are taken.
const MOST: usize = 256;
/// The longest time for which a name that does not exist is not asked for again.
const LONGEST_WITHOUT: Duration = Duration::from_secs(30);

/// Looks names up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolver {
    config: config::Resolver,
    hosts: PathBuf,
    system: PathBuf,
}

/// What there is, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found<T> {
    /// At least one.
    pub records: Vec<T>,
    /// When it is to be looked up again.
    pub again: Duration,
}

/// Why there is nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// For operators.
    pub why: String,
    /// When it may be looked up again.
    pub again: Duration,
}

impl Resolver {
    /// One with the system's files.
    #[must_use]
    pub fn new(config: &config::Resolver) -> Self {
        Self { config: config.clone(), hosts: "/etc/hosts".into(), system: "/etc/resolv.conf".into() }
    }

    /// One with other files.
    #[cfg(test)]
    fn with_files(config: &config::Resolver, hosts: PathBuf, system: PathBuf) -> Self {
        Self { config: config.clone(), hosts, system }
    }

    /// The addresses of a host, with this port: those of IPv6 first.
    ///
    /// # Errors
    /// There are none, or nobody says so in time.
    pub async fn addresses(&self, host: &str, port: u16) -> Result<Found<SocketAddr>, Missing> {
        let addresses = |ips: Vec<IpAddr>| ips.into_iter().take(MOST).map(|ip| SocketAddr::new(ip, port)).collect();
        let mut known = system::hosts(&read(&self.hosts).await, host);
        if known.is_empty() && (host == "localhost" || host.ends_with(".localhost")) {
            // RFC 6761, section 6.3.
            known = system::LOOPBACK.into();
        }
        if !known.is_empty() {
            return Ok(Found { records: addresses(known), again: self.config.shortest });
        }
        let system = self.system().await;
        let mut missing = self.missing(format!("{host} has no addresses"), None);
        for name in system.candidates(host) {
            let (six, four) = tokio::join!(
                ask::ask(&system.servers, self.config.timeout, &name, Kind::Aaaa),
                ask::ask(&system.servers, self.config.timeout, &name, Kind::A)
            );
            let mut ips = Vec::new();
            let mut life = u32::MAX;
            for reply in [&six, &four] {
                if let Ok(Reply::Records { records, ttl }) = reply {
                    life = life.min(*ttl);
                    ips.extend(records.iter().filter_map(|record| match record {
                        Record::Address(ip) => Some(*ip),
                        Record::Service(_) => None,
                    }));
                }
            }
            if !ips.is_empty() {
                return Ok(Found { records: addresses(ips), again: self.life(life) });
            }
            missing = self.worst([six, four], &name);
        }
        Err(missing)
    }

    /// The endpoints of a service.
    ///
    /// # Errors
    /// There are none, or nobody says so in time.
    pub async fn services(&self, name: &str) -> Result<Found<Service>, Missing> {
        let reply = ask::ask(&self.system().await.servers, self.config.timeout, name, Kind::Srv).await;
        if let Ok(Reply::Records { records, ttl }) = reply {
            let service = |record| match record {
                Record::Service(service) => Some(service),
                Record::Address(_) => None,
            };
            let services: Vec<_> = records.into_iter().filter_map(service).take(MOST).collect();
            return if services.is_empty() {
                Err(self.missing(format!("{name} is not served anywhere"), Some(ttl)))
            } else {
                Ok(Found { records: services, again: self.life(ttl) })
            };
        }
        Err(self.worst([reply], name))
    }

    async fn system(&self) -> System {
        let mut system = System::parse(&read(&self.system).await);
        if !self.config.servers.is_empty() {
            system.servers.clone_from(&self.config.servers);
        }
        system
    }

    fn life(&self, ttl: u32) -> Duration {
        Duration::from_secs(ttl.into()).clamp(self.config.shortest, self.config.longest.max(self.config.shortest))
    }

    /// The failure among replies that says most: that nobody answered says more than that there is nothing.
    fn worst<const N: usize>(&self, replies: [Result<Reply, ask::Failed>; N], name: &str) -> Missing {
        let mut missing = self.missing(format!("{name} does not exist"), None);
        for reply in replies {
            match reply {
                Err(failed) => return self.missing(format!("{name}: {failed}"), None),
                Ok(Reply::Nothing { ttl }) => missing = self.missing(format!("{name} does not exist"), ttl),
                Ok(_) => {}
            }
        }
        missing
    }

    fn missing(&self, why: String, ttl: Option<u32>) -> Missing {
        let again = ttl.map_or(self.config.failed, |ttl| Duration::from_secs(ttl.into()).min(LONGEST_WITHOUT));
        Missing { why, again: again.max(self.config.failed) }
    }
}

impl Default for Resolver {
    fn default() -> Self {
        Self::new(&config::Resolver::default())
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

/// A file that is not there says nothing. It is read each time: it is small, and may change.
async fn read(path: &Path) -> String {
    match tokio::fs::read(path).await {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(_) => String::new(),
    }
}
