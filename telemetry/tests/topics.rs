//! The rows of `/api/topics`.

mod scene;

use kafkascope_protocol::{Acks, ErrorCode, Outcome};
use kafkascope_telemetry::{Settings, topics};
use scene::{Fetch, Produce, Scene, batch, fetch, produce, topic};

#[test]
fn a_row_says_who_moves_how_much_of_a_topic() {
    let mut scene = Scene::new(Settings::default());
    for (name, requests) in [("small", 1), ("big", 4)] {
        let mut producer = scene.connect(name);
        for _ in 0..requests {
            let request = Produce { partitions: vec![("a", 0, 2), ("b", 0, 1)], ..produce(Acks::None) };
            let seq = producer.begin_produce(&mut scene, &request);
            producer.answer(&mut scene, seq, Outcome::Unanswered, ErrorCode::NONE);
        }
    }
    let mut consumer = scene.connect("reader");
    consumer.fetch(&mut scene, &Fetch { topic: topic("a"), ..fetch(None, vec![batch(500, 5)]) });
    scene.collect();

    let rows = topics::view(&scene.registry, scene.now);
    assert_eq!(rows.iter().map(|row| row.topic.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    let [a, b] = rows.as_slice() else { panic!("two") };
    assert_eq!((a.producers, a.consumers, b.producers, b.consumers), (2, 1, 2, 0));
    assert_eq!((a.moved.bytes_in, a.moved.bytes_out, a.moved.records_in, a.moved.records_out), (10_000, 500, 100, 5));
    // All of it in the first second.
    assert_eq!((a.rate.bytes_in_per_s, a.rate.records_out_per_s, b.rate.bytes_in_per_s), (10_000.0, 5.0, 5_000.0));
    assert_eq!((a.batch_bytes_mean, a.batch_records_mean), (Some(2_000.0), Some(20.0)));
    assert_eq!(Vec::from_iter(a.codecs.clone()), [("lz4".to_owned(), 5)]);
    let clients: Vec<_> = a.clients.iter().map(|client| (client.client_id.as_str(), client.moved.bytes_in)).collect();
    assert_eq!(clients, [("big", 8_000), ("small", 2_000), ("reader", 0)]);
}

#[test]
fn a_row_lists_fifty_clients_and_counts_the_others() {
    let mut scene = Scene::new(Settings::default());
    for number in 0..60 {
        let mut producer = scene.connect(&format!("c{number}"));
        let seq = producer.begin_produce(&mut scene, &produce(Acks::None));
        producer.answer(&mut scene, seq, Outcome::Unanswered, ErrorCode::NONE);
    }
    scene.collect();
    let rows = topics::view(&scene.registry, scene.now);
    assert_eq!((rows[0].clients.len(), rows[0].more_clients, rows[0].producers), (50, 10, 60));
}
