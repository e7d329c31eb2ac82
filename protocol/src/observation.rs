//! What the bytes of a connection mean: the vocabulary between the decoder and whoever counts.
//!
//! All observations of one request carry its [`RequestSeq`]. They come in the order of the bytes:
//! [`RequestHead`], what its body says, then (possibly after other requests) what the response body says, and exactly
//! one [`Exchange`] at the end, whatever happened.

mod batch;
mod cluster;
mod exchange;
mod failure;
mod fetch;
mod produce;
mod topic;

pub use batch::*;
pub use cluster::*;
pub use exchange::*;
pub use failure::*;
pub use fetch::*;
pub use produce::*;
pub use topic::*;
/// One fact.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Observation<'a> {
    /// The client id of the requests that follow. Comes before the first [`RequestHead`] and whenever the id changes.
    /// `None` is Kafka's null. An unknown API's header is not read so far, so the id before stays, if there was one.
    Client(Option<&'a [u8]>),
    /// The client's software, from ApiVersions v3+ (KIP-511).
    Software {
        /// For example `apache-kafka-java` or `librdkafka`.
        name: &'a [u8],
        /// For example `4.3.1`.
        version: &'a [u8],
    },
    /// The connection has authenticated as `name`.
    Principal {
        /// For example `SCRAM-SHA-512`.
        mechanism: &'a [u8],
        /// User name (PLAIN, SCRAM) or `sub` (OAUTHBEARER).
        name: &'a [u8],
    },
    /// A request began and its header is known.
    RequestHead(RequestHead),
    /// The start of a Produce request's body.
    ProduceHead(ProduceHead<'a>),
    /// A partition of a Produce request; its batches follow.
    ProducePartition(ProducePartition<'a>),
    /// A record batch inside a Produce request.
    ProduceBatch(PartitionBatch<'a>),
    /// The broker's answer for one partition of a Produce request.
    ProduceResult(ProduceResult<'a>),
    /// The start of a Fetch request's body.
    FetchHead(FetchHead),
    /// A partition that a Fetch request names. With a fetch session (KIP-227), only what changed is named.
    FetchAsked(FetchAsked<'a>),
    /// A partition of a Fetch response; its batches follow.
    FetchPartition(FetchPartition<'a>),
    /// A record batch inside a Fetch response.
    FetchBatch(PartitionBatch<'a>),
    /// A broker that a Metadata response names.
    Broker(Broker<'a>),
    /// The cluster id in a Metadata response (v2+).
    ClusterId(&'a [u8]),
    /// A topic of a Metadata response; its partitions follow.
    TopicMetadata(TopicMetadata<'a>),
    /// A partition of a Metadata response.
    PartitionMetadata(PartitionMetadata<'a>),
    /// Bytes of a record batch that the sink asked for in [`Sink::at_batch`](crate::Sink::at_batch).
    Captured(Captured<'a>),
    /// A batch whose capture did not fit into the worker's budget.
    CaptureRefused {
        /// What the sink had asked for, in bytes.
        bytes: u32,
    },
    /// A request has ended. Exactly one for every [`RequestHead`].
    Exchange(&'a Exchange),
    /// A body that this build reads but could not, or an unknown API key or version. The frame's size is still known,
    /// and the following frames are decoded.
    Undecoded(Undecoded),
    /// A response that answers no known request: skipped whole.
    Unsolicited {
        /// The correlation id that matched nothing.
        correlation_id: CorrelationId,
        /// Frame size with the length field, in bytes.
        bytes: u64,
    },
    /// From here on this direction's bytes are only counted.
    LostSync(LostSync),
}

/// A moment, in nanoseconds. The decoder only subtracts and compares; the caller chooses the epoch (the proxy uses the
/// Unix epoch, advanced by the monotonic clock) and must not let it go backwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// Nanoseconds from `earlier` to `self`; 0 when `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the client to the broker.
    Request,
    /// From the broker to the client.
    Response,
}

/// How much of the traffic is decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Depth {
    /// Headers only: API, version, client id, sizes, times.
    Headers,
    /// Bodies too.
    #[default]
    Full,
}

/// An API key. Unknown keys are data, not errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApiKey(pub i16);

/// The version of an API that a request was made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApiVersion(pub i16);

/// The number by which a client recognises the response to its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CorrelationId(pub i32);

/// Position of a request among the requests of its connection, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestSeq(pub u64);
