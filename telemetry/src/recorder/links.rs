//! Records that are kept to find what the spans of their request or response are linked to.
//!
//! Whose records are kept is decided before anything of them is looked at: those of sampled exchanges, as far as the
//! worker's [budget](crate::span) goes. What a span of an exchange that failed or was slow would be linked to is not
//! known, since nobody knew in time that it would be kept.

use std::sync::Arc;

use kafkascope_protocol::{
    BatchHead, BatchPlan, Captured, Codec, Direction, Exchange, PartitionBatch, ProduceResult, RequestSeq, TopicIndex,
};

use super::Recorder;
use super::compression::records_bytes;
use crate::compression::{LONGEST, Missed};
use crate::shard::Shard;
use crate::span::ExchangeSpan;
use crate::span::contexts::{Contexts, Expected};

/// Topics of sampled exchanges that have not ended, a connection. Those of more have no links.
const TOPICS: usize = 1_024;

/// The links of the sampled exchanges of a connection that have not ended. Most connections have none.
#[derive(Debug, Default)]
pub(super) struct Links {
    topics: Vec<Linked>,
    /// What will be found in the batch that is being kept, of a request and of a response.
    expected: [Option<(RequestSeq, Expected)>; 2],
    /// The batch of a response that comes.
    polled: Option<Polled>,
}

/// A topic of a sampled exchange.
#[derive(Debug)]
struct Linked {
    seq: RequestSeq,
    topic: TopicIndex,
    contexts: Arc<Contexts>,
    /// Base offsets by partition, as the broker answered.
    bases: Vec<(i32, Option<i64>)>,
}

/// A batch of a response.
#[derive(Debug, Clone, Copy)]
struct Polled {
    seq: RequestSeq,
    topic: TopicIndex,
    partition: i32,
    /// The consumer is given nothing from before it.
    wanted: i64,
    aborted: bool,
}

impl Recorder {
    /// A batch of a response comes.
    #[inline(never)]
    pub(super) fn polls(&mut self, batch: &PartitionBatch<'_>) {
        let &PartitionBatch { seq, topic, partition, fetch_offset, aborted, .. } = batch;
        let wanted = fetch_offset.unwrap_or(i64::MIN);
        let polled = Polled { seq, topic: topic.index, partition, wanted, aborted };
        self.links.get_or_insert_default().polled = Some(polled);
    }

    /// What is wanted of it.
    pub(super) fn plan_of_fetched(&mut self, shard: &mut Shard, head: &BatchHead) -> BatchPlan {
        match self.keeps_for_links(shard, Direction::Response, head) {
            true => BatchPlan::Capture(LONGEST as u32),
            false => BatchPlan::Skip,
        }
    }

    /// Whether the records of the batch that was recorded last are kept for a span.
    #[inline(never)]
    pub(super) fn keeps_for_links(&mut self, shard: &mut Shard, direction: Direction, head: &BatchHead) -> bool {
        let links = self.links.get_or_insert_default();
        links.expected[direction as usize] = None;
        let bytes = records_bytes(head);
        let readable = head.magic >= 2 && !head.partial && !head.is_control() && bytes > 0;
        let batch = match direction {
            Direction::Request => self.held.being_read().map(|held| {
                // Of more than one batch in a partition the later ones go on where those before end.
                let before = held.records.saturating_sub(head.records.unwrap_or(0).into());
                (held.seq, held.topic, held.partition, i64::try_from(before).unwrap_or(i64::MAX), i64::MIN)
            }),
            Direction::Response => links
                .polled
                .filter(|polled| !polled.aborted && !self.follower)
                .map(|polled| (polled.seq, polled.topic, polled.partition, head.base_offset, polled.wanted)),
        };
        let Some((seq, topic, partition, base, wanted)) = batch.filter(|_| readable) else { return false };
        if !shard.spans.samples(self.seed, seq) {
            return false;
        }
        let Some(linked) = links.of(seq, topic) else {
            shard.links_missed(Missed::Budget);
            return false;
        };
        let missed = match head.codec() {
            Codec::Unknown(_) => Some(Missed::Malformed),
            _ if bytes > LONGEST => Some(Missed::TooLarge),
            _ if !shard.spans.allows_records(bytes) => Some(Missed::Budget),
            _ => None,
        };
        if let Some(missed) = missed {
            linked.contexts.miss();
            shard.links_missed(missed);
            return false;
        }
        if direction == Direction::Request && linked.bases.iter().all(|&(of, _)| of != partition) {
            linked.bases.push((partition, None));
        }
        let expected = linked.contexts.expect(partition, base, wanted);
        links.expected[direction as usize] = Some((seq, expected));
        true
    }

    /// What will be found in a batch, if it was kept for that.
    pub(super) fn expected(&mut self, captured: &Captured<'_>) -> Option<Expected> {
        let place = self.links.as_mut()?.expected.get_mut(captured.direction as usize)?;
        place.take().filter(|(seq, _)| *seq == captured.seq).map(|(_, expected)| expected)
    }

    /// The broker's answer tells the offsets of a partition's records.
    #[inline]
    pub(super) fn link_result(&mut self, result: &ProduceResult<'_>) {
        let Some(links) = self.links.as_mut().filter(|_| result.base_offset >= 0) else { return };
        let of = (result.seq, result.topic.index);
        let linked = links.topics.iter_mut().filter(|linked| (linked.seq, linked.topic) == of);
        let bases = linked.flat_map(|linked| &mut linked.bases);
        if let Some((_, base)) = bases.into_iter().find(|(partition, _)| *partition == result.partition) {
            *base = Some(result.base_offset);
        }
    }

    /// Gives a span its links.
    pub(super) fn linked(&mut self, exchange: &Exchange, topic: TopicIndex, span: ExchangeSpan) -> ExchangeSpan {
        let Some(links) = &mut self.links else { return span };
        let of = (exchange.seq, topic);
        let index = links.topics.iter().position(|linked| (linked.seq, linked.topic) == of);
        let Some(index) = index else { return span };
        let Linked { contexts, bases, .. } = links.topics.swap_remove(index);
        ExchangeSpan { contexts: Some(contexts), bases: bases.into(), ..span }
    }

    /// An exchange has ended, and its spans are made.
    #[inline]
    pub(super) fn forget_links(&mut self, seq: RequestSeq) {
        let Some(links) = &mut self.links else { return };
        links.topics.retain(|linked| linked.seq != seq);
        for place in &mut links.expected {
            // The worker's budget for captures may have refused it.
            if place.as_ref().is_some_and(|(of, _)| *of == seq) {
                *place = None;
            }
        }
    }
}

impl Links {
    /// Those of a topic in an exchange. `None`: there are too many.
    fn of(&mut self, seq: RequestSeq, topic: TopicIndex) -> Option<&mut Linked> {
        let known = self.topics.iter().rposition(|linked| (linked.seq, linked.topic) == (seq, topic));
        let index = match known {
            Some(index) => index,
            None if self.topics.len() >= TOPICS => return None,
            None => {
                let contexts = Arc::default();
                self.topics.push(Linked { seq, topic, contexts, bases: Vec::new() });
                self.topics.len() - 1
            }
        };
        self.topics.get_mut(index)
    }
}
