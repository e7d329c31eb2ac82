//! The kinds of rows: which counters are recorded together.

use std::sync::Arc;

use super::arena::Row;
use super::{Change, Place};
use crate::attribute::Attribute;
use crate::compression::Taken;
use crate::exemplar::Exemplar;
use crate::histogram::{Cell, Counts, Histogram, Millionths, Nanos, RepeatingCell};
use crate::labels::Labels;
use crate::metric::Metric;

/// What was counted since the last call, handed over if it is anything.
fn take_count(count: &mut u64, at: usize, changed: &mut impl FnMut(usize, Change)) {
    if *count > 0 {
        changed(at, Change::Count(std::mem::take(count)));
    }
}

fn take_values(taken: Option<Histogram>, at: usize, changed: &mut impl FnMut(usize, Change)) {
    if let Some(values) = taken {
        changed(at, Change::Values(values));
    }
}

const fn place(metric: Metric) -> Place {
    (metric, None)
}

const fn segment(segment: &'static str) -> Place {
    (Metric::SegmentDuration, Some((Attribute::Segment, segment)))
}

/// By client, broker, API and version.
#[derive(Debug, Default)]
pub(crate) struct RequestRow {
    pub(crate) requests: u64,
    pub(crate) responses: u64,
    /// Upload, proxy, queued, broker, download.
    pub(crate) segments: [Cell; 5],
    /// Whether Kafka 4.0 does not serve this version any more.
    removed: bool,
}

impl Row for RequestRow {
    const PLACES: &'static [Place] = &[
        place(Metric::Requests),
        place(Metric::Responses),
        segment("upload"),
        segment("proxy"),
        segment("queued"),
        segment("broker"),
        segment("download"),
        place(Metric::ClientRemovedIn40),
    ];

    fn begin(&mut self, labels: &Labels) {
        let version = labels.api.zip(labels.version);
        self.removed = version.is_some_and(|(api, version)| api.key.is_removed_in_4_0(version));
    }

    fn take(&mut self, changed: &mut impl FnMut(usize, Change)) {
        if self.removed && self.requests > 0 {
            changed(7, Change::Count(self.requests));
        }
        take_count(&mut self.requests, 0, changed);
        take_count(&mut self.responses, 1, changed);
        for (at, cell) in self.segments.iter_mut().enumerate() {
            take_values(cell.take(), 2 + at, changed);
        }
    }
}

/// By client, broker, API, error and wait.
#[derive(Debug, Default)]
pub(crate) struct DurationRow {
    pub(crate) duration: Cell,
    /// With spans only.
    pub(crate) exemplar: Option<Arc<Exemplar>>,
}

impl Row for DurationRow {
    const PLACES: &'static [Place] = &[place(Metric::RequestDuration)];

    fn take(&mut self, changed: &mut impl FnMut(usize, Change)) {
        take_values(self.duration.take(), 0, changed);
        if let Some(exemplar) = self.exemplar.take() {
            changed(0, Change::Exemplar(exemplar));
        }
    }
}

/// By client, broker, API and acks.
#[derive(Debug, Default)]
pub(crate) struct InFlightRow {
    pub(crate) current: u32,
    reported: u32,
}

impl Row for InFlightRow {
    const PLACES: &'static [Place] = &[place(Metric::RequestsInFlight)];

    fn take(&mut self, changed: &mut impl FnMut(usize, Change)) {
        let moved = i64::from(self.current) - i64::from(self.reported);
        if moved != 0 {
            self.reported = self.current;
            changed(0, Change::Move(moved));
        }
    }

    /// A request that is in flight knows its row by place.
    fn is_pinned(&self) -> bool {
        self.current > 0
    }
}

/// By client, broker and acks.
#[derive(Debug, Default)]
pub(crate) struct AcksRow {
    pub(crate) requests: u64,
}

impl Row for AcksRow {
    const PLACES: &'static [Place] = &[place(Metric::ProduceRequests)];

    fn take(&mut self, changed: &mut impl FnMut(usize, Change)) {
        take_count(&mut self.requests, 0, changed);
    }
}

