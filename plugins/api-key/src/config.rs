//! The configuration as written, and what is wrong with it.

mod entry;
mod form;

use http::HeaderName;
use tollgate_sdk::{Complaints, Edits, schemars, serde};

use crate::Settings;
use crate::credential::Carriers;
use crate::keyring::{Keyring, Pepper};
use entry::{Entry, keyring};
use form::{Header, NameOrFalse, Secret};

/// Which keys there are, where they may stand, and what they allow.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    /// The keys, as digests. None at all refuses every key.
    keys: Vec<Entry>,
    /// A secret of at least 16 bytes. Keys with an `hmac-sha256` are looked up by HMAC-SHA-256 with this secret, so that
    /// a copy of the configuration without it cannot even tell whether a guessed key is right.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pepper: Option<Secret>,
    /// The header field that carries the key; `false` for none.
    #[serde(default = "x_api_key")]
    #[schemars(with = "NameOrFalse")]
    header: Header,
    /// Whether `Authorization: Bearer KEY` and `Authorization: ApiKey KEY` carry the key too.
    #[serde(default)]
    authorization: bool,
    /// The name of a query parameter that carries the key too. Queries end up in logs and histories: a header is better.
    #[serde(default)]
    query: Option<String>,
    /// The name of a cookie that carries the key too.
    #[serde(default)]
    cookie: Option<String>,
    /// Whether the upstream gets to see the key.
    #[serde(default)]
    forward_credentials: bool,
    /// The realm of `WWW-Authenticate`: what the key is for, in visible ASCII.
    #[serde(default = "api")]
    realm: String,
    /// Scopes that a key must have, all of them; else 403.
    #[serde(default)]
    require_scopes: Vec<String>,
    /// Whether requests without any key go on, without a consumer. A wrong key is refused all the same.
    #[serde(default)]
    optional: bool,
    /// With `optional`: the consumer of requests without a key.
    #[serde(default)]
    anonymous: Option<String>,
}

impl Config {
    /// What the configuration means, or everything that is wrong with it.
    pub(crate) fn check(self) -> Result<(Settings, Keyring), Complaints> {
        let mut wrong = Complaints::new();
        let carriers = self.carriers(&mut wrong);
        let pepper = self.pepper.as_ref().map(|Secret(pepper)| Pepper::new(pepper.as_bytes()));
        if let Some(Secret(pepper)) = &self.pepper
            && pepper.len() < 16
        {
            wrong.add("/pepper", "expected at least 16 bytes, such as 32 random digits");
        }
        if !self.realm.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            wrong.add("/realm", "expected visible ASCII characters");
        }
        for (index, scope) in self.require_scopes.iter().enumerate() {
            if !is_scope(scope) {
                wrong.add(format!("/require-scopes/{index}"), SCOPE);
            }
        }
        if self.optional && !self.require_scopes.is_empty() {
            wrong.add("/optional", "requests without a key have no scopes: leave out this or require-scopes");
        }
        if let Some(anonymous) = &self.anonymous {
            if !is_name(anonymous) {
                wrong.add("/anonymous", NAME);
            }
            if !self.optional {
                wrong
                    .add("/anonymous", "names the consumer of requests without a key, which optional = true lets pass");
            }
        }
        let keyring = keyring(self.keys, pepper, &mut wrong);

        let realm = self.realm.replace('\\', "\\\\").replace('"', "\\\"");
        let mut challenge = format!("ApiKey realm=\"{realm}\"");
        if self.authorization {
            challenge = format!("{challenge}, Bearer realm=\"{realm}\"");
        }
        let settings = Settings {
            carriers,
            forward: self.forward_credentials,
            challenge,
            scope_detail: format!("the key needs these scopes: {}", self.require_scopes.join(" ")),
            require_scopes: self.require_scopes,
            optional: self.optional,
            anonymous: self.anonymous.map(|name| crate::identity(Edits::new(), &name)),
        };
        wrong.or(|| (settings, keyring))
    }

    fn carriers(&self, wrong: &mut Complaints) -> Carriers {
        let header = match &self.header {
            Header::Off => None,
            Header::Named(name) => match HeaderName::from_bytes(name.as_bytes()) {
                Ok(name) => {
                    if let Some(why) = not_for_keys(name.as_str()) {
                        wrong.add("/header", why);
                    }
                    Some(name.as_str().to_owned())
                }
                Err(_) => {
                    wrong.add("/header", "expected the name of a header field, such as \"x-api-key\", or false");
                    None
                }
            },
        };
        if self.query.as_deref() == Some("") {
            wrong.add("/query", "expected the name of a query parameter, such as \"api_key\"");
        }
        // Cookie names are tokens (RFC 6265), and so are the names of header fields.
        if self.cookie.as_ref().is_some_and(|name| HeaderName::from_bytes(name.as_bytes()).is_err()) {
            wrong.add("/cookie", "expected the name of a cookie, such as \"api_key\"");
        }
        let none = matches!(self.header, Header::Off) && !self.authorization;
        if none && self.query.is_none() && self.cookie.is_none() {
            wrong.add("/header", "nothing is left to carry a key: set header, authorization, query or cookie");
        }
        Carriers { header, authorization: self.authorization, query: self.query.clone(), cookie: self.cookie.clone() }
    }
}

