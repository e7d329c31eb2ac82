//! Record batches, which Produce and Fetch have in common.

use crate::{Direction, RequestSeq, TopicRef};

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
    /// Fetch only: its transaction was aborted, so a `read_committed` consumer does not deliver it. Known from the response
    /// itself (v4+), which says it to such consumers only.
    pub aborted: bool,
    /// The batch.
    pub head: BatchHead,
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
