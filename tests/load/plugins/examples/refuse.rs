//! Refuses everything, in the place of `nothing`: whether it is there shows in each answer.
use tollgate_sdk::http::StatusCode;
use tollgate_sdk::{Complaints, Flow, Interest, Plugin, Problem, Request, plugin, schemars, serde};

#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(crate = "tollgate_sdk::serde", deny_unknown_fields)]
#[schemars(crate = "tollgate_sdk::schemars")]
struct Refuse {}

impl Plugin for Refuse {
    type Config = Self;

    fn configure(config: Self) -> Result<Self, Complaints> {
        Ok(config)
    }

    fn interest(&self) -> Interest {
        Interest::new().request(|see| see)
    }

    fn on_request(&self, _: &Request) -> Flow {
        Problem::new(StatusCode::FORBIDDEN, "refused", "Everything is refused").into()
    }
}
plugin!(Refuse);
