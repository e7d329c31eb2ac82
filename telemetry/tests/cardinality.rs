//! Who has series of its own when there are more clients, topics and partitions than places: those with most traffic, and
//! whatever changes hands, each byte is counted once.
#![allow(clippy::unwrap_used, reason = "a test stops at what it does not expect")]

mod scene;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use kafkascope_protocol::{Acks, ApiKey, Direction, ErrorCode, Outcome, TopicId};
use kafkascope_telemetry::metric::Metric;
use kafkascope_telemetry::{AttributeValue, Cap, Caps, CloseReason, Expiry, Settings, Snapshot};
use proptest::prelude::*;
use scene::{Connection, Ledger, Produce, SECOND, Scene, batch, fetch};

const CLIENT: &str = "messaging.client.id";
const TOPIC: &str = "messaging.destination.name";
const PARTITION: &str = "messaging.destination.partition.id";

fn caps(clients: usize, topics: usize, partitions: usize) -> Settings {
    let cap = |values| Cap::new(values).unwrap();
    let caps = Caps { clients: cap(clients), topics: cap(topics), partitions: cap(partitions), ..Caps::default() };
    Settings { caps, ..Settings::default() }
}

fn send(scene: &mut Scene, connection: &mut Connection, topic: &'static str, partition: i32, thousands: u64) {
    let request = Produce { acks: Acks::None, partitions: vec![(topic, partition, thousands)] };
    let seq = connection.begin_produce(scene, &request);
    connection.answer(scene, seq, Outcome::Unanswered, ErrorCode::NONE);
}

fn pass(scene: &mut Scene, connection: &mut Connection, bytes: u64) {
    connection.recorder.bytes(&mut scene.shard, Direction::Request, bytes);
}

fn io(snapshot: &Snapshot, client: &str) -> i64 {
    scene::sum(snapshot, Metric::ConnectionIo, &[(CLIENT, client)])
}

/// Values of a label that series of a metric have.
fn values(snapshot: &Snapshot, metric: Metric, key: &str) -> BTreeSet<String> {
    let attributes = scene::series(snapshot, metric).flat_map(|point| point.series.attributes());
    attributes.filter(|(attribute, _)| attribute.name() == key).map(|(_, value)| value.scalar().to_string()).collect()
}

#[test]
fn a_heavy_client_takes_the_place_of_a_light_one() {
    let mut scene = Scene::new(caps(2, 10, 10));
    let [mut first, mut light, mut heavy] = ["first", "light", "heavy"].map(|name| scene.connect(name));
    let mut ledger = Ledger::default();
    let (mut ended, mut begun) = (None, None);
    for second in 1..=40 {
        pass(&mut scene, &mut first, 1_000);
        pass(&mut scene, &mut light, 10);
        pass(&mut scene, &mut heavy, 500);
        let snapshot = scene.collect();
        ledger.note(&snapshot);
        assert_eq!(ledger.total(Metric::ConnectionIo), second * 1_510);
        let of = |name: &'static str| [(CLIENT, name)];
        if snapshot.gone.iter().any(|gone| scene::has(&gone.series, &of("light"))) {
            assert!(ended.replace(second).is_none(), "ended twice");
        }
        if begun.is_none() && io(&snapshot, "heavy") > 0 {
            begun = Some(second);
        }
        assert_eq!(ledger.total_of(Metric::ConnectionIo, &of("first")), second * 1_000);
    }
    let (ended, begun) = (ended.unwrap(), begun.unwrap());
    assert!(begun <= 15 && ended <= 20, "begun after {begun} s, ended after {ended} s");
    // What each had while it had no place is `other`, and stays there.
    let light = ledger.total_of(Metric::ConnectionIo, &[(CLIENT, "light")]);
    let heavy = ledger.total_of(Metric::ConnectionIo, &[(CLIENT, "heavy")]);
    assert_eq!(heavy, (41 - begun) * 500);
    assert_eq!(ledger.total_of(Metric::ConnectionIo, &[(CLIENT, "other")]), 40 * 510 - light - heavy);
}

