//! The share of reads that the page cache answers, over the last minute.

use std::collections::VecDeque;

use kafkascope_protocol::Timestamp;

/// What the ratio is over.
const WINDOW: u64 = 60_000_000_000;

/// Samples of a window: one in five seconds is fine enough, and what a thousand topics can afford.
const STEP: u64 = 5_000_000_000;

/// Totals of the last minute.
#[derive(Debug, Default)]
pub(crate) struct HitRatio {
    samples: VecDeque<Sample>,
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    at: Timestamp,
    asked: u64,
    added: u64,
}

impl HitRatio {
    /// The totals are `asked` and `added` pages at `at`. The ratio since a minute ago, in millionths; `None` when nothing was
    /// asked for. Readahead adds pages before they are asked for, so it is clamped to 0.
    pub(crate) fn sample(&mut self, at: Timestamp, asked: u64, added: u64) -> Option<i64> {
        if self.samples.is_empty() {
            // Whatever was counted was counted since the last look.
            self.samples.push_back(Sample { at, asked: 0, added: 0 });
        }
        while self.samples.get(1).is_some_and(|second| at.since(second.at) >= WINDOW) {
            self.samples.pop_front();
        }
        let ratio = self.samples.front().and_then(|oldest| {
            let asked = asked.checked_sub(oldest.asked).filter(|&asked| asked > 0)?;
            let added = added.saturating_sub(oldest.added);
            let hits = asked.saturating_sub(added);
            i64::try_from(u128::from(hits) * 1_000_000 / u128::from(asked)).ok()
        });
        if self.samples.back().is_none_or(|last| at.since(last.at) >= STEP) {
            self.samples.push_back(Sample { at, asked, added });
        }
        ratio
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u64) -> Timestamp {
        Timestamp(second * 1_000_000_000)
    }

    #[test]
    fn is_over_the_last_minute_and_absent_when_nothing_was_asked() {
        let mut ratio = HitRatio::default();
        assert_eq!(ratio.sample(at(0), 0, 0), None);
        assert_eq!(ratio.sample(at(10), 0, 0), None);
        assert_eq!(ratio.sample(at(20), 100, 25), Some(750_000));
        for second in 21..80 {
            assert!(ratio.sample(at(second), 100, 25).is_some(), "{second}");
        }
        assert_eq!(ratio.sample(at(81), 100, 25), None);
    }

    #[test]
    fn what_is_seen_for_the_first_time_has_a_ratio_at_once() {
        assert_eq!(HitRatio::default().sample(at(3), 100, 40), Some(600_000));
    }

    #[test]
    fn readahead_never_makes_it_negative() {
        let mut ratio = HitRatio::default();
        ratio.sample(at(0), 0, 0);
        assert_eq!(ratio.sample(at(5), 10, 32), Some(0));
    }

    #[test]
    fn keeps_a_minute_of_samples() {
        let mut ratio = HitRatio::default();
        for tenth in 0..10_000 {
            ratio.sample(Timestamp(tenth * 100_000_000), tenth, 0);
        }
        assert!(ratio.samples.len() <= 14, "{}", ratio.samples.len());
    }
}
