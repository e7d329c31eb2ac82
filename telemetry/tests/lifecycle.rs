//! How series begin, are folded, expire and come back, and that nothing is lost or counted twice on the way.
#![allow(clippy::unwrap_used, reason = "a test stops at what it does not expect")]

mod scene;

use std::time::Duration;

use kafkascope_protocol::{Acks, ApiKey, Broker as NamedBroker, Direction, ErrorCode, Observation, Outcome, TopicId};
use kafkascope_telemetry::metric::Metric;
use kafkascope_telemetry::{
    Broker, Cap, Caps, ClientKey, CloseReason, Expiry, Gone, Point, RefusalReason, Route, Settings, Shard, Side,
    Snapshot, TcpFigures, Value,
};
use proptest::prelude::*;
use scene::{Connection, Ledger, Produce, SECOND, Scene, batch, fetch, produce};

fn caps(clients: usize, topics: usize, series: usize) -> Settings {
    let cap = |values| Cap::new(values).unwrap();
    let caps = Caps { clients: cap(clients), topics: cap(topics), series: cap(series), ..Caps::default() };
    Settings { caps, ..Settings::default() }
}

fn expiry(seconds: u64) -> Settings {
    Settings { expiry: Expiry::new(Duration::from_secs(seconds)).unwrap(), ..Settings::default() }
}

#[test]
fn clients_over_the_cap_are_folded_and_counted_and_none_is_lost() {
    let mut scene = Scene::new(caps(10, 10, 100_000));
    for number in 0..100_000_u64 {
        let mut connection = scene.connect(&format!("client-{number}"));
        connection.exchange(&mut scene, ApiKey(3), 12);
        connection.recorder.close(&mut scene.shard, CloseReason::Client);
    }
    let snapshot = scene.collect();
    assert_eq!(scene::sum(&snapshot, Metric::Requests, &[]), 100_000);
    assert_eq!(
        scene::sum(&snapshot, Metric::Requests, &[("messaging.client.id", "other"), ("network.peer.address", "other")]),
        99_990
    );
    assert_eq!(scene::sum(&snapshot, Metric::SeriesFolded, &[("dimension", "client")]), 99_990);
    assert!(snapshot.points.len() < 200, "{} series", snapshot.points.len());
}

#[test]
fn topics_over_the_cap_are_folded() {
    let mut scene = Scene::new(caps(10, 2, 100_000));
    let mut connection = scene.connect("c1");
    for name in ["a", "b", "c", "d"] {
        let request = Produce { acks: Acks::None, partitions: vec![(name, 0, 1)] };
        let seq = connection.begin_produce(&mut scene, &request);
        connection.answer(&mut scene, seq, Outcome::Unanswered, ErrorCode::NONE);
    }
    let snapshot = scene.collect();
    assert_eq!(scene::sum(&snapshot, Metric::RecordIo, &[("messaging.destination.name", "other")]), 2_000);
    assert_eq!(scene::sum(&snapshot, Metric::SeriesFolded, &[("dimension", "topic")]), 2);
}

#[test]
fn series_over_the_cap_are_those_of_the_client_other() {
    let mut scene = Scene::new(caps(1_000, 1_000, 50));
    for number in 0..100 {
        let mut connection = scene.connect(&format!("client-{number}"));
        connection.exchange(&mut scene, ApiKey(3), 12);
    }
    let snapshot = scene.collect();
    assert_eq!(scene::sum(&snapshot, Metric::Requests, &[]), 100);
    assert!(scene::sum(&snapshot, Metric::Requests, &[("messaging.client.id", "other")]) > 50);
    assert!(snapshot.points.len() < 80, "{} series", snapshot.points.len());
    assert!(scene::sum(&snapshot, Metric::SeriesFolded, &[("dimension", "series")]) > 0);
}

