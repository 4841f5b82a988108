//! How long to wait before the next attempt.

use std::time::Duration;

/// Doubles from the first delay up to the longest, each shortened by up to half at random, so that clients which lost
/// the same broker do not come back in step.
#[derive(Debug)]
pub(super) struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    pub(super) fn new((first, longest): (Duration, Duration)) -> Self {
        Self { first, longest, next: first }
    }

    pub(super) fn reset(&mut self) {
        self.next = self.first;
    }

    pub(super) fn next(&mut self) -> Duration {
        let delay = self.next.min(self.longest);
        self.next = delay.saturating_mul(2).min(self.longest);
        // Without randomness there is no jitter; the attempt is made all the same.
        let random = getrandom::u32().unwrap_or(u32::MAX);
        delay.mul_f64(0.5 + f64::from(random) / f64::from(u32::MAX) / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_longest_and_differ() {
        let (first, longest) = (Duration::from_millis(100), Duration::from_secs(1));
        let mut backoff = Backoff::new((first, longest));
        for whole in [100, 200, 400, 800, 1000, 1000] {
            let delay = backoff.next().as_millis();
            assert!((whole / 2..=whole).contains(&delay), "{delay} of {whole}");
        }
        backoff.reset();
        assert!(backoff.next() <= first);
        let spread: std::collections::BTreeSet<_> =
            (0..50).map(|_| Backoff::new((longest, longest)).next()).collect();
        assert!(spread.len() > 10, "all alike: {spread:?}");
    }
}
