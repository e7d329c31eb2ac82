//! What becomes a span, why it is kept, what it is linked to, and the exemplars that lead to it.
#![allow(clippy::unwrap_used, reason = "a test stops at what it does not expect")]

mod scene;

use std::io::Write;

use kafkascope_protocol::{
    Acks, ApiKey, BatchHead, BatchPlan, Captured, CommitHead, CommitPartition, CommitResult, Direction, ErrorCode,
    FetchWait, Observation, Outcome, RequestSeq, Sink,
};
use kafkascope_telemetry::metric::Metric;
use kafkascope_telemetry::otlp::trace_request;
use kafkascope_telemetry::{Measurer, SampleRatio, Settings, TraceParent};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::Span;
use scene::{Connection, Fetch, Produce, Scene, fetch, produce, topic};

const CODECS: [(i16, &str); 5] = [(0, "none"), (1, "gzip"), (2, "snappy"), (3, "lz4"), (4, "zstd")];

fn settings(ratio: f64, trace_parent: TraceParent) -> Settings {
    Settings { spans: Some(SampleRatio::new(ratio).unwrap()), trace_parent, ..Settings::default() }
}

/// All spans, those that wait for their links too if these are the `last`.
fn spans(scene: &Scene, last: bool) -> Vec<Span> {
    let request = trace_request(&scene.registry.take_spans(usize::MAX, last), scene.registry.resource());
    request.resource_spans.into_iter().flat_map(|it| it.scope_spans).flat_map(|it| it.spans).collect()
}

fn attribute(attributes: &[KeyValue], key: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    Some(match found.value.clone()?.value? {
        any_value::Value::StringValue(text) => text,
        any_value::Value::IntValue(number) => number.to_string(),
        other => panic!("{other:?}"),
    })
}

fn varint(bytes: &mut Vec<u8>, number: i64) {
    let mut rest = ((number << 1) ^ (number >> 63)) as u64;
    while rest >= 0x80 {
        bytes.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
}

/// A record of magic 2.
fn record(delta: i64, headers: &[(&str, Option<&str>)]) -> Vec<u8> {
    record_of(b"value", delta, headers)
}

fn record_of(value: &[u8], delta: i64, headers: &[(&str, Option<&str>)]) -> Vec<u8> {
    let mut body = vec![0];
    [7, delta, -1, value.len() as i64].into_iter().for_each(|number| varint(&mut body, number));
    body.extend(value);
    varint(&mut body, headers.len() as i64);
    for (key, value) in headers {
        varint(&mut body, key.len() as i64);
        body.extend(key.as_bytes());
        varint(&mut body, value.map_or(-1, |value| value.len() as i64));
        body.extend(value.unwrap_or_default().as_bytes());
    }
    let mut record = Vec::new();
    varint(&mut record, body.len() as i64);
    record.extend(body);
    record
}

fn traceparent(number: u8, flags: u8) -> String {
    format!("00-{}-{}-{flags:02x}", format!("{number:02x}").repeat(16), format!("{number:02x}").repeat(8))
}

/// Records, each with a context of its own.
fn records(contexts: &[(u8, u8)]) -> Vec<u8> {
    let record = |(delta, &(number, flags)): (usize, &(u8, u8))| {
        let text = traceparent(number, flags);
        record(delta as i64, &[("other", Some("x")), ("null", None), ("traceparent", Some(&text))])
    };
    contexts.iter().enumerate().flat_map(record).collect()
}

fn compressed(codec: i16, content: &[u8]) -> Vec<u8> {
    match codec {
        0 => content.to_vec(),
        1 => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(content).unwrap();
            encoder.finish().unwrap()
        }
        2 => {
            // Xerial's framing, in two blocks.
            let mut framed = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01".to_vec();
            for block in content.chunks(content.len().div_ceil(2)) {
                let block = snap::raw::Encoder::new().compress_vec(block).unwrap();
                framed.extend((block.len() as u32).to_be_bytes());
                framed.extend(block);
            }
            framed
        }
        3 => {
            let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
            encoder.write_all(content).unwrap();
            encoder.finish().unwrap()
        }
        _ => zstd::encode_all(content, 3).unwrap(),
    }
}

fn head(codec: i16, records: usize, count: u32) -> BatchHead {
    BatchHead { attributes: codec, ..scene::batch(61 + records as u64, count) }
}

