//! The JVM's clock: ticks since it began, and when that was.
//!
//! Its ticks are those of `CLOCK_MONOTONIC` less a beginning that it does not tell. It writes down the present tick
//! every 50 ms, and the end of each collection, so each reading gives a latest possible beginning. It also tells the
//! time of day at which it began, in milliseconds: that is believed where it agrees.

use rustix::time::ClockId;

use crate::clock;

/// `PerfDataSamplingInterval`, and some scheduling.
const SAMPLED: u64 = 60_000_000;

/// The same moment on three clocks, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// `CLOCK_MONOTONIC`.
    pub monotonic: u64,
    /// `CLOCK_BOOTTIME`, by which start times of processes are told.
    pub boot: u64,
    /// Since 1970.
    pub unix: u64,
}

impl Now {
    /// This moment.
    #[must_use]
    pub fn read() -> Self {
        let others = || (clock::read(ClockId::Boottime), clock::read(ClockId::Realtime));
        let (monotonic, (boot, unix)) = clock::beside(ClockId::Monotonic, others);
        Self { monotonic, boot, unix }
    }
}

/// The clock of one JVM.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    /// Ticks a second.
    frequency: u64,
    /// Of the JVM, as nanoseconds of `CLOCK_MONOTONIC`: the latest that is possible.
    latest: Option<u64>,
    /// As nanoseconds since 1970, as the JVM tells; wrong if that clock was set since.
    told: Option<u64>,
}

impl Clock {
    pub(crate) fn new(frequency: u64, told_ms: Option<u64>) -> Self {
        let told = told_ms.and_then(|ms| ms.checked_mul(1_000_000)).filter(|told| *told > 0);
        Self { frequency: frequency.max(1), latest: None, told }
    }

    /// The JVM has got as far as `ticks` by now, at least.
    pub(crate) fn reached(&mut self, ticks: u64, now: Now) {
        let Some(begin) = now.monotonic.checked_sub(self.nanoseconds(ticks)) else { return };
        self.latest = Some(self.latest.map_or(begin, |latest| latest.min(begin)));
    }

    /// Ticks as nanoseconds, rounded to the nearest.
    pub(crate) fn nanoseconds(&self, ticks: u64) -> u64 {
        if self.frequency == 1_000_000_000 {
            return ticks;
        }
        let half = u128::from(self.frequency) / 2;
        let nanoseconds = (u128::from(ticks) * 1_000_000_000 + half) / u128::from(self.frequency);
        u64::try_from(nanoseconds).unwrap_or(u64::MAX)
    }

    /// So many ticks there can be at most in a time.
    pub(crate) fn ticks(&self, nanoseconds: u64) -> u64 {
        u64::try_from(u128::from(nanoseconds) * u128::from(self.frequency) / 1_000_000_000).unwrap_or(u64::MAX)
    }

    /// When a tick was, in nanoseconds since 1970.
    pub(crate) fn unix(&self, ticks: u64, now: Now) -> Option<u64> {
        let since_begin = self.nanoseconds(ticks);
        // The offset of the two clocks is taken anew each time: the time of day may be set.
        let latest = self.latest?.checked_add(now.unix)?.checked_sub(now.monotonic)?;
        let agrees = |told: &u64| *told <= latest.saturating_add(1_000_000) && latest - (*told).min(latest) <= SAMPLED;
        let begin = self.told.filter(agrees).unwrap_or(latest);
        begin.checked_add(since_begin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Now = Now { monotonic: 10_000_000_000, boot: 10_000_000_000, unix: 1_700_000_010_000_000_000 };

    #[test]
    fn the_beginning_is_the_earliest_that_was_seen() {
        let mut clock = Clock::new(1_000_000_000, None);
        assert_eq!(clock.unix(1, NOW), None);
        clock.reached(3_960_000_000, NOW);
        clock.reached(3_999_000_000, NOW);
        clock.reached(3_970_000_000, NOW);
        assert_eq!(clock.unix(1_000_000_000, NOW), Some(1_700_000_007_001_000_000));
    }

    #[test]
    fn what_the_jvm_tells_is_believed_unless_the_time_of_day_was_set() {
        let mut clock = Clock::new(1_000_000_000, Some(1_700_000_006_000));
        clock.reached(3_960_000_000, NOW);
        assert_eq!(clock.unix(5, NOW), Some(1_700_000_006_000_000_005));
        let mut set = Clock::new(1_000_000_000, Some(1_700_000_106_000));
        set.reached(3_960_000_000, NOW);
        assert_eq!(set.unix(5, NOW), Some(1_700_000_006_040_000_005));
    }

    #[test]
    fn ticks_of_any_frequency_become_nanoseconds() {
        assert_eq!(Clock::new(1_000_000, None).nanoseconds(7), 7000);
        assert_eq!(Clock::new(3_000_000_000, None).nanoseconds(4), 1);
        assert_eq!(Clock::new(0, None).nanoseconds(1), 1_000_000_000);
        assert_eq!(Clock::new(1, None).nanoseconds(u64::MAX), u64::MAX);
        assert_eq!(Clock::new(1_000, None).ticks(5_000_000_000), 5000);
    }
}
