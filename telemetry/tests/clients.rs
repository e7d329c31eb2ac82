//! The rows of `/api/clients`.

mod scene;

use kafkascope_protocol::{Acks, ApiKey, ErrorCode, FetchWait, Observation, Outcome};
use kafkascope_telemetry::{Settings, clients};
use scene::{Fetch, Produce, Scene, batch, fetch, produce};

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
            "batch_bytes_mean",
            "batch_records_mean",
            "bytes_per_s",
            "client_id",
            "codecs",
            "errors",
            "fetch_ms",
            "fetch_wait",
            "produce_ms",
            "records_per_s",
            "software",
        ]
    );
    assert!(rows[0]["produce_ms"].is_null());
    let mut keys: Vec<&str> = rows[0]["fetch_ms"].as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["count", "mean", "p50", "p99"]);
}
