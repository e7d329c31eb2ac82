//! The rows of `/api/clients`.

mod scene;

use std::time::Duration;

use kafkascope_protocol::{Acks, ApiKey, ErrorCode, FetchWait, Observation, Outcome};
use kafkascope_telemetry::metric::Metric;
use kafkascope_telemetry::{Cap, Caps, CloseReason, Expiry, Settings, Side, TcpFigures, clients};
use scene::{Fetch, Produce, SECOND, Scene, batch, fetch, produce};

#[test]
fn a_row_says_what_a_client_did() {
    let mut scene = Scene::new(Settings::default());
    let mut producer = scene.connect("producer");
    producer.observe(&mut scene, Observation::Software { name: b"librdkafka", version: b"2.16.0" });
    for acks in [Acks::All, Acks::All, Acks::Leader] {
        let request = Produce { partitions: vec![("a", 0, 1), ("b", 0, 3)], ..produce(acks) };
        let seq = producer.begin_produce(&mut scene, &request);
        producer.result(&mut scene, seq, "a", 0, ErrorCode::NONE);
        let error = ErrorCode(if acks == Acks::Leader { 6 } else { 0 });
        producer.result(&mut scene, seq, "b", 0, error);
        producer.answer(&mut scene, seq, Outcome::Answered, error);
    }
    let mut consumer = scene.connect("consumer");
    for wait in [FetchWait::Served, FetchWait::Expired, FetchWait::Expired] {
        consumer.fetch(&mut scene, &Fetch { wait: Some(wait), ..fetch(None, vec![batch(500, 5)]) });
    }
    let mut idle = scene.connect("idle");
    idle.exchange(&mut scene, ApiKey(3), 12);
    scene.collect();

    let rows = clients::view(&scene.registry, scene.now);
    assert_eq!(rows.iter().map(|row| row.client_id.as_str()).collect::<Vec<_>>(), ["consumer", "idle", "producer"]);
    let [consumer, idle, producer] = rows.as_slice() else { panic!("three") };

    assert_eq!(producer.address, "10.0.0.1");
    assert_eq!(producer.software.as_deref(), Some("librdkafka/2.16.0"));
    assert_eq!(Vec::from_iter(producer.acks.clone()), [("1".to_owned(), 1), ("all".to_owned(), 2)]);
    assert_eq!(Vec::from_iter(producer.codecs.clone()), [("lz4".to_owned(), 6)]);
    assert_eq!(producer.batch_bytes_mean, Some(2_000.0));
    assert_eq!(producer.batch_records_mean, Some(20.0));
    assert_eq!(Vec::from_iter(producer.errors.clone()), [("NOT_LEADER_OR_FOLLOWER".to_owned(), 1)]);
    let latency = producer.produce_ms.unwrap();
    assert_eq!(latency.count, 3);
    assert!((latency.mean - 1.02).abs() < 1e-9, "{}", latency.mean);
    assert!((latency.p50 - 1.02).abs() < 0.1 && (latency.p99 - 1.02).abs() < 0.1);
    assert!(producer.fetch_ms.is_none() && producer.fetch_wait.is_empty());

    assert_eq!(consumer.fetch_ms.unwrap().count, 1);
    assert_eq!(Vec::from_iter(consumer.fetch_wait.clone()), [("expired".to_owned(), 2), ("served".to_owned(), 1)]);
    assert!(consumer.produce_ms.is_none() && consumer.batch_bytes_mean.is_none());

    assert!(idle.acks.is_empty() && idle.errors.is_empty());
    assert_eq!(idle.records_per_s, 0.0);
}

#[test]
fn rates_are_those_of_the_last_ten_seconds() {
    let mut scene = Scene::new(Settings::default());
    let mut producer = scene.connect("producer");
    let mut second = |scene: &mut Scene, requests: usize| {
        for _ in 0..requests {
            let seq = producer.begin_produce(scene, &produce(Acks::None));
            producer.answer(scene, seq, Outcome::Unanswered, ErrorCode::NONE);
        }
        scene.collect();
        let rows = clients::view(&scene.registry, scene.now);
        (rows[0].records_per_s, rows[0].bytes_per_s)
    };
    // 5 requests of 10 records and 1,000 bytes in the first second.
    assert_eq!(second(&mut scene, 5), (50.0, 5_000.0));
    for _ in 0..20 {
        second(&mut scene, 2);
    }
    assert_eq!(second(&mut scene, 2), (20.0, 2_000.0));
    for _ in 0..9 {
        second(&mut scene, 0);
    }
    assert_eq!(second(&mut scene, 0), (0.0, 0.0));
}

