//! A worker, a registry and a clock, and connections that are told hand-made observations.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test stops at what it does not expect")]

pub mod groups;

use std::collections::HashMap;
use std::sync::Arc;

use kafkascope_protocol::{
    Acks, ApiKey, ApiVersion, BatchHead, CorrelationId, Depth, ErrorCode, Exchange, FetchHead, FetchPartition,
    FetchSummary, FetchWait, Observation, Outcome, PartitionBatch, ProduceHead, ProducePartition, ProduceResult,
    RequestHead, RequestSeq, Sink, Times, Timestamp, TopicId, TopicIndex, TopicLabel, TopicMetadata, TopicRef,
};
use kafkascope_telemetry::histogram::Histogram;
use kafkascope_telemetry::metric::Metric;
use kafkascope_telemetry::{
    Attribute, AttributeValue, Broker, ConnectionInfo, Dictionary, Point, Recorder, Registry, Resource, Series,
    Settings, Shard, Snapshot, Value,
};

pub const SECOND: u64 = 1_000_000_000;
pub const TOPIC_ID: TopicRef<'static> = TopicRef::new(TopicIndex(8), TopicLabel::Id(TopicId([7; 16])));

pub fn named(index: u32, name: &str) -> TopicRef<'_> {
    TopicRef::new(TopicIndex(index), TopicLabel::Name(name.as_bytes()))
}

/// `a` to `z` have indexes of their own.
pub fn topic(name: &str) -> TopicRef<'_> {
    named(u32::from(name.as_bytes()[0] - b'a'), name)
}

pub struct Scene {
    pub dictionary: Arc<Dictionary>,
    pub registry: Arc<Registry>,
    pub shard: Shard,
    pub broker: Arc<Broker>,
    pub now: Timestamp,
}

impl Scene {
    pub fn new(settings: Settings) -> Self {
        let now = Timestamp(1_000 * SECOND);
        let dictionary = Dictionary::new(settings);
        let resource = Resource::new("test", "1", |_| None).unwrap();
        let registry = Registry::new(dictionary.clone(), resource, now);
        let shard = Shard::new(dictionary.clone(), now);
        Self { dictionary, registry, shard, broker: Broker::new("kafka-1", 9092, Some(1), None), now }
    }

    pub fn pass(&mut self, nanos: u64) {
        self.now.0 += nanos;
    }

    /// A round of collection, a second after the last.
    pub fn collect(&mut self) -> Snapshot {
        self.pass(SECOND);
        self.registry.absorb(self.shard.drain(self.now));
        self.registry.settle(self.now);
        self.registry.snapshot(self.now)
    }

    pub fn connect_unnamed(&mut self) -> Connection {
        self.connect_from([10, 0, 0, 1])
    }

    pub fn connect_from(&mut self, peer: [u8; 4]) -> Connection {
        let (broker, depth, opened) = (self.broker.clone(), Some(Depth::Full), self.now);
        let info = ConnectionInfo { broker, peer: peer.into(), depth, opened };
        Connection {
            recorder: Recorder::open(&mut self.shard, info),
            slower_by: 0,
            next: 0,
            requests: Vec::new(),
            throttle_ms: None,
        }
    }

    pub fn connect(&mut self, client: &str) -> Connection {
        let mut connection = self.connect_unnamed();
        connection.observe(self, Observation::Client(Some(client.as_bytes())));
        connection
    }
}

pub struct Connection {
    pub recorder: Recorder,
    /// Nanoseconds that its exchanges take longer than others.
    pub slower_by: u64,
    next: u64,
    requests: Vec<(RequestSeq, ApiKey, ApiVersion, Option<Acks>, Timestamp)>,
    /// Of the next response.
    pub throttle_ms: Option<i32>,
}

pub struct Produce {
    pub acks: Acks,
    /// Topic, partition, thousands of bytes and tens of records.
    pub partitions: Vec<(&'static str, i32, u64)>,
}

pub fn produce(acks: Acks) -> Produce {
    Produce { acks, partitions: vec![("t", 0, 1)] }
}

pub struct Fetch {
    pub topic: TopicRef<'static>,
    pub follower: bool,
    pub wait: Option<FetchWait>,
    pub offset: Option<i64>,
    pub batches: Vec<BatchHead>,
}

pub fn fetch(offset: Option<i64>, batches: Vec<BatchHead>) -> Fetch {
    Fetch { topic: topic("t"), follower: false, wait: Some(FetchWait::Served), offset, batches }
}

/// A batch of lz4 from offset 100 on.
pub fn batch(bytes: u64, records: u32) -> BatchHead {
    BatchHead {
        magic: 2,
        base_offset: 100,
        bytes,
        attributes: 3,
        last_offset_delta: records as i32 - 1,
        records: Some(records),
        base_timestamp: 1_700_000_000_000,
        max_timestamp: 1_700_000_000_005,
        producer_id: -1,
        producer_epoch: -1,
        base_sequence: -1,
        partial: false,
    }
}

impl Connection {
    pub fn observe(&mut self, scene: &mut Scene, observation: Observation<'_>) {
        self.recorder.sink(&mut scene.shard).observe(observation);
    }

