//! What hand-made observations become: totals by client and topic.

mod scene;

use kafkascope_protocol::{Acks, ApiKey, Codec, Direction, ErrorCode, FetchWait, Observation, Outcome, TopicId};
use kafkascope_telemetry::metric::Metric;
use kafkascope_telemetry::{CloseReason, Settings};
use scene::{Produce, SECOND, Scene, batch, fetch, produce};

#[test]
fn an_exchange_is_counted_once_with_its_duration_and_segments() {
    let mut scene = Scene::new(Settings::default());
    let mut connection = scene.connect("c1");
    connection.exchange(&mut scene, ApiKey(3), 12);
    let snapshot = scene.collect();
    let of = |metric| scene::histogram(&snapshot, metric, &[]);
    assert_eq!(scene::sum(&snapshot, Metric::Requests, &[("kafka.api", "Metadata"), ("kafka.api.version", "12")]), 1);
    assert_eq!(scene::sum(&snapshot, Metric::Responses, &[("messaging.client.id", "c1")]), 1);
    assert_eq!(of(Metric::RequestDuration).count(), 1);
    assert_eq!(of(Metric::SegmentDuration).count(), 5);
    assert_eq!(of(Metric::SegmentDuration).sum(), of(Metric::RequestDuration).sum());
    assert_eq!(scene::sum(&snapshot, Metric::RequestsInFlight, &[]), 0);
}

#[test]
fn requests_are_in_flight_from_their_head_to_their_end() {
    let mut scene = Scene::new(Settings::default());
    let mut connection = scene.connect("c1");
    let produce = connection.begin_produce(&mut scene, &produce(Acks::All));
    let metadata = connection.begin(&mut scene, ApiKey(3), 12);
    let snapshot = scene.collect();
    assert_eq!(
        scene::sum(&snapshot, Metric::RequestsInFlight, &[("kafka.api", "Produce"), ("kafkascope.acks", "all")]),
        1
    );
    assert_eq!(scene::sum(&snapshot, Metric::RequestsInFlight, &[("kafka.api", "Metadata")]), 1);
    connection.answer(&mut scene, produce, Outcome::Answered, ErrorCode::NONE);
    connection.answer(&mut scene, metadata, Outcome::Answered, ErrorCode::NONE);
    let snapshot = scene.collect();
    assert_eq!(scene::sum(&snapshot, Metric::RequestsInFlight, &[]), 0);
    assert!(
        scene::series(&snapshot, Metric::RequestsInFlight)
            .all(|point| point.value == kafkascope_telemetry::Value::UpDown(0))
    );
}

#[test]
fn a_request_that_never_came_whole_is_no_request() {
    let mut scene = Scene::new(Settings::default());
    let mut connection = scene.connect("c1");
    let whole = connection.begin(&mut scene, ApiKey(3), 12);
    let cut = connection.begin(&mut scene, ApiKey(3), 12);
    connection.abandon(&mut scene, whole, true);
    connection.abandon(&mut scene, cut, false);
    let snapshot = scene.collect();
    assert_eq!(scene::sum(&snapshot, Metric::Requests, &[]), 1);
    assert_eq!(scene::sum(&snapshot, Metric::Responses, &[]), 0);
    assert_eq!(scene::sum(&snapshot, Metric::RequestsInFlight, &[]), 0);
}

#[test]
fn only_what_the_broker_appended_is_record_io() {
    for (error, appended) in [(0, true), (7, true), (20, true), (3, false), (6, false), (19, false)] {
        let mut scene = Scene::new(Settings::default());
        let mut connection = scene.connect("c1");
        let seq = connection.begin_produce(&mut scene, &produce(Acks::All));
        connection.result(&mut scene, seq, "t", 0, ErrorCode(error));
        connection.answer(&mut scene, seq, Outcome::Answered, ErrorCode(error));
        let snapshot = scene.collect();
        let expected = if appended { (1_000, 10) } else { (0, 0) };
        let io = scene::sum(&snapshot, Metric::RecordIo, &[("direction", "in"), ("messaging.destination.name", "t")]);
        assert_eq!((io, scene::sum(&snapshot, Metric::ProducedMessages, &[])), expected, "error {error}");
        // As sent, accepted or not.
        assert_eq!(scene::histogram(&snapshot, Metric::BatchSize, &[("kafkascope.codec", "lz4")]).sum(), 1_000);
    }
}

