//! Ways of feeding the same bytes to a connection.

use kafkascope_protocol::{CaptureBudget, Connection, Depth, Direction, Limits, Timestamp};

use super::conversation::Turn;
use super::log::{Arena, Log, Plan};
use super::random::Random;

pub(crate) const BUDGET: usize = 1 << 20;

/// Into which pieces a turn is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pieces {
    /// As many bytes as there are in one direction before the other has its turn.
    Whole,
    /// One byte each.
    Single,
    /// Any size, small ones often.
    Random,
}

/// What is done with bytes that nobody needs to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opaque {
    /// They are shown all the same.
    Shown,
    /// They are announced as soon as allowed, as many as there are.
    Announced,
    /// Now and then announced, in parts, else shown.
    Mixed,
}

/// A connection, its observer, and the counts that a forwarder would keep.
pub(crate) struct Feed<'a> {
    pub(crate) connection: Connection,
    pub(crate) log: Log<'a>,
    pub(crate) budget: CaptureBudget,
    /// Advances by one with every call, so that no two calls have the same time.
    pub(crate) now: u64,
    opaque: [u64; 2],
    unwritten: [u64; 2],
    /// Bytes that passed without being shown.
    pub(crate) announced: u64,
    /// Bytes that were shown.
    pub(crate) shown: u64,
}

impl<'a> Feed<'a> {
    pub(crate) fn new(arena: &'a Arena) -> Self {
        Self::with(Limits::default(), Depth::Full, BUDGET, Log::new(arena))
    }

    pub(crate) fn with_plan(arena: &'a Arena, plan: Plan) -> Self {
        Self::with(Limits::default(), Depth::Full, BUDGET, Log::with_plan(arena, plan))
    }

    pub(crate) fn with(limits: Limits, depth: Depth, budget: usize, log: Log<'a>) -> Self {
        let budget = CaptureBudget::new(budget);
        Self {
            connection: Connection::new(limits, depth, budget.clone()),
            log,
            budget,
            now: 0,
            opaque: [0; 2],
            unwritten: [0; 2],
            announced: 0,
            shown: 0,
        }
    }

    fn tick(&mut self) -> Timestamp {
        self.now += 1;
        Timestamp(self.now)
    }

    /// Shows `bytes`; returns how many bytes to come nobody needs to see.
    pub(crate) fn show(&mut self, direction: Direction, bytes: &[u8]) -> u64 {
        let now = self.tick();
        let opaque = self.connection.on_bytes(direction, now, bytes, &mut self.log);
        self.shown += bytes.len() as u64;
        self.unwritten[direction as usize] += bytes.len() as u64;
        self.opaque[direction as usize] = opaque;
        opaque
    }

    /// Announces `count` bytes of an opaque run; returns what is left of it.
    pub(crate) fn announce(&mut self, direction: Direction, count: u64) -> u64 {
        let before = self.opaque[direction as usize];
        assert!(count <= before, "a forwarder announces no more than it was allowed");
        let now = self.tick();
        let left = self.connection.on_opaque(direction, now, count, &mut self.log);
        let expected = if before == u64::MAX { u64::MAX } else { before - count };
        assert_eq!(left, expected, "what is left of an opaque run");
        self.announced += count;
        self.unwritten[direction as usize] += count;
        self.opaque[direction as usize] = left;
        left
    }

    /// Announces up to `most` bytes, as far as it is allowed.
    pub(crate) fn announce_most(&mut self, direction: Direction, most: u64) {
        let count = most.min(self.opaque[direction as usize]);
        if count > 0 {
            self.announce(direction, count);
        }
    }

    pub(crate) fn gap(&mut self, direction: Direction, count: u64) {
        let now = self.tick();
        self.connection.on_gap(direction, now, count, &mut self.log);
        self.unwritten[direction as usize] += count;
        self.opaque[direction as usize] = 0;
    }

    /// Tells that up to `most` of the bytes that passed were written.
    pub(crate) fn write(&mut self, direction: Direction, most: u64) {
        let count = most.min(self.unwritten[direction as usize]);
        let now = self.tick();
        self.connection.on_written(direction, now, count, &mut self.log);
        self.unwritten[direction as usize] -= count;
    }

    pub(crate) fn write_all(&mut self) {
        for direction in [Direction::Request, Direction::Response] {
            self.write(direction, u64::MAX);
        }
    }

    pub(crate) fn close(&mut self) {
        let now = self.tick();
        self.connection.on_close(now, &mut self.log);
        self.opaque = [0; 2];
    }

    /// Shows and writes whole frames.
    pub(crate) fn request(&mut self, bytes: &[u8]) {
        self.show(Direction::Request, bytes);
        self.write(Direction::Request, u64::MAX);
    }

    pub(crate) fn response(&mut self, bytes: &[u8]) {
        self.show(Direction::Response, bytes);
        self.write(Direction::Response, u64::MAX);
    }

    /// Plays a conversation in pieces; does not close.
    pub(crate) fn play(&mut self, turns: &[Turn], pieces: Pieces, opaque: Opaque, random: &mut Random) {
        for turn in turns {
            let mut rest = turn.bytes.as_slice();
            while !rest.is_empty() {
                let taken = self.pass(turn.direction, rest, pieces, opaque, random);
                rest = rest.get(taken..).unwrap_or_default();
                // A socket takes what was read at once, later, or in parts.
                if pieces != Pieces::Random || random.one_in(2) {
                    self.write(turn.direction, u64::MAX);
                } else {
                    let part = random.below(100) as u64;
                    self.write(turn.direction, part);
                }
            }
        }
        self.write_all();
    }

    /// Passes the next piece of `rest`, shown or announced; returns its size.
    fn pass(
        &mut self,
        direction: Direction,
        rest: &[u8],
        pieces: Pieces,
        opaque: Opaque,
        random: &mut Random,
    ) -> usize {
        let allowed = self.opaque[direction as usize].min(rest.len() as u64) as usize;
        let announce = match opaque {
            Opaque::Shown => false,
            Opaque::Announced => true,
            Opaque::Mixed => random.one_in(2),
        };
        if allowed > 0 && announce {
            let count = if opaque == Opaque::Mixed { 1 + random.below(allowed) } else { allowed };
            self.announce(direction, count as u64);
            return count;
        }
        let longest = match pieces {
            Pieces::Whole => rest.len(),
            Pieces::Single => 1,
            Pieces::Random if random.one_in(4) => rest.len(),
            Pieces::Random if random.one_in(3) => 1,
            Pieces::Random => 1 + random.below(70),
        };
        let (piece, _) = rest.split_at(longest.min(rest.len()));
        self.show(direction, piece);
        piece.len()
    }
}

/// Plays a whole conversation on a new connection, closes it and checks the laws.
pub(crate) fn observed<'a>(
    arena: &'a Arena,
    plan: Plan,
    turns: &[Turn],
    pieces: Pieces,
    opaque: Opaque,
    seed: u64,
) -> Feed<'a> {
    let mut feed = Feed::with_plan(arena, plan);
    feed.play(turns, pieces, opaque, &mut Random::new(seed));
    feed.close();
    feed.log.assert_lawful(true);
    assert_eq!(feed.budget.available(), BUDGET, "captures give back what they took");
    feed
}
