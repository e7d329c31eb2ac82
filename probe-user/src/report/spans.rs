//! Spans of slow events, as many a second as anybody wants to see.

use std::time::Duration;

use kafkascope_telemetry::{Event, Readings};

use super::budget::Budget;
use crate::clock;

/// Decides what becomes a span.
#[derive(Debug)]
pub(crate) struct Spans {
    slow: u64,
    budget: Budget,
}

impl Spans {
    /// What takes as long as `slow` is worth a span.
    pub(crate) fn new(slow: Duration) -> Self {
        Self { slow: clock::nanos(slow), budget: Budget::default() }
    }

    /// From when on something is slow, whatever else there is.
    pub(crate) fn slow(&self) -> Duration {
        Duration::from_nanos(self.slow)
    }

    /// Whether so many nanoseconds are.
    pub(crate) fn is_slow(&self, nanos: u64) -> bool {
        nanos >= self.slow
    }

    /// Hands one over, or counts it as dropped.
    pub(crate) fn push(&mut self, readings: &mut Readings, event: Event) {
        if self.budget.spend(readings.at()) {
            readings.span(event);
        } else {
            readings.spans_dropped(1);
        }
    }
}
