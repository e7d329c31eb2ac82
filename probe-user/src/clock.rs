//! Time: the kernel's and the JVM's clock beside the wall's.

use std::time::Duration;

use kafkascope_protocol::Timestamp;
use rustix::time::{ClockId, clock_gettime};

/// What the wall clock says now.
pub(crate) fn now() -> Timestamp {
    Timestamp(read(ClockId::Realtime))
}

/// When something began and ended that the monotonic clock (`ktime_get_ns`) saw: by both clocks now, so that it is right
/// even when the wall clock was set in between, and by one look at them, so that it took as long as it did.
pub(crate) fn span_of_monotonic(start: u64, end: u64) -> (Timestamp, Timestamp) {
    let (then, now) = beside(ClockId::Monotonic, now);
    (back(now, then, start), back(now, then, end))
}

/// When something happened that was so many nanoseconds after the boot, suspended time included.
pub(crate) fn of_boot(nanos: u64) -> Timestamp {
    let (then, now) = beside(ClockId::Boottime, now);
    back(now, then, nanos)
}

/// What `clock` says at the moment of `other`, as nearly as can be: this thread may be put aside between two looks at
/// clocks, so the nearest of a few is taken.
pub(crate) fn beside<T>(clock: ClockId, other: impl Fn() -> T) -> (u64, T) {
    /// Three calls take less where clocks are read without a system call.
    const NEAR: u64 = 2_000;
    let look = || {
        let before = read(clock);
        let other = other();
        let apart = read(clock).saturating_sub(before);
        (apart, before + apart / 2, other)
    };
    let mut nearest = look();
    for _ in 0..3 {
        if nearest.0 <= NEAR {
            break;
        }
        let next = look();
        if next.0 < nearest.0 {
            nearest = next;
        }
    }
    (nearest.1, nearest.2)
}

fn back(now: Timestamp, then: u64, nanos: u64) -> Timestamp {
    Timestamp(now.0.saturating_sub(then.saturating_sub(nanos)))
}

/// Nanoseconds.
pub(crate) fn read(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    let since = Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0));
    nanos(since)
}

/// A duration in nanoseconds; a `u64` holds 584 years of them.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_monotonic_clock_saw_just_now_was_just_now() {
        let (before, seen, after) = (now(), read(ClockId::Monotonic), now());
        let (told, _) = span_of_monotonic(seen, seen);
        assert!(before.0 <= told.0 + 1_000_000 && told.0 <= after.0 + 50_000_000, "{before:?} {told:?} {after:?}");
    }

    #[test]
    fn a_span_takes_as_long_by_the_wall_clock_as_by_the_kernels() {
        for duration in 1..1000 {
            let seen = read(ClockId::Monotonic);
            let (start, end) = span_of_monotonic(seen - duration, seen);
            assert_eq!(end.0 - start.0, duration);
        }
    }

    #[test]
    fn of_a_few_looks_at_two_clocks_the_nearest_counts() {
        let times = std::cell::Cell::new(0);
        let (then, seen) = beside(ClockId::Monotonic, || {
            let seen = read(ClockId::Monotonic);
            // The first time it takes long, as if this thread were put aside.
            let busy = if times.replace(times.get() + 1) == 0 { 20_000_000 } else { 0 };
            while read(ClockId::Monotonic) < seen + busy {}
            seen
        });
        assert!(times.get() > 1 && then.abs_diff(seen) < 10_000_000, "{} {then} {seen}", times.get());
    }
}
