//! What clients are told of their limits: draft-ietf-httpapi-ratelimit-headers-10, and the older `X-RateLimit-*`.
//!
//! `RateLimit-Policy` names each window with its quota; `RateLimit` says how the windows stand, the one with the least
//! left first. `r` is what could be taken now. `t` is the time until the whole burst is there again, so that `r` over
//! `t` is a pace that a client may keep; in a refusal it is never later than `Retry-After`, as the draft wants it.

use std::cmp::Reverse;

use tollgate_sdk::limiter::Standing;
use tollgate_sdk::{Edits, Problem, ResponseHead, ResponseInterest};

/// The attribute that a limiter leaves on a response that it told its limits in: how much the client has left. Limiters
/// before it in the chain then add theirs and do not replace them.
pub(crate) const TOLD: &str = "rate-limit";

const POLICY: &str = "ratelimit-policy";
const LIMIT: &str = "ratelimit";
const LEGACY_LIMIT: &str = "x-ratelimit-limit";
const LEGACY_REMAINING: &str = "x-ratelimit-remaining";
const LEGACY_RESET: &str = "x-ratelimit-reset";

/// One window, by the name that clients see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Policy {
    /// Letters, digits and a few marks: it goes into a quoted string as it is.
    pub(crate) name: String,
    pub(crate) limit: u64,
    pub(crate) period_ms: u64,
}

/// What is told, made ready.
#[derive(Debug, Clone)]
pub(crate) struct Signals {
    policies: Vec<Policy>,
    /// The value of `RateLimit-Policy`.
    policy: String,
    ratelimit: bool,
    legacy: bool,
}

impl Signals {
    pub(crate) fn new(policies: Vec<Policy>, ratelimit: bool, legacy: bool) -> Self {
        let mut policy = String::new();
        for Policy { name, limit, period_ms } in &policies {
            push_item(&mut policy, name);
            push(&mut policy, ";q=", *limit);
            // The draft knows whole seconds only, and lets the window be left out.
            if period_ms.is_multiple_of(1000) {
                push(&mut policy, ";w=", period_ms / 1000);
            }
        }
        Self { policies, policy, ratelimit, legacy }
    }

    /// Whether anything is told in responses.
    pub(crate) fn any(&self) -> bool {
        self.ratelimit || self.legacy
    }

    /// What the response hook must see.
    pub(crate) fn see(&self, see: ResponseInterest) -> ResponseInterest {
        let see = see.attributes([TOLD]);
        let see = if self.ratelimit { see.headers([POLICY, LIMIT]) } else { see };
        if self.legacy { see.headers([LEGACY_REMAINING]) } else { see }
    }

    /// The fields of a refusal after which a client may come back in `retry_after` seconds.
    pub(crate) fn refusal(&self, mut problem: Problem, standings: &[Standing], retry_after: u64) -> Problem {
        let order = self.order(standings);
        if self.ratelimit {
            problem = problem.header(POLICY, &self.policy).header(LIMIT, self.limit(&order, retry_after));
        }
        match order.first() {
            Some(worst) if self.legacy => legacy(worst, retry_after)
                .into_iter()
                .fold(problem, |problem, (name, value)| problem.header(name, value.to_string())),
            _ => problem,
        }
    }

    /// The fields of a response that was let through.
    pub(crate) fn response(&self, response: &ResponseHead, standings: &[Standing]) -> Edits {
        let order = self.order(standings);
        let Some(worst) = order.first() else {
            return Edits::new();
        };
        let remaining = worst.1.remaining;
        let told: Option<u64> = response.attribute(TOLD).and_then(|left| left.parse().ok());
        // A 429 that is not ours is another limiter's, or the upstream's own: what it says of itself comes first.
        let other_first = told.is_some_and(|left| left <= remaining) || (told.is_none() && response.status() == 429);
        let mut edits = Edits::new();
        if self.ratelimit {
            let limit = self.limit(&order, u64::MAX);
            edits = if other_first {
                edits.append(POLICY, &self.policy).append(LIMIT, limit)
            } else {
                edits.set(POLICY, &self.policy).set(LIMIT, limit)
            };
            if told.is_some() && !other_first {
                for name in [POLICY, LIMIT] {
                    edits = response.headers_named(name).fold(edits, |edits, value| edits.append(name, value));
                }
            }
        }
        if self.legacy && !(other_first && response.header(LEGACY_REMAINING).is_some()) {
            for (name, value) in legacy(worst, u64::MAX) {
                edits = edits.set(name, value.to_string());
            }
        }
        edits.attribute(TOLD, told.map_or(remaining, |left| left.min(remaining)).to_string())
    }

