//! Keeps what a peer can cause from filling the log.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// Lets one event in ten seconds through and counts the others.
#[derive(Debug, Default)]
pub struct RateLimit {
    last: Cell<Option<Instant>>,
    suppressed: Cell<u64>,
}

const PERIOD: Duration = Duration::from_secs(10);

impl RateLimit {
    /// Whether this event may be logged; then, how many were not since the last one that was.
    pub fn pass(&self) -> Option<u64> {
        let now = Instant::now();
        if self.last.get().is_some_and(|last| now.duration_since(last) < PERIOD) {
            self.suppressed.set(self.suppressed.get().saturating_add(1));
            return None;
        }
        self.last.set(Some(now));
        Some(self.suppressed.take())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_passes_and_the_next_are_counted() {
        let limit = RateLimit::default();
        assert_eq!(limit.pass(), Some(0));
        assert_eq!((limit.pass(), limit.pass()), (None, None));
        limit.last.set(Instant::now().checked_sub(PERIOD));
        assert_eq!(limit.pass(), Some(2));
    }
}
