//! How fast a source or a device may send.

use std::hash::{BuildHasher, Hash, RandomState};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, Ordering};

use governor::clock::DefaultClock;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};

/// Keys that are told apart; beyond them, those that hash to the same [`COARSE`] bits share a quota.
const MANY: usize = 200_000;
const COARSE: u64 = 0xffff;

/// A rate: so many a second on average, and so many at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Requests a second.
    pub per_second: NonZeroU32,
    /// Requests at once.
    pub burst: NonZeroU32,
}

impl Rate {
    /// `per_second` requests a second, twice as many at once.
    pub fn per_second(per_second: NonZeroU32) -> Self {
        Self { per_second, burst: per_second.saturating_mul(NonZeroU32::MIN.saturating_add(1)) }
    }
}

/// Rates of many. What it keeps of them is bounded: a number for each, for as long as it is not at rest.
pub(crate) struct Rates {
    limiter: RateLimiter<u64, DashMapStateStore<u64>, DefaultClock>,
    // Keyed by hashes under a random seed, so that nobody chooses whom to share a quota with.
    seed: RandomState,
    full: AtomicBool,
}

impl Rates {
    pub(crate) fn new(rate: Rate) -> Self {
        let quota = Quota::per_second(rate.per_second).allow_burst(rate.burst);
        Self { limiter: RateLimiter::dashmap(quota), seed: RandomState::new(), full: AtomicBool::new(false) }
    }

    /// Whether one more is allowed.
    pub(crate) fn allow(&self, who: impl Hash) -> bool {
        let mut key = self.seed.hash_one(who);
        if self.full.load(Ordering::Relaxed) {
            key &= COARSE;
        }
        self.limiter.check_key(&key).is_ok()
    }

    /// Forgets those that are at rest. To be called every second or so.
    pub(crate) fn prune(&self) {
        self.limiter.retain_recent();
        let many = self.limiter.len() > MANY;
        if self.full.swap(many, Ordering::Relaxed) && !many {
            self.limiter.shrink_to_fit();
        }
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.limiter.len()
    }
}

/// What addresses are told apart by: an IPv6 host has a whole /64.
pub(crate) fn network_of(ip: IpAddr) -> [u8; 8] {
    match ip.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            [0, 0, 0, 0, a, b, c, d]
        }
        IpAddr::V6(v6) => {
            let [a, b, c, d, e, f, g, h, ..] = v6.octets();
            [a, b, c, d, e, f, g, h]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(n: u32) -> Rate {
        Rate::per_second(NonZeroU32::new(n).unwrap())
    }

    #[test]
    fn each_has_a_quota_of_its_own() {
        let rates = Rates::new(rate(2));
        let taken = |who: &str| (0..10).filter(|_| rates.allow(who)).count();
        assert_eq!((taken("a"), taken("b")), (4, 4));
    }

    #[test]
    fn an_ipv6_host_is_one_source() {
        let of = |text: &str| network_of(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
    }

    #[test]
    fn a_crowd_of_keys_is_bounded() {
        let rates = Rates::new(rate(1));
        for round in 0..3_u64 {
            for i in 0..300_000_u64 {
                rates.allow((round, i));
            }
            rates.prune();
        }
        assert!(rates.len() <= 300_000 + COARSE as usize + 1, "{}", rates.len());
    }
}
