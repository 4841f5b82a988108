//! How far the times of an entry lie apart: the producer's, the log's and the authority's.

use std::time::Duration;

use crate::time::Time;
use crate::verify::Verified;

/// The times of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// When the producer says that it happened (a device's clock).
    pub claimed: Option<Time>,
    /// When the log says that it took it.
    pub received: Option<Time>,
    /// When the authority stamped it, or a checkpoint that covers it.
    pub trusted: Time,
    /// How far the authority's time may be off. None: it does not say, and counts as zero.
    pub accuracy: Option<Duration>,
}

impl Times {
    /// The times of an entry that a verified token covers.
    pub fn new(claimed: Option<Time>, received: Option<Time>, stamp: &Verified) -> Self {
        Self { claimed, received, trusted: stamp.time, accuracy: stamp.accuracy }
    }
}

/// How much later one time is than another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gap {
    /// Later, or at the same time.
    Later(Duration),
    /// Earlier.
    Earlier(Duration),
}

impl Gap {
    /// How much later `time` is than `than`.
    pub fn between(than: Time, time: Time) -> Self {
        match time.duration().checked_sub(than.duration()) {
            Some(by) => Self::Later(by),
            None => Self::Earlier(than.duration().saturating_sub(time.duration())),
        }
    }
}

impl std::fmt::Display for Gap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Later(by) => write!(f, "+{by:?}"),
            Self::Earlier(by) => write!(f, "-{by:?}"),
        }
    }
}

/// Times that cannot be in this order: a clock is wrong, or somebody lies. An event comes first, then the log takes it,
/// then the authority stamps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// The log took it before it happened.
    ReceivedBeforeClaimed {
        /// By how much more than is tolerated.
        by: Duration,
    },
    /// The authority stamped it before the log took it.
    TrustedBeforeReceived {
        /// By how much more than is tolerated.
        by: Duration,
    },
    /// The authority stamped it before it happened.
    TrustedBeforeClaimed {
        /// By how much more than is tolerated.
        by: Duration,
    },
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::ReceivedBeforeClaimed { by } => {
                write!(f, "received {by:?} before it is said to have happened")
            }
            Self::TrustedBeforeReceived { by } => {
                write!(f, "time-stamped {by:?} before it is said to be received")
            }
            Self::TrustedBeforeClaimed { by } => {
                write!(f, "time-stamped {by:?} before it is said to have happened")
            }
        }
    }
}

/// The report on the times of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gaps {
    /// From the claimed time to the received.
    pub claimed_to_received: Option<Gap>,
    /// From the received time to the trusted.
    pub received_to_trusted: Option<Gap>,
    /// From the claimed time to the trusted.
    pub claimed_to_trusted: Option<Gap>,
    /// How far the trusted time may be off either way. None: unknown, and taken as zero.
    pub accuracy: Option<Duration>,
    /// The entry existed then at the latest: the trusted time, and the accuracy.
    pub existed_by: Time,
    /// What cannot be.
    pub violations: Vec<Violation>,
}

impl Gaps {
    /// Compares the times. `tolerance`: how far the clocks of producer and log may be off one another and off the
    /// authority's before it counts as a violation.
    pub fn of(times: &Times, tolerance: Duration) -> Self {
        let Times { claimed, received, trusted, accuracy } = *times;
        let existed_by = trusted.after(accuracy.unwrap_or_default());
        let gap = |from: Option<Time>, to: Option<Time>| Some(Gap::between(from?, to?));
        let too_early = |from: Option<Time>, to: Option<Time>| match gap(from, to)? {
            Gap::Earlier(by) => by.checked_sub(tolerance).filter(|by| !by.is_zero()),
            Gap::Later(_) => None,
        };
        let violations = [
            too_early(claimed, received).map(|by| Violation::ReceivedBeforeClaimed { by }),
            too_early(received, Some(existed_by)).map(|by| Violation::TrustedBeforeReceived { by }),
            too_early(claimed, Some(existed_by)).map(|by| Violation::TrustedBeforeClaimed { by }),
        ];
        Self {
            claimed_to_received: gap(claimed, received),
            received_to_trusted: gap(received, Some(trusted)),
            claimed_to_trusted: gap(claimed, Some(trusted)),
            accuracy,
            existed_by,
            violations: violations.into_iter().flatten().collect(),
        }
    }
}

