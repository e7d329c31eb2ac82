//! What Produce says.

use crate::{ErrorCode, RequestSeq, TopicRef};

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
