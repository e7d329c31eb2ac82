//! What is told of partitions and brokers: errors, throttling, elections, losses, windows, purgatories, coverage.
#![allow(clippy::unwrap_used, reason = "a test stops at what it does not expect")]

mod scene;

use kafkascope_protocol::{
    Acks, ApiKey, Broker as NamedBroker, CurrentLeader, DivergingEpoch, ErrorCode, FetchHead, FetchPartition, Ids,
    ListOffsetsHead, Observation, OffsetListed, Outcome, PartitionMetadata, RequestSeq, TopicId, TopicMetadata,
};
use kafkascope_telemetry::metric::Metric;
use kafkascope_telemetry::{Broker, Route, Settings, Shard, Snapshot};
use scene::{Connection, SECOND, Scene, fetch, histogram, produce, series, sum, topic};

const METADATA: ApiKey = ApiKey(3);
const COMMIT: ApiKey = ApiKey(8);
const LIST_OFFSETS: ApiKey = ApiKey(2);
const NOT_LEADER: ErrorCode = ErrorCode::NOT_LEADER_OR_FOLLOWER;
const LEADER_NOT_AVAILABLE: ErrorCode = ErrorCode(5);

/// Who leads partition 0 of `t`, as a Metadata response says.
#[derive(Clone, Copy)]
struct Led<'a> {
    leader: i32,
    epoch: i32,
    in_sync: &'a [i32],
    id: u8,
    error: ErrorCode,
}

const fn led(leader: i32, epoch: i32, in_sync: &[i32]) -> Led<'_> {
    let error = if leader < 0 { LEADER_NOT_AVAILABLE } else { ErrorCode::NONE };
    Led { leader, epoch, in_sync, id: 1, error }
}

fn metadata(connection: &mut Connection, scene: &mut Scene, led: Led<'_>) {
    let seq = connection.begin(scene, METADATA, 12);
    let in_sync: Vec<u8> = led.in_sync.iter().flat_map(|id| id.to_be_bytes()).collect();
    let partition = PartitionMetadata {
        seq,
        name: Some(b"t"),
        id: Some(TopicId([led.id; 16])),
        error: led.error,
        partition: 0,
        leader: led.leader,
        leader_epoch: Some(led.epoch),
        replicas: Ids::default(),
        in_sync: Ids::from_wire(&in_sync),
        offline: Ids::default(),
    };
    connection.observe(scene, Observation::PartitionMetadata(partition));
    connection.answer(scene, seq, Outcome::Answered, led.error);
}

fn sent(connection: &mut Connection, scene: &mut Scene, error: ErrorCode) {
    let seq = connection.begin_produce(scene, &produce(Acks::All));
    connection.result(scene, seq, "t", 0, error);
    connection.answer(scene, seq, Outcome::Answered, error);
}

/// A fetch of `t` that is told where the partition ends.
fn ends_at(connection: &mut Connection, scene: &mut Scene, high_watermark: i64) {
    let seq = begin_fetch(connection, scene);
    let partition = FetchPartition {
        seq,
        topic: topic("t"),
        partition: 0,
        error: ErrorCode::NONE,
        high_watermark,
        last_stable_offset: None,
        log_start_offset: None,
        fetch_offset: None,
        record_bytes: 0,
    };
    connection.observe(scene, Observation::FetchPartition(partition));
    connection.answer(scene, seq, Outcome::Answered, ErrorCode::NONE);
}

fn begin_fetch(connection: &mut Connection, scene: &mut Scene) -> RequestSeq {
    begin_fetch_of(connection, scene, None)
}

fn begin_fetch_of(connection: &mut Connection, scene: &mut Scene, replica_id: Option<i32>) -> RequestSeq {
    let seq = connection.begin(scene, ApiKey(1), 12);
    let (max_wait_ms, min_bytes, session_epoch) = (500, 1, -1);
    connection.observe(
        scene,
        Observation::FetchHead(FetchHead {
            seq,
            replica_id,
            max_wait_ms,
            min_bytes,
            max_bytes: None,
            read_committed: false,
            session_id: 0,
            session_epoch,
        }),
    );
    seq
}

fn settled(scene: &mut Scene, seconds: u32) -> Snapshot {
    (0..seconds).for_each(|_| drop(scene.collect()));
    scene.collect()
}

const WIRE: &[(&str, &str)] = &[("kafkascope.vantage", "wire")];