/// A batch passes. Whether it was kept.
fn pass(
    scene: &mut Scene,
    connection: &mut Connection,
    seq: RequestSeq,
    direction: Direction,
    head: BatchHead,
    bytes: &[u8],
) -> bool {
    let plan = connection.recorder.sink(&mut scene.shard).at_batch(direction, &head);
    let kept = matches!(plan, BatchPlan::Capture(most) if most as usize >= bytes.len());
    if kept {
        let captured = Captured { seq, direction, topic: topic("t"), head, bytes };
        connection.observe(scene, Observation::Captured(captured));
    }
    kept
}

/// A Produce request with a batch of these records in partition 3 of `t`, to which the broker gives base offset 5. Whether
/// its records were kept.
fn send(scene: &mut Scene, connection: &mut Connection, codec: i16, count: u32, bytes: &[u8]) -> bool {
    let request = Produce { partitions: vec![("t", 3, 0)], ..produce(Acks::All) };
    let seq = connection.begin_produce(scene, &request);
    let head = head(codec, bytes.len(), count);
    connection.batch(scene, seq, "t", head);
    let kept = pass(scene, connection, seq, Direction::Request, head, bytes);
    connection.result(scene, seq, "t", 3, ErrorCode::NONE);
    connection.answer(scene, seq, Outcome::Answered, ErrorCode::NONE);
    kept
}

/// What was kept has been looked at.
fn looked_at(scene: &mut Scene, measurer: Measurer) {
    scene.collect();
    measurer.finish();
    scene.collect();
}

/// Context, flags, partition and offset of each link.
fn links(span: &Span) -> Vec<(u8, u32, String, Option<String>)> {
    let link = |link: &opentelemetry_proto::tonic::trace::v1::span::Link| {
        assert!(link.trace_id == [link.trace_id[0]; 16] && link.span_id == [link.trace_id[0]; 8]);
        let partition = attribute(&link.attributes, "messaging.destination.partition.id").unwrap();
        (link.trace_id[0], link.flags & 0xff, partition, attribute(&link.attributes, "messaging.kafka.offset"))
    };
    span.links.iter().map(link).collect()
}

fn missed(scene: &mut Scene, reason: &str) -> i64 {
    scene::sum(&scene.collect(), Metric::SelfLinksMissed, &[("reason", reason)])
}

#[test]
fn a_send_span_is_linked_to_the_contexts_of_its_records_with_partition_and_offset_whatever_the_codec() {
    for (codec, name) in CODECS {
        let mut scene = Scene::new(settings(1.0, TraceParent::None));
        let measurer = Measurer::start(&scene.registry).unwrap();
        let mut connection = scene.connect("app");
        let content = [records(&[(1, 1), (2, 0), (1, 1)]), record(3, &[]), record(4, &[("traceparent", Some("junk"))])];
        let bytes = compressed(codec, &content.concat());
        assert!(send(&mut scene, &mut connection, codec, 5, &bytes), "{name}");
        looked_at(&mut scene, measurer);
        let spans = spans(&scene, false);
        let [span] = &spans[..] else { panic!("{name}: {spans:?}") };
        assert_eq!(span.name, "send t");
        let link = |context, flags, offset: &str| (context, flags, "3".to_owned(), Some(offset.to_owned()));
        assert_eq!(links(span), [link(1, 1, "5"), link(2, 0, "6")], "{name}");
        assert_eq!((span.dropped_links_count, span.parent_span_id.len()), (0, 0));
        if codec != 0 {
            let ratio = scene::histogram(&scene.collect(), Metric::CompressionRatio, &[("kafkascope.codec", name)]);
            let expected = (bytes.len() as f64 / content.concat().len() as f64 * 1e6).round() as u64;
            assert_eq!((ratio.count(), ratio.sum()), (1, expected), "{name} has a ratio still");
        }
    }
}

