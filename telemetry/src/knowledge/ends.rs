//! Where a partition ends, and where it ended when.

use std::collections::VecDeque;

use super::fact::End;

/// An end that is lower than the one before is believed when it is newer by so much: 1 s. Responses that pass different
/// connections may overtake each other by less.
const GRACE: u64 = 1_000_000_000;

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
    history: VecDeque<(i64, u64)>,
}

impl Ends {
    pub(crate) fn new() -> Self {
        Self { high: (-1, 0), stable: (-1, 0), start: (-1, 0), history: VecDeque::new() }
    }

    /// Learns an end. Returns whether it says what is believed from now on.
    pub(crate) fn learn(&mut self, end: &End) -> bool {
        let is_so = take(&mut self.high, end.high, end.at);
        take(&mut self.stable, end.stable, end.at);
        take(&mut self.start, end.start, end.at);
        if is_so && self.high.0 >= 0 {
            self.remember(self.high);
        }
        is_so
    }

    fn remember(&mut self, (high, at): (i64, u64)) {
        match self.history.back() {
            Some(&(last, _)) if last == high => return,
            Some(&(last, _)) if high < last => self.history.clear(),
            _ => {}
        }
        if self.history.len() >= MOMENTS {
            let mut index = 0;
            self.history.retain(|_| {
                index += 1;
                index % 2 == 1
            });
        }
        self.history.push_back((high, at));
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
        let behind = self.history.iter().position(|&(high, _)| high > offset)?;
        let &(after, after_at) = self.history.get(behind)?;
        let &(before, before_at) = self.history.get(behind.checked_sub(1)?)?;
        let share = (offset + 1 - before) as f64 / (after - before).max(1) as f64;
        let came = before_at + (share * after_at.saturating_sub(before_at) as f64) as u64;
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
        End { of, high, stable: -1, start: -1, at: seconds * SECOND }
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