#[test]
fn clients_of_equal_traffic_do_not_take_places_from_each_other() {
    let mut scene = Scene::new(caps(3, 10, 10));
    let mut clients: Vec<_> = ["a", "b", "c", "d", "e", "f"].map(|name| scene.connect(name)).into();
    for _ in 0..100 {
        clients.iter_mut().for_each(|client| pass(&mut scene, client, 1_000));
        let snapshot = scene.collect();
        assert_eq!(
            values(&snapshot, Metric::ConnectionIo, CLIENT).into_iter().collect::<Vec<_>>(),
            ["a", "b", "c", "other"]
        );
    }
}

#[test]
fn a_client_that_lost_its_place_can_win_it_back_with_all_its_connections() {
    let mut scene = Scene::new(caps(1, 10, 10));
    let [mut one, mut again, mut rival] = ["one", "one", "rival"].map(|name| scene.connect(name));
    let mut ledger = Ledger::default();
    for (mine, its) in [(100, 1), (1, 10_000), (1_000_000, 1)] {
        for _ in 0..30 {
            pass(&mut scene, &mut one, mine);
            pass(&mut scene, &mut again, mine);
            pass(&mut scene, &mut rival, its);
            ledger.note(&scene.collect());
        }
        let winner = if mine > its { "one" } else { "rival" };
        let snapshot = scene.collect();
        let expected = BTreeSet::from([winner.to_owned(), "other".to_owned()]);
        assert_eq!(values(&snapshot, Metric::ConnectionIo, CLIENT), expected);
    }
    assert_eq!(ledger.total(Metric::ConnectionIo), 30 * (200 + 1 + 2 + 10_000 + 2_000_000 + 1));
}

#[test]
fn a_request_in_flight_is_not_lost_with_the_place_of_its_client() {
    let mut scene = Scene::new(caps(1, 10, 10));
    let [mut one, mut rival] = ["one", "rival"].map(|name| scene.connect(name));
    let seq = one.begin(&mut scene, ApiKey(3), 12);
    for _ in 0..30 {
        pass(&mut scene, &mut rival, 1_000);
        pass(&mut scene, &mut one, 1);
        assert_eq!(scene::sum(&scene.collect(), Metric::RequestsInFlight, &[]), 1);
    }
    one.answer(&mut scene, seq, Outcome::Answered, ErrorCode::NONE);
    let snapshot = scene.collect();
    assert_eq!(scene::sum(&snapshot, Metric::RequestsInFlight, &[]), 0);
    assert_eq!(scene::sum(&snapshot, Metric::Requests, &[(CLIENT, "other")]), 1);
    scene.pass(6 * SECOND);
    scene.collect();
    assert!(!values(&scene.collect(), Metric::RequestsInFlight, CLIENT).contains("one"));
}

#[test]
fn a_heavy_topic_takes_the_place_of_a_light_one() {
    let mut scene = Scene::new(caps(10, 1, 10));
    let mut client = scene.connect("c1");
    let mut ledger = Ledger::default();
    for second in 1..=40 {
        send(&mut scene, &mut client, "l", 0, 1);
        send(&mut scene, &mut client, "h", 0, 50);
        ledger.note(&scene.collect());
        assert_eq!(ledger.total(Metric::RecordIo), second * 51_000);
        assert_eq!(ledger.total(Metric::BatchSize), second * 2);
    }
    let topics = values(&scene.collect(), Metric::RecordIo, TOPIC);
    assert_eq!(topics, BTreeSet::from(["h".to_owned(), "other".to_owned()]));
    assert!(ledger.total_of(Metric::RecordIo, &[(TOPIC, "h")]) > 1_000_000);
}

#[test]
fn a_topic_without_a_name_wins_a_place_under_the_name_that_is_learned() {
    let mut scene = Scene::new(caps(10, 1, 10));
    let mut client = scene.connect("c1");
    let mut ledger = Ledger::default();
    for second in 1..=40_u64 {
        send(&mut scene, &mut client, "l", 0, 1);
        let id = scene::Fetch { topic: scene::TOPIC_ID, ..fetch(None, vec![batch(50_000, 7)]) };
        client.fetch(&mut scene, &id);
        if second == 20 {
            client.learn(&mut scene, TopicId([7; 16]), "orders");
        }
        ledger.note(&scene.collect());
    }
    assert_eq!(ledger.total(Metric::RecordIo), 40 * 51_000);
    assert_eq!(ledger.total(Metric::ConsumedMessages), 40 * 7);
    assert!(ledger.total_of(Metric::RecordIo, &[(TOPIC, "orders")]) > 1_000_000);
}

