//! The arithmetic of a window: GCRA in its virtual-scheduling form (ATM Forum TM 4.1, section 4.4.2), without rounding.
//!
//! One cell of cost 1 takes `period / limit`, which is a whole number of nanoseconds for few limits. Time is therefore
//! counted in ticks of `1 / limit` nanosecond: the clock's `now` is `now * limit` ticks, and one cell takes `period`
//! ticks, both whole. With `now` below 2^62, a limit and a burst below 2^64 and a period below 2^52 nanoseconds (31
//! days), the largest sum, `now * limit + burst * period + cost * period`, stays below 2^128.

use super::{MAX_WINDOWS, Standing, Taken, Window};

/// The largest `now`, in nanoseconds.
pub(super) const MAX_NANOS: u64 = 1 << 62;

const NANOS_PER_MS: u128 = 1_000_000;

/// A window, in ticks.
#[derive(Debug)]
pub(super) struct Gcra {
    /// Ticks in a nanosecond.
    limit: u128,
    /// Ticks that a cost of 1 takes.
    period: u128,
    /// Ticks that the whole burst takes: how far the theoretical arrival time may lie ahead.
    tolerance: u128,
    burst: u64,
}

impl Gcra {
    /// For a window that was checked.
    pub(super) fn new(window: &Window) -> Self {
        let limit = u128::from(window.limit);
        let period = u128::from(window.period_ms) * NANOS_PER_MS;
        // Smaller numbers divide faster, and the quotients stay the same.
        let common = gcd(limit, period);
        let (limit, period) = (limit / common, period / common);
        Self { limit, period, tolerance: u128::from(window.burst) * period, burst: window.burst }
    }

    fn standing(&self, arrival: u128, now: u128) -> (Standing, u128) {
        let arrival = arrival.max(now);
        let remaining = (now + self.tolerance).saturating_sub(arrival) / self.period;
        let reset = (arrival - now).div_ceil(self.limit);
        let standing = Standing {
            remaining: u64::try_from(remaining).unwrap_or(u64::MAX),
            reset_ms: u64::try_from(reset.div_ceil(NANOS_PER_MS)).unwrap_or(u64::MAX),
        };
        (standing, reset)
    }
}

/// Takes `cost` from all windows or from none. `arrivals` are the theoretical arrival times of the key, one for each
/// window, zero for a key that was never seen. The second answer is the time from which the key is as good as never
/// seen.
pub(super) fn take(windows: &[Gcra], arrivals: &mut [u128], cost: u32, now: u64) -> (Taken, u64) {
    let mut wait: u128 = 0;
    let mut never = false;
    for (window, &arrival) in windows.iter().zip(&*arrivals) {
        let ticks = u128::from(now) * window.limit;
        let end = arrival.max(ticks) + u128::from(cost) * window.period;
        let excess = end.saturating_sub(ticks + window.tolerance);
        wait = wait.max(excess.div_ceil(window.limit));
        never |= u64::from(cost) > window.burst;
    }
    let allowed = cost == 0 || (wait == 0 && !never);
    let retry_after_ms = match (allowed, never) {
        (true, _) => 0,
        (false, true) => u64::MAX,
        (false, false) => u64::try_from(wait.div_ceil(NANOS_PER_MS)).unwrap_or(u64::MAX),
    };

    let mut taken = Taken { allowed, retry_after_ms, standings: [Standing::default(); MAX_WINDOWS], count: 0 };
    let mut reset: u128 = 0;
    for ((window, arrival), standing) in windows.iter().zip(arrivals).zip(&mut taken.standings) {
        let ticks = u128::from(now) * window.limit;
        if allowed && cost > 0 {
            *arrival = (*arrival).max(ticks) + u128::from(cost) * window.period;
        }
        let window_reset;
        (*standing, window_reset) = window.standing(*arrival, ticks);
        reset = reset.max(window_reset);
        taken.count += 1;
    }
    (taken, now.saturating_add(u64::try_from(reset).unwrap_or(u64::MAX)))
}

