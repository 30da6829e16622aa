//! What the tests stand on. Nothing here waits for time to pass: everything waits for bytes, and gives up after
//! [`PATIENCE`].

mod alone;
pub(crate) mod backend;
mod client;
mod diagnostics;
mod gate;
mod message;
mod names;
mod origin;
mod played;
mod proxy;
mod tls;

use std::path::PathBuf;
use std::time::{Duration, Instant};

pub(crate) use alone::{alone, resident};
pub(crate) use client::Client;
pub(crate) use diagnostics::Diagnostics;
pub(crate) use gate::Gate;
pub(crate) use message::Message;
pub(crate) use names::NameServer;
pub(crate) use origin::{Origin, answer};
pub(crate) use played::{Line, Played};
pub(crate) use proxy::{Proxy, drop_in};
pub(crate) use tls::{Identity, handshake};

/// Longer than anything takes that works, on a busy machine with a cold cache.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Asks until the condition holds.
pub(crate) fn until(what: &str, condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < PATIENCE, "it never comes to that: {what}");
    }
}

/// The bytes of a component that misbehaves: one of `guests/examples`.
pub(crate) fn guest(name: &str) -> Vec<u8> {
    read(&["examples", &format!("{}.wasm", name.replace('-', "_"))])
}

/// The bytes of `examples/hello-plugin`.
pub(crate) fn hello() -> Vec<u8> {
    read(&["hello_plugin.wasm"])
}

/// Where the component of `examples/introspect` is.
pub(crate) fn introspect() -> PathBuf {
    PathBuf::from(env!("GUESTS")).join("introspect.wasm")
}

/// Where the component of `examples/mask` is.
pub(crate) fn mask() -> PathBuf {
    PathBuf::from(env!("GUESTS")).join("mask.wasm")
}

fn read(path: &[&str]) -> Vec<u8> {
    let file = path.iter().fold(PathBuf::from(env!("GUESTS")), |file, part| file.join(part));
    std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}
