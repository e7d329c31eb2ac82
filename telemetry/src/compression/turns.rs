//! Whose batches are kept: a budget of bytes that all series of a worker share alike.
//!
//! Each series may take the same *share* an interval. One that took more, because a batch is larger than the share, pays
//! that back in the intervals to come. The share shrinks when somebody was turned away although it was its turn, and grows
//! while much of the budget is left: with few busy series nearly all batches are kept, with thousands each has its turn now
//! and then. A part of the budget is for those only that have nothing to pay back, so the quiet do not depend on how
//! well the share fits the loud.

use kafkascope_protocol::Timestamp;

/// Bytes of batches that a worker keeps an interval: what is decompressed of them is a few percent of a core's time.
pub(super) const BUDGET: u64 = 4 << 20;

/// What of it is for series that have nothing to pay back.
const RESERVE: u64 = BUDGET / 4;

/// The smallest share, so that it can grow again: there are never as many series as would need a smaller one.
const LEAST: u64 = 64;

/// Nanoseconds of an interval at least: a second.
const INTERVAL: u64 = 1_000_000_000;

/// The budget of a worker.
#[derive(Debug)]
pub(crate) struct Turns {
    /// Which interval it is.
    interval: u32,
    began: Timestamp,
    share: u64,
    left: u64,
    turned_away: bool,
}

/// What a series took.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    interval: u32,
    /// Bytes that are not paid back.
    debt: u64,
    /// Batches in the interval.
    batches: u32,
}

impl Turns {
    pub(crate) const fn new(now: Timestamp) -> Self {
        Self { interval: 0, began: now, share: BUDGET, left: BUDGET, turned_away: false }
    }

    /// Begins a new interval, if the last one has lasted long enough.
    pub(crate) fn pass(&mut self, now: Timestamp) {
        if now.since(self.began) < INTERVAL {
            return;
        }
        if self.turned_away {
            self.share = (self.share / 2).max(LEAST);
        } else if self.left > BUDGET / 2 {
            self.share = (self.share + self.share / 8).min(BUDGET);
        }
        (self.interval, self.began) = (self.interval.wrapping_add(1), now);
        (self.left, self.turned_away) = (BUDGET, false);
    }

    /// Whether a batch of `bytes` bytes may be kept.
    pub(crate) fn allows(&mut self, series: &mut Taken, bytes: u64) -> bool {
        let passed = self.interval.wrapping_sub(series.interval);
        if passed > 0 {
            let paid = self.share.saturating_mul(u64::from(passed));
            *series = Taken { interval: self.interval, debt: series.debt.saturating_sub(paid), batches: 0 };
        }
        if series.debt >= self.share {
            return false;
        }
        let left = if series.debt == 0 { self.left } else { self.left.saturating_sub(RESERVE) };
        let has_room = bytes <= left;
        self.turned_away |= !has_room;
        has_room
    }

    /// A batch of `bytes` bytes was kept. Returns how many of its series were kept before it in the interval.
    pub(crate) fn take(&mut self, series: &mut Taken, bytes: u64) -> u32 {
        self.left = self.left.saturating_sub(bytes);
        series.debt = series.debt.saturating_add(bytes);
        series.batches = series.batches.saturating_add(1);
        series.batches - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lets series send batches of their size (the loud ones a hundred at a time, first) in each of `seconds`, and returns how
    /// many of each were kept after the first half.
    fn kept(loud: usize, quiet: usize, bytes: u64, seconds: u64) -> Vec<u32> {
        let mut turns = Turns::new(Timestamp(0));
        let mut series: Vec<Taken> = (0..loud + quiet).map(|_| Taken::default()).collect();
        let mut kept = vec![0; series.len()];
        for second in 1..=seconds {
            let mut spent = 0;
            for _ in 0..100 {
                for (index, series) in series.iter_mut().enumerate().take(loud) {
                    if turns.allows(series, bytes) {
                        turns.take(series, bytes);
                        spent += bytes;
                        kept[index] += u32::from(second > seconds / 2);
                    }
                }
            }
            for (index, series) in series.iter_mut().enumerate().skip(loud) {
                if turns.allows(series, bytes) {
                    turns.take(series, bytes);
                    spent += bytes;
                    kept[index] += u32::from(second > seconds / 2);
                }
            }
            assert!(spent <= BUDGET);
            turns.pass(Timestamp(second * INTERVAL));
        }
        kept
    }

    #[test]
    fn under_the_budget_all_are_kept() {
        assert_eq!(kept(2, 3, 10_000, 10), [500, 500, 5, 5, 5]);
    }

    #[test]
    fn a_quiet_series_does_not_starve_behind_loud_ones() {
        let kept = kept(20, 5, 100_000, 60);
        assert_eq!(kept[20..], [30; 5], "each of the quiet ones' batches: {kept:?}");
        assert!(kept[..20].iter().all(|&count| count > 0), "{kept:?}");
    }

    #[test]
    fn thousands_of_series_each_have_their_turn_now_and_then() {
        let kept = kept(0, 5_000, 16_384, 200);
        // 256 batches a second for 5,000: one in twenty seconds.
        assert!(kept.iter().all(|&count| (1..=20).contains(&count)), "{:?} {:?}", kept.iter().min(), kept.iter().max());
        assert!(kept.iter().sum::<u32>() > 256 * 100 / 4, "the budget is used");
    }

    #[test]
    fn asking_often_makes_no_intervals() {
        let mut turns = Turns::new(Timestamp(0));
        let mut series = Taken::default();
        let mut kept = 0;
        for tick in 0..1_000 {
            turns.pass(Timestamp(tick * INTERVAL / 1_000));
            if turns.allows(&mut series, BUDGET / 4) {
                turns.take(&mut series, BUDGET / 4);
                kept += 1;
            }
        }
        assert_eq!(kept, 3, "all but the reserve");
    }
}
