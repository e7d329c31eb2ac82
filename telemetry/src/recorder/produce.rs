//! Produce: batches as sent, bytes and messages as accepted.

use std::collections::HashMap;
use std::ops::Range;

use kafkascope_protocol::{
    Codec, ErrorCode, Exchange, Outcome, PartitionBatch, ProducePartition, ProduceResult, RequestSeq, TopicIndex,
    TopicRef,
};

use super::Recorder;
use crate::compression::ONE;
use crate::labels::Labels;
use crate::shard::{Shard, Slot};
use crate::span::{Batch, ExchangeSpan, Operation};

/// Longer fill times come from record timestamps that the producer sets itself.
const LONGEST_FILL_MS: i64 = 3_600_000;

/// The partition answered with an error after the append: the records are there.
pub(super) const APPENDED: [ErrorCode; 3] = [
    ErrorCode::NONE,
    ErrorCode(7),  // REQUEST_TIMED_OUT
    ErrorCode(20), // NOT_ENOUGH_REPLICAS_AFTER_APPEND
];

/// A partition of a Produce request that has not ended.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) seq: RequestSeq,
    pub(super) topic: TopicIndex,
    pub(super) partition: i32,
    bytes: u64,
    pub(super) records: u64,
    /// `None` until the broker has answered.
    answer: Option<ErrorCode>,
}

impl Held {
    /// Whether it is this partition, and not answered yet.
    #[inline(always)]
    fn waits(&self, seq: RequestSeq, topic: TopicIndex, partition: i32) -> bool {
        self.seq == seq && self.topic == topic && self.partition == partition && self.answer.is_none()
    }
}

/// The partitions of all Produce requests that have not ended, in the order of the requests. Those that ended stay in
/// front until all have: a queue that is mostly emptied as a whole.
#[derive(Debug, Default)]
pub(super) struct HeldQueue {
    parts: Vec<Held>,
    /// Index of the first that has not ended.
    start: usize,
    /// Index where the next answer is looked for first.
    next_answer: usize,
    /// Whether the partition whose batches come is the last of `parts`.
    open: bool,
    /// Where the partitions of a large request are, once its answer has turned out to have another order.
    places: Option<Places>,
}

/// Where the partitions of a request are.
#[derive(Debug)]
struct Places {
    of: RequestSeq,
    by_partition: HashMap<(TopicIndex, i32), usize>,
}

/// Up to so many partitions of a request are looked through for the one that is answered.
const LOOKED_THROUGH: usize = 16;

impl HeldQueue {
    /// The broker's answer for a partition, wherever that is. Returns how many records it is for.
    #[inline(never)]
    fn answer(&mut self, seq: RequestSeq, topic: TopicIndex, partition: i32, error: ErrorCode) -> Option<u64> {
        let range = self.range(seq);
        let own = self.parts.get(range.clone()).unwrap_or_default();
        let index = if own.len() <= LOOKED_THROUGH {
            own.iter().position(|held| held.waits(seq, topic, partition)).map(|index| range.start + index)
        } else {
            if self.places.as_ref().is_none_or(|places| places.of != seq) {
                let places = own.iter().zip(range).map(|(held, index)| ((held.topic, held.partition), index));
                self.places = Some(Places { of: seq, by_partition: places.collect() });
            }
            self.places.as_ref().and_then(|places| places.by_partition.get(&(topic, partition)).copied())
        };
        if let Some(index) = index
            && let Some(held) = self.parts.get_mut(index)
            && held.waits(seq, topic, partition)
        {
            held.answer = Some(error);
            self.next_answer = index + 1;
            return Some(held.records);
        }
        None
    }

    /// The partition whose batches come.
    pub(super) fn being_read(&self) -> Option<&Held> {
        self.parts.last().filter(|_| self.open)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.parts.len() - self.start
    }

    /// The range of a request's parts.
    #[inline]
    fn range(&self, seq: RequestSeq) -> Range<usize> {
        let waiting = self.parts.get(self.start..).unwrap_or_default();
        // Requests end in order, except that one with acks=0 does not wait for those before it.
        let before = match waiting.first() {
            Some(first) if first.seq < seq => waiting.partition_point(|held| held.seq < seq),
            _ => 0,
        };
        let own = waiting.get(before..).unwrap_or_default();
        let count = match own.last() {
            Some(last) if last.seq == seq => own.len(),
            _ => own.partition_point(|held| held.seq == seq),
        };
        self.start + before..self.start + before + count
    }

