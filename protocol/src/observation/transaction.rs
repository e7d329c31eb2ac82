//! Idempotent and transactional producers (KIP-98).

use crate::{ErrorCode, RequestSeq};

/// A producer's transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transaction<'a> {
    /// The name that the application gave.
    pub transactional_id: &'a [u8],
    /// The producer.
    pub producer_id: i64,
    /// Its epoch.
    pub producer_epoch: i16,
}

/// An InitProducerId request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InitProducer<'a> {
    /// The request.
    pub seq: RequestSeq,
    /// The name that the application gave; `None` for a producer that is idempotent only.
    pub transactional_id: Option<&'a [u8]>,
    /// After how long the coordinator aborts a transaction, in milliseconds.
    pub timeout_ms: i32,
}

/// The identity that a producer has from here on: the response to InitProducerId, and to EndTxn v5+ (KIP-890), after which
/// the epoch is a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerIdentity {
    /// The request.
    pub seq: RequestSeq,
    /// What happened.
    pub error: ErrorCode,
    /// The producer; -1 on error.
    pub producer_id: i64,
    /// Its epoch; -1 on error.
    pub producer_epoch: i16,
}

/// An AddOffsetsToTxn request: offsets of `group` will be committed with the transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransactionGroup<'a> {
    /// The request.
    pub seq: RequestSeq,
    /// The transaction.
    pub transaction: Transaction<'a>,
    /// The group.
    pub group: &'a [u8],
}

/// An EndTxn request. Whether it was done is told by the [`Exchange`](crate::Exchange)'s error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransactionEnd<'a> {
    /// The request.
    pub seq: RequestSeq,
    /// The transaction.
    pub transaction: Transaction<'a>,
    /// Committed, not aborted.
    pub committed: bool,
}
