//! What Fetch says.

use crate::{ErrorCode, RequestSeq, TopicRef};

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

/// A partition that a Fetch request takes out of its session (KIP-227, v7+): it is not fetched any more. A client that has
/// records of it in store may do so, too, and name it again once it has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchForgotten<'a> {
    /// The request.
    pub seq: RequestSeq,
    /// The topic.
    pub topic: TopicRef<'a>,
    /// The partition.
    pub partition: i32,
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

/// Where the client's log and the leader's part (KIP-595, v12+): what the client has read past `end_offset` is no longer in
/// the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DivergingEpoch<'a> {
    /// The request.
    pub seq: RequestSeq,
    /// The topic.
    pub topic: TopicRef<'a>,
    /// The partition.
    pub partition: i32,
    /// Largest epoch that both have; -1 if there is none.
    pub epoch: i32,
    /// The offset behind its last record on the leader; -1 if there is none.
    pub end_offset: i64,
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