#[test]
fn clients_by_id_have_no_address() {
    let mut scene = Scene::new(Settings { client_key: ClientKey::Id, ..Settings::default() });
    for peer in [[10, 0, 0, 1], [10, 0, 0, 2]] {
        let mut connection = scene.connect_from(peer);
        connection.observe(&mut scene, Observation::Client(Some(b"shared")));
        connection.exchange(&mut scene, ApiKey(3), 12);
    }
    let snapshot = scene.collect();
    let requests: Vec<_> = scene::series(&snapshot, Metric::Requests).collect();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].value, Value::Counter(2));
    assert!(requests[0].series.attributes().iter().all(|(key, _)| key.name() != "network.peer.address"));
}

#[test]
fn an_idle_series_ends_once_and_begins_anew_when_it_comes_back() {
    let mut scene = Scene::new(expiry(60));
    let mut connection = scene.connect("c1");
    connection.exchange(&mut scene, ApiKey(3), 12);
    let snapshot = scene.collect();
    let first = scene::series(&snapshot, Metric::Requests).next().unwrap().clone();
    scene.pass(61 * SECOND);
    // The end comes after the last interval, and within the next one.
    scene.registry.absorb(scene.shard.drain(scene.now));
    scene.pass(SECOND / 2);
    scene.registry.settle(scene.now);
    let snapshot = scene.registry.snapshot(scene.now);
    assert_eq!(scene::series(&snapshot, Metric::Requests).count(), 0);
    let ended: Vec<_> = snapshot.gone.iter().filter(|gone| gone.series.metric() == Metric::Requests).collect();
    assert_eq!(ended.len(), 1);
    assert_eq!(ended[0].series.number(), first.series.number());
    let ended_at = ended[0].at;

    connection.exchange(&mut scene, ApiKey(3), 12);
    let snapshot = scene.collect();
    let again = scene::series(&snapshot, Metric::Requests).next().unwrap();
    assert_eq!(again.value, Value::Counter(1));
    assert!(again.start >= ended_at && again.start < snapshot.at);
    // Nobody exports, so nobody has to be told again.
    assert_eq!(snapshot.gone.len(), 0);
}

#[test]
fn an_up_down_counter_that_is_not_zero_never_expires() {
    let mut scene = Scene::new(expiry(60));
    let mut connection = scene.connect("c1");
    let seq = connection.begin(&mut scene, ApiKey(3), 12);
    scene.collect();
    for _ in 0..5 {
        scene.pass(100 * SECOND);
        let snapshot = scene.collect();
        assert_eq!(scene::sum(&snapshot, Metric::RequestsInFlight, &[]), 1);
        assert_eq!(scene::sum(&snapshot, Metric::Connections, &[]), 1);
    }
    connection.answer(&mut scene, seq, Outcome::Answered, ErrorCode::NONE);
    connection.recorder.close(&mut scene.shard, CloseReason::Client);
    let snapshot = scene.collect();
    assert_eq!(scene::sum(&snapshot, Metric::RequestsInFlight, &[]), 0);
    assert_eq!(scene::sum(&snapshot, Metric::Connections, &[]), 0);
}

#[test]
fn memory_is_given_back_when_clients_are_gone() {
    let mut scene = Scene::new(Settings { caps: caps(5, 5, 100_000).caps, ..expiry(60) });
    for round in 0..3 {
        for number in 0..5 {
            let mut connection = scene.connect(&format!("client-{round}-{number}"));
            connection.exchange(&mut scene, ApiKey(3), 12);
            connection.recorder.close(&mut scene.shard, CloseReason::Client);
        }
        let snapshot = scene.collect();
        assert_eq!(scene::sum(&snapshot, Metric::Requests, &[("messaging.client.id", "other")]), 0, "round {round}");
        // The shard forgets its rows, then the registry its series.
        scene.pass(61 * SECOND);
        scene.collect();
        scene.pass(61 * SECOND);
        scene.collect();
    }
}

