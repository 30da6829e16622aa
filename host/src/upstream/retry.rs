//! When a request that failed goes out once more.
//!
//! A retry is a second request for the same answer, and the moment at which many are wanted is the one at which an
//! upstream can bear them least. So they come out of a budget: a part of the requests of the last seconds. What has
//! certainly not been sent is no second request, and goes to another endpoint without asking the budget.

use std::cell::Cell;
use std::time::{Duration, SystemTime};

use http::header::{self, HeaderMap};
use tokio::time::Instant;

use crate::config::Retries;
use crate::error::Reason;
use crate::random::Random;

/// Endpoints that one request is offered to in vain, before it counts as a failure: with a connection that hangs at
/// each, that is as long as anybody waits.
const OFFERS: usize = 3;

/// How an exchange ended that is not simply passed on.
pub(super) enum Failed<'a> {
    /// Nothing of the request was sent.
    Unsent,
    /// Nothing was, since the endpoint has as many connections as it may: no reason to ask it again.
    Full,
    /// No response.
    Silent(&'a Reason),
    /// A response with a status that is worth another try.
    Answered(&'a HeaderMap),
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Another endpoint, at once.
    Elsewhere,
    /// Another try, at another endpoint where there is one, after this time.
    Again(Duration),
    /// The outcome as it is. `Denied` is what the budget did not allow.
    Over,
    Denied,
}

/// One request's tries.
#[derive(Debug, Default)]
pub(super) struct Tries {
    retries: u32,
    offers: usize,
}

impl Tries {
    /// `repeatable`: another try is harmless and possible. `elsewhere`: there is an endpoint that was not asked yet.
    pub(super) fn next(
        &mut self,
        failed: &Failed<'_>,
        repeatable: bool,
        elsewhere: bool,
        (retries, budget, random): (&Retries, &Budget, &Random),
    ) -> Next {
        if matches!(failed, Failed::Unsent | Failed::Full) && elsewhere && self.offers < OFFERS {
            self.offers += 1;
            return Next::Elsewhere;
        }
        let worth = match failed {
            Failed::Unsent | Failed::Silent(Reason::UpstreamReset | Reason::UpstreamTimeout) => true,
            Failed::Silent(_) | Failed::Full => false,
            Failed::Answered(_) => true,
        };
        if !repeatable || !worth || self.retries >= retries.attempts {
            return Next::Over;
        }
        let mut wait = backoff(retries, self.retries, random);
        if let Failed::Answered(headers) = failed
            && let Some(told) = retry_after(headers).filter(|_| !elsewhere)
        {
            if told > retries.longest_wait {
                return Next::Over;
            }
            wait = wait.max(told);
        }
        if !budget.take(retries) {
            return Next::Denied;
        }
        self.retries += 1;
        Next::Again(wait)
    }
}

/// Exponential with full jitter: any time up to the bound, which doubles with every try. Without it, those that failed
/// together come again together (Brooker, Exponential Backoff and Jitter, 2015).
fn backoff(retries: &Retries, tries: u32, random: &Random) -> Duration {
    let bound = retries.backoff.saturating_mul(1 << tries.min(20)).min(retries.longest_backoff);
    random.part(bound)
}

/// Seconds or a date (RFC 9110, section 10.2.3).
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than a number takes are more than anybody waits.
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(SystemTime::now()).unwrap_or_default())
}

/// What one worker's retries may be, of the requests in the last one to two seconds.
#[derive(Debug)]
pub(super) struct Budget {
    /// This worker's part of the upstream's least number.
    workers: u32,
    /// When the second of `now` began.
    since: Cell<Instant>,
    now: Cell<Count>,
    before: Cell<Count>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Count {
    requests: u32,
    retries: u32,
}

const SECOND: Duration = Duration::from_secs(1);

impl Budget {
    pub(super) fn new(workers: u32, now: Instant) -> Self {
        Self { workers: workers.max(1), since: Cell::new(now), now: Cell::default(), before: Cell::default() }
    }

    /// Counts a request that came now. Retries are only ever asked for behind one, so this alone moves the time on.
    pub(super) fn request(&self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.since.get());
        let mut count = self.now.get();
        if elapsed >= SECOND {
            self.before.set(if elapsed < 2 * SECOND { count } else { Count::default() });
            self.since.set(now);
            count = Count::default();
        }
        count.requests = count.requests.saturating_add(1);
        self.now.set(count);
    }

