//! The one table of metrics. Nobody else writes the name of a metric.

mod group;
mod host;
mod wire;

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
    CompressionRatio,
    RecordIo,
    ProducedMessages,
    ConsumedMessages,
    ConnectionIo,
    ConnectionRtt,
    ConnectionRetransmits,
    ConnectionDeliveryRate,
    ConnectionDuration,
    Connections,
    ConnectionsOpened,
    ConnectionsClosed,
    ConnectionsRefused,
    DrainDiscarded,
    Undecoded,
    LostSync,
    UnsolicitedResponses,
    PartitionErrors,
    ThrottleDuration,
    PurgatorySize,
    LeaderElections,
    UncleanElections,
    LogRegressions,
    PartitionUnavailable,
    Coverage,
    ClientsElsewhere,
    ClientApiVersionMin,
    ClientApiVersionMax,
    ClientRemovedIn40,
    SeriesFolded,
    SelfSeries,
    SelfTapTime,
    SelfCaptureRefused,
    SelfUnmeasured,
    SelfDecompressed,
    SelfPartitionsUnjudged,
    SelfSpansSampled,
    SelfSpansDropped,
    SelfLinksMissed,
    SelfExportFailures,
    PositionLag,
    PositionLagMax,
    SkippedRecords,
    GroupLag,
    GroupLagSum,
    GroupOffset,
    GroupOffsetSum,
    GroupTimeLag,
    GroupMembers,
    GroupGeneration,
    GroupRebalances,
    GroupRebalanceDuration,
    GroupCommits,
    GroupCommitErrors,
    GroupCommitsAhead,
    PartitionCurrentOffset,
    PartitionOldestOffset,
    SelfFacts,
    SelfFactsLost,
    SelfPeerFailures,
    CpuTime,
    MemoryUsage,
    MemoryAvailable,
    PagingUsage,
    PagingOperations,
    NetworkIo,
    NetworkDropped,
    NetworkErrors,
    FilesystemUsage,
    FilesystemUtilization,
    FilesystemInodes,
    FilesystemTimeToFull,
    PressureTime,
    PageCacheDirty,
    PageCacheWriteback,
    PageCacheWritten,
    ProcessUp,
    ProcessListening,
    ProcessRestarts,
    ProcessCpuTime,
    ProcessMemory,
    ProcessVirtualMemory,
    ProcessSwap,
    ProcessThreads,
    ProcessFileDescriptors,
    ProcessFileDescriptorLimit,
    ProcessDiskIo,
    ContainerCpuTime,
    ContainerCpuThrottled,
    ContainerMemory,
    ContainerMemoryLimit,
    ContainerNetworkIo,
    ContainerSwap,
    GcDuration,
    GcCollections,
    GcElapsed,
    GcSplit,
    JvmMemoryUsed,
    JvmMemoryCommitted,
    JvmMemoryLimit,
    PageCachePages,
    PageCacheHitRatio,
    DiskDuration,
    DiskQueueDuration,
    FsyncDuration,
    TopicFsyncDuration,
    TcpRetransmits,
    TcpRtt,
    TcpConnectFailures,
    TcpResets,
    TcpListenOverflows,
    TcpSockets,
    SamplerUp,
    SelfProgramRuns,
    SelfProgramTime,
    SelfEventsLost,
    SelfMapEntries,
    SelfMapCapacity,
    SelfCpuTime,
    SelfMemory,
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
    /// `ms`, recorded in nanoseconds.
    Millis,
    /// `By`.
    Bytes,
    /// `By/s`.
    BytesPerSecond,
    /// `1`: a share of a whole, recorded in millionths.
    Ratio,
    /// An annotation such as `{request}`: the thing that is counted.
    Things(&'static str),
}

impl Unit {
    /// UCUM, as OTLP wants it.
    #[must_use]
    pub const fn ucum(self) -> &'static str {
        match self {
            Self::Seconds => "s",
            Self::Millis => "ms",
            Self::Bytes => "By",
            Self::BytesPerSecond => "By/s",
            Self::Ratio => "1",
            Self::Things(annotation) => annotation,
        }
    }

    /// Recorded integers per unit.
    #[must_use]
    pub const fn per_unit(self) -> f64 {
        match self {
            Self::Seconds => 1e9,
            Self::Millis | Self::Ratio => 1e6,
            Self::Bytes | Self::BytesPerSecond | Self::Things(_) => 1.0,
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
    /// What tells its series apart; an attribute without a value is left out. What has [`Attribute::ClientId`] has
    /// [`Attribute::UserName`], too, where the operator wants it.
    pub attributes: &'static [Attribute],
    /// One sentence for people.
    pub help: &'static str,
}

impl Descriptor {
    /// The attributes that a series may have, in their order.
    pub(crate) fn keys(&self) -> impl Iterator<Item = Attribute> {
        self.attributes.iter().flat_map(|&key| {
            let user = (key == Attribute::ClientId).then_some(Attribute::UserName);
            std::iter::once(key).chain(user)
        })
    }
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

/// 0.8 % to 2: what does not compress grows a little.
const RATIO: Kind = Kind::Histogram(Bounds { first: -7, last: 1 });

/// All metrics, in the order of [`Metric`].
pub const TABLE: &[Descriptor] = &joined::<{ wire::ROWS.len() + group::ROWS.len() + host::ROWS.len() }>();

const fn joined<const ROWS: usize>() -> [Descriptor; ROWS] {
    let parts = [wire::ROWS, group::ROWS, host::ROWS];
    let mut rows = [wire::ROWS[0]; ROWS];
    let (mut at, mut part) = (0, 0);
    while part < parts.len() {
        let mut row = 0;
        while row < parts[part].len() {
            rows[at] = parts[part][row];
            (at, row) = (at + 1, row + 1);
        }
        part += 1;
    }
    rows
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_metric_has_its_own_row_and_name() {
        for (index, row) in TABLE.iter().enumerate() {
            assert_eq!(row.metric as usize, index, "{}", row.name);
        }
        assert_eq!(TABLE.len(), Metric::SelfMemory as usize + 1);
        assert_eq!(TABLE.iter().map(|row| row.name).collect::<HashSet<_>>().len(), TABLE.len());
    }

    #[test]
    fn names_follow_the_conventions() {
        for row in TABLE {
            let conventions = ["kafka.", "kafkascope.", "system.", "process.", "container.", "jvm."];
            assert!(conventions.iter().any(|space| row.name.starts_with(space)), "{} has no vantage", row.name);
            assert!(
                row.name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '.' || c == '_'),
                "{}",
                row.name
            );
            assert!(row.help.ends_with('.') && !row.help.contains(['\n', '\\']), "{}", row.name);
        }
    }

    #[test]
    fn text_bounds_are_powers_of_two_in_rising_order() {
        let bounds: Vec<f64> = Bounds { first: -2, last: 2 }.iter().collect();
        assert_eq!(bounds, [0.25, 0.5, 1.0, 2.0, 4.0]);
    }
}