#[test]
fn a_refused_connection_is_counted_without_a_worker() {
    let mut scene = Scene::new(Settings::default());
    scene.registry.refused(&scene.broker, RefusalReason::MaxConnections);
    let snapshot = scene.collect();
    assert_eq!(scene::sum(&snapshot, Metric::ConnectionsRefused, &[("reason", "max_connections")]), 1);
}

#[test]
fn the_kinds_of_all_series_are_those_of_the_table() {
    let mut scene = Scene::new(Settings::default());
    let mut connection = scene.connect("c1");
    let seq = connection.begin_produce(&mut scene, &produce(Acks::All));
    connection.result(&mut scene, seq, "t", 0, ErrorCode::NONE);
    connection.answer(&mut scene, seq, Outcome::Answered, ErrorCode::NONE);
    connection.fetch(&mut scene, &fetch(None, vec![batch(10, 1)]));
    connection.recorder.bytes(&mut scene.shard, Direction::Request, 1);
    connection.observe(&mut scene, Observation::CaptureRefused { bytes: 1 });
    connection.exchange(&mut scene, ApiKey(3), 0);
    connection.exchange(&mut scene, ApiKey(2), 0);
    scene.shard.tap_time(5);
    let figures = TcpFigures { rtt: 1, retransmits: 1, delivery_rate: 1, acknowledged: 1 };
    drop(connection.recorder.connected(&scene.shard, || None));
    connection.recorder.closing(&mut scene.shard, scene.now, [(Side::Client, figures)]);
    connection.recorder.close(&mut scene.shard, CloseReason::Client);
    let snapshot = scene.collect();
    for point in &snapshot.points {
        use kafkascope_telemetry::metric::Kind;
        let descriptor = point.series.metric().descriptor();
        let agrees = matches!(
            (&point.value, descriptor.kind),
            (Value::Counter(_), Kind::Counter)
                | (Value::UpDown(_), Kind::UpDown)
                | (Value::Gauge(_), Kind::Gauge)
                | (Value::Histogram(_), Kind::Histogram(_))
        );
        assert!(agrees, "{}", descriptor.name);
        let keys: Vec<_> = point.series.attributes().iter().map(|(key, _)| *key).collect();
        assert!(keys.iter().all(|key| descriptor.attributes.contains(key)), "{}", descriptor.name);
    }
}