    fn take(&self, retries: &Retries) -> bool {
        let (mut now, before) = (self.now.get(), self.before.get());
        let requests = u64::from(now.requests) + u64::from(before.requests);
        let taken = u64::from(now.retries) + u64::from(before.retries);
        // Both over the two seconds, and not one and the other: at a full load the least number would come on top.
        let part = requests * u64::from(retries.budget) / 100;
        let least = (2 * u64::from(retries.least)).div_ceil(u64::from(self.workers));
        if taken >= part.max(least) {
            return false;
        }
        now.retries += 1;
        self.now.set(now);
        true
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::StatusCode;
    use proptest::prelude::*;

    use super::*;

    fn retries() -> Retries {
        Retries {
            attempts: 2,
            statuses: vec![StatusCode::SERVICE_UNAVAILABLE],
            backoff: Duration::from_millis(25),
            longest_backoff: Duration::from_millis(250),
            longest_wait: Duration::from_secs(2),
            budget: 20,
            least: 3,
            body: 0,
        }
    }

    fn next(tries: &mut Tries, failed: &Failed<'_>, repeatable: bool, elsewhere: bool) -> Next {
        let budget = Budget::new(1, Instant::now());
        tries.next(failed, repeatable, elsewhere, (&retries(), &budget, &Random::seeded(1)))
    }

    #[test]
    fn what_was_not_sent_goes_elsewhere_and_never_asks_twice_without_need() {
        let mut tries = Tries::default();
        for _ in 0..OFFERS {
            assert_eq!(next(&mut tries, &Failed::Unsent, false, true), Next::Elsewhere);
        }
        assert_eq!(next(&mut tries, &Failed::Unsent, false, true), Next::Over);
        assert!(matches!(next(&mut tries, &Failed::Unsent, true, true), Next::Again(_)));
    }

    #[test]
    fn only_what_is_worth_it_and_harmless_is_tried_again() {
        let none = HeaderMap::new();
        for (failed, worth) in [
            (Failed::Unsent, true),
            (Failed::Silent(&Reason::UpstreamReset), true),
            (Failed::Silent(&Reason::UpstreamTimeout), true),
            (Failed::Silent(&Reason::TotalTimeout), false),
            (Failed::Silent(&Reason::UpstreamProtocol), false),
            (Failed::Silent(&Reason::UpstreamTls), false),
            (Failed::Answered(&none), true),
        ] {
            assert_eq!(next(&mut Tries::default(), &failed, true, false) != Next::Over, worth);
            assert_eq!(next(&mut Tries::default(), &failed, false, false), Next::Over);
        }
        let mut tries = Tries::default();
        let nexts: Vec<_> = (0..3).map(|_| next(&mut tries, &Failed::Answered(&none), true, true)).collect();
        assert!(matches!(nexts[..], [Next::Again(_), Next::Again(_), Next::Over]), "{nexts:?}");
    }

    #[test]
    fn retry_after_is_waited_for_or_not_at_all() {
        let answered = |value: &str, elsewhere| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, HeaderValue::from_str(value).unwrap());
            next(&mut Tries::default(), &Failed::Answered(&headers), true, elsewhere)
        };
        assert_eq!(answered("1", false), Next::Again(Duration::from_secs(1)));
        assert_eq!(answered("2", false), Next::Again(Duration::from_secs(2)));
        for long in ["3", "99999999999999999999999", "Tue, 31 Dec 2999 23:59:59 GMT"] {
            assert_eq!(answered(long, false), Next::Over, "{long}");
            // What one endpoint says is not said of another.
            assert!(matches!(answered(long, true), Next::Again(wait) if wait < Duration::from_millis(26)), "{long}");
        }
        for nothing in ["", "soon", "-1", "1.5", "Fri, 31 Dec 1999 23:59:59 GMT"] {
            assert!(matches!(answered(nothing, false), Next::Again(wait) if wait < Duration::from_millis(26)));
        }
    }

    #[test]
    fn at_most_a_fifth_more_whatever_fails() {
        let (begin, retries) = (Instant::now(), retries());
        let budget = Budget::new(1, begin);
        let mut taken = 0_u32;
        for request in 0..10_000 {
            budget.request(begin + Duration::from_millis(request));
            taken += u32::from(budget.take(&retries)) + u32::from(budget.take(&retries));
        }
        assert!((1_900..=2_000).contains(&taken), "{taken}");
    }

    #[test]
    fn few_requests_may_be_tried_again_all_the_same() {
        let begin = Instant::now();
        for (workers, least) in [(1, 6), (2, 3), (64, 1)] {
            let budget = Budget::new(workers, begin);
            budget.request(begin);
            assert_eq!((0..100).filter(|_| budget.take(&retries())).count(), least);
            // Two seconds later that is forgotten.
            budget.request(begin + 3 * SECOND);
            assert!(budget.take(&retries()));
        }
    }

    proptest! {
        #[test]
        fn a_wait_is_within_its_bounds(tries: u32, seed: u64) {
            let wait = backoff(&retries(), tries, &Random::seeded(seed));
            prop_assert!(wait <= retries().longest_backoff && wait <= Duration::from_millis(25 << tries.min(10)));
        }

        #[test]
        fn no_value_of_retry_after_is_a_panic(value in ".{0,40}") {
            if let Ok(value) = HeaderValue::from_str(&value) {
                retry_after(&HeaderMap::from_iter([(header::RETRY_AFTER, value)]));
            }
        }

        #[test]
        fn over_any_two_seconds_the_budget_holds(gaps in proptest::collection::vec(0..700_u64, 1..300)) {
            let (begin, retries) = (Instant::now(), retries());
            let budget = Budget::new(1, begin);
            let (mut at, mut requests, mut taken) = (0, 0_u64, 0_u64);
            for gap in gaps {
                at += gap;
                budget.request(begin + Duration::from_millis(at));
                requests += 1;
                while budget.take(&retries) {
                    taken += 1;
                }
            }
            // The least number of each pair of seconds, or a fifth.
            prop_assert!(taken <= requests / 5 + 6 * (at / 1000 + 1), "{taken} of {requests} in {at} ms");
        }
    }
}
