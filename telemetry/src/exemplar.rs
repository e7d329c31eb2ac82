//! One exchange that stands for others in a histogram: its duration, and the span that tells what it was.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kafkascope_protocol::Timestamp;

use crate::span::contexts::Contexts;

/// A value of a histogram with the ids of its span.
#[derive(Debug)]
pub struct Exemplar {
    /// The duration in nanoseconds.
    pub(crate) nanos: u64,
    /// When it ended.
    pub(crate) at: Timestamp,
    pub(crate) span: SpanIds,
    told: AtomicBool,
}

/// The ids of a span that has been queued.
#[derive(Debug, Clone)]
pub(crate) struct SpanIds {
    pub(crate) trace: [u8; 16],
    pub(crate) id: [u8; 8],
    /// If the span may become a child, and so a part of another trace.
    pub(crate) contexts: Option<Arc<Contexts>>,
}

impl SpanIds {
    /// The trace. `None` while it is not known.
    pub(crate) fn trace(&self) -> Option<[u8; 16]> {
        match &self.contexts {
            None => Some(self.trace),
            Some(contexts) => contexts.parent().map(|parent| parent.map_or(self.trace, |parent| parent.trace)),
        }
    }
}

impl Exemplar {
    pub(crate) const fn new(nanos: u64, at: Timestamp, span: SpanIds) -> Self {
        Self { nanos, at, span, told: AtomicBool::new(false) }
    }

    /// It has been exported.
    pub(crate) fn has_been_told(&self) {
        self.told.store(true, Ordering::Relaxed);
    }

    pub(crate) fn was_told(&self) -> bool {
        self.told.load(Ordering::Relaxed)
    }

    /// Which of two is shown: the slower one, unless it has been.
    pub(crate) fn or(self: Arc<Self>, earlier: Option<Arc<Self>>) -> Arc<Self> {
        match earlier {
            Some(earlier) if earlier.nanos > self.nanos && !earlier.was_told() => earlier,
            _ => self,
        }
    }
}
