//! Who leads which partition since which epoch, and whether what a partition held is still there.
//!
//! Each leader has an epoch of its own, so a partition's epoch grows by one with each election (and with each loss of its
//! leader), and an election that nobody here was told of is still counted by the next one. The first that is heard of a
//! partition counts nothing.
//!
//! That records are lost is told by three signs, of which the first two are certain:
//!
//! * A partition had no leader, and the next one is not among the replicas that were in sync. While there is no leader
//!   nobody can join them (`AlterPartition` is a leader's request), so it was not one of them.
//! * A consumer is told that its log and the leader's part (KIP-595). Followers are told so after a clean election, too.
//! * A partition ends lower under a newer epoch than it did before, and still does a while later: a new leader's high
//!   watermark lags for a moment even after a clean election. Records that were acknowledged by one replica only (acks=1) may be
//!   lost in a clean one, so that is an unclean election only if there was no leader in between.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use kafkascope_protocol::TopicId;

use super::sighting::Leader;
use crate::knowledge::fact::{End, PartitionName};

/// Partitions whose leader is known, some 200 bytes each. Above it new ones are not taken.
const PARTITIONS: usize = 100_000;

/// A leader that nobody was told of for so long is forgotten: 20 min. Clients ask for metadata every 5 min
/// (`metadata.max.age.ms`).
const LIFE: u64 = 1_200_000_000_000;

/// An end that is lower is looked at only if it is newer by so much: responses of different connections overtake each other.
const GRACE: u64 = 1_000_000_000;

/// An end that is lower is believed when it is so for so long: 5 s.
const JUDGED_AFTER: u64 = 5_000_000_000;

#[derive(Debug, Default)]
pub(super) struct Leaders {
    known: HashMap<PartitionName, Known>,
    /// Those that end lower than they did.
    suspects: HashSet<PartitionName>,
    elections: HashMap<Arc<str>, u64>,
    losses: Vec<(Loss, PartitionName)>,
    lost: u64,
}

/// How records were lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Loss {
    Regression,
    UncleanElection,
}

#[derive(Debug)]
struct Known {
    id: Option<TopicId>,
    leader: i32,
    /// -1: not known.
    epoch: i32,
    /// Empty if it is not known, or there is none.
    in_sync: Box<[i32]>,
    /// There was no leader before this epoch, or an epoch that was not seen.
    gap: bool,
    /// The highest end, when it was told, and under which epoch.
    high: i64,
    high_at: u64,
    high_epoch: i32,
    /// A lower end, and since when.
    lower: Option<(i64, u64)>,
    /// Epochs for which losses were counted.
    regressed: Option<i32>,
    unclean: Option<i32>,
    seen: u64,
}

impl Leaders {
    pub(super) fn learn(&mut self, told: Leader, now: u64) {
        let Self { known, elections: all, losses, lost, .. } = self;
        let Some(known) = place(known, lost, &told.of) else { return };
        known.seen = now;
        let is_another = told.id.is_some() && known.id.is_some() && told.id != known.id;
        if is_another {
            *known = Known { seen: now, ..Known::default() };
        }
        if known.epoch < 0 {
            (known.id, known.leader, known.epoch, known.high_epoch) = (told.id, told.leader, told.epoch, told.epoch);
            known.in_sync = told.in_sync.unwrap_or_default();
            return;
        }
        known.id = told.id.or(known.id);
        // A broker that lags tells of the past.
        let Some(elections) = told.epoch.checked_sub(known.epoch).and_then(|more| u64::try_from(more).ok()) else {
            return;
        };
        if elections > 0 {
            *all.entry(told.of.cluster.clone()).or_default() += elections;
            let had_none = known.leader < 0;
            known.gap = had_none || elections > 1;
            let is_stranger = !known.in_sync.is_empty() && !known.in_sync.contains(&told.leader);
            known.in_sync = Box::default();
            known.epoch = told.epoch;
            // What was lower under the epoch before only lagged.
            if known.lower.is_some_and(|(_, since)| since.saturating_add(GRACE) < told.at) {
                known.lower = None;
            }
            if had_none && elections == 1 && told.leader >= 0 && is_stranger {
                known.unclean = Some(known.epoch);
                losses.push((Loss::UncleanElection, told.of));
            }
        }
        known.leader = told.leader;
        if let Some(in_sync) = told.in_sync {
            known.in_sync = in_sync;
        }
    }

