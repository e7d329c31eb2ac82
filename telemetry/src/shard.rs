//! What one worker counts: plain integers in rows, found once by whoever records and then reached by their place.
//!
//! Recording takes no lock, shares nothing between threads and, once a row exists, allocates nothing. [`Shard::drain`]
//! hands over what changed, as a [`Delta`], and forgets rows that have long been idle; the totals are kept by the
//! [`Registry`](crate::Registry).

mod arena;
pub(crate) mod row;
mod sightings;
pub(crate) mod watch;

use std::sync::Arc;

use kafkascope_protocol::Timestamp;

use crate::compression::{Missed, Sample, Turns};
use crate::dictionary::{Dictionary, Noted};
use crate::exemplar::Exemplar;
use crate::histogram::Histogram;
use crate::knowledge::fact::Told;
use crate::labels::Labels;
use crate::metric::Metric;
use crate::series::Series;
use crate::span::{Dropped, Span, SpanQueue};
use arena::Drained;
pub(crate) use arena::{Arena, Slot};
use row::{
    AcksRow, BatchRow, ConnectionIoRow, DurationRow, EndedRow, ErrorRow, EventRow, InFlightRow, LegRow, PartitionRow,
    ProcessRow, RequestRow, RouteRow, ThrottleRow, TopicRow,
};
use sightings::Sightings;
use watch::Watches;

/// Partitions of Produce requests that all connections of a worker together may remember until their response comes: 10
/// MB. A producer has five requests in flight, each with the partitions of one broker.
const HELD_PARTITIONS: usize = 262_144;

/// Rows that are drained at once: a millisecond's work when all their series are new.
const ROWS_AT_ONCE: usize = 128;

/// Kinds of rows.
const ARENAS: usize = 15;

/// One worker's counters.
#[derive(Debug)]
pub struct Shard {
    pub(crate) dictionary: Arc<Dictionary>,
    /// Changes whenever rows were freed: places remembered before are void.
    pub(crate) epoch: u32,
    /// Changes with the epoch and with each drain: connections look whether anything is new for them.
    pub(crate) round: u32,
    /// Traffic of what has no place of its own.
    pub(crate) noted: Noted,
    drained: Timestamp,
    pub(crate) requests: Arena<RequestRow>,
    pub(crate) durations: Arena<DurationRow>,
    pub(crate) in_flight: Arena<InFlightRow>,
    pub(crate) acks: Arena<AcksRow>,
    pub(crate) batches: Arena<BatchRow>,
    pub(crate) topics: Arena<TopicRow>,
    pub(crate) partitions: Arena<PartitionRow>,
    pub(crate) connection_io: Arena<ConnectionIoRow>,
    pub(crate) legs: Arena<LegRow>,
    pub(crate) ended: Arena<EndedRow>,
    pub(crate) routes: Arena<RouteRow>,
    pub(crate) throttles: Arena<ThrottleRow>,
    pub(crate) errors: Arena<ErrorRow>,
    pub(crate) events: Arena<EventRow>,
    process: Arena<ProcessRow>,
    pub(crate) spans: SpanQueue,
    /// Partitions of Produce requests that may still be remembered.
    pub(crate) free_partitions: usize,
    /// Whose batches are kept to be measured.
    pub(crate) turns: Turns,
    /// The batches that were.
    pub(crate) samples: Vec<Sample>,
    /// Batches that were not measured, in the order of [`Missed::ALL`].
    missed: [u64; Missed::ALL.len()],
    pub(crate) watches: Watches,
    /// Batches that a span would have been linked to, in the same order.
    links_missed: [u64; Missed::ALL.len()],
    pub(crate) sightings: Sightings,
}

