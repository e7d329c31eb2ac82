//! A bounded map of the latest fact by key, and by who told it.
//!
//! Of one key there may be a fact of this proxy and one of each peer. What was not confirmed for the life of its kind is
//! forgotten; when there are too many, those that were confirmed the longest ago, and those that only peers told before any
//! of our own. Peers are not trusted: what this proxy has just seen itself is believed whatever they say.

use std::collections::HashMap;
use std::hash::Hash;

use super::weight::Weight;

/// Who told a fact: this proxy is 0, peers have numbers from 1 on.
pub(crate) type Origin = usize;

/// This proxy.
pub(crate) const OWN: Origin = 0;

/// What this proxy saw so long ago is no better than what others say: 10 s, twice the time after which what is still so is
/// told again.
const CERTAIN: u64 = 10_000_000_000;

/// Of a full store one in so many is forgotten at once, so that it is not searched for the oldest again and again.
const SHARE: usize = 16;

/// A fact.
#[derive(Debug)]
pub(crate) struct Known<V> {
    pub(crate) origin: Origin,
    pub(crate) value: V,
    /// When it was so, by the clock of who told it.
    pub(crate) at: u64,
    /// When it was confirmed last, by our clock.
    pub(crate) seen: u64,
    /// Rises whenever a fact of this proxy is told or confirmed.
    pub(crate) version: u64,
}

impl<V> Known<V> {
    /// Whether this proxy has just seen it itself.
    pub(crate) fn is_certain(&self, now: u64) -> bool {
        self.origin == OWN && now.saturating_sub(self.seen) <= CERTAIN
    }
}

/// What is believed of all that is told of a key: what is certain, else the newest.
pub(crate) fn believed<V>(told: &[Known<V>], now: u64) -> Option<&Known<V>> {
    told.iter().find(|known| known.is_certain(now)).or_else(|| newest(told))
}

/// The newest of all that is told of a key.
pub(crate) fn newest<V>(told: &[Known<V>]) -> Option<&Known<V>> {
    told.iter().max_by_key(|known| known.at)
}

/// See the module's first paragraph.
#[derive(Debug)]
pub(crate) struct Store<K, V> {
    map: HashMap<K, Vec<Known<V>>>,
    cap: usize,
    /// Nanoseconds.
    life: u64,
    forgotten: u64,
    /// Room may be made for what peers tell: once between two calls of [`expire`](Self::expire), so that a peer that tells
    /// without end does not make us search all the time.
    yields: bool,
}

impl<K: Hash + Eq + Clone, V> Store<K, V> {
    pub(crate) fn new(cap: usize, life: u64) -> Self {
        Self { map: HashMap::new(), cap, life, forgotten: 0, yields: true }
    }

    /// What `origin` told of `key`, made by `new` if there is nothing yet, which is then told, too. `None` if there is no
    /// room for what a peer tells.
    pub(crate) fn entry(
        &mut self,
        key: K,
        origin: Origin,
        new: impl FnOnce() -> (V, u64),
    ) -> Option<(&mut Known<V>, bool)> {
        if self.map.len() >= self.cap && !self.map.contains_key(&key) && !self.make_room(origin) {
            self.forgotten += 1;
            return None;
        }
        let known = self.map.entry(key).or_default();
        let index = known.iter().position(|known| known.origin == origin);
        let is_new = index.is_none();
        let index = index.unwrap_or_else(|| {
            let (value, at) = new();
            known.push(Known { origin, value, at, seen: 0, version: 0 });
            known.len() - 1
        });
        Some((&mut known[index], is_new))
    }

    /// The newest of all that is told of `key`.
    pub(crate) fn newest(&self, key: &K) -> Option<&Known<V>> {
        newest(self.map.get(key)?)
    }

    /// The key, and what is told of it.
    pub(crate) fn get(&self, key: &K) -> Option<(&K, &[Known<V>])> {
        self.map.get_key_value(key).map(|(key, known)| (key, known.as_slice()))
    }

    /// What is told of `key`.
    pub(crate) fn get_mut(&mut self, key: &K) -> &mut [Known<V>] {
        self.map.get_mut(key).map_or(&mut [], Vec::as_mut_slice)
    }

