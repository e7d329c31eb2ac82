//! A bounded map of the latest fact by key, and by who told it.
//!
//! Of one key there may be a fact of this proxy and one of each peer. What was not confirmed for the life of its kind is
//! forgotten; when there are too many, those that were confirmed the longest ago.

use std::collections::HashMap;
use std::hash::Hash;

/// Who told a fact: this proxy is 0, peers have numbers from 1 on.
pub(crate) type Origin = usize;

/// This proxy.
pub(crate) const OWN: Origin = 0;

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
}

impl<K: Hash + Eq + Clone, V> Store<K, V> {
    pub(crate) fn new(cap: usize, life: u64) -> Self {
        Self { map: HashMap::new(), cap, life, forgotten: 0 }
    }

    /// What `origin` told of `key`, made by `new` if there is nothing yet, which is then told, too.
    pub(crate) fn entry(&mut self, key: K, origin: Origin, new: impl FnOnce() -> (V, u64)) -> (&mut Known<V>, bool) {
        if self.map.len() >= self.cap && !self.map.contains_key(&key) {
            self.make_room();
        }
        let known = self.map.entry(key).or_default();
        let index = known.iter().position(|known| known.origin == origin);
        let is_new = index.is_none();
        let index = index.unwrap_or_else(|| {
            let (value, at) = new();
            known.push(Known { origin, value, at, seen: 0, version: 0 });
            known.len() - 1
        });
        (&mut known[index], is_new)
    }

    /// The newest of all that is told of `key`.
    pub(crate) fn newest(&self, key: &K) -> Option<&Known<V>> {
        newest(self.map.get(key)?)
    }

    /// The key, and what is told of it.
    pub(crate) fn get(&self, key: &K) -> Option<(&K, &[Known<V>])> {
        self.map.get_key_value(key).map(|(key, known)| (key, known.as_slice()))
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

    #[cold]
    fn make_room(&mut self) {
        let seen = |known: &Vec<Known<V>>| known.iter().map(|known| known.seen).max().unwrap_or(0);
        let mut ages: Vec<u64> = self.map.values().map(seen).collect();
        let most = (ages.len() / SHARE).max(1);
        let index = (most - 1).min(ages.len().saturating_sub(1));
        if ages.is_empty() {
            return;
        }
        let oldest = *ages.select_nth_unstable(index).1;
        let mut left = most;
        self.map.retain(|_, known| {
            let goes = left > 0 && seen(known) <= oldest;
            left -= usize::from(goes);
            !goes
        });
        self.forgotten += (most - left) as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(store: &mut Store<u32, u32>, key: u32, origin: Origin, seen: u64) {
        store.entry(key, origin, || (key, seen)).0.seen = seen;
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
}