    pub fn begin(&mut self, scene: &mut Scene, api: ApiKey, version: i16) -> RequestSeq {
        let seq = RequestSeq(self.next);
        self.next += 1;
        let (version, first_byte) = (ApiVersion(version), scene.now);
        let correlation_id = CorrelationId(seq.0 as i32);
        let head = RequestHead { seq, api, version, correlation_id, frame_bytes: 100, first_byte };
        self.observe(scene, Observation::RequestHead(head));
        self.requests.push((seq, api, version, None, first_byte));
        seq
    }

    pub fn exchange(&mut self, scene: &mut Scene, api: ApiKey, version: i16) {
        let seq = self.begin(scene, api, version);
        self.answer(scene, seq, Outcome::Answered, ErrorCode::NONE);
    }

    pub fn begin_produce(&mut self, scene: &mut Scene, produce: &Produce) -> RequestSeq {
        let seq = self.begin(scene, ApiKey(0), 12);
        self.requests.last_mut().unwrap().3 = Some(produce.acks);
        let head = ProduceHead { seq, acks: produce.acks, timeout_ms: 30_000, transactional_id: None };
        self.observe(scene, Observation::ProduceHead(head));
        for &(name, partition, thousands) in &produce.partitions {
            let part = ProducePartition { seq, topic: topic(name), partition, record_bytes: thousands * 1_000 };
            self.observe(scene, Observation::ProducePartition(part));
            self.batch(scene, seq, name, batch(thousands * 1_000, thousands as u32 * 10));
        }
        seq
    }

    pub fn batch(&mut self, scene: &mut Scene, seq: RequestSeq, name: &str, head: BatchHead) {
        let batch = PartitionBatch { seq, topic: topic(name), partition: 0, fetch_offset: None, aborted: false, head };
        self.observe(scene, Observation::ProduceBatch(batch));
    }

    pub fn result(&mut self, scene: &mut Scene, seq: RequestSeq, name: &str, partition: i32, error: ErrorCode) {
        let topic = topic(name);
        let result = ProduceResult { seq, topic, partition, error, base_offset: 5, log_start_offset: None };
        self.observe(scene, Observation::ProduceResult(result));
    }

    /// A request with a batch in partition 0 of a topic, answered with this error.
    pub fn exchange_produce(&mut self, scene: &mut Scene, name: &'static str, error: ErrorCode) {
        let seq = self.begin_produce(scene, &Produce { partitions: vec![(name, 0, 1)], ..produce(Acks::All) });
        self.result(scene, seq, name, 0, error);
        self.answer(scene, seq, Outcome::Answered, error);
    }

    pub fn fetch(&mut self, scene: &mut Scene, fetch: &Fetch) {
        self.fetch_with(scene, fetch, |_, _, _, _| {});
    }

    /// A fetch, and what happens at each batch of it.
    pub fn fetch_with(
        &mut self,
        scene: &mut Scene,
        fetch: &Fetch,
        mut at_batch: impl FnMut(&mut Scene, &mut Self, RequestSeq, BatchHead),
    ) {
        let seq = self.begin(scene, ApiKey(1), 12);
        let head = FetchHead {
            seq,
            replica_id: fetch.follower.then_some(2),
            max_wait_ms: 500,
            min_bytes: 1,
            max_bytes: None,
            read_committed: false,
            session_id: 0,
            session_epoch: -1,
        };
        self.observe(scene, Observation::FetchHead(head));
        let record_bytes = fetch.batches.iter().map(|head| head.bytes).sum();
        let partition = FetchPartition {
            seq,
            topic: fetch.topic,
            partition: 0,
            error: ErrorCode::NONE,
            high_watermark: 200,
            last_stable_offset: None,
            log_start_offset: None,
            fetch_offset: fetch.offset,
            record_bytes,
        };
        self.observe(scene, Observation::FetchPartition(partition));
        for &head in &fetch.batches {
            let (topic, fetch_offset) = (fetch.topic, fetch.offset);
            let batch = PartitionBatch { seq, topic, partition: 0, fetch_offset, aborted: false, head };
            self.observe(scene, Observation::FetchBatch(batch));
            at_batch(scene, self, seq, head);
        }
        let summary = FetchSummary {
            follower: fetch.follower,
            wait: fetch.wait,
            min_bytes: 1,
            record_bytes,
            session_id: 0,
            session_epoch: -1,
        };
        self.end(scene, seq, Outcome::Answered, ErrorCode::NONE, Some(summary), true);
    }

