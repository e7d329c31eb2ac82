//! Who has series of its own when a cap is reached: whoever has most traffic.
//!
//! Until a dimension is full, whatever comes has a place. Above the cap, what is folded into `other` is weighed by its
//! bytes in a [`Sketch`], and every [`PERIOD`] the heaviest of it take the places of the lightest that have one, if they
//! outweigh them by [`FACTOR`]. Nothing is moved by that: what was counted under a name ends with the series of that name,
//! what was counted under `other` stays there, and only what comes later is counted elsewhere.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::cap::Live;
use crate::dictionary::lock;

/// Time between two judgements in nanoseconds: 10 s. A place that changes hands costs an end and a beginning of all its
/// series.
pub(crate) const PERIOD: u64 = 10_000_000_000;

/// How much heavier than the holder of a place one must be to take it: equals would take it from each other in turn.
const FACTOR: u64 = 2;

/// At most this part of the places changes hands at a time: the ends of their series must find room until they are
/// exported.
const SHARE: usize = 8;

/// Names of a dimension that a sketch weighs at least; it holds up to twice as many. With 4,096, whoever has more than a
/// 4,096th of what is folded is among them.
const WEIGHED: usize = 4_096;

/// Folded names that a worker reports between two drains: 1 MB.
const REPORTED: usize = 32_768;

/// Weights lose a quarter each period: what was a minute ago counts a fifth.
const fn fade(weight: u64) -> u64 {
    weight - weight.div_ceil(4)
}

/// Whether a value has series of its own, and how much passes under it.
#[derive(Debug)]
pub(crate) struct Place {
    is_other: bool,
    kept: AtomicBool,
    live: Mutex<Option<Live>>,
    /// Bytes since the last judgement.
    traffic: AtomicU64,
    /// Bytes before, faded.
    weight: AtomicU64,
}

impl Place {
    /// That of a value of its own, of this weight.
    pub(crate) fn under(live: Live, weight: u64) -> Self {
        Self { is_other: false, live: Mutex::new(Some(live)), weight: AtomicU64::new(weight), ..Self::other() }
    }

    /// That of what stands for all above the cap: never taken away.
    pub(crate) fn other() -> Self {
        Self {
            is_other: true,
            kept: AtomicBool::new(true),
            live: Mutex::default(),
            traffic: AtomicU64::new(0),
            weight: AtomicU64::new(0),
        }
    }

    /// Whether it is that of `other`.
    pub(crate) fn is_other(&self) -> bool {
        self.is_other
    }

    /// Whether it may be counted under.
    pub(crate) fn is_kept(&self) -> bool {
        self.kept.load(Ordering::Relaxed)
    }

    /// `bytes` bytes passed.
    pub(crate) fn credit(&self, bytes: u64) {
        self.traffic.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Another has it from now on.
    pub(crate) fn lose(&self) {
        self.kept.store(false, Ordering::Relaxed);
        *lock(&self.live) = None;
    }

    /// It is given (back) to a value of this weight.
    pub(crate) fn win(&self, live: Live, weight: u64) {
        *lock(&self.live) = Some(live);
        self.weight.store(weight, Ordering::Relaxed);
        self.kept.store(true, Ordering::Relaxed);
    }

    /// What makes it a place, for the value that goes on in place of this one.
    pub(crate) fn hand_over(&self) -> Option<Live> {
        lock(&self.live).take()
    }

    /// Its weight, which fades from now on.
    fn weigh(&self) -> u64 {
        let weight = self.weight.load(Ordering::Relaxed).saturating_add(self.traffic.swap(0, Ordering::Relaxed));
        self.weight.store(fade(weight), Ordering::Relaxed);
        weight
    }
}

/// What was folded on a worker since its last drain.
#[derive(Debug)]
pub(crate) struct Folded<K> {
    passed: Vec<(K, u64)>,
    next: usize,
}

impl<K> Default for Folded<K> {
    fn default() -> Self {
        Self { passed: Vec::new(), next: 0 }
    }
}

impl<K> Folded<K> {
    /// Bytes passed under a name. When there are too many, some are forgotten, small ones first: who has much traffic
    /// comes again.
    pub(crate) fn note(&mut self, name: K, bytes: u64) {
        if self.passed.len() < REPORTED {
            return self.passed.push((name, bytes));
        }
        self.next = (self.next + 1) % REPORTED;
        if let Some(place) = self.passed.get_mut(self.next)
            && place.1 < bytes
        {
            *place = (name, bytes);
        }
    }

    pub(crate) fn take(&mut self) -> Vec<(K, u64)> {
        std::mem::take(&mut self.passed)
    }
}

/// The traffic of folded names: exact for those that always had much, and never too high in what it vouches for.
///
/// That of Metwally, Agrawal and El Abbadi ("space-saving"), but for when it makes room: not one by one, but half of it at
/// a time.
#[derive(Debug)]
pub(crate) struct Sketch<K> {
    weights: HashMap<K, Weight>,
    /// What a name may have had that is not among them.
    floor: u64,
}

#[derive(Debug, Clone, Copy)]
struct Weight {
    most: u64,
    /// How much of it may be of others.
    doubt: u64,
}

impl<K> Default for Sketch<K> {
    fn default() -> Self {
        Self { weights: HashMap::new(), floor: 0 }
    }
}

impl<K: Clone + Eq + Hash> Sketch<K> {
    /// More passed under a name.
    pub(crate) fn add(&mut self, name: K, bytes: u64) {
        let floor = self.floor;
        let weight = self.weights.entry(name).or_insert(Weight { most: floor, doubt: floor });
        weight.most = weight.most.saturating_add(bytes);
        if self.weights.len() > 2 * WEIGHED {
            let mut all: Vec<u64> = self.weights.values().map(|weight| weight.most).collect();
            let (_, &mut floor, _) = all.select_nth_unstable_by(WEIGHED, |a, b| b.cmp(a));
            self.floor = floor;
            self.weights.retain(|_, weight| weight.most > floor);
        }
    }

