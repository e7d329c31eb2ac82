//! Whether some partition cannot be used: then all workers have to tell which ones can.
//!
//! The end of a window may be seen by another worker than its beginning. Answers without an error are too many to tell them
//! all, and most of the time there is nothing to tell them for. So whoever tells a failure raises the alarm, and it is over
//! when all failures that were told have been looked at and no window is open.

use std::sync::atomic::{AtomicU64, Ordering};

/// Shared by all workers. It is looked at once a read, and written when something fails.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    /// Failures that were told.
    raised: AtomicU64,
    /// As many had been looked at when no window was open.
    settled: AtomicU64,
}

impl Alarm {
    /// A failure is told.
    pub(crate) fn raise(&self) {
        self.raised.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether answers without an error are wanted.
    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        self.raised.load(Ordering::Relaxed) != self.settled.load(Ordering::Relaxed)
    }

    /// Nothing is wrong any more, as far as the first `failures` ones tell.
    pub(crate) fn settle(&self, failures: u64) {
        self.settled.store(failures, Ordering::Relaxed);
    }
}