#[test]
fn an_error_is_counted_by_api_topic_and_name_and_success_is_not() {
    let mut scene = Scene::new(Settings::default());
    let mut connection = scene.connect("c");
    sent(&mut connection, &mut scene, ErrorCode::NONE);
    sent(&mut connection, &mut scene, NOT_LEADER);
    sent(&mut connection, &mut scene, NOT_LEADER);
    for (replica, error) in [(None, 1), (Some(2), 74)] {
        let seq = begin_fetch_of(&mut connection, &mut scene, replica);
        let partition = FetchPartition {
            seq,
            topic: topic("u"),
            partition: 3,
            error: ErrorCode(error),
            high_watermark: -1,
            last_stable_offset: None,
            log_start_offset: None,
            fetch_offset: None,
            record_bytes: 0,
        };
        connection.observe(&mut scene, Observation::FetchPartition(partition));
        connection.answer(&mut scene, seq, Outcome::Answered, ErrorCode(error));
    }
    let seq = connection.begin(&mut scene, METADATA, 12);
    let unknown = TopicMetadata { seq, error: ErrorCode(3), name: Some(b"made up"), id: None };
    connection.observe(&mut scene, Observation::TopicMetadata(unknown));
    connection.answer(&mut scene, seq, Outcome::Answered, ErrorCode(3));
    let snapshot = scene.collect();
    let errors = |labels: &[(&str, &str)]| sum(&snapshot, Metric::PartitionErrors, labels);
    let topic = "messaging.destination.name";
    assert_eq!(errors(&[("kafka.api", "Produce"), (topic, "t"), ("error.type", "NOT_LEADER_OR_FOLLOWER")]), 2);
    assert_eq!(errors(&[("kafka.api", "FetchConsumer"), (topic, "u"), ("error.type", "OFFSET_OUT_OF_RANGE")]), 1);
    assert_eq!(errors(&[("kafka.api", "FetchFollower"), (topic, "u"), ("error.type", "FENCED_LEADER_EPOCH")]), 1);
    assert_eq!(errors(&[("kafka.api", "Metadata"), ("error.type", "UNKNOWN_TOPIC_OR_PARTITION")]), 1);
    assert_eq!(errors(&[(topic, "made up")]), 0, "names that do not exist are no values");
    assert_eq!(errors(&[]), 5);
}

#[test]
fn only_responses_that_throttle_are_counted() {
    let mut scene = Scene::new(Settings::default());
    let mut connection = scene.connect("c");
    for millis in [None, Some(0), Some(250), Some(-1), Some(750)] {
        connection.throttle_ms = millis;
        connection.exchange(&mut scene, METADATA, 12);
    }
    let throttled = histogram(
        &scene.collect(),
        Metric::ThrottleDuration,
        &[("messaging.client.id", "c"), ("kafka.api", "Metadata")],
    );
    assert_eq!(throttled.count(), 2);
    assert_eq!(throttled.sum(), 1_000_000_000.0 as u128 as _);
}

#[test]
fn each_epoch_is_counted_once_however_many_clients_workers_and_answers_tell_of_it() {
    let mut scene = Scene::new(Settings::default());
    let mut other = Shard::new(scene.dictionary.clone(), scene.now);
    let mut clients: Vec<_> = ["a", "b", "c"].map(|client| scene.connect(client)).into();
    for epoch in [4, 4, 5] {
        for client in &mut clients {
            metadata(client, &mut scene, led(1, epoch, &[1, 2]));
        }
        scene.collect();
    }
    std::mem::swap(&mut scene.shard, &mut other);
    let mut elsewhere = scene.connect("d");
    metadata(&mut elsewhere, &mut scene, led(1, 5, &[1, 2]));
    scene.registry.absorb(scene.shard.drain(scene.now));
    std::mem::swap(&mut scene.shard, &mut other);
    assert_eq!(sum(&scene.collect(), Metric::LeaderElections, WIRE), 1, "the first epoch is no election");

    let leader = CurrentLeader { seq: RequestSeq(0), topic: topic("t"), partition: 0, leader: 2, leader_epoch: 6 };
    clients[0].observe(&mut scene, Observation::CurrentLeader(leader));
    assert_eq!(sum(&scene.collect(), Metric::LeaderElections, WIRE), 2);
    metadata(&mut clients[1], &mut scene, led(2, 6, &[2]));
    metadata(&mut clients[2], &mut scene, led(1, 5, &[1, 2]));
    metadata(&mut clients[2], &mut scene, led(2, 8, &[2]));
    assert_eq!(sum(&scene.collect(), Metric::LeaderElections, WIRE), 4, "one was missed, and a broker lagged");
}

