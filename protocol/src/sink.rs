//! What the decoder tells its observer, and the one question that it asks.

use alloc::rc::Rc;
use core::cell::Cell;

use crate::observation::{BatchHead, Direction, Observation};

/// Receives what a connection's bytes mean. It returns nothing that could stop or change the traffic.
pub trait Sink {
    /// One fact. It borrows from the bytes that pass, so copy what must outlive the call.
    fn observe(&mut self, observation: Observation<'_>);

    /// A record batch begins: what of its records is wanted? Asked right after the batch was observed.
    fn at_batch(&mut self, _direction: Direction, _head: &BatchHead) -> BatchPlan {
        BatchPlan::Skip
    }
}

/// The sink's wish at a batch head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchPlan {
    /// Nobody needs to see the records: they may be forwarded without being read.
    Skip,
    /// The last so many bytes of the batch, for [`Observation::Captured`].
    Tail(u16),
    /// Up to so many bytes from the start of the records (right after the batch head), for [`Observation::Captured`].
    Capture(u32),
    /// The uncompressed size of the records, for [`Observation::Measured`]: the codec's framing is looked at, the rest may
    /// be forwarded without being read. Of batches before magic 2 and of partial ones nothing is told.
    Measure {
        /// Where only decompression would tell the size, records of up to so many bytes are kept for
        /// [`Observation::Captured`] instead.
        capture: u32,
    },
}

/// Bytes that all connections of a worker together may hold in captures. Clones share one account.
#[derive(Debug, Clone)]
pub struct CaptureBudget(Rc<Cell<usize>>);

impl CaptureBudget {
    /// An account of `bytes` bytes.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        Self(Rc::new(Cell::new(bytes)))
    }

    /// Takes `bytes` from the account, or nothing when it holds less.
    #[must_use]
    pub fn take(&self, bytes: usize) -> bool {
        match self.0.get().checked_sub(bytes) {
            Some(rest) => {
                self.0.set(rest);
                true
            }
            None => false,
        }
    }

    /// Gives `bytes` back.
    pub fn give(&self, bytes: usize) {
        self.0.set(self.0.get().saturating_add(bytes));
    }

    /// What is left.
    #[must_use]
    pub fn available(&self) -> usize {
        self.0.get()
    }
}

impl Default for CaptureBudget {
    /// 4 MiB: four of the largest batches that a broker takes by default.
    fn default() -> Self {
        Self::new(4 << 20)
    }
}
