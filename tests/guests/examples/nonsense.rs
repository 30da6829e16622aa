//! Answers what no plugin may answer.
use tollgate_sdk::http::{Response, StatusCode};
use tollgate_sdk::{Complaints, Edits, Flow, Interest, Plugin, Request, plugin, schemars, serde};

#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(crate = "tollgate_sdk::serde", deny_unknown_fields)]
#[schemars(crate = "tollgate_sdk::schemars")]
struct Nonsense {
    what: What,
}

#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(crate = "tollgate_sdk::serde", rename_all = "kebab-case")]
#[schemars(crate = "tollgate_sdk::schemars")]
enum What {
    /// A second response in a value.
    ControlBytes,
    /// Another end of the body than the host's.
    Framing,
    /// A field that only HTTP/2 itself may write.
    Pseudo,
    /// A path that means another one.
    DotSegments,
    /// A status that ends no request.
    Switching,
    /// A status that HTTP does not have.
    UnknownStatus,
    ManyHeaders,
    UndeclaredAttribute,
}

impl Plugin for Nonsense {
    type Config = Self;

    fn configure(config: Self) -> Result<Self, Complaints> {
        Ok(config)
    }

    fn interest(&self) -> Interest {
        Interest::new().request(|see| see)
    }

    fn on_request(&self, _: &Request) -> Flow {
        let respond = |status| {
            let mut response = Response::new(b"nonsense".to_vec());
            *response.status_mut() = StatusCode::from_u16(status).unwrap_or_default();
            Flow::Respond(response)
        };
        match self.what {
            What::ControlBytes => Edits::new().set("x-nonsense", "1\r\n\r\nHTTP/1.1 200 OK").into(),
            What::Framing => Edits::new().set("transfer-encoding", "chunked").into(),
            What::Pseudo => Edits::new().set(":path", "/nonsense").into(),
            What::DotSegments => Edits::new().path("/open/../nonsense").into(),
            What::Switching => respond(101),
            What::UnknownStatus => respond(999),
            What::ManyHeaders => {
                (0..40_000).fold(Edits::new(), |edits, n| edits.append(format!("x-{n}"), "nonsense")).into()
            }
            What::UndeclaredAttribute => Edits::new().attribute("consumer", "nonsense").into(),
        }
    }
}
plugin!(Nonsense);
