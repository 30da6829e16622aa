//! How many connections each client has open, so that one alone cannot take the places of all.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::client::limit_key;
use crate::config::{Listener, Network};

/// The open connections of a listener by client, in all workers.
#[derive(Debug)]
pub(crate) struct Clients {
    most: NonZeroUsize,
    /// Proxies, which speak for many clients.
    proxies: Vec<Network>,
    /// By [`limit_key`]. As many entries as connections, at most.
    open: Mutex<HashMap<IpAddr, usize>>,
}

/// A connection that counts as its client's until this is dropped.
#[derive(Debug)]
pub(crate) struct Counted(Option<(Arc<Clients>, IpAddr)>);

impl Clients {
    /// None where clients may have as many as they like.
    pub(crate) fn new(listener: &Listener) -> Option<Arc<Self>> {
        let most = listener.limits.connections_per_client?;
        Some(Arc::new(Self { most, proxies: listener.trusted_proxies.clone(), open: Mutex::default() }))
    }

    /// Counts one more connection of a client; nothing where it has as many as it may have. Trusted proxies, and programs
    /// on this machine, which are proxies or tests of the operator's, may have any number.
    pub(crate) fn enter(self: &Arc<Self>, client: IpAddr) -> Option<Counted> {
        let client = client.to_canonical();
        if client.is_loopback() || self.proxies.iter().any(|network| network.contains(client)) {
            return Some(Counted(None));
        }
        let key = limit_key(client);
        let mut clients = self.lock();
        let open = clients.entry(key).or_default();
        if *open >= self.most.get() {
            return None;
        }
        *open += 1;
        Some(Counted(Some((self.clone(), key))))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let Some((clients, key)) = &self.0 else { return };
        let mut clients = clients.lock();
        if let Some(open) = clients.get_mut(key) {
            *open -= 1;
            if *open == 0 {
                clients.remove(key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clients(most: usize) -> Arc<Clients> {
        let proxies = vec![Network { address: "10.0.0.0".parse().unwrap(), prefix: 8 }];
        Arc::new(Clients { most: NonZeroUsize::new(most).unwrap(), proxies, open: Mutex::default() })
    }

    #[test]
    fn each_client_has_its_own_places_and_gets_them_back() {
        let clients = clients(2);
        let enter = |ip: &str| clients.enter(ip.parse().unwrap());
        let (first, second) = (enter("192.0.2.1").unwrap(), enter("::ffff:192.0.2.1").unwrap());
        assert!(enter("192.0.2.1").is_none());
        let other = enter("192.0.2.2").expect("another client has room");
        drop(first);
        let third = enter("192.0.2.1").expect("a place that is free again");
        drop((second, third, other));
        assert!(clients.lock().is_empty(), "nothing is kept of those that left");
    }

    #[test]
    fn a_network_of_ipv6_is_one_client_and_proxies_are_none() {
        let clients = clients(1);
        let enter = |ip: &str| clients.enter(ip.parse().unwrap());
        let _first = enter("2001:db8::1").unwrap();
        assert!(enter("2001:db8::ffff:1").is_none());
        assert!(enter("2001:db8:0:1::1").is_some());
        for proxy in ["10.1.2.3", "127.0.0.1", "::1"] {
            let _many = [enter(proxy).unwrap(), enter(proxy).unwrap()];
        }
    }
}
