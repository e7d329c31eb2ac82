//! One connection's state, both directions.

use crate::{
    CaptureBudget, Depth, Direction, Limits, Sink, Timestamp, body::Memory, in_flight::InFlight, positions::Positions,
    requests::Requests, responses::Responses, sasl::Sasl, topics::Topics,
};

/// Decodes one connection. See the crate's first paragraph.
#[derive(Debug)]
pub struct Connection {
    requests: Requests,
    responses: Responses,
    shared: Shared,
}

/// What both directions of a connection know.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) limits: Limits,
    pub(crate) depth: Depth,
    pub(crate) budget: CaptureBudget,
    pub(crate) memory: Memory,
    pub(crate) in_flight: InFlight,
    pub(crate) requests_lost: bool,
    pub(crate) responses_lost: bool,
}

impl Connection {
    /// A connection that has just been opened. `budget` is shared by the connections of one worker.
    #[must_use]
    pub fn new(limits: Limits, depth: Depth, budget: CaptureBudget) -> Self {
        Self {
            requests: Requests::new(),
            responses: Responses::new(),
            shared: Shared {
                limits,
                depth,
                budget,
                memory: Memory {
                    topics: Topics::new(limits.topics),
                    positions: Positions::new(&limits),
                    sasl: Sasl::default(),
                },
                in_flight: InFlight::new(limits.in_flight),
                requests_lost: false,
                responses_lost: false,
            },
        }
    }

    /// `bytes` were read. Returns how many of the bytes to come in this direction nobody needs to see: they may be
    /// passed on unread and announced by [`on_opaque`](Self::on_opaque) (or shown all the same). `u64::MAX` stands for
    /// all that will ever come.
    #[inline]
    pub fn on_bytes<S: Sink>(&mut self, direction: Direction, now: Timestamp, bytes: &[u8], sink: &mut S) -> u64 {
        match direction {
            Direction::Request => self.requests.read(&mut self.shared, now, bytes, sink),
            Direction::Response => self.responses.read(&mut self.shared, now, bytes, sink),
        }
    }

    /// `count` bytes of an opaque run passed unread. Returns what is left of the run. Bytes beyond the run are a
    /// [gap](Self::on_gap).
    #[inline]
    pub fn on_opaque<S: Sink>(&mut self, direction: Direction, now: Timestamp, count: u64, sink: &mut S) -> u64 {
        match direction {
            Direction::Request => self.requests.skip(&mut self.shared, now, count, sink),
            Direction::Response => self.responses.skip(&mut self.shared, now, count, sink),
        }
    }

    /// `count` more bytes of this direction were handed to the receiving socket; call it after they were read. Completes
    /// the times of exchanges: an answered one is observed here, when the last byte of its response was written.
    #[inline]
    pub fn on_written<S: Sink>(&mut self, direction: Direction, now: Timestamp, count: u64, sink: &mut S) {
        match direction {
            Direction::Request => self.requests.wrote(&mut self.shared, now, count, sink),
            Direction::Response => self.responses.wrote(&mut self.shared, now, count, sink),
        }
    }

    /// `count` bytes passed that could not be looked at, at an arbitrary place. If the end of the frame is known to lie
    /// behind them, the rest of that frame is not decoded; else the direction is lost.
    pub fn on_gap<S: Sink>(&mut self, direction: Direction, now: Timestamp, count: u64, sink: &mut S) {
        match direction {
            Direction::Request => self.requests.gap(&mut self.shared, now, count, sink),
            Direction::Response => self.responses.gap(&mut self.shared, now, count, sink),
        };
    }

    /// Bytes to come in `direction` before the frame that has begun ends, as far as that is known by now: while only a part
    /// of a length field has passed, its rest. 0: between two frames. `None`: the direction lost sync.
    #[must_use]
    pub fn rest_of_frame(&self, direction: Direction) -> Option<u64> {
        match direction {
            Direction::Request => self.requests.rest_of_frame(),
            Direction::Response => self.responses.rest_of_frame(),
        }
    }

    /// How many requests wait for the first byte of their response.
    #[must_use]
    pub fn awaited(&self) -> usize {
        self.shared.in_flight.awaited()
    }

    /// The connection ended: what is still waiting is abandoned. Nothing is observed afterwards.
    pub fn on_close<S: Sink>(&mut self, _now: Timestamp, sink: &mut S) {
        self.responses.close();
        self.shared.in_flight.close(sink);
        self.requests.close(&mut self.shared, sink);
    }
}
