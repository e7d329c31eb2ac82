//! One connection's state, both directions.

use crate::{CaptureBudget, Depth, Direction, Limits, Sink, Timestamp};

/// Decodes one connection. See the crate's first paragraph.
#[derive(Debug)]
pub struct Connection {
    limits: Limits,
    depth: Depth,
    budget: CaptureBudget,
}

impl Connection {
    /// A connection that has just been opened. `budget` is shared by the connections of one worker.
    #[must_use]
    pub fn new(limits: Limits, depth: Depth, budget: CaptureBudget) -> Self {
        Self { limits, depth, budget }
    }

    /// `bytes` were read. Returns how many of the bytes to come in this direction nobody needs to see: they may be
    /// passed on unread and announced by [`on_opaque`](Self::on_opaque) (or shown all the same).
    pub fn on_bytes<S: Sink>(&mut self, direction: Direction, now: Timestamp, bytes: &[u8], sink: &mut S) -> u64 {
        let _ = (direction, now, bytes, sink, self.limits, self.depth, &self.budget);
        0
    }

    /// `count` bytes of an opaque run passed unread. Returns what is left of the run.
    pub fn on_opaque<S: Sink>(&mut self, direction: Direction, now: Timestamp, count: u64, sink: &mut S) -> u64 {
        let _ = (direction, now, count, sink);
        0
    }

    /// `count` more bytes of this direction were handed to the receiving socket. Completes the times of exchanges.
    pub fn on_written<S: Sink>(&mut self, direction: Direction, now: Timestamp, count: u64, sink: &mut S) {
        let _ = (direction, now, count, sink);
    }

    /// `count` bytes passed that could not be looked at, at an arbitrary place.
    pub fn on_gap<S: Sink>(&mut self, direction: Direction, now: Timestamp, count: u64, sink: &mut S) {
        let _ = (direction, now, count, sink);
    }

    /// The connection ended: what is still waiting is abandoned.
    pub fn on_close<S: Sink>(&mut self, now: Timestamp, sink: &mut S) {
        let _ = (now, sink);
    }
}
