//! What the bytes of a connection mean: the vocabulary between the decoder and whoever counts.
//!
//! All observations of one request carry its [`RequestSeq`]. They come in the order of the bytes:
//! [`RequestHead`], what its body says, then (possibly after other requests) what the response body says, and exactly
//! one [`Exchange`] at the end, whatever happened.

use core::fmt;

use crate::{
    ErrorCode,
    topics::{Topic, Topics},
};

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

/// A topic id (KIP-516), as the 16 bytes on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicId(pub [u8; 16]);

/// A dense number for a topic name or topic id within its connection, from 0, stable for the connection's life. A name
/// and the id of the same topic have different indexes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicIndex(pub u32);

impl TopicIndex {
    /// Stands for all topics after [`Limits::topics`](crate::Limits::topics) distinct ones.
    pub const OVERFLOW: Self = Self(u32::MAX);
}

/// A topic as the message names it.
#[derive(Clone, Copy)]
pub struct TopicRef<'a> {
    /// Key for the observer's cache.
    pub index: TopicIndex,
    source: TopicSource<'a>,
}

/// Where the label of a topic is. An observer that has the topic in its cache does not need it.
#[derive(Clone, Copy)]
enum TopicSource<'a> {
    Label(TopicLabel<'a>),
    Known(&'a Topics, Topic),
}

impl<'a> TopicRef<'a> {
    /// The topic with this number and this label.
    #[must_use]
    pub const fn new(index: TopicIndex, label: TopicLabel<'a>) -> Self {
        Self { index, source: TopicSource::Label(label) }
    }

    #[inline(always)]
    pub(crate) const fn known(topics: &'a Topics, topic: Topic) -> Self {
        Self { index: topic.index(), source: TopicSource::Known(topics, topic) }
    }

    /// What is on the wire.
    #[must_use]
    pub fn label(&self) -> TopicLabel<'a> {
        match self.source {
            TopicSource::Label(label) => label,
            TopicSource::Known(topics, topic) => topics.label(topic),
        }
    }
}

impl PartialEq for TopicRef<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.index == other.index && self.label() == other.label()
    }
}

impl Eq for TopicRef<'_> {}

impl fmt::Debug for TopicRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TopicRef").field("index", &self.index).field("label", &self.label()).finish()
    }
}

/// What is on the wire in place of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TopicLabel<'a> {
    /// Its name, in bytes that should be, but need not be, UTF-8.
    Name(&'a [u8]),
    /// Its id (Produce v13+, Fetch v13+).
    Id(TopicId),
}

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
    /// The uncompressed size of a record batch that the sink asked for in [`Sink::at_batch`](crate::Sink::at_batch).
    Measured(Measured<'a>),
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

/// The header of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestHead {
    /// Which request of the connection this is.
    pub seq: RequestSeq,
    /// The API.
    pub api: ApiKey,
    /// Its version.
    pub version: ApiVersion,
    /// The client's number for it.
    pub correlation_id: CorrelationId,
    /// Frame size with the 4-byte length field, in bytes.
    pub frame_bytes: u64,
    /// When the first byte was read.
    pub first_byte: Timestamp,
}

/// Which acknowledgement a producer asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Acks {
    /// 0: no response is ever sent.
    None,
    /// 1: the leader's.
    Leader,
    /// -1: all in-sync replicas'.
    All,
    /// Anything else; a broker refuses it.
    Other(i16),
}

/// The start of a Produce request's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProduceHead<'a> {
    /// The request.
    pub seq: RequestSeq,
    /// Requested acknowledgement.
    pub acks: Acks,
    /// How long the broker may wait for it, in milliseconds.
    pub timeout_ms: i32,
    /// Set by transactional producers (v3+).
    pub transactional_id: Option<&'a [u8]>,
}

/// A partition of a Produce request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducePartition<'a> {
    /// The request.
    pub seq: RequestSeq,
    /// The topic.
    pub topic: TopicRef<'a>,
    /// The partition.
    pub partition: i32,
    /// Size of its record batches, heads included, in bytes.
    pub record_bytes: u64,
}

/// How a record batch is compressed (attribute bits 0-2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Codec {
    /// Not compressed.
    None,
    /// gzip.
    Gzip,
    /// Snappy, raw or xerial-framed.
    Snappy,
    /// LZ4 frames.
    Lz4,
    /// Zstandard (KIP-110).
    Zstd,
    /// Not defined by Kafka.
    Unknown(u8),
}

