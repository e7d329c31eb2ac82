//! Time as the tap is told it.

use std::time::{Duration, Instant, SystemTime};

/// Nanoseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct UnixNanos(pub u64);

/// The Unix time of its creation, advanced by the monotonic clock: it never goes backwards, and differences are true
/// even while the wall clock is being set.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    origin: Instant,
    origin_unix: u64,
}

impl Clock {
    /// Starts at the wall clock's present time.
    #[must_use]
    pub fn start() -> Self {
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { origin: Instant::now(), origin_unix: nanos(unix) }
    }

    /// Reads the clock.
    #[must_use]
    pub fn now(&self) -> UnixNanos {
        UnixNanos(self.origin_unix.saturating_add(nanos(self.origin.elapsed())))
    }
}

/// `u64` holds 584 years of nanoseconds.
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