/// By client, topic and codec.
#[derive(Debug, Default)]
pub(crate) struct BatchRow {
    pub(crate) size: RepeatingCell<Counts>,
    pub(crate) records: RepeatingCell<Counts>,
    pub(crate) fill: RepeatingCell<Nanos>,
    pub(crate) fill_excluded: u64,
    pub(crate) ratio: RepeatingCell<Millionths>,
    /// What was kept of it to be measured.
    pub(crate) taken: Taken,
}

impl BatchRow {
    /// Index of [`Metric::CompressionRatio`] in its places.
    pub(crate) const RATIO: usize = 4;
}

impl Row for BatchRow {
    const PLACES: &'static [Place] = &[
        place(Metric::BatchSize),
        place(Metric::BatchRecords),
        place(Metric::BatchFill),
        place(Metric::BatchFillExcluded),
        place(Metric::CompressionRatio),
    ];

    fn take(&mut self, changed: &mut impl FnMut(usize, Change)) {
        take_values(self.size.take(), 0, changed);
        take_values(self.records.take(), 1, changed);
        take_values(self.fill.take(), 2, changed);
        take_count(&mut self.fill_excluded, 3, changed);
        take_values(self.ratio.take(), Self::RATIO, changed);
    }
}

/// By client and topic.
#[derive(Debug, Default)]
pub(crate) struct TopicRow {
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) produced: u64,
    pub(crate) consumed: u64,
}

impl Row for TopicRow {
    const PLACES: &'static [Place] = &[
        (Metric::RecordIo, Some((Attribute::Direction, "in"))),
        (Metric::RecordIo, Some((Attribute::Direction, "out"))),
        place(Metric::ProducedMessages),
        place(Metric::ConsumedMessages),
    ];

    fn take(&mut self, changed: &mut impl FnMut(usize, Change)) {
        take_count(&mut self.bytes_in, 0, changed);
        take_count(&mut self.bytes_out, 1, changed);
        take_count(&mut self.produced, 2, changed);
        take_count(&mut self.consumed, 3, changed);
    }
}

/// By client, topic and partition, where these are told apart: then the topic's row has no bytes.
#[derive(Debug, Default)]
pub(crate) struct PartitionRow {
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
}

impl Row for PartitionRow {
    const PLACES: &'static [Place] = &[
        (Metric::RecordIo, Some((Attribute::Direction, "in"))),
        (Metric::RecordIo, Some((Attribute::Direction, "out"))),
    ];

    fn take(&mut self, changed: &mut impl FnMut(usize, Change)) {
        take_count(&mut self.bytes_in, 0, changed);
        take_count(&mut self.bytes_out, 1, changed);
    }
}

/// By client and broker.
#[derive(Debug, Default)]
pub(crate) struct ConnectionIoRow {
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
}

impl Row for ConnectionIoRow {
    const PLACES: &'static [Place] = &[
        (Metric::ConnectionIo, Some((Attribute::Direction, "in"))),
        (Metric::ConnectionIo, Some((Attribute::Direction, "out"))),
    ];

    fn take(&mut self, changed: &mut impl FnMut(usize, Change)) {
        take_count(&mut self.bytes_in, 0, changed);
        take_count(&mut self.bytes_out, 1, changed);
    }
}

/// By client, broker and side: what TCP says.
#[derive(Debug, Default)]
pub(crate) struct LegRow {
    pub(crate) rtt: Cell,
    pub(crate) retransmits: u64,
    pub(crate) delivery_rate: RepeatingCell<Counts>,
}

impl Row for LegRow {
    const PLACES: &'static [Place] =
        &[place(Metric::ConnectionRtt), place(Metric::ConnectionRetransmits), place(Metric::ConnectionDeliveryRate)];

    fn take(&mut self, changed: &mut impl FnMut(usize, Change)) {
        take_values(self.rtt.take(), 0, changed);
        take_count(&mut self.retransmits, 1, changed);
        take_values(self.delivery_rate.take(), 2, changed);
    }
}