#[test]
fn partitions_are_told_apart_only_where_that_is_wanted_and_under_a_cap() {
    for wanted in [false, true] {
        let mut scene = Scene::new(Settings { partitions: wanted, ..caps(10, 1, 2) });
        let mut client = scene.connect("c1");
        for (topic, partition) in [("t", 0), ("t", 7), ("t", 7), ("t", 8), ("u", 0)] {
            send(&mut scene, &mut client, topic, partition, 1);
        }
        client.fetch(&mut scene, &fetch(None, vec![batch(100, 7)]));
        let snapshot = scene.collect();
        let of = |topic, partition| scene::sum(&snapshot, Metric::RecordIo, &[(TOPIC, topic), (PARTITION, partition)]);
        if wanted {
            assert_eq!(
                [of("t", "0"), of("t", "7"), of("t", "other"), of("other", "other")],
                [1_100, 2_000, 1_000, 1_000]
            );
            assert_eq!(scene::sum(&snapshot, Metric::SeriesFolded, &[("dimension", "partition")]), 1);
        } else {
            assert!(values(&snapshot, Metric::RecordIo, PARTITION).is_empty());
        }
        assert_eq!(scene::sum(&snapshot, Metric::RecordIo, &[]), 5_100);
        assert!(values(&snapshot, Metric::ProducedMessages, PARTITION).is_empty());
        assert_eq!(scene::sum(&snapshot, Metric::ProducedMessages, &[(TOPIC, "t")]), 40);
    }
}

#[test]
fn series_that_were_folded_have_room_when_others_have_ended() {
    let cap = |values| Cap::new(values).unwrap();
    let caps = Caps { clients: cap(50), series: cap(40), ..Caps::default() };
    let expiry = Expiry::new(Duration::from_secs(60)).unwrap();
    let mut scene = Scene::new(Settings { caps, expiry, ..Settings::default() });
    for number in 0..45 {
        let mut early = scene.connect(&format!("early-{number}"));
        pass(&mut scene, &mut early, 1);
        early.recorder.close(&mut scene.shard, CloseReason::Client);
    }
    scene.collect();
    let mut late = scene.connect("late");
    let mut ledger = Ledger::default();
    for _ in 0..200 {
        pass(&mut scene, &mut late, 1_000);
        ledger.note(&scene.collect());
    }
    assert_eq!(ledger.total(Metric::ConnectionIo), 45 + 200_000);
    assert!(ledger.total_of(Metric::ConnectionIo, &[(CLIENT, "late")]) > 50_000);
}

/// What may happen.
#[derive(Debug, Clone)]
enum Step {
    Pass { client: usize, bytes: u64 },
    Send { client: usize, topic: usize, partition: i32, thousands: u64 },
    FetchById { client: usize },
    Learn,
    Wait { seconds: u64 },
    Reconnect { client: usize, name: usize },
}

