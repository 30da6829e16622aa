//! Reads one header and counts its values in shared state. A request without the header is refused, which shows that the
//! plugin ran.
use tollgate_sdk::http::StatusCode;
use tollgate_sdk::{Complaints, Flow, Interest, Plugin, Problem, Request, kv::Store, plugin, schemars, serde};

struct Count {
    header: String,
    store: Store,
}

#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(crate = "tollgate_sdk::serde", deny_unknown_fields)]
#[schemars(crate = "tollgate_sdk::schemars")]
struct Config {
    header: String,
    store: String,
}

impl Plugin for Count {
    type Config = Config;

    fn configure(config: Config) -> Result<Self, Complaints> {
        let refused = |error| Complaints::of("/store", format!("{error:?}"));
        Ok(Self { header: config.header, store: Store::open(&config.store).map_err(refused)? })
    }

    fn interest(&self) -> Interest {
        Interest::new().request(|see| see.headers([self.header.as_str()]))
    }

    fn on_request(&self, request: &Request) -> Flow {
        let value = request.header(&self.header).and_then(|value| std::str::from_utf8(value).ok());
        match value.map(|value| self.store.increment(value, 1, None)) {
            Some(Ok(_)) => Flow::Continue,
            Some(Err(_)) => {
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not-counted", "It could not be counted").into()
            }
            None => {
                Problem::new(StatusCode::BAD_REQUEST, "missing-header", "The header that is counted is missing").into()
            }
        }
    }
}
plugin!(Count);
