//! Bytes that make no sense, holes at any place, calls in any order: nothing panics, and every request ends exactly once.

mod support;

use std::collections::{BTreeMap, HashMap};

use kafkascope_protocol::{BatchHead, BatchPlan, Direction, Observation, Outcome};
use proptest::prelude::*;
use support::body;
use support::conversation::{Turn, random_conversation, say};
use support::feed::{BUDGET, Feed, Opaque, Pieces, observed};
use support::log::Arena;
use support::random::Random;
use support::script;
use support::wire::{Wire, header_v1, response_v0};

fn mixed(head: &BatchHead) -> BatchPlan {
    match head.base_offset % 5 {
        0 => BatchPlan::Tail(4),
        1 => BatchPlan::Capture(40),
        2 => BatchPlan::Capture(u32::MAX),
        3 => BatchPlan::Measure { capture: 100 },
        _ => BatchPlan::Skip,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 80, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_in_any_calls_do_no_harm(script in proptest::collection::vec(any::<u8>(), 0..600)) {
        script::run(&script);
    }

    #[test]
    fn any_bytes_in_any_body_do_no_harm(start in any::<[u8; 4]>(), body in proptest::collection::vec(any::<u8>(), 0..200)) {
        body::run(&[&start[..], &body].concat());
    }

    #[test]
    fn damaged_bodies_do_no_harm(damage in any::<u64>()) {
        let mut random = Random::new(damage);
        let seeds = body::seeds();
        let mut input = seeds[random.below(seeds.len())].clone();
        for _ in 0..1 + random.below(4) {
            let at = random.below(input.len());
            input[at] = [input[at] ^ 1 << random.below(8), 0, 1, 0x7f, 0x80, 0xff][random.below(6)];
        }
        body::run(&input);
    }

    #[test]
    fn damaged_conversations_do_no_harm_and_mean_the_same_in_any_chunks(
        content in any::<u64>(),
        damage in any::<u64>(),
        cuts in any::<u64>(),
    ) {
        let mut turns = random_conversation(&mut Random::new(content), 6);
        damaged(&mut turns, &mut Random::new(damage));
        let arena = Arena::default();
        let whole = observed(&arena, mixed, &turns, Pieces::Whole, Opaque::Shown, 0);
        for (pieces, opaque) in
            [(Pieces::Single, Opaque::Shown), (Pieces::Random, Opaque::Announced), (Pieces::Random, Opaque::Mixed)]
        {
            let other = observed(&arena, mixed, &turns, pieces, opaque, cuts);
            prop_assert_eq!(&other.log.timeless(), &whole.log.timeless(), "{:?} {:?}", pieces, opaque);
        }
    }

    /// An odd number stands for small limits.
    #[test]
    fn conversations_that_reach_the_limits_mean_the_same_in_any_chunks(content in any::<u64>(), cuts in any::<u64>()) {
        let turns = random_conversation(&mut Random::new(content), 6);
        let script = script::seed(&turns, 0);
        let seed = (cuts | 1).to_be_bytes();
        script::compare(&[&seed[..], script.get(1..).unwrap_or_default()].concat());
    }

    #[test]
    fn a_hole_anywhere_loses_what_it_must_and_every_request_ends(
        content in any::<u64>(),
        place in any::<u64>(),
        cuts in any::<u64>(),
    ) {
        let turns = random_conversation(&mut Random::new(content), 8);
        let mut random = Random::new(place);
        let arena = Arena::default();
        let mut feed = Feed::with_plan(&arena, mixed);
        let hole_in = random.below(turns.len());
        let mut cut = Random::new(cuts);
        feed.play(&turns[..hole_in], Pieces::Random, Opaque::Mixed, &mut cut);
        let Turn { direction, bytes } = &turns[hole_in];
        let start = random.below(bytes.len());
        let end = start + 1 + random.below(bytes.len() - start);
        let part = |range: std::ops::Range<usize>| [Turn { direction: *direction, bytes: bytes[range].to_vec() }];
        feed.play(&part(0..start), Pieces::Random, Opaque::Mixed, &mut cut);
        feed.gap(*direction, (end - start) as u64);
        feed.play(&part(end..bytes.len()), Pieces::Random, Opaque::Mixed, &mut cut);
        feed.play(&turns[hole_in + 1..], Pieces::Random, Opaque::Mixed, &mut cut);
        feed.log.assert_lawful(false);
        feed.close();
        feed.log.assert_lawful(true);
        prop_assert_eq!(feed.budget.available(), BUDGET);
    }
}

/// So that the checks of whole bodies check what they say.
#[test]
fn there_is_a_body_of_each_api_and_the_other_decoder_is_asked_where_it_can_be() {
    let mut asked = HashMap::<u8, usize>::new();
    for seed in body::seeds() {
        *asked.entry(seed[0]).or_default() += usize::from(body::run(&seed));
    }
    assert_eq!(asked.len(), body::READ.len(), "an API without a body");
    let compared: BTreeMap<_, _> = asked
        .into_iter()
        .filter(|(_, times)| *times > 0)
        .map(|(index, times)| (body::READ[usize::from(index)].name().unwrap_or_default(), times))
        .collect();
    // Requests and responses in each version that the other one knows.
    let expected = [
        ("ConsumerGroupHeartbeat", 4),
        ("Fetch", 30),
        ("JoinGroup", 20),
        ("ListOffsets", 20),
        ("Metadata", 14),
        ("OffsetCommit", 17),
        ("OffsetFetch", 14),
        ("Produce", 22),
    ];
    assert_eq!(compared, BTreeMap::from(expected));
}

/// A hole within records that nobody wanted to see costs nothing.
#[test]
fn a_hole_in_opaque_records_is_harmless() {
    let arena = Arena::default();
    let mut feed = Feed::new(&arena);
    let records = support::wire::Batch { records: vec![1; 5000], ..Default::default() }.encode();
    let request = support::wire::produce_v3(1, 1, &records);
    feed.show(Direction::Request, &request[..1000]);
    feed.gap(Direction::Request, 3000);
    feed.request(&request[4000..]);
    feed.response(&support::wire::produced_v3(1, 0));
    let outcomes: Vec<_> = feed.log.exchanges().iter().map(|exchange| exchange.outcome).collect();
    assert_eq!(outcomes, [Outcome::Answered]);
    assert!(!feed.log.facts.iter().any(|fact| matches!(fact, Observation::Undecoded(_) | Observation::LostSync(_))));
}

/// A token that nobody saw is a token all the same: what follows it must not be taken for one.
#[test]
fn a_hole_in_a_raw_sasl_token_does_not_swallow_the_message_behind() {
    let arena = Arena::default();
    let mut feed = Feed::new(&arena);
    feed.request(&header_v1(17, 0, 1, Some("client")).string(Some("PLAIN")).frame());
    feed.response(&response_v0(1).i16(0).i32(1).string(Some("PLAIN")).frame());
    let token = Wire::new().raw(b"\0alice\0secret").frame();
    feed.show(Direction::Request, &token[..6]);
    feed.gap(Direction::Request, token.len() as u64 - 6);
    let answer = Wire::new().raw(b"0123456789").frame();
    feed.show(Direction::Response, &answer[..6]);
    feed.gap(Direction::Response, answer.len() as u64 - 6);
    feed.request(&header_v1(12, 0, 2, Some("client")).i32(0).frame());
    feed.response(&response_v0(2).i16(0).frame());
    let outcomes: Vec<_> = feed.log.exchanges().iter().map(|it| (it.correlation_id.0, it.outcome)).collect();
    assert_eq!(outcomes, [(1, Outcome::Answered), (2, Outcome::Answered)]);
}

/// A drain stops where a frame ends, so this must be known after every byte.
#[test]
fn the_rest_of_a_frame_and_what_is_awaited_are_known_at_every_byte() {
    let arena = Arena::default();
    let mut feed = Feed::with_plan(&arena, mixed);
    let records = support::wire::Batch { base_offset: 2, records: vec![1; 300], ..Default::default() }.encode();
    let frames = [
        support::wire::produce_v3(1, 1, &records),
        support::wire::produce_v3(2, 0, &records),
        header_v1(12, 0, 3, Some("client")).i32(0).frame(),
        header_v1(999, 0, 4, None).frame(),
    ];
    for (awaited, frame) in [0, 1, 1, 2].into_iter().zip(&frames) {
        assert_eq!(feed.connection.rest_of_frame(Direction::Request), Some(0));
        assert_eq!(feed.connection.awaited(), awaited);
        for (index, byte) in frame.iter().enumerate() {
            feed.request(&[*byte]);
            let rest = if index < 3 { 3 - index } else { frame.len() - 1 - index };
            assert_eq!(feed.connection.rest_of_frame(Direction::Request), Some(rest as u64), "byte {index}");
        }
    }
    assert_eq!(feed.connection.awaited(), 3);
    for (awaited, id) in [(2, 1), (1, 3), (0, 4)] {
        let frame = response_v0(id).raw(&[0; 50]).frame();
        for (index, byte) in frame.iter().enumerate() {
            let rest = if index == 0 {
                0
            } else if index < 4 {
                4 - index
            } else {
                frame.len() - index
            };
            assert_eq!(feed.connection.rest_of_frame(Direction::Response), Some(rest as u64), "byte {index}");
            feed.response(&[*byte]);
        }
        assert_eq!(feed.connection.awaited(), awaited);
    }
    feed.response(&[0xff; 4]);
    assert_eq!(feed.connection.rest_of_frame(Direction::Response), None);
}

/// Flips, inserts, removes or repeats bytes, keeping the turns.
fn damaged(turns: &mut Vec<Turn>, random: &mut Random) {
    for _ in 0..1 + random.below(4) {
        let index = random.below(turns.len());
        let bytes = &mut turns[index].bytes;
        let at = random.below(bytes.len().max(1)).min(bytes.len().saturating_sub(1));
        match random.below(6) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << random.below(8),
            1 if !bytes.is_empty() => bytes[at] = [0, 0x7f, 0x80, 0xff][random.below(4)],
            2 => bytes.insert(at, random.i8() as u8),
            3 if !bytes.is_empty() => {
                bytes.remove(at);
            }
            4 => bytes.truncate(at),
            _ => {
                let again = turns[index].clone();
                say(turns, again.direction, &again.bytes);
            }
        }
    }
    turns.retain(|turn| !turn.bytes.is_empty());
}
