//! Produce: batches as sent, bytes and messages as accepted.

use kafkascope_protocol::{
    Codec, ErrorCode, Exchange, Outcome, PartitionBatch, ProducePartition, ProduceResult, RequestSeq, TopicIndex,
};

use super::Recorder;
use crate::labels::Labels;
use crate::shard::{Shard, Slot};
use crate::span::Operation;

/// Longer fill times come from record timestamps that the producer sets itself.
const LONGEST_FILL_MS: i64 = 3_600_000;

/// The partition answered with an error after the append: the records are there.
const APPENDED: [ErrorCode; 3] = [
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
    pub(super) bytes: u64,
    pub(super) records: u64,
    /// `None` until the broker has answered.
    pub(super) answer: Option<ErrorCode>,
}

/// Where batches of a codec are counted.
#[derive(Debug)]
pub(super) struct BatchSlot {
    codec: Codec,
    slot: Slot,
}

impl Recorder {
    pub(super) fn produce_partition(&mut self, shard: &mut Shard, partition: &ProducePartition<'_>) {
        self.topic_slots(shard, partition.topic);
        self.holding = shard.free_partitions > 0;
        if !self.holding {
            return self.unjudged(shard, "too_many_in_flight", 1);
        }
        shard.free_partitions -= 1;
        self.held.push_back(Held {
            seq: partition.seq,
            topic: partition.topic.index,
            partition: partition.partition,
            bytes: partition.record_bytes,
            records: 0,
            answer: None,
        });
    }

    pub(super) fn produce_batch(&mut self, shard: &mut Shard, batch: &PartitionBatch<'_>) {
        let head = &batch.head;
        if self.holding
            && let Some(held) = self.held.back_mut()
        {
            held.records += u64::from(head.records.unwrap_or(0));
        }
        let codec = head.codec();
        let slots = self.topic_slots(shard, batch.topic);
        let slot = match slots.batches.first() {
            Some(last) if last.codec == codec => last.slot,
            _ => self.other_batch_slot(shard, batch, codec),
        };
        let row = shard.batches.row(slot);
        row.size.record_count(head.bytes);
        if let Some(records) = head.records {
            row.records.record_count(u64::from(records));
        }
        // Before magic 2 a batch has one timestamp, and a delete horizon is no record's time.
        if head.magic >= 2 && head.base_timestamp >= 0 && !head.has_delete_horizon() {
            match head.max_timestamp.wrapping_sub(head.base_timestamp) {
                fill @ 0..=LONGEST_FILL_MS => row.fill.record_nanos(fill as u64 * 1_000_000),
                _ => row.fill_excluded += 1,
            }
        }
    }

    #[inline(never)]
    fn other_batch_slot(&mut self, shard: &mut Shard, batch: &PartitionBatch<'_>, codec: Codec) -> Slot {
        let client = self.client.clone();
        let slots = self.topic_slots(shard, batch.topic);
        match slots.batches.iter().position(|slot| slot.codec == codec) {
            Some(index) => slots.batches.swap(0, index),
            None => {
                let topic = Some(slots.topic.clone());
                let labels = Labels { client, topic, codec: Some(codec), ..Labels::default() };
                let slot = shard.batches.slot(labels, shard.now());
                slots.batches.insert(0, BatchSlot { codec, slot });
            }
        }
        slots.batches.first().map_or(Slot::NONE, |first| first.slot)
    }

    pub(super) fn produce_result(&mut self, shard: &mut Shard, result: &ProduceResult<'_>) {
        let asked = |held: &Held| {
            held.seq == result.seq
                && held.topic == result.topic.index
                && held.partition == result.partition
                && held.answer.is_none()
        };
        // A broker answers in an order of its own, but often it is that of the request.
        let index = match self.held.get(self.next_answer) {
            Some(held) if asked(held) => self.next_answer,
            _ => match self.held.iter().position(asked) {
                Some(index) => index,
                None => return,
            },
        };
        self.next_answer = index + 1;
        let Some(held) = self.held.get_mut(index) else { return };
        held.answer = Some(result.error);
        if APPENDED.contains(&result.error) {
            let (topic, bytes, records) = (held.topic, held.bytes, held.records);
            self.appended(shard, topic, bytes, records);
        }
    }

    fn appended(&mut self, shard: &mut Shard, topic: TopicIndex, bytes: u64, records: u64) {
        if let Some(row) = self.topic_row(shard, topic) {
            row.bytes_in += bytes;
            row.produced += records;
        }
    }

    /// A Produce request has ended.
    pub(super) fn produced(&mut self, shard: &mut Shard, exchange: &Exchange) {
        let seq = exchange.seq;
        // Requests end in order, except that one with acks=0 does not wait for those before it.
        let start = match self.held.front() {
            None => return,
            Some(first) if first.seq == seq => 0,
            Some(_) => self.held.partition_point(|held| held.seq < seq),
        };
        let parts = self.held.iter().skip(start).take_while(|held| held.seq == seq).count();
        if shard.spans.is_on() {
            self.send_spans(shard, exchange, start, parts);
        }
        let mut unread = 0;
        for _ in 0..parts {
            let held = if start == 0 { self.held.pop_front() } else { self.held.remove(start) };
            let Some(held) = held else { break };
            if held.answer.is_none() {
                match exchange.outcome {
                    Outcome::Unanswered => self.appended(shard, held.topic, held.bytes, held.records),
                    Outcome::Answered | Outcome::Abandoned => unread += 1,
                }
            }
        }
        shard.free_partitions += parts;
        self.next_answer = 0;
        self.holding = false;
        if unread > 0 {
            let reason = if exchange.outcome == Outcome::Answered { "answer_unread" } else { "abandoned" };
            self.unjudged(shard, reason, unread);
        }
        // A request with thousands of partitions must not leave its memory to an idle connection.
        if self.held.is_empty() && self.held.capacity() > 256 {
            self.held.shrink_to(16);
        }
    }

    #[cold]
    fn unjudged(&mut self, shard: &mut Shard, reason: &'static str, partitions: u64) {
        let slot = shard.events.slot(Labels { reason: Some(reason), ..Labels::default() }, shard.now());
        shard.events.row(slot).unjudged += partitions;
    }

    /// A span for each topic of a request that is sampled or failed.
    fn send_spans(&mut self, shard: &mut Shard, exchange: &Exchange, start: usize, parts: usize) {
        let sampled = shard.spans.samples(self.seed, exchange.seq);
        if exchange.outcome == Outcome::Abandoned || (!sampled && exchange.error.is_none()) {
            return;
        }
        let part = |index: usize| self.held.get(index).filter(|_| index < start + parts);
        let mut index = start;
        while let Some(first) = part(index) {
            let (mut messages, mut bytes, mut error, mut partition) = (0, 0, ErrorCode::NONE, Some(first.partition));
            let from = index;
            while let Some(held) = part(index).filter(|held| held.topic == first.topic) {
                messages += held.records;
                bytes += held.bytes;
                if error.is_none() {
                    error = held.answer.unwrap_or_default();
                }
                index += 1;
            }
            if index - from > 1 {
                partition = None;
            }
            if (sampled || !error.is_none())
                && let Some(topic) = self.topic(first.topic)
            {
                let span = self.span(shard, exchange, Operation::Send, topic.clone());
                shard.spans.push(crate::span::Span { partition, messages, bytes, error, ..span });
            }
        }
    }
}
