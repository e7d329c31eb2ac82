//! Commits inside of transactions: pending until the transaction ends, which may be told first, and elsewhere.

use super::fact::{Commit, Pending, TransactionEnd};
use super::state::State;
use super::store::{OWN, Origin};

/// Commits of all transactions that have not ended together.
const COMMITS: usize = 100_000;

/// Of one transaction, so that they fit on a page.
const COMMITS_OF_ONE: usize = 4_000;

impl State {
    pub(super) fn pend(&mut self, origin: Origin, pending: Pending, now: u64) {
        let cluster = &pending.commit.of.cluster;
        let ended = self.transactions.newest(&(cluster.clone(), pending.transaction.clone()));
        // Its end was told first.
        if let Some(end) = ended.map(|known| &known.value).filter(|end| ends(end, &pending)) {
            if end.committed {
                self.commit(origin, Commit { client: None, ..pending.commit }, now);
            }
            return;
        }
        if self.pending_commits >= COMMITS {
            self.lost += 1;
            return;
        }
        let (at, key) = (pending.commit.at, (cluster.clone(), pending.transaction.id.clone()));
        let Some((known, _)) = self.pending.entry(key, origin, || (Vec::new(), at)) else { return };
        (known.at, known.seen, known.version) = (known.at.max(at), now, self.version);
        let same = |other: &Pending| {
            other.transaction == pending.transaction
                && (&other.commit.group, &other.commit.of) == (&pending.commit.group, &pending.commit.of)
        };
        let is_full = known.value.len() >= COMMITS_OF_ONE;
        match known.value.iter_mut().find(|other| same(other)) {
            Some(other) if at >= other.commit.at => *other = pending,
            Some(_) => {}
            None if is_full => self.lost += 1,
            None => {
                known.value.push(pending);
                self.pending_commits += 1;
            }
        }
    }

    pub(super) fn transaction(&mut self, origin: Origin, end: TransactionEnd, now: u64) {
        let key = (end.cluster.clone(), end.transaction.id.clone());
        for known in self.pending.remove(&key).into_iter().flatten() {
            let (origin, at, seen, version) = (known.origin, known.at, known.seen, known.version);
            self.pending_commits = self.pending_commits.saturating_sub(known.value.len());
            // Those of the next transaction stay; those of another producer, whose place was taken, are void.
            let (kept, done): (Vec<_>, Vec<_>) = known
                .value
                .into_iter()
                .filter(|pending| pending.transaction == end.transaction)
                .partition(|pending| !ends(&end, pending));
            if !kept.is_empty() {
                let count = kept.len();
                if let Some((known, _)) = self.pending.entry(key.clone(), origin, || (kept, at)) {
                    (known.seen, known.version) = (seen, version);
                    self.pending_commits += count;
                }
            }
            for pending in done.into_iter().filter(|_| end.committed) {
                let commit = Commit { at: end.at.max(pending.commit.at), ..pending.commit };
                self.version += u64::from(origin == OWN);
                self.commit(origin, commit, now);
            }
        }
        let key = (end.cluster.clone(), end.transaction.clone());
        let Some((known, is_new)) = self.transactions.entry(key, origin, || (end.clone(), end.at)) else { return };
        if is_new || end.at >= known.at {
            (known.at, known.seen, known.version) = (end.at, now, self.version);
            known.value = end;
        }
    }
}

/// Whether what is pending is of the transaction that ended, or of one before.
fn ends(end: &TransactionEnd, pending: &Pending) -> bool {
    pending.epoch < end.epoch || (pending.epoch == end.epoch && pending.commit.at <= end.at)
}