    /// The windows with their names, the one with the least left first; of two the one that takes longer.
    fn order<'a>(&'a self, standings: &'a [Standing]) -> Vec<(&'a Policy, &'a Standing)> {
        let mut order: Vec<_> = self.policies.iter().zip(standings).collect();
        order.sort_by_key(|(_, standing)| (standing.remaining, Reverse(standing.reset_ms)));
        order
    }

    /// The value of `RateLimit`. No `t` is later than `latest`, in seconds.
    fn limit(&self, order: &[(&Policy, &Standing)], latest: u64) -> String {
        let mut value = String::with_capacity(24 * order.len());
        for (policy, standing) in order {
            push_item(&mut value, &policy.name);
            push(&mut value, ";r=", standing.remaining);
            push(&mut value, ";t=", seconds(standing.reset_ms).min(latest));
        }
        value
    }
}

fn legacy((policy, standing): &(&Policy, &Standing), latest: u64) -> [(&'static str, u64); 3] {
    [
        (LEGACY_LIMIT, policy.limit),
        (LEGACY_REMAINING, standing.remaining),
        (LEGACY_RESET, seconds(standing.reset_ms).min(latest)),
    ]
}

/// Standings as a memo: sixteen bytes a window.
pub(crate) fn memo(standings: &[Standing]) -> Vec<u8> {
    let mut memo = Vec::with_capacity(16 * standings.len());
    for standing in standings {
        memo.extend_from_slice(&standing.remaining.to_le_bytes());
        memo.extend_from_slice(&standing.reset_ms.to_le_bytes());
    }
    memo
}

/// What [`memo`] wrote.
pub(crate) fn standings(memo: &[u8]) -> Vec<Standing> {
    let number = |bytes: &[u8; 8]| u64::from_le_bytes(*bytes);
    let (pairs, _) = memo.as_chunks::<8>().0.as_chunks::<2>();
    pairs.iter().map(|[remaining, reset]| Standing { remaining: number(remaining), reset_ms: number(reset) }).collect()
}

/// Whole seconds, rounded up: after that time, what takes `ms` has happened.
pub(crate) fn seconds(ms: u64) -> u64 {
    ms.div_ceil(1000)
}

fn push_item(to: &mut String, name: &str) {
    if !to.is_empty() {
        to.push_str(", ");
    }
    to.push('"');
    to.push_str(name);
    to.push('"');
}

/// An integer of RFC 9651 has at most fifteen digits.
fn push(to: &mut String, parameter: &str, number: u64) {
    to.push_str(parameter);
    to.push_str(&number.min(999_999_999_999_999).to_string());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sfv::{BareItem, List, ListEntry, Parser};

    use super::*;

    fn signals(ratelimit: bool, legacy: bool) -> Signals {
        let policy = |name: &str, limit, period_ms| Policy { name: name.to_owned(), limit, period_ms };
        Signals::new(vec![policy("minute", 100, 60_000), policy("hour", 1000, 3_600_000)], ratelimit, legacy)
    }

    fn standing(remaining: u64, reset_ms: u64) -> Standing {
        Standing { remaining, reset_ms }
    }

    fn response(status: u16, headers: &[(&str, &str)]) -> http::Response<()> {
        let mut response = http::Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        response.body(()).unwrap()
    }

    fn text(value: Option<&[u8]>) -> Option<&str> {
        value.map(|value| std::str::from_utf8(value).unwrap())
    }

    /// Each item of a field as its string and its parameters.
    fn items(field: &str) -> Vec<(String, Vec<(String, i64)>)> {
        let list: List = Parser::new(field).parse().unwrap();
        let item = |entry: ListEntry| {
            let ListEntry::Item(item) = entry else { panic!("no inner list") };
            let BareItem::String(name) = item.bare_item else { panic!("a string") };
            let parameter = |(key, value): (sfv::Key, BareItem)| {
                let BareItem::Integer(value) = value else { panic!("an integer") };
                (key.as_str().to_owned(), i64::from(value))
            };
            (name.as_str().to_owned(), item.params.into_iter().map(parameter).collect())
        };
        list.into_iter().map(item).collect()
    }

    #[test]
    fn the_fields_are_those_of_the_draft() {
        let edits = signals(true, false)
            .response(&(&response(200, &[])).into(), &[standing(50, 30_000), standing(950, 180_000)]);
        assert_eq!(text(edits.header("ratelimit-policy")), Some("\"minute\";q=100;w=60, \"hour\";q=1000;w=3600"));
        assert_eq!(text(edits.header("ratelimit")), Some("\"minute\";r=50;t=30, \"hour\";r=950;t=180"));
        assert_eq!(edits.header("x-ratelimit-limit"), None);
        assert_eq!(edits.attribute_set(TOLD), Some("50"));
    }

    #[test]
    fn the_window_with_the_least_left_comes_first() {
        let signals = signals(true, true);
        let edits = signals.response(&(&response(200, &[])).into(), &[standing(99, 600), standing(7, 3_574_801)]);
        assert_eq!(text(edits.header("ratelimit")), Some("\"hour\";r=7;t=3575, \"minute\";r=99;t=1"));
        let legacy = ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"];
        assert_eq!(legacy.map(|name| text(edits.header(name))), [Some("1000"), Some("7"), Some("3575")]);
        let edits = signals.response(&(&response(200, &[])).into(), &[standing(0, 60_000), standing(0, 3_600_000)]);
        assert_eq!(text(edits.header("ratelimit")), Some("\"hour\";r=0;t=3600, \"minute\";r=0;t=60"));
    }

    #[test]
    fn windows_of_parts_of_a_second_have_no_w() {
        let policy = |name: &str, period_ms| Policy { name: name.to_owned(), limit: 5, period_ms };
        let signals =
            Signals::new(vec![policy("250ms", 250), policy("1500ms", 1500), policy("second", 1000)], true, false);
        assert_eq!(signals.policy, "\"250ms\";q=5, \"1500ms\";q=5, \"second\";q=5;w=1");
    }

    #[test]
    fn a_refusal_has_the_fields_and_no_t_after_its_retry_after() {
        let problem = || Problem::new(http::StatusCode::TOO_MANY_REQUESTS, "quota-exceeded", "");
        let standings = [standing(0, 60_000), standing(900, 360_000)];
        let refusal = signals(true, true).refusal(problem(), &standings, 1);
        assert_eq!(text(refusal.header_value("ratelimit")), Some("\"minute\";r=0;t=1, \"hour\";r=900;t=1"));
        assert_eq!(text(refusal.header_value("ratelimit-policy")).map(items).unwrap().len(), 2);
        assert_eq!(text(refusal.header_value("x-ratelimit-reset")), Some("1"));
        let silent = signals(false, false).refusal(problem(), &standings, 1);
        assert_eq!((silent.header_value("ratelimit"), silent.header_value("x-ratelimit-limit")), (None, None));
    }

    #[test]
    fn an_upstreams_fields_are_replaced() {
        let upstream = response(200, &[("ratelimit", "\"theirs\";r=1"), ("x-ratelimit-remaining", "1")]);
        let edits = signals(true, true).response(&(&upstream).into(), &[standing(50, 30_000), standing(950, 180_000)]);
        assert_eq!(edits.appended("ratelimit").count() + edits.appended("ratelimit-policy").count(), 0);
        assert!(text(edits.header("ratelimit")).unwrap().starts_with("\"minute\";r=50"));
        assert_eq!(text(edits.header("x-ratelimit-remaining")), Some("50"));
    }

    #[test]
    fn the_fields_of_a_429_stay_first() {
        let refused = response(429, &[("ratelimit", "\"theirs\";r=0"), ("x-ratelimit-remaining", "0")]);
        let edits = signals(true, true).response(&(&refused).into(), &[standing(50, 30_000), standing(950, 180_000)]);
        assert_eq!((edits.values("ratelimit").count(), edits.appended("ratelimit").count()), (0, 1));
        assert_eq!(edits.header("x-ratelimit-remaining"), None);
        let silent = signals(true, true).response(&(&response(429, &[])).into(), &[standing(50, 1), standing(950, 1)]);
        assert_eq!(text(silent.header("x-ratelimit-remaining")), Some("50"));
    }

    #[test]
    fn two_limiters_of_a_chain_tell_both_the_one_with_less_left_first() {
        let inner = [
            ("ratelimit", "\"inner\";r=60;t=1"),
            ("ratelimit-policy", "\"inner\";q=60"),
            ("x-ratelimit-remaining", "60"),
        ];
        let after = |left: &str| ResponseHead::from(&response(200, &inner)).with_attribute(TOLD, left);
        let standings = [standing(50, 30_000), standing(950, 180_000)];

        let edits = signals(true, true).response(&after("60"), &standings);
        let all = edits.values("ratelimit").chain(edits.appended("ratelimit"));
        let all: Vec<_> = all.filter_map(|value| text(Some(value))).collect();
        assert_eq!(all, ["\"minute\";r=50;t=30, \"hour\";r=950;t=180", "\"inner\";r=60;t=1"]);
        assert_eq!((edits.values("ratelimit-policy").count(), edits.appended("ratelimit-policy").count()), (1, 1));
        assert_eq!(text(edits.header("x-ratelimit-remaining")), Some("50"));
        assert_eq!(edits.attribute_set(TOLD), Some("50"));

        let edits = signals(true, true).response(&after("40"), &standings);
        assert_eq!((edits.values("ratelimit").count(), edits.appended("ratelimit").count()), (0, 1));
        assert_eq!(edits.header("x-ratelimit-remaining"), None);
        assert_eq!(edits.attribute_set(TOLD), Some("40"));
    }

    #[test]
    fn a_memo_that_is_not_ours_says_nothing() {
        assert_eq!(standings(&[]), []);
        assert_eq!(standings(&[0; 15]), []);
        let edits = signals(true, true).response(&(&response(200, &[])).into(), &[]);
        assert!(edits.is_empty());
    }

    proptest! {
        #[test]
        fn a_memo_comes_back(all in prop::collection::vec((any::<u64>(), any::<u64>()), 0..9)) {
            let all: Vec<_> = all.into_iter().map(|(remaining, reset)| standing(remaining, reset)).collect();
            prop_assert_eq!(standings(&memo(&all)), all);
        }

        /// Every field is a list of RFC 9651, with the values that went in.
        #[test]
        fn any_standing_can_be_parsed(one in (0..=1_000_000_000_u64, 0..=2_678_400_000_u64), two in any::<(u64, u64)>()) {
            let all = [standing(one.0, one.1), standing(two.0, two.1)];
            let edits = signals(true, false).response(&(&response(200, &[])).into(), &all);
            let limits = items(text(edits.header("ratelimit")).unwrap());
            prop_assert_eq!(limits.len(), 2);
            let minute = limits.iter().find(|(name, _)| name == "minute").unwrap();
            prop_assert_eq!(&minute.1, &[("r".to_owned(), one.0 as i64), ("t".to_owned(), one.1.div_ceil(1000) as i64)]);
            prop_assert!(limits[0].1[0].1 <= limits[1].1[0].1);
            prop_assert_eq!(items(text(edits.header("ratelimit-policy")).unwrap()).len(), 2);
        }

        /// Waiting that long is enough, and one second less is not.
        #[test]
        fn seconds_are_the_fewest_that_suffice(ms in 1..u64::MAX / 1000 * 1000) {
            let wait = seconds(ms);
            prop_assert!(wait.checked_mul(1000).is_none_or(|waited| waited >= ms));
            prop_assert!((wait - 1) * 1000 < ms);
        }
    }
}
