//! Any bytes read as a sequence of calls on a connection: the entry point of the fuzz targets.
//!
//! A call is one byte that says which, then its arguments: sizes are two bytes, shown bytes follow their size.

use kafkascope_protocol::{BatchHead, BatchPlan, Depth, Direction, Limits};

use super::conversation::Turn;
use super::feed::{BUDGET, Feed, Opaque, Pieces};
use super::log::{Arena, Log};
use super::random::Random;

/// Small bounds, so that few bytes reach them.
pub(crate) const TIGHT: Limits = Limits {
    frame: 1 << 20,
    field: 300,
    collected: 400,
    in_flight: 5,
    topics: 3,
    session_partitions: 4,
    sessions: 2,
    aborted: 1,
};

/// Bytes that may be captured at once where the same is shown in different pieces.
pub(crate) const CAPTURED: usize = 400;

const SHOW_REQUEST: u8 = 0;
const SHOW_RESPONSE: u8 = 1;
const ANNOUNCE: u8 = 2;
const GAP: u8 = 3;
const WRITE: u8 = 4;
const CLOSE: u8 = 5;

/// All kinds of answers, chosen by what stands in the head.
pub(crate) fn plan(head: &BatchHead) -> BatchPlan {
    match head.max_timestamp % 5 {
        0 => BatchPlan::Tail(head.attributes as u16),
        1 => BatchPlan::Capture(head.producer_epoch as u32),
        2 => BatchPlan::Capture(30),
        3 => BatchPlan::Measure { capture: head.producer_epoch as u32 },
        _ => BatchPlan::Skip,
    }
}

/// Runs a script and checks the laws at its end.
pub(crate) fn run(script: &[u8]) {
    let Some((&options, mut rest)) = script.split_first() else { return };
    let limits = if options & 1 == 0 { Limits::default() } else { TIGHT };
    let depth = if options & 2 == 0 { Depth::Full } else { Depth::Headers };
    let budget = if options & 4 == 0 { BUDGET } else { 100 };
    let arena = Arena::default();
    let mut feed = Feed::with(limits, depth, budget, Log::with_plan(&arena, plan));
    let mut closed = false;
    while let Some((&call, arguments)) = rest.split_first() {
        rest = arguments;
        let size = number(&mut rest);
        let direction = if size & 1 == 0 { Direction::Request } else { Direction::Response };
        match call % 6 {
            SHOW_REQUEST => {
                feed.show(Direction::Request, taken(&mut rest, size));
            }
            SHOW_RESPONSE => {
                feed.show(Direction::Response, taken(&mut rest, size));
            }
            ANNOUNCE => feed.announce_most(direction, size as u64),
            GAP => feed.gap(direction, size as u64 >> 1),
            WRITE => feed.write(direction, size as u64),
            CLOSE if size > 60_000 => {
                feed.close();
                closed = true;
            }
            _ => feed.write_all(),
        }
    }
    feed.log.assert_lawful(closed);
    feed.close();
    feed.log.assert_lawful(true);
    assert_eq!(feed.budget.available(), budget, "captures give back what they took");
}

/// Plays the same turns whole and in pieces: the observations must be equal. The first bytes choose the pieces.
pub(crate) fn compare(input: &[u8]) {
    let Some((seed, mut rest)) = input.split_first_chunk::<8>() else { return };
    let seed = u64::from_be_bytes(*seed);
    let mut turns: Vec<Turn> = Vec::new();
    while let Some((&call, arguments)) = rest.split_first() {
        rest = arguments;
        let size = number(&mut rest);
        let direction = if call % 2 == 0 { Direction::Request } else { Direction::Response };
        super::conversation::say(&mut turns, direction, taken(&mut rest, size));
    }
    same_in_any_pieces(&turns, if seed & 1 == 0 { Limits::default() } else { TIGHT }, seed);
}

/// Panics unless `turns` mean the same whole, byte by byte, and in the pieces that `seed` chooses.
pub(crate) fn same_in_any_pieces(turns: &[Turn], limits: Limits, seed: u64) {
    let arena = Arena::default();
    let play = |pieces, opaque| {
        let mut feed = Feed::with(limits, Depth::Full, CAPTURED, Log::with_plan(&arena, plan));
        feed.play(turns, pieces, opaque, &mut Random::new(seed));
        feed.close();
        feed.log.assert_lawful(true);
        feed.log.timeless()
    };
    let whole = play(Pieces::Whole, Opaque::Shown);
    assert_eq!(play(Pieces::Random, Opaque::Mixed), whole);
    assert_eq!(play(Pieces::Single, Opaque::Announced), whole);
}

/// The script that shows `turns` and writes all: a seed for `run`; without its first byte and behind eight others, one for
/// `compare`.
pub(crate) fn seed(turns: &[Turn], options: u8) -> Vec<u8> {
    let mut script = vec![options];
    for turn in turns {
        let call = if turn.direction == Direction::Request { SHOW_REQUEST } else { SHOW_RESPONSE };
        for piece in turn.bytes.chunks(u16::MAX.into()) {
            script.push(call);
            script.extend((piece.len() as u16).to_be_bytes());
            script.extend_from_slice(piece);
        }
    }
    script
}

fn number(rest: &mut &[u8]) -> usize {
    let (number, behind) = rest.split_at(rest.len().min(2));
    *rest = behind;
    number.iter().fold(0, |number, byte| number << 8 | usize::from(*byte))
}

fn taken<'a>(rest: &mut &'a [u8], size: usize) -> &'a [u8] {
    let (taken, behind) = rest.split_at(rest.len().min(size));
    *rest = behind;
    taken
}
