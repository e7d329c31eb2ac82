//! Where a partition ends, and where it ended when.

use std::collections::VecDeque;

use super::fact::End;

/// An end that is lower than the one before is believed when it is newer by so much: 1 s. Responses that pass different
/// connections may overtake each other by less.
const GRACE: u64 = 1_000_000_000;

/// A last stable offset that was told so long before the end is not known any more: 5 s.
const TOLD: u64 = 5_000_000_000;

/// Moments that are remembered. When there are more, every second one is forgotten, so that the past gets coarser the
/// longer ago it is.
const MOMENTS: usize = 64;

/// What one proxy knows of the ends of a partition.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Ends {
    /// High watermark, and when it was that; -1 if it is not known.
    pub(crate) high: (i64, u64),
    /// Last stable offset.
    pub(crate) stable: (i64, u64),
    /// Start of the log.
    pub(crate) start: (i64, u64),
    /// High watermarks, the oldest first.
    history: VecDeque<Moment>,
}

/// A high watermark, and the first and the last time that it was seen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Moment {
    high: i64,
    first: u64,
    last: u64,
}

impl Ends {
    pub(crate) fn new() -> Self {
        Self { high: (-1, 0), stable: (-1, 0), start: (-1, 0), history: VecDeque::new() }
    }

    /// Learns an end. Returns whether it says what is believed from now on.
    pub(crate) fn learn(&mut self, end: &End) -> bool {
        let no_transaction = self.stable.0 >= 0 && self.stable.0 == self.high.0;
        let is_so = take(&mut self.high, end.high, end.at);
        if end.plain && no_transaction && is_so {
            self.stable = self.high;
        }
        take(&mut self.stable, end.stable, end.at);
        take(&mut self.start, end.start, end.at);
        if is_so && self.high.0 >= 0 {
            let (before, at) = end.before;
            if (self.last_high()..self.high.0).contains(&before) {
                self.remember((before, at));
            }
            self.remember(self.high);
            if before == self.high.0 {
                self.remember((before, at));
            }
        }
        is_so
    }

    /// The last stable offset, if it is known: whoever waits for transactions and reads is told within a second when the
    /// end has moved.
    pub(crate) fn stable(&self) -> Option<(i64, u64)> {
        let is_known = self.stable.0 == self.high.0 || self.high.1 <= self.stable.1.saturating_add(TOLD);
        (self.stable.0 >= 0 && is_known).then_some(self.stable)
    }

    /// The last one that was seen twice, or the one before the last, and when that was so last; -1 if it is not known.
    pub(crate) fn before(&self) -> (i64, u64) {
        let mut last = self.history.iter().rev();
        let before = last.next().filter(|moment| moment.first < moment.last).or_else(|| last.next());
        before.map_or((-1, 0), |moment| (moment.high, moment.last))
    }

    /// The last that is remembered; 0 when nothing is.
    fn last_high(&self) -> i64 {
        self.history.back().map_or(0, |last| last.high)
    }

    /// How many moments are remembered.
    pub(crate) fn moments(&self) -> usize {
        self.history.len()
    }

    fn remember(&mut self, (high, at): (i64, u64)) {
        match self.history.back_mut() {
            Some(moment) if moment.high == high => {
                moment.last = moment.last.max(at);
                return;
            }
            Some(moment) if high < moment.high => self.history.clear(),
            _ => {}
        }
        if self.history.len() >= MOMENTS {
            let mut index = 0;
            self.history.retain(|_| {
                index += 1;
                index % 2 == 1
            });
        }
        self.history.push_back(Moment { high, first: at, last: at });
    }

    /// How long the record at `offset` has been there at `now`, in nanoseconds: 0 if there is none yet, `None` if it came
    /// before what is remembered.
    pub(crate) fn age_of(&self, offset: i64, now: u64) -> Option<u64> {
        if self.high.0 < 0 {
            return None;
        }
        if offset >= self.high.0 {
            return Some(0);
        }
        let behind = self.history.iter().position(|moment| moment.high > offset)?;
        let (after, before) = (self.history.get(behind)?, self.history.get(behind.checked_sub(1)?)?);
        let share = (offset + 1 - before.high) as f64 / (after.high - before.high).max(1) as f64;
        let came = before.last + (share * after.first.saturating_sub(before.last) as f64) as u64;
        Some(now.saturating_sub(came))
    }
}