#[test]
fn a_row_has_the_keys_that_readers_rely_on() {
    let mut scene = Scene::new(Settings::default());
    let mut client = scene.connect("c");
    client.fetch(&mut scene, &fetch(None, vec![batch(500, 5)]));
    scene.collect();
    let rows = serde_json::to_value(clients::view(&scene.registry, scene.now)).unwrap();
    let mut keys: Vec<&str> = rows[0].as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(
        keys,
        [
            "acks",
            "address",
            "apis",
            "batch_bytes_mean",
            "batch_records_mean",
            "bytes_in_per_s",
            "bytes_out_per_s",
            "bytes_per_s",
            "client_id",
            "codecs",
            "connections",
            "errors",
            "fetch_ms",
            "fetch_wait",
            "more_topics",
            "oldest_connection_s",
            "principals",
            "produce_ms",
            "records_in_per_s",
            "records_out_per_s",
            "records_per_s",
            "removed_in_4_0",
            "retransmits",
            "rtt_ms",
            "software",
            "topics",
        ]
    );
    assert!(rows[0]["produce_ms"].is_null());
    let mut keys: Vec<&str> = rows[0]["fetch_ms"].as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["count", "mean", "p50", "p99"]);
}

#[test]
fn a_row_says_which_versions_are_used_and_which_kafka_4_0_lacks() {
    let mut scene = Scene::new(Settings::default());
    let mut connection = scene.connect("old");
    connection.observe(&mut scene, Observation::Software { name: b"sarama", version: b"1.0" });
    for (api, version) in [(3, 1), (3, 9), (3, 4), (0, 2), (0, 3), (1, 4), (5, 0)] {
        connection.exchange(&mut scene, ApiKey(api), version);
    }
    let snapshot = scene.collect();
    let rows = clients::view(&scene.registry, scene.now);
    let [row] = rows.as_slice() else { panic!("one") };
    let metadata = row.apis["Metadata"];
    assert_eq!((metadata.requests, metadata.min_version, metadata.max_version), (3, Some(1), Some(9)));
    assert_eq!(row.apis["Produce"].requests, 2);
    assert_eq!(Vec::from_iter(row.removed_in_4_0.clone()), [("Produce".to_owned(), 1), ("StopReplica".to_owned(), 1)]);

    let of = |api| [("messaging.client.id", "old"), ("kafkascope.client.software", "sarama/1.0"), ("kafka.api", api)];
    for (api, lowest, highest) in [("Metadata", 1, 9), ("Produce", 2, 3), ("Fetch", 4, 4)] {
        assert_eq!(scene::sum(&snapshot, Metric::ClientApiVersionMin, &of(api)), lowest, "{api}");
        assert_eq!(scene::sum(&snapshot, Metric::ClientApiVersionMax, &of(api)), highest, "{api}");
    }
    assert_eq!(scene::sum(&snapshot, Metric::ClientRemovedIn40, &[("kafka.api", "Produce")]), 1);
    assert_eq!(scene::sum(&snapshot, Metric::ClientRemovedIn40, &[]), 2);
}

#[test]
fn a_version_that_is_used_no_more_is_forgotten_though_the_api_is_not() {
    let expiry = Expiry::new(Duration::from_secs(30)).unwrap();
    let mut scene = Scene::new(Settings { expiry, ..Settings::default() });
    let mut connection = scene.connect("upgraded");
    connection.exchange(&mut scene, ApiKey(0), 2);
    scene.collect();
    for _ in 0..60 {
        connection.exchange(&mut scene, ApiKey(0), 9);
        scene.collect();
    }
    let snapshot = scene.collect();
    assert_eq!(scene::sum(&snapshot, Metric::ClientApiVersionMin, &[]), 9);
    for _ in 0..60 {
        scene.collect();
    }
    assert_eq!(scene::series(&scene.collect(), Metric::ClientApiVersionMin).count(), 0, "nor is one that is idle");
}

