//! A sink that keeps every observation, and the laws that hold for any sequence of them.

use std::collections::{HashMap, HashSet};

use kafkascope_protocol::{
    BatchHead, BatchPlan, Direction, Exchange, Observation, Outcome, RequestSeq, Sink, Times, Timestamp, TopicIndex,
    TopicLabel, TopicRef,
};

pub(crate) use super::arena::Arena;

/// What the sink answers at a batch head.
pub(crate) type Plan = fn(&BatchHead) -> BatchPlan;

/// Keeps every observation in order.
pub(crate) struct Log<'a> {
    arena: &'a Arena,
    plan: Plan,
    pub(crate) facts: Vec<Observation<'a>>,
    /// Batch heads that the sink was asked about.
    pub(crate) asked: Vec<BatchHead>,
}

impl<'a> Log<'a> {
    pub(crate) fn new(arena: &'a Arena) -> Self {
        Self::with_plan(arena, |_| BatchPlan::Skip)
    }

    pub(crate) fn with_plan(arena: &'a Arena, plan: Plan) -> Self {
        Self { arena, plan, facts: Vec::new(), asked: Vec::new() }
    }

    pub(crate) fn exchanges(&self) -> Vec<Exchange> {
        self.facts
            .iter()
            .filter_map(|fact| if let Observation::Exchange(it) = fact { Some(**it) } else { None })
            .collect()
    }

    /// All observations but the exchanges, then the exchanges by request, without times. Where an exchange stands among
    /// the others depends on when bytes were written, the rest only on the bytes.
    pub(crate) fn timeless(&self) -> (Vec<Observation<'a>>, Vec<Exchange>) {
        let mut exchanges = self.exchanges();
        exchanges.sort_by_key(|exchange| exchange.seq);
        for exchange in &mut exchanges {
            exchange.times = Times {
                previous_response_last: exchange.times.previous_response_last.map(|_| Timestamp(0)),
                ..Times::default()
            };
        }
        let facts = self
            .facts
            .iter()
            .filter(|fact| !matches!(fact, Observation::Exchange(_)))
            .map(|fact| match *fact {
                Observation::RequestHead(mut head) => {
                    head.first_byte = Timestamp(0);
                    Observation::RequestHead(head)
                }
                other => other,
            })
            .collect();
        (facts, exchanges)
    }

    /// Panics unless the laws hold that every sequence of observations obeys, complete (after `on_close`) or not.
    pub(crate) fn assert_lawful(&self, closed: bool) {
        let mut open: HashMap<RequestSeq, Exchange> = HashMap::new();
        let mut next = 0;
        let mut counts = [0_u64; 3];
        let mut client_known = false;
        let mut labels: HashMap<TopicIndex, TopicLabel<'_>> = HashMap::new();
        for fact in &self.facts {
            match fact {
                Observation::Client(_) => client_known = true,
                Observation::RequestHead(head) => {
                    let info = head.api.info().filter(|info| info.knows(head.version));
                    let has_client = info.is_some_and(|info| info.request_header(head.version) > 0);
                    assert!(client_known || !has_client, "a request before its client");
                    assert_eq!(head.seq.0, next, "requests are numbered without a hole");
                    next += 1;
                    let expected = Exchange {
                        seq: head.seq,
                        api: head.api,
                        version: head.version,
                        correlation_id: head.correlation_id,
                        outcome: Outcome::Answered,
                        request_bytes: head.frame_bytes,
                        response_bytes: 0,
                        times: Times { request_first: head.first_byte, ..Times::default() },
                        error: kafkascope_protocol::ErrorCode::NONE,
                        throttle_ms: None,
                        acks: None,
                        fetch: None,
                    };
                    open.insert(head.seq, expected);
                }
                Observation::Exchange(exchange) => {
                    let head = open.remove(&exchange.seq).expect("an exchange ends a request that is open");
                    assert_eq!(
                        (head.api, head.version, head.correlation_id, head.request_bytes, head.times.request_first),
                        (
                            exchange.api,
                            exchange.version,
                            exchange.correlation_id,
                            exchange.request_bytes,
                            exchange.times.request_first
                        )
                    );
                    counts[exchange.outcome as usize] += 1;
                    if exchange.outcome == Outcome::Answered {
                        assert!(exchange.response_bytes >= 8, "a response has a length and a correlation id");
                    } else if exchange.outcome == Outcome::Unanswered {
                        assert_eq!(exchange.response_bytes, 0, "no response, no bytes: {exchange:?}");
                    }
                }
                other => {
                    if let Some(seq) = seq_of(other) {
                        assert!(open.contains_key(&seq), "after its exchange: {other:?}");
                    }
                }
            }
            if let Some(topic) = topic_of(fact).filter(|topic| topic.index != TopicIndex::OVERFLOW) {
                assert_eq!(
                    *labels.entry(topic.index).or_insert(topic.label()),
                    topic.label(),
                    "an index means one topic"
                );
            }
        }
        let distinct: HashSet<String> = labels.values().map(|label| format!("{label:?}")).collect();
        assert_eq!(distinct.len(), labels.len(), "a topic has one index");
        assert_eq!(next, counts.iter().sum::<u64>() + open.len() as u64);
        if closed {
            assert!(open.is_empty(), "requests without an end: {open:?}");
        }
    }
}

impl Sink for Log<'_> {
    fn observe(&mut self, observation: Observation<'_>) {
        self.facts.push(self.arena.keep(observation));
    }

    fn at_batch(&mut self, _direction: Direction, head: &BatchHead) -> BatchPlan {
        self.asked.push(*head);
        (self.plan)(head)
    }
}

/// A match over the observations named first, all of which have a field called `$field`.
macro_rules! field_of {
    ($observation:expr, $field:ident: $($kind:ident)*) => {
        match $observation {
            $(Observation::$kind(it) => Some(it.$field),)*
            _ => None,
        }
    };
}

/// The request that an observation belongs to, when it names one.
pub(crate) fn seq_of(observation: &Observation<'_>) -> Option<RequestSeq> {
    field_of!(
        observation,
        seq: RequestHead ProduceHead ProducePartition ProduceBatch ProduceResult FetchHead FetchAsked FetchForgotten FetchPartition
        FetchBatch DivergingEpoch CurrentLeader Broker Controller TopicMetadata PartitionMetadata TopicCreated TopicDeleted
        CommitHead CommitPartition CommitResult CommittedGroup CommittedOffset ListOffsetsHead OffsetAsked OffsetListed
        EpochEnd CoordinatorAsked Coordinator JoinGroup JoinReason JoinedGroup GroupMember SyncGroup SyncedGroup
        AssignedTopic Heartbeat LeaveGroup LeavingMember GroupHeartbeat OwnedPartitions OwnedTopic GroupHeartbeatResult
        GroupDeleted GroupDescribed MemberDescribed InitProducer ProducerIdentity TransactionGroup TransactionEnd ShareFetchHead
        SharePartition ShareAcquired ShareAcknowledgeHead ShareAcknowledged Captured Measured Exchange
    )
}

fn topic_of<'a>(observation: &Observation<'a>) -> Option<TopicRef<'a>> {
    field_of!(
        observation,
        topic: ProducePartition ProduceBatch ProduceResult FetchAsked FetchForgotten FetchPartition FetchBatch DivergingEpoch
        CurrentLeader CommitPartition CommitResult CommittedOffset OffsetAsked OffsetListed EpochEnd AssignedTopic
        OwnedTopic SharePartition ShareAcquired ShareAcknowledged Captured Measured
    )
}
