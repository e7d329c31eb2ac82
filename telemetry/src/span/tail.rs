//! Which exchanges are kept though they are not sampled: those that fail, and those that are slower than 99 in 100 of
//! their kind. Each has a budget a second, so that an outage does not become a flood of spans.
//!
//! What is slow is told by a histogram of each API. Its counts are halved now and then, so that it forgets. Of Fetch only
//! what was `served` has a say: how long others take is up to who waits for records.

use kafkascope_protocol::{ApiKey, Exchange, FetchWait, Outcome, Timestamp};

use crate::labels::Api;

/// Spans of failed exchanges that a worker keeps a second, and as many of slow ones: some 300 KB of each.
const BUDGET: u32 = 500;

/// Nanoseconds for which a budget lasts.
pub(super) const SECOND: u64 = 1_000_000_000;

/// Before there are so many durations, none is slow: the 99th percentile of fewer is their maximum.
const LEAST: u32 = 100;

/// With so many durations the counts are halved.
const MOST: u32 = 16_384;

/// Buckets a power of two, as a power of two: a bound is at most 1/8 too high.
const SUB_BITS: u32 = 3;

/// Buckets for all durations.
const BUCKETS: usize = (64 - SUB_BITS as usize + 1) << SUB_BITS;

/// What a worker knows and may keep.
#[derive(Debug)]
pub(super) struct Tail {
    renewed: Timestamp,
    failed: u32,
    slow: u32,
    produce: Pace,
    fetch: Pace,
    commit: Pace,
}

impl Tail {
    pub(super) fn new(now: Timestamp) -> Self {
        let pace = Pace::default;
        Self { renewed: now, failed: BUDGET, slow: BUDGET, produce: pace(), fetch: pace(), commit: pace() }
    }

    /// It is `now`: a second gives new budgets.
    pub(super) fn pass(&mut self, now: Timestamp) {
        if now.since(self.renewed) >= SECOND {
            (self.renewed, self.failed, self.slow) = (now, BUDGET, BUDGET);
        }
        [&mut self.produce, &mut self.fetch, &mut self.commit].into_iter().for_each(Pace::renew);
    }

    /// Whether an exchange took longer than the 99th percentile of those before it.
    pub(super) fn is_slow(&mut self, exchange: &Exchange) -> bool {
        if exchange.outcome != Outcome::Answered || !exchange.error.is_none() {
            return false;
        }
        let pace = match exchange.api {
            Api::PRODUCE => &mut self.produce,
            Api::FETCH if exchange.fetch.and_then(|fetch| fetch.wait) == Some(FetchWait::Served) => &mut self.fetch,
            Api::OFFSET_COMMIT => &mut self.commit,
            ApiKey(_) => return false,
        };
        pace.take(exchange.times.response_written.since(exchange.times.request_first))
    }

    pub(super) fn allows_failed(&mut self) -> bool {
        spend(&mut self.failed)
    }

    pub(super) fn allows_slow(&mut self) -> bool {
        spend(&mut self.slow)
    }
}

fn spend(budget: &mut u32) -> bool {
    let left = budget.checked_sub(1);
    *budget = left.unwrap_or(0);
    left.is_some()
}

/// How long exchanges of a kind take.
#[derive(Debug)]
struct Pace {
    /// Empty as long as there was none.
    counts: Vec<u32>,
    total: u32,
    /// What is longer is slow.
    limit: u64,
}

impl Default for Pace {
    fn default() -> Self {
        Self { counts: Vec::new(), total: 0, limit: u64::MAX }
    }
}

impl Pace {
    /// Takes a duration. Whether it is slow.
    fn take(&mut self, nanos: u64) -> bool {
        if self.counts.is_empty() {
            self.counts.resize(BUCKETS, 0);
        }
        if let Some(count) = self.counts.get_mut(bucket(nanos)) {
            *count = count.saturating_add(1);
        }
        self.total = self.total.saturating_add(1);
        nanos > self.limit
    }

    /// Learns from what was taken since the last call.
    fn renew(&mut self) {
        if self.total < LEAST {
            return;
        }
        let allowed = self.total / 100;
        let mut above = 0;
        let slowest = self.counts.iter().rposition(|&count| {
            above += count;
            above > allowed
        });
        self.limit = slowest.map_or(u64::MAX, last_of);
        while self.total >= MOST {
            self.counts.iter_mut().for_each(|count| *count /= 2);
            self.total = self.counts.iter().sum();
        }
    }
}

/// The bucket of a duration: its highest bit and the [`SUB_BITS`] that follow.
fn bucket(nanos: u64) -> usize {
    let high = nanos.checked_ilog2().unwrap_or(0);
    if high <= SUB_BITS {
        return nanos as usize;
    }
    let octave = high - SUB_BITS;
    ((octave as usize) << SUB_BITS) + (nanos >> octave) as usize
}

/// The longest duration in a bucket.
fn last_of(bucket: usize) -> u64 {
    let octave = (bucket >> SUB_BITS).saturating_sub(1) as u32;
    let lead = (bucket - ((octave as usize) << SUB_BITS)) as u64;
    // The last bucket ends with the last number.
    lead.checked_add(1).and_then(|next| next.checked_shl(octave)).map_or(u64::MAX, |next| next.wrapping_sub(1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_duration_is_in_a_bucket_that_ends_at_most_an_eighth_behind_it(nanos in prop_oneof![0..200_u64, any::<u64>()]) {
            let (bucket, last) = (bucket(nanos), last_of(bucket(nanos)));
            prop_assert!(bucket < BUCKETS);
            prop_assert!(last >= nanos && last - nanos <= nanos / 8, "{nanos} in a bucket up to {last}");
            prop_assert!(bucket == 0 || last_of(bucket - 1) < nanos);
        }

        #[test]
        fn about_one_in_a_hundred_is_slow(seed in any::<u64>(), spread in 1..1_000_u64) {
            let mut pace = Pace::default();
            let mut state = seed | 1;
            let mut slow = 0;
            for number in 0..20_000_u64 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let is_slow = pace.take(1_000_000 + (state >> 33) % (spread * 10_000));
                slow += u32::from(is_slow && number >= 10_000);
                if number % 100 == 99 {
                    pace.renew();
                }
            }
            prop_assert!(slow <= 200, "{slow} of 10,000");
        }
    }

    #[test]
    fn nothing_is_slow_before_enough_is_known_and_what_became_usual_is_not() {
        let mut pace = Pace::default();
        for _ in 0..LEAST - 1 {
            assert!(!pace.take(1_000_000));
        }
        pace.renew();
        assert!(!pace.take(u64::MAX), "too few to tell");
        pace.renew();
        assert!(pace.take(2_000_000));
        for _ in 0..10 * MOST {
            pace.take(10_000_000);
            pace.renew();
        }
        assert!(!pace.take(10_000_000), "it has been so for long");
        assert!(pace.take(12_000_000));
    }

    #[test]
    fn budgets_last_for_a_second_and_are_told_apart() {
        let mut tail = Tail::new(Timestamp(0));
        let spent = |tail: &mut Tail| (0..2 * BUDGET).filter(|_| tail.allows_failed()).count();
        assert_eq!(spent(&mut tail), BUDGET as usize);
        assert!(tail.allows_slow());
        tail.pass(Timestamp(SECOND - 1));
        assert_eq!(spent(&mut tail), 0, "asking often gives no more");
        tail.pass(Timestamp(SECOND));
        assert_eq!(spent(&mut tail), BUDGET as usize);
    }
}
