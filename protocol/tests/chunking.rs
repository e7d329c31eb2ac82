//! The same bytes mean the same, however they are cut, and whether opaque runs are shown or announced.

mod support;

use kafkascope_protocol::{BatchHead, BatchPlan, Observation};
use proptest::prelude::*;
use support::conversation::{Turn, random_conversation};
use support::feed::{Opaque, Pieces, observed};
use support::log::{Arena, Plan};
use support::random::Random;

fn skip(_: &BatchHead) -> BatchPlan {
    BatchPlan::Skip
}

/// All kinds of answers, chosen by what stands in the head.
fn mixed(head: &BatchHead) -> BatchPlan {
    match head.max_timestamp % 6 {
        0 => BatchPlan::Tail(4),
        1 => BatchPlan::Capture(40),
        2 => BatchPlan::Capture(u32::MAX),
        3 => BatchPlan::Tail(300),
        4 => BatchPlan::Measure { capture: 100 },
        _ => BatchPlan::Skip,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn observations_do_not_depend_on_chunks(
        content in any::<u64>(),
        exchanges in 1..10_usize,
        cuts in any::<u64>(),
        captures in any::<bool>(),
    ) {
        let turns = random_conversation(&mut Random::new(content), exchanges);
        let plan: Plan = if captures { mixed } else { skip };
        let arena = Arena::default();
        let whole = observed(&arena, plan, &turns, Pieces::Whole, Opaque::Shown, 0);
        let expected = whole.log.timeless();
        for (pieces, opaque) in [
            (Pieces::Single, Opaque::Shown),
            (Pieces::Random, Opaque::Shown),
            (Pieces::Random, Opaque::Announced),
            (Pieces::Random, Opaque::Mixed),
        ] {
            let other = observed(&arena, plan, &turns, pieces, opaque, cuts);
            prop_assert_eq!(&other.log.timeless(), &expected, "{:?} {:?}", pieces, opaque);
            prop_assert_eq!(&other.log.asked, &whole.log.asked, "{:?} {:?}", pieces, opaque);
        }
    }

    /// What a peer says before it vanishes.
    #[test]
    fn every_prefix_is_understood_as_far_as_it_goes(content in any::<u64>(), cuts in any::<u64>()) {
        let mut random = Random::new(cuts);
        let turns = random_conversation(&mut Random::new(content), 3);
        let arena = Arena::default();
        let whole = observed(&arena, skip, &turns, Pieces::Whole, Opaque::Shown, 0).log.timeless().0;
        let total: usize = turns.iter().map(|turn| turn.bytes.len()).sum();
        for _ in 0..15 {
            let prefix = first(&turns, random.below(total + 1));
            let seen = observed(&arena, skip, &prefix, Pieces::Random, Opaque::Mixed, cuts).log.timeless().0;
            prop_assert!(whole.starts_with(&seen), "{:#?}\n is no beginning of\n{:#?}", seen, whole);
        }
    }
}

/// Each prefix of one exchange of each kind, byte by byte.
#[test]
fn each_prefix_of_each_kind_of_exchange_is_understood_as_far_as_it_goes() {
    for seed in 0..16 {
        let turns = random_conversation(&mut Random::new(seed), 1);
        let arena = Arena::default();
        let whole = observed(&arena, skip, &turns, Pieces::Whole, Opaque::Shown, 0).log.timeless().0;
        let total: usize = turns.iter().map(|turn| turn.bytes.len()).sum();
        for length in 0..total {
            let prefix = first(&turns, length);
            let seen = observed(&arena, skip, &prefix, Pieces::Whole, Opaque::Shown, seed).log.timeless().0;
            assert!(whole.starts_with(&seen), "seed {seed}, {length} of {total} bytes: {seen:#?}");
        }
    }
}

/// A guard of the tests above: they would prove nothing if nothing could be announced.
#[test]
fn records_are_opaque_and_most_of_the_traffic() {
    let arena = Arena::default();
    let records = support::wire::Batch { records: vec![7; 100_000], ..Default::default() }.encode();
    let request = support::wire::produce_v3(1, 0, &records);
    let turns = [Turn { direction: kafkascope_protocol::Direction::Request, bytes: request }];
    let feed = observed(&arena, skip, &turns, Pieces::Single, Opaque::Announced, 3);
    assert!(feed.announced >= 99_000, "{} announced, {} shown", feed.announced, feed.shown);
    assert!(feed.log.facts.iter().any(|fact| matches!(fact, Observation::ProduceBatch(_))));
}

fn first(turns: &[Turn], mut length: usize) -> Vec<Turn> {
    let mut prefix = Vec::new();
    for turn in turns {
        let taken = length.min(turn.bytes.len());
        prefix.push(Turn { direction: turn.direction, bytes: turn.bytes[..taken].to_vec() });
        length -= taken;
    }
    prefix
}
