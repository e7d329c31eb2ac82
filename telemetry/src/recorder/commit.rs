//! OffsetCommit: a span for each topic.

use std::sync::Arc;

use kafkascope_protocol::{ErrorCode, Exchange};

use super::Recorder;
use super::group::{Part, Place};
use crate::attribute::NONE;
use crate::shard::Shard;
use crate::span::{ExchangeSpan, Operation};

impl Recorder {
    /// An OffsetCommit of these parts was answered.
    pub(super) fn commit_spans(
        &self,
        shard: &mut Shard,
        exchange: &Exchange,
        group: Option<&Arc<str>>,
        parts: &[(Place, Part)],
    ) {
        let merits = shard.spans.merits(self.seed, exchange);
        let group = group.cloned().unwrap_or_else(|| NONE.into());
        for parts in parts.chunk_by(|(part, _), (next, _)| part.0 == next.0) {
            let error = parts.iter().filter_map(|(_, part)| part.error).find(|error| !error.is_none());
            let error = error.unwrap_or(ErrorCode::NONE);
            if let Some((_, first)) = parts.first().filter(|_| shard.spans.keeps(merits, error)) {
                let partition = (parts.len() == 1).then_some(first.partition);
                let span = self.span(shard, exchange, Operation::Commit, first.topic.clone());
                shard.spans.push(ExchangeSpan { group: Some(group.clone()), partition, error, ..span });
            }
        }
    }
}
