//! Which endpoint takes a request: decisions over weights, loads and hashes, and nothing else.
//!
//! Every worker balances for itself, over the requests that it has under way: nothing is shared on this path. Where
//! clients spread over workers evenly, so do the requests of each endpoint.

#[cfg(test)]
mod tests;

use std::cell::Cell;

use crate::config::{Balance, Member};
use crate::random::{Random, mix};

/// How much more than its part an endpoint takes for the sake of a hash, in hundredths. With a quarter more, a key that
/// everybody asks for spreads over a few endpoints, and others move seldom (Mirrokni, Thorup, Zadimoghaddam: Consistent
/// Hashing with Bounded Loads, 2016).
const BOUND: u64 = 125;

/// The full weight of a slow start.
pub(super) const WHOLE: u64 = 1000;

/// What the endpoints are like at the moment, by their places.
pub(super) trait Sight {
    /// Whether it can take this request.
    fn is_open(&self, place: usize) -> bool;
    /// Requests that are under way to it.
    fn busy(&self, place: usize) -> u64;
    /// The part of its weight that it has come to, of [`WHOLE`]: never 0.
    fn warmth(&self, place: usize) -> u64;
    /// How long it is likely to take for an answer, in seconds.
    fn latency(&self, place: usize) -> f64;
}

/// The endpoints of an upstream by their priorities and weights.
#[derive(Debug)]
pub(super) struct Balancer {
    balance: Balance,
    endpoints: Vec<Endpoint>,
    /// Places, those of the highest priority first.
    tiers: Vec<Vec<usize>>,
    random: Random,
}

#[derive(Debug)]
struct Endpoint {
    weight: u64,
    /// Of its address.
    hash: u64,
    /// What smooth round robin owes it.
    owed: Cell<i64>,
}

impl Balancer {
    pub(super) fn new(balance: &Balance, members: &[Member], random: Random) -> Self {
        let endpoint = |member: &Member| Endpoint {
            weight: u64::from(member.weight.get()),
            hash: hash(member.endpoint.address().as_bytes()),
            owed: Cell::new(0),
        };
        let mut places: Vec<usize> = (0..members.len()).collect();
        places.sort_by_key(|place| std::cmp::Reverse(members[*place].priority));
        let tiers = places.chunk_by(|one, other| members[*one].priority == members[*other].priority);
        Self {
            balance: balance.clone(),
            endpoints: members.iter().map(endpoint).collect(),
            tiers: tiers.map(<[usize]>::to_vec).collect(),
            random,
        }
    }

    /// The place of the endpoint that takes a request, none where no endpoint can. `key` is what a consistent hash goes
    /// by; without one, requests go to few and busy endpoints like those of [`Balance::LeastRequest`].
    pub(super) fn pick(&self, key: Option<u64>, sight: &impl Sight) -> Option<usize> {
        self.tiers.iter().find_map(|tier| match (&self.balance, key) {
            _ if tier.len() == 1 => Some(tier[0]).filter(|only| sight.is_open(*only)),
            (Balance::RoundRobin, _) => self.in_turn(tier, sight),
            (Balance::ConsistentHash(_), Some(key)) => self.by_hash(tier, key, sight),
            (Balance::PeakEwma, _) => {
                self.of_two(tier, sight, |place| (sight.busy(place) + 1) as f64 * sight.latency(place))
            }
            (Balance::LeastRequest | Balance::ConsistentHash(_), _) => {
                self.of_two(tier, sight, |place| sight.busy(place) as f64 / self.endpoints[place].weight as f64)
            }
        })
    }

    fn weight(&self, place: usize, sight: &impl Sight) -> u64 {
        self.endpoints[place].weight * sight.warmth(place)
    }

    /// The smooth weighted round robin of nginx: everybody is owed their weight, the one that is owed most goes, and
    /// pays for all.
    fn in_turn(&self, tier: &[usize], sight: &impl Sight) -> Option<usize> {
        let mut all = 0;
        let mut most: Option<usize> = None;
        for place in tier.iter().copied().filter(|place| sight.is_open(*place)) {
            let weight = self.weight(place, sight).cast_signed();
            let owed = &self.endpoints[place].owed;
            owed.set(owed.get() + weight);
            all += weight;
            if most.is_none_or(|most| owed.get() > self.endpoints[most].owed.get()) {
                most = Some(place);
            }
        }
        let owed = &self.endpoints[most?].owed;
        owed.set(owed.get() - all);
        most
    }

    /// Draws two by weight, and takes the one that costs less; the first one, if both cost the same.
    fn of_two(&self, tier: &[usize], sight: &impl Sight, cost: impl Fn(usize) -> f64) -> Option<usize> {
        let one = self.draw(tier, None, sight)?;
        let Some(other) = self.draw(tier, Some(one), sight) else { return Some(one) };
        Some(if cost(other) < cost(one) { other } else { one })
    }

    /// One by weight, apart from one that is drawn already.
    fn draw(&self, tier: &[usize], apart: Option<usize>, sight: &impl Sight) -> Option<usize> {
        let open = || tier.iter().copied().filter(|place| Some(*place) != apart && sight.is_open(*place));
        let all: u64 = open().map(|place| self.weight(place, sight)).sum();
        let mut at = self.random.below(all)?;
        open().find(|place| {
            let weight = self.weight(*place, sight);
            let found = at < weight;
            at = at.saturating_sub(weight);
            found
        })
    }

    /// Rendezvous: the key has a score with every endpoint, and goes to the highest. One that has more than its part of
    /// what is under way is passed over.
    fn by_hash(&self, tier: &[usize], key: u64, sight: &impl Sight) -> Option<usize> {
        let open = || tier.iter().copied().filter(|place| sight.is_open(*place));
        let (busy, weights) = open()
            .fold((1, 0), |(busy, weights), place| (busy + sight.busy(place), weights + self.weight(place, sight)));
        let has_room = |place: usize| {
            let part = (busy * self.weight(place, sight) * BOUND).div_ceil(weights * 100);
            sight.busy(place) < part
        };
        let best = |places: &mut dyn Iterator<Item = usize>| {
            let scored = places.map(|place| (place, score(key, self.endpoints[place].hash, self.weight(place, sight))));
            scored.max_by(|(_, one), (_, other)| one.total_cmp(other)).map(|(place, _)| place)
        };
        // There always is one with room, since the bound is above the mean.
        best(&mut open().filter(|place| has_room(*place))).or_else(|| best(&mut open()))
    }
}

/// `-weight / ln(u)` for a `u` between 0 and 1 that key and endpoint have together: the highest of them is each
/// endpoint's as often as its weight says (Schindelhauer and Schomaker, 2005).
fn score(key: u64, endpoint: u64, weight: u64) -> f64 {
    let u = ((mix(key ^ endpoint) >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
    -(weight as f64) / u.ln()
}

/// A hash that is the same in every worker, process and version, since proxies beside this one must agree with it. That
/// its collisions can be computed is no harm: no endpoint takes more than its bound.
pub(super) fn hash(bytes: &[u8]) -> u64 {
    // FNV-1a, and a mixing step for its weak upper bits.
    mix(bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)))
}
