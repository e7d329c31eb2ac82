//! Memory: none per frame in the steady state, none for the size of a frame, and a bound for whatever a peer invents.
//!
//! Allocations are counted per thread by a counting allocator, so tests in parallel do not disturb each other.

mod support;

use allocation_counter::{AllocationInfo, measure};
use kafkascope_protocol::{
    BatchHead, BatchPlan, CaptureBudget, Connection, Depth, Direction, Limits, Observation, Sink, Timestamp,
};
use support::conversation::random_exchange;
use support::random::Random;
use support::wire::{
    Batch, Fetch, Fetched, Wire, fetched_v11, header_v1, header_v2, produce_v3, produced_v3, response_v0,
};

/// Counts and keeps nothing.
#[derive(Default)]
struct Count {
    facts: u64,
    exchanges: u64,
    undecoded: u64,
    measured: u64,
    plan: Option<BatchPlan>,
}

impl Sink for Count {
    fn observe(&mut self, observation: Observation<'_>) {
        self.facts += 1;
        self.exchanges += u64::from(matches!(observation, Observation::Exchange(_)));
        self.undecoded += u64::from(matches!(observation, Observation::Undecoded(_)));
        self.measured += u64::from(matches!(observation, Observation::Measured(_)));
    }

    fn at_batch(&mut self, _direction: Direction, _head: &BatchHead) -> BatchPlan {
        self.plan.unwrap_or(BatchPlan::Skip)
    }
}

/// A connection whose bytes are written as soon as they are read.
struct Passing {
    connection: Connection,
    sink: Count,
    now: u64,
}

impl Passing {
    fn new(limits: Limits) -> Self {
        Self {
            connection: Connection::new(limits, Depth::Full, CaptureBudget::default()),
            sink: Count::default(),
            now: 0,
        }
    }

    fn pass(&mut self, direction: Direction, bytes: &[u8]) -> u64 {
        self.now += 1;
        let opaque = self.connection.on_bytes(direction, Timestamp(self.now), bytes, &mut self.sink);
        self.connection.on_written(direction, Timestamp(self.now), bytes.len() as u64, &mut self.sink);
        opaque
    }

    fn pass_unseen(&mut self, direction: Direction, count: u64) {
        self.now += 1;
        self.connection.on_opaque(direction, Timestamp(self.now), count, &mut self.sink);
        self.connection.on_written(direction, Timestamp(self.now), count, &mut self.sink);
    }
}

#[test]
fn nothing_is_allocated_in_the_steady_state() {
    let batch = Batch { records: vec![1; 3000], ..Batch::default() };
    let gzip = Batch { attributes: 1, ..batch.clone() };
    let xerial = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01\0\0\0\x03\x07aa\0\0\0\x09\x81\x01aaaaaaa";
    let snappy = Batch { attributes: 2, records: xerial.to_vec(), ..batch.clone() };
    let produced = produce_v3(1, 1, &[batch.encode(), gzip.encode(), snappy.encode()].concat());
    let produced_unanswered = produce_v3(1, 0, &batch.encode());
    let acked = produced_v3(1, 0);
    let asked = [("orders", 0, 7), ("payments", 1, 8)];
    let fetch = Fetch { asked: &asked, ..Fetch::default() }.v11();
    let partition = |topic, partition| Fetched {
        topic,
        partition,
        error: 0,
        high_watermark: 9,
        last_stable_offset: 9,
        records: batch.encode(),
    };
    let fetched = fetched_v11(1, 0, 0, &[partition("orders", 0), partition("payments", 1)]);
    let heartbeat = header_v1(12, 0, 1, Some("client")).string(Some("group")).i32(1).string(Some("member")).frame();
    let beat = response_v0(1).i16(0).frame();
    let commit = header_v1(8, 2, 1, Some("client")).string(Some("group")).i32(1).string(Some("member")).i64(-1).i32(1);
    let commit = commit.string(Some("orders")).i32(1).i32(0).i64(7).string(None).frame();
    let committed = response_v0(1).i32(1).string(Some("orders")).i32(1).i32(0).i16(0).frame();

    for chunk in [1, 7, 100, usize::MAX] {
        let mut passing = Passing::new(Limits::default());
        passing.sink.plan = Some(BatchPlan::Measure { capture: 0 });
        let mut round = || {
            let exchanges = [
                (&produced, Some(&acked)),
                (&produced_unanswered, None),
                (&fetch, Some(&fetched)),
                (&heartbeat, Some(&beat)),
                (&commit, Some(&committed)),
            ];
            for (request, response) in exchanges {
                for (direction, bytes) in [(Direction::Request, Some(request)), (Direction::Response, response)] {
                    for piece in bytes.into_iter().flat_map(|bytes| bytes.chunks(chunk.min(bytes.len()))) {
                        passing.pass(direction, piece);
                    }
                }
            }
        };
        // Topics get known, buffers get their size.
        (0..3).for_each(|_| round());
        let steady = measure(|| (0..20).for_each(|_| round()));
        assert_eq!(steady.count_total, 0, "in pieces of {chunk}: {steady:?}");
        assert_eq!((passing.sink.exchanges, passing.sink.measured), (23 * 5, 23 * 6));
    }
}

