//! Where a connection's fetches stand in each partition, and where the partition ended when last heard of.
//!
//! With a fetch session (KIP-227) a request names only what has changed since the one before, so the partitions of a session
//! are remembered. How many of them are *behind* (there is something to read as far as is known here, or nothing is known)
//! is counted as they change: an empty incremental fetch costs nothing, however many partitions its session has.
//!
//! A partition belongs to the fetch that named it last. A client has one fetch session per connection, so this is exact
//! unless one connection carries two sessions with a partition in common.

use alloc::vec::Vec;
use core::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

use crate::{Limits, RequestSeq, TopicIndex};

/// The end of a partition of which nothing is known: everybody is behind it.
const UNKNOWN_END: i64 = i64::MAX;

#[derive(Debug)]
struct Position {
    topic: TopicIndex,
    partition: i32,
    /// Which fetch, or session of fetches, named it last; 0: it was taken out of it.
    generation: u32,
    behind: bool,
    /// The request that named it last.
    asked: RequestSeq,
    /// The offset that was asked for.
    offset: i64,
    /// High watermark, or last stable offset for `read_committed`.
    end: i64,
}

/// The partitions of one fetch, or of a session of fetches.
#[derive(Debug, Clone, Copy, Default)]
struct Session {
    /// Never 0, and never used again.
    generation: u32,
    /// The broker's number for it; 0 as long as it is not known.
    id: i32,
    /// How many partitions are behind. Those that could not be remembered are counted for ever.
    behind: u64,
}

/// See the module's first paragraph.
#[derive(Debug)]
pub(crate) struct Positions {
    positions: Vec<Position>,
    by_partition: HashTable<u32>,
    hasher: DefaultHashBuilder,
    /// The index found last: a client mostly names the same partitions in the same order.
    last: usize,
    /// Sessions, least recently used first.
    sessions: Vec<Session>,
    /// The fetch whose request is being read.
    current: Session,
    generations: u32,
    max_positions: usize,
    max_sessions: usize,
    /// Positions of nobody are not looked for before this request.
    next_sweep: RequestSeq,
}

