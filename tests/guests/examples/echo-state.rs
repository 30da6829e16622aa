//! Counts its calls in its own memory, and tells the count to the upstream.
use std::sync::atomic::{AtomicU64, Ordering};

use tollgate_sdk::{Complaints, Edits, Flow, Interest, Plugin, Request, plugin, schemars, serde};

static CALLS: AtomicU64 = AtomicU64::new(0);

#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(crate = "tollgate_sdk::serde", deny_unknown_fields)]
#[schemars(crate = "tollgate_sdk::schemars")]
struct EchoState {}

impl Plugin for EchoState {
    type Config = Self;

    fn configure(config: Self) -> Result<Self, Complaints> {
        Ok(config)
    }

    fn interest(&self) -> Interest {
        Interest::new().request(|see| see)
    }

    fn on_request(&self, _: &Request) -> Flow {
        let calls = CALLS.fetch_add(1, Ordering::Relaxed) + 1;
        Edits::new().set("x-calls", calls.to_string()).into()
    }
}
plugin!(EchoState);
