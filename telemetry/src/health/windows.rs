//! Windows in which a partition could not be used: from the first answer that its leader is not there to the first one
//! without an error, whoever gets them.

use std::collections::HashMap;

use super::sighting::Answer;
use crate::knowledge::fact::PartitionName;

/// Windows that are open at once: all partitions of five large brokers.
const OPEN: usize = 20_000;

/// A window in which nobody has tried for so long is given up: 5 min. When it ended will not be known.
const TRIED: u64 = 300_000_000_000;

#[derive(Debug, Default)]
pub(super) struct Windows {
    open: HashMap<PartitionName, Window>,
    closed: Vec<(PartitionName, u64)>,
    lost: u64,
}

#[derive(Debug)]
struct Window {
    since: u64,
    /// The last failure.
    last: u64,
}

impl Windows {
    /// Answers come in the order of their times.
    pub(super) fn learn(&mut self, answer: &Answer) {
        let at = answer.at;
        if answer.works {
            if let Some(window) = self.open.remove(&answer.of) {
                self.closed.push((answer.of.clone(), at.saturating_sub(window.since)));
            }
        } else if let Some(window) = self.open.get_mut(&answer.of) {
            window.last = at;
        } else if self.open.len() < OPEN {
            self.open.insert(answer.of.clone(), Window { since: at, last: at });
        } else {
            self.lost += 1;
        }
    }

    pub(super) fn expire(&mut self, now: u64) {
        self.open.retain(|_, window| now.saturating_sub(window.last) <= TRIED);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Partitions whose window has ended, and how long it was.
    pub(super) fn take_closed(&mut self) -> Vec<(PartitionName, u64)> {
        std::mem::take(&mut self.closed)
    }

    pub(super) fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }
}