/// What may happen.
#[derive(Debug, Clone)]
enum Step {
    Metadata { client: u8 },
    Produce { client: u8, topic: u8, acks: u8, error: bool },
    FetchById { client: u8 },
    Learn,
    Collect { worker: bool },
    Pass { seconds: u8 },
    Reconnect { client: u8 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let client = 0..4_u8;
    let step = prop_oneof![
        4 => client.clone().prop_map(|client| Step::Metadata { client }),
        4 => (client.clone(), 0..3_u8, 0..3_u8, any::<bool>())
            .prop_map(|(client, topic, acks, error)| Step::Produce { client, topic, acks, error }),
        2 => client.clone().prop_map(|client| Step::FetchById { client }),
        1 => Just(Step::Learn),
        2 => any::<bool>().prop_map(|worker| Step::Collect { worker }),
        1 => (0..80_u8).prop_map(|seconds| Step::Pass { seconds }),
        1 => client.prop_map(|client| Step::Reconnect { client }),
    ];
    prop::collection::vec(step, 0..120)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Two workers, caps that fold, an expiry that bites, topic ids with and without names.
    #[test]
    fn what_was_absorbed_is_what_happened(steps in steps()) {
        let settings = Settings { caps: caps(2, 2, 60).caps, ..expiry(60) };
        let mut scene = Scene::new(settings);
        let mut idle_worker = Shard::new(scene.dictionary.clone(), scene.now);
        let mut connections: Vec<_> = (0..4).map(|client| scene.connect(&format!("c{client}"))).collect();
        let mut ledger = Ledger::default();
        let (mut requests, mut bytes_in, mut batches, mut consumed) = (0, 0, 0, 0);
        for step in steps {
            match step {
                Step::Metadata { client } => {
                    connections[usize::from(client)].exchange(&mut scene, ApiKey(3), 12);
                    requests += 1;
                }
                Step::Produce { client, topic, acks, error } => {
                    let connection = &mut connections[usize::from(client)];
                    let acks = [Acks::None, Acks::Leader, Acks::All][usize::from(acks)];
                    let name = ["a", "b", "c"][usize::from(topic)];
                    let seq = connection.begin_produce(&mut scene, &Produce { acks, partitions: vec![(name, 0, 2)] });
                    if acks == Acks::None {
                        connection.answer(&mut scene, seq, Outcome::Unanswered, ErrorCode::NONE);
                        bytes_in += 2_000;
                    } else {
                        let error = ErrorCode(if error { 6 } else { 0 });
                        connection.result(&mut scene, seq, name, 0, error);
                        connection.answer(&mut scene, seq, Outcome::Answered, error);
                        bytes_in += if error.is_none() { 2_000 } else { 0 };
                    }
                    requests += 1;
                    batches += 1;
                }
                Step::FetchById { client } => {
                    let id = scene::Fetch { topic: scene::TOPIC_ID, ..fetch(None, vec![batch(100, 7)]) };
                    connections[usize::from(client)].fetch(&mut scene, &id);
                    requests += 1;
                    consumed += 7;
                }
                Step::Learn => connections[0].learn(&mut scene, TopicId([7; 16]), "a"),
                Step::Collect { worker } => {
                    scene.collect();
                    if worker {
                        scene.registry.absorb(idle_worker.drain(scene.now));
                    }
                    ledger.note(&scene.registry.snapshot(scene.now));
                }
                Step::Pass { seconds } => scene.pass(u64::from(seconds) * SECOND),
                Step::Reconnect { client } => {
                    let index = usize::from(client);
                    let fresh = scene.connect(&format!("c{client}"));
                    let former = std::mem::replace(&mut connections[index], fresh);
                    former.recorder.close(&mut scene.shard, CloseReason::Client);
                }
            }
        }
        scene.collect();
        ledger.note(&scene.registry.snapshot(scene.now));
        // Whatever still waits for a name is released.
        scene.pass(31 * SECOND);
        scene.registry.settle(scene.now);
        ledger.note(&scene.registry.snapshot(scene.now));
        prop_assert_eq!(ledger.total(Metric::Requests), requests);
        prop_assert_eq!(ledger.total(Metric::RequestDuration), ledger.total(Metric::Responses));
        prop_assert_eq!(ledger.total(Metric::SegmentDuration), 5 * ledger.total(Metric::Responses));
        prop_assert_eq!(ledger.total(Metric::BatchSize), batches);
        prop_assert_eq!(ledger.total(Metric::ConsumedMessages), consumed);
        let io: u64 = ledger.total(Metric::RecordIo);
        prop_assert_eq!(io, bytes_in + consumed / 7 * 100);
        let snapshot = scene.registry.snapshot(scene.now);
        prop_assert_eq!(scene::sum(&snapshot, Metric::Connections, &[]), 4);
        prop_assert_eq!(scene::sum(&snapshot, Metric::RequestsInFlight, &[]), 0);
        // No two series have equal names.
        let mut names = std::collections::HashSet::new();
        for point in &snapshot.points {
            let labels: Vec<String> = point.series.attributes().iter().map(|(key, value)| format!("{}={}", key.name(), value.scalar())).collect();
            prop_assert!(names.insert((point.series.metric(), labels.clone())), "twice: {:?}", labels);
        }
    }
}

fn before_a_nameless_broker() -> Scene {
    let mut scene = Scene::new(Settings::default());
    let broker = Broker::new("b2", 9092, None, None);
    scene.broker = broker.clone();
    scene.registry.leads([Route { listen: 19_092, broker }]);
    scene
}

/// Asks for Metadata, which names the broker and its cluster.
fn is_told_the_names(client: &mut Connection, scene: &mut Scene) {
    let seq = client.begin(scene, ApiKey(3), 12);
    let told = NamedBroker { seq, id: 7, host: b"b2", port: 19_092 };
    client.observe(scene, Observation::Broker(told));
    client.observe(scene, Observation::ClusterId(b"abc"));
    client.answer(scene, seq, Outcome::Answered, ErrorCode::NONE);
}

/// Brokers are named after a while: nothing is counted twice, and the old name ends.
#[test]
fn a_series_is_not_shown_under_two_names_at_a_time() {
    for tells_after in [0, 10] {
        let mut scene = before_a_nameless_broker();
        let mut client = scene.connect("c");
        client.exchange(&mut scene, ApiKey(18), 3);
        // An export comes before the first round has ended.
        let early = scene.registry.snapshot(scene.now);
        assert_eq!(scene::series(&early, Metric::Requests).count(), 0);
        let mut snapshot = early;
        for _ in 0..tells_after {
            snapshot = scene.collect();
        }
        let name = |snapshot: &Snapshot| {
            let point = scene::series(snapshot, Metric::Requests).find(|point| has_api(point, "ApiVersions"))?;
            let names = snapshot.learned.attributes(&point.series).map(|(key, value)| (key.name(), value.to_string()));
            let ids: Vec<_> = names.filter(|(key, _)| IDS.contains(key)).map(|(_, id)| id).collect();
            Some((ids, point.value.clone()))
        };
        assert_eq!(name(&snapshot), (tells_after > 0).then(|| (Vec::new(), Value::Counter(1))));

        is_told_the_names(&mut client, &mut scene);
        let renamed = scene.collect();
        client.exchange(&mut scene, ApiKey(18), 3);
        let snapshot = scene.collect();
        let counted = if tells_after > 0 { 1 } else { 2 };
        let named = vec!["abc".to_owned(), "7".to_owned()];
        assert_eq!(name(&snapshot), Some((named, Value::Counter(counted))));
        let ended = renamed.gone.iter().filter(|gone| gone.series.metric() == Metric::Requests);
        let ids =
            |gone: &Gone| gone.learned.attributes(&gone.series).filter(|(key, _)| IDS.contains(&key.name())).count();
        assert_eq!(ended.map(ids).collect::<Vec<_>>(), if tells_after > 0 { vec![0] } else { vec![] });
    }
}

/// What no snapshot has had under its old name loses nothing when its broker is named.
#[test]
fn what_was_not_shown_yet_is_counted_whole_when_its_broker_is_named() {
    let mut scene = before_a_nameless_broker();
    // Somebody looks whether the port is open, long before there are clients.
    drop(scene.connect_unnamed());
    for _ in 0..10 {
        scene.collect();
    }
    // A snapshot comes in the middle of the interval in which the first client does all that it does.
    scene.pass(SECOND / 2);
    assert_eq!(scene::series(&scene.registry.snapshot(scene.now), Metric::Requests).count(), 0);
    let mut client = scene.connect("c");
    client.exchange(&mut scene, ApiKey(18), 3);
    is_told_the_names(&mut client, &mut scene);
    let snapshot = scene.collect();
    let requests = scene::series(&snapshot, Metric::Requests).map(|point| &point.value);
    assert_eq!(requests.collect::<Vec<_>>(), [&Value::Counter(1), &Value::Counter(1)]);
    assert!(!snapshot.gone.iter().any(|gone| gone.series.metric() == Metric::Requests), "{:?}", snapshot.gone);
}

const IDS: [&str; 2] = ["messaging.kafka.cluster.id", "kafkascope.broker.id"];

fn has_api(point: &Point, api: &str) -> bool {
    scene::has(&point.series, &[("kafka.api", api)])
}
