//! The sink's answer at a batch head: skip, the last bytes, or the first ones, under a budget that connections share.

mod support;

use kafkascope_protocol::{
    BatchHead, BatchPlan, CaptureBudget, Captured, Connection, Depth, Direction, Limits, Observation, Timestamp,
};
use proptest::prelude::*;
use support::conversation::{Turn, say};
use support::feed::{BUDGET, Feed, Opaque, Pieces, observed};
use support::log::{Arena, Log};
use support::random::Random;
use support::wire::{Batch, Fetch, Fetched, fetched_v11, produce_v3, produced_v3};

/// The plan is told by the batch itself, so that it needs no state: `base_offset` says which, `base_sequence` how much.
fn as_told(head: &BatchHead) -> BatchPlan {
    match head.base_offset % 3 {
        0 => BatchPlan::Skip,
        1 => BatchPlan::Tail(head.base_sequence as u16),
        _ => BatchPlan::Capture(head.base_sequence as u32),
    }
}

/// What `as_told` must give of a batch's records.
fn wanted(batch: &Batch) -> Option<&[u8]> {
    let asked = batch.base_sequence as usize;
    let records = &batch.records[..];
    let part = match batch.base_offset % 3 {
        0 => return None,
        1 => &records[records.len().saturating_sub(asked)..],
        _ => &records[..asked.min(records.len())],
    };
    (!part.is_empty()).then_some(part)
}

fn random_batches(random: &mut Random, count: usize) -> Vec<Batch> {
    (0..count)
        .map(|_| {
            let length = random.below(400);
            Batch {
                base_offset: random.below(1000) as i64,
                base_sequence: [0, 1, 4, 100, 60_000][random.below(5)],
                max_timestamp: random.i64(),
                records: random.bytes(length),
                ..Batch::default()
            }
        })
        .collect()
}

fn captured<'a>(log: &Log<'a>) -> Vec<Captured<'a>> {
    log.facts.iter().filter_map(|it| if let Observation::Captured(it) = it { Some(*it) } else { None }).collect()
}

fn refused(log: &Log<'_>) -> Vec<u32> {
    let facts = log.facts.iter();
    facts.filter_map(|it| if let Observation::CaptureRefused { bytes } = it { Some(*bytes) } else { None }).collect()
}

fn encoded(batches: &[Batch]) -> Vec<u8> {
    batches.iter().flat_map(Batch::encode).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn captured_bytes_are_the_real_ones_in_any_chunks_and_directions(content in any::<u64>(), cuts in any::<u64>()) {
        let mut random = Random::new(content);
        let (produced, fetched) = (random_batches(&mut random, 6), random_batches(&mut random, 6));
        let mut turns = Vec::new();
        say(&mut turns, Direction::Request, &produce_v3(1, 1, &encoded(&produced)));
        say(&mut turns, Direction::Request, &Fetch { correlation_id: 2, ..Fetch::default() }.v11());
        say(&mut turns, Direction::Response, &produced_v3(1, 0));
        let partition = Fetched {
            topic: "orders", partition: 0, error: 0, high_watermark: 9, last_stable_offset: 9, records: encoded(&fetched),
        };
        say(&mut turns, Direction::Response, &fetched_v11(2, 0, 0, &[partition]));
        let expected: Vec<(Direction, i64, &[u8])> = [(Direction::Request, &produced), (Direction::Response, &fetched)]
            .into_iter()
            .flat_map(|(direction, batches)| batches.iter().map(move |batch| (direction, batch)))
            .filter_map(|(direction, batch)| Some((direction, batch.max_timestamp, wanted(batch)?)))
            .collect();
        for (pieces, opaque) in [
            (Pieces::Whole, Opaque::Shown),
            (Pieces::Single, Opaque::Announced),
            (Pieces::Random, Opaque::Announced),
            (Pieces::Random, Opaque::Mixed),
        ] {
            let arena = Arena::default();
            // `observed` also checks that the budget is whole again.
            let feed = observed(&arena, as_told, &turns, pieces, opaque, cuts);
            let seen: Vec<_> =
                captured(&feed.log).iter().map(|it| (it.direction, it.head.max_timestamp, it.bytes)).collect();
            prop_assert_eq!(&seen, &expected);
            prop_assert_eq!(refused(&feed.log), Vec::<u32>::new());
            prop_assert_eq!(feed.log.asked.len(), produced.len() + fetched.len());
        }
    }
}

