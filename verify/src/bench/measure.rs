//! Two things measured in turns.

use std::time::{Duration, Instant};

/// Medians of two measurements, and of their ratio round by round.
#[derive(Clone, Copy, Debug)]
pub struct Pair {
    /// Time of one operation of the first.
    pub first: Duration,
    /// Time of one operation of the second.
    pub second: Duration,
    /// First over second.
    pub ratio: f64,
}

/// Runs `first` and `second` in turns: one round of each to warm up, then `rounds`. Each does
/// `count` operations a round; who begins alternates.
pub fn in_turns(
    rounds: usize,
    count: u32,
    mut first: impl FnMut() -> anyhow::Result<()>,
    mut second: impl FnMut() -> anyhow::Result<()>,
) -> anyhow::Result<Pair> {
    let (mut firsts, mut seconds, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=rounds {
        let (a, b) = if round % 2 == 0 {
            let a = time(&mut first)?;
            (a, time(&mut second)?)
        } else {
            let b = time(&mut second)?;
            (time(&mut first)?, b)
        };
        if round > 0 {
            firsts.push(a / count);
            seconds.push(b / count);
            ratios.push(a.as_secs_f64() / b.as_secs_f64());
        }
    }
    Ok(Pair { first: median(&mut firsts), second: median(&mut seconds), ratio: median_f64(&mut ratios) })
}

/// How long it takes.
pub fn time(work: &mut impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<Duration> {
    let began = Instant::now();
    work()?;
    Ok(began.elapsed())
}

/// The middle one.
pub fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// The same for ratios.
pub fn median_f64(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warm_up_does_not_count_and_turns_alternate() {
        let order = std::cell::RefCell::new(String::new());
        let pair = in_turns(
            2,
            1,
            || {
                order.borrow_mut().push('a');
                Ok(())
            },
            || {
                order.borrow_mut().push('b');
                Ok(())
            },
        );
        assert!(pair.unwrap().ratio > 0.0);
        assert_eq!(*order.borrow(), "abbaab");
    }
}
