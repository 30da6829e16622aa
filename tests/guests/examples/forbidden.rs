//! Opens a store, granted or not.
use tollgate_sdk::kv::Store;
use tollgate_sdk::{Complaints, Edits, Flow, Interest, Plugin, Request, plugin, schemars, serde};

#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(crate = "tollgate_sdk::serde", deny_unknown_fields)]
#[schemars(crate = "tollgate_sdk::schemars")]
struct Forbidden {
    store: String,
}

impl Plugin for Forbidden {
    type Config = Self;

    fn configure(config: Self) -> Result<Self, Complaints> {
        Ok(config)
    }

    fn interest(&self) -> Interest {
        Interest::new().request(|see| see)
    }

    fn on_request(&self, _: &Request) -> Flow {
        let answer = Store::open(&self.store).map_or_else(|error| format!("{error:?}"), |_| "opened".to_owned());
        Edits::new().set("x-store", answer).into()
    }
}
plugin!(Forbidden);
