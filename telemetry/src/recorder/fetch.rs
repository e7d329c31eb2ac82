//! Fetch and ShareFetch: bytes and messages that consumers are given.

use kafkascope_protocol::{
    BatchHead, ErrorCode, Exchange, FetchPartition, Outcome, PartitionBatch, ShareAcquired, SharePartition, TopicIndex,
    TopicRef,
};

use super::Recorder;
use crate::labels::Api;
use crate::shard::Shard;
use crate::span::{Batch, ExchangeSpan, Operation};

/// What the response that is being read holds of a topic. Responses follow one another, so there is only one at a time.
#[derive(Debug)]
pub(super) struct Fetched {
    topic: TopicIndex,
    bytes: u64,
    messages: u64,
    error: ErrorCode,
    /// The partition, while there is only one.
    partition: Option<i32>,
}

impl Fetched {
    #[inline]
    fn add(&mut self, bytes: u64, error: ErrorCode) {
        self.bytes += bytes;
        if self.error.is_none() {
            self.error = error;
        }
    }
}

impl Recorder {
    #[inline(always)]
    pub(super) fn fetch_partition(&mut self, shard: &mut Shard, partition: &FetchPartition<'_>) {
        if partition.record_bytes == 0 && partition.error.is_none() {
            return;
        }
        self.got(shard, partition.topic, partition.partition, (partition.record_bytes, partition.error));
    }

    pub(super) fn share_partition(&mut self, shard: &mut Shard, partition: &SharePartition<'_>) {
        if partition.record_bytes > 0 {
            self.got(shard, partition.topic, partition.partition, (partition.record_bytes, ErrorCode::NONE));
        }
    }

    /// What a member of a share group was given is what it acquired of the batches.
    pub(super) fn share_acquired(&mut self, shard: &mut Shard, acquired: &ShareAcquired<'_>) {
        // No response holds more; whoever claims it must not make a total overflow.
        let records = acquired.records.min(u32::MAX.into());
        if records > 0 {
            self.fetched_of(shard, acquired.topic, acquired.partition).messages += records;
        }
    }

    #[inline(always)]
    fn got(&mut self, shard: &mut Shard, topic: TopicRef<'_>, partition: i32, (bytes, error): (u64, ErrorCode)) {
        self.fetched_of(shard, topic, partition).add(bytes, error);
        if shard.dictionary.settings().partitions {
            self.fetched_partitions.push((topic.index, partition, bytes));
        }
    }

    /// What the response holds of a topic, which is the last of `fetched` from now on.
    #[inline(never)]
    fn fetched_of(&mut self, shard: &mut Shard, topic: TopicRef<'_>, partition: i32) -> &mut Fetched {
        let index = topic.index;
        let slots = self.topic_slots(shard, topic);
        let known = slots.fetched;
        self.fetching = match self.fetched.get_mut(known) {
            Some(fetched) if fetched.topic == index => {
                fetched.partition = None;
                known
            }
            _ => {
                let new = self.fetched.len();
                self.topic_slots(shard, topic).fetched = new;
                let partition = Some(partition);
                self.fetched.push(Fetched { topic: index, bytes: 0, messages: 0, error: ErrorCode::NONE, partition });
                new
            }
        };
        &mut self.fetched[self.fetching]
    }

    #[inline(always)]
    pub(super) fn fetch_batch(&mut self, shard: &mut Shard, batch: &PartitionBatch<'_>) {
        if shard.spans.is_on() {
            self.polls(batch);
        }
        if let Some(fetched) = self.fetched.get_mut(self.fetching) {
            fetched.messages += if batch.aborted { 0 } else { delivered(&batch.head, batch.fetch_offset) };
        }
    }

    /// A Fetch or ShareFetch exchange has ended.
    pub(super) fn fetched(&mut self, shard: &mut Shard, exchange: &Exchange, follower: bool) {
        if self.fetched.is_empty() {
            return;
        }
        let mut partitions = std::mem::take(&mut self.fetched_partitions);
        if !follower {
            if exchange.api == Api::FETCH && shard.spans.is_on() && exchange.outcome != Outcome::Abandoned {
                self.poll_spans(shard, exchange);
            }
            let mut fetched = std::mem::take(&mut self.fetched);
            for topic in fetched.drain(..) {
                let by_partition = shard.dictionary.settings().partitions;
                let row = self.topic_row(shard, topic.topic, topic.bytes);
                row.bytes_out += if by_partition { 0 } else { topic.bytes };
                row.consumed += topic.messages;
            }
            for &(topic, partition, bytes) in &partitions {
                self.partition_row(shard, topic, partition, bytes).bytes_out += bytes;
            }
            self.fetched = fetched;
        }
        partitions.clear();
        partitions.shrink_to(64);
        self.fetched_partitions = partitions;
        self.fetched.clear();
        self.fetched.shrink_to(64);
    }

    /// A span for each topic of a response that is sampled or slow and has records, or failed.
    fn poll_spans(&mut self, shard: &mut Shard, exchange: &Exchange) {
        let merits = shard.spans.merits(self.seed, exchange);
        let fetched = std::mem::take(&mut self.fetched);
        for &Fetched { topic: index, partition, bytes, messages, error, .. } in &fetched {
            // An empty long poll is none.
            let kept = (bytes > 0 || !error.is_none()) && shard.spans.keeps(merits, error);
            if let Some(topic) = self.topic(index).filter(|_| kept).cloned() {
                let span = self.span(shard, exchange, Operation::Poll, topic);
                let span = self.linked(exchange, index, span);
                shard.spans.push(ExchangeSpan { partition, batch: Some(Batch { messages, bytes }), error, ..span });
            }
        }
        self.fetched = fetched;
    }
}

/// How many messages of a batch the consumer is given: none of a control batch or of one that is cut off, and none from
/// before the offset that it asked for. In a compacted batch it cannot be told which offsets are gone: the most that is
/// possible is taken.
#[inline]
fn delivered(head: &BatchHead, fetch_offset: Option<i64>) -> u64 {
    if head.is_control() || head.partial {
        return 0;
    }
    let records = head.records.unwrap_or(0);
    match fetch_offset {
        Some(wanted) if wanted > head.base_offset && head.magic >= 2 => {
            let offsets = i64::from(head.last_offset_delta) + 1;
            let left = offsets.saturating_sub(wanted.saturating_sub(head.base_offset)).max(0);
            u64::from(records).min(left as u64)
        }
        // The base offset of an uncompressed message of magic 0 or 1 is its own.
        Some(wanted) if wanted > head.base_offset => 0,
        _ => u64::from(records),
    }
}