impl Codec {
    /// What the attributes of a batch say.
    #[must_use]
    pub const fn of(attributes: i16) -> Self {
        match attributes & 0x07 {
            0 => Self::None,
            1 => Self::Gzip,
            2 => Self::Snappy,
            3 => Self::Lz4,
            4 => Self::Zstd,
            other => Self::Unknown(other as u8),
        }
    }
}

/// The head of a record batch (magic 2), or of a top-level message of a message set (magic 0 and 1).
///
/// Source: `org.apache.kafka.common.record.DefaultRecordBatch` and `LegacyRecord`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHead {
    /// Format: 0, 1 or 2.
    pub magic: i8,
    /// Offset of the first record (magic 2); of the message (magic 0 and 1: the last inner one when compressed).
    pub base_offset: i64,
    /// Size in bytes with the 12 bytes of offset and length.
    pub bytes: u64,
    /// Attribute bits as on the wire; 16 bits in magic 2, 8 before.
    pub attributes: i16,
    /// Offset of the last record less the base offset; 0 in magic 0 and 1.
    pub last_offset_delta: i32,
    /// Records in the batch; `None` for a compressed message of magic 0 or 1, which does not say.
    pub records: Option<u32>,
    /// Timestamp of the first record, in ms since the Unix epoch; -1 if there is none (magic 0), or if the field holds a
    /// delete horizon instead (attribute bit 6).
    pub base_timestamp: i64,
    /// Largest timestamp, in ms since the Unix epoch; -1 in magic 0.
    pub max_timestamp: i64,
    /// Idempotent or transactional producer; -1 otherwise.
    pub producer_id: i64,
    /// Its epoch; -1 otherwise.
    pub producer_epoch: i16,
    /// Sequence number of the first record; -1 otherwise.
    pub base_sequence: i32,
    /// The broker sent only the beginning of this batch (the end of a Fetch response).
    pub partial: bool,
}

impl BatchHead {
    /// The compression codec.
    #[must_use]
    pub const fn codec(&self) -> Codec {
        Codec::of(self.attributes)
    }

    /// Part of a transaction.
    #[must_use]
    pub const fn is_transactional(&self) -> bool {
        self.magic >= 2 && self.attributes & 0x10 != 0
    }

    /// Holds a transaction marker, not records of an application.
    #[must_use]
    pub const fn is_control(&self) -> bool {
        self.magic >= 2 && self.attributes & 0x20 != 0
    }

    /// The base timestamp is a delete horizon (KIP-534).
    #[must_use]
    pub const fn has_delete_horizon(&self) -> bool {
        self.magic >= 2 && self.attributes & 0x40 != 0
    }
}

/// A record batch of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionBatch<'a> {
    /// The request.
    pub seq: RequestSeq,
    /// The topic.
    pub topic: TopicRef<'a>,
    /// The partition.
    pub partition: i32,
    /// Fetch only: the offset that was asked for, if known. Records below it are delivered but not wanted.
    pub fetch_offset: Option<i64>,
    /// The batch.
    pub head: BatchHead,
}

/// The broker's answer for one partition of a Produce request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProduceResult<'a> {
    /// The request.
    pub seq: RequestSeq,
    /// The topic.
    pub topic: TopicRef<'a>,
    /// The partition.
    pub partition: i32,
    /// What happened.
    pub error: ErrorCode,
    /// Offset given to the first record; -1 on error.
    pub base_offset: i64,
    /// Start of the partition's log (v5+).
    pub log_start_offset: Option<i64>,
}

/// The start of a Fetch request's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchHead {
    /// The request.
    pub seq: RequestSeq,
    /// A follower's node id, or negative for a consumer. Not known (`None`) when it does not fit into the buffer.
    /// v15+ carries it in a tagged field at the end of the body; there it is absent for consumers.
    pub replica_id: Option<i32>,
    /// How long the broker may wait for `min_bytes`, in milliseconds.
    pub max_wait_ms: i32,
    /// What must be there for an answer before `max_wait_ms`, in bytes.
    pub min_bytes: i32,
    /// Most record bytes wanted (v3+).
    pub max_bytes: Option<i32>,
    /// Whether records of open transactions are left out (v4+: `read_committed`).
    pub read_committed: bool,
    /// Fetch session (KIP-227, v7+); 0 when there is none.
    pub session_id: i32,
    /// -1: no session wanted. 0: open one. Else: the number of this request in it.
    pub session_epoch: i32,
}

