use std::cell::RefCell;
use std::num::NonZeroU32;

use http::header::HeaderValue;
use proptest::prelude::*;

use super::*;
use crate::config::{Endpoint as Address, HashKey};

/// Endpoints as a test wants them.
struct Seen {
    open: Vec<bool>,
    busy: RefCell<Vec<u64>>,
    warmth: Vec<u64>,
    latency: Vec<f64>,
}

impl Seen {
    fn all(count: usize) -> Self {
        Self {
            open: vec![true; count],
            busy: RefCell::new(vec![0; count]),
            warmth: vec![WHOLE; count],
            latency: vec![0.01; count],
        }
    }
}

impl Sight for Seen {
    fn is_open(&self, place: usize) -> bool {
        self.open[place]
    }

    fn busy(&self, place: usize) -> u64 {
        self.busy.borrow()[place]
    }

    fn warmth(&self, place: usize) -> u64 {
        self.warmth[place]
    }

    fn latency(&self, place: usize) -> f64 {
        self.latency[place]
    }
}

fn member(number: usize, weight: u32, priority: i32) -> Member {
    let host = format!("10.0.0.{number}");
    let endpoint = Address { tls: false, host, port: 80, authority: HeaderValue::from_static("-"), unix: None };
    Member { endpoint, weight: NonZeroU32::new(weight).unwrap(), priority }
}

fn balancer(balance: Balance, weights: &[u32]) -> Balancer {
    let members: Vec<Member> = weights.iter().enumerate().map(|(number, weight)| member(number, *weight, 0)).collect();
    Balancer::new(&balance, &members, Random::seeded(7))
}

fn hashing(weights: &[u32]) -> Balancer {
    balancer(Balance::ConsistentHash(HashKey::Path), weights)
}

fn counts(balancer: &Balancer, sight: &Seen, keys: impl Iterator<Item = u64>) -> Vec<usize> {
    let mut counts = vec![0; sight.open.len()];
    for key in keys {
        counts[balancer.pick(Some(mix(key)), sight).unwrap()] += 1;
    }
    counts
}

#[test]
fn round_robin_is_exact_over_a_cycle_and_smooth_within_it() {
    let (balancer, sight) = (balancer(Balance::RoundRobin, &[5, 1, 1]), Seen::all(3));
    for _ in 0..10 {
        let turns: Vec<usize> = (0..7).map(|_| balancer.pick(None, &sight).unwrap()).collect();
        // The order that nginx has for these weights.
        assert_eq!(turns, [0, 0, 1, 0, 2, 0, 0]);
    }
}

#[test]
fn a_lower_priority_serves_only_where_no_higher_one_can() {
    for balance in
        [Balance::LeastRequest, Balance::RoundRobin, Balance::PeakEwma, Balance::ConsistentHash(HashKey::Path)]
    {
        let members = [member(0, 1, -1), member(1, 1, 5), member(2, 1, 5), member(3, 1, -1)];
        let balancer = Balancer::new(&balance, &members, Random::seeded(1));
        let mut sight = Seen::all(4);
        let picked = |sight: &Seen| {
            let mut places: Vec<usize> = (0..100).filter_map(|key| balancer.pick(Some(mix(key)), sight)).collect();
            places.sort_unstable();
            places.dedup();
            places
        };
        assert_eq!(picked(&sight), [1, 2], "{balance:?}");
        sight.open = vec![true, false, true, true];
        assert_eq!(picked(&sight), [2], "{balance:?}");
        sight.open = vec![true, false, false, true];
        assert_eq!(picked(&sight), [0, 3], "{balance:?}");
        sight.open = vec![false; 4];
        assert!(picked(&sight).is_empty(), "{balance:?}");
    }
}

#[test]
fn two_choices_follow_weights_and_avoid_the_busy_one() {
    let (balancer, mut sight) = (balancer(Balance::LeastRequest, &[1, 3]), Seen::all(2));
    let idle = counts(&balancer, &sight, 0..10_000);
    assert!((7_300..7_700).contains(&idle[1]), "{idle:?}");
    // Three times the requests are the same load for three times the weight.
    sight.busy = RefCell::new(vec![2, 3]);
    assert_eq!(counts(&balancer, &sight, 0..1000), [0, 1000]);
    sight.busy = RefCell::new(vec![1, 4]);
    assert_eq!(counts(&balancer, &sight, 0..1000), [1000, 0]);
}

#[test]
fn one_that_starts_slowly_gets_its_part_of_a_part() {
    for balance in [Balance::LeastRequest, Balance::RoundRobin] {
        let (balancer, mut sight) = (balancer(balance, &[1, 1, 1]), Seen::all(3));
        sight.warmth[2] = WHOLE / 10;
        let counts = counts(&balancer, &sight, 0..21_000);
        assert!((900..1_100).contains(&counts[2]), "{counts:?}");
    }
}