    /// Where a partition ends.
    pub(super) fn end(&mut self, end: &End) {
        if place(&mut self.known, &mut self.lost, &end.of).is_some() {
            self.end_elsewhere(end);
        }
    }

    /// The same, of a partition that is known.
    pub(super) fn end_elsewhere(&mut self, end: &End) {
        let Some(known) = self.known.get_mut(&end.of).filter(|_| end.high >= 0) else { return };
        known.seen = known.seen.max(end.at);
        if end.at < known.high_at {
            return;
        }
        if end.high >= known.high {
            (known.high, known.high_at, known.high_epoch, known.lower) = (end.high, end.at, known.epoch, None);
        } else if end.at >= known.high_at.saturating_add(GRACE) {
            let since = known.lower.map_or(end.at, |(_, since)| since);
            known.lower = Some((end.high, since));
            self.suspects.insert(end.of.clone());
        }
    }

    /// A consumer has read what is not there any more.
    pub(super) fn diverges(&mut self, of: &PartitionName) {
        if let Some(known) = self.known.get_mut(of) {
            known.regresses(of, true, &mut self.losses);
        }
    }

    pub(super) fn settle(&mut self, now: u64) {
        let Self { known, suspects, losses, .. } = self;
        suspects.retain(|of| {
            let Some(known) = known.get_mut(of) else { return false };
            let Some((high, since)) = known.lower else { return false };
            if now.saturating_sub(since) < JUDGED_AFTER {
                return true;
            }
            known.lower = None;
            // A round tells of ends before it tells of epochs, so that is looked at only now.
            if known.epoch <= known.high_epoch {
                return false;
            }
            known.regresses(of, known.gap, losses);
            (known.high, known.high_at, known.high_epoch) = (high, since, known.epoch);
            false
        });
        known.retain(|_, known| now.saturating_sub(known.seen) <= LIFE);
    }

    /// Elections by cluster.
    pub(super) fn take_elections(&mut self) -> HashMap<Arc<str>, u64> {
        std::mem::take(&mut self.elections)
    }

    pub(super) fn take_losses(&mut self) -> Vec<(Loss, PartitionName)> {
        std::mem::take(&mut self.losses)
    }

    pub(super) fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }
}

/// What is known of a partition; `None` when there are too many.
fn place<'a>(
    known: &'a mut HashMap<PartitionName, Known>,
    lost: &mut u64,
    of: &PartitionName,
) -> Option<&'a mut Known> {
    if !known.contains_key(of) {
        if known.len() >= PARTITIONS {
            *lost += 1;
            return None;
        }
        known.insert(of.clone(), Known::default());
    }
    known.get_mut(of)
}

impl Default for Known {
    fn default() -> Self {
        Self {
            id: None,
            leader: -1,
            epoch: -1,
            in_sync: Box::default(),
            gap: false,
            high: -1,
            high_at: 0,
            high_epoch: -1,
            lower: None,
            regressed: None,
            unclean: None,
            seen: 0,
        }
    }
}

impl Known {
    /// Counted once an epoch, however many signs there are.
    fn regresses(&mut self, of: &PartitionName, is_unclean: bool, losses: &mut Vec<(Loss, PartitionName)>) {
        if self.regressed.replace(self.epoch) != Some(self.epoch) {
            losses.push((Loss::Regression, of.clone()));
        }
        if is_unclean && self.unclean.replace(self.epoch) != Some(self.epoch) {
            losses.push((Loss::UncleanElection, of.clone()));
        }
    }
}
