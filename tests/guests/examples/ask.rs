//! Asks servers, and tells the upstream in `x-answers` what they said.
use std::time::Duration;

use tollgate_sdk::http_client::{self, Error, Pending};
use tollgate_sdk::{Complaints, Edits, Flow, Interest, Plugin, Request, http, plugin, schemars, serde};

#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(crate = "tollgate_sdk::serde", deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(crate = "tollgate_sdk::schemars")]
struct Ask {
    urls: Vec<String>,
    #[serde(default)]
    at_once: bool,
    /// Begins, and does not wait.
    #[serde(default)]
    forget: bool,
    #[serde(default)]
    while_configured: bool,
    timeout_ms: Option<u64>,
}

impl Ask {
    fn start(&self, url: &str) -> Result<Pending, Error> {
        let request = http::Request::post(url).header("x-asks", "plugin").body(b"who?".to_vec());
        let request = request.map_err(|error| Error::InvalidRequest(error.to_string()))?;
        http_client::start(request, self.timeout_ms.map(Duration::from_millis))
    }
}

impl Plugin for Ask {
    type Config = Self;

    fn configure(config: Self) -> Result<Self, Complaints> {
        if config.while_configured {
            let said = config.start(&config.urls[0]).and_then(Pending::wait);
            return Err(Complaints::of("", format!("it was told {said:?}")));
        }
        Ok(config)
    }

    fn interest(&self) -> Interest {
        Interest::new().request(|see| see)
    }

    fn on_request(&self, _: &Request) -> Flow {
        let told = |answer: Result<http::Response<Vec<u8>>, Error>| match answer {
            Ok(response) => {
                let kind = response.headers().get("content-type").and_then(|kind| kind.to_str().ok());
                let body = String::from_utf8_lossy(response.body());
                format!("{} {} {}", response.status().as_u16(), kind.unwrap_or("none"), &body[..body.len().min(20)])
            }
            Err(error) => format!("{error:?}"),
        };
        let answers: Vec<_> = if self.forget {
            self.urls.iter().for_each(|url| std::mem::forget(self.start(url)));
            vec!["forgotten".to_owned()]
        } else if self.at_once {
            let pending: Vec<_> = self.urls.iter().map(|url| self.start(url)).collect();
            pending.into_iter().map(|one| told(one.and_then(Pending::wait))).collect()
        } else {
            self.urls.iter().map(|url| told(self.start(url).and_then(Pending::wait))).collect()
        };
        Edits::new().set("x-answers", answers.join(", ")).into()
    }
}
plugin!(Ask);
