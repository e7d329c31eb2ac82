//! Offsets outside of Fetch: what a group committed, what a log holds.

use crate::{ErrorCode, RequestSeq, TopicRef, Transaction};

/// The start of an OffsetCommit or TxnOffsetCommit request's body; its partitions follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommitHead<'a> {
    /// The request.
    pub seq: RequestSeq,
    /// The group.
    pub group: &'a [u8],
    /// Generation (classic) or member epoch (KIP-848, v9+) of the member; -1 for a consumer outside of any group
    /// membership. `None` where the version has none (OffsetCommit v0, TxnOffsetCommit v0 to v2).
    pub generation: Option<i32>,
    /// The member; empty outside of any group membership. `None` as for the generation.
    pub member_id: Option<&'a [u8]>,
    /// Name of a static member (KIP-345).
    pub instance_id: Option<&'a [u8]>,
    /// TxnOffsetCommit only: the transaction with whose end the offsets take effect, or are forgotten.
    pub transaction: Option<Transaction<'a>>,
}

/// A partition of an OffsetCommit or TxnOffsetCommit request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommitPartition<'a> {
    /// The request.
    pub seq: RequestSeq,
    /// The topic (by id from OffsetCommit v10 on).
    pub topic: TopicRef<'a>,
    /// The partition.
    pub partition: i32,
    /// Next offset to be consumed.
    pub offset: i64,
    /// Leader epoch of the last consumed record; -1 if the client does not know it. `None` where the version has none
    /// (OffsetCommit before v6, TxnOffsetCommit before v2).
    pub leader_epoch: Option<i32>,
}

/// The coordinator's answer for one partition of an OffsetCommit or TxnOffsetCommit request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommitResult<'a> {
    /// The request.
    pub seq: RequestSeq,
    /// The topic.
    pub topic: TopicRef<'a>,
    /// The partition.
    pub partition: i32,
    /// What happened.
    pub error: ErrorCode,
}

/// A group whose committed offsets were asked for (OffsetFetch), or are to be deleted (OffsetDelete). OffsetFetch up to v7 and
/// OffsetDelete are about one group, and this is said when the request passes; OffsetFetch from v8 on is about several, and it
/// is said when the response passes, where the group's [`CommittedOffset`]s follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommittedGroup<'a> {
    /// The request.
    pub seq: RequestSeq,
    /// The group.
    pub group: &'a [u8],
}

/// What a group has committed for one partition, as an OffsetFetch response says, or does not have any more, as an OffsetDelete
/// response says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommittedOffset<'a> {
    /// The request. The group is that of the last [`CommittedGroup`] with this number.
    pub seq: RequestSeq,
    /// The topic (by id from v10 on).
    pub topic: TopicRef<'a>,
    /// The partition.
    pub partition: i32,
    /// Next offset to be consumed; -1 if nothing was committed.
    pub offset: i64,
    /// What is wrong, if anything.
    pub error: ErrorCode,
}

/// The start of a ListOffsets request's body; its partitions follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListOffsetsHead {
    /// The request.
    pub seq: RequestSeq,
    /// A follower's node id; -1 for a client, -2 for a debugging tool.
    pub replica_id: i32,
    /// Whether the latest offset is the last stable one (v2+: `read_committed`) instead of the high watermark.
    pub read_committed: bool,
}

/// What a ListOffsets request wants to know of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OffsetAsked<'a> {
    /// The request.
    pub seq: RequestSeq,
    /// The topic.
    pub topic: TopicRef<'a>,
    /// The partition.
    pub partition: i32,
    /// The first offset at or past this time is wanted, in ms since the Unix epoch; or one of the constants here.
    pub timestamp: i64,
}

impl OffsetAsked<'_> {
    /// The end of the log.
    pub const LATEST: i64 = -1;
    /// The start of the log.
    pub const EARLIEST: i64 = -2;
    /// The offset of the record with the largest timestamp (KIP-734, v7+).
    pub const MAX_TIMESTAMP: i64 = -3;
    /// The start of what is not only in tiered storage (KIP-405, v8+).
    pub const EARLIEST_LOCAL: i64 = -4;
    /// The end of what is in tiered storage (KIP-1005, v9+).
    pub const LATEST_TIERED: i64 = -5;
}

/// The broker's answer for one partition of a ListOffsets request. Partitions come in any order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OffsetListed<'a> {
    /// The request.
    pub seq: RequestSeq,
    /// The topic.
    pub topic: TopicRef<'a>,
    /// The partition.
    pub partition: i32,
    /// What happened.
    pub error: ErrorCode,
    /// Timestamp of the record found, in ms since the Unix epoch; -1 if none was looked for (v1+; -1 in v0).
    pub timestamp: i64,
    /// The offset found; -1 if there is none (v1+). In v0, which answers with a list, the first one of it.
    pub offset: i64,
    /// Leader epoch of the record found, or of the leader; -1 if not known (v4+).
    pub leader_epoch: Option<i32>,
}

/// Where an epoch ends on the leader, as an OffsetForLeaderEpoch response says (KIP-320). A client that had read past it has
/// read records that are no longer in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochEnd<'a> {
    /// The request.
    pub seq: RequestSeq,
    /// The topic.
    pub topic: TopicRef<'a>,
    /// The partition.
    pub partition: i32,
    /// What happened.
    pub error: ErrorCode,
    /// Largest epoch that is not larger than the one asked for; -1 if there is none (v1+).
    pub leader_epoch: Option<i32>,
    /// The offset behind its last record; -1 if there is none.
    pub end_offset: i64,
}
