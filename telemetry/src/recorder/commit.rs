//! OffsetCommit: a span for each topic. What groups have committed is not counted here.

use std::sync::Arc;

use kafkascope_protocol::{
    CommitHead, CommitPartition, CommitResult, ErrorCode, Exchange, Outcome, RequestSeq, TopicIndex,
};

use super::Recorder;
use crate::attribute;
use crate::shard::Shard;
use crate::span::{ExchangeSpan, Operation};

/// Topics of commits that have not ended, a connection: a consumer has one commit in flight, with the topics it reads. Of
/// more there is no span.
const TOPICS: usize = 1_024;

/// The commits that have not ended.
#[derive(Debug, Default)]
pub(super) struct Commits {
    /// Whose commit is being read.
    group: Option<Arc<str>>,
    topics: Vec<Committing>,
}

/// A topic of a commit.
#[derive(Debug)]
struct Committing {
    seq: RequestSeq,
    topic: TopicIndex,
    group: Option<Arc<str>>,
    /// The partition, while there is only one.
    partition: Option<i32>,
    error: ErrorCode,
}

impl Recorder {
    pub(super) fn commit_span_begins(&mut self, shard: &mut Shard, head: &CommitHead<'_>) {
        self.commits.group = None;
        if shard.spans.is_on() && head.transaction.is_none() {
            self.commits.group = Some(attribute::text(Some(head.group)).into());
        }
    }

    pub(super) fn commit_span_asks(&mut self, shard: &mut Shard, commit: &CommitPartition<'_>) {
        let (seq, topic) = (commit.seq, commit.topic.index);
        let Some(group) = &self.commits.group else { return };
        if let Some(last) = self.commits.topics.last_mut().filter(|last| (last.seq, last.topic) == (seq, topic)) {
            last.partition = None;
            return;
        }
        if self.commits.topics.len() >= TOPICS {
            return shard.spans.too_many();
        }
        let (group, partition) = (Some(group.clone()), Some(commit.partition));
        self.commits.topics.push(Committing { seq, topic, group, partition, error: ErrorCode::NONE });
        self.see_topic(shard, commit.topic);
    }

    pub(super) fn commit_span_is_told(&mut self, result: &CommitResult<'_>) {
        let of = (result.seq, result.topic.index);
        if let Some(topic) = self.commits.topics.iter_mut().find(|topic| (topic.seq, topic.topic) == of)
            && topic.error.is_none()
        {
            topic.error = result.error;
        }
    }

    /// An OffsetCommit exchange has ended.
    pub(super) fn committed(&mut self, shard: &mut Shard, exchange: &Exchange) {
        if self.commits.topics.is_empty() {
            return;
        }
        let merits = shard.spans.merits(self.seed, exchange);
        let ended: Vec<_> = self.commits.topics.extract_if(.., |topic| topic.seq == exchange.seq).collect();
        if exchange.outcome == Outcome::Abandoned {
            return;
        }
        for Committing { topic, group, partition, error, .. } in ended {
            if let Some(topic) = self.topic(topic).filter(|_| shard.spans.keeps(merits, error)) {
                let span = self.span(shard, exchange, Operation::Commit, topic.clone());
                shard.spans.push(ExchangeSpan { group, partition, error, ..span });
            }
        }
    }
}
