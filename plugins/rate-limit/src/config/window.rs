//! The windows of the configuration.

use tollgate_sdk::limiter::Window;
use tollgate_sdk::{Complaints, schemars, serde, units};

use crate::signal::Policy;

/// The largest limit, burst and cost: what clients are told of them must fit an integer of RFC 9651.
pub(super) const MOST: u64 = 1_000_000_000;
pub(super) const MOST_WINDOWS: usize = 8;
const LONGEST_MS: u64 = 31 * 24 * 60 * 60 * 1000;

/// One of several windows.
#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct WindowConfig {
    /// What clients see it called, 1 to 32 letters, digits, `-`, `_` and `.`. Default: `second`, `minute`, `hour`, `day`, or
    /// the window as it is written.
    #[serde(default)]
    pub(super) name: Option<String>,
    /// What is given back in one window: 1 to 1,000,000,000.
    pub(super) limit: u64,
    /// The window, such as `1s`, `1m`, `24h`: at least 1 ms, at most 31 days.
    pub(super) window: String,
    /// The most that can be taken at once. Default: the limit.
    #[serde(default)]
    pub(super) burst: Option<u64>,
}

/// The windows so far.
#[derive(Default)]
pub(super) struct Found {
    pub(super) policies: Vec<Policy>,
    pub(super) windows: Vec<Window>,
}

impl Found {
    /// Adds the window that stands at a pointer.
    pub(super) fn add(
        &mut self,
        at: &str,
        name: Option<&str>,
        limit: u64,
        window: &str,
        burst: Option<u64>,
        wrong: &mut Complaints,
    ) {
        let expected = "expected 1 to 1000000000";
        if !(1..=MOST).contains(&limit) {
            wrong.add(format!("{at}/limit"), expected);
        }
        if burst.is_some_and(|burst| !(1..=MOST).contains(&burst)) {
            wrong.add(format!("{at}/burst"), expected);
        }
        let period_ms = units::duration(window).and_then(|period| u64::try_from(period.as_millis()).ok());
        let period_ms = period_ms.filter(|period| (1..=LONGEST_MS).contains(period));
        if period_ms.is_none() {
            wrong
                .add(format!("{at}/window"), "expected a duration of 1ms to 31d, such as \"250ms\", \"1m\" or \"24h\"");
        }
        let name = name.map(str::to_owned).or_else(|| period_ms.map(|period| default_name(period, window)));
        let mark = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if let Some(name) = &name {
            if name.is_empty() || name.len() > 32 || !name.bytes().all(mark) {
                wrong.add(format!("{at}/name"), "expected 1 to 32 letters, digits, \"-\", \"_\" and \".\"");
            } else if let Some(first) = self.policies.iter().position(|policy| policy.name == *name) {
                wrong.add(format!("{at}/name"), format!("\"{name}\" is the name of /windows/{first} already"));
            }
        }
        // What stands in for a wrong value is never used: there is a complaint.
        let (name, period_ms) = (name.unwrap_or_default(), period_ms.unwrap_or(1));
        self.policies.push(Policy { name, limit, period_ms });
        self.windows.push(Window { limit, period_ms, burst: burst.unwrap_or(limit) });
    }
}

fn default_name(period_ms: u64, written: &str) -> String {
    match period_ms {
        1_000 => "second",
        60_000 => "minute",
        3_600_000 => "hour",
        86_400_000 => "day",
        _ => written,
    }
    .to_owned()
}