#[test]
fn acks_0_is_accepted_when_it_is_sent() {
    let mut scene = Scene::new(Settings::default());
    let mut connection = scene.connect("c1");
    // One that waits for its answer is not touched by those that do not.
    let waiting = connection.begin_produce(&mut scene, &produce(Acks::Leader));
    let seq = connection.begin_produce(&mut scene, &produce(Acks::None));
    connection.answer(&mut scene, seq, Outcome::Unanswered, ErrorCode::NONE);
    let snapshot = scene.collect();
    assert_eq!(scene::sum(&snapshot, Metric::RecordIo, &[]), 1_000);
    assert_eq!(scene::sum(&snapshot, Metric::ProduceRequests, &[("kafkascope.acks", "0")]), 1);
    assert_eq!(scene::sum(&snapshot, Metric::Responses, &[]), 0);
    assert_eq!(scene::histogram(&snapshot, Metric::RequestDuration, &[]).count(), 0);
    connection.result(&mut scene, waiting, "t", 0, ErrorCode::NONE);
    connection.answer(&mut scene, waiting, Outcome::Answered, ErrorCode::NONE);
    assert_eq!(scene::sum(&scene.collect(), Metric::RecordIo, &[]), 2_000);
}

#[test]
fn answers_in_another_order_than_asked_find_their_partition() {
    let mut scene = Scene::new(Settings::default());
    let mut connection = scene.connect("c1");
    let request = Produce { partitions: vec![("a", 0, 1), ("a", 1, 2), ("b", 0, 3)], ..produce(Acks::All) };
    let seq = connection.begin_produce(&mut scene, &request);
    connection.result(&mut scene, seq, "b", 0, ErrorCode::NONE);
    connection.result(&mut scene, seq, "a", 1, ErrorCode(6));
    connection.result(&mut scene, seq, "a", 0, ErrorCode::NONE);
    connection.answer(&mut scene, seq, Outcome::Answered, ErrorCode(6));
    let snapshot = scene.collect();
    assert_eq!(scene::sum(&snapshot, Metric::RecordIo, &[("messaging.destination.name", "a")]), 1_000);
    assert_eq!(scene::sum(&snapshot, Metric::RecordIo, &[("messaging.destination.name", "b")]), 3_000);
    let failed = scene::histogram(&snapshot, Metric::RequestDuration, &[("error.type", "NOT_LEADER_OR_FOLLOWER")]);
    assert_eq!(failed.count(), 1);
}

#[test]
fn a_partition_whose_answer_is_not_known_is_counted_as_unjudged() {
    let mut scene = Scene::new(Settings::default());
    let mut connection = scene.connect("c1");
    let unread = connection.begin_produce(&mut scene, &produce(Acks::All));
    connection.answer(&mut scene, unread, Outcome::Answered, ErrorCode::NONE);
    let lost = connection.begin_produce(&mut scene, &produce(Acks::All));
    connection.abandon(&mut scene, lost, true);
    let snapshot = scene.collect();
    assert_eq!(scene::sum(&snapshot, Metric::RecordIo, &[]), 0);
    for reason in ["answer_unread", "abandoned"] {
        assert_eq!(scene::sum(&snapshot, Metric::SelfPartitionsUnjudged, &[("reason", reason)]), 1);
    }
}

#[test]
fn batch_fill_is_the_time_between_records_unless_the_producer_made_it_up() {
    let mut scene = Scene::new(Settings::default());
    let mut connection = scene.connect("c1");
    let seq = connection.begin_produce(&mut scene, &Produce { partitions: Vec::new(), ..produce(Acks::None) });
    for (fill_ms, attributes) in [(25, 0), (3_600_000, 0), (3_600_001, 0), (-1, 0), (5, 0x40)] {
        let mut head = batch(100, 2);
        (head.base_timestamp, head.max_timestamp, head.attributes) = (1_000_000, 1_000_000 + fill_ms, attributes);
        connection.batch(&mut scene, seq, "t", head);
    }
    let snapshot = scene.collect();
    let fill = scene::histogram(&snapshot, Metric::BatchFill, &[]);
    assert_eq!((fill.count(), fill.sum()), (2, (25 + 3_600_000) * 1_000_000));
    assert_eq!(scene::sum(&snapshot, Metric::BatchFillExcluded, &[]), 2);
    assert_eq!(scene::histogram(&snapshot, Metric::BatchSize, &[]).count(), 5);
}

