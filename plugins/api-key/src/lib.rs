//! API keys: who a request comes from, by a key that it carries.
//!
//! Keys are configured as digests, so that no configuration, log or dump holds a usable one. A request without a key, with
//! a wrong one or with two of them is refused; a right key is taken out of the request, and the consumer's name goes to
//! the upstream in `x-consumer-id` and to later plugins as an attribute.

mod config;
mod credential;
pub mod key;
mod keyring;
mod time;

use http::StatusCode;
use tollgate_sdk::{Complaints, Edits, Flow, Interest, Plugin, Problem, Request, plugin};

pub use config::Config;
use credential::{Carriers, Presented};
use keyring::{Key, Keyring};

/// The request header that names the consumer to the upstream.
pub const CONSUMER_HEADER: &str = "x-consumer-id";
/// The request header that names the key's scopes to the upstream, with spaces between them.
pub const SCOPES_HEADER: &str = "x-consumer-scopes";

/// The plugin.
pub struct ApiKey {
    settings: Settings,
    keyring: Keyring,
    /// Seconds since 1970.
    now: fn() -> i64,
}

/// The configuration besides the keys, checked.
struct Settings {
    carriers: Carriers,
    forward: bool,
    /// The value of `WWW-Authenticate`.
    challenge: String,
    require_scopes: Vec<String>,
    scope_detail: String,
    optional: bool,
    /// What is changed in a request without a key, where that is allowed and has a name.
    anonymous: Option<Edits>,
}

impl Plugin for ApiKey {
    type Config = Config;

    fn configure(config: Config) -> Result<Self, Complaints> {
        let (settings, keyring) = config.check()?;
        Ok(Self { settings, keyring, now: system_time })
    }

    fn interest(&self) -> Interest {
        Interest::new()
            .request(|see| self.settings.carriers.see(see))
            .owns_headers([CONSUMER_HEADER, SCOPES_HEADER])
            .sets_attributes(["consumer", "credential", "scopes"])
    }

    fn on_request(&self, request: &Request) -> Flow {
        let (carrier, text) = match self.settings.carriers.find(request) {
            Presented::Key(carrier, text) => (carrier, text),
            Presented::Nothing if self.settings.optional => {
                return self.settings.anonymous.clone().map_or(Flow::Continue, Flow::Edit);
            }
            Presented::Nothing => return self.missing().into(),
            Presented::Unusable => return self.invalid().into(),
            Presented::Ambiguous => return ambiguous().into(),
        };
        let Some(key) = self.verified(&text) else {
            return self.invalid().into();
        };
        if !self.settings.require_scopes.iter().all(|scope| key.scopes.iter().any(|one| **one == **scope)) {
            return self.insufficient().into();
        }
        let mut edits = identity(Edits::new(), &key.consumer).attribute("credential", &*key.id);
        if !key.joined_scopes.is_empty() {
            edits = edits.set(SCOPES_HEADER, key.joined_scopes.as_bytes()).attribute("scopes", &*key.joined_scopes);
        }
        if !self.settings.forward {
            edits = self.settings.carriers.strip(carrier, request, edits);
        }
        Flow::Edit(edits)
    }
}

plugin!(ApiKey);

impl ApiKey {
    /// The key that this text is, if it works now.
    fn verified(&self, text: &[u8]) -> Option<&Key> {
        key::check(text).ok()?;
        self.keyring.find(text).filter(|key| key.works(self.now))
    }

    fn missing(&self) -> Problem {
        Problem::new(StatusCode::UNAUTHORIZED, "missing-credential", "An API key is needed")
            .detail("send the API key that you were given for this service")
            .header("www-authenticate", &self.settings.challenge)
    }

    /// The same for every wrong key: unknown, malformed, too long, disabled, not yet or no longer valid.
    fn invalid(&self) -> Problem {
        Problem::new(StatusCode::UNAUTHORIZED, "invalid-credential", "The API key is not valid")
            .detail("send an API key that is valid now, exactly as you were given it, and only once")
            .header("www-authenticate", &self.settings.challenge)
    }

    fn insufficient(&self) -> Problem {
        Problem::new(StatusCode::FORBIDDEN, "insufficient-scope", "The API key does not allow this")
            .detail(&self.settings.scope_detail)
    }
}

fn ambiguous() -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "ambiguous-credential", "More than one API key was sent")
        .detail("send the API key in one place only")
}

