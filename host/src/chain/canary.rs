//! A new version of a plugin, which takes the place of the old one in a part of the passes.

use std::net::IpAddr;

use http::HeaderMap;

use super::Link;
use crate::config::{CanaryPart, Part, RolloutKey};

/// A new version of a plugin beside the old one.
pub struct Canary {
    pub(super) link: Link,
    rollout: CanaryPart,
    salt: u64,
}

impl Canary {
    /// `version` makes sure that it is not always the same clients that try what is new.
    #[must_use]
    pub fn new(link: Link, rollout: CanaryPart, version: &str) -> Self {
        Self { link, rollout, salt: mix(BEGIN, version.as_bytes()) }
    }

    /// Whether a request meets the new version: always the same answer for the same key.
    pub(super) fn takes(&self, headers: &HeaderMap, client: IpAddr) -> bool {
        let key = match &self.rollout.key {
            RolloutKey::Address => match client {
                IpAddr::V4(ip) => mix(self.salt, &ip.octets()),
                IpAddr::V6(ip) => mix(self.salt, &ip.octets()),
            },
            RolloutKey::Header(name) => match headers.get(name) {
                Some(value) => mix(self.salt, value.as_bytes()),
                None => return false,
            },
        };
        spread(key) % u64::from(Part::ALL.0) < u64::from(self.rollout.canary.0)
    }
}

const BEGIN: u64 = 0xcbf2_9ce4_8422_2325;

/// FNV-1a, which gives the same on every machine and in every version.
fn mix(begin: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(begin, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The last steps of MurmurHash3: FNV's low bits follow those of the last byte.
fn spread(mut hash: u64) -> u64 {
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_are_alike_are_spread_evenly() {
        let salt = mix(BEGIN, b"0123456789ab");
        let taken = (0..100_000u32).filter(|number| spread(mix(salt, &number.to_be_bytes())) % 100 < 5).count();
        assert!((4500..5500).contains(&taken), "{taken} of 100000");
    }

    #[test]
    fn another_version_meets_other_clients() {
        let taken = |version: &[u8]| -> Vec<u32> {
            let salt = mix(BEGIN, version);
            (0..10_000u32).filter(|number| spread(mix(salt, &number.to_be_bytes())) % 100 < 5).collect()
        };
        let (one, other) = (taken(b"aaaaaaaaaaaa"), taken(b"bbbbbbbbbbbb"));
        let both = one.iter().filter(|number| other.contains(number)).count();
        assert!(both < one.len() / 4, "{both} of {}", one.len());
    }
}
