//! Rows of one kind, each at a place of its own.

use std::collections::HashMap;
use std::sync::Arc;

use kafkascope_protocol::Timestamp;

use super::{Change, Place};
use crate::cap::Dimension;
use crate::dictionary::Dictionary;
use crate::labels::{Key, Labels};
use crate::series::Series;

/// Counters that belong to the same thing and are recorded together.
pub(crate) trait Row: Default {
    /// The series of the row.
    const PLACES: &'static [Place];

    /// Hands over what changed since the last call, with the index of its series in [`PLACES`](Self::PLACES).
    fn take(&mut self, changed: &mut impl FnMut(usize, Change));

    /// It is that of these labels from now on.
    fn begin(&mut self, _labels: &Labels) {}

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
    dictionary: Arc<Dictionary>,
    rows: Vec<R>,
    owners: Vec<Option<Owner>>,
    free: Vec<u32>,
    slots: HashMap<Key, Slot>,
    /// The judgement at the last drain.
    judgement: u32,
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

impl<R: Row> Arena<R> {
    pub(super) fn new(dictionary: &Arc<Dictionary>) -> Self {
        Self {
            dictionary: Arc::clone(dictionary),
            rows: Vec::new(),
            owners: Vec::new(),
            free: Vec::new(),
            slots: HashMap::new(),
            judgement: 0,
            nowhere: R::default(),
        }
    }

    /// The place of the row with these labels, which is made if need be. When there are as many as the cap on series has
    /// room for, a new one is that of `other`.
    #[cold]
    #[inline(never)]
    pub(crate) fn slot(&mut self, labels: Labels, now: Timestamp) -> Slot {
        let labels = labels.with_known_values(&self.dictionary);
        if let Some(&slot) = self.slots.get(&labels.key()) {
            return slot;
        }
        let cap = self.dictionary.account(Dimension::Series);
        if self.slots.len() < cap.cap().div_ceil(R::PLACES.len()) {
            return self.insert(labels, now);
        }
        cap.fold();
        self.dictionary.fold_series();
        let labels = labels.folded(&self.dictionary);
        self.slots.get(&labels.key()).copied().unwrap_or_else(|| self.insert(labels, now))
    }