#[test]
fn a_frame_of_100_mb_does_not_grow_memory() {
    const SIZE: usize = 100 << 20;
    let records = Batch { records: vec![0; 100], ..Batch::default() }.encode();
    let small = produce_v3(1, 1, &records);
    // The same frame with lengths that tell of 100 MB more.
    let mut large = small.clone();
    let batch_length = large.len() - records.len() + 8;
    for at in [0, large.len() - records.len() - 4, batch_length] {
        let length = i32::from_be_bytes(large[at..at + 4].try_into().expect("four bytes")) + SIZE as i32;
        large[at..at + 4].copy_from_slice(&length.to_be_bytes());
    }
    for shown in [true, false] {
        let mut passing = Passing::new(Limits::default());
        let zeroes = vec![0; 256 << 10];
        let mut opaque = 0;
        let used = measure(|| {
            opaque = passing.pass(Direction::Request, &large);
            for _ in 0..SIZE / zeroes.len() {
                if shown {
                    passing.pass(Direction::Request, &zeroes);
                } else {
                    passing.pass_unseen(Direction::Request, zeroes.len() as u64);
                }
            }
            passing.pass(Direction::Response, &produced_v3(1, 0));
        });
        assert_eq!(opaque, SIZE as u64, "the records are opaque to the last byte");
        assert_eq!(passing.sink.exchanges, 1);
        assert!(used.bytes_max < 8 << 10, "{used:?}");
    }
}

