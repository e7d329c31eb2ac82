//! What one worker counts: plain integers in rows, found once by whoever records and then reached by their place.
//!
//! Recording takes no lock, shares nothing between threads and, once a row exists, allocates nothing. [`Shard::drain`]
//! hands over what changed, as a [`Delta`], and forgets rows that have long been idle; the totals are kept by the
//! [`Registry`](crate::Registry).

mod arena;
pub(crate) mod row;

use std::sync::Arc;

use kafkascope_protocol::Timestamp;

use crate::dictionary::Dictionary;
use crate::histogram::Histogram;
use crate::labels::Labels;
use crate::metric::Metric;
use crate::series::Series;
use crate::span::{Span, SpanQueue};
pub(crate) use arena::{Arena, Slot};
use row::{
    AcksRow, BatchRow, ConnectionIoRow, DurationRow, EventRow, InFlightRow, ProcessRow, RequestRow, RouteRow, TopicRow,
};

/// Partitions of Produce requests that all connections of a worker together may remember until their response comes: 10
/// MB. A producer has five requests in flight, each with the partitions of one broker.
const HELD_PARTITIONS: usize = 262_144;

/// One worker's counters.
#[derive(Debug)]
pub struct Shard {
    pub(crate) dictionary: Arc<Dictionary>,
    /// Changes whenever rows were freed: places remembered before are void.
    pub(crate) epoch: u32,
    drained: Timestamp,
    pub(crate) requests: Arena<RequestRow>,
    pub(crate) durations: Arena<DurationRow>,
    pub(crate) in_flight: Arena<InFlightRow>,
    pub(crate) acks: Arena<AcksRow>,
    pub(crate) batches: Arena<BatchRow>,
    pub(crate) topics: Arena<TopicRow>,
    pub(crate) connection_io: Arena<ConnectionIoRow>,
    pub(crate) routes: Arena<RouteRow>,
    pub(crate) events: Arena<EventRow>,
    process: Arena<ProcessRow>,
    pub(crate) spans: SpanQueue,
    /// Partitions of Produce requests that may still be remembered.
    pub(crate) free_partitions: usize,
}

impl Shard {
    /// An empty shard. `now` is where its first interval begins.
    #[must_use]
    pub fn new(dictionary: Arc<Dictionary>, now: Timestamp) -> Self {
        let spans = SpanQueue::new(dictionary.settings().spans);
        Self {
            dictionary,
            epoch: 0,
            drained: now,
            requests: Arena::default(),
            durations: Arena::default(),
            in_flight: Arena::default(),
            acks: Arena::default(),
            batches: Arena::default(),
            topics: Arena::default(),
            connection_io: Arena::default(),
            routes: Arena::default(),
            events: Arena::default(),
            process: Arena::default(),
            spans,
            free_partitions: HELD_PARTITIONS,
        }
    }

    /// The time that places are marked with: good enough to know what is idle.
    pub(crate) fn now(&self) -> Timestamp {
        self.drained
    }

    /// The worker spent `nanos` nanoseconds in decoding and recording.
    pub fn tap_time(&mut self, nanos: u64) {
        self.process_row().tap_nanos += nanos;
    }

    pub(crate) fn capture_refused(&mut self) {
        self.process_row().captures_refused += 1;
    }

    fn process_row(&mut self) -> &mut ProcessRow {
        let slot = self.process.slot(Labels::default(), self.drained);
        self.process.row(slot)
    }

    /// What has changed since the last call. `now` ends the interval, and must not go backwards.
    pub fn drain(&mut self, now: Timestamp) -> Delta {
        let since = std::mem::replace(&mut self.drained, now);
        let mut changes = Vec::new();
        let mut freed = false;
        let dictionary = &self.dictionary;
        freed |= self.requests.drain(dictionary, now, &mut changes);
        freed |= self.durations.drain(dictionary, now, &mut changes);
        freed |= self.in_flight.drain(dictionary, now, &mut changes);
        freed |= self.acks.drain(dictionary, now, &mut changes);
        freed |= self.batches.drain(dictionary, now, &mut changes);
        freed |= self.topics.drain(dictionary, now, &mut changes);
        freed |= self.connection_io.drain(dictionary, now, &mut changes);
        freed |= self.routes.drain(dictionary, now, &mut changes);
        freed |= self.events.drain(dictionary, now, &mut changes);
        freed |= self.process.drain(dictionary, now, &mut changes);
        if freed {
            self.epoch = self.epoch.wrapping_add(1);
        }
        let (spans, spans_dropped) = self.spans.take();
        Delta { since, until: now, changes, spans, spans_dropped }
    }
}

/// What changed in a shard during an interval.
#[derive(Debug)]
#[must_use = "what is not absorbed by the registry is lost"]
pub struct Delta {
    pub(crate) since: Timestamp,
    pub(crate) until: Timestamp,
    pub(crate) changes: Vec<(Arc<Series>, Change)>,
    pub(crate) spans: Vec<Span>,
    pub(crate) spans_dropped: u64,
}

/// How a series changed.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    /// A counter grew.
    Count(u64),
    /// An up-down counter moved.
    Move(i64),
    /// More values for a histogram.
    Values(Histogram),
}

/// Where a series stands in its row: its metric, and the attribute that its place gives it.
pub(crate) type Place = (Metric, Option<(crate::attribute::Attribute, &'static str)>);