/// A partition that a Fetch request names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchAsked<'a> {
    /// The request.
    pub seq: RequestSeq,
    /// The topic.
    pub topic: TopicRef<'a>,
    /// The partition.
    pub partition: i32,
    /// The next offset that the client wants.
    pub fetch_offset: i64,
}

/// A partition of a Fetch response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchPartition<'a> {
    /// The request.
    pub seq: RequestSeq,
    /// The topic.
    pub topic: TopicRef<'a>,
    /// The partition.
    pub partition: i32,
    /// What happened.
    pub error: ErrorCode,
    /// First offset that is not yet replicated to all in-sync replicas.
    pub high_watermark: i64,
    /// First offset of the oldest open transaction (v4+).
    pub last_stable_offset: Option<i64>,
    /// Start of the partition's log (v5+).
    pub log_start_offset: Option<i64>,
    /// The offset that was asked for, if known.
    pub fetch_offset: Option<i64>,
    /// Size of its record batches, heads included, in bytes.
    pub record_bytes: u64,
}

/// A broker that a Metadata response names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broker<'a> {
    /// The request.
    pub seq: RequestSeq,
    /// Node id.
    pub id: i32,
    /// Advertised host.
    pub host: &'a [u8],
    /// Advertised port.
    pub port: i32,
}

/// A topic of a Metadata response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicMetadata<'a> {
    /// The request.
    pub seq: RequestSeq,
    /// What is wrong with it, if anything.
    pub error: ErrorCode,
    /// Its name; v12+ may answer without one.
    pub name: Option<&'a [u8]>,
    /// Its id (v10+).
    pub id: Option<TopicId>,
}

/// Node ids as they stand on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NodeIds<'a>(pub(crate) &'a [u8]);

impl<'a> NodeIds<'a> {
    /// Reads `bytes` as big-endian 32-bit numbers; a rest of less than four bytes is not looked at.
    #[must_use]
    pub const fn from_wire(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.0.len() / 4
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.len() < 4
    }

    /// The ids.
    pub fn iter(&self) -> impl Iterator<Item = i32> + '_ {
        self.0.chunks_exact(4).filter_map(|id| id.try_into().ok().map(i32::from_be_bytes))
    }
}

/// A partition of a Metadata response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionMetadata<'a> {
    /// The request.
    pub seq: RequestSeq,
    /// The topic's name, as in the [`TopicMetadata`] before.
    pub name: Option<&'a [u8]>,
    /// The topic's id, as in the [`TopicMetadata`] before.
    pub id: Option<TopicId>,
    /// What is wrong with it, if anything.
    pub error: ErrorCode,
    /// The partition.
    pub partition: i32,
    /// Node id of its leader, or -1.
    pub leader: i32,
    /// Leader epoch (v7+).
    pub leader_epoch: Option<i32>,
    /// Where its replicas live.
    pub replicas: NodeIds<'a>,
    /// Which of them are in sync.
    pub in_sync: NodeIds<'a>,
    /// Which of them are offline (v5+).
    pub offline: NodeIds<'a>,
}

/// Bytes of a record batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Captured<'a> {
    /// The request.
    pub seq: RequestSeq,
    /// Request: a Produce batch; response: a Fetch batch.
    pub direction: Direction,
    /// The topic.
    pub topic: TopicRef<'a>,
    /// The batch they belong to.
    pub head: BatchHead,
    /// What was asked for; shorter if the batch is.
    pub bytes: &'a [u8],
}

/// How large the records of a batch are once they are uncompressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measured<'a> {
    /// The request.
    pub seq: RequestSeq,
    /// Request: a Produce batch; response: a Fetch batch.
    pub direction: Direction,
    /// The topic.
    pub topic: TopicRef<'a>,
    /// The batch.
    pub head: BatchHead,
    /// In bytes, without the batch's head.
    pub uncompressed: Result<u64, Unmeasured>,
}

/// Why the uncompressed size of a batch is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unmeasured {
    /// Only decompression would tell, and the records are longer than what the sink would have kept.
    Untold,
    /// The framing is not the codec's, or tells of a size that the codec cannot reach.
    Implausible,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Its response was delivered.
    Answered,
    /// It never gets a response (Produce with acks=0).
    Unanswered,
    /// The connection ended first, or its response could not be recognised.
    Abandoned,
}

