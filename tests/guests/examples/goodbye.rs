//! Takes the configuration of `hello-plugin`, and says something else: what a new version of it could be.
use tollgate_sdk::{Complaints, Edits, Flow, Interest, Plugin, ResponseHead, plugin, schemars, serde};

#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(crate = "tollgate_sdk::serde", deny_unknown_fields)]
#[schemars(crate = "tollgate_sdk::schemars")]
struct Goodbye {
    name: String,
}

impl Plugin for Goodbye {
    type Config = Self;

    fn configure(config: Self) -> Result<Self, Complaints> {
        Ok(config)
    }

    fn interest(&self) -> Interest {
        Interest::new().response(|see| see)
    }

    fn on_response(&self, _: &ResponseHead, _: Option<Vec<u8>>) -> Flow {
        Edits::new().set("x-goodbye", &self.name).into()
    }
}
plugin!(Goodbye);
