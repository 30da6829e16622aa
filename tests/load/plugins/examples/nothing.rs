//! Sees nothing and changes nothing: what a hook costs by itself.
use tollgate_sdk::{Complaints, Flow, Interest, Plugin, Request, plugin, schemars, serde};

#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(crate = "tollgate_sdk::serde", deny_unknown_fields)]
#[schemars(crate = "tollgate_sdk::schemars")]
struct Nothing {}

impl Plugin for Nothing {
    type Config = Self;

    fn configure(config: Self) -> Result<Self, Complaints> {
        Ok(config)
    }

    fn interest(&self) -> Interest {
        Interest::new().request(|see| see)
    }

    fn on_request(&self, _: &Request) -> Flow {
        Flow::Continue
    }
}
plugin!(Nothing);