#[test]
fn a_poll_span_is_linked_to_what_its_consumer_is_given_and_to_nothing_else() {
    for (codec, name) in CODECS {
        let mut scene = Scene::new(settings(1.0, TraceParent::None));
        let measurer = Measurer::start(&scene.registry).unwrap();
        let mut connection = scene.connect("app");
        let bytes = compressed(codec, &records(&[(1, 1), (2, 1), (3, 0)]));
        let head = head(codec, bytes.len(), 3);
        let mut control = head;
        control.attributes |= 0x20;
        let fetch = Fetch { batches: vec![head, control], ..fetch(Some(101), Vec::new()) };
        connection.fetch_with(&mut scene, &fetch, |scene, connection, seq, head| {
            let kept = pass(scene, connection, seq, Direction::Response, head, &bytes);
            assert_eq!(kept, !head.is_control());
        });
        looked_at(&mut scene, measurer);
        let spans = spans(&scene, false);
        let [span] = &spans[..] else { panic!("{name}: {spans:?}") };
        assert_eq!(span.name, "poll t");
        let link = |context, flags, offset: &str| (context, flags, "0".to_owned(), Some(offset.to_owned()));
        assert_eq!(links(span), [link(2, 1, "101"), link(3, 0, "102")], "{name}");
    }
}

#[test]
fn the_records_of_what_is_not_sampled_are_never_kept() {
    for settings in [settings(0.0, TraceParent::None), Settings::default()] {
        let mut scene = Scene::new(settings);
        let mut connection = scene.connect("app");
        for (codec, name) in CODECS {
            assert!(!send(&mut scene, &mut connection, codec, 1, &compressed(codec, &records(&[(1, 1)]))), "{name}");
        }
        let kept = |head: BatchHead| fetch(None, vec![head]);
        connection.fetch_with(&mut scene, &kept(head(0, 100, 1)), |scene, connection, seq, head| {
            assert!(!pass(scene, connection, seq, Direction::Response, head, &[0; 100]));
        });
    }
}

#[test]
fn the_only_sampled_context_is_the_parent_if_that_is_wanted_and_nothing_is_if_there_are_two() {
    for (contexts, wanted, parent) in [
        (&[(1, 1), (2, 0), (1, 1)][..], TraceParent::Single, Some(1)),
        (&[(1, 1), (2, 1)], TraceParent::Single, None),
        (&[(1, 0)], TraceParent::Single, None),
        (&[(1, 1)], TraceParent::None, None),
    ] {
        let mut scene = Scene::new(settings(1.0, wanted));
        let measurer = Measurer::start(&scene.registry).unwrap();
        let mut connection = scene.connect("app");
        send(&mut scene, &mut connection, 0, contexts.len() as u32, &records(contexts));
        looked_at(&mut scene, measurer);
        let spans = spans(&scene, false);
        let [span] = &spans[..] else { panic!("{spans:?}") };
        assert_eq!(span.parent_span_id, parent.map(|it| vec![it; 8]).unwrap_or_default(), "{contexts:?}");
        assert!(parent.is_none_or(|it| span.trace_id == [it; 16]), "{contexts:?}");
        assert_eq!(span.trace_id.len(), 16);
    }
}

#[test]
fn a_span_waits_for_its_links_for_a_bounded_time_and_then_goes_without() {
    let mut scene = Scene::new(settings(1.0, TraceParent::Single));
    let mut connection = scene.connect("app");
    send(&mut scene, &mut connection, 0, 1, &records(&[(1, 1)]));
    scene.collect();
    assert_eq!(spans(&scene, false).len(), 0, "nobody has looked yet");
    (0..5).for_each(|_| drop(scene.collect()));
    let late = spans(&scene, false);
    assert_eq!((late.len(), late[0].links.len(), late[0].parent_span_id.len()), (1, 0, 0));
    assert_eq!(missed(&mut scene, "late"), 1);
    send(&mut scene, &mut connection, 0, 1, &records(&[(1, 1)]));
    scene.collect();
    assert_eq!(spans(&scene, true).len(), 1, "at the end nothing is waited for");
}