impl std::fmt::Display for Gaps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "existed by {}", self.existed_by)?;
        if self.accuracy.is_none() {
            f.write_str(" (accuracy not stated)")?;
        }
        for (name, gap) in [
            ("received after claimed", self.claimed_to_received),
            ("time-stamped after received", self.received_to_trusted),
            ("time-stamped after claimed", self.claimed_to_trusted),
        ] {
            if let Some(gap) = gap {
                write!(f, "; {name} {gap}")?;
            }
        }
        self.violations.iter().try_for_each(|violation| write!(f, "; {violation}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ZERO: Duration = Duration::ZERO;

    fn times(claimed: u64, received: u64, trusted: u64, accuracy: Option<u64>) -> Times {
        Times {
            claimed: Some(Time::from_millis(claimed)),
            received: Some(Time::from_millis(received)),
            trusted: Time::from_millis(trusted),
            accuracy: accuracy.map(Duration::from_millis),
        }
    }

    #[test]
    fn reports_durations_in_order() {
        let gaps = Gaps::of(&times(1_000, 1_250, 5_000, Some(500)), ZERO);
        assert_eq!(gaps.claimed_to_received, Some(Gap::Later(Duration::from_millis(250))));
        assert_eq!(gaps.received_to_trusted, Some(Gap::Later(Duration::from_millis(3_750))));
        assert_eq!(gaps.claimed_to_trusted, Some(Gap::Later(Duration::from_secs(4))));
        assert_eq!(gaps.existed_by, Time::from_millis(5_500));
        assert!(gaps.violations.is_empty());
        assert_eq!(
            gaps.to_string(),
            "existed by 1970-01-01T00:00:05.5Z; received after claimed +250ms; time-stamped after received +3.75s; \
             time-stamped after claimed +4s"
        );
    }

    #[test]
    fn names_each_violation() {
        let ms = Duration::from_millis;
        let found = |times| Gaps::of(&times, ZERO).violations;
        assert_eq!(
            found(times(2_000, 1_000, 3_000, None)),
            [Violation::ReceivedBeforeClaimed { by: ms(1_000) }]
        );
        assert_eq!(
            found(times(1_000, 9_000, 3_000, None)),
            [Violation::TrustedBeforeReceived { by: ms(6_000) }]
        );
        assert_eq!(
            found(times(9_000, 9_000, 3_000, Some(1_000))),
            [
                Violation::TrustedBeforeReceived { by: ms(5_000) },
                Violation::TrustedBeforeClaimed { by: ms(5_000) }
            ]
        );
    }

    #[test]
    fn accuracy_and_tolerance_excuse() {
        assert!(Gaps::of(&times(3_000, 3_000, 2_500, Some(500)), ZERO).violations.is_empty());
        assert!(!Gaps::of(&times(3_000, 3_000, 2_500, Some(499)), ZERO).violations.is_empty());
        assert!(
            Gaps::of(&times(3_100, 3_000, 2_900, None), Duration::from_millis(200)).violations.is_empty()
        );
        assert!(
            !Gaps::of(&times(3_101, 3_000, 2_900, None), Duration::from_millis(200)).violations.is_empty()
        );
    }

    #[test]
    fn times_that_are_not_known_are_left_out() {
        let gaps = Gaps::of(&Times { claimed: None, received: None, ..times(0, 0, 1_000, None) }, ZERO);
        assert_eq!(
            (gaps.claimed_to_received, gaps.received_to_trusted, gaps.claimed_to_trusted),
            (None, None, None)
        );
        assert!(gaps.violations.is_empty());
        assert_eq!(gaps.to_string(), "existed by 1970-01-01T00:00:01Z (accuracy not stated)");
    }
}
