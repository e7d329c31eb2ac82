//! What a worker has told of partitions and brokers, so that only what is news is told again.
//!
//! Metadata is told to every client every few minutes, and says the same most of the time. Remembered is the hash of what
//! something is and of what was said of it: two things that share one are told once too seldom, which 64 random bits make
//! unlikely enough.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};

use kafkascope_protocol::Timestamp;

/// Things that are remembered, 24 bytes each. Above it all is forgotten, and told once more.
const REMEMBERED: usize = 262_144;

/// After so long all is forgotten, so that what is still true is told again: 5 min.
const REFRESH: u64 = 300_000_000_000;

/// Partitions whose answers are told in a round.
const ANSWERS: usize = 65_536;

#[derive(Debug, Default)]
pub(crate) struct Sightings {
    hasher: RandomState,
    told: HashMap<u64, u64>,
    /// Whether a partition worked when that was last told, in this round.
    answers: HashMap<u64, bool>,
    forgotten: Timestamp,
    /// Answers without an error are wanted: see [`Alarm`](crate::health::Alarm).
    pub(crate) alarm: bool,
}

impl Sightings {
    /// Whether it is news that `what` is so.
    pub(crate) fn is_news(&mut self, thing: impl Hash, what: impl Hash) -> bool {
        let (thing, what) = (self.hasher.hash_one(thing), self.hasher.hash_one(what));
        if self.told.len() >= REMEMBERED {
            self.told.clear();
        }
        self.told.insert(thing, what) != Some(what)
    }

    /// Whether it is news, in this round, that a partition works or not.
    pub(crate) fn is_answer_news(&mut self, partition: impl Hash, works: bool) -> bool {
        let partition = self.hasher.hash_one(partition);
        let known = self.answers.len();
        match self.answers.get_mut(&partition) {
            Some(told) => std::mem::replace(told, works) != works,
            None if known >= ANSWERS => false,
            None => {
                self.answers.insert(partition, works);
                true
            }
        }
    }

    /// A round has ended.
    pub(crate) fn pass(&mut self, now: Timestamp) {
        self.answers.clear();
        if now.since(self.forgotten) >= REFRESH {
            self.forgotten = now;
            self.told.clear();
        }
    }
}
