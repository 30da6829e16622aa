//! Rate limits: how many requests an address, a consumer or anything else that a request has may make.
//!
//! The counting is the host's (`tollgate:plugin/limiter`): exact, shared by all instances, and it survives reloads. This
//! plugin says which requests are counted together and what clients are told.

mod config;
mod key;
mod signal;

use http::StatusCode;
use tollgate_sdk::limiter::{Bucket, Taken};
use tollgate_sdk::{Complaints, Edits, Flow, Interest, Plugin, Problem, Request, ResponseHead, log, plugin};

pub use config::Config;
use key::{Key, Keys, Missing, Part};
use signal::Signals;

/// The plugin.
pub struct RateLimit {
    bucket: Bucket,
    settings: Settings,
}

/// The configuration, checked.
#[derive(Debug)]
struct Settings {
    keys: Keys,
    cost: u32,
    signals: Signals,
    refuse_unavailable: bool,
}

impl Plugin for RateLimit {
    type Config = Config;

    fn configure(config: Config) -> Result<Self, Complaints> {
        let (settings, windows) = config.check()?;
        // Named by what is counted: with other parts, the same text would be another client's key.
        match Bucket::open(&settings.keys.name(), &windows) {
            Ok(bucket) => Ok(Self { bucket, settings }),
            Err(error) => Err(Complaints::of("", config::no_bucket(error))),
        }
    }

    fn interest(&self) -> Interest {
        let interest = Interest::new().request(|see| self.settings.keys.see(see));
        if self.settings.signals.any() {
            interest.response(|see| self.settings.signals.see(see)).sets_attributes([signal::TOLD])
        } else {
            interest
        }
    }

    fn on_request(&self, request: &Request) -> Flow {
        let key = match self.settings.keys.of(request) {
            Key::Is(key) => key,
            Key::Lacks(_) if self.settings.keys.missing == Missing::Skip => return Flow::Continue,
            Key::Lacks(part) => return missing(part).into(),
        };
        match self.bucket.take(&key, self.settings.cost) {
            Ok(taken) if !taken.allowed => self.exceeded(&taken).into(),
            Ok(taken) if self.settings.signals.any() => Edits::new().memo(signal::memo(&taken.windows)).into(),
            Ok(_) => Flow::Continue,
            Err(error) => {
                log::write(log::Level::Warn, &format!("the limiter did not answer: {error:?}"));
                if self.settings.refuse_unavailable { unavailable().into() } else { Flow::Continue }
            }
        }
    }

    fn on_response(&self, response: &ResponseHead, memo: Option<Vec<u8>>) -> Flow {
        // Without a memo the request was not counted, and there is nothing to tell.
        let Some(memo) = memo else { return Flow::Continue };
        self.settings.signals.response(response, &signal::standings(&memo)).into()
    }
}

plugin!(RateLimit);

impl RateLimit {
    fn exceeded(&self, taken: &Taken) -> Problem {
        let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "quota-exceeded", "Too many requests");
        // A cost above a burst would never fit; `configure` refuses it.
        let wait = signal::seconds(taken.retry_after_ms).max(1);
        let unit = if wait == 1 { "second" } else { "seconds" };
        let problem = problem.detail(format!("try again in {wait} {unit}")).header("retry-after", wait.to_string());
        self.settings.signals.refusal(problem, &taken.windows, wait)
    }
}

fn missing(part: &Part) -> Problem {
    let problem = |status, what: &str, name: &str| {
        Problem::new(status, "missing-limit-key", "The request cannot be counted").detail(format!("{what} {name}"))
    };
    match part {
        Part::Header(name) => problem(StatusCode::BAD_REQUEST, "send the header", name),
        Part::Attribute(name) => {
            problem(StatusCode::FORBIDDEN, "only requests with an identity are taken: this has no", name)
        }
        // Every request has one, if only an unknown one.
        Part::Address => problem(StatusCode::FORBIDDEN, "this request has no", "address"),
    }
}

