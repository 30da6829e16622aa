//! The configuration as written, and what is wrong with it.

mod part;
mod window;

use tollgate_sdk::limiter::{Error, Window};
use tollgate_sdk::{Complaints, schemars, serde};

use crate::Settings;
use crate::key::{Keys, Missing};
use crate::signal::{Policy, Signals};
use part::{OneOrMany, parts};
use window::{Found, MOST, MOST_WINDOWS, WindowConfig};

/// How much, of what, counted for whom. Either `limit` and `window`, or `windows`.
#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    /// What is given back in one window: 1 to 1,000,000,000.
    #[serde(default)]
    limit: Option<u64>,
    /// The window, such as `1s`, `1m`, `24h`: at least 1 ms, at most 31 days.
    #[serde(default)]
    window: Option<String>,
    /// The most that can be taken at once. Default: the limit.
    #[serde(default)]
    burst: Option<u64>,
    /// Up to eight windows. A request must fit all of them; one that does not is counted in none.
    #[serde(default)]
    windows: Option<Vec<WindowConfig>>,
    /// Whose requests are counted together: `address`, `consumer`, `credential`, `header:NAME`, `claim:NAME`,
    /// `attribute:NAME`, several of these as a list, or `global` for all requests. Default: `consumer`.
    #[serde(default = "consumer")]
    #[schemars(with = "part::Schema")]
    key: OneOrMany,
    /// What happens to a request that lacks the header or attribute of its key.
    #[serde(default)]
    missing: MissingConfig,
    /// What one request takes.
    #[serde(default = "one")]
    cost: u32,
    /// Which fields tell clients how they stand.
    #[serde(default)]
    headers: Headers,
    /// What happens to requests while the limiter does not answer.
    #[serde(default)]
    on_unavailable: OnUnavailable,
}

#[derive(Debug, Clone, Copy, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum MissingConfig {
    /// It is not limited. Whoever can leave the header out has no limit.
    Skip,
    /// It is counted by its address in that part's place, apart from requests that have the part.
    #[default]
    Anonymous,
    /// It is refused: 400 for a header, 403 for an attribute.
    Refuse,
}

#[derive(Debug, Clone, Copy, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Headers {
    /// `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-10).
    #[default]
    Ratelimit,
    /// `X-RateLimit-Limit`, `X-RateLimit-Remaining`, `X-RateLimit-Reset` (in seconds from now).
    Legacy,
    /// All five.
    Both,
    /// None, and no call for responses. A 429 has its `Retry-After` all the same.
    None,
}

#[derive(Debug, Clone, Copy, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum OnUnavailable {
    /// They are answered 503.
    #[default]
    Refuse,
    /// They go on, unlimited.
    Allow,
}

impl Config {
    /// What the configuration means, or everything that is wrong with it.
    pub(crate) fn check(self) -> Result<(Settings, Vec<Window>), Complaints> {
        let mut wrong = Complaints::new();
        let parts = parts(&self.key, &mut wrong);
        let (policies, windows) = self.windows(&mut wrong);
        let least_burst = windows.iter().map(|window| window.burst).min().unwrap_or(MOST);
        if self.cost == 0 {
            wrong.add("/cost", "expected at least 1");
        } else if u64::from(self.cost) > least_burst && least_burst > 0 {
            wrong.add("/cost", format!("a request that takes more than the burst of {least_burst} never passes"));
        }
        let missing = match self.missing {
            MissingConfig::Skip => Missing::Skip,
            MissingConfig::Anonymous => Missing::Anonymous,
            MissingConfig::Refuse => Missing::Refuse,
        };
        let (ratelimit, legacy) = match self.headers {
            Headers::Ratelimit => (true, false),
            Headers::Legacy => (false, true),
            Headers::Both => (true, true),
            Headers::None => (false, false),
        };
        let settings = Settings {
            keys: Keys { parts, missing },
            cost: self.cost,
            signals: Signals::new(policies, ratelimit, legacy),
            refuse_unavailable: matches!(self.on_unavailable, OnUnavailable::Refuse),
        };
        wrong.or(|| (settings, windows))
    }