/// By client and broker: connections that have ended.
#[derive(Debug, Default)]
pub(crate) struct EndedRow {
    pub(crate) duration: Cell,
}

impl Row for EndedRow {
    const PLACES: &'static [Place] = &[place(Metric::ConnectionDuration)];

    fn take(&mut self, changed: &mut impl FnMut(usize, Change)) {
        take_values(self.duration.take(), 0, changed);
    }
}

/// By client, broker and API: answers with which the client was throttled.
#[derive(Debug, Default)]
pub(crate) struct ThrottleRow {
    pub(crate) duration: Cell,
}

impl Row for ThrottleRow {
    const PLACES: &'static [Place] = &[place(Metric::ThrottleDuration)];

    fn take(&mut self, changed: &mut impl FnMut(usize, Change)) {
        take_values(self.duration.take(), 0, changed);
    }
}

/// By broker, API, topic and error.
#[derive(Debug, Default)]
pub(crate) struct ErrorRow {
    pub(crate) errors: u64,
}

impl Row for ErrorRow {
    const PLACES: &'static [Place] = &[place(Metric::PartitionErrors)];

    fn take(&mut self, changed: &mut impl FnMut(usize, Change)) {
        take_count(&mut self.errors, 0, changed);
    }
}

/// By broker.
#[derive(Debug, Default)]
pub(crate) struct RouteRow {
    pub(crate) opened: u64,
    pub(crate) open: u32,
    open_reported: u32,
}

impl Row for RouteRow {
    const PLACES: &'static [Place] = &[place(Metric::ConnectionsOpened), place(Metric::Connections)];

    fn take(&mut self, changed: &mut impl FnMut(usize, Change)) {
        take_count(&mut self.opened, 0, changed);
        let moved = i64::from(self.open) - i64::from(self.open_reported);
        if moved != 0 {
            self.open_reported = self.open;
            changed(1, Change::Move(moved));
        }
    }

    fn is_pinned(&self) -> bool {
        self.open > 0
    }
}

/// What happens seldom, by whatever labels it has. Those of one row never have more than one of its series.
#[derive(Debug, Default)]
pub(crate) struct EventRow {
    pub(crate) closed: u64,
    pub(crate) discarded: u64,
    pub(crate) undecoded: u64,
    pub(crate) lost_sync: u64,
    pub(crate) unsolicited: u64,
    pub(crate) unjudged: u64,
    pub(crate) unmeasured: u64,
    pub(crate) links_missed: u64,
}

impl Row for EventRow {
    const PLACES: &'static [Place] = &[
        place(Metric::ConnectionsClosed),
        place(Metric::DrainDiscarded),
        place(Metric::Undecoded),
        place(Metric::LostSync),
        place(Metric::UnsolicitedResponses),
        place(Metric::SelfPartitionsUnjudged),
        place(Metric::SelfUnmeasured),
        place(Metric::SelfLinksMissed),
    ];

    fn take(&mut self, changed: &mut impl FnMut(usize, Change)) {
        take_count(&mut self.closed, 0, changed);
        take_count(&mut self.discarded, 1, changed);
        take_count(&mut self.undecoded, 2, changed);
        take_count(&mut self.lost_sync, 3, changed);
        take_count(&mut self.unsolicited, 4, changed);
        take_count(&mut self.unjudged, 5, changed);
        take_count(&mut self.unmeasured, 6, changed);
        take_count(&mut self.links_missed, 7, changed);
    }
}

/// Of the whole worker.
#[derive(Debug, Default)]
pub(crate) struct ProcessRow {
    pub(crate) tap_nanos: u64,
    pub(crate) captures_refused: u64,
}

impl Row for ProcessRow {
    const PLACES: &'static [Place] = &[place(Metric::SelfTapTime), place(Metric::SelfCaptureRefused)];

    fn take(&mut self, changed: &mut impl FnMut(usize, Change)) {
        take_count(&mut self.tap_nanos, 0, changed);
        take_count(&mut self.captures_refused, 1, changed);
    }
}