impl Positions {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            positions: Vec::new(),
            by_partition: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            last: 0,
            sessions: Vec::new(),
            current: Session::default(),
            generations: 0,
            max_positions: limits.session_partitions,
            max_sessions: limits.sessions,
            next_sweep: RequestSeq(0),
        }
    }

    /// A Fetch request begins. Returns the number under which it is remembered.
    pub(crate) fn begin(&mut self, session_id: i32, session_epoch: i32) -> u32 {
        let known = match session_id {
            0 => None,
            id => self.sessions.iter().position(|session| session.id == id),
        };
        let known = known.map(|index| self.sessions.remove(index));
        self.current = match known {
            // The next request of the session. Epoch 0 opens another one in its place, -1 only ends it.
            Some(session) if session_epoch > 0 => session,
            _ => {
                self.generations = self.generations.checked_add(1).unwrap_or(1);
                // Of a session that was opened unseen it is not known what it has.
                let behind = u64::from(session_epoch > 0);
                Session { generation: self.generations, id: session_id.max(0), behind }
            }
        };
        if session_epoch == 0 {
            self.current.id = 0;
        }
        self.current.generation
    }

    /// The request being read names a partition.
    #[inline]
    pub(crate) fn asked(&mut self, seq: RequestSeq, topic: TopicIndex, partition: i32, offset: i64) {
        let generation = self.current.generation;
        let Some(index) = self.find(topic, partition).or_else(|| self.insert(seq, topic, partition)) else {
            self.current.behind = self.current.behind.saturating_add(1);
            return;
        };
        let Some(position) = self.positions.get_mut(index) else { return };
        let (owner, was_behind) = (position.generation, position.behind);
        position.generation = generation;
        position.behind = offset < position.end;
        position.asked = seq;
        position.offset = offset;
        let is_behind = position.behind;
        if was_behind && owner != 0 {
            self.count(owner, false);
        }
        if is_behind {
            self.current.behind = self.current.behind.saturating_add(1);
        }
    }

    /// The request being read takes a partition out of the session.
    pub(crate) fn forgotten(&mut self, topic: TopicIndex, partition: i32) {
        let generation = self.current.generation;
        let Some(index) = self.find(topic, partition) else { return };
        if let Some(position) = self.positions.get_mut(index)
            && position.generation == generation
        {
            position.generation = 0;
            if position.behind {
                self.count(generation, false);
            }
        }
    }

    /// The request ends, or cannot be read further (`whole` is false). Whether it has read everything that is known.
    #[inline]
    pub(crate) fn end(&mut self, session_epoch: i32, whole: bool) -> bool {
        let mut session = self.current;
        self.current = Session::default();
        if !whole {
            session.behind = session.behind.saturating_add(1);
        }
        if session_epoch >= 0 && self.max_sessions > 0 {
            if self.sessions.len() >= self.max_sessions {
                self.sessions.remove(0);
            }
            self.sessions.push(session);
        } else {
            // Its count is not needed any more; what was asked for is, until the response.
        }
        session.behind == 0
    }

    /// The response names the session that the request of `generation` belongs to.
    #[inline]
    pub(crate) fn opened(&mut self, generation: u32, session_id: i32) {
        if session_id == 0 {
            return;
        }
        let Some(session) = self.sessions.iter_mut().find(|session| session.generation == generation) else { return };
        if session.id == session_id {
            return;
        }
        session.id = session_id;
        self.sessions.retain(|other| other.generation == generation || other.id != session_id);
    }

    /// The response to the request `seq` of `generation` tells where a partition ends. Returns the offset that was asked
    /// for, if no later request has changed it.
    #[inline]
    pub(crate) fn answered(
        &mut self,
        generation: u32,
        seq: RequestSeq,
        topic: TopicIndex,
        partition: i32,
        end: i64,
    ) -> Option<i64> {
        let index = self.find(topic, partition)?;
        let position = self.positions.get_mut(index)?;
        let (owner, was_behind) = (position.generation, position.behind);
        if end >= 0 && end != position.end {
            position.end = end;
            position.behind = position.offset < end;
        }
        let is_behind = position.behind;
        let asked = (owner == generation && position.asked <= seq).then_some(position.offset);
        if was_behind != is_behind && owner != 0 {
            self.count(owner, is_behind);
        }
        asked
    }

    /// A partition of `generation` fell behind or caught up.
    fn count(&mut self, generation: u32, behind: bool) {
        let current = core::iter::once(&mut self.current);
        if let Some(session) = self.sessions.iter_mut().chain(current).find(|session| session.generation == generation)
        {
            session.behind = if behind { session.behind.saturating_add(1) } else { session.behind.saturating_sub(1) };
        }
    }

    #[inline]
    fn find(&mut self, topic: TopicIndex, partition: i32) -> Option<usize> {
        let is_it = |index: usize| {
            self.positions.get(index).is_some_and(|position| position.topic == topic && position.partition == partition)
        };
        let next = self.last.wrapping_add(1);
        let index = if is_it(self.last) {
            self.last
        } else if is_it(next) {
            next
        } else {
            let hash = self.hasher.hash_one((topic.0, partition));
            *self.by_partition.find(hash, |&index| is_it(index as usize))? as usize
        };
        self.last = index;
        Some(index)
    }

    fn insert(&mut self, seq: RequestSeq, topic: TopicIndex, partition: i32) -> Option<usize> {
        if topic == TopicIndex::OVERFLOW {
            return None;
        }
        if self.positions.len() >= self.max_positions {
            self.sweep(seq);
        }
        if self.positions.len() >= self.max_positions {
            return None;
        }
        let index = self.positions.len();
        self.positions.push(Position {
            topic,
            partition,
            generation: 0,
            behind: false,
            asked: seq,
            offset: 0,
            end: UNKNOWN_END,
        });
        self.index(index);
        self.last = index;
        Some(index)
    }

    fn index(&mut self, index: usize) {
        let Self { positions, by_partition, hasher, .. } = self;
        let hash = |index: usize| {
            positions.get(index).map_or(0, |position| hasher.hash_one((position.topic.0, position.partition)))
        };
        if let Ok(number) = u32::try_from(index) {
            by_partition.insert_unique(hash(index), number, |&other| hash(other as usize));
        }
    }

    /// Forgets the positions that belong to no session. Costs their number, so not more often than every so many requests.
    #[cold]
    fn sweep(&mut self, seq: RequestSeq) {
        if seq < self.next_sweep {
            return;
        }
        self.next_sweep = RequestSeq(seq.0.saturating_add(self.max_positions as u64));
        let Self { positions, sessions, current, .. } = self;
        positions.retain(|position| {
            position.generation == current.generation
                || sessions.iter().any(|session| session.generation == position.generation)
        });
        self.by_partition.clear();
        for index in 0..self.positions.len() {
            self.index(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: TopicIndex = TopicIndex(0);
    const B: TopicIndex = TopicIndex(1);

    fn positions() -> Positions {
        Positions::new(&Limits { sessions: 2, session_partitions: 3, ..Limits::default() })
    }

    #[test]
    fn a_session_knows_what_its_empty_requests_ask_for() {
        let mut fetches = positions();
        let opening = fetches.begin(0, 0);
        fetches.asked(RequestSeq(0), A, 0, 10);
        fetches.asked(RequestSeq(0), A, 1, 20);
        assert!(!fetches.end(0, true), "nothing is known of the ends");
        fetches.opened(opening, 77);
        assert_eq!(fetches.answered(opening, RequestSeq(0), A, 0, 10), Some(10));
        assert_eq!(fetches.answered(opening, RequestSeq(0), A, 1, 25), Some(20));

        let next = fetches.begin(77, 1);
        assert_eq!(next, opening);
        assert!(!fetches.end(1, true), "partition 1 is behind");

        assert_eq!(fetches.begin(77, 2), opening);
        fetches.asked(RequestSeq(2), A, 1, 25);
        assert!(fetches.end(2, true));

        assert_eq!(fetches.begin(77, 3), opening);
        assert!(fetches.end(3, true));
        assert_eq!(fetches.answered(opening, RequestSeq(3), A, 0, 12), Some(10));

        assert_eq!(fetches.begin(77, 4), opening);
        fetches.forgotten(A, 0);
        assert!(fetches.end(4, true), "what is behind was taken out");
        assert_eq!(fetches.answered(opening, RequestSeq(4), A, 0, 13), None);
    }

    #[test]
    fn a_fetch_without_session_asks_for_what_it_names_only() {
        let mut fetches = positions();
        let first = fetches.begin(0, -1);
        fetches.asked(RequestSeq(0), A, 0, 10);
        assert!(!fetches.end(-1, true));
        assert_eq!(fetches.answered(first, RequestSeq(0), A, 0, 10), Some(10));
        let second = fetches.begin(0, -1);
        assert_ne!(first, second);
        fetches.asked(RequestSeq(1), A, 0, 10);
        assert!(fetches.end(-1, true));
        assert_eq!(fetches.answered(first, RequestSeq(0), A, 0, 10), None, "a later request has asked again");
        assert_eq!(fetches.answered(second, RequestSeq(1), A, 0, 11), Some(10));
    }

    #[test]
    fn a_session_opened_unseen_or_read_in_part_never_counts_as_caught_up() {
        let mut fetches = positions();
        fetches.begin(5, 9);
        assert!(!fetches.end(9, true));
        fetches.begin(5, 10);
        assert!(!fetches.end(10, true));
        let opening = fetches.begin(5, 0);
        assert!(!fetches.end(0, false));
        fetches.opened(opening, 6);
        fetches.begin(6, 1);
        assert!(!fetches.end(1, true));
    }

    #[test]
    fn partitions_beyond_the_limit_are_never_caught_up_and_those_of_nobody_make_room() {
        let mut fetches = positions();
        let opening = fetches.begin(0, 0);
        for partition in 0..4 {
            fetches.asked(RequestSeq(0), A, partition, 10);
        }
        fetches.end(0, true);
        fetches.opened(opening, 1);
        for partition in 0..3 {
            assert_eq!(fetches.answered(opening, RequestSeq(0), A, partition, 10), Some(10));
        }
        assert_eq!(fetches.answered(opening, RequestSeq(0), A, 3, 10), None);
        fetches.begin(1, 1);
        assert!(!fetches.end(1, true));

        fetches.begin(1, 0);
        fetches.end(0, true);
        let later = fetches.begin(0, -1);
        fetches.asked(RequestSeq(9), B, 0, 1);
        fetches.end(-1, true);
        assert_eq!(fetches.answered(later, RequestSeq(9), B, 0, 1), Some(1));
        assert_eq!(fetches.positions.len(), 1);
    }

    #[test]
    fn only_so_many_sessions_are_kept() {
        let mut fetches = positions();
        for id in 1..=3 {
            let generation = fetches.begin(0, 0);
            fetches.end(0, true);
            fetches.opened(generation, id);
        }
        assert_eq!(fetches.sessions.len(), 2);
        fetches.begin(1, 1);
        assert!(!fetches.end(1, true), "the oldest was forgotten");
        fetches.begin(3, 1);
        assert!(fetches.end(1, true));
    }
}
