//! What is slow for this host: the hundredth part that took longest in the last minute or two.

use std::time::Duration;

use kafkascope_protocol::Timestamp;
use kafkascope_telemetry::histogram::Histogram;

/// Fewer say nothing about a hundredth part.
const ENOUGH: u64 = 500;

/// What is faster is nobody's trouble, however rare.
const FASTEST: Duration = Duration::from_millis(1);

const MINUTE: u64 = 60_000_000_000;

/// Durations of this minute and the one before.
#[derive(Debug, Default)]
pub(crate) struct Running {
    begun: Timestamp,
    now: Histogram,
    before: Histogram,
}

impl Running {
    /// More of them, at `at`.
    pub(crate) fn add(&mut self, at: Timestamp, more: &Histogram) {
        if at.since(self.begun) >= MINUTE {
            self.begun = at;
            self.before = std::mem::take(&mut self.now);
        }
        self.now.merge(more);
    }

    /// From when on one is slow: `limit`, or less where all others are much faster.
    pub(crate) fn threshold(&self, limit: Duration) -> Duration {
        let mut both = self.before.clone();
        both.merge(&self.now);
        let p99 = (both.count() >= ENOUGH).then(|| both.quantile(0.99)).flatten();
        p99.map_or(limit, |seconds| Duration::from_secs_f64(seconds.clamp(0.0, 1e6)).max(FASTEST).min(limit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(100);

    fn at(second: u64) -> Timestamp {
        Timestamp(second * 1_000_000_000)
    }

    fn of(nanos: u64, times: u64) -> Histogram {
        Histogram::of_nanos([(nanos, times)], nanos * times)
    }

    #[test]
    fn few_durations_leave_the_limit() {
        let mut running = Running::default();
        running.add(at(1_000), &of(2_000_000, ENOUGH - 1));
        assert_eq!(running.threshold(LIMIT), LIMIT);
    }

    #[test]
    fn the_slowest_hundredth_is_slow_and_soon_forgotten() {
        let mut running = Running::default();
        running.add(at(1_000), &of(2_000_000, 980));
        running.add(at(1_001), &of(30_000_000, 20));
        let threshold = running.threshold(LIMIT).as_secs_f64();
        assert!((0.025..=0.033).contains(&threshold), "{threshold}");
        for minute in 1..3 {
            running.add(at(1_000 + 61 * minute), &of(2_000_000, 1_000));
        }
        assert!(running.threshold(LIMIT) < Duration::from_millis(3));
    }

    #[test]
    fn never_above_the_limit_and_never_below_a_millisecond() {
        let mut running = Running::default();
        running.add(at(1_000), &of(900_000_000, 1_000));
        assert_eq!(running.threshold(LIMIT), LIMIT);
        let mut running = Running::default();
        running.add(at(1_000), &of(20_000, 1_000));
        assert_eq!(running.threshold(LIMIT), FASTEST);
    }
}