    fn windows(&self, wrong: &mut Complaints) -> (Vec<Policy>, Vec<Window>) {
        let mut found = Found::default();
        match (&self.windows, self.limit, &self.window) {
            (None, Some(limit), Some(window)) => found.add("", None, limit, window, self.burst, wrong),
            (None, None, None) => wrong.add("", "expected limit and window, or windows"),
            (None, None, Some(_)) => wrong.add("", "expected a limit for the window"),
            (None, Some(_), None) => wrong.add("", "expected a window for the limit, such as \"1m\""),
            (Some(windows), limit, window) => {
                if limit.is_some() || window.is_some() || self.burst.is_some() {
                    wrong.add("/windows", "expected either these or a single limit, window and burst");
                }
                if windows.is_empty() || windows.len() > MOST_WINDOWS {
                    wrong.add("/windows", format!("expected 1 to {MOST_WINDOWS} windows"));
                }
                for (index, one) in windows.iter().enumerate() {
                    let at = format!("/windows/{index}");
                    found.add(&at, one.name.as_deref(), one.limit, &one.window, one.burst, wrong);
                }
            }
        }
        (found.policies, found.windows)
    }
}

/// Why there is no bucket, as a complaint.
pub(crate) fn no_bucket(error: Error) -> String {
    match error {
        Error::InvalidWindow(why) => why,
        Error::TooManyBuckets => "the plugin has as many rate limits as it may have".to_owned(),
        Error::Unavailable => "the store of the counters does not answer".to_owned(),
    }
}

fn consumer() -> OneOrMany {
    OneOrMany::One("consumer".to_owned())
}

