//! Values that are asked for again by key, as a rule in the order in which they came: what a request names, and its response
//! answers. A response in another order, or of what was not asked for, costs one look at all of them, not one for each answer.

use std::collections::HashMap;
use std::hash::Hash;

/// See the module's first paragraph.
#[derive(Debug)]
pub(super) struct InOrder<K, V> {
    entries: Vec<(K, V)>,
    /// Index of the one that is asked for next, if that is in order.
    next: usize,
    /// Where each is, once one was asked for out of order. Of several with one key the first.
    places: Option<HashMap<K, usize>>,
}

impl<K: Copy + Eq + Hash, V> InOrder<K, V> {
    pub(super) const fn new() -> Self {
        Self { entries: Vec::new(), next: 0, places: None }
    }

    pub(super) fn push(&mut self, key: K, value: V) {
        if let Some(places) = &mut self.places {
            places.entry(key).or_insert(self.entries.len());
        }
        self.entries.push((key, value));
    }

    /// The value of `key`: of several the next one, in their order.
    pub(super) fn find(&mut self, key: K) -> Option<&mut V> {
        let index = match self.entries.get(self.next) {
            Some((next, _)) if *next == key => self.next,
            _ => *self.places().get(&key)?,
        };
        self.next = index + 1;
        self.entries.get_mut(index).map(|(_, value)| value)
    }

    fn places(&mut self) -> &HashMap<K, usize> {
        self.places.get_or_insert_with(|| {
            let mut places = HashMap::with_capacity(self.entries.len());
            for (index, (key, _)) in self.entries.iter().enumerate() {
                places.entry(*key).or_insert(index);
            }
            places
        })
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// All of them, in the order in which they came.
    pub(super) fn as_slice(&self) -> &[(K, V)] {
        &self.entries
    }

    pub(super) fn into_values(self) -> impl Iterator<Item = V> {
        self.entries.into_iter().map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::hash::Hasher;

    use super::*;

    const COUNT: u32 = 10_000;

    thread_local! {
        /// How often a key was compared or hashed.
        static WORK: Cell<u32> = const { Cell::new(0) };
    }

    #[derive(Debug, Clone, Copy)]
    struct Key(u32);

    fn works() {
        WORK.with(|work| work.set(work.get() + 1));
    }

    impl PartialEq for Key {
        fn eq(&self, other: &Self) -> bool {
            works();
            self.0 == other.0
        }
    }

    impl Eq for Key {}

    impl Hash for Key {
        fn hash<H: Hasher>(&self, state: &mut H) {
            works();
            self.0.hash(state);
        }
    }

    fn all() -> InOrder<Key, u32> {
        let mut all = InOrder::new();
        (0..COUNT).for_each(|number| all.push(Key(number), number));
        all
    }

    /// Asks for `keys`; returns how many were there, and how much work that was.
    fn work(all: &mut InOrder<Key, u32>, keys: impl Iterator<Item = u32>) -> (usize, u32) {
        WORK.with(|work| work.set(0));
        let found = keys.filter(|key| all.find(Key(*key)).is_some_and(|value| value == key)).count();
        (found, WORK.with(Cell::get))
    }

    #[test]
    fn what_is_asked_for_in_order_is_one_comparison_each() {
        assert_eq!(work(&mut all(), 0..COUNT), (COUNT as usize, COUNT));
    }

    #[test]
    fn another_order_does_not_cost_more_for_each_than_a_look_into_an_index() {
        for keys in [(0..COUNT).rev().collect::<Vec<_>>(), (0..COUNT).map(|number| number * 7_919 % COUNT).collect()] {
            let (found, work) = work(&mut all(), keys.into_iter());
            assert_eq!(found, COUNT as usize);
            assert!(work < 10 * COUNT, "{work}");
        }
    }

    #[test]
    fn what_is_not_there_does_not_cost_more() {
        let (found, work) = work(&mut all(), COUNT..2 * COUNT);
        assert_eq!(found, 0);
        assert!(work < 10 * COUNT, "{work}");
    }

    #[test]
    fn what_comes_late_is_found_and_equal_keys_are_found_in_their_order() {
        let mut all = InOrder::new();
        for (key, value) in [(1, 'a'), (2, 'b'), (2, 'c')] {
            all.push(key, value);
        }
        assert_eq!([2, 2, 1].map(|key| all.find(key).copied()), [Some('b'), Some('c'), Some('a')]);
        all.push(3, 'd');
        assert_eq!([3, 4, 2].map(|key| all.find(key).copied()), [Some('d'), None, Some('b')]);
        assert_eq!(all.len(), 4);
        assert_eq!(all.into_values().collect::<String>(), "abcd");
    }
}