fn unavailable() -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "limiter-unavailable", "Requests cannot be counted at the moment")
        .detail("try again in 1 second")
        .header("retry-after", "1")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn plugin(config: Value) -> RateLimit {
        let config = serde_json::from_value(config).unwrap();
        RateLimit::configure(config).unwrap_or_else(|wrong| panic!("{wrong:?}"))
    }

    fn request(client: &str) -> Request {
        let request = http::Request::get("/v1/search").body(()).unwrap();
        Request::from(&request).with_client(client.parse().unwrap())
    }

    fn consumer(name: &str) -> Request {
        request("192.0.2.1").with_attribute("consumer", name)
    }

    fn response() -> ResponseHead {
        ResponseHead::from(&http::Response::new(()))
    }

    #[track_caller]
    fn refusal(flow: Flow) -> Problem {
        match flow {
            Flow::Refuse(problem) => problem,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn memo(flow: Flow) -> Vec<u8> {
        match flow {
            Flow::Edit(edits) => edits.memo_set().expect("a memo").to_vec(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_hundred_pass_and_the_next_is_told_when_to_come_back() {
        let plugin = plugin(json!({ "limit": 100, "window": "1m", "key": "consumer" }));
        for left in (0..100_u64).rev() {
            let memo = memo(plugin.on_request(&consumer("alice")));
            let Flow::Edit(edits) = plugin.on_response(&response(), Some(memo)) else { panic!("edits") };
            let limit = String::from_utf8(edits.header("ratelimit").unwrap().to_vec()).unwrap();
            assert!(limit.starts_with(&format!("\"minute\";r={left};t=")), "{limit}");
        }
        let problem = refusal(plugin.on_request(&consumer("alice")));
        assert_eq!((problem.status(), problem.code()), (429, "quota-exceeded"));
        assert_eq!(problem.header_value("retry-after"), Some(&b"1"[..]));
        assert_eq!(problem.header_value("ratelimit"), Some(&br#""minute";r=0;t=1"#[..]));
        assert_eq!(problem.header_value("ratelimit-policy"), Some(&br#""minute";q=100;w=60"#[..]));
        assert_eq!(problem.detail_text(), Some("try again in 1 second"));
        memo(plugin.on_request(&consumer("bob")));
    }

    #[test]
    fn a_longer_wait_is_told_in_whole_seconds() {
        let plugin = plugin(json!({ "limit": 7, "window": "1m", "burst": 1, "key": "global" }));
        memo(plugin.on_request(&request("192.0.2.1")));
        let problem = refusal(plugin.on_request(&request("192.0.2.2")));
        assert_eq!(problem.header_value("retry-after"), Some(&b"9"[..]));
        assert_eq!(problem.detail_text(), Some("try again in 9 seconds"));
    }

    #[test]
    fn without_fields_the_response_is_left_alone() {
        let plugin = plugin(json!({ "limit": 1, "window": "1h", "key": "address", "headers": "none" }));
        assert!(matches!(plugin.on_request(&request("192.0.2.1")), Flow::Continue));
        let problem = refusal(plugin.on_request(&request("192.0.2.1")));
        assert_eq!(problem.header_value("retry-after"), Some(&b"3600"[..]));
        assert_eq!(problem.header_value("ratelimit"), None);
        assert!(matches!(plugin.on_response(&response(), None), Flow::Continue));
    }

    #[test]
    fn a_request_must_fit_every_window_and_a_refused_one_costs_nothing() {
        let plugin = plugin(json!({ "key": "global", "cost": 2, "windows": [
            { "limit": 100, "window": "1s" },
            { "limit": 5, "window": "1h" },
        ]}));
        for _ in 0..2 {
            memo(plugin.on_request(&request("192.0.2.1")));
        }
        for _ in 0..3 {
            let problem = refusal(plugin.on_request(&request("192.0.2.1")));
            let limit = problem.header_value("ratelimit").unwrap();
            assert!(limit.starts_with(b"\"hour\";r=1;"), "{}", String::from_utf8_lossy(limit));
        }
    }

    #[test]
    fn a_missing_part_is_skipped_counted_by_address_or_refused() {
        let of =
            |missing: &str, key: &str| plugin(json!({ "limit": 1, "window": "1m", "key": key, "missing": missing }));
        let skipping = of("skip", "consumer");
        for _ in 0..3 {
            assert!(matches!(skipping.on_request(&request("192.0.2.1")), Flow::Continue));
        }
        assert!(matches!(skipping.on_response(&response(), None), Flow::Continue));

        let anonymous = of("anonymous", "consumer");
        memo(anonymous.on_request(&request("192.0.2.1")));
        memo(anonymous.on_request(&request("192.0.2.2")));
        memo(anonymous.on_request(&consumer("alice")));
        assert_eq!(refusal(anonymous.on_request(&request("192.0.2.1"))).status(), 429);

        let problem = refusal(of("refuse", "header:x-tenant").on_request(&request("192.0.2.1")));
        assert_eq!((problem.status(), problem.code()), (400, "missing-limit-key"));
        assert_eq!(problem.detail_text(), Some("send the header x-tenant"));
        let problem = refusal(of("refuse", "claim:sub").on_request(&request("192.0.2.1")));
        assert_eq!((problem.status(), problem.code()), (403, "missing-limit-key"));
    }

    #[test]
    fn addresses_of_one_ipv6_customer_are_one() {
        let plugin = plugin(json!({ "limit": 1, "window": "1m", "key": "address" }));
        memo(plugin.on_request(&request("2001:db8::1")));
        assert_eq!(refusal(plugin.on_request(&request("2001:db8::2"))).status(), 429);
        memo(plugin.on_request(&request("2001:db8:0:1::1")));
    }

    #[test]
    fn an_answer_that_does_not_come_is_a_refusal_with_a_time() {
        let problem = unavailable();
        assert_eq!((problem.status(), problem.code()), (503, "limiter-unavailable"));
        assert_eq!(problem.header_value("retry-after"), Some(&b"1"[..]));
    }
}