/// When the bytes of an exchange passed. In the names of the times: t0 to t5.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Times {
    /// t0: first byte of the request was read.
    pub request_first: Timestamp,
    /// t1: its last byte was read.
    pub request_last: Timestamp,
    /// t2: its last byte was written to the broker.
    pub request_written: Timestamp,
    /// When the last byte of the response *before* this one was read. The broker serves one request per connection at a
    /// time, so this request could not be begun before; `None` for the first.
    pub previous_response_last: Option<Timestamp>,
    /// t3: first byte of the response was read.
    pub response_first: Timestamp,
    /// t4: its last byte was read.
    pub response_last: Timestamp,
    /// t5: its last byte was written to the client.
    pub response_written: Timestamp,
}

/// A request and its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exchange {
    /// Which request of the connection this is.
    pub seq: RequestSeq,
    /// The API.
    pub api: ApiKey,
    /// Its version.
    pub version: ApiVersion,
    /// The client's number for it.
    pub correlation_id: CorrelationId,
    /// How it ended. Unless [`Outcome::Answered`], the times that never came are zero.
    pub outcome: Outcome,
    /// Frame size of the request with its length field, in bytes.
    pub request_bytes: u64,
    /// Frame size of the response with its length field, in bytes; 0 if there was none.
    pub response_bytes: u64,
    /// When.
    pub times: Times,
    /// First error that the decoded response carries. [`ErrorCode::NONE`] also when the response's body was not decoded.
    pub error: ErrorCode,
    /// How long the broker throttles the client (KIP-124), in milliseconds; `None` if the response was not decoded.
    pub throttle_ms: Option<i32>,
    /// Produce only: requested acknowledgement.
    pub acks: Option<Acks>,
    /// Fetch only; `None` if the request was not decoded.
    pub fetch: Option<FetchSummary>,
}

/// What a whole Fetch exchange was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchSummary {
    /// From a replica, not from a consumer.
    pub follower: bool,
    /// Its wait; `None` on error, when the response was not decoded, or when the request only ended its session.
    pub wait: Option<FetchWait>,
    /// What was asked for at least, in bytes.
    pub min_bytes: i32,
    /// Size of the returned record batches, heads included, in bytes.
    pub record_bytes: u64,
    /// Session that the response names (KIP-227), else that of the request; 0 when there is none.
    pub session_id: i32,
    /// Session epoch of the request; -1 when there is no session.
    pub session_epoch: i32,
}

/// Why a fetch took the time it took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FetchWait {
    /// Fewer record bytes than `min_bytes` came: the broker waited for `max_wait_ms` (a long poll that ran out).
    Expired,
    /// Enough came, but when the request arrived every partition had been read up to the last high watermark (last
    /// stable offset for `read_committed`) seen on this connection: the broker waited for records to be produced.
    Waited,
    /// Enough came, and it was there already: the duration is the broker's own speed. So it is with a `min_bytes` of 0,
    /// for which a broker never waits.
    Served,
}

/// Why a frame's body was not decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UndecodedReason {
    /// An API key that this build does not know.
    UnknownApi,
    /// A version of a known API that this build does not know.
    UnknownVersion,
    /// The body contradicts its schema.
    Malformed,
    /// An element, or a collected body, is longer than [`Limits`](crate::Limits) allow.
    TooLarge,
    /// Part of it was not seen.
    Gap,
}

/// A frame whose body was not decoded. An unknown API or version is told once, for the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Undecoded {
    /// Which way the frame went.
    pub direction: Direction,
    /// Its API; -1 if its header was not seen.
    pub api: ApiKey,
    /// Its version; -1 if its header was not seen.
    pub version: ApiVersion,
    /// Why.
    pub reason: UndecodedReason,
}

impl Undecoded {
    /// API and version of a frame whose header was not seen.
    pub(crate) const UNKNOWN: (ApiKey, ApiVersion) = (ApiKey(-1), ApiVersion(-1));
}

/// Why a direction is no longer decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LostSyncReason {
    /// A negative frame length.
    NegativeLength,
    /// A frame length of 0.
    ZeroLength,
    /// A frame too short for its header.
    ShortFrame,
    /// A frame longer than [`Limits::frame`](crate::Limits::frame).
    HugeLength,
    /// The client speaks TLS: the route is plaintext.
    Tls,
    /// The upstream answered with a TLS alert: it speaks TLS, the client does not.
    TlsAlert,
    /// The client speaks HTTP.
    Http,
    /// Bytes were not seen, and no frame boundary is known behind them.
    Gap,
    /// The other direction lost sync, and without it this one has no meaning.
    OtherDirection,
}

/// A direction is no longer decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LostSync {
    /// Which one.
    pub direction: Direction,
    /// Why.
    pub reason: LostSyncReason,
}
