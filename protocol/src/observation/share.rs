//! What ShareFetch and ShareAcknowledge say (KIP-932, v1+).

use crate::{ErrorCode, RequestSeq, TopicRef};

/// The start of a ShareFetch or ShareAcknowledge request's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShareHead<'a> {
    /// The request.
    pub seq: RequestSeq,
    /// The group.
    pub group: Option<&'a [u8]>,
    /// The member.
    pub member_id: Option<&'a [u8]>,
    /// 0: open a session. -1: end it. Else: the number of this request in it.
    pub session_epoch: i32,
}

/// A partition of a ShareFetch response. Its records are not looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SharePartition<'a> {
    /// The request.
    pub seq: RequestSeq,
    /// The topic.
    pub topic: TopicRef<'a>,
    /// The partition.
    pub partition: i32,
    /// What happened to the fetch.
    pub error: ErrorCode,
    /// What happened to the acknowledgements that came with the request.
    pub acknowledge_error: ErrorCode,
    /// Size of its record batches, heads included, in bytes.
    pub record_bytes: u64,
}

/// How many records the member has got, after the [`SharePartition`] they are of. Batches may hold others, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShareAcquired<'a> {
    /// The request.
    pub seq: RequestSeq,
    /// The topic.
    pub topic: TopicRef<'a>,
    /// The partition.
    pub partition: i32,
    /// Records in all acquired ranges.
    pub records: u64,
    /// Those of them that had been delivered before.
    pub redelivered: u64,
}

/// The broker's answer for one partition of a ShareAcknowledge request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShareAcknowledged<'a> {
    /// The request.
    pub seq: RequestSeq,
    /// The topic.
    pub topic: TopicRef<'a>,
    /// The partition.
    pub partition: i32,
    /// What happened.
    pub error: ErrorCode,
}