#[test]
fn hostile_records_cost_their_span_nothing_but_links() {
    let huge = |numbers: &[i64]| {
        let mut body = vec![0];
        numbers.iter().for_each(|&number| varint(&mut body, number));
        let mut record = Vec::new();
        varint(&mut record, body.len() as i64);
        [record, body].concat()
    };
    let whole = records(&[(1, 1)]);
    let max = i64::from(i32::MAX);
    let mut hostile = vec![
        ("a length that never ends", vec![0xff; 40]),
        ("a record longer than the batch", vec![0xfe, 0xff, 0xff, 0xff, 0x0f, 0]),
        ("a negative length", vec![0x03]),
        ("a key longer than its record", huge(&[0, 0, max])),
        ("a value longer than its record", huge(&[0, 0, -1, max])),
        ("two thousand million headers", huge(&[0, 0, -1, -1, max])),
        ("a negative number of headers", huge(&[0, 0, -1, -1, -7])),
        ("a header longer than its record", huge(&[0, 0, -1, -1, 1, 11])),
        ("an offset delta of 64 bits", huge(&[0, i64::MAX, -1, -1, 0])),
        ("nothing", vec![0]),
    ];
    hostile.extend((1..whole.len()).map(|cut| ("a torn record", whole[..cut].to_vec())));
    for (what, bytes) in hostile {
        for (codec, name) in CODECS {
            let mut scene = Scene::new(settings(1.0, TraceParent::Single));
            let measurer = Measurer::start(&scene.registry).unwrap();
            let mut connection = scene.connect("app");
            assert!(send(&mut scene, &mut connection, codec, 1, &compressed(codec, &bytes)));
            looked_at(&mut scene, measurer);
            let spans = spans(&scene, false);
            assert_eq!((spans.len(), spans[0].links.len()), (1, 0), "{what}, {name}");
            assert_eq!(missed(&mut scene, "malformed"), 1, "{what}, {name}");
        }
    }
}

#[test]
fn compressed_records_that_are_broken_or_a_bomb_are_counted_and_bounded() {
    let content = records(&[(1, 1)]);
    // One record with a value of 100 MiB, or as much as snappy has room for in a batch.
    let (huge, smaller) = (record_of(&vec![0; 100 << 20], 0, &[]), record_of(&vec![0; 18 << 20], 0, &[]));
    for (codec, name) in CODECS.into_iter().skip(1) {
        let mut scene = Scene::new(settings(1.0, TraceParent::None));
        let measurer = Measurer::start(&scene.registry).unwrap();
        let mut connection = scene.connect("app");
        let good = compressed(codec, &content);
        assert!(send(&mut scene, &mut connection, codec, 1, &good[..good.len() / 2]));
        assert!(send(&mut scene, &mut connection, codec, 1, b"not compressed at all"));
        let bomb = compressed(codec, if codec == 2 { &smaller } else { &huge });
        assert!(bomb.len() <= 1 << 20, "{name}: {}", bomb.len());
        assert!(send(&mut scene, &mut connection, codec, 1, &bomb));
        looked_at(&mut scene, measurer);
        assert_eq!(spans(&scene, false).len(), 3, "{name}");
        let snapshot = scene.collect();
        let sum = |metric, labels: &[(&str, &str)]| scene::sum(&snapshot, metric, labels);
        assert_eq!(sum(Metric::SelfLinksMissed, &[("reason", "malformed")]), 2, "{name}");
        assert_eq!(sum(Metric::SelfLinksMissed, &[("reason", "output_cap")]), 1, "{name}");
        assert!(sum(Metric::SelfDecompressed, &[]) <= 17 << 20, "{name}: the cap of one batch, and some bytes");
    }
}

#[test]
fn records_are_kept_within_a_budget_a_second_and_the_rest_is_counted() {
    let mut scene = Scene::new(settings(1.0, TraceParent::None));
    let mut connection = scene.connect("app");
    let bytes = vec![1; 1 << 19];
    let kept = (0..20).filter(|_| send(&mut scene, &mut connection, 0, 1, &bytes)).count();
    assert_eq!((kept, missed(&mut scene, "budget")), (8, 12));
    assert!(send(&mut scene, &mut connection, 0, 1, &bytes), "the next second has its own");
    assert!(!send(&mut scene, &mut connection, 0, 1, &vec![1; (1 << 20) + 1]));
    assert_eq!(missed(&mut scene, "too_large"), 1);
}