/// The forwarder may splice what is announced, so no byte of a capture may be among it.
#[test]
fn a_captured_range_is_never_announced_as_opaque() {
    let mut random = Random::new(3);
    let batches = random_batches(&mut random, 40);
    let request = produce_v3(1, 1, &encoded(&batches));
    let arena = Arena::default();
    let mut feed = Feed::with_plan(&arena, as_told);
    // Byte by byte, each position gets known as needed (true) or opaque (false).
    let mut needed = Vec::new();
    let mut opaque = 0;
    for byte in &request {
        needed.push(opaque == 0);
        opaque = feed.show(Direction::Request, &[*byte]);
    }
    let mut at = request.len() - encoded(&batches).len();
    for batch in &batches {
        let records = at + 61..at + 61 + batch.records.len();
        let Some(part) = wanted(batch) else {
            assert!(needed[records.clone()].iter().all(|needed| !needed), "nobody asked for these");
            at = records.end;
            continue;
        };
        let kept = if batch.base_offset % 3 == 1 {
            records.end - part.len()..records.end
        } else {
            records.start..records.start + part.len()
        };
        assert!(needed[kept.clone()].iter().all(|needed| *needed), "a captured byte was announced");
        let others = records.clone().filter(|position| !kept.contains(position));
        assert!(others.into_iter().all(|position| !needed[position]), "the others are opaque");
        at = records.end;
    }
    assert_eq!(at, request.len());
}

#[test]
fn over_the_budget_a_capture_is_refused_counted_and_opaque() {
    let arena = Arena::default();
    let plan = |_: &BatchHead| BatchPlan::Capture(u32::MAX);
    let mut feed = Feed::with(Limits::default(), Depth::Full, 1000, Log::with_plan(&arena, plan));
    let batch = |size| Batch { records: vec![9; size], ..Batch::default() };
    let turns = [Turn {
        direction: Direction::Request,
        bytes: produce_v3(1, 1, &encoded(&[batch(1000), batch(1001), batch(1), batch(0), batch(50_000)])),
    }];
    feed.play(&turns, Pieces::Single, Opaque::Announced, &mut Random::new(0));
    let sizes: Vec<_> = captured(&feed.log).iter().map(|it| it.bytes.len()).collect();
    assert_eq!(sizes, [1000, 1]);
    assert_eq!(refused(&feed.log), [1001, 50_000]);
    assert_eq!(feed.announced, 51_001, "what was refused");
    assert_eq!(feed.budget.available(), 1000);
}

#[test]
fn connections_of_a_worker_share_the_budget_and_give_it_back_at_end_close_gap_and_drop() {
    let budget = CaptureBudget::new(500);
    let plan = |_: &BatchHead| BatchPlan::Capture(u32::MAX);
    let batch = Batch { records: vec![9; 400], ..Batch::default() };
    let request = produce_v3(1, 1, &batch.encode());
    let (first, last) = request.split_at(request.len() - 1);
    let arena = Arena::default();
    let begun = || {
        let mut log = Log::with_plan(&arena, plan);
        let mut connection = Connection::new(Limits::default(), Depth::Full, budget.clone());
        connection.on_bytes(Direction::Request, Timestamp(1), first, &mut log);
        (connection, log)
    };
    let (mut holder, mut log) = begun();
    assert_eq!(budget.available(), 100);
    let (_other, other_log) = begun();
    assert_eq!((refused(&other_log), budget.available()), (vec![400], 100), "the other one is too late");

    holder.on_bytes(Direction::Request, Timestamp(2), last, &mut log);
    assert_eq!((captured(&log).len(), budget.available()), (1, 500), "given back at its end");

    let (mut holder, mut log) = begun();
    assert_eq!(budget.available(), 100);
    holder.on_close(Timestamp(3), &mut log);
    assert_eq!((captured(&log).len(), budget.available()), (0, 500), "given back at close");

    let (mut holder, mut log) = begun();
    assert_eq!(budget.available(), 100);
    holder.on_gap(Direction::Request, Timestamp(3), 1, &mut log);
    assert_eq!((captured(&log).len(), budget.available()), (0, 500), "given back at a gap");

    let (holder, _log) = begun();
    assert_eq!(budget.available(), 100);
    drop(holder);
    assert_eq!(budget.available(), 500, "given back when the connection is gone");
}

/// gzip keeps the uncompressed size in its last four bytes.
#[test]
fn the_tail_of_a_gzip_batch_is_its_uncompressed_size() {
    use kafka_protocol::records::{Compression, Record, RecordBatchEncoder, RecordEncodeOptions, TimestampType};
    let records: Vec<Record> = (0..50)
        .map(|i| Record {
            transactional: false,
            control: false,
            delete_horizon: false,
            partition_leader_epoch: 0,
            producer_id: -1,
            producer_epoch: -1,
            timestamp_type: TimestampType::Creation,
            offset: i,
            sequence: -1 + i as i32,
            timestamp: 5,
            key: None,
            value: Some(vec![b'v'; 100].into()),
            headers: Default::default(),
        })
        .collect();
    let encode = |compression| {
        let mut bytes = bytes::BytesMut::new();
        RecordBatchEncoder::encode(&mut bytes, &records, &RecordEncodeOptions { version: 2, compression })
            .expect("a batch");
        bytes.to_vec()
    };
    let uncompressed = encode(Compression::None).len() - 61;
    let arena = Arena::default();
    let mut feed = Feed::with_plan(&arena, |_| BatchPlan::Tail(4));
    feed.request(&produce_v3(1, 1, &encode(Compression::Gzip)));
    let [tail] = captured(&feed.log)[..] else { panic!("{:?}", feed.log.facts) };
    assert_eq!(tail.bytes, (uncompressed as u32).to_le_bytes());
    assert_eq!(feed.budget.available(), BUDGET);
}