    fn fade(&mut self) {
        self.floor = fade(self.floor);
        self.weights.retain(|_, weight| {
            *weight = Weight { most: fade(weight.most), doubt: fade(weight.doubt) };
            weight.most > weight.doubt
        });
        self.weights.shrink_to(self.weights.len() * 2);
    }

    /// Names and what they had at least, the heaviest first.
    fn ranked(&self) -> Vec<(u64, K)> {
        let sure = |(name, weight): (&K, &Weight)| (weight.most - weight.doubt, name.clone());
        let mut ranked: Vec<_> = self.weights.iter().map(sure).filter(|(weight, _)| *weight > 0).collect();
        ranked.sort_unstable_by_key(|(weight, _)| std::cmp::Reverse(*weight));
        ranked
    }

    /// Takes places from the lightest of `kept` and returns the names that are to have them and what is free, with their
    /// weights. `free` of `cap` places are.
    pub(crate) fn judge(&mut self, kept: Vec<(K, Arc<Place>)>, free: usize, cap: usize) -> Vec<(K, u64)> {
        let mut kept: Vec<_> = kept.into_iter().map(|(name, place)| (place.weigh(), name, place)).collect();
        if self.weights.is_empty() {
            return Vec::new();
        }
        kept.sort_unstable_by_key(|(weight, ..)| *weight);
        let mut rising = self.ranked().into_iter();
        let mut winners: Vec<(K, u64)> = rising.by_ref().take(free).map(|(weight, name)| (name, weight)).collect();
        for ((weight, name), (lightest, loser, place)) in rising.zip(kept).take(cap / SHARE + 1) {
            if weight / FACTOR <= lightest {
                break;
            }
            place.lose();
            self.add(loser, lightest);
            winners.push((name, weight));
        }
        for (name, _) in &winners {
            self.weights.remove(name);
        }
        self.fade();
        winners
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cap::{Account, Cap};

    fn places(account: &Account, traffic: &[u64]) -> Vec<Arc<Place>> {
        let place = |&bytes: &u64| {
            let place = Place::under(account.take().unwrap(), 0);
            place.credit(bytes);
            Arc::new(place)
        };
        traffic.iter().map(place).collect()
    }

    fn judge(sketch: &mut Sketch<u32>, places: &[Arc<Place>], free: usize) -> Vec<u32> {
        let kept = places.iter().enumerate().map(|(index, place)| (index as u32, place.clone())).collect();
        sketch.judge(kept, free, 8).into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn the_heaviest_take_the_places_of_the_lightest_and_equals_do_not() {
        let account = Account::new(Cap::constant(8));
        let places = places(&account, &[1_000, 10, 20, 30]);
        let mut sketch = Sketch::default();
        [(100, 2_000), (101, 21), (102, 40), (103, 5)].into_iter().for_each(|(name, bytes)| sketch.add(name, bytes));
        assert_eq!(judge(&mut sketch, &places, 0), [100], "40 is not more than twice 20");
        assert_eq!([0, 1, 2, 3].map(|index: usize| places[index].is_kept()), [true, false, true, true]);
        assert_eq!(account.live(), 3, "the place is free");
    }

    #[test]
    fn free_places_are_for_the_heaviest() {
        let account = Account::new(Cap::constant(8));
        let places = places(&account, &[1_000]);
        let mut sketch = Sketch::default();
        [(100, 1), (101, 3), (102, 2)].into_iter().for_each(|(name, bytes)| sketch.add(name, bytes));
        assert_eq!(judge(&mut sketch, &places, 2), [101, 102]);
        assert!(places[0].is_kept());
    }

    #[test]
    fn a_sketch_is_bounded_and_finds_the_heavy_among_a_crowd() {
        let mut sketch = Sketch::default();
        for round in 0..5_u32 {
            (0..100_000_u32).for_each(|name| sketch.add(1_000 + round * 100_000 + name, 10));
            (0..20).for_each(|name| sketch.add(name, 10_000));
            assert!(sketch.weights.len() <= 2 * WEIGHED);
        }
        let first: std::collections::HashSet<u32> =
            sketch.ranked().into_iter().take(20).map(|(_, name)| name).collect();
        assert_eq!(first, (0..20).collect());
        assert!(sketch.ranked().iter().all(|(weight, name)| *weight <= if *name < 20 { 50_000 } else { 10 }));
    }

    #[test]
    fn what_is_reported_is_bounded_and_keeps_what_is_large() {
        let mut folded = Folded::default();
        (0..10 * REPORTED).for_each(|name| folded.note(name, if name == 5 * REPORTED { 1_000 } else { 1 }));
        let passed = folded.take();
        assert_eq!(passed.len(), REPORTED);
        assert!(passed.contains(&(5 * REPORTED, 1_000)));
    }
}