const NAME: &str = "expected 1 to 128 visible ASCII characters without spaces";
const SCOPE: &str = "expected a scope (RFC 6749): visible ASCII characters without spaces, quotes and backslashes";

/// Names go into header values and logs as they are.
fn is_name(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn is_scope(text: &str) -> bool {
    is_name(text) && !text.contains(['"', '\\'])
}

const FROM_PROXIES: &str = "this field is for proxies, and is removed: expected another one, such as \"x-api-key\"";

/// Why a header field cannot carry a key, if it cannot.
fn not_for_keys(name: &str) -> Option<&'static str> {
    match name {
        "authorization" => Some("for the Authorization field, set authorization = true"),
        "cookie" => Some("for a cookie, set its name as cookie"),
        crate::CONSUMER_HEADER | crate::SCOPES_HEADER => Some("this field is what the upstream gets"),
        "host" | "connection" | "content-length" | "transfer-encoding" | "te" | "trailer" | "upgrade"
        | "keep-alive" | "expect" | "http2-settings" => {
            Some("this field belongs to HTTP itself: expected another one, such as \"x-api-key\"")
        }
        "forwarded" | "x-real-ip" => Some(FROM_PROXIES),
        _ if name.starts_with("x-forwarded-") || name.starts_with("proxy-") => Some(FROM_PROXIES),
        _ => None,
    }
}

fn x_api_key() -> Header {
    Header::Named("x-api-key".to_owned())
}