/// Names a consumer to the upstream and to later plugins.
fn identity(edits: Edits, consumer: &str) -> Edits {
    edits.set(CONSUMER_HEADER, consumer).attribute("consumer", consumer)
}

fn system_time() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    // A clock before 1970 is wrong, and then no key that has an end works.
    since.ok().and_then(|since| i64::try_from(since.as_secs()).ok()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// The SHA-256 of `secret`.
    const SECRET: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
    /// A key of Tollgate's make: the one of `key`'s test vector.
    const MADE: &str = "tg_EgOGusQG_wpWJhXqJNbv5nx0olkKwtL5aK5hBIHrb_3bVNfs";

    fn sha256(text: &[u8]) -> String {
        use sha2::Digest as _;
        sha2::Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn plugin(more: Value) -> ApiKey {
        let mut config = json!({ "keys": [
            { "consumer": "alice", "sha256": SECRET },
            { "consumer": "bob", "sha256": sha256(b"second"), "id": "bobs", "scopes": ["read", "write"] },
            { "consumer": "carol", "sha256": sha256(MADE.as_bytes()), "id": "EgOGusQG" },
            { "consumer": "dave", "sha256": sha256(b"gone"), "disabled": true },
            { "consumer": "erin", "sha256": sha256(b"limited"),
              "not-before": "1970-01-01T00:00:10Z", "expires": "1970-01-01T00:00:20Z" },
            { "consumer": "frank", "sha256": sha256(b"tg_no-checksum") },
        ]});
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        ApiKey::configure(serde_json::from_value(config).unwrap()).unwrap_or_else(|wrong| panic!("{wrong:?}"))
    }

    fn request(uri: &str, headers: &[(&str, &[u8])]) -> Request {
        let mut request = http::Request::get(uri);
        for (name, value) in headers {
            request = request.header(*name, http::HeaderValue::from_bytes(value).unwrap());
        }
        Request::from(&request.body(()).unwrap())
    }

    fn with_key(key: &[u8]) -> Request {
        request("/v1/search?q=a", &[("x-api-key", key)])
    }

    #[track_caller]
    fn edits(flow: Flow) -> Edits {
        match flow {
            Flow::Edit(edits) => edits,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn refusal(flow: Flow) -> (u16, String) {
        match flow {
            Flow::Refuse(problem) => (problem.status(), problem.code().to_owned()),
            other => panic!("{other:?}"),
        }
    }

    fn refused(status: u16, code: &str) -> (u16, String) {
        (status, code.to_owned())
    }

    #[test]
    fn a_right_key_names_the_consumer_and_goes_no_further() {
        let edits = edits(plugin(json!({})).on_request(&with_key(b"secret")));
        assert_eq!(edits.header("x-consumer-id"), Some(&b"alice"[..]));
        assert_eq!(edits.header("x-consumer-scopes"), None);
        assert!(edits.removed().eq(["x-api-key"]));
        assert_eq!(edits.target(), (None, None));
        assert_eq!(edits.attribute_set("consumer"), Some("alice"));
        assert_eq!(edits.attribute_set("credential"), Some(&SECRET[..12]));
        assert_eq!(edits.attribute_set("scopes"), None);
    }

    #[test]
    fn scopes_go_to_the_upstream_and_to_later_plugins() {
        let edits = edits(plugin(json!({})).on_request(&with_key(b"second")));
        assert_eq!(edits.header("x-consumer-scopes"), Some(&b"read write"[..]));
        assert_eq!(edits.attribute_set("scopes"), Some("read write"));
        assert_eq!(edits.attribute_set("credential"), Some("bobs"));
    }

    #[test]
    fn a_made_key_works_and_needs_its_checksum() {
        let plugin = plugin(json!({}));
        assert_eq!(edits(plugin.on_request(&with_key(MADE.as_bytes()))).attribute_set("consumer"), Some("carol"));
        // Its digest is configured, but nothing that begins with tg_ works without a checksum.
        assert_eq!(refusal(plugin.on_request(&with_key(b"tg_no-checksum"))), refused(401, "invalid-credential"));
    }

    #[test]
    fn the_key_is_removed_from_each_carrier_and_kept_where_that_is_wished() {
        let more = json!({ "authorization": true, "query": "api_key", "cookie": "k" });
        let cases = [
            request("/?b=%7e&api_key=secret&a=1", &[]),
            request("/", &[("authorization", b"Bearer secret")]),
            request("/", &[("cookie", b"a=1; k=secret; b=2")]),
        ];
        let stripping = plugin(more.clone());
        let [query, authorization, cookie] = cases.each_ref().map(|request| edits(stripping.on_request(request)));
        assert_eq!(query.target(), (None, Some("b=%7e&a=1")));
        assert!(authorization.removed().eq(["authorization"]));
        assert!(cookie.values("cookie").eq([&b"a=1; b=2"[..]]));

        let mut more = more;
        more["forward-credentials"] = json!(true);
        let forwarding = plugin(more);
        for request in &cases {
            let edits = edits(forwarding.on_request(request));
            assert_eq!(edits.attribute_set("consumer"), Some("alice"));
            assert_eq!((edits.removed().count(), edits.target(), edits.header("cookie")), (0, (None, None), None));
        }
    }

    #[test]
    fn a_request_without_a_key_is_told_what_is_missing() {
        let Flow::Refuse(problem) = plugin(json!({ "realm": "a \"b\" \\" })).on_request(&request("/", &[])) else {
            panic!("refused")
        };
        assert_eq!((problem.status(), problem.code()), (401, "missing-credential"));
        assert_eq!(problem.header_value("www-authenticate"), Some(&br#"ApiKey realm="a \"b\" \\""#[..]));
        let Flow::Refuse(problem) = plugin(json!({ "authorization": true })).on_request(&request("/", &[])) else {
            panic!("refused")
        };
        let both = br#"ApiKey realm="api", Bearer realm="api""#;
        assert_eq!(problem.header_value("www-authenticate"), Some(&both[..]));
    }

    /// Class A of the hostile inputs: every one is refused, and all in the same words.
    #[test]
    fn every_wrong_key_gets_the_same_refusal() {
        let mut plugin = plugin(json!({ "query": "api_key" }));
        plugin.now = || 9;
        let changed_checksum = MADE.replace("3bVNfs", "3bVNft");
        let long = [&b"secret"[..], &b"x".repeat(100_000)].concat();
        let mut requests: Vec<Request> = [
            &b""[..],
            b"wrong",
            b"Secret",
            b"SECRET",
            b"secre",
            b"secrets",
            b"secret ",
            b" secret",
            b"\xEF\xBB\xBFsecret",
            b"\"secret\"",
            b"secret, wrong",
            b"wrong, secret",
            b"secret,",
            b"secret;",
            b"secret\t",
            b"secret\xFF",
            SECRET.as_bytes(),
            b"gone",
            b"limited",
            changed_checksum.as_bytes(),
            b"tg_",
            b"tg_no-checksum",
            &long,
        ]
        .map(with_key)
        .into();
        for (first, second) in [("secret", "wrong"), ("wrong", "secret"), ("secret", "secret"), ("", "secret")] {
            let fields = [("x-api-key", first.as_bytes()), ("x-api-key", second.as_bytes())];
            requests.push(request("/", &fields));
        }
        for query in ["api_key=secret%20", "api_key=secret%00", "api_key=%EF%BB%BFsecret", "api_key=secret&api_key=x"] {
            requests.push(request(&format!("/?{query}"), &[]));
        }
        let words = format!("{:?}", plugin.invalid());
        for request in requests {
            let flow = plugin.on_request(&request);
            let Flow::Refuse(problem) = flow else { panic!("{request:?} passed: {flow:?}") };
            assert_eq!(format!("{problem:?}"), words, "{request:?}");
        }
        assert_eq!((plugin.invalid().status(), plugin.invalid().code()), (401, "invalid-credential"));
        assert!(plugin.invalid().header_value("www-authenticate").is_some());
    }

    #[test]
    fn two_carriers_are_a_wrong_request() {
        let plugin = plugin(json!({ "query": "api_key" }));
        for query in ["secret", "wrong", ""] {
            let request = request(&format!("/?api_key={query}"), &[("x-api-key", b"secret")]);
            assert_eq!(refusal(plugin.on_request(&request)), refused(400, "ambiguous-credential"));
        }
    }

    #[test]
    fn names_of_another_spelling_are_no_carrier() {
        let plugin = plugin(json!({}));
        for request in [
            request("/", &[("x_api_key", b"secret")]),
            request("/?x-api-key=secret&api_key=secret", &[]),
            request("/", &[("authorization", b"Bearer secret"), ("cookie", b"x-api-key=secret")]),
        ] {
            assert_eq!(refusal(plugin.on_request(&request)), refused(401, "missing-credential"));
        }
    }

    #[test]
    fn a_key_works_from_its_beginning_to_its_end() {
        let mut plugin = plugin(json!({}));
        for (now, works) in [(9_i64, false), (10, true), (19, true), (20, false)] {
            plugin.now = match now {
                9 => || 9,
                10 => || 10,
                19 => || 19,
                _ => || 20,
            };
            assert_eq!(matches!(plugin.on_request(&with_key(b"limited")), Flow::Edit(_)), works, "{now}");
        }
        plugin.now = || panic!("keys without an end do not ask for the time");
        assert!(matches!(plugin.on_request(&with_key(b"secret")), Flow::Edit(_)));
        assert!(system_time() > 1_700_000_000);
    }

    #[test]
    fn rotation_leaves_an_overlap() {
        let mut plugin = ApiKey::configure(
            serde_json::from_value(json!({ "keys": [
                { "consumer": "alice", "sha256": sha256(b"old"), "expires": "1970-01-01T00:00:20Z" },
                { "consumer": "alice", "sha256": sha256(b"new"), "not-before": "1970-01-01T00:00:10Z" },
            ]}))
            .unwrap(),
        )
        .unwrap_or_else(|wrong| panic!("{wrong:?}"));
        let works = |plugin: &ApiKey, key: &[u8]| matches!(plugin.on_request(&with_key(key)), Flow::Edit(_));
        plugin.now = || 5;
        assert_eq!((works(&plugin, b"old"), works(&plugin, b"new")), (true, false));
        plugin.now = || 15;
        assert_eq!((works(&plugin, b"old"), works(&plugin, b"new")), (true, true));
        plugin.now = || 25;
        assert_eq!((works(&plugin, b"old"), works(&plugin, b"new")), (false, true));
    }

    #[test]
    fn missing_scopes_are_refused_with_what_is_needed() {
        let one = plugin(json!({ "require-scopes": ["write"] }));
        assert!(matches!(one.on_request(&with_key(b"second")), Flow::Edit(_)));
        let Flow::Refuse(problem) = one.on_request(&with_key(b"secret")) else { panic!("refused") };
        assert_eq!((problem.status(), problem.code()), (403, "insufficient-scope"));
        assert_eq!(problem.detail_text(), Some("the key needs these scopes: write"));
        let more = plugin(json!({ "require-scopes": ["write", "admin"] }));
        assert_eq!(refusal(more.on_request(&with_key(b"second"))), refused(403, "insufficient-scope"));
        let part = plugin(json!({ "require-scopes": ["rea"] }));
        assert_eq!(refusal(part.on_request(&with_key(b"second"))), refused(403, "insufficient-scope"));
        assert_eq!(refusal(one.on_request(&with_key(b"wrong"))), refused(401, "invalid-credential"));
    }

    #[test]
    fn an_optional_key_may_be_missing_but_not_wrong() {
        let nameless = plugin(json!({ "optional": true }));
        assert!(matches!(nameless.on_request(&request("/", &[])), Flow::Continue));
        assert_eq!(refusal(nameless.on_request(&with_key(b"wrong"))), refused(401, "invalid-credential"));
        assert_eq!(refusal(nameless.on_request(&with_key(b""))), refused(401, "invalid-credential"));
        let named = plugin(json!({ "optional": true, "anonymous": "guest" }));
        let edits = edits(named.on_request(&request("/", &[])));
        assert_eq!(edits.header("x-consumer-id"), Some(&b"guest"[..]));
        assert_eq!((edits.attribute_set("consumer"), edits.attribute_set("credential")), (Some("guest"), None));
    }

    #[test]
    fn with_a_pepper_both_kinds_of_digest_work() {
        let pepper = keyring::Pepper::new(b"0123456789abcdef");
        let digest: String = pepper.digest(b"peppered").iter().map(|byte| format!("{byte:02x}")).collect();
        let plugin = ApiKey::configure(
            serde_json::from_value(json!({
                "pepper": "0123456789abcdef",
                "keys": [
                    { "consumer": "alice", "hmac-sha256": digest },
                    { "consumer": "bob", "sha256": sha256(b"plain") },
                ],
            }))
            .unwrap(),
        )
        .unwrap_or_else(|wrong| panic!("{wrong:?}"));
        for (key, consumer) in [(&b"peppered"[..], "alice"), (b"plain", "bob")] {
            assert_eq!(edits(plugin.on_request(&with_key(key))).attribute_set("consumer"), Some(consumer));
        }
    }
}
