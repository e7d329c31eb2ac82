//! The one table of metrics. Nobody else writes the name of a metric.

use crate::attribute::Attribute;

/// A metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the table below says what each one is")]
pub enum Metric {
    Requests,
    Responses,
    RequestDuration,
    SegmentDuration,
    RequestsInFlight,
    ProduceRequests,
    BatchSize,
    BatchRecords,
    BatchFill,
    BatchFillExcluded,
    RecordIo,
    ProducedMessages,
    ConsumedMessages,
    ConnectionIo,
    Connections,
    ConnectionsOpened,
    ConnectionsClosed,
    ConnectionsRefused,
    DrainDiscarded,
    Undecoded,
    LostSync,
    UnsolicitedResponses,
    SeriesFolded,
    SelfSeries,
    SelfTapTime,
    SelfCaptureRefused,
    SelfPartitionsUnjudged,
    SelfSpansSampled,
    SelfSpansDropped,
    SelfExportFailures,
}

/// What its numbers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Grows and shrinks by what happens.
    UpDown,
    /// Is what it is.
    Gauge,
    /// A distribution.
    Histogram(Bounds),
}

/// The bucket bounds of the text endpoint: 2^first to 2^last in the metric's unit. Powers of two are bounds of the
/// exponential buckets too, so no observation has to be guessed to one side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Exponent of the lowest bound.
    pub first: i32,
    /// Exponent of the highest.
    pub last: i32,
}

impl Bounds {
    /// The bounds in rising order.
    pub fn iter(self) -> impl Iterator<Item = f64> + Clone {
        (self.first..=self.last).map(|exponent| f64::from(exponent).exp2())
    }
}

/// The unit of a metric, and what one recorded integer is of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// `s`, recorded in nanoseconds.
    Seconds,
    /// `By`.
    Bytes,
    /// An annotation such as `{request}`: the thing that is counted.
    Things(&'static str),
}

impl Unit {
    /// UCUM, as OTLP wants it.
    #[must_use]
    pub const fn ucum(self) -> &'static str {
        match self {
            Self::Seconds => "s",
            Self::Bytes => "By",
            Self::Things(annotation) => annotation,
        }
    }

    /// Recorded integers per unit.
    #[must_use]
    pub const fn per_unit(self) -> f64 {
        match self {
            Self::Seconds => 1e9,
            Self::Bytes | Self::Things(_) => 1.0,
        }
    }
}

/// A row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Descriptor {
    /// Which metric.
    pub metric: Metric,
    /// Its name in OTLP.
    pub name: &'static str,
    /// What its numbers are.
    pub kind: Kind,
    /// In which unit.
    pub unit: Unit,
    /// What tells its series apart; an attribute without a value is left out.
    pub attributes: &'static [Attribute],
    /// One sentence for people.
    pub help: &'static str,
}

impl Metric {
    /// Its row.
    #[must_use]
    pub fn descriptor(self) -> &'static Descriptor {
        &TABLE[self as usize]
    }
}

/// 61 us to 32 s.
const LATENCY: Kind = Kind::Histogram(Bounds { first: -14, last: 5 });
/// 64 bytes to 16 MiB.
const SIZE: Kind = Kind::Histogram(Bounds { first: 6, last: 24 });
/// 1 to 65,536.
const COUNT: Kind = Kind::Histogram(Bounds { first: 0, last: 16 });
/// 1 ms (the resolution of record timestamps) to an hour.
const FILL: Kind = Kind::Histogram(Bounds { first: -10, last: 12 });

const REQUEST: Unit = Unit::Things("{request}");
const CONNECTION: Unit = Unit::Things("{connection}");
const MESSAGE: Unit = Unit::Things("{message}");

use Attribute as A;