fn api() -> String {
    "api".to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const DIGEST: &str = "102505fad4af93f9f14554c6f219ad49b020adfdddd71bb7b2989be7dfcabce2";
    const OTHER: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    const OF_NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn complaints(config: Value) -> Vec<(String, String)> {
        let config: Config = serde_json::from_value(config).unwrap();
        let complaints = config.check().err().unwrap_or_default();
        complaints.iter().map(|(pointer, message)| (pointer.to_owned(), message.to_owned())).collect()
    }

    fn refused(config: Value) -> String {
        serde_json::from_value::<Config>(config).err().expect("a refusal").to_string()
    }

    #[track_caller]
    fn assert_complaint(config: Value, pointer: &str, message: &str) {
        let all = complaints(config);
        assert_eq!(all.len(), 1, "{all:?}");
        assert_eq!(all[0].0, pointer);
        assert!(all[0].1.contains(message), "{all:?}");
    }

    #[test]
    fn a_small_and_a_full_configuration_are_taken() {
        assert_eq!(complaints(json!({ "keys": [] })), []);
        assert_eq!(complaints(json!({ "keys": [{ "consumer": "a", "sha256": DIGEST }] })), []);
        let full = json!({
            "keys": [
                { "consumer": "a", "sha256": format!(" {}\n", DIGEST.to_uppercase()), "id": "one", "scopes": ["read", "a:b"],
                  "not-before": "2026-01-01T00:00:00Z", "expires": "2027-01-01T00:00:00+01:00", "disabled": false },
                { "consumer": "a", "hmac-sha256": DIGEST, "disabled": true },
            ],
            "pepper": "0123456789abcdef", "header": "X-My-Key", "authorization": true, "query": "key", "cookie": "key",
            "forward-credentials": true, "realm": "a \"b\"", "require-scopes": ["read"],
        });
        assert_eq!(complaints(full), []);
        assert_eq!(
            complaints(json!({ "keys": [], "header": false, "query": "k", "optional": true, "anonymous": "x" })),
            []
        );
    }

    #[test]
    fn every_mistake_is_told_at_once() {
        let config = json!({
            "keys": [
                { "consumer": "", "sha256": "abc" },
                { "consumer": "a b", "sha256": OF_NOTHING, "id": "", "scopes": ["x", "a b"] },
                { "consumer": "a", "sha256": DIGEST, "hmac-sha256": DIGEST },
                { "consumer": "a" },
                { "consumer": "a", "hmac-sha256": DIGEST },
                { "consumer": "a", "sha256": OTHER, "not-before": "yesterday", "expires": "2026-01-01" },
            ],
            "header": "a b", "query": "", "cookie": "a=b", "realm": "\n", "require-scopes": ["\""], "anonymous": "",
        });
        let pointers: Vec<_> = complaints(config).into_iter().map(|(pointer, _)| pointer).collect();
        assert_eq!(
            pointers,
            [
                "/header",
                "/query",
                "/cookie",
                "/realm",
                "/require-scopes/0",
                "/anonymous",
                "/anonymous",
                "/keys/0/consumer",
                "/keys/0/sha256",
                "/keys/1/consumer",
                "/keys/1/scopes/1",
                "/keys/1/id",
                "/keys/1/sha256",
                "/keys/2/hmac-sha256",
                "/keys/3",
                "/keys/4/hmac-sha256",
                "/keys/5/not-before",
                "/keys/5/expires",
            ]
        );
    }

    #[test]
    fn the_digest_of_an_empty_key_is_refused() {
        let with = |field: &str, digest: &str| json!({ "keys": [{ "consumer": "a", field: digest }], "pepper": "0123456789abcdef" });
        assert_complaint(with("sha256", OF_NOTHING), "/keys/0/sha256", "empty key");
        assert_complaint(with("sha256", &OF_NOTHING.to_uppercase()), "/keys/0/sha256", "empty key");
        let under_the_pepper: String =
            Pepper::new(b"0123456789abcdef").digest(b"").iter().map(|byte| format!("{byte:02x}")).collect();
        assert_complaint(with("hmac-sha256", &under_the_pepper), "/keys/0/hmac-sha256", "empty key");
        assert_eq!(complaints(with("hmac-sha256", OF_NOTHING)), []);
    }

    #[test]
    fn one_key_belongs_to_one_consumer() {
        let config = json!({ "keys": [
            { "consumer": "a", "sha256": DIGEST, "disabled": true },
            { "consumer": "b", "sha256": OTHER },
            { "consumer": "c", "sha256": DIGEST.to_uppercase() },
        ]});
        assert_complaint(config, "/keys/2/sha256", "the same key as /keys/0");
        let config = json!({ "keys": [
            { "consumer": "a", "sha256": DIGEST, "id": "one" },
            { "consumer": "b", "sha256": OTHER, "id": "one" },
        ]});
        assert_complaint(config, "/keys/1/id", "the same id as that of /keys/0");
    }

    #[test]
    fn scopes_fit_a_header() {
        let config = |scopes: usize| {
            let scopes: Vec<_> = (0..scopes).map(|_| "x".repeat(127)).collect();
            json!({ "keys": [{ "consumer": "a", "sha256": DIGEST, "scopes": scopes }] })
        };
        assert_eq!(complaints(config(32)), []);
        assert_complaint(config(33), "/keys/0/scopes", "at most 4096 bytes");
    }

    #[test]
    fn a_wrong_digest_is_refused_and_never_repeated() {
        for digest in ["", "tg_secret", &DIGEST[1..], &format!("{DIGEST}0"), &DIGEST.replace('1', "g"), &"é".repeat(32)]
        {
            let all = complaints(json!({ "keys": [{ "consumer": "a", "sha256": digest }] }));
            assert_eq!(all.len(), 1, "{digest}");
            assert_eq!(all[0].0, "/keys/0/sha256");
            assert!(digest.is_empty() || !all[0].1.contains(digest));
        }
    }

    #[test]
    fn secrets_in_the_wrong_place_are_not_repeated() {
        for config in [
            json!({ "keys": ["hunter2"] }),
            json!({ "keys": [], "pepper": 7_777_777 }),
            json!({ "keys": [], "pepper": -7_777_777 }),
            json!({ "keys": [], "pepper": 7_777_777.5 }),
        ] {
            let message = refused(config);
            assert!(!message.contains("hunter2") && !message.contains("7777777"), "{message}");
            assert!(message.contains("expected a"), "{message}");
        }
        assert_complaint(json!({ "keys": [], "pepper": "hunter2" }), "/pepper", "at least 16 bytes");
    }

    #[test]
    fn headers_that_mean_something_else_cannot_carry_keys() {
        for header in ["Authorization", "cookie", "HOST", "x-consumer-id", "content-length", "connection"] {
            let all = complaints(json!({ "keys": [], "header": header }));
            assert_eq!(all.len(), 1, "{header}");
            assert_eq!(all[0].0, "/header");
        }
        assert_complaint(json!({ "keys": [], "header": false }), "/header", "nothing is left");
        assert!(refused(json!({ "keys": [], "header": true })).contains("or false"));
        assert!(refused(json!({ "keys": [], "header": 7 })).contains("or false"));
    }

    #[test]
    fn contradictions_are_refused() {
        let key = json!([{ "consumer": "a", "sha256": DIGEST, "not-before": "2026-01-02T00:00:00Z",
                           "expires": "2026-01-02T00:00:00Z" }]);
        assert_complaint(json!({ "keys": key }), "/keys/0/expires", "a time after not-before");
        assert_complaint(
            json!({ "keys": [], "optional": true, "require-scopes": ["a"] }),
            "/optional",
            "require-scopes",
        );
        assert_complaint(json!({ "keys": [], "anonymous": "a" }), "/anonymous", "optional = true");
    }

    #[test]
    fn unknown_members_are_refused() {
        assert!(refused(json!({ "keys": [], "keyz": [] })).contains("unknown field `keyz`"));
        assert!(refused(json!({ "keys": [{ "consumer": "a", "key": "b" }] })).contains("unknown field `key`"));
        assert!(refused(json!({})).contains("missing field `keys`"));
    }

    #[test]
    fn the_schema_describes_every_option() {
        let schema = schemars::schema_for!(Config).to_value();
        for (name, property) in schema["properties"].as_object().unwrap() {
            assert!(property["description"].is_string(), "{name}");
        }
        let key = &schema["$defs"]["Key"]["properties"];
        assert_eq!(key.as_object().unwrap().len(), 8, "{schema:#}");
        assert!(key["sha256"]["description"].is_string());
        assert!(schema["properties"]["pepper"].is_object());
    }
}