#[test]
fn a_topic_that_was_deleted_and_made_anew_has_had_no_election() {
    let mut scene = Scene::new(Settings::default());
    let mut client = scene.connect("c");
    metadata(&mut client, &mut scene, led(1, 7, &[1]));
    metadata(&mut client, &mut scene, Led { id: 2, ..led(2, 9, &[2]) });
    metadata(&mut client, &mut scene, Led { id: 2, ..led(2, 10, &[2]) });
    assert_eq!(sum(&scene.collect(), Metric::LeaderElections, &[]), 1);
}

fn unclean(steps: &[Led<'_>]) -> i64 {
    let mut scene = Scene::new(Settings::default());
    let mut client = scene.connect("c");
    for &step in steps {
        metadata(&mut client, &mut scene, step);
        scene.collect();
    }
    sum(&scene.collect(), Metric::UncleanElections, &[("messaging.destination.name", "t")])
}

#[test]
fn a_leader_that_was_not_in_sync_when_there_was_none_is_unclean() {
    assert_eq!(unclean(&[led(1, 3, &[1]), led(-1, 4, &[1]), led(2, 5, &[2]), led(2, 5, &[2])]), 1);
}

#[test]
fn leaders_that_may_have_been_in_sync_are_not_called_unclean() {
    assert_eq!(unclean(&[led(1, 3, &[1, 2]), led(-1, 4, &[1]), led(1, 5, &[1])]), 0, "the one that had left");
    assert_eq!(unclean(&[led(1, 3, &[1]), led(2, 4, &[2])]), 0, "it may have joined in between");
    assert_eq!(unclean(&[led(-1, 4, &[1]), led(2, 6, &[2])]), 0, "there was another leader in between");
    assert_eq!(unclean(&[led(-1, 4, &[]), led(2, 5, &[2])]), 0, "none is known to have been in sync");
}

/// Lets a partition end at `before`, have a new leader, and end at `after` for some seconds, the last time at `last`.
fn losses(gap: bool, after: i64, last: i64) -> (i64, i64) {
    let mut scene = Scene::new(Settings::default());
    let mut client = scene.connect("c");
    metadata(&mut client, &mut scene, led(1, 3, &[1, 2]));
    ends_at(&mut client, &mut scene, 100);
    scene.collect();
    if gap {
        metadata(&mut client, &mut scene, led(-1, 4, &[1, 2]));
        metadata(&mut client, &mut scene, led(2, 5, &[2]));
    } else {
        metadata(&mut client, &mut scene, led(2, 4, &[2]));
    }
    scene.pass(2 * SECOND);
    ends_at(&mut client, &mut scene, after);
    for _ in 0..3 {
        scene.collect();
    }
    ends_at(&mut client, &mut scene, last);
    let snapshot = settled(&mut scene, 12);
    let of = &[("messaging.destination.name", "t")];
    (sum(&snapshot, Metric::LogRegressions, of), sum(&snapshot, Metric::UncleanElections, of))
}

#[test]
fn an_end_that_stays_lower_under_a_newer_epoch_is_a_regression() {
    assert_eq!(losses(false, 60, 60), (1, 0), "acks=1 loses records in a clean election");
    assert_eq!(losses(true, 60, 60), (1, 1), "there was no leader in between");
    assert_eq!(losses(true, 60, 70), (1, 1), "it grows again");
    assert_eq!(losses(true, 60, 100), (0, 0), "a new leader lags for a moment");
    assert_eq!(losses(true, 100, 101), (0, 0));
}

#[test]
fn a_lower_end_under_the_same_epoch_is_none() {
    let mut scene = Scene::new(Settings::default());
    let mut client = scene.connect("c");
    metadata(&mut client, &mut scene, led(1, 3, &[1, 2]));
    ends_at(&mut client, &mut scene, 100);
    scene.pass(2 * SECOND);
    ends_at(&mut client, &mut scene, 50);
    assert_eq!(sum(&settled(&mut scene, 12), Metric::LogRegressions, &[]), 0);
}

#[test]
fn a_diverging_consumer_tells_of_a_loss_once_and_a_follower_of_none() {
    for (replica, expected) in [(None, 1), (Some(2), 0)] {
        let mut scene = Scene::new(Settings::default());
        let mut client = scene.connect("c");
        metadata(&mut client, &mut scene, led(1, 3, &[1, 2]));
        for _ in 0..2 {
            let seq = begin_fetch_of(&mut client, &mut scene, replica);
            let diverging = DivergingEpoch { seq, topic: topic("t"), partition: 0, epoch: 2, end_offset: 10 };
            client.observe(&mut scene, Observation::DivergingEpoch(diverging));
            client.answer(&mut scene, seq, Outcome::Answered, ErrorCode::NONE);
        }
        let snapshot = scene.collect();
        assert_eq!(sum(&snapshot, Metric::LogRegressions, &[]), expected);
        assert_eq!(sum(&snapshot, Metric::UncleanElections, &[]), expected);
    }
}

fn windows(snapshot: &Snapshot) -> Vec<f64> {
    let all = histogram(snapshot, Metric::PartitionUnavailable, &[("messaging.destination.name", "t")]);
    if all.count() == 0 { Vec::new() } else { vec![all.count() as f64, all.sum() as f64 / 1e9] }
}

#[test]
fn a_window_reaches_from_the_first_failure_to_the_first_success_whoever_sees_them() {
    let mut scene = Scene::new(Settings::default());
    let mut other = Shard::new(scene.dictionary.clone(), scene.now);
    let mut failing = scene.connect("a");
    std::mem::swap(&mut scene.shard, &mut other);
    let mut working = scene.connect("b");
    sent(&mut working, &mut scene, ErrorCode::NONE);
    std::mem::swap(&mut scene.shard, &mut other);
    scene.pass(100_000_000);
    metadata(&mut failing, &mut scene, led(-1, 4, &[1]));
    scene.pass(100_000_000);
    sent(&mut failing, &mut scene, NOT_LEADER);
    scene.pass(200_000_000);
    std::mem::swap(&mut scene.shard, &mut other);
    sent(&mut working, &mut scene, ErrorCode::NONE);
    scene.pass(100_000_000);
    sent(&mut working, &mut scene, ErrorCode::NONE);
    // The worker that saw the success is heard first.
    scene.registry.absorb(scene.shard.drain(scene.now));
    scene.registry.settle(scene.now);
    std::mem::swap(&mut scene.shard, &mut other);
    let window = windows(&settled(&mut scene, 4));
    assert_eq!(window, [1.0, 0.3]);
}

#[test]
fn a_partition_that_nobody_tries_any_more_has_no_window_and_a_quiet_cluster_tells_nothing() {
    let mut scene = Scene::new(Settings::default());
    let mut client = scene.connect("a");
    sent(&mut client, &mut scene, LEADER_NOT_AVAILABLE);
    settled(&mut scene, 4);
    scene.pass(400 * SECOND);
    settled(&mut scene, 2);
    sent(&mut client, &mut scene, ErrorCode::NONE);
    assert_eq!(windows(&settled(&mut scene, 4)), [0.0; 0]);
}

#[test]
fn offsets_that_are_listed_open_and_close_windows_too() {
    let mut scene = Scene::new(Settings::default());
    let mut client = scene.connect("a");
    for error in [NOT_LEADER, ErrorCode::NONE] {
        scene.pass(SECOND / 2);
        let seq = client.begin(&mut scene, LIST_OFFSETS, 7);
        let head = ListOffsetsHead { seq, replica_id: -1, read_committed: false };
        client.observe(&mut scene, Observation::ListOffsetsHead(head));
        let (timestamp, leader_epoch) = (-1, None);
        let listed = OffsetListed { seq, topic: topic("t"), partition: 0, error, timestamp, offset: 1, leader_epoch };
        client.observe(&mut scene, Observation::OffsetListed(listed));
        client.answer(&mut scene, seq, Outcome::Answered, error);
    }
    assert_eq!(windows(&settled(&mut scene, 4)), [1.0, 0.5]);
}

#[test]
fn a_purgatory_holds_what_may_wait() {
    let mut scene = Scene::new(Settings::default());
    let mut clients: Vec<_> = ["a", "b"].map(|client| scene.connect(client)).into();
    let waiting: Vec<_> = clients
        .iter_mut()
        .map(|client| {
            client.begin_produce(&mut scene, &produce(Acks::Leader));
            client.begin_produce(&mut scene, &produce(Acks::All));
            begin_fetch(client, &mut scene)
        })
        .collect();
    let snapshot = scene.collect();
    let size = |snapshot: &Snapshot, api| {
        sum(snapshot, Metric::PurgatorySize, &[("kafka.api", api), ("server.address", "kafka-1")])
    };
    assert_eq!((size(&snapshot, "Produce"), size(&snapshot, "FetchConsumer")), (2, 2));
    clients[0].answer(&mut scene, waiting[0], Outcome::Answered, ErrorCode::NONE);
    let snapshot = scene.collect();
    assert_eq!((size(&snapshot, "Produce"), size(&snapshot, "FetchConsumer")), (2, 1));
    assert_eq!(series(&snapshot, Metric::PurgatorySize).count(), 2);
}

fn told_of(client: &mut Connection, scene: &mut Scene, id: i32, host: &str, port: i32) {
    let seq = client.begin(scene, METADATA, 12);
    client.observe(scene, Observation::Broker(NamedBroker { seq, id, host: host.as_bytes(), port }));
    client.answer(scene, seq, Outcome::Answered, ErrorCode::NONE);
}

fn coverage(snapshot: &Snapshot, id: &str) -> Option<i64> {
    let of = &[("kafkascope.broker.id", id)];
    let known = series(snapshot, Metric::Coverage)
        .any(|point| point.series.attributes().iter().any(|(_, value)| value.scalar().to_string() == id));
    known.then(|| sum(snapshot, Metric::Coverage, of))
}

#[test]
fn a_broker_is_covered_when_it_is_used_here_and_not_when_clients_only_ask_for_metadata() {
    let mut scene = Scene::new(Settings::default());
    // The first by its node id, the second by where it leads; no route leads to the third.
    let second = Broker::new("b2", 9092, None, None);
    scene.registry.leads([
        Route { listen: 19_092, broker: scene.broker.clone() },
        Route { listen: 19_093, broker: second.clone() },
    ]);
    let mut client = scene.connect("c");
    let tell = |client: &mut Connection, scene: &mut Scene| {
        told_of(client, scene, 1, "anywhere", 31_000);
        told_of(client, scene, 2, "b2", 9092);
        told_of(client, scene, 3, "b3", 9092);
    };
    tell(&mut client, &mut scene);
    let snapshot = scene.collect();
    assert_eq!(coverage(&snapshot, "3"), None, "too early to tell");
    sent(&mut client, &mut scene, ErrorCode::NONE);
    scene.broker = second;
    let mut bootstrap = scene.connect("d");
    bootstrap.exchange(&mut scene, METADATA, 12);
    let snapshot = settled(&mut scene, 16);
    assert_eq!([1, 2, 3].map(|id| coverage(&snapshot, &id.to_string())), [Some(1), Some(0), Some(0)]);

    sent(&mut bootstrap, &mut scene, ErrorCode::NONE);
    assert_eq!(coverage(&scene.collect(), "2"), Some(1));
    scene.pass(270 * SECOND);
    tell(&mut client, &mut scene);
    assert_eq!(coverage(&scene.collect(), "1"), Some(1));
    scene.pass(30 * SECOND);
    assert_eq!(coverage(&scene.collect(), "1"), Some(0), "nobody uses it any more");
    scene.pass(1_000 * SECOND);
    assert_eq!(coverage(&scene.collect(), "3"), None, "nobody is told of it any more");
}

#[test]
fn a_client_whose_group_commits_here_and_that_reads_elsewhere_is_counted() {
    let mut scene = Scene::new(Settings::default());
    let mut reads = scene.connect("reads");
    let mut past = scene.connect("past");
    let mut admin = scene.connect("admin");
    for client in [&mut reads, &mut past, &mut admin] {
        client.exchange(&mut scene, METADATA, 12);
        client.fetch(&mut scene, &fetch(None, vec![]));
    }
    let mut elsewhere = Vec::new();
    for _ in 0..80 {
        reads.fetch(&mut scene, &fetch(None, vec![]));
        reads.exchange(&mut scene, COMMIT, 8);
        past.exchange(&mut scene, COMMIT, 8);
        admin.exchange(&mut scene, METADATA, 12);
        elsewhere.push(sum(&scene.collect(), Metric::ClientsElsewhere, &[]));
    }
    assert_eq!((elsewhere[50], elsewhere[79]), (0, 1));
    past.fetch(&mut scene, &fetch(None, vec![]));
    past.exchange(&mut scene, COMMIT, 8);
    assert_eq!(sum(&scene.collect(), Metric::ClientsElsewhere, &[]), 0, "it is back");
}