    /// All keys, and what is told of each; never nothing.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &[Known<V>])> {
        self.map.iter().map(|(key, known)| (key, known.as_slice()))
    }

    pub(crate) fn keys_where(&self, wanted: impl Fn(&K) -> bool) -> Vec<K> {
        self.map.keys().filter(|key| wanted(key)).cloned().collect()
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<Vec<Known<V>>> {
        self.map.remove(key)
    }

    /// Forgets what `origin` told.
    pub(crate) fn forget_origin(&mut self, origin: Origin) {
        self.retain(|known| known.origin != origin);
    }

    /// Forgets what has not been confirmed for too long.
    pub(crate) fn expire(&mut self, now: u64) {
        self.yields = true;
        let life = self.life;
        self.retain(|known| now.saturating_sub(known.seen) <= life);
    }

    fn retain(&mut self, keep: impl Fn(&Known<V>) -> bool) {
        self.map.retain(|_, known| {
            known.retain(&keep);
            !known.is_empty()
        });
    }

    /// How many keys there are.
    pub(crate) fn len(&self) -> usize {
        self.map.len()
    }

    /// How many facts were forgotten for want of room since the last call.
    pub(crate) fn take_forgotten(&mut self) -> u64 {
        std::mem::take(&mut self.forgotten)
    }

    /// Whether there is room for what `origin` tells. What only peers told goes first, and what this proxy knows goes only for
    /// what it has to tell itself.
    #[cold]
    fn make_room(&mut self, origin: Origin) -> bool {
        if origin != OWN && !std::mem::take(&mut self.yields) {
            return false;
        }
        let age = |known: &Vec<Known<V>>| {
            let is_ours = known.iter().any(|known| known.origin == OWN);
            (is_ours, known.iter().map(|known| known.seen).max().unwrap_or(0))
        };
        let mut ages: Vec<(bool, u64)> = self.map.values().map(age).collect();
        let most = (ages.len() / SHARE).max(1);
        let index = (most - 1).min(ages.len().saturating_sub(1));
        if ages.is_empty() {
            return true;
        }
        let oldest = *ages.select_nth_unstable(index).1;
        let mut left = most;
        self.map.retain(|_, known| {
            let age @ (is_ours, _) = age(known);
            let goes = left > 0 && age <= oldest && (origin == OWN || !is_ours);
            left -= usize::from(goes);
            !goes
        });
        self.forgotten += (most - left) as u64;
        left < most
    }
}

impl<K: Weight, V: Weight> Store<K, V> {
    /// Bytes that hold what peers told.
    pub(crate) fn weight_of_peers(&self) -> usize {
        let of_key = |(key, known): (&K, &Vec<Known<V>>)| {
            let values =
                known.iter().filter(|known| known.origin != OWN).map(|known| key.weight() + known.value.weight());
            values.sum::<usize>()
        };
        self.map.iter().map(of_key).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(store: &mut Store<u32, u32>, key: u32, origin: Origin, seen: u64) -> bool {
        let entry = store.entry(key, origin, || (key, seen));
        entry.map(|(known, _)| known.seen = seen).is_some()
    }

    #[test]
    fn a_full_store_forgets_what_was_confirmed_the_longest_ago() {
        let mut store = Store::new(32, 100);
        for key in 0..33 {
            put(&mut store, key, OWN, u64::from(100 - key));
        }
        assert_eq!(store.len(), 31);
        assert!(store.newest(&0).is_some() && store.newest(&32).is_some());
        assert!(store.newest(&31).is_none() && store.newest(&30).is_none());
        assert_eq!(store.take_forgotten(), 2);
    }

    #[test]
    fn what_is_not_confirmed_expires_and_the_facts_of_others_stay() {
        let mut store = Store::new(32, 100);
        put(&mut store, 1, OWN, 10);
        put(&mut store, 1, 2, 60);
        store.expire(120);
        assert_eq!(store.newest(&1).unwrap().origin, 2);
        store.forget_origin(2);
        assert_eq!(store.len(), 0);
    }

    #[test]
    fn what_peers_tell_makes_room_for_our_own_and_never_takes_its_place() {
        let mut store = Store::new(32, 1_000);
        for key in 0..16 {
            assert!(put(&mut store, key, OWN, 1));
        }
        for key in 100..1_000 {
            put(&mut store, key, 1, u64::from(key));
            store.expire(key.into());
        }
        assert!((0..16).all(|key| store.newest(&key).is_some()));
        assert_eq!(store.len(), 32);
        for key in 16..32 {
            assert!(put(&mut store, key, OWN, 1));
        }
        assert!((0..32).all(|key| store.newest(&key).is_some()));
        assert!(!put(&mut store, 2_000, 1, 5_000), "all that is here is our own");
        assert!(put(&mut store, 0, 1, 5_000), "but peers may tell of it, too");
    }

    #[test]
    fn a_peer_that_tells_without_end_makes_room_once_between_two_rounds() {
        let mut store = Store::new(320, 1_000);
        let taken = (0..10_000).filter(|key| put(&mut store, *key, 1, 1)).count();
        assert_eq!((taken, store.take_forgotten()), (320 + 20, 20 + 10_000 - 340));
        store.expire(2);
        assert!(put(&mut store, 20_000, 1, 2));
    }

    #[test]
    fn what_was_just_seen_here_is_believed_and_the_newest_when_that_is_long_ago() {
        let mut store = Store::new(32, u64::MAX);
        put(&mut store, 1, OWN, 100);
        put(&mut store, 1, 1, 200);
        let (_, known) = store.get(&1).unwrap();
        assert_eq!(believed(known, 100 + CERTAIN).unwrap().origin, OWN);
        assert_eq!(believed(known, 101 + CERTAIN).unwrap().origin, 1);
    }
}
