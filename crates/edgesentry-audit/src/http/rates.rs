//! How many records a second somebody may send: the generic cell rate algorithm, with bounded memory.

use std::collections::HashMap;
use std::time::Duration;

/// Names that are told apart at once. Of more, those that come last share one allowance.
const MANY: usize = 10_000;

/// So many a second, and so many at once after a pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Records a second, at least 1.
    pub per_second: u32,
    /// Records at once, at least 1.
    pub burst: u32,
}

impl Rate {
    /// Reads `20` (as many at once) or `20:100`.
    pub fn parse(text: &str) -> Option<Self> {
        let (per_second, burst) = text.split_once(':').unwrap_or((text, text));
        let number = |text: &str| text.parse().ok().filter(|n| (1..=1_000_000).contains(n));
        Some(Self { per_second: number(per_second)?, burst: number(burst)? })
    }

    fn interval(self) -> Duration {
        Duration::from_secs(1) / self.per_second
    }
}

/// Who has sent how much of late.
#[derive(Debug)]
pub struct Rates {
    rate: Rate,
    /// When each will have used up nothing again.
    rested: HashMap<String, Duration>,
}

impl Rates {
    /// Nobody has sent anything yet.
    pub fn new(rate: Rate) -> Self {
        Self { rate, rested: HashMap::new() }
    }

    /// Whether `name` may send one more. `now` is any clock that only goes forward.
    pub fn has_room(&self, name: &str, now: Duration) -> bool {
        let full = self.rested.len() >= MANY;
        let rested = self.rested.get(name).or_else(|| full.then(|| self.rested.get("")).flatten());
        let ahead = rested.map_or(Duration::ZERO, |rested| rested.saturating_sub(now));
        ahead <= self.rate.interval() * (self.rate.burst - 1)
    }

    /// Counts one record of `name`.
    pub fn take(&mut self, name: &str, now: Duration) {
        if !self.rested.contains_key(name) && self.rested.len() >= MANY {
            self.rested.retain(|_, rested| *rested > now);
        }
        let known = self.rested.len() < MANY || self.rested.contains_key(name);
        let rested = self.rested.entry(if known { name } else { "" }.to_owned()).or_default();
        *rested = (*rested).max(now) + self.rate.interval();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_read() {
        assert_eq!(Rate::parse("20"), Some(Rate { per_second: 20, burst: 20 }));
        assert_eq!(Rate::parse("1:5"), Some(Rate { per_second: 1, burst: 5 }));
        for wrong in ["", "0", "1:0", "-1", "1.5", "1:2:3", "many", "1000001"] {
            assert_eq!(Rate::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let mut rates = Rates::new(Rate { per_second: 10, burst: 3 });
        let at = |ms| Duration::from_secs(5) + Duration::from_millis(ms);
        let mut passed = |name: &str, ms| {
            let room = rates.has_room(name, at(ms));
            if room {
                rates.take(name, at(ms));
            }
            room
        };
        assert_eq!([0, 0, 0, 0].map(|ms| passed("a", ms)), [true, true, true, false]);
        assert!(passed("b", 0), "others are not slowed");
        assert_eq!([99, 100, 101, 200].map(|ms| passed("a", ms)), [false, true, false, true]);
        assert_eq!([5000; 4].map(|ms| passed("a", ms)), [true, true, true, false], "no more than a burst");
    }

    #[test]
    fn its_memory_is_bounded() {
        let mut rates = Rates::new(Rate { per_second: 1, burst: 1 });
        for n in 0..3 * MANY {
            rates.take(&n.to_string(), Duration::ZERO);
        }
        assert!(rates.rested.len() <= MANY + 1);
        assert!(!rates.has_room("one more", Duration::ZERO), "it shares with those that came last");
        let later = Duration::from_secs(3 * MANY as u64);
        rates.take("later", later);
        assert_eq!(rates.rested.len(), 1);
    }
}
