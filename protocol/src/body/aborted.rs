//! Which batches of a partition belong to aborted transactions, by the list that comes before the batches in a Fetch response
//! to a `read_committed` consumer.
//!
//! A producer has one transaction at a time, and each ends with a control batch. So a batch is part of the producer's last
//! listed transaction that began at or before it, unless a control batch of the producer came in between. Kafka's consumer
//! does the same (`CompletedFetch.consumeAbortedTransactionsUpTo`), but looks into the control batch: here it is known from
//! the list how the transaction ended.

use alloc::vec::Vec;

use crate::BatchHead;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Transaction {
    producer_id: i64,
    first_offset: i64,
    /// Its control batch has come.
    ended: bool,
}

/// See the module's first paragraph.
#[derive(Debug)]
pub(crate) struct Aborted {
    transactions: Vec<Transaction>,
    /// How many did not fit.
    forgotten: u32,
}

impl Aborted {
    pub(crate) const fn new() -> Self {
        Self { transactions: Vec::new(), forgotten: 0 }
    }

    /// Whether it has no memory.
    pub(crate) const fn is_unused(&self) -> bool {
        self.transactions.capacity() == 0
    }

    /// The list of a partition begins.
    pub(crate) fn begin(&mut self) {
        self.transactions.clear();
        self.forgotten = 0;
    }

    /// A transaction in it; no more than `limit` are kept.
    pub(crate) fn add(&mut self, producer_id: i64, first_offset: i64, limit: usize) {
        if self.transactions.len() < limit {
            self.transactions.push(Transaction { producer_id, first_offset, ended: false });
        } else {
            self.forgotten = self.forgotten.saturating_add(1);
        }
    }

    /// The list has ended. How many transactions are not kept.
    pub(crate) fn end(&mut self) -> u32 {
        self.transactions.sort_unstable();
        self.forgotten
    }

    /// Whether the next batch of the partition belongs to an aborted transaction.
    #[inline(always)]
    pub(crate) fn covers(&mut self, batch: &BatchHead) -> bool {
        let last_offset = batch.base_offset.saturating_add(i64::from(batch.last_offset_delta));
        // By value, so that the head need not be in memory.
        batch.is_transactional() && self.is_open(batch.producer_id, last_offset, batch.is_control())
    }

    #[cold]
    #[inline(never)]
    fn is_open(&mut self, producer_id: i64, last_offset: i64, ends: bool) -> bool {
        let begun = |it: &Transaction| (it.producer_id, it.first_offset) <= (producer_id, last_offset);
        let behind = self.transactions.partition_point(begun);
        let last = behind.checked_sub(1).and_then(|index| self.transactions.get_mut(index));
        let Some(transaction) = last.filter(|it| it.producer_id == producer_id && !it.ended) else { return false };
        transaction.ended = ends;
        !ends
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTROL: i16 = 0x20;

    fn batch(producer_id: i64, base_offset: i64, attributes: i16) -> BatchHead {
        BatchHead {
            magic: 2,
            base_offset,
            bytes: 100,
            attributes: attributes | 0x10,
            last_offset_delta: 4,
            records: Some(5),
            base_timestamp: 0,
            max_timestamp: 0,
            producer_id,
            producer_epoch: 0,
            base_sequence: 0,
            partial: false,
        }
    }

    #[test]
    fn batches_are_aborted_from_the_first_of_a_transaction_to_its_control_batch() {
        let mut aborted = Aborted::new();
        aborted.begin();
        // In the order of their ends, as a broker lists them.
        for (producer_id, first_offset) in [(7, 20), (9, 10), (7, 60)] {
            aborted.add(producer_id, first_offset, 10);
        }
        assert_eq!(aborted.end(), 0);
        let mut covers = |producer_id, offset, attributes| aborted.covers(&batch(producer_id, offset, attributes));
        assert!(!covers(7, 5, 0), "before its transaction");
        assert!(covers(9, 10, 0));
        assert!(covers(7, 20, 0));
        assert!(!covers(8, 25, 0), "of a producer that is not listed");
        assert!(covers(7, 30, 0));
        assert!(!covers(7, 35, CONTROL), "a marker is no record");
        assert!(!covers(7, 40, 0), "of the next transaction, which was committed");
        assert!(!covers(7, 45, CONTROL));
        assert!(covers(9, 50, 0), "still open");
        assert!(covers(7, 60, 0));
        assert!(!covers(9, 65, CONTROL));
        assert!(!covers(9, 70, 0));
    }

    #[test]
    fn what_does_not_fit_is_counted_and_the_next_partition_begins_anew() {
        let mut aborted = Aborted::new();
        aborted.begin();
        for producer_id in 0..5 {
            aborted.add(producer_id, 0, 2);
        }
        assert_eq!(aborted.end(), 3);
        assert!(aborted.covers(&batch(1, 0, 0)));
        assert!(!aborted.covers(&batch(2, 0, 0)));
        aborted.begin();
        assert_eq!(aborted.end(), 0);
        assert!(!aborted.covers(&batch(1, 0, 0)));
        let idempotent = BatchHead { attributes: 0, ..batch(0, 0, 0) };
        assert!(!aborted.covers(&idempotent));
    }
}