#[test]
fn consumers_are_given_what_they_asked_for_and_followers_are_no_consumers() {
    let mut scene = Scene::new(Settings::default());
    let mut connection = scene.connect("c1");
    let mut control = batch(78, 1);
    control.attributes = 0x20;
    let mut partial = batch(500, 10);
    partial.partial = true;
    let mut older = batch(1_000, 10);
    older.base_offset = 95;
    connection.fetch(&mut scene, &fetch(Some(100), vec![older, batch(1_000, 10), control, partial]));
    connection.fetch(&mut scene, &scene::Fetch { follower: true, ..fetch(Some(100), vec![batch(1_000, 10)]) });
    let snapshot = scene.collect();
    assert_eq!(scene::sum(&snapshot, Metric::ConsumedMessages, &[]), 5 + 10);
    assert_eq!(scene::sum(&snapshot, Metric::RecordIo, &[("direction", "out")]), 2_578);
    assert_eq!(scene::sum(&snapshot, Metric::Requests, &[("kafka.api", "FetchConsumer")]), 1);
    assert_eq!(scene::sum(&snapshot, Metric::Requests, &[("kafka.api", "FetchFollower")]), 1);
}

#[test]
fn a_fetch_is_told_by_its_wait() {
    let mut scene = Scene::new(Settings::default());
    let mut connection = scene.connect("c1");
    for wait in [FetchWait::Served, FetchWait::Served, FetchWait::Waited, FetchWait::Expired] {
        connection.fetch(&mut scene, &scene::Fetch { wait: Some(wait), ..fetch(None, Vec::new()) });
    }
    let snapshot = scene.collect();
    for (wait, count) in [("served", 2), ("waited", 1), ("expired", 1)] {
        assert_eq!(
            scene::histogram(&snapshot, Metric::RequestDuration, &[("kafkascope.fetch.wait", wait)]).count(),
            count
        );
    }
}

#[test]
fn bytes_from_before_the_client_is_known_are_its_bytes() {
    let mut scene = Scene::new(Settings::default());
    let mut connection = scene.connect_unnamed();
    connection.recorder.bytes(&mut scene.shard, Direction::Request, 30);
    connection.observe(&mut scene, Observation::Client(Some(b"late")));
    connection.recorder.bytes(&mut scene.shard, Direction::Request, 12);
    connection.recorder.bytes(&mut scene.shard, Direction::Response, 7);
    let snapshot = scene.collect();
    let io = |direction| {
        scene::sum(&snapshot, Metric::ConnectionIo, &[("messaging.client.id", "late"), ("direction", direction)])
    };
    assert_eq!((io("in"), io("out")), (42, 7));
}

#[test]
fn connections_are_opened_and_closed_by_reason() {
    let mut scene = Scene::new(Settings::default());
    let (first, second) = (scene.connect("c1"), scene.connect_unnamed());
    assert_eq!(scene::sum(&scene.collect(), Metric::Connections, &[]), 2);
    first.recorder.close(&mut scene.shard, CloseReason::Client);
    second.recorder.close(&mut scene.shard, CloseReason::ConnectTimeout);
    let snapshot = scene.collect();
    assert_eq!(scene::sum(&snapshot, Metric::Connections, &[]), 0);
    assert_eq!(scene::sum(&snapshot, Metric::ConnectionsOpened, &[("server.address", "kafka-1")]), 2);
    assert_eq!(scene::sum(&snapshot, Metric::ConnectionsClosed, &[("reason", "client")]), 1);
    assert_eq!(scene::sum(&snapshot, Metric::ConnectionsClosed, &[("reason", "connect_timeout")]), 1);
}

