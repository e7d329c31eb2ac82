//! Rows of one kind, each at a place of its own.

use std::collections::HashMap;
use std::sync::Arc;

use kafkascope_protocol::Timestamp;

use super::{Change, Place};
use crate::dictionary::Dictionary;
use crate::labels::{Key, Labels};
use crate::series::Series;

/// Counters that belong to the same thing and are recorded together.
pub(crate) trait Row: Default {
    /// The series of the row.
    const PLACES: &'static [Place];

    /// Hands over what changed since the last call, with the index of its series in [`PLACES`](Self::PLACES).
    fn take(&mut self, changed: &mut impl FnMut(usize, Change));

    /// Whether something is going on that must find the row again.
    fn is_pinned(&self) -> bool {
        false
    }
}

/// The place of a row. Void once [`Shard::epoch`](super::Shard) has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot(u32);

impl Slot {
    /// No place.
    pub(crate) const NONE: Self = Self(u32::MAX);

    pub(crate) fn is_none(self) -> bool {
        self == Self::NONE
    }
}

#[derive(Debug)]
pub(crate) struct Arena<R> {
    rows: Vec<R>,
    owners: Vec<Option<Owner>>,
    free: Vec<u32>,
    slots: HashMap<Key, Slot>,
    /// Takes what is recorded at no place.
    nowhere: R,
}

#[derive(Debug)]
struct Owner {
    labels: Labels,
    /// Filled when a series first changes: most rows have series that never do.
    series: Box<[Option<Arc<Series>>]>,
    changed: Timestamp,
}

impl<R: Default> Default for Arena<R> {
    fn default() -> Self {
        Self { rows: Vec::new(), owners: Vec::new(), free: Vec::new(), slots: HashMap::new(), nowhere: R::default() }
    }
}

impl<R: Row> Arena<R> {
    /// The place of the row with these labels, which is made if need be.
    #[cold]
    #[inline(never)]
    pub(crate) fn slot(&mut self, labels: Labels, now: Timestamp) -> Slot {
        let key = labels.key();
        if let Some(&slot) = self.slots.get(&key) {
            return slot;
        }
        let owner = Some(Owner { labels, series: vec![None; R::PLACES.len()].into(), changed: now });
        let slot = match self.free.pop() {
            Some(index) => {
                if let Some(place) = self.owners.get_mut(index as usize) {
                    *place = owner;
                }
                Slot(index)
            }
            None => {
                self.rows.push(R::default());
                self.owners.push(owner);
                Slot(self.rows.len() as u32 - 1)
            }
        };
        self.slots.insert(key, slot);
        slot
    }

    /// The row at a place.
    #[inline]
    pub(crate) fn row(&mut self, slot: Slot) -> &mut R {
        self.rows.get_mut(slot.0 as usize).unwrap_or(&mut self.nowhere)
    }

    /// Hands over all changes and frees the rows that were idle too long. Whether any was freed.
    pub(super) fn drain(
        &mut self,
        dictionary: &Dictionary,
        now: Timestamp,
        changes: &mut Vec<(Arc<Series>, Change)>,
    ) -> bool {
        let expiry = dictionary.settings().expiry.nanos();
        let mut freed = false;
        for (index, (row, place)) in self.rows.iter_mut().zip(&mut self.owners).enumerate() {
            let Some(owner) = place else { continue };
            let mut changed = false;
            row.take(&mut |at, change| {
                let (Some(series), Some(&(metric, own))) = (owner.series.get_mut(at), R::PLACES.get(at)) else {
                    return;
                };
                let new = || dictionary.series(metric, owner.labels.attributes(metric, own, dictionary));
                changes.push((series.get_or_insert_with(new).clone(), change));
                changed = true;
            });
            if changed {
                owner.changed = now;
            } else if now.since(owner.changed) > expiry && !row.is_pinned() {
                self.slots.remove(&owner.labels.key());
                *place = None;
                *row = R::default();
                self.free.push(index as u32);
                freed = true;
            }
        }
        freed
    }
}