    fn insert(&mut self, labels: Labels, now: Timestamp) -> Slot {
        let key = labels.key();
        let mut row = R::default();
        row.begin(&labels);
        let owner = Some(Owner { labels, series: vec![None; R::PLACES.len()].into(), changed: now });
        let slot = match self.free.pop() {
            Some(index) => {
                if let Some(place) = self.owners.get_mut(index as usize) {
                    *place = owner;
                }
                if let Some(place) = self.rows.get_mut(index as usize) {
                    *place = row;
                }
                Slot(index)
            }
            None => {
                self.rows.push(row);
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

    /// The series at index `at` of the row's [`PLACES`](Row::PLACES), for who records into it elsewhere.
    pub(crate) fn series(&mut self, slot: Slot, at: usize) -> Option<Arc<Series>> {
        let owner = self.owners.get_mut(slot.0 as usize)?.as_mut()?;
        let &(metric, own) = R::PLACES.get(at)?;
        let dictionary = &self.dictionary;
        let new = || dictionary.series(metric, owner.labels.attributes(metric, own, dictionary));
        Some(owner.series.get_mut(at)?.get_or_insert_with(new).clone())
    }

    /// Gives memory back when most of it has become free.
    fn shrink(&mut self) {
        if self.free.len() * 2 > self.rows.len() {
            let used = self.owners.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
            self.rows.truncate(used);
            self.owners.truncate(used);
            self.free.retain(|&index| (index as usize) < used);
            self.rows.shrink_to_fit();
            self.owners.shrink_to_fit();
            self.free.shrink_to_fit();
            self.slots.shrink_to_fit();
        }
    }
}

/// What changed in the rows of an arena.
pub(super) trait Drained {
    /// How many rows there are, free ones included.
    fn rows(&self) -> usize;

    /// Hands over the changes of up to `most` rows from index `from` on, and frees those that were idle too long. Returns
    /// the index where to go on, if there are more rows, and whether any was freed.
    fn drain(
        &mut self,
        now: Timestamp,
        from: usize,
        most: usize,
        changes: &mut Vec<(Arc<Series>, Change)>,
    ) -> (Option<usize>, bool);
}

impl<R: Row> Drained for Arena<R> {
    fn rows(&self) -> usize {
        self.rows.len()
    }

    fn drain(
        &mut self,
        now: Timestamp,
        from: usize,
        most: usize,
        changes: &mut Vec<(Arc<Series>, Change)>,
    ) -> (Option<usize>, bool) {
        let dictionary = &self.dictionary;
        let expiry = dictionary.settings().expiry.nanos();
        // Series that were folded may have room now.
        let look_again = dictionary.judgement() != self.judgement;
        let mut freed = false;
        for (index, (row, place)) in self.rows.iter_mut().zip(&mut self.owners).enumerate().skip(from).take(most) {
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
            }
            if look_again {
                owner
                    .series
                    .iter_mut()
                    .filter(|series| series.as_ref().is_some_and(|one| !one.has_place()))
                    .for_each(|series| *series = None);
            }
            let is_idle = !changed && now.since(owner.changed) > expiry;
            if (is_idle || owner.labels.are_over()) && !row.is_pinned() {
                self.slots.remove(&owner.labels.key());
                *place = None;
                *row = R::default();
                self.free.push(index as u32);
                freed = true;
            }
        }
        let next = from.saturating_add(most);
        if next < self.rows.len() {
            return (Some(next), freed);
        }
        self.judgement = self.dictionary.judgement();
        if freed {
            self.shrink();
        }
        (None, freed)
    }
}

#[cfg(test)]
mod tests {
    use kafkascope_protocol::{ApiKey, ApiVersion};

    use super::super::row::AcksRow;
    use super::*;
    use crate::cap::Cap;
    use crate::labels::Api;
    use crate::settings::{Caps, Settings};

    fn arena(rows: usize) -> Arena<AcksRow> {
        let caps = Caps { series: Cap::new(rows).unwrap(), ..Caps::default() };
        Arena::new(&Dictionary::new(Settings { caps, ..Settings::default() }))
    }

    fn count(arena: &mut Arena<AcksRow>, key: i16, version: i16) {
        let api = Some(Api { key: ApiKey(key), follower: None });
        let labels = Labels { api, version: Some(ApiVersion(version)), ..Labels::default() };
        let slot = arena.slot(labels, Timestamp(0));
        arena.row(slot).requests += 1;
    }

    fn drained(arena: &mut Arena<AcksRow>, now: u64, most: usize) -> u64 {
        let (mut changes, mut from) = (Vec::new(), Some(0));
        while let Some(index) = from {
            from = arena.drain(Timestamp(now), index, most, &mut changes).0;
        }
        changes.iter().map(|(_, change)| if let Change::Count(count) = change { *count } else { 0 }).sum()
    }

    #[test]
    fn made_up_apis_and_versions_make_few_rows_and_lose_no_count() {
        let mut arena = arena(10_000);
        for number in -5_000..5_000 {
            count(&mut arena, number, 0);
            count(&mut arena, 3, number);
        }
        assert!(arena.rows.len() < 600, "{}", arena.rows.len());
        assert_eq!(drained(&mut arena, 1, 7), 20_000, "bit by bit");
    }

    #[test]
    fn above_the_cap_new_rows_are_others_and_lose_no_count() {
        let mut arena = arena(50);
        for version in 0..100 {
            for api in 0..10 {
                count(&mut arena, api, version);
            }
        }
        assert!(arena.rows.len() <= 50 + 10, "one `other` for each API: {}", arena.rows.len());
        assert_eq!(drained(&mut arena, 1, 1_000), 1_000);
        assert!(arena.dictionary.account(Dimension::Series).take_folded() > 0);
    }

    #[test]
    fn the_row_of_who_has_lost_its_place_goes_with_its_last_count() {
        let mut arena = arena(10_000);
        let dictionary = arena.dictionary.clone();
        let client = dictionary.client(&dictionary.client_name(Some(b"c1"), [10, 0, 0, 1].into(), None));
        let slot = arena.slot(Labels { client: Some(client.clone()), ..Labels::default() }, Timestamp(0));
        arena.row(slot).requests += 1;
        client.place().lose();
        assert_eq!(drained(&mut arena, 1, 1_000), 1);
        assert_eq!(arena.slots.len(), 0);
    }

    #[test]
    fn idle_rows_give_their_memory_back() {
        let mut arena = arena(10_000);
        (0..100).for_each(|version| count(&mut arena, 3, version));
        assert_eq!(drained(&mut arena, 1, 1_000), 100);
        count(&mut arena, 3, 0);
        let later = 1 + 2 * arena.dictionary.settings().expiry.nanos();
        assert_eq!(drained(&mut arena, later, 30), 1);
        assert_eq!((arena.rows.len(), arena.free.len(), arena.slots.len()), (1, 0, 1));
        count(&mut arena, 3, 99);
        assert_eq!(drained(&mut arena, later, 30), 1);
    }
}
