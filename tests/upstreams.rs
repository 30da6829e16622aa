//! Several servers behind one name: which of them gets a request, and what happens when one of them is gone.

mod balance;
mod faults;
mod health;
mod hiding;
mod names;
mod paths;
mod proxy_protocol;
mod retries;
mod split;
mod tls;
mod unix;

use crate::harness::{Origin, answer};

/// Origins that say their own names: `0`, `1` and so on.
fn origins<const N: usize>() -> [Origin; N] {
    std::array::from_fn(|number| Origin::start(move |_| answer("text/plain", &number.to_string())))
}

/// A configuration with one upstream, of which these are all settings beside the endpoints, and a route to it.
fn config(origins: &[Origin], settings: &str) -> String {
    let urls: Vec<String> = origins.iter().map(|origin| format!("{:?}", origin.url())).collect();
    with(&format!("endpoints = [{}]\n{settings}", urls.join(", ")))
}

/// The same, with endpoints as the test writes them.
fn with(settings: &str) -> String {
    format!("[upstream.o]\n{settings}\n[route.all]\npath-prefix = \"/\"\nupstream = \"o\"\n")
}