/// The newer one is believed. Returns whether `told` is.
fn take(known: &mut (i64, u64), told: i64, at: u64) -> bool {
    if told < 0 {
        return known.0 < 0;
    }
    let (value, since) = *known;
    if value >= 0 && told < value && at <= since.saturating_add(GRACE) {
        return false;
    }
    *known = (told, if told == value { since.max(at) } else { at });
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::knowledge::fact::PartitionName;

    const SECOND: u64 = 1_000_000_000;

    fn end(high: i64, seconds: u64) -> End {
        let of = PartitionName { cluster: "".into(), topic: "t".into(), partition: 0 };
        End { of, high, stable: -1, start: -1, before: (-1, 0), plain: false, at: seconds * SECOND }
    }

    #[test]
    fn a_lower_end_is_believed_only_when_it_is_clearly_newer() {
        let mut ends = Ends::new();
        assert!(ends.learn(&end(10, 5)));
        assert!(!ends.learn(&end(9, 5)));
        assert!(!ends.learn(&end(9, 4)));
        assert_eq!(ends.high.0, 10);
        assert!(ends.learn(&end(9, 7)));
        assert_eq!(ends.high.0, 9);
    }

    #[test]
    fn the_last_stable_offset_moves_with_the_end_while_no_transaction_is_open_and_is_else_not_known() {
        let mut ends = Ends::new();
        ends.learn(&End { stable: 10, ..end(10, 1) });
        ends.learn(&End { plain: true, ..end(20, 100) });
        assert_eq!(ends.stable(), Some((20, 100 * SECOND)));
        ends.learn(&end(30, 101));
        assert_eq!(ends.stable(), Some((20, 100 * SECOND)), "a transaction has begun");
        ends.learn(&End { plain: true, ..end(40, 110) });
        assert_eq!(ends.stable(), None, "nobody knows whether it has ended");
        ends.learn(&End { stable: 30, ..end(40, 111) });
        assert_eq!(ends.stable(), Some((30, 111 * SECOND)));
    }

    #[test]
    fn the_age_of_a_record_is_interpolated_between_the_moments_around_it() {
        let mut ends = Ends::new();
        for (high, at) in [(100, 10), (200, 20), (400, 30)] {
            ends.learn(&end(high, at));
        }
        let age = |offset| ends.age_of(offset, 40 * SECOND);
        assert_eq!(age(400), Some(0));
        assert_eq!(age(399), Some(10 * SECOND));
        assert_eq!(age(299), Some(15 * SECOND));
        assert_eq!(age(149), Some(25 * SECOND));
        assert_eq!(age(99), None, "it was there before anything was known");
    }

    #[test]
    fn what_comes_after_a_pause_has_not_come_during_it() {
        let mut ends = Ends::new();
        ends.learn(&end(100, 10));
        assert_eq!(ends.before(), (-1, 0));
        ends.learn(&End { before: (100, 1_000 * SECOND), ..end(100, 10) });
        assert_eq!(ends.before(), (100, 1_000 * SECOND));
        ends.learn(&end(200, 1_010));
        assert_eq!(ends.before(), (100, 1_000 * SECOND));
        assert_eq!(ends.age_of(149, 1_100 * SECOND), Some(95 * SECOND));
        ends.learn(&End { before: (200, 2_000 * SECOND), ..end(300, 2_010) });
        assert_eq!(ends.before(), (200, 2_000 * SECOND));
        assert_eq!(ends.age_of(249, 2_100 * SECOND), Some(95 * SECOND));
        // Another connection was told less before.
        ends.learn(&End { before: (250, 2_001 * SECOND), ..end(310, 2_011) });
        assert_eq!(ends.age_of(249, 2_100 * SECOND), Some(95 * SECOND));
        // Nothing is known of what came before.
        ends.learn(&End { before: (400, 3_000 * SECOND), ..end(500, 3_010) });
        assert_eq!(ends.age_of(449, 3_100 * SECOND), Some(95 * SECOND));
    }

    #[test]
    fn the_past_is_bounded_and_reaches_far_back() {
        let mut ends = Ends::new();
        for second in 0..10_000 {
            ends.learn(&end(second as i64 * 10, second));
        }
        assert!(ends.history.len() <= MOMENTS);
        let age = ends.age_of(50_004, 10_000 * SECOND).unwrap();
        assert!(age.abs_diff(5_000 * SECOND) <= SECOND, "{age}");
    }
}