fn one() -> u32 {
    1
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::key::Part;

    fn check(config: Value) -> Result<(Settings, Vec<Window>), Complaints> {
        serde_json::from_value::<Config>(config).unwrap().check()
    }

    fn complaints(config: Value) -> Vec<(String, String)> {
        let complaints = check(config).err().unwrap_or_default();
        complaints.iter().map(|(pointer, message)| (pointer.to_owned(), message.to_owned())).collect()
    }

    #[track_caller]
    fn assert_complaint(config: Value, pointer: &str, message: &str) {
        let all = complaints(config.clone());
        assert_eq!(all.len(), 1, "{config} {all:?}");
        assert_eq!(all[0].0, pointer);
        assert!(all[0].1.contains(message), "{all:?}");
    }

    fn refused(config: Value) -> String {
        serde_json::from_value::<Config>(config).expect_err("a refusal").to_string()
    }

    #[test]
    fn a_single_window_is_short_to_write() {
        let (settings, windows) = check(json!({ "limit": 100, "window": "1m", "key": "consumer" })).unwrap();
        assert_eq!(windows, [Window { limit: 100, period_ms: 60_000, burst: 100 }]);
        assert_eq!(settings.keys.parts, [Part::Attribute("consumer".to_owned())]);
        assert_eq!(settings.keys.missing, Missing::Anonymous);
        assert_eq!((settings.cost, settings.refuse_unavailable, settings.signals.any()), (1, true, true));
        let (by_default, _) = check(json!({ "limit": 100, "window": "1m" })).unwrap();
        assert_eq!(by_default.keys, settings.keys);
        let (_, windows) = check(json!({ "limit": 100, "window": "1m", "burst": 5 })).unwrap();
        assert_eq!(windows[0].burst, 5);
    }

    #[test]
    fn several_windows_have_their_own_names_and_bursts() {
        let config = json!({ "windows": [
            { "limit": 10, "window": "1s", "burst": 20 },
            { "limit": 100, "window": "60s" },
            { "name": "long", "limit": 1000, "window": "1h" },
            { "limit": 5000, "window": "36h" },
        ], "key": "global", "headers": "none", "missing": "skip", "on-unavailable": "allow", "cost": 20 });
        let (settings, windows) = check(config).unwrap();
        assert_eq!(windows.iter().map(|window| window.burst).collect::<Vec<_>>(), [20, 100, 1000, 5000]);
        assert!(settings.keys.parts.is_empty() && !settings.signals.any() && !settings.refuse_unavailable);
        let names = ["second", "minute", "long", "36h"];
        assert!(names.iter().all(|name| format!("{:?}", settings.signals).contains(&format!("\"{name}\""))));
    }

    #[test]
    fn keys_are_read_in_every_form() {
        for (written, expected) in [
            (json!("address"), vec![Part::Address]),
            (json!("credential"), vec![Part::Attribute("credential".to_owned())]),
            (json!("header:X-Tenant"), vec![Part::Header("x-tenant".to_owned())]),
            (json!("claim:sub"), vec![Part::Attribute("claims.sub".to_owned())]),
            (json!("claim:a:b"), vec![Part::Attribute("claims.a:b".to_owned())]),
            (json!("attribute:plan"), vec![Part::Attribute("plan".to_owned())]),
            (json!("global"), vec![]),
            (json!(["global"]), vec![]),
            (json!(["address", "header:a"]), vec![Part::Address, Part::Header("a".to_owned())]),
        ] {
            let (settings, _) = check(json!({ "limit": 1, "window": "1s", "key": written })).unwrap();
            assert_eq!(settings.keys.parts, expected, "{written}");
        }
    }

    #[test]
    fn every_mistake_is_told_at_once() {
        let config = json!({
            "limit": 5, "burst": 5,
            "windows": [
                { "limit": 0, "window": "1m", "burst": 0 },
                { "limit": 1_000_000_001_u64, "window": "1" },
                { "limit": 5, "window": "32d", "name": "a b" },
                { "limit": 5, "window": "60s", "name": "" },
                { "limit": 5, "window": "0s" },
                { "limit": 5, "window": "1m" },
            ],
            "key": ["consumer", "consumer", "global", "ip", "header:", "header:a b", "claim:", "cookie:a"],
            "cost": 0,
        });
        let pointers: Vec<_> = complaints(config).into_iter().map(|(pointer, _)| pointer).collect();
        assert_eq!(
            pointers,
            [
                "/key/1",
                "/key/2",
                "/key/3",
                "/key/4",
                "/key/5",
                "/key/6",
                "/key/7",
                "/windows",
                "/windows/0/limit",
                "/windows/0/burst",
                "/windows/1/limit",
                "/windows/1/window",
                "/windows/2/window",
                "/windows/2/name",
                "/windows/3/name",
                "/windows/4/window",
                "/windows/5/name",
                "/cost",
            ]
        );
    }

    #[test]
    fn a_part_of_a_window_is_not_enough() {
        assert_complaint(json!({}), "", "limit and window, or windows");
        assert_complaint(json!({ "limit": 5 }), "", "expected a window");
        assert_complaint(json!({ "window": "1m" }), "", "expected a limit");
        assert_complaint(json!({ "windows": [] }), "/windows", "1 to 8");
        let nine: Vec<_> = (1..=9).map(|hours| json!({ "limit": 1, "window": format!("{hours}h") })).collect();
        assert_complaint(json!({ "windows": nine }), "/windows", "1 to 8");
        assert_complaint(json!({ "limit": 5, "window": "1 m" }), "/window", "a duration");
        assert_complaint(json!({ "limit": 5, "window": "1m", "key": "route" }), "/key", "does not see the route");
        assert_complaint(json!({ "limit": 5, "window": "1m", "key": [] }), "/key", "at least one part");
    }

    #[test]
    fn a_cost_that_no_burst_can_bear_is_refused() {
        assert_complaint(json!({ "limit": 5, "window": "1m", "cost": 6 }), "/cost", "the burst of 5");
        assert_complaint(json!({ "limit": 9, "window": "1m", "burst": 5, "cost": 6 }), "/cost", "the burst of 5");
        assert_eq!(complaints(json!({ "limit": 5, "window": "1m", "burst": 6, "cost": 6 })), []);
    }

    #[test]
    fn values_of_a_wrong_kind_are_refused() {
        for (config, message) in [
            (json!({ "limit": -5, "window": "1m" }), "expected u64"),
            (json!({ "limit": 5, "window": 60 }), "expected a string"),
            (json!({ "limit": 5, "window": "1m", "key": 7 }), "or a list of them"),
            (json!({ "limit": 5, "window": "1m", "key": [7] }), "expected a string"),
            (json!({ "limit": 5, "window": "1m", "headers": "x" }), "expected one of `ratelimit`, `legacy`"),
            (json!({ "limit": 5, "window": "1m", "missing": "deny" }), "expected one of `skip`"),
            (json!({ "limit": 5, "window": "1m", "rate": 5 }), "unknown field `rate`"),
            (json!({ "windows": [{ "limit": 5 }] }), "missing field `window`"),
        ] {
            let refusal = refused(config);
            assert!(refusal.contains(message), "{refusal}");
        }
    }

    #[test]
    fn the_schema_describes_every_option() {
        let schema = schemars::schema_for!(Config).to_value();
        let properties = schema["properties"].as_object().unwrap();
        assert_eq!(properties.len(), 9);
        assert!(properties.values().all(|property| property["description"].is_string()), "{schema:#}");
    }
}
