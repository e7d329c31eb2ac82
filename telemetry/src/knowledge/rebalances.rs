//! Rebalances of a group whose coordinator is behind this proxy: how many, for how long, and why.
//!
//! A classic group rebalances from the first JoinGroup (or LeaveGroup) since it was stable to the first answered SyncGroup of
//! a new generation. In the newer protocols each member moves to the group's next epoch when it can: from the first one that
//! is told a new epoch to the last one that reaches it.

use super::fact::Protocol;
use super::members::Seat;

/// A rebalance that began longer ago has come to nothing: 10 min, longer than clients let one take (5 min).
const LONGEST: u64 = 600_000_000_000;

/// Assignments of an older generation are told so late at most: 10 s.
const LATE: u64 = 10_000_000_000;

/// The rebalances of a group.
#[derive(Debug, Default)]
pub(crate) struct Rebalances {
    /// When the one under way began, and why.
    began: Option<(u64, &'static str)>,
    /// The last generation that was counted, or epoch.
    counted: Option<i32>,
    /// When the last one ended.
    ended: u64,
    /// Members have begun to move to the epoch that was counted last.
    moving: bool,
    pub(crate) count: u64,
}

/// The epochs that the members of a group have reached.
#[derive(Debug)]
pub(crate) struct Epochs {
    pub(crate) classic: bool,
    lowest: i32,
    highest: i32,
    /// When the first member came to the highest, and when the last one changed.
    first: u64,
    last: u64,
}

impl Default for Epochs {
    fn default() -> Self {
        Self { classic: false, lowest: i32::MAX, highest: i32::MIN, first: u64::MAX, last: 0 }
    }
}

impl Epochs {
    pub(crate) fn add(&mut self, seat: &Seat) {
        self.classic |= seat.protocol == Protocol::Classic;
        self.lowest = self.lowest.min(seat.generation);
        if seat.generation > self.highest {
            (self.highest, self.first) = (seat.generation, u64::MAX);
        }
        if seat.generation == self.highest {
            self.first = self.first.min(seat.moved);
        }
        self.last = self.last.max(seat.moved);
    }
}

/// A rebalance that has ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Rebalance {
    pub(crate) reason: &'static str,
    /// `None` if its beginning was not seen.
    pub(crate) nanos: Option<u64>,
}

impl Rebalances {
    /// A member wants the group to rebalance, or goes along with it.
    pub(crate) fn begins(&mut self, reason: &'static str, at: u64) {
        if at <= self.ended {
            return;
        }
        self.began = Some(match self.began {
            Some((began, _)) if at.saturating_sub(began) > LONGEST => (at, reason),
            Some((began, why @ ("other" | "follow"))) if reason != "follow" && why != reason => (began.min(at), reason),
            Some((began, why)) => (began.min(at), why),
            None => (at, reason),
        });
    }

    /// There are no members: the last one has left.
    pub(crate) fn empties(&mut self) {
        if self.began.is_some_and(|(_, reason)| reason == "leave") {
            self.began = None;
        }
    }

    /// A member was told its assignment of `generation`. Returns the rebalance that ended with it.
    pub(crate) fn synced(&mut self, generation: i32, at: u64) -> Option<Rebalance> {
        // Lower: told late, unless the group was deleted and begins anew.
        let late = |counted| generation == counted || (generation < counted && at <= self.ended.saturating_add(LATE));
        if self.counted.is_some_and(late) {
            self.ended = self.ended.max(at);
            return None;
        }
        self.counted = Some(generation);
        self.count += 1;
        self.ended = self.ended.max(at);
        let began = self.began.take();
        let reason = began.map_or("other", |(_, reason)| reason);
        Some(Rebalance { reason, nanos: began.map(|(began, _)| at.saturating_sub(began)) })
    }

    /// The epochs that the members of a group have reached. Returns the rebalance that ended with it.
    pub(crate) fn reported(&mut self, epochs: &Epochs) -> Option<Rebalance> {
        // What is seen for the first time may have stood there for long, unless a member has just joined.
        let is_news = match self.counted {
            None => self.began.is_some(),
            Some(counted) => epochs.highest > counted,
        };
        if is_news || self.counted.is_none() {
            self.counted = Some(epochs.highest);
        }
        if is_news {
            self.count += 1;
            self.moving = true;
            self.began = Some(self.began.unwrap_or((epochs.first, "other")));
        }
        if !self.moving || epochs.lowest < epochs.highest {
            return None;
        }
        self.moving = false;
        self.ended = self.ended.max(epochs.last);
        let (began, reason) = self.began.take()?;
        Some(Rebalance { reason, nanos: Some(epochs.last.saturating_sub(began)) })
    }

    pub(crate) fn is_under_way(&self, now: u64) -> bool {
        self.began.is_some_and(|(began, _)| now.saturating_sub(began) <= LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rebalance_lasts_from_the_first_join_to_the_first_assignment() {
        let mut group = Rebalances::default();
        group.begins("follow", 12);
        group.begins("join", 10);
        assert!(group.is_under_way(20));
        assert_eq!(group.synced(1, 30), Some(Rebalance { reason: "join", nanos: Some(20) }));
        assert_eq!(group.synced(1, 31), None);
        group.begins("follow", 11);
        assert!(!group.is_under_way(32), "its join was told late");
        group.begins("leave", 40);
        assert_eq!(group.synced(2, 45), Some(Rebalance { reason: "leave", nanos: Some(5) }));
        assert_eq!(group.count, 2);
    }

    #[test]
    fn an_empty_group_does_not_rebalance_until_somebody_joins() {
        let mut group = Rebalances::default();
        group.begins("leave", 40);
        group.empties();
        assert!(!group.is_under_way(50));
        group.begins("join", 90);
        group.empties();
        assert_eq!(group.synced(5, 95), Some(Rebalance { reason: "join", nanos: Some(5) }));
    }

    #[test]
    fn members_move_to_the_next_epoch_one_by_one() {
        let mut group = Rebalances::default();
        let epochs = |lowest, highest, first, last| Epochs { classic: false, lowest, highest, first, last };
        assert_eq!(group.reported(&epochs(3, 3, 5, 5)), None, "it stood there before");
        group.begins("join", 10);
        assert_eq!(group.reported(&epochs(3, 3, 5, 5)), None, "nobody has moved");
        assert_eq!(group.reported(&epochs(3, 4, 11, 11)), None);
        assert_eq!(group.reported(&epochs(4, 4, 11, 18)), Some(Rebalance { reason: "join", nanos: Some(8) }));
        assert_eq!(group.reported(&epochs(4, 4, 11, 18)), None);
        assert_eq!(group.count, 1);
    }
}
