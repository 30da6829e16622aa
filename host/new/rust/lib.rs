//! Greets: adds `x-greeting` to requests that carry `x-name`, and refuses those that do not.

use tollgate_sdk::http::StatusCode;
use tollgate_sdk::{Complaints, Edits, Flow, Interest, Plugin, Problem, Request, plugin, schemars, serde};

/// The options, as `plugin.NAME.config` has them.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(crate = "tollgate_sdk::serde", deny_unknown_fields, default)]
#[schemars(crate = "tollgate_sdk::schemars")]
struct Greeting {
    /// What comes before the name.
    greeting: String,
}

impl Default for Greeting {
    fn default() -> Self {
        Self { greeting: "hello".to_owned() }
    }
}

impl Plugin for Greeting {
    type Config = Self;

    fn configure(config: Self) -> Result<Self, Complaints> {
        Ok(config)
    }

    fn interest(&self) -> Interest {
        Interest::new().request(|see| see.headers(["x-name"])).sets_attributes(["greeted"])
    }

    fn on_request(&self, request: &Request) -> Flow {
        let Some(name) = request.header("x-name") else {
            return Problem::new(StatusCode::BAD_REQUEST, "no-name", "The request has no name.").into();
        };
        let name = String::from_utf8_lossy(name);
        Edits::new().set("x-greeting", format!("{}, {name}", self.greeting)).attribute("greeted", name).into()
    }
}
plugin!(Greeting);

#[cfg(test)]
mod tests {
    use super::*;
    use tollgate_sdk::http;

    #[test]
    fn a_name_is_greeted() {
        let asked = http::Request::get("/a").header("x-name", "alice").body(()).expect("a request");
        let Flow::Edit(edits) = Greeting::default().on_request(&Request::from(&asked)) else { panic!("it goes on") };
        assert_eq!(edits.attribute_set("greeted"), Some("alice"));
    }
}