    /// Forgets a request's parts.
    #[inline]
    fn remove(&mut self, range: Range<usize>) {
        // An earlier request may end while a later one is being read.
        self.open &= range.end < self.parts.len();
        self.places = None;
        if range.start == self.start {
            self.start = range.end;
            self.next_answer = range.end;
        } else {
            self.parts.drain(range);
        }
        if self.start == self.parts.len() {
            self.parts.clear();
            (self.start, self.next_answer) = (0, 0);
            // A request with thousands of partitions must not leave its memory to an idle connection.
            if self.parts.capacity() > 256 {
                self.parts.shrink_to(16);
            }
        } else if self.start > 256 {
            // A pipeline that never runs dry.
            self.parts.drain(..self.start);
            self.next_answer -= self.start;
            self.start = 0;
        }
    }
}

/// Where batches of a codec are counted.
#[derive(Debug)]
pub(super) struct BatchSlot {
    codec: Codec,
    slot: Slot,
}

/// Where the last batch of a connection was counted.
#[derive(Debug)]
pub(super) struct LastBatch {
    topic: TopicIndex,
    /// The bits of its attributes that say how it is compressed; none has [`Self::NO_CODEC`].
    codec: i16,
    slot: Slot,
}

impl LastBatch {
    const CODEC_BITS: i16 = 7;
    const NO_CODEC: i16 = -1;
    pub(super) const NONE: Self = Self { topic: TopicIndex::OVERFLOW, codec: Self::NO_CODEC, slot: Slot::NONE };

    pub(super) const fn slot(&self) -> Slot {
        self.slot
    }
}

impl Recorder {
    // Inlined, as all that is recorded for each batch: what of an observation is not used need then not be made.
    #[inline(always)]
    pub(super) fn produce_partition(&mut self, shard: &mut Shard, partition: &ProducePartition<'_>) {
        let topic = partition.topic.index;
        if topic != self.last_batch.topic || self.last_batch.codec == LastBatch::NO_CODEC {
            self.see_topic(shard, partition.topic);
        }
        // Never more than half of what the others have left: one connection must not blind the worker.
        self.held.open = self.held.len() < shard.free_partitions;
        if !self.held.open {
            return self.unjudged(shard, "too_many_in_flight", 1);
        }
        shard.free_partitions -= 1;
        self.held.parts.push(Held {
            seq: partition.seq,
            topic,
            partition: partition.partition,
            bytes: partition.record_bytes,
            records: 0,
            answer: None,
        });
    }

    #[inline(always)]
    pub(super) fn produce_batch(&mut self, shard: &mut Shard, batch: &PartitionBatch<'_>) {
        let head = &batch.head;
        let slot = self.slot_of_batch(shard, batch.topic, head.attributes);
        let row = shard.batches.row(slot);
        row.size.record(head.bytes);
        if head.magic >= 2 && head.codec() == Codec::None {
            row.ratio.record(ONE);
        }
        if let Some(records) = head.records {
            row.records.record(u64::from(records));
            if self.held.open
                && let Some(held) = self.held.parts.last_mut()
            {
                held.records += u64::from(records);
            }
        }
        // Before magic 2 a batch has one timestamp, and a delete horizon is no record's time.
        if head.magic >= 2 && head.base_timestamp >= 0 && !head.has_delete_horizon() {
            match head.max_timestamp.wrapping_sub(head.base_timestamp) {
                fill @ 0..=LONGEST_FILL_MS => row.fill.record(fill as u64 * 1_000_000),
                _ => row.fill_excluded += 1,
            }
        }
    }

    /// Where a batch of a topic and codec is counted.
    #[inline(always)]
    pub(super) fn slot_of_batch(&mut self, shard: &mut Shard, topic: TopicRef<'_>, attributes: i16) -> Slot {
        let last = &self.last_batch;
        if last.topic == topic.index && last.codec == attributes & LastBatch::CODEC_BITS {
            return last.slot;
        }
        self.batch_slot(shard, topic, attributes)
    }

    #[inline(never)]
    fn batch_slot(&mut self, shard: &mut Shard, topic: TopicRef<'_>, attributes: i16) -> Slot {
        let codec = Codec::of(attributes);
        let client = self.client.clone();
        let slots = self.topic_slots(shard, topic);
        let slot = match slots.batches.iter().find(|slot| slot.codec == codec) {
            Some(known) => known.slot,
            None => {
                let labels =
                    Labels { client, topic: Some(slots.topic.clone()), codec: Some(codec), ..Labels::default() };
                let slot = shard.batches.slot(labels, shard.now());
                slots.batches.push(BatchSlot { codec, slot });
                slot
            }
        };
        let codec = attributes & LastBatch::CODEC_BITS;
        self.last_batch = LastBatch { topic: topic.index, codec, slot };
        slot
    }

