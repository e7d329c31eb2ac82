//! The memory that README promises holds when 100,000 clients use 1,000 topics with 10,000 partitions, all at once.
//!
//! What is measured is all that recording takes, the connections' own part included, and snapshots as exporters take them.
#![allow(clippy::unwrap_used, reason = "a test stops at what it does not expect")]

mod scene;

use std::collections::HashMap;

use allocation_counter::measure;
use kafkascope_protocol::{
    Acks, ApiKey, Direction, ErrorCode, Observation, Outcome, PartitionBatch, ProduceHead, ProducePartition,
    ProduceResult, TopicRef,
};
use kafkascope_telemetry::metric::Metric;
use kafkascope_telemetry::{Settings, Snapshot, Value};
use scene::{Connection, Scene, batch, named};

const CLIENTS: usize = 100_000;
const TOPICS: usize = 1_000;
const PARTITIONS: usize = 10;
/// The last ones to come: by then all places have been taken.
const HEAVY: usize = 500;
const SECONDS: usize = 44;
/// Of the light clients, this part does something in a second.
const ACTIVE: usize = 20;
/// Seconds between two snapshots: less than a series lives without a change.
const EXPORT: usize = 4;

/// What README says: "Telemetry stays below **N MB** with ..".
fn budget() -> u64 {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md")).unwrap();
    let (_, rest) = readme.split_once("stays below **").unwrap();
    let (megabytes, _) = rest.split_once(" MB**").unwrap();
    megabytes.parse::<u64>().unwrap() * 1_000_000
}

#[test]
fn a_crowd_of_clients_topics_and_partitions_stays_within_the_memory_that_readme_states() {
    let memory = measure(|| {
        let mut crowd = Crowd::new();
        for second in 0..SECONDS {
            crowd.act(second);
        }
        crowd.check();
    });
    assert!(memory.bytes_max < budget(), "{} bytes", memory.bytes_max);
}

struct Crowd {
    scene: Scene,
    clients: Vec<Connection>,
    names: Vec<String>,
    passed: u64,
    sent: u64,
    requests: u64,
    /// Totals of the lives of series of the three metrics, by number and start.
    totals: HashMap<(u64, u64), (Metric, u64)>,
    last: Option<Snapshot>,
}

impl Crowd {
    fn new() -> Self {
        let mut scene = Scene::new(Settings { partitions: true, ..Settings::default() });
        let connect = |number: usize| {
            let [_, a, b, c] = (number as u32).to_be_bytes();
            let mut connection = scene.connect_from([10, a, b, c]);
            connection.observe(&mut scene, Observation::Client(Some(format!("client-{number}").as_bytes())));
            connection
        };
        let clients = (0..CLIENTS).map(connect).collect();
        let names = (0..TOPICS).map(|number| format!("topic-{number}")).collect();
        let (totals, last) = (HashMap::new(), None);
        Self { scene, clients, names, passed: 0, sent: 0, requests: 0, totals, last }
    }

    fn act(&mut self, second: usize) {
        let light = CLIENTS - HEAVY;
        for client in (second % ACTIVE..light).step_by(ACTIVE) {
            self.send(client, &[(client % TOPICS, client / TOPICS % PARTITIONS)], 200);
        }
        for client in light..CLIENTS {
            let topic = |nth: usize| (client * 7 + nth) % TOPICS;
            let parts: Vec<_> = (0..10 * PARTITIONS).map(|nth| (topic(nth / PARTITIONS), nth % PARTITIONS)).collect();
            self.send(client, &parts, 2_000);
        }
        self.scene.pass(scene::SECOND);
        self.scene.registry.absorb(self.scene.shard.drain(self.scene.now));
        self.scene.registry.settle(self.scene.now);
        if second % EXPORT == EXPORT - 1 {
            self.export();
        }
    }

    /// A Produce request with so many bytes for each of these topics and partitions.
    fn send(&mut self, client: usize, parts: &[(usize, usize)], bytes: u64) {
        let Self { scene, clients, names, .. } = self;
        let connection = &mut clients[client];
        let seq = connection.begin(scene, ApiKey(0), 9);
        connection.observe(
            scene,
            Observation::ProduceHead(ProduceHead { seq, acks: Acks::All, timeout_ms: 30_000, transactional_id: None }),
        );
        // The decoder numbers the topics of each connection.
        let mut known: Vec<usize> = parts.iter().map(|(topic, _)| *topic).collect();
        known.dedup();
        let index = |topic| known.iter().position(|known| *known == topic).unwrap() as u32;
        let topics: Vec<(TopicRef<'_>, i32)> =
            parts.iter().map(|&(topic, partition)| (named(index(topic), &names[topic]), partition as i32)).collect();
        for &(topic, partition) in &topics {
            let part = ProducePartition { seq, topic, partition, record_bytes: bytes };
            connection.observe(scene, Observation::ProducePartition(part));
            let head = batch(bytes, 2);
            let batch = PartitionBatch { seq, topic, partition, fetch_offset: None, aborted: false, head };
            connection.observe(scene, Observation::ProduceBatch(batch));
        }
        for &(topic, partition) in &topics {
            let (error, base_offset, log_start_offset) = (ErrorCode::NONE, 5, None);
            let result = ProduceResult { seq, topic, partition, error, base_offset, log_start_offset };
            connection.observe(scene, Observation::ProduceResult(result));
        }
        connection.answer(scene, seq, Outcome::Answered, ErrorCode::NONE);
        let all = bytes * parts.len() as u64;
        connection.recorder.bytes(&mut scene.shard, Direction::Request, all + 100);
        (self.passed, self.sent, self.requests) = (self.passed + all + 100, self.sent + all, self.requests + 1);
    }

    fn export(&mut self) {
        let snapshot = self.scene.registry.snapshot(self.scene.now);
        for point in &snapshot.points {
            let metric = point.series.metric();
            if let (Value::Counter(total), true) = (&point.value, TOLD.contains(&metric)) {
                self.totals.insert((point.series.number(), point.start.0), (metric, *total));
            }
        }
        self.last = Some(snapshot);
        let sum =
            |wanted| self.totals.values().filter(|(metric, _)| *metric == wanted).map(|(_, total)| total).sum::<u64>();
        assert_eq!(TOLD.map(sum), [self.passed, self.sent, self.requests]);
    }

    /// The heavy clients, and only they and light ones that are left, have series of their own.
    fn check(&self) {
        let snapshot = self.last.as_ref().unwrap();
        assert!(snapshot.points.len() > 70_000, "hardly a crowd: {} series", snapshot.points.len());
        let mut own = 0;
        let mut clients = std::collections::HashSet::new();
        for point in scene::series(snapshot, Metric::ConnectionIo) {
            let id = point.series.attributes()[0].1.scalar().to_string();
            let number = id.strip_prefix("client-").and_then(|number| number.parse::<usize>().ok());
            own += usize::from(number.is_some_and(|number| number >= CLIENTS - HEAVY));
            clients.insert(id);
        }
        assert_eq!(own, HEAVY);
        assert!(clients.len() <= 2_001, "{} clients", clients.len());
        let of_others = [("messaging.client.id", "other")];
        assert!(scene::sum(snapshot, Metric::ConnectionIo, &of_others) > 0);
    }
}

const TOLD: [Metric; 3] = [Metric::ConnectionIo, Metric::RecordIo, Metric::Requests];