/// Also when the large frame is a collected body, a single element, a name, or an array that claims to be long.
#[test]
fn no_length_of_a_peer_reserves_memory() {
    let limits = Limits::default();
    let bound = 4 * limits.collected.max(limits.field) as u64;
    let huge = 90 << 20;
    let head = |wire: Wire| -> Vec<u8> { [&i32::to_be_bytes(100 << 20)[..], &wire.0].concat() };
    let cases = [
        ("a software name", head(header_v2(18, 3, 1, Some("c")).uvarint(huge))),
        ("a token", head(header_v1(36, 0, 1, Some("c")).i32(huge as i32))),
        ("a transactional id", head(header_v2(0, 9, 1, Some("c")).uvarint(huge))),
        ("a topic name", head(header_v2(0, 9, 1, Some("c")).uvarint(0).i16(1).i32(1).uvarint(2).uvarint(huge))),
        ("topics", head(header_v2(0, 9, 1, Some("c")).uvarint(0).i16(1).i32(1).uvarint(u32::MAX))),
        ("fetched topics", head(header_v1(1, 4, 1, Some("c")).i32(-1).i32(1).i32(1).i32(1).i8(0).i32(i32::MAX))),
        ("a group", head(header_v2(12, 4, 1, Some("c")).uvarint(huge))),
        ("committed topics", head(header_v1(8, 0, 1, Some("c")).string(Some("g")).i32(i32::MAX))),
        ("owned partitions", {
            let names =
                header_v2(68, 0, 1, Some("c")).uvarint(1).uvarint(1).i32(0).uvarint(0).uvarint(0).i32(0).uvarint(0);
            head(names.uvarint(0).uvarint(u32::MAX).raw(&[7; 16]).uvarint(u32::MAX))
        }),
        ("header tags", head(header_v1(18, 3, 1, Some("c")).uvarint(1).uvarint(0).uvarint(huge))),
    ];
    for (what, start) in cases {
        let mut passing = Passing::new(limits);
        let zeroes = vec![0; 64 << 10];
        let used = measure(|| {
            passing.pass(Direction::Request, &start);
            for _ in 0..400 {
                passing.pass(Direction::Request, &zeroes);
            }
        });
        assert!(used.bytes_max < bound, "{what}: {used:?}");
    }
}

/// Responses too: what is remembered of them does not grow with what they tell.
#[test]
fn a_metadata_response_of_a_hundred_thousand_partitions_is_walked_in_little_memory() {
    let mut passing = Passing::new(Limits::default());
    passing.pass(Direction::Request, &header_v1(3, 1, 1, Some("c")).i32(0).frame());
    let partition = Wire::new().i16(0).i32(1).i32(2).i32(3).i32(1).i32(2).i32(3).i32(2).i32(1).i32(2);
    let topic = Wire::new().i16(0).string(Some("a-topic-of-some-length")).i8(0).i32(1000);
    let topic = topic.raw(&partition.0.repeat(1000)).0;
    let body = response_v0(1).i32(0).i32(1).i32(100);
    let length = (body.0.len() + 100 * topic.len()) as i32;
    let used = measure(|| {
        passing.pass(Direction::Response, &[&length.to_be_bytes()[..], &body.0].concat());
        for _ in 0..100 {
            for piece in topic.chunks(1000) {
                passing.pass(Direction::Response, piece);
            }
        }
    });
    assert_eq!(passing.sink.exchanges, 1);
    assert!(passing.sink.facts > 100_100, "{} facts", passing.sink.facts);
    assert!(used.bytes_max < 20 << 10, "{used:?}");
}

/// A mirroring consumer commits tens of thousands of partitions at once, and says as much when it joins its group.
#[test]
fn large_requests_of_groups_are_walked_in_little_memory() {
    let partition = Wire::new().i32(1).i64(2).string(Some("metadata")).0;
    let topic = Wire::new().string(Some("a-topic-of-some-length")).i32(1000).raw(&partition.repeat(1000)).0;
    let commit = header_v1(8, 0, 1, Some("c")).string(Some("group")).i32(100).raw(&topic.repeat(100)).frame();
    let join = header_v1(11, 0, 2, Some("c")).string(Some("group")).i32(9).string(Some("")).string(Some("consumer"));
    let join = join.i32(1).string(Some("range")).bytes(&vec![0; 10 << 20]).frame();
    for (what, request, facts) in [("a commit", commit, 100_000), ("a join", join, 1)] {
        let mut passing = Passing::new(Limits::default());
        let used = measure(|| {
            for piece in request.chunks(1000) {
                passing.pass(Direction::Request, piece);
            }
        });
        // Client and head, and the head of the body.
        assert!(passing.sink.facts >= 2 + facts, "{what}: {} facts", passing.sink.facts);
        assert_eq!(passing.sink.undecoded, 0, "{what}");
        assert!(used.bytes_max < 8 << 10, "{what}: {used:?}");
    }
}

