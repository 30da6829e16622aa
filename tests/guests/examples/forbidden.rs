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
        let store = match Store::open(&self.store) {
            Ok(store) => store,
            Err(error) => return Edits::new().set("x-store", format!("{error:?}")).into(),
        };
        let keys = store.list("", Some("a"), 2);
        Edits::new().set("x-store", "opened").set("x-keys", format!("{keys:?}")).into()
    }
}
plugin!(Forbidden);
