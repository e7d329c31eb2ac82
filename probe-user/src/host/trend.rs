//! When something that grows will reach a limit, by the slope of the last hour (Theil and Sen: the median of the slopes
//! between all pairs of samples). A retention that deletes segments in steps, or one large file that comes and goes,
//! does not turn the median as it would a mean.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Samples older than this no longer count.
const WINDOW: Duration = Duration::from_secs(3600);

/// Distance between samples: 60 in the window, 1770 pairs.
const STEP: Duration = Duration::from_secs(60);

/// With fewer, or in a shorter time, there is no trend yet.
const SAMPLES_LEAST: usize = 5;

/// Beyond a year it is not worth saying.
const HORIZON: f64 = 366.0 * 86_400.0;

/// What a quantity was in the last hour.
#[derive(Debug, Clone, Default)]
pub struct Trend {
    samples: VecDeque<(Instant, u64)>,
    latest: Option<u64>,
}

impl Trend {
    /// Takes what it is now; may be called as often as one likes.
    pub fn record(&mut self, now: Instant, value: u64) {
        self.latest = Some(value);
        let last = self.samples.back().map(|(time, _)| *time);
        if last.is_none_or(|last| now.saturating_duration_since(last) >= STEP) {
            self.samples.push_back((now, value));
        }
        while self.samples.front().is_some_and(|(time, _)| now.saturating_duration_since(*time) > WINDOW) {
            self.samples.pop_front();
        }
    }

    /// How much it grows a second; less than nothing if it shrinks, nothing if that cannot be told yet.
    #[must_use]
    pub fn slope(&self) -> Option<f64> {
        if self.samples.len() < SAMPLES_LEAST {
            return None;
        }
        let mut slopes = Vec::with_capacity(self.samples.len() * self.samples.len() / 2);
        for (position, (time, value)) in self.samples.iter().enumerate() {
            for (later, grown) in self.samples.iter().skip(position + 1) {
                // Both far below what a double holds exactly.
                slopes.push((*grown as f64 - *value as f64) / (*later - *time).as_secs_f64());
            }
        }
        let middle = slopes.len() / 2;
        Some(*slopes.select_nth_unstable_by(middle, f64::total_cmp).1)
    }

    /// How long until it reaches `limit`; nothing if it does not grow, or not within a year.
    #[must_use]
    pub fn time_to_reach(&self, limit: u64) -> Option<Duration> {
        let left = limit.saturating_sub(self.latest?) as f64;
        let seconds = left / self.slope().filter(|slope| *slope > 0.0)?;
        (seconds <= HORIZON).then(|| Duration::from_secs_f64(seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn trend(values: impl IntoIterator<Item = u64>) -> Trend {
        let (mut trend, mut now) = (Trend::default(), Instant::now());
        for value in values {
            trend.record(now, value);
            now += STEP;
        }
        trend
    }

    #[test]
    fn steady_growth_is_told_to_the_second() {
        let trend = trend((0..30).map(|minute| 1000 * MIB + minute * 60 * MIB));
        assert!((trend.slope().unwrap() - MIB as f64).abs() < 1.0);
        let left = trend.time_to_reach(1000 * MIB + 29 * 60 * MIB + 7200 * MIB).unwrap();
        assert!((left.as_secs_f64() - 7200.0).abs() < 1.0, "{left:?}");
    }

    #[test]
    fn a_file_that_comes_and_goes_does_not_turn_it() {
        let spike = |minute: u64| if (20..25).contains(&minute) { 50_000 * MIB } else { 0 };
        let trend = trend((0..60).map(|minute| minute * 60 * MIB + spike(minute)));
        let slope = trend.slope().unwrap() / MIB as f64;
        assert!((0.8..1.2).contains(&slope), "{slope}");
    }

    #[test]
    fn what_does_not_grow_is_never_full() {
        assert_eq!(trend([7; 30]).time_to_reach(100), None, "level");
        assert_eq!(trend((0..30).rev()).time_to_reach(100), None, "shrinks");
        let sawtooth = trend((0..60).map(|minute| (minute % 10) * MIB + 1000 * MIB));
        assert!(sawtooth.time_to_reach(100_000 * MIB).is_none_or(|left| left > Duration::from_secs(30 * 86_400)));
        assert_eq!(trend([1, 2]).time_to_reach(100), None, "too few");
        assert_eq!(trend((0..30).map(|minute| minute * 60)).time_to_reach(u64::MAX), None, "not in a year");
    }

    #[test]
    fn what_is_full_has_no_time_left() {
        assert_eq!(trend(0..30).time_to_reach(10), Some(Duration::ZERO));
    }

    #[test]
    fn the_window_is_bounded_however_often_one_looks() {
        let (mut trend, start) = (Trend::default(), Instant::now());
        for second in 0..20_000 {
            trend.record(start + Duration::from_secs(second), second);
        }
        assert!(trend.samples.len() <= 61, "{}", trend.samples.len());
    }
}