/// Requests that come one after another to endpoints that serve them at their own speeds: the part of the last one.
fn part_of_the_slow_one(balance: Balance, latencies: &[f64]) -> f64 {
    let balancer = balancer(balance, &vec![1; latencies.len()]);
    let mut sight = Seen::all(latencies.len());
    sight.latency = latencies.to_vec();
    let mut under_way: Vec<(f64, usize)> = Vec::new();
    let mut counts = vec![0_u32; latencies.len()];
    for turn in 0..50_000 {
        let now = f64::from(turn) * 0.000_5;
        under_way.retain(|(end, place)| {
            let over = *end <= now;
            sight.busy.borrow_mut()[*place] -= u64::from(over);
            !over
        });
        let place = balancer.pick(None, &sight).unwrap();
        counts[place] += 1;
        sight.busy.borrow_mut()[place] += 1;
        under_way.push((now + latencies[place], place));
    }
    f64::from(counts[latencies.len() - 1]) / 50_000.0
}

#[test]
fn one_that_is_ten_times_as_slow_gets_little() {
    let mut latencies = vec![0.01; 9];
    latencies.push(0.1);
    let turns = part_of_the_slow_one(Balance::RoundRobin, &latencies);
    assert!(turns > 0.099, "{turns}");
    let least = part_of_the_slow_one(Balance::LeastRequest, &latencies);
    assert!(least < 0.03, "{least}");
    let peak = part_of_the_slow_one(Balance::PeakEwma, &latencies);
    assert!(peak < 0.03, "{peak}");
}

#[test]
fn a_hash_spreads_keys_by_weight() {
    let counts = counts(&hashing(&[1, 1, 2]), &Seen::all(3), 0..40_000);
    for (count, expected) in counts.iter().zip([10_000_usize, 10_000, 20_000]) {
        assert!(count.abs_diff(expected) < expected / 20, "{counts:?}");
    }
}

#[test]
fn few_keys_move_when_an_endpoint_comes_or_goes() {
    let (four, five) = (hashing(&[1; 4]), hashing(&[1; 5]));
    let (sees_four, sees_five) = (Seen::all(4), Seen::all(5));
    let keys = 20_000;
    let moved = (0..keys).filter(|key| {
        let (before, after) = (four.pick(Some(mix(*key)), &sees_four), five.pick(Some(mix(*key)), &sees_five));
        assert!(before == after || after == Some(4), "a key moved between two that stayed");
        before != after
    });
    let part = moved.count() as f64 / keys as f64;
    assert!(part <= 1.0 / 5.0 + 0.02, "{part}");
}

#[test]
fn a_key_that_everybody_asks_for_overloads_nobody() {
    let (balancer, sight) = (hashing(&[1; 4]), Seen::all(4));
    for asked in 1..=400_u64 {
        let place = balancer.pick(Some(42), &sight).unwrap();
        sight.busy.borrow_mut()[place] += 1;
        let most = *sight.busy.borrow().iter().max().unwrap();
        assert!(most <= (asked * BOUND).div_ceil(400) + 1, "{most} of {asked}");
    }
}

#[test]
fn the_hash_is_the_same_for_ever() {
    // Proxies of different versions stand side by side, and must agree.
    assert_eq!([hash(b""), hash(b"alice")], [0xf52a_15e9_a9b5_e89b, 0xc5d1_556d_6677_4a5c]);
}

proptest! {
    #[test]
    fn whoever_is_picked_is_open_and_somebody_is_where_somebody_can_be(
        endpoints in proptest::collection::vec((1..=1000_u32, -2..=2_i32, any::<bool>(), 0..50_u64, 1..=WHOLE), 1..12),
        keys in proptest::collection::vec(proptest::option::of(any::<u64>()), 20),
    ) {
        let members: Vec<Member> =
            endpoints.iter().enumerate().map(|(number, it)| member(number, it.0, it.1)).collect();
        let sight = Seen {
            open: endpoints.iter().map(|it| it.2).collect(),
            busy: RefCell::new(endpoints.iter().map(|it| it.3).collect()),
            warmth: endpoints.iter().map(|it| it.4).collect(),
            latency: endpoints.iter().map(|it| it.3 as f64 / 100.0).collect(),
        };
        let best = endpoints.iter().filter(|it| it.2).map(|it| it.1).max();
        for balance in [
            Balance::LeastRequest, Balance::RoundRobin, Balance::PeakEwma, Balance::ConsistentHash(HashKey::Address),
        ] {
            let balancer = Balancer::new(&balance, &members, Random::seeded(3));
            for key in &keys {
                let picked = balancer.pick(*key, &sight);
                prop_assert_eq!(picked.map(|place| endpoints[place].1), best);
                prop_assert!(picked.is_none_or(|place| endpoints[place].2));
            }
        }
    }

    #[test]
    fn a_cycle_of_round_robin_is_exact(weights in proptest::collection::vec(1..=30_u32, 1..6)) {
        let (balancer, sight) = (balancer(Balance::RoundRobin, &weights), Seen::all(weights.len()));
        let mut counts = vec![0; weights.len()];
        for _ in 0..weights.iter().sum::<u32>() {
            counts[balancer.pick(None, &sight).unwrap()] += 1;
        }
        prop_assert_eq!(counts, weights);
    }

    #[test]
    fn draws_stay_below(seed: u64, end: u64) {
        prop_assert!(Random::seeded(seed).below(end).is_none_or(|drawn| drawn < end));
    }
}