impl Shard {
    /// An empty shard. `now` is where its first interval begins.
    #[must_use]
    pub fn new(dictionary: Arc<Dictionary>, now: Timestamp) -> Self {
        let spans = SpanQueue::new(dictionary.settings(), now);
        Self {
            epoch: 0,
            round: 0,
            noted: Noted::default(),
            drained: now,
            requests: Arena::new(&dictionary),
            durations: Arena::new(&dictionary),
            in_flight: Arena::new(&dictionary),
            acks: Arena::new(&dictionary),
            batches: Arena::new(&dictionary),
            topics: Arena::new(&dictionary),
            partitions: Arena::new(&dictionary),
            connection_io: Arena::new(&dictionary),
            legs: Arena::new(&dictionary),
            ended: Arena::new(&dictionary),
            routes: Arena::new(&dictionary),
            throttles: Arena::new(&dictionary),
            errors: Arena::new(&dictionary),
            events: Arena::new(&dictionary),
            process: Arena::new(&dictionary),
            dictionary,
            spans,
            free_partitions: HELD_PARTITIONS,
            turns: Turns::new(now),
            samples: Vec::new(),
            missed: [0; Missed::ALL.len()],
            watches: Watches::default(),
            links_missed: [0; Missed::ALL.len()],
            sightings: Sightings::default(),
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

    /// A batch was not measured.
    #[inline]
    pub(crate) fn missed(&mut self, missed: Missed) {
        self.missed[missed as usize] += 1;
    }

    /// Nobody will look at a batch for a span.
    pub(crate) fn links_missed(&mut self, missed: Missed) {
        self.links_missed[missed as usize] += 1;
    }

    fn count_missed(&mut self) {
        let (ratios, links) = (std::mem::take(&mut self.missed), std::mem::take(&mut self.links_missed));
        for ((missed, ratios), links) in Missed::ALL.into_iter().zip(ratios).zip(links) {
            if ratios > 0 || links > 0 {
                let labels = Labels { reason: Some(missed.name()), ..Labels::default() };
                let slot = self.events.slot(labels, self.drained);
                let row = self.events.row(slot);
                row.unmeasured += ratios;
                row.links_missed += links;
            }
        }
    }

    fn process_row(&mut self) -> &mut ProcessRow {
        let slot = self.process.slot(Labels::default(), self.drained);
        self.process.row(slot)
    }

    /// What has changed since the last call. `now` ends the interval, and must not go backwards.
    pub fn drain(&mut self, now: Timestamp) -> Delta {
        let mut draining = self.begin_drain(now);
        while !self.drain_some(&mut draining) {}
        draining.delta
    }

    /// Begins the same, to be done bit by bit: a worker with many rows has other things to do.
    pub fn begin_drain(&mut self, now: Timestamp) -> Draining {
        self.count_missed();
        self.turns.pass(now);
        self.sightings.pass(now);
        let since = std::mem::replace(&mut self.drained, now);
        self.round = self.round.wrapping_add(1);
        let noted = std::mem::take(&mut self.noted);
        let samples = std::mem::take(&mut self.samples);
        let (spans, spans_dropped) = self.spans.take(now);
        let (changes, told, told_lost) = (Vec::new(), Vec::new(), 0);
        let delta = Delta { since, until: now, changes, samples, spans, spans_dropped, told, told_lost, noted };
        Draining { delta, arena: 0, row: 0, watch: 0 }
    }

    /// Goes on. Whether all is done, and [`Draining::delta`] complete.
    pub fn drain_some(&mut self, draining: &mut Draining) -> bool {
        let arenas: [&mut dyn Drained; ARENAS] = [
            &mut self.requests,
            &mut self.durations,
            &mut self.in_flight,
            &mut self.acks,
            &mut self.batches,
            &mut self.topics,
            &mut self.partitions,
            &mut self.connection_io,
            &mut self.legs,
            &mut self.ended,
            &mut self.routes,
            &mut self.throttles,
            &mut self.errors,
            &mut self.events,
            &mut self.process,
        ];
        let (mut most, mut any_freed) = (ROWS_AT_ONCE, false);
        for arena in arenas.into_iter().skip(draining.arena) {
            let from = draining.row;
            let (next, freed) = arena.drain(draining.delta.until, from, most, &mut draining.delta.changes);
            any_freed |= freed;
            if let Some(next) = next {
                draining.row = next;
                break;
            }
            (draining.arena, draining.row) = (draining.arena + 1, 0);
            most = most.saturating_sub(arena.rows().saturating_sub(from));
        }
        if any_freed {
            self.epoch = self.epoch.wrapping_add(1);
            self.round = self.round.wrapping_add(1);
        }
        draining.arena == ARENAS && self.drain_watches(draining)
    }

    fn drain_watches(&mut self, draining: &mut Draining) -> bool {
        let Delta { until, told, told_lost, .. } = &mut draining.delta;
        draining.watch = self.watches.drain(*until, draining.watch, ROWS_AT_ONCE, told);
        if draining.watch < self.watches.rows() {
            return false;
        }
        *told_lost = self.watches.take_told(*until, told);
        true
    }
}

/// A [drain](Shard::drain) that is under way.
#[derive(Debug)]
pub struct Draining {
    /// What changed, as far as it is known by now.
    pub delta: Delta,
    arena: usize,
    row: usize,
    watch: usize,
}

/// What changed in a shard during an interval.
#[derive(Debug)]
#[must_use = "what is not absorbed by the registry is lost"]
pub struct Delta {
    pub(crate) since: Timestamp,
    pub(crate) until: Timestamp,
    pub(crate) changes: Vec<(Arc<Series>, Change)>,
    pub(crate) samples: Vec<Sample>,
    pub(crate) spans: Vec<Span>,
    pub(crate) spans_dropped: Dropped,
    /// What is known of partitions and groups.
    pub(crate) told: Vec<Told>,
    /// What there was no room for.
    pub(crate) told_lost: u64,
    pub(crate) noted: Noted,
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
    /// One value of it, with its span.
    Exemplar(Arc<Exemplar>),
}

/// Where a series stands in its row: its metric, and the attribute that its place gives it.
pub(crate) type Place = (Metric, Option<(crate::attribute::Attribute, &'static str)>);