const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let any = 0..NAMES.len();
    let bytes = prop_oneof![1..10_u64, 100..1_000_u64, 100_000..1_000_000_u64];
    let thousands = prop_oneof![1..3_u64, 100..300_u64];
    let step = prop_oneof![
        6 => (any.clone(), bytes).prop_map(|(client, bytes)| Step::Pass { client, bytes }),
        6 => (any.clone(), any.clone(), 0..3, thousands)
            .prop_map(|(client, topic, partition, thousands)| Step::Send { client, topic, partition, thousands }),
        2 => any.clone().prop_map(|client| Step::FetchById { client }),
        1 => Just(Step::Learn),
        6 => prop_oneof![4 => 0..12_u64, 1 => 0..80_u64].prop_map(|seconds| Step::Wait { seconds }),
        1 => (any.clone(), any).prop_map(|(client, name)| Step::Reconnect { client, name }),
    ];
    prop::collection::vec(step, 0..200)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    /// Whoever wins and loses places: all series that ever were add up to the traffic at any time, none has more than passed
    /// under its name, and each that is not there any more has been shown as ended.
    #[test]
    fn whatever_changes_hands_is_counted_once(steps in steps(), cap in 1..4_usize, partitions in any::<bool>()) {
        let expiry = Expiry::new(Duration::from_secs(60)).unwrap();
        let mut scene = Scene::new(Settings { expiry, partitions, ..caps(cap, cap, cap) });
        let mut connections: Vec<_> = NAMES.map(|name| (name, scene.connect(name))).into();
        let mut ledger = Ledger::default();
        let (mut passed, mut sent) = (HashMap::new(), HashMap::new());
        let (mut all_passed, mut all_sent, mut fetched) = (0, 0, 0);
        let mut before: Option<Snapshot> = None;
        for step in steps.into_iter().chain([Step::Wait { seconds: 31 }, Step::Wait { seconds: 1 }]) {
            match step {
                Step::Pass { client, bytes } => {
                    let (name, connection) = &mut connections[client];
                    pass(&mut scene, connection, bytes);
                    *passed.entry(*name).or_insert(0) += bytes;
                    all_passed += bytes;
                }
                Step::Send { client, topic, partition, thousands } => {
                    send(&mut scene, &mut connections[client].1, NAMES[topic], partition, thousands);
                    *sent.entry(NAMES[topic]).or_insert(0) += thousands * 1_000;
                    all_sent += thousands * 1_000;
                }
                Step::FetchById { client } => {
                    let id = scene::Fetch { topic: scene::TOPIC_ID, ..fetch(None, vec![batch(5_000, 7)]) };
                    connections[client].1.fetch(&mut scene, &id);
                    fetched += 5_000;
                }
                Step::Learn => connections[0].1.learn(&mut scene, TopicId([7; 16]), "a"),
                Step::Wait { seconds } => {
                    scene.pass(seconds * SECOND);
                    let snapshot = scene.collect();
                    ledger.note(&snapshot);
                    prop_assert_eq!(ledger.total(Metric::ConnectionIo), all_passed);
                    let produced = ledger.total_of(Metric::RecordIo, &[("direction", "in")]);
                    prop_assert_eq!(produced, all_sent);
                    prop_assert!(ledger.total(Metric::RecordIo) <= all_sent + fetched);
                    for name in NAMES {
                        let (passed, sent) = (passed.get(name).copied(), sent.get(name).copied());
                        prop_assert!(ledger.total_of(Metric::ConnectionIo, &[(CLIENT, name)]) <= passed.unwrap_or(0));
                        let labels = [(TOPIC, name), ("direction", "in")];
                        prop_assert!(ledger.total_of(Metric::RecordIo, &labels) <= sent.unwrap_or(0));
                    }
                    let now: HashSet<_> = snapshot.points.iter().map(|point| (point.series.number(), point.start)).collect();
                    let ended: HashSet<_> = snapshot.gone.iter().map(|gone| gone.series.number()).collect();
                    for point in before.iter().flat_map(|before| &before.points) {
                        let number = point.series.number();
                        let is_there = now.contains(&(number, point.start)) || ended.contains(&number);
                        let is_own = point.series.metric() == Metric::SelfSeries;
                        prop_assert!(is_there || is_own, "{:?} went without an end", point.series);
                    }
                    let mut names = HashSet::new();
                    for point in &snapshot.points {
                        let text = |(key, value): &(kafkascope_telemetry::Attribute, AttributeValue)| format!("{}={}", key.name(), value.scalar());
                        let labels: Vec<String> = point.series.attributes().iter().map(text).collect();
                        prop_assert!(names.insert((point.series.metric(), labels.clone())), "twice: {:?}", labels);
                    }
                    before = Some(snapshot);
                }
                Step::Reconnect { client, name } => {
                    let fresh = scene.connect(NAMES[name]);
                    let (_, former) = std::mem::replace(&mut connections[client], (NAMES[name], fresh));
                    former.recorder.close(&mut scene.shard, CloseReason::Client);
                }
            }
        }
        prop_assert_eq!(ledger.total(Metric::RecordIo), all_sent + fetched);
    }
}