    pub fn answer(&mut self, scene: &mut Scene, seq: RequestSeq, outcome: Outcome, error: ErrorCode) {
        self.end(scene, seq, outcome, error, None, true);
    }

    pub fn abandon(&mut self, scene: &mut Scene, seq: RequestSeq, whole: bool) {
        self.end(scene, seq, Outcome::Abandoned, ErrorCode::NONE, None, whole);
    }

    fn end(
        &mut self,
        scene: &mut Scene,
        seq: RequestSeq,
        outcome: Outcome,
        error: ErrorCode,
        fetch: Option<FetchSummary>,
        whole: bool,
    ) {
        let index = self.requests.iter().position(|request| request.0 == seq).unwrap();
        let (_, api, version, acks, first) = self.requests.remove(index);
        let after = |nanos| Timestamp(first.0 + nanos);
        let mut times = Times { request_first: first, ..Times::default() };
        if whole {
            (times.request_last, times.request_written) = (after(10_000), after(12_000));
        }
        if outcome == Outcome::Answered {
            times.response_first = after(1_012_000);
            times.response_last = after(1_015_000);
            times.response_written = after(1_020_000 + self.slower_by);
        }
        let exchange = Exchange {
            seq,
            api,
            version,
            correlation_id: CorrelationId(seq.0 as i32),
            outcome,
            request_bytes: 100,
            response_bytes: 50,
            times,
            error,
            throttle_ms: self.throttle_ms.take(),
            acks,
            fetch,
        };
        self.observe(scene, Observation::Exchange(&exchange));
    }

    pub fn learn(&mut self, scene: &mut Scene, id: TopicId, name: &str) {
        let topic =
            TopicMetadata { seq: RequestSeq(0), error: ErrorCode::NONE, name: Some(name.as_bytes()), id: Some(id) };
        self.observe(scene, Observation::TopicMetadata(topic));
    }
}

/// Totals by metric of all series that ever were: the last total of those that ended and of those that live.
#[derive(Default)]
pub struct Ledger {
    /// By number and start: a series that comes back has its number, but begins anew. A series that is held would live.
    lives: HashMap<(u64, u64), Life>,
}

struct Life {
    metric: Metric,
    labels: Vec<(&'static str, String)>,
    total: u64,
}

impl Ledger {
    pub fn note(&mut self, snapshot: &Snapshot) {
        for point in &snapshot.points {
            let total = match &point.value {
                Value::Counter(total) => *total,
                Value::Histogram(histogram) => histogram.count(),
                Value::UpDown(_) | Value::Gauge(_) => continue,
            };
            let text = |(key, value): &(Attribute, AttributeValue)| (key.name(), value.scalar().to_string());
            let labels = || point.series.attributes().iter().map(text).collect();
            let new = || Life { metric: point.series.metric(), labels: labels(), total: 0 };
            let life = self.lives.entry((point.series.number(), point.start.0)).or_insert_with(new);
            assert!(total >= life.total, "a total went back");
            life.total = total;
        }
    }

    pub fn total(&self, metric: Metric) -> u64 {
        self.total_of(metric, &[])
    }

    pub fn total_of(&self, metric: Metric, labels: &[(&str, &str)]) -> u64 {
        let has = |life: &Life, label: &(&str, &str)| life.labels.iter().any(|(key, text)| (*key, &**text) == *label);
        let of = |life: &&Life| life.metric == metric && labels.iter().all(|label| has(life, label));
        self.lives.values().filter(of).map(|life| life.total).sum()
    }
}

/// The points of a metric.
pub fn series(snapshot: &Snapshot, metric: Metric) -> impl Iterator<Item = &Point> {
    snapshot.points.iter().filter(move |point| point.series.metric() == metric)
}

fn matches(point: &Point, labels: &[(&str, &str)]) -> bool {
    has(&point.series, labels)
}

/// Whether a series has these labels.
pub fn has(series: &Series, labels: &[(&str, &str)]) -> bool {
    labels.iter().all(|(name, value)| {
        series.attributes().iter().any(|(key, text)| key.name() == *name && text.scalar().to_string() == *value)
    })
}

/// Sum over the series of a metric with these labels.
pub fn sum(snapshot: &Snapshot, metric: Metric, labels: &[(&str, &str)]) -> i64 {
    let values = series(snapshot, metric).filter(|point| matches(point, labels));
    values
        .map(|point| match &point.value {
            Value::Counter(total) => *total as i64,
            Value::UpDown(total) | Value::Gauge(total) => *total,
            Value::Histogram(_) => panic!("a histogram"),
        })
        .sum()
}

/// All series of a metric with these labels together.
pub fn histogram(snapshot: &Snapshot, metric: Metric, labels: &[(&str, &str)]) -> Histogram {
    let mut all = Histogram::default();
    for point in series(snapshot, metric).filter(|point| matches(point, labels)) {
        all.merge(point.value.as_histogram().unwrap());
    }
    all
}