    /// Returns how many records the answer is for.
    #[inline(always)]
    pub(super) fn produce_result(&mut self, result: &ProduceResult<'_>) -> Option<u64> {
        self.link_result(result);
        let ProduceResult { seq, topic, partition, error, .. } = *result;
        let queue = &mut self.held;
        // A broker answers in an order of its own, but often it is that of the request.
        if let Some(held) = queue.parts.get_mut(queue.next_answer)
            && held.waits(seq, topic.index, partition)
        {
            held.answer = Some(error);
            queue.next_answer += 1;
            Some(held.records)
        } else {
            queue.answer(seq, topic.index, partition, error)
        }
    }

    /// A Produce request has ended.
    pub(super) fn produced(&mut self, shard: &mut Shard, exchange: &Exchange) {
        let range = self.held.range(exchange.seq);
        if range.is_empty() {
            return;
        }
        if shard.spans.is_on() && exchange.outcome != Outcome::Abandoned {
            self.send_spans(shard, exchange, range.clone());
        }
        shard.free_partitions += range.len();
        let by_partition = shard.dictionary.settings().partitions;
        let mut unread = 0;
        // What was appended to the topic of the last part, not yet counted.
        let (mut topic, mut bytes, mut records) = (TopicIndex::OVERFLOW, 0, 0);
        for index in range.clone() {
            let Some(held) = self.held.parts.get(index) else { break };
            let appended = match held.answer {
                Some(answer) => APPENDED.contains(&answer),
                None if exchange.outcome == Outcome::Unanswered => true,
                None => {
                    unread += 1;
                    false
                }
            };
            if !appended {
                continue;
            }
            let (next, more_bytes, more_records) = (held.topic, held.bytes, held.records);
            if by_partition {
                let partition = held.partition;
                self.partition_row(shard, next, partition, more_bytes).bytes_in += more_bytes;
            }
            if next != topic {
                self.appended(shard, topic, bytes, records);
                (topic, bytes, records) = (next, 0, 0);
            }
            bytes += more_bytes;
            records += more_records;
        }
        self.appended(shard, topic, bytes, records);
        self.held.remove(range);
        if unread > 0 {
            let reason = if exchange.outcome == Outcome::Answered { "answer_unread" } else { "abandoned" };
            self.unjudged(shard, reason, unread);
        }
    }

    #[inline]
    fn appended(&mut self, shard: &mut Shard, topic: TopicIndex, bytes: u64, records: u64) {
        if bytes > 0 {
            let by_partition = shard.dictionary.settings().partitions;
            let row = self.topic_row(shard, topic, bytes);
            row.bytes_in += if by_partition { 0 } else { bytes };
            row.produced += records;
        }
    }

    #[cold]
    fn unjudged(&mut self, shard: &mut Shard, reason: &'static str, partitions: u64) {
        let slot = shard.events.slot(Labels { reason: Some(reason), ..Labels::default() }, shard.now());
        shard.events.row(slot).unjudged += partitions;
    }

    /// A span for each topic of a request that is sampled, slow or failed.
    fn send_spans(&mut self, shard: &mut Shard, exchange: &Exchange, range: Range<usize>) {
        let merits = shard.spans.merits(self.seed, exchange);
        let parts = std::mem::take(&mut self.held.parts);
        for parts in parts.get(range).unwrap_or_default().chunk_by(|one, next| one.topic == next.topic) {
            let Some(first) = parts.first() else { continue };
            let errors = parts.iter().filter_map(|held| held.answer);
            let error = errors.fold(ErrorCode::NONE, |first, next| if first.is_none() { next } else { first });
            let topic = self.topic(first.topic).filter(|_| shard.spans.keeps(merits, error)).cloned();
            if let Some(topic) = topic {
                let span = self.span(shard, exchange, Operation::Send, topic);
                let span = self.linked(exchange, first.topic, span);
                let partition = (parts.len() == 1).then_some(first.partition);
                let messages = parts.iter().map(|held| held.records).sum();
                let bytes = parts.iter().map(|held| held.bytes).sum();
                shard.spans.push(ExchangeSpan { partition, batch: Some(Batch { messages, bytes }), error, ..span });
            }
        }
        self.held.parts = parts;
    }
}
