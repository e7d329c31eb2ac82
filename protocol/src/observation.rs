//! What the bytes of a connection mean: the vocabulary between the decoder and whoever counts.
//!
//! All observations of one request carry its [`RequestSeq`]. They come in the order of the bytes:
//! [`RequestHead`], what its body says, then (possibly after other requests) what the response body says, and exactly
//! one [`Exchange`] at the end, whatever happened. Responses come after other requests, so whoever needs to know what a
//! response's partition was asked for pairs them by request and partition.

mod batch;
mod cluster;
mod exchange;
mod failure;
mod fetch;
mod group;
mod offset;
mod produce;
mod share;
mod topic;
mod transaction;

pub use batch::*;
pub use cluster::*;
pub use exchange::*;
pub use failure::*;
pub use fetch::*;
pub use group::*;
pub use offset::*;
pub use produce::*;
pub use share::*;
pub use topic::*;
pub use transaction::*;

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
    /// A partition that a Fetch request takes out of its session.
    FetchForgotten(FetchForgotten<'a>),
    /// A partition of a Fetch response; its batches follow.
    FetchPartition(FetchPartition<'a>),
    /// A record batch inside a Fetch response.
    FetchBatch(PartitionBatch<'a>),
    /// Aborted transactions in a partition of a Fetch response were more than
    /// [`Limits::aborted`](crate::Limits::aborted): batches of the rest are not told to be aborted.
    AbortedForgotten {
        /// How many transactions.
        transactions: u32,
    },
    /// Where a Fetch response says that the client's log and the leader's part.
    DivergingEpoch(DivergingEpoch<'a>),
    /// The partition's leader, as a response to somebody who did not know it says (KIP-951).
    CurrentLeader(CurrentLeader<'a>),
    /// A broker that a Metadata or DescribeCluster response names.
    Broker(Broker<'a>),
    /// The cluster id in a Metadata (v2+) or DescribeCluster response.
    ClusterId(&'a [u8]),
    /// The controller in a DescribeCluster response.
    Controller(Controller),
    /// A topic of a Metadata or DescribeTopicPartitions response; its partitions follow.
    TopicMetadata(TopicMetadata<'a>),
    /// A partition of a Metadata or DescribeTopicPartitions response.
    PartitionMetadata(PartitionMetadata<'a>),
    /// A topic of a CreateTopics response.
    TopicCreated(TopicCreated<'a>),
    /// A topic of a DeleteTopics response.
    TopicDeleted(TopicDeleted<'a>),
    /// The start of an OffsetCommit or TxnOffsetCommit request's body.
    CommitHead(CommitHead<'a>),
    /// A partition of an OffsetCommit or TxnOffsetCommit request.
    CommitPartition(CommitPartition<'a>),
    /// The coordinator's answer for one partition of an OffsetCommit or TxnOffsetCommit request.
    CommitResult(CommitResult<'a>),
    /// A group whose committed offsets were asked for, or are to be deleted.
    CommittedGroup(CommittedGroup<'a>),
    /// What a group has committed for one partition.
    CommittedOffset(CommittedOffset<'a>),
    /// The start of a ListOffsets request's body.
    ListOffsetsHead(ListOffsetsHead),
    /// A partition of a ListOffsets request.
    OffsetAsked(OffsetAsked<'a>),
    /// A partition of a ListOffsets response.
    OffsetListed(OffsetListed<'a>),
    /// A partition of an OffsetForLeaderEpoch response.
    EpochEnd(EpochEnd<'a>),
    /// A key that a FindCoordinator request asks for.
    CoordinatorAsked(CoordinatorAsked<'a>),
    /// A coordinator that a FindCoordinator response names.
    Coordinator(Coordinator<'a>),
    /// A JoinGroup request.
    JoinGroup(JoinGroup<'a>),
    /// Why it was sent.
    JoinReason(JoinReason<'a>),
    /// The response to JoinGroup.
    JoinedGroup(JoinedGroup<'a>),
    /// A member in it.
    GroupMember(GroupMember<'a>),
    /// A SyncGroup request.
    SyncGroup(Membership<'a>),
    /// The response to SyncGroup.
    SyncedGroup(SyncedGroup<'a>),
    /// A topic that a member is assigned, in a SyncGroup, ConsumerGroupHeartbeat or ShareGroupHeartbeat response.
    AssignedTopic(AssignedTopic<'a>),
    /// A Heartbeat request.
    Heartbeat(Membership<'a>),
    /// A LeaveGroup request.
    LeaveGroup(LeaveGroup<'a>),
    /// A member in it.
    LeavingMember(LeavingMember<'a>),
    /// A ConsumerGroupHeartbeat, ShareGroupHeartbeat or StreamsGroupHeartbeat request.
    GroupHeartbeat(GroupHeartbeat<'a>),
    /// What the member of a ConsumerGroupHeartbeat request has.
    OwnedPartitions(OwnedPartitions),
    /// A topic of it.
    OwnedTopic(AssignedTopic<'a>),
    /// The response to such a heartbeat.
    GroupHeartbeatResult(GroupHeartbeatResult<'a>),
    /// A group of a DeleteGroups response.
    GroupDeleted(GroupDeleted<'a>),
    /// A group of a ConsumerGroupDescribe or StreamsGroupDescribe response.
    GroupDescribed(GroupDescribed<'a>),
    /// A member in it.
    MemberDescribed(MemberDescribed<'a>),
    /// An InitProducerId request.
    InitProducer(InitProducer<'a>),
    /// The identity that a producer has from here on.
    ProducerIdentity(ProducerIdentity),
    /// An AddOffsetsToTxn request.
    TransactionGroup(TransactionGroup<'a>),
    /// An EndTxn request.
    TransactionEnd(TransactionEnd<'a>),
    /// The start of a ShareFetch request's body.
    ShareFetchHead(ShareHead<'a>),
    /// A partition of a ShareFetch response.
    SharePartition(SharePartition<'a>),
    /// What the member has got of it.
    ShareAcquired(ShareAcquired<'a>),
    /// The start of a ShareAcknowledge request's body.
    ShareAcknowledgeHead(ShareHead<'a>),
    /// A partition of a ShareAcknowledge response.
    ShareAcknowledged(ShareAcknowledged<'a>),
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
