//! Panics at the path `/crash`, and says in `x-fragile` that it was called for any other.
use tollgate_sdk::{Complaints, Edits, Flow, Interest, Plugin, Request, plugin, schemars, serde};

#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(crate = "tollgate_sdk::serde", deny_unknown_fields)]
#[schemars(crate = "tollgate_sdk::schemars")]
struct Fragile {}

impl Plugin for Fragile {
    type Config = Self;

    fn configure(config: Self) -> Result<Self, Complaints> {
        Ok(config)
    }

    fn interest(&self) -> Interest {
        Interest::new().request(|see| see.path())
    }

    fn on_request(&self, request: &Request) -> Flow {
        assert_ne!(request.path(), "/crash");
        Edits::new().set("x-fragile", "called").into()
    }
}
plugin!(Fragile);