/// A commit of these topics and partitions, answered with these errors.
fn commit(scene: &mut Scene, connection: &mut Connection, topics: &[(&'static str, &[(i32, i16)])]) {
    let seq = connection.begin(scene, ApiKey(8), 9);
    let head = CommitHead {
        seq,
        group: b"readers",
        generation: Some(1),
        member_id: Some(b"m"),
        instance_id: None,
        transaction: None,
    };
    connection.observe(scene, Observation::CommitHead(head));
    for (name, partitions) in topics {
        for &(partition, _) in *partitions {
            let commit = CommitPartition { seq, topic: topic(name), partition, offset: 7, leader_epoch: None };
            connection.observe(scene, Observation::CommitPartition(commit));
        }
    }
    let mut worst = ErrorCode::NONE;
    for (name, partitions) in topics {
        for &(partition, error) in *partitions {
            let error = ErrorCode(error);
            worst = if worst.is_none() { error } else { worst };
            let result = CommitResult { seq, topic: topic(name), partition, error };
            connection.observe(scene, Observation::CommitResult(result));
        }
    }
    connection.answer(scene, seq, Outcome::Answered, worst);
}

#[test]
fn a_commit_is_a_span_for_each_topic_with_its_group_and_error() {
    let mut scene = Scene::new(settings(1.0, TraceParent::None));
    let mut connection = scene.connect("app");
    commit(&mut scene, &mut connection, &[("a", &[(0, 0), (1, 0)]), ("b", &[(4, 22)])]);
    scene.collect();
    let spans = spans(&scene, false);
    let [a, b] = &spans[..] else { panic!("{spans:?}") };
    assert_eq!((a.name.as_str(), b.name.as_str()), ("commit a", "commit b"));
    for (span, partition, error) in [(a, None, None), (b, Some("4"), Some("ILLEGAL_GENERATION"))] {
        let of = |key| attribute(&span.attributes, key);
        assert_eq!(of("messaging.consumer.group.name").as_deref(), Some("readers"));
        assert_eq!(of("messaging.operation.type").as_deref(), Some("settle"));
        assert_eq!(of("kafka.api").as_deref(), Some("OffsetCommit"));
        assert_eq!(of("messaging.destination.partition.id").as_deref(), partition);
        assert_eq!(of("error.type").as_deref(), error);
        assert_eq!(of("messaging.batch.message_count"), None, "a commit has no messages");
    }
}

#[test]
fn commits_that_are_not_sampled_are_no_spans_unless_they_fail() {
    let mut scene = Scene::new(settings(0.0, TraceParent::None));
    let mut connection = scene.connect("app");
    commit(&mut scene, &mut connection, &[("a", &[(0, 0)]), ("b", &[(0, 22)])]);
    scene.collect();
    assert_eq!(spans(&scene, false).iter().map(|span| span.name.as_str()).collect::<Vec<_>>(), ["commit b"]);
}

#[test]
fn what_is_slower_than_99_in_100_of_its_kind_is_kept_and_what_waited_for_records_is_not() {
    let mut scene = Scene::new(settings(0.0, TraceParent::None));
    let mut connection = scene.connect("app");
    let fetched = |wait| Fetch { wait: Some(wait), batches: vec![head(0, 100, 1)], ..fetch(None, Vec::new()) };
    for _ in 0..300 {
        connection.exchange_produce(&mut scene, "t", ErrorCode::NONE);
        connection.fetch(&mut scene, &fetched(FetchWait::Served));
    }
    scene.collect();
    assert_eq!(spans(&scene, false).len(), 0);
    connection.slower_by = 10_000_000;
    connection.exchange_produce(&mut scene, "t", ErrorCode::NONE);
    connection.fetch(&mut scene, &fetched(FetchWait::Waited));
    connection.fetch(&mut scene, &fetched(FetchWait::Served));
    scene.collect();
    assert_eq!(spans(&scene, false).iter().map(|span| span.name.as_str()).collect::<Vec<_>>(), ["send t", "poll t"]);
}

#[test]
fn failures_are_kept_within_a_budget_and_the_rest_is_counted() {
    let mut scene = Scene::new(settings(0.0, TraceParent::None));
    let mut connection = scene.connect("app");
    (0..700).for_each(|_| connection.exchange_produce(&mut scene, "t", ErrorCode(6)));
    let snapshot = scene.collect();
    assert_eq!(spans(&scene, false).len(), 500);
    assert_eq!(scene::sum(&snapshot, Metric::SelfSpansDropped, &[("reason", "tail_budget")]), 200);
}

#[test]
fn a_span_leaves_an_exemplar_in_the_duration_of_its_request() {
    let mut scene = Scene::new(settings(1.0, TraceParent::None));
    let mut connection = scene.connect("app");
    connection.exchange_produce(&mut scene, "t", ErrorCode::NONE);
    connection.exchange(&mut scene, ApiKey(3), 12);
    let snapshot = scene.collect();
    let with = |api: &str| {
        let durations = scene::series(&snapshot, Metric::RequestDuration);
        let mut of_api = durations
            .filter(|point| point.series.attributes().iter().any(|(_, value)| value.scalar().to_string() == api));
        of_api.any(|point| point.exemplar.is_some())
    };
    assert!(with("Produce"));
    assert!(!with("Metadata"), "no span tells of it");
}
