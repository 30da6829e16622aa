//! A name server that says what the test says.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

/// Kinds of records.
const A: u16 = 1;
const SRV: u16 = 33;

/// A server on a port of its own, over UDP. Dropping it stops it.
pub(crate) struct NameServer {
    address: SocketAddr,
    records: Arc<Mutex<Records>>,
    serving: Option<JoinHandle<()>>,
}

/// By name and kind: seconds, and the data of each record. Without any there is no such name.
type Records = HashMap<(String, u16), (u32, Vec<Vec<u8>>)>;

impl NameServer {
    pub(crate) fn start() -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = socket.local_addr().expect("an address");
        let records = Arc::new(Mutex::new(Records::new()));
        let serving = thread::spawn({
            let records = records.clone();
            move || {
                let mut buffer = [0; 512];
                // Whatever is too short for a question ends it.
                while let Ok((length @ 12.., from)) = socket.recv_from(&mut buffer) {
                    let said = answer(&buffer[..length], &records.lock().expect("no thread panicked"));
                    if let Some(said) = said {
                        let _ = socket.send_to(&said, from);
                    }
                }
            }
        });
        Self { address, records, serving: Some(serving) }
    }

    /// For `resolver.servers` of a configuration.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on, this name has these addresses, for so many seconds.
    pub(crate) fn host(&self, name: &str, ttl: u32, addresses: &[[u8; 4]]) {
        self.set(name, A, ttl, addresses.iter().map(|address| address.to_vec()).collect());
    }

    /// From now on, this service is at these: priority, weight, port and host.
    pub(crate) fn service(&self, name: &str, ttl: u32, endpoints: &[(u16, u16, u16, &str)]) {
        let data = |(priority, weight, port, host): &(u16, u16, u16, &str)| {
            let numbers = [*priority, *weight, *port].map(u16::to_be_bytes).concat();
            let labels = host.split('.').flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat());
            numbers.into_iter().chain(labels).chain([0]).collect()
        };
        self.set(name, SRV, ttl, endpoints.iter().map(data).collect());
    }

    /// From now on, it says nothing at all.
    pub(crate) fn silence(&self) {
        self.records.lock().expect("no thread panicked").clear();
        self.set("", 0, 0, Vec::new());
    }

    fn set(&self, name: &str, kind: u16, ttl: u32, data: Vec<Vec<u8>>) {
        self.records.lock().expect("no thread panicked").insert((name.to_owned(), kind), (ttl, data));
    }
}

fn answer(question: &[u8], records: &Records) -> Option<Vec<u8>> {
    if records.contains_key(&(String::new(), 0)) {
        return None;
    }
    let mut labels = Vec::new();
    let mut at = 12;
    while question[at] > 0 {
        let end = at + 1 + usize::from(question[at]);
        labels.push(String::from_utf8_lossy(&question[at + 1..end]).into_owned());
        at = end;
    }
    let name = labels.join(".");
    let kind = u16::from_be_bytes([question[at + 1], question[at + 2]]);
    let exists = records.keys().any(|(known, _)| *known == name);
    let (ttl, data) = records.get(&(name, kind)).cloned().unwrap_or_default();
    let mut out = question.to_vec();
    out[2..4].copy_from_slice(&[0x81, if exists { 0x80 } else { 0x83 }]);
    out[7] = data.len() as u8;
    for data in data {
        // The name is that of the question.
        out.extend_from_slice(&[0xc0, 12]);
        out.extend_from_slice(&kind.to_be_bytes());
        out.extend_from_slice(&[0, 1]);
        out.extend_from_slice(&ttl.to_be_bytes());
        out.extend_from_slice(&(data.len() as u16).to_be_bytes());
        out.extend_from_slice(&data);
    }
    Some(out)
}

impl Drop for NameServer {
    fn drop(&mut self) {
        let woken = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|socket| socket.send_to(&[], self.address));
        if let Some(serving) = self.serving.take().filter(|_| woken.is_ok()) {
            let _ = serving.join();
        }
    }
}