/// Distinct topics, partitions, sessions, clients, pipelined requests without number: the state has an end.
#[test]
fn whatever_a_peer_invents_the_state_is_bounded() {
    let limits = Limits { in_flight: 100, topics: 200, session_partitions: 300, sessions: 3, ..Limits::default() };
    let invent = |count: i32| -> AllocationInfo {
        let mut passing = Passing::new(limits);
        measure(|| {
            for i in 0..count {
                let (topic, client) = (format!("topic-{i}"), format!("client-{i}"));
                let asked = [(topic.as_str(), i, 7), (topic.as_str(), i + 1, 7)];
                let session = [(0, 0), (i, i), (i, -1)][i as usize % 3];
                let fetch = Fetch {
                    correlation_id: i,
                    session_id: session.0,
                    session_epoch: session.1,
                    asked: &asked,
                    forgotten: &[("never-heard-of", 7)],
                    ..Fetch::default()
                };
                passing.pass(Direction::Request, &fetch.v11());
                passing.pass(Direction::Request, &header_v1(12, 0, i, Some(&client)).i32(0).frame());
                passing.pass(Direction::Request, &produce_v3(i, 0, &Batch::default().encode()));
                if i % 2 == 0 {
                    passing.pass(Direction::Response, &fetched_v11(i, 0, i, &[]));
                }
            }
        })
    };
    let (some, many) = (invent(2_000), invent(20_000));
    assert!(many.bytes_current.unsigned_abs() < 300 << 10, "{many:?}");
    assert!(many.bytes_max <= some.bytes_max + (4 << 10), "ten times more may not need more: {some:?} {many:?}");
}

/// Nobody writes what passes: what is ready to be told must not pile up either.
#[test]
fn a_peer_that_takes_nothing_does_not_let_exchanges_pile_up() {
    let limits = Limits { in_flight: 50, ..Limits::default() };
    let pile = |count: i32| {
        let mut connection = Connection::new(limits, Depth::Full, CaptureBudget::default());
        let mut sink = Count::default();
        measure(|| {
            for id in 0..count {
                let heartbeat = header_v1(12, 0, id, Some("client")).string(Some("group")).i32(1).frame();
                connection.on_bytes(Direction::Request, Timestamp(1), &heartbeat, &mut sink);
                connection.on_bytes(Direction::Request, Timestamp(1), &produce_v3(id, 0, &[]), &mut sink);
                connection.on_bytes(Direction::Response, Timestamp(1), &response_v0(id).i16(0).frame(), &mut sink);
            }
        })
    };
    let (some, many) = (pile(1_000), pile(10_000));
    assert!(many.bytes_current.unsigned_abs() < 64 << 10, "{many:?}");
    assert!(many.bytes_max <= some.bytes_max + (4 << 10), "{some:?} {many:?}");
}

/// A stream of all kinds of messages in odd pieces, a long one: what is kept afterwards is what was kept in the middle.
#[test]
fn a_long_mixed_stream_leaves_nothing_behind() {
    let limits = Limits { topics: 64, session_partitions: 64, in_flight: 64, ..Limits::default() };
    let mut passing = Passing::new(limits);
    passing.sink.plan = Some(BatchPlan::Capture(u32::MAX));
    let mut random = Random::new(9);
    let exchanges: Vec<_> = (0..400).map(|id| random_exchange(&mut random, id, Some("client"))).collect();
    let mut round = || {
        for (request, response) in &exchanges {
            for piece in request.chunks(97) {
                passing.pass(Direction::Request, piece);
            }
            for piece in response.iter().flat_map(|response| response.chunks(89)) {
                passing.pass(Direction::Response, piece);
            }
        }
    };
    round();
    round();
    let later = measure(|| (0..5).for_each(|_| round()));
    assert!(later.bytes_current.abs() < 1 << 10, "{later:?}");
    assert!(later.bytes_max < 300 << 10, "{later:?}");
}