fn gcd(mut a: u128, mut b: u128) -> u128 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// A token bucket with exact fractions, which is what a GCRA must equal: tokens in units of `1 / period` (in
    /// nanoseconds), refilled by `limit` units each nanosecond. It shares no formula with the code above.
    #[derive(Debug, Clone)]
    struct Model {
        window: Window,
        units: u128,
        at: u64,
    }

    impl Model {
        fn new(window: Window) -> Self {
            Self { window, units: Self::full(window), at: 0 }
        }

        fn period(window: Window) -> u128 {
            u128::from(window.period_ms) * 1_000_000
        }

        fn full(window: Window) -> u128 {
            u128::from(window.burst) * Self::period(window)
        }

        fn advance(&mut self, now: u64) {
            let refill = u128::from(now - self.at) * u128::from(self.window.limit);
            self.units = (self.units + refill).min(Self::full(self.window));
            self.at = now;
        }

        fn has(&self, cost: u32) -> bool {
            self.units >= u128::from(cost) * Self::period(self.window)
        }

        fn tokens(&self) -> u64 {
            u64::try_from(self.units / Self::period(self.window)).unwrap()
        }

        /// Whether the bucket would be full after so many milliseconds.
        fn full_after(&self, ms: u64) -> bool {
            self.units + u128::from(ms) * 1_000_000 * u128::from(self.window.limit) >= Self::full(self.window)
        }
    }

    fn model_take(models: &mut [Model], cost: u32, now: u64) -> bool {
        models.iter_mut().for_each(|model| model.advance(now));
        let allowed = models.iter().all(|model| model.has(cost));
        if allowed {
            models.iter_mut().for_each(|model| model.units -= u128::from(cost) * Model::period(model.window));
        }
        allowed
    }

    fn window() -> impl Strategy<Value = Window> {
        let limit = prop_oneof![1..20u64, 1..2_000_000_000u64];
        let period_ms = prop_oneof![1..100u64, Just(1000), Just(60_000), 1..=super::super::MAX_PERIOD_MS];
        let burst = prop_oneof![1..10u64, 1..100_000u64];
        (limit, period_ms, burst).prop_map(|(limit, period_ms, burst)| Window { limit, period_ms, burst })
    }

    /// Steps that matter to these windows: nothing, a nanosecond, part of a cell, a cell, a period, a burst.
    fn step(window: Window) -> impl Strategy<Value = u64> {
        let cell = (window.period_ms * 1_000_000 / window.limit).max(1);
        let period = window.period_ms * 1_000_000;
        prop_oneof![
            3 => Just(0),
            1 => Just(1),
            4 => 0..=cell,
            2 => (1..5u64).prop_map(move |cells| cells * cell),
            1 => 0..=period,
        ]
    }

    fn events() -> impl Strategy<Value = (Vec<Window>, Vec<(u64, u32)>)> {
        vec(window(), 1..4).prop_flat_map(|windows| {
            let first = windows[0];
            let cost = prop_oneof![4 => Just(1u32), 1 => Just(0), 2 => 1..5u32, 1 => any::<u16>().prop_map(u32::from)];
            (Just(windows), vec((step(first), cost), 1..300))
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 400, max_shrink_iters: 500, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn equals_an_exact_token_bucket((windows, events) in events()) {
            let gcra: Vec<Gcra> = windows.iter().map(Gcra::new).collect();
            let mut arrivals = vec![0; windows.len()];
            let mut models: Vec<Model> = windows.iter().copied().map(Model::new).collect();
            let mut now = 0;
            for (step, cost) in events {
                now += step;
                let before = (arrivals.clone(), models.clone());
                let (taken, free_at) = take(&gcra, &mut arrivals, cost, now);
                let expected = model_take(&mut models, cost, now);
                prop_assert_eq!(taken.allowed, expected);
                for (model, standing) in models.iter().zip(taken.standings()) {
                    prop_assert_eq!(standing.remaining, model.tokens());
                    prop_assert!(model.full_after(standing.reset_ms));
                    prop_assert!(standing.reset_ms == 0 || !model.full_after(standing.reset_ms - 1));
                }
                for model in models.iter().filter(|_| free_at < u64::MAX) {
                    let mut model = model.clone();
                    model.advance(free_at);
                    prop_assert_eq!(model.units, Model::full(model.window));
                }
                if taken.allowed {
                    prop_assert_eq!(taken.retry_after_ms, 0);
                    continue;
                }
                prop_assert_eq!(&before.0, &arrivals, "a refusal takes nothing");
                if windows.iter().any(|window| u64::from(cost) > window.burst) {
                    prop_assert_eq!(taken.retry_after_ms, u64::MAX);
                    continue;
                }
                let retry = taken.retry_after_ms;
                if u128::from(retry) * 1_000_000 > u128::from(MAX_NANOS - now) {
                    continue; // beyond the end of time
                }
                let at = |ms: u64| now + ms * 1_000_000;
                prop_assert!(model_take(&mut before.1.clone(), cost, at(retry)), "waiting is enough");
                prop_assert!(!model_take(&mut before.1.clone(), cost, at(retry - 1)), "no shorter wait is");
                prop_assert!(take(&gcra, &mut arrivals.clone(), cost, at(retry)).0.allowed);
                prop_assert!(!take(&gcra, &mut arrivals.clone(), cost, at(retry - 1)).0.allowed);
            }
        }

        /// The promise itself, by counting: in no interval is more admitted than `burst + limit * t / period`.
        #[test]
        fn never_admits_more_than_the_promise(
            (window, steps) in window().prop_flat_map(|window| (Just(window), vec(step(window), 1..200)))
        ) {
            let gcra = [Gcra::new(&window)];
            let mut arrivals = [0];
            let mut now = 0;
            let mut admitted = Vec::new();
            for step in steps {
                now += step;
                if take(&gcra, &mut arrivals, 1, now).0.allowed {
                    admitted.push(now);
                }
            }
            for (first, &from) in admitted.iter().enumerate() {
                for (last, &to) in admitted.iter().enumerate().skip(first) {
                    let count = (last - first + 1) as u128;
                    let most = u128::from(window.burst) * Model::period(window)
                        + u128::from(window.limit) * u128::from(to - from);
                    prop_assert!(count * Model::period(window) <= most);
                }
            }
        }
    }

    /// Half of them on each of two threads: several keys of several limits, in bursts and pauses.
    #[test]
    fn ten_million_events_equal_the_model() {
        const EVENTS: usize = 10_000_000;
        const KEYS: usize = 16;
        let window = |limit, period_ms, burst| Window { limit, period_ms, burst };
        let limits: [&[Window]; 4] = [
            &[window(100, 60_000, 100)],
            &[window(7, 1000, 3)],
            &[window(1_000_000, 1000, 50)],
            &[window(10, 1000, 20), window(300, 60_000, 40)],
        ];
        let run = |limits: &[&[Window]], seed: u64| {
            let mut random = seed;
            let mut next = move || {
                // Xorshift of 64 bits (Marsaglia, 2003).
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                random
            };
            let mut admitted = 0;
            for windows in limits {
                let gcra: Vec<Gcra> = windows.iter().map(Gcra::new).collect();
                let new = || windows.iter().copied().map(Model::new).collect::<Vec<_>>();
                let mut keys: Vec<_> = (0..KEYS).map(|_| (vec![0; windows.len()], new())).collect();
                let cell = windows[0].period_ms * 1_000_000 / windows[0].limit;
                let mut now = 0;
                for event in 0..EVENTS / 4 {
                    let random = next();
                    // On average a little more is asked for than is given, and now and then nothing for long.
                    now +=
                        if random % 5000 == 0 { cell * 2000 } else { random % (2 * cell / KEYS as u64 + 1) * 9 / 10 };
                    let (arrivals, models) = &mut keys[(random >> 32) as usize % KEYS];
                    let cost = if random % 11 == 0 { 3 } else { 1 };
                    let allowed = take(&gcra, arrivals, cost, now).0.allowed;
                    assert_eq!(allowed, model_take(models, cost, now), "event {event} of {windows:?}, seed {seed}");
                    admitted += u64::from(allowed);
                }
            }
            admitted
        };
        let admitted: u64 = std::thread::scope(|scope| {
            let halves = limits.chunks(2).zip([0x9e37_79b9, 0x7f4a_7c15]);
            let halves: Vec<_> = halves.map(|(limits, seed)| scope.spawn(move || run(limits, seed))).collect();
            halves.into_iter().map(|half| half.join().expect("they agree")).sum()
        });
        let share = admitted as f64 / EVENTS as f64;
        assert!((0.5..0.99).contains(&share), "both answers are frequent: {share}");
    }

    #[test]
    fn seven_a_second_admits_seven_each_second_and_loses_nothing_by_rounding() {
        let gcra = [Gcra::new(&Window { limit: 7, period_ms: 1000, burst: 2 })];
        let mut arrivals = [0];
        assert!(take(&gcra, &mut arrivals, 2, 0).0.allowed);
        // The k-th call is due at k / 7 s, which is no whole number of nanoseconds six times of seven.
        for k in 1..=700_000u64 {
            let due = (k * 1_000_000_000).div_ceil(7);
            assert!(!take(&gcra, &mut arrivals, 1, due - 1).0.allowed, "one nanosecond early, call {k}");
            assert!(take(&gcra, &mut arrivals, 1, due).0.allowed, "in time, call {k}");
        }
    }
}