#[test]
fn series_of_a_topic_id_wait_for_its_name() {
    let mut scene = Scene::new(Settings::default());
    let mut connection = scene.connect("c1");
    connection.fetch(&mut scene, &scene::Fetch { topic: scene::TOPIC_ID, ..fetch(None, vec![batch(1_000, 10)]) });
    assert_eq!(scene::series(&scene.collect(), Metric::ConsumedMessages).count(), 0);
    connection.learn(&mut scene, TopicId([7; 16]), "orders");
    let snapshot = scene.collect();
    assert_eq!(scene::sum(&snapshot, Metric::ConsumedMessages, &[("messaging.destination.name", "orders")]), 10);
    // Nothing moves when the name is used as well, and what is recorded under the id still arrives.
    connection.fetch(&mut scene, &scene::Fetch { topic: scene::TOPIC_ID, ..fetch(None, vec![batch(1_000, 10)]) });
    connection
        .fetch(&mut scene, &scene::Fetch { topic: scene::named(9, "orders"), ..fetch(None, vec![batch(1_000, 10)]) });
    let snapshot = scene.collect();
    assert_eq!(scene::series(&snapshot, Metric::ConsumedMessages).count(), 1);
    assert_eq!(scene::sum(&snapshot, Metric::ConsumedMessages, &[("messaging.destination.name", "orders")]), 30);
}

#[test]
fn series_of_a_topic_id_without_a_name_are_exported_after_30_s_and_keep_the_id() {
    let mut scene = Scene::new(Settings::default());
    let mut connection = scene.connect("c1");
    let id = scene::Fetch { topic: scene::TOPIC_ID, ..fetch(None, vec![batch(1_000, 10)]) };
    connection.fetch(&mut scene, &id);
    scene.pass(28 * SECOND);
    assert_eq!(scene::series(&scene.collect(), Metric::ConsumedMessages).count(), 0);
    scene.pass(2 * SECOND);
    let label = [("messaging.destination.name", "BwcHBwcHBwcHBwcHBwcHBw")];
    assert_eq!(scene::sum(&scene.collect(), Metric::ConsumedMessages, &label), 10);
    connection.learn(&mut scene, TopicId([7; 16]), "orders");
    let mut other = scene.connect("c2");
    other.fetch(&mut scene, &id);
    connection.fetch(&mut scene, &id);
    let snapshot = scene.collect();
    assert_eq!(scene::sum(&snapshot, Metric::ConsumedMessages, &label), 30);
    assert_eq!(scene::sum(&snapshot, Metric::ConsumedMessages, &[("messaging.destination.name", "orders")]), 0);
}

#[test]
fn a_request_is_its_clients_even_if_the_id_has_changed_before_it_ends() {
    let mut scene = Scene::new(Settings::default());
    let mut connection = scene.connect("a");
    let (first, second) = (connection.begin(&mut scene, ApiKey(3), 12), connection.begin(&mut scene, ApiKey(3), 12));
    connection.observe(&mut scene, Observation::Client(None));
    let third = connection.begin(&mut scene, ApiKey(3), 12);
    connection.observe(&mut scene, Observation::Client(Some(b"b")));
    let careless = connection.begin_produce(&mut scene, &produce(Acks::None));
    connection.answer(&mut scene, careless, Outcome::Unanswered, ErrorCode::NONE);
    for seq in [first, second, third] {
        connection.answer(&mut scene, seq, Outcome::Answered, ErrorCode::NONE);
    }
    connection.exchange(&mut scene, ApiKey(3), 12);
    let snapshot = scene.collect();
    let requests = |id| scene::sum(&snapshot, Metric::Requests, &[("messaging.client.id", id)]);
    assert_eq!([requests("a"), requests("(none)"), requests("b")], [2, 1, 2]);
    assert_eq!(scene::sum(&snapshot, Metric::ProduceRequests, &[("messaging.client.id", "b")]), 1);
    assert_eq!(scene::sum(&snapshot, Metric::RequestsInFlight, &[]), 0);
}

#[test]
fn unknown_apis_versions_and_errors_are_values_like_any_other() {
    let mut scene = Scene::new(Settings::default());
    let mut connection = scene.connect("c1");
    connection.exchange(&mut scene, ApiKey(999), 3);
    connection.exchange(&mut scene, ApiKey(0), 9_999);
    let seq = connection.begin(&mut scene, ApiKey(3), 12);
    connection.answer(&mut scene, seq, Outcome::Answered, ErrorCode(31_000));
    let snapshot = scene.collect();
    assert_eq!(scene::sum(&snapshot, Metric::Requests, &[("kafka.api", "unknown(999)")]), 1);
    assert_eq!(scene::sum(&snapshot, Metric::Requests, &[("kafka.api", "Produce"), ("kafka.api.version", "other")]), 1);
    assert_eq!(scene::histogram(&snapshot, Metric::RequestDuration, &[("error.type", "unknown(31000)")]).count(), 1);
}