#[test]
fn a_row_says_how_many_connections_are_open_and_how_old_the_oldest_is() {
    let mut scene = Scene::new(Settings::default());
    let mut oldest = scene.connect("c");
    oldest.exchange(&mut scene, ApiKey(3), 12);
    scene.pass(100 * SECOND);
    let mut other = scene.connect("c");
    other.exchange(&mut scene, ApiKey(3), 12);
    let row = |scene: &mut Scene| {
        let snapshot = scene.collect();
        let ages = scene::histogram(&snapshot, Metric::ConnectionDuration, &[("messaging.client.id", "c")]);
        let row = clients::view(&scene.registry, scene.now).remove(0);
        (row.connections, row.oldest_connection_s, ages.count(), ages.sum() / SECOND)
    };
    assert_eq!(row(&mut scene), (2, Some(101.0), 0, 0));
    oldest.recorder.closing(&mut scene.shard, scene.now, []);
    oldest.recorder.close(&mut scene.shard, CloseReason::Client);
    assert_eq!(row(&mut scene), (1, Some(2.0), 1, 101));
    other.observe(&mut scene, Observation::Client(Some(b"d")));
    assert_eq!(row(&mut scene), (0, None, 1, 101), "it is another's now");
}

#[test]
fn a_row_has_what_tcp_says_of_both_sides_and_a_total_is_right_at_the_end() {
    let mut scene = Scene::new(Settings::default());
    let mut connection = scene.connect_unnamed();
    let tcp = connection.recorder.connected(&scene.shard, || None);
    let figures =
        |retransmits, acknowledged| TcpFigures { rtt: 2_000_000, retransmits, delivery_rate: 5_000_000, acknowledged };
    tcp.record(&mut scene.shard, Side::Client, figures(3, 100));
    connection.observe(&mut scene, Observation::Client(Some(b"c")));
    connection.exchange(&mut scene, ApiKey(3), 12);
    tcp.record(&mut scene.shard, Side::Client, figures(4, 100));
    tcp.record(&mut scene.shard, Side::Client, figures(4, 100));
    tcp.record(&mut scene.shard, Side::Broker, figures(u32::MAX, 7));
    scene.collect();
    let last = [(Side::Client, figures(9, 200)), (Side::Broker, figures(1, 7))];
    connection.recorder.closing(&mut scene.shard, scene.now, last);
    connection.recorder.close(&mut scene.shard, CloseReason::Client);
    let snapshot = scene.collect();

    let row = clients::view(&scene.registry, scene.now).remove(0);
    assert_eq!(row.retransmits["client"], 9);
    assert_eq!(row.retransmits["broker"], u64::from(u32::MAX) + 2, "it wraps around");
    assert_eq!((row.rtt_ms["client"].count, row.rtt_ms["client"].mean), (2, 2.0), "once for each that was new");
    assert_eq!(row.rtt_ms["broker"].count, 1);
    let rates = scene::histogram(&snapshot, Metric::ConnectionDeliveryRate, &[("kafkascope.side", "client")]);
    assert_eq!((rates.count(), rates.sum()), (2, 10_000_000));
    let retransmits = [("server.address", "kafka-1"), ("kafkascope.side", "client")];
    assert_eq!(scene::sum(&snapshot, Metric::ConnectionRetransmits, &retransmits), 9);
}

#[test]
fn a_principal_is_an_attribute_only_where_it_is_wanted_and_within_its_cap() {
    let login = |settings: Settings| {
        let mut scene = Scene::new(settings);
        for name in ["alice", "bob", "carol"] {
            let mut connection = scene.connect("c");
            connection.exchange(&mut scene, ApiKey(17), 1);
            connection.observe(&mut scene, Observation::Principal { mechanism: b"PLAIN", name: name.as_bytes() });
            connection.exchange(&mut scene, ApiKey(3), 12);
            connection.recorder.close(&mut scene.shard, CloseReason::Client);
        }
        let snapshot = scene.collect();
        let row = clients::view(&scene.registry, scene.now);
        assert_eq!((row.len(), row[0].apis["Metadata"].requests), (1, 3), "one row, whoever it is");
        let by = |name| scene::sum(&snapshot, Metric::Requests, &[("user.name", name), ("kafka.api", "Metadata")]);
        let named = ["alice", "bob", "carol", "other"].map(by);
        (named, row[0].principals.clone(), scene::sum(&snapshot, Metric::SeriesFolded, &[("dimension", "principal")]))
    };
    assert_eq!(login(Settings::default()), ([0, 0, 0, 0], vec![], 0));
    let caps = Caps { principals: Cap::new(2).unwrap(), ..Caps::default() };
    let names = ["alice", "bob", "other"].map(str::to_owned).to_vec();
    assert_eq!(login(Settings { principal: true, caps, ..Settings::default() }), ([1, 1, 0, 1], names, 1));
}
