//! From a collector's counters to single pauses, so that count and sum stay exact however seldom one looks.
//!
//! The JVM counts a collection when it begins (`invocations`, then `lastEntryTime`) and its time when it ends
//! (`lastExitTime`, then `time`); so one that is under way is in the count and not in the time. Between two such steps
//! there are nanoseconds; who reads must read twice and believe what is the same both times.

/// The counters of one collector, in ticks of the JVM's clock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    pub(crate) invocations: u64,
    pub(crate) time: u64,
    pub(crate) entry: u64,
    pub(crate) exit: u64,
}

/// What happened between two readings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Completed {
    /// The last collection, in ticks.
    pub(crate) last: u64,
    pub(crate) entry: u64,
    pub(crate) exit: u64,
    /// Those before it, of which only the sum is known.
    pub(crate) others: u64,
    pub(crate) others_time: u64,
}

/// Counters that cannot be: the reading was torn, or the file is not what it seems.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Implausible;

/// The tracker of one collector.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct GcTracker {
    count: u64,
    time: u64,
    exit: u64,
    /// Since the first reading.
    begun: bool,
}

impl GcTracker {
    /// Collections that have ended, and their time in ticks: the totals of all that was given out, and what was before.
    pub(crate) fn totals(&self) -> (u64, u64) {
        (self.count, self.time)
    }

    /// When the last collection ended, in ticks; zero if there was none.
    pub(crate) fn exit(&self) -> u64 {
        self.exit
    }

    /// Takes a reading. `age` is how long the process has been there, in ticks: nothing can have taken longer.
    pub(crate) fn observe(&mut self, counters: Counters, age: u64) -> Result<Option<Completed>, Implausible> {
        let Counters { invocations, time, entry, exit } = counters;
        let under_way = u64::from(entry > exit);
        let count = invocations.checked_sub(under_way).ok_or(Implausible)?;
        let possible = exit <= age && entry <= age && time <= age && count <= age;
        if !possible || exit < self.exit || time < self.time || count < self.count {
            return Err(Implausible);
        }
        if !self.begun {
            *self = Self { count, time, exit, begun: true };
            return Ok(None);
        }
        let (ended, taken) = (count - self.count, time - self.time);
        // Collections of one collector do not overlap. The clock is read a little before and after.
        let slack = (exit - self.exit) / 64 + 1_000_000;
        if taken > exit - self.exit + slack {
            return Err(Implausible);
        }
        // Between two steps of the JVM's: one has ended and its time is about to come, or the other way round.
        if ended == 0 || taken == 0 {
            return Ok(None);
        }
        *self = Self { count, time, exit, begun: true };
        let others = ended - 1;
        let last = match others {
            0 => taken,
            // While one is under way, the entry is that one's; the last that ended is as good as the mean.
            _ if under_way == 1 => taken / ended,
            _ => exit.saturating_sub(entry).min(taken),
        };
        let entry = if under_way == 1 { exit.saturating_sub(last) } else { entry };
        Ok(Some(Completed { last, entry, exit, others, others_time: taken - last }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const AGE: u64 = u64::MAX / 4;

    fn counters(invocations: u64, time: u64, entry: u64, exit: u64) -> Counters {
        Counters { invocations, time, entry, exit }
    }

    #[test]
    fn what_was_before_the_first_reading_is_in_the_totals_only() {
        let mut tracker = GcTracker::default();
        assert_eq!(tracker.observe(counters(5, 1000, 100, 200), AGE), Ok(None));
        assert_eq!(tracker.totals(), (5, 1000));
    }

    #[test]
    fn one_collection_is_exact_and_of_several_the_last_is() {
        let mut tracker = GcTracker::default();
        tracker.observe(counters(0, 0, 0, 0), AGE).unwrap();
        let one = tracker.observe(counters(1, 500, 1000, 1490), AGE).unwrap().unwrap();
        assert_eq!(one, Completed { last: 500, entry: 1000, exit: 1490, others: 0, others_time: 0 });
        let three = tracker.observe(counters(4, 1500, 9000, 9400), AGE).unwrap().unwrap();
        assert_eq!(three, Completed { last: 400, entry: 9000, exit: 9400, others: 2, others_time: 600 });
    }

    #[test]
    fn a_collection_under_way_is_not_counted_until_it_has_ended() {
        let mut tracker = GcTracker::default();
        tracker.observe(counters(3, 300, 10, 20), AGE).unwrap();
        assert_eq!(tracker.observe(counters(4, 300, 50, 20), AGE), Ok(None));
        assert_eq!(tracker.totals(), (3, 300));
        // Ended, but its time is not yet there.
        assert_eq!(tracker.observe(counters(4, 300, 50, 60), AGE), Ok(None));
        assert_eq!(tracker.observe(counters(4, 311, 50, 60), AGE).unwrap().unwrap().last, 11);
        assert_eq!(tracker.totals(), (4, 311));
    }

    #[test]
    fn counters_that_jump_or_go_back_are_refused() {
        let mut tracker = GcTracker::default();
        tracker.observe(counters(3, 300, 10, 20), AGE).unwrap();
        let refused = [
            counters(2, 300, 10, 20),
            counters(3, 299, 10, 20),
            counters(3, 300, 10, 19),
            counters(4, 300 + (1 << 40), 30, 40),
            counters(4, 310, 30, AGE + 1),
        ];
        for counters in refused {
            assert_eq!(tracker.observe(counters, AGE), Err(Implausible), "{counters:?}");
        }
        assert_eq!(tracker.totals(), (3, 300));
    }

    proptest! {
        /// A JVM collects; we look before, during and after. Count and sum of what is given out are exact at rest.
        #[test]
        fn count_and_sum_are_exact_whenever_one_looks(
            pauses in proptest::collection::vec((1_u64..1_000_000, 1_u64..1000, 0_u64..50), 1..40),
            looks in proptest::collection::vec(any::<bool>(), 160),
        ) {
            let mut tracker = GcTracker::default();
            tracker.observe(Counters::default(), AGE).unwrap();
            let (mut jvm, mut clock) = (Counters::default(), 0);
            let (mut count, mut sum) = (0, 0);
            let mut looks = looks.into_iter();
            let mut look = |jvm: Counters, always: bool| {
                let looked = always || looks.next().unwrap_or_default();
                if let Some(completed) = looked.then(|| tracker.observe(jvm, AGE).unwrap()).flatten() {
                    count += 1 + completed.others;
                    sum += completed.last + completed.others_time;
                }
            };
            for (gap, pause, around) in &pauses {
                clock += gap + around;
                jvm.entry = clock;
                jvm.invocations += 1;
                look(jvm, false);
                clock += pause;
                jvm.exit = clock;
                jvm.time += pause + around;
                look(jvm, false);
            }
            look(jvm, true);
            prop_assert_eq!(count, pauses.len() as u64);
            prop_assert_eq!(sum, jvm.time);
        }

        #[test]
        fn any_counters_are_no_panic(readings in proptest::collection::vec(any::<(u64, u64, u64, u64, u64)>(), 0..10)) {
            let mut tracker = GcTracker::default();
            for (invocations, time, entry, exit, age) in readings {
                let before = tracker.totals();
                _ = tracker.observe(Counters { invocations, time, entry, exit }, age);
                prop_assert!(tracker.totals().0 >= before.0 && tracker.totals().1 >= before.1);
            }
        }
    }
}