#[test]
fn answers_may_come_in_any_order_and_name_partitions_that_nobody_asked_for() {
    for partitions in [10, 1_000] {
        let mut scene = Scene::new(Settings::default());
        let mut connection = scene.connect("c1");
        let parts = (0..partitions).map(|partition| ("a", partition, 100)).collect();
        let seq = connection.begin_produce(&mut scene, &Produce { partitions: parts, ..produce(Acks::All) });
        for partition in (-5..partitions + 5).rev() {
            let error = if partition % 2 == 0 { ErrorCode::NONE } else { ErrorCode(6) };
            connection.result(&mut scene, seq, "a", partition, error);
        }
        connection.answer(&mut scene, seq, Outcome::Answered, ErrorCode(6));
        let accepted = scene::sum(&scene.collect(), Metric::ProducedMessages, &[]);
        assert_eq!(accepted, 1_000 * i64::from(partitions) / 2);
    }
}

#[test]
fn what_the_proxy_itself_gets_wrong_or_leaves_out_is_counted() {
    let mut scene = Scene::new(Settings::default());
    let mut connection = scene.connect("c1");
    connection.recorder.decoder_panicked(&mut scene.shard, Direction::Response);
    connection.recorder.discarded(&mut scene.shard, 0);
    connection.recorder.discarded(&mut scene.shard, 42);
    let snapshot = scene.collect();
    assert_eq!(scene::sum(&snapshot, Metric::LostSync, &[("direction", "out"), ("reason", "panic")]), 1);
    assert_eq!(scene::sum(&snapshot, Metric::DrainDiscarded, &[]), 42);
}

#[test]
fn sampled_exchanges_become_spans_and_failed_ones_always_do() {
    let ratio = |ratio| Some(kafkascope_telemetry::SampleRatio::new(ratio).unwrap());
    let count = |spans, error: i16| {
        let mut scene = Scene::new(Settings { spans, ..Settings::default() });
        let mut connection = scene.connect("c1");
        let request = Produce { partitions: vec![("a", 0, 1), ("a", 1, 2), ("b", 0, 3)], ..produce(Acks::All) };
        let seq = connection.begin_produce(&mut scene, &request);
        for (topic, partition) in [("a", 0), ("a", 1), ("b", 0)] {
            connection.result(&mut scene, seq, topic, partition, ErrorCode(if topic == "b" { error } else { 0 }));
        }
        connection.answer(&mut scene, seq, Outcome::Answered, ErrorCode(error));
        connection.fetch(&mut scene, &fetch(None, Vec::new()));
        scene::sum(&scene.collect(), Metric::SelfSpansSampled, &[])
    };
    assert_eq!(count(None, 6), 0);
    assert_eq!(count(ratio(0.0), 0), 0);
    assert_eq!(count(ratio(0.0), 6), 1);
    // One a topic; an empty long poll is none.
    assert_eq!(count(ratio(1.0), 0), 2);
}

#[test]
fn codecs_are_told_apart() {
    let mut scene = Scene::new(Settings::default());
    let mut connection = scene.connect("c1");
    let seq = connection.begin_produce(&mut scene, &Produce { partitions: Vec::new(), ..produce(Acks::None) });
    for (attributes, codec) in [
        (0, Codec::None),
        (1, Codec::Gzip),
        (2, Codec::Snappy),
        (3, Codec::Lz4),
        (4, Codec::Zstd),
        (7, Codec::Unknown(7)),
    ] {
        let mut head = batch(100, 2);
        head.attributes = attributes;
        assert_eq!(head.codec(), codec);
        connection.batch(&mut scene, seq, "t", head);
    }
    let snapshot = scene.collect();
    for codec in ["none", "gzip", "snappy", "lz4", "zstd", "other"] {
        assert_eq!(
            scene::histogram(&snapshot, Metric::BatchSize, &[("kafkascope.codec", codec)]).count(),
            1,
            "{codec}"
        );
    }
}