/// All metrics, in the order of [`Metric`].
pub const TABLE: &[Descriptor] = &[
    Descriptor {
        metric: Metric::Requests,
        name: "kafkascope.requests",
        kind: Kind::Counter,
        unit: REQUEST,
        attributes: &[
            A::ClientId,
            A::PeerAddress,
            A::Cluster,
            A::ServerAddress,
            A::ServerPort,
            A::BrokerId,
            A::Api,
            A::ApiVersion,
        ],
        help: "Requests that came whole, counted when they end, whatever their end.",
    },
    Descriptor {
        metric: Metric::Responses,
        name: "kafkascope.responses",
        kind: Kind::Counter,
        unit: Unit::Things("{response}"),
        attributes: &[A::ClientId, A::PeerAddress, A::Cluster, A::ServerAddress, A::ServerPort, A::BrokerId, A::Api],
        help: "Responses delivered to clients.",
    },
    Descriptor {
        metric: Metric::RequestDuration,
        name: "kafkascope.request.duration",
        kind: LATENCY,
        unit: Unit::Seconds,
        attributes: &[
            A::ClientId,
            A::PeerAddress,
            A::Cluster,
            A::ServerAddress,
            A::ServerPort,
            A::BrokerId,
            A::Api,
            A::FetchWait,
            A::Error,
        ],
        help: "Time from the first byte of a request to the last byte of its response written to the client.",
    },
    Descriptor {
        metric: Metric::SegmentDuration,
        name: "kafkascope.request.segment.duration",
        kind: LATENCY,
        unit: Unit::Seconds,
        attributes: &[
            A::ClientId,
            A::PeerAddress,
            A::Cluster,
            A::ServerAddress,
            A::ServerPort,
            A::BrokerId,
            A::Api,
            A::Segment,
        ],
        help: "Parts of a request's duration: upload, proxy, queued behind its predecessor, broker, download.",
    },
    Descriptor {
        metric: Metric::RequestsInFlight,
        name: "kafkascope.request.in_flight",
        kind: Kind::UpDown,
        unit: REQUEST,
        attributes: &[
            A::ClientId,
            A::PeerAddress,
            A::Cluster,
            A::ServerAddress,
            A::ServerPort,
            A::BrokerId,
            A::Api,
            A::Acks,
        ],
        help: "Requests that have begun and not ended.",
    },
    Descriptor {
        metric: Metric::ProduceRequests,
        name: "kafkascope.produce.requests",
        kind: Kind::Counter,
        unit: REQUEST,
        attributes: &[A::ClientId, A::PeerAddress, A::Cluster, A::Acks],
        help: "Produce requests by the acknowledgement that the producer asks for.",
    },
    Descriptor {
        metric: Metric::BatchSize,
        name: "kafkascope.produce.batch.size",
        kind: SIZE,
        unit: Unit::Bytes,
        attributes: &[A::ClientId, A::PeerAddress, A::Cluster, A::Topic, A::Codec],
        help: "Size of record batches as sent, with their head.",
    },
    Descriptor {
        metric: Metric::BatchRecords,
        name: "kafkascope.produce.batch.records",
        kind: COUNT,
        unit: Unit::Things("{record}"),
        attributes: &[A::ClientId, A::PeerAddress, A::Cluster, A::Topic, A::Codec],
        help: "Records in a batch as sent.",
    },
    Descriptor {
        metric: Metric::BatchFill,
        name: "kafkascope.produce.batch.fill",
        kind: FILL,
        unit: Unit::Seconds,
        attributes: &[A::ClientId, A::PeerAddress, A::Cluster, A::Topic, A::Codec],
        help: "Time from the first to the last record of a batch by their own timestamps.",
    },
    Descriptor {
        metric: Metric::BatchFillExcluded,
        name: "kafkascope.produce.batch.fill.excluded",
        kind: Kind::Counter,
        unit: Unit::Things("{batch}"),
        attributes: &[A::ClientId, A::PeerAddress, A::Cluster, A::Topic, A::Codec],
        help: "Batches whose record timestamps span more than an hour: the producer sets them itself.",
    },
    Descriptor {
        metric: Metric::RecordIo,
        name: "kafkascope.record.io",
        kind: Kind::Counter,
        unit: Unit::Bytes,
        attributes: &[A::ClientId, A::PeerAddress, A::Cluster, A::Topic, A::Direction],
        help: "Record batch bytes that brokers accepted from producers (in) or returned to consumers (out).",
    },
    Descriptor {
        metric: Metric::ProducedMessages,
        name: "kafkascope.produced.messages",
        kind: Kind::Counter,
        unit: MESSAGE,
        attributes: &[A::ClientId, A::PeerAddress, A::Cluster, A::Topic],
        help: "Messages in record batches that brokers accepted.",
    },
    Descriptor {
        metric: Metric::ConsumedMessages,
        name: "kafkascope.consumed.messages",
        kind: Kind::Counter,
        unit: MESSAGE,
        attributes: &[A::ClientId, A::PeerAddress, A::Cluster, A::Topic],
        help: "Messages returned to consumers, without control records and those before the offset asked for.",
    },
    Descriptor {
        metric: Metric::ConnectionIo,
        name: "kafkascope.connection.io",
        kind: Kind::Counter,
        unit: Unit::Bytes,
        attributes: &[
            A::ClientId,
            A::PeerAddress,
            A::Cluster,
            A::ServerAddress,
            A::ServerPort,
            A::BrokerId,
            A::Direction,
        ],
        help: "All bytes of connections, from clients (in) and to them (out).",
    },
    Descriptor {
        metric: Metric::Connections,
        name: "kafkascope.connections",
        kind: Kind::UpDown,
        unit: CONNECTION,
        attributes: &[A::Cluster, A::ServerAddress, A::ServerPort, A::BrokerId],
        help: "Connections of clients that are open.",
    },
    Descriptor {
        metric: Metric::ConnectionsOpened,
        name: "kafkascope.connections.opened",
        kind: Kind::Counter,
        unit: CONNECTION,
        attributes: &[A::Cluster, A::ServerAddress, A::ServerPort, A::BrokerId],
        help: "Connections accepted from clients.",
    },
    Descriptor {
        metric: Metric::ConnectionsClosed,
        name: "kafkascope.connections.closed",
        kind: Kind::Counter,
        unit: CONNECTION,
        attributes: &[A::Cluster, A::ServerAddress, A::ServerPort, A::BrokerId, A::Reason],
        help: "Connections that ended, by what ended them.",
    },
    Descriptor {
        metric: Metric::ConnectionsRefused,
        name: "kafkascope.connections.refused",
        kind: Kind::Counter,
        unit: CONNECTION,
        attributes: &[A::Cluster, A::ServerAddress, A::ServerPort, A::BrokerId, A::Reason],
        help: "Connections of clients that were closed before they were served.",
    },
    Descriptor {
        metric: Metric::DrainDiscarded,
        name: "kafkascope.drain.discarded",
        kind: Kind::Counter,
        unit: Unit::Bytes,
        attributes: &[A::Cluster, A::ServerAddress, A::ServerPort, A::BrokerId],
        help: "Bytes that clients sent while the proxy drained, after their last forwarded request: they will ask again.",
    },
    Descriptor {
        metric: Metric::Undecoded,
        name: "kafkascope.undecoded",
        kind: Kind::Counter,
        unit: Unit::Things("{frame}"),
        attributes: &[
            A::Cluster,
            A::ServerAddress,
            A::ServerPort,
            A::BrokerId,
            A::Api,
            A::ApiVersion,
            A::Direction,
            A::Reason,
        ],
        help: "Frames whose body should have been decoded but was not. They were forwarded.",
    },
    Descriptor {
        metric: Metric::LostSync,
        name: "kafkascope.lost_sync",
        kind: Kind::Counter,
        unit: CONNECTION,
        attributes: &[A::Cluster, A::ServerAddress, A::ServerPort, A::BrokerId, A::Direction, A::Reason],
        help: "Directions of connections whose bytes stopped to make sense as Kafka. They were forwarded.",
    },
    Descriptor {
        metric: Metric::UnsolicitedResponses,
        name: "kafkascope.responses.unsolicited",
        kind: Kind::Counter,
        unit: Unit::Things("{response}"),
        attributes: &[A::Cluster, A::ServerAddress, A::ServerPort, A::BrokerId],
        help: "Responses that answer no known request. They were forwarded.",
    },
    Descriptor {
        metric: Metric::SeriesFolded,
        name: "kafkascope.series.folded",
        kind: Kind::Counter,
        unit: Unit::Things("{value}"),
        attributes: &[A::Dimension],
        help: "New values that were folded into other, or forgotten (topic_id), because their dimension was full.",
    },
    Descriptor {
        metric: Metric::SelfSeries,
        name: "kafkascope.self.series",
        kind: Kind::Gauge,
        unit: Unit::Things("{series}"),
        attributes: &[],
        help: "Series that live, those held back for the name of a topic id included.",
    },
    Descriptor {
        metric: Metric::SelfTapTime,
        name: "kafkascope.self.tap.time",
        kind: Kind::Counter,
        unit: Unit::Seconds,
        attributes: &[],
        help: "Time that workers spent in decoding and recording: the cost of looking.",
    },
    Descriptor {
        metric: Metric::SelfCaptureRefused,
        name: "kafkascope.self.captures.refused",
        kind: Kind::Counter,
        unit: Unit::Things("{batch}"),
        attributes: &[],
        help: "Record batches that were not captured because the worker's budget was used up.",
    },
    Descriptor {
        metric: Metric::SelfPartitionsUnjudged,
        name: "kafkascope.self.partitions.unjudged",
        kind: Kind::Counter,
        unit: Unit::Things("{partition}"),
        attributes: &[A::Reason],
        help: "Partitions of Produce requests that were left out of record.io because their answer is not known.",
    },
    Descriptor {
        metric: Metric::SelfSpansSampled,
        name: "kafkascope.self.spans.sampled",
        kind: Kind::Counter,
        unit: Unit::Things("{span}"),
        attributes: &[],
        help: "Spans that were queued for export.",
    },
    Descriptor {
        metric: Metric::SelfSpansDropped,
        name: "kafkascope.self.spans.dropped",
        kind: Kind::Counter,
        unit: Unit::Things("{span}"),
        attributes: &[A::Reason],
        help: "Sampled spans that never reached the collector.",
    },
    Descriptor {
        metric: Metric::SelfExportFailures,
        name: "kafkascope.self.export.failures",
        kind: Kind::Counter,
        unit: Unit::Things("{export}"),
        attributes: &[A::Signal],
        help: "Exports that the collector did not take. Totals are sent again, spans are not.",
    },
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_metric_has_its_own_row_and_name() {
        for (index, row) in TABLE.iter().enumerate() {
            assert_eq!(row.metric as usize, index, "{}", row.name);
        }
        assert_eq!(TABLE.len(), Metric::SelfExportFailures as usize + 1);
        assert_eq!(TABLE.iter().map(|row| row.name).collect::<HashSet<_>>().len(), TABLE.len());
    }

    #[test]
    fn names_follow_the_conventions() {
        for row in TABLE {
            assert!(row.name.starts_with("kafkascope."), "{} has no vantage", row.name);
            assert!(row.name.chars().all(|c| c.is_ascii_lowercase() || c == '.' || c == '_'), "{}", row.name);
            assert!(row.help.ends_with('.') && !row.help.contains(['\n', '\\']), "{}", row.name);
        }
    }

    #[test]
    fn text_bounds_are_powers_of_two_in_rising_order() {
        let bounds: Vec<f64> = Bounds { first: -2, last: 2 }.iter().collect();
        assert_eq!(bounds, [0.25, 0.5, 1.0, 2.0, 4.0]);
    }
}
