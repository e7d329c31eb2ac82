//! A sink that keeps every observation, and the laws that hold for any sequence of them.

use std::collections::{HashMap, HashSet};

use kafkascope_protocol::{
    BatchHead, BatchPlan, Broker, Captured, Direction, Exchange, FetchAsked, FetchPartition, Measured, NodeIds,
    Observation, Outcome, PartitionBatch, PartitionMetadata, ProduceHead, ProducePartition, ProduceResult, RequestSeq,
    Sink, Times, Timestamp, TopicIndex, TopicLabel, TopicMetadata, TopicRef,
};

/// Owns what kept observations borrow.
#[derive(Default)]
pub(crate) struct Arena {
    bytes: typed_arena::Arena<u8>,
    exchanges: typed_arena::Arena<Exchange>,
}

impl Arena {
    fn bytes(&self, bytes: &[u8]) -> &[u8] {
        self.bytes.alloc_extend(bytes.iter().copied())
    }

    fn topic(&self, topic: TopicRef<'_>) -> TopicRef<'_> {
        let label = match topic.label() {
            TopicLabel::Name(name) => TopicLabel::Name(self.bytes(name)),
            TopicLabel::Id(id) => TopicLabel::Id(id),
        };
        TopicRef::new(topic.index, label)
    }

    fn nodes(&self, nodes: NodeIds<'_>) -> NodeIds<'_> {
        let bytes: Vec<u8> = nodes.iter().flat_map(i32::to_be_bytes).collect();
        NodeIds::from_wire(self.bytes(&bytes))
    }

    /// `observation`, borrowing from here.
    pub(crate) fn keep(&self, observation: Observation<'_>) -> Observation<'_> {
        match observation {
            Observation::Client(id) => Observation::Client(id.map(|id| self.bytes(id))),
            Observation::Software { name, version } => {
                Observation::Software { name: self.bytes(name), version: self.bytes(version) }
            }
            Observation::Principal { mechanism, name } => {
                Observation::Principal { mechanism: self.bytes(mechanism), name: self.bytes(name) }
            }
            Observation::RequestHead(head) => Observation::RequestHead(head),
            Observation::ProduceHead(head) => Observation::ProduceHead(ProduceHead {
                transactional_id: head.transactional_id.map(|id| self.bytes(id)),
                ..head
            }),
            Observation::ProducePartition(it) => {
                Observation::ProducePartition(ProducePartition { topic: self.topic(it.topic), ..it })
            }
            Observation::ProduceBatch(it) => {
                Observation::ProduceBatch(PartitionBatch { topic: self.topic(it.topic), ..it })
            }
            Observation::ProduceResult(it) => {
                Observation::ProduceResult(ProduceResult { topic: self.topic(it.topic), ..it })
            }
            Observation::FetchHead(head) => Observation::FetchHead(head),
            Observation::FetchAsked(it) => Observation::FetchAsked(FetchAsked { topic: self.topic(it.topic), ..it }),
            Observation::FetchPartition(it) => {
                Observation::FetchPartition(FetchPartition { topic: self.topic(it.topic), ..it })
            }
            Observation::FetchBatch(it) => {
                Observation::FetchBatch(PartitionBatch { topic: self.topic(it.topic), ..it })
            }
            Observation::Broker(it) => Observation::Broker(Broker { host: self.bytes(it.host), ..it }),
            Observation::ClusterId(id) => Observation::ClusterId(self.bytes(id)),
            Observation::TopicMetadata(it) => {
                Observation::TopicMetadata(TopicMetadata { name: it.name.map(|name| self.bytes(name)), ..it })
            }
            Observation::PartitionMetadata(it) => Observation::PartitionMetadata(PartitionMetadata {
                name: it.name.map(|name| self.bytes(name)),
                replicas: self.nodes(it.replicas),
                in_sync: self.nodes(it.in_sync),
                offline: self.nodes(it.offline),
                ..it
            }),
            Observation::Captured(it) => {
                Observation::Captured(Captured { topic: self.topic(it.topic), bytes: self.bytes(it.bytes), ..it })
            }
            Observation::Measured(it) => Observation::Measured(Measured { topic: self.topic(it.topic), ..it }),
            Observation::CaptureRefused { bytes } => Observation::CaptureRefused { bytes },
            Observation::Exchange(exchange) => Observation::Exchange(self.exchanges.alloc(*exchange)),
            Observation::Undecoded(it) => Observation::Undecoded(it),
            Observation::Unsolicited { correlation_id, bytes } => Observation::Unsolicited { correlation_id, bytes },
            Observation::LostSync(it) => Observation::LostSync(it),
            other => panic!("a new observation that the log does not keep: {other:?}"),
        }
    }
}

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

/// The request that an observation belongs to, when it names one.
pub(crate) fn seq_of(observation: &Observation<'_>) -> Option<RequestSeq> {
    match observation {
        Observation::RequestHead(it) => Some(it.seq),
        Observation::ProduceHead(it) => Some(it.seq),
        Observation::ProducePartition(it) => Some(it.seq),
        Observation::ProduceBatch(it) | Observation::FetchBatch(it) => Some(it.seq),
        Observation::ProduceResult(it) => Some(it.seq),
        Observation::FetchHead(it) => Some(it.seq),
        Observation::FetchAsked(it) => Some(it.seq),
        Observation::FetchPartition(it) => Some(it.seq),
        Observation::Broker(it) => Some(it.seq),
        Observation::TopicMetadata(it) => Some(it.seq),
        Observation::PartitionMetadata(it) => Some(it.seq),
        Observation::Captured(it) => Some(it.seq),
        Observation::Measured(it) => Some(it.seq),
        Observation::Exchange(it) => Some(it.seq),
        _ => None,
    }
}

fn topic_of<'a>(observation: &Observation<'a>) -> Option<TopicRef<'a>> {
    match observation {
        Observation::ProducePartition(it) => Some(it.topic),
        Observation::ProduceBatch(it) | Observation::FetchBatch(it) => Some(it.topic),
        Observation::ProduceResult(it) => Some(it.topic),
        Observation::FetchAsked(it) => Some(it.topic),
        Observation::FetchPartition(it) => Some(it.topic),
        Observation::Captured(it) => Some(it.topic),
        Observation::Measured(it) => Some(it.topic),
        _ => None,
    }
}
