//! Takes the configuration of `hello-plugin`, and panics on each response: what a bad new version of it could be.
use tollgate_sdk::{Complaints, Flow, Interest, Plugin, ResponseHead, plugin, schemars, serde};

#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(crate = "tollgate_sdk::serde", deny_unknown_fields)]
#[schemars(crate = "tollgate_sdk::schemars")]
struct Stumble {
    name: String,
}

impl Plugin for Stumble {
    type Config = Self;

    fn configure(config: Self) -> Result<Self, Complaints> {
        Ok(config)
    }

    fn interest(&self) -> Interest {
        Interest::new().response(|see| see)
    }

    fn on_response(&self, _: &ResponseHead, _: Option<Vec<u8>>) -> Flow {
        panic!("{} stumbles", self.name);
    }
}
plugin!(Stumble);
