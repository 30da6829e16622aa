//! Asks an authorization server about each bearer token (RFC 7662), tells the upstream and later plugins whose it is, and
//! refuses requests without a good one.

use std::time::Duration;

use tollgate_sdk::http::{self, StatusCode};
use tollgate_sdk::{
    Complaints, Edits, Flow, Interest, Plugin, Problem, Request, http_client, log, plugin, schemars, serde,
};

#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(crate = "tollgate_sdk::serde", deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(crate = "tollgate_sdk::schemars")]
struct Config {
    /// Where tokens are introspected: `https://idp.example.com/introspect`. Its origin has to be granted.
    endpoint: String,
}

struct Introspect {
    endpoint: http::Uri,
}

/// What the server says about a token.
#[derive(serde::Deserialize)]
#[serde(crate = "tollgate_sdk::serde")]
struct Verdict {
    active: bool,
    #[serde(default)]
    sub: String,
}

impl Plugin for Introspect {
    type Config = Config;

    fn configure(config: Config) -> Result<Self, Complaints> {
        match config.endpoint.parse::<http::Uri>() {
            Ok(endpoint) if endpoint.scheme().is_some() => Ok(Self { endpoint }),
            _ => Err(Complaints::of("/endpoint", "it is an absolute URL")),
        }
    }

    fn interest(&self) -> Interest {
        Interest::new()
            .request(|see| see.headers(["authorization"]))
            .owns_headers(["x-user"])
            .sets_attributes(["consumer"])
    }

    fn on_request(&self, request: &Request) -> Flow {
        let token = request.header("authorization").and_then(|value| value.strip_prefix(b"Bearer "));
        let Some(token) = token.and_then(|token| std::str::from_utf8(token).ok()).filter(|token| is_token(token))
        else {
            let problem = Problem::new(StatusCode::UNAUTHORIZED, "missing-token", "This needs a bearer token.");
            return problem.header("www-authenticate", "Bearer").into();
        };
        match self.ask(token) {
            Ok(Verdict { active: true, sub }) => {
                Edits::new().remove("authorization").set("x-user", &sub).attribute("consumer", sub).into()
            }
            Ok(_) => {
                let body = r#"{"error":"invalid_token"}"#.as_bytes().to_vec();
                let response = http::Response::builder()
                    .status(StatusCode::UNAUTHORIZED)
                    .header("content-type", "application/json")
                    .header("www-authenticate", "Bearer error=\"invalid_token\"");
                Flow::Respond(response.body(body).expect("a status and fields that are right"))
            }
            Err(why) => {
                log::write(log::Level::Warn, &format!("the token cannot be looked up: {why}"));
                let title = "The token cannot be looked up now.";
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, "introspection-failed", title).into()
            }
        }
    }
}

impl Introspect {
    fn ask(&self, token: &str) -> Result<Verdict, String> {
        let request = http::Request::post(self.endpoint.clone())
            .header("content-type", "application/x-www-form-urlencoded")
            .header("accept", "application/json")
            .body(format!("token={token}").into_bytes())
            .map_err(|error| error.to_string())?;
        let response =
            http_client::send(request, Some(Duration::from_millis(500))).map_err(|error| error.to_string())?;
        if response.status() != StatusCode::OK {
            return Err(format!("the server answered {}", response.status().as_u16()));
        }
        serde_json::from_slice(response.body()).map_err(|error| error.to_string())
    }
}

/// RFC 6750, section 2.1: what a token is made of. Of that, `+`, `/` and `=` would mean something else in a form.
fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~'))
}
plugin!(Introspect);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_asked_about_and_the_answer_counts() {
        let plugin = Introspect { endpoint: "https://idp.test/introspect".parse().expect("a URL") };
        let request = http::Request::get("/").header("authorization", "Bearer abc").body(()).expect("a request");
        http_client::stand_in(|asked| {
            assert_eq!(asked.body(), b"token=abc");
            Ok(http::Response::new(br#"{"active":true,"sub":"alice"}"#.to_vec()))
        });
        let Flow::Edit(edits) = plugin.on_request(&Request::from(&request)) else { panic!("it goes on") };
        assert_eq!(edits.attribute_set("consumer"), Some("alice"));
    }
}
