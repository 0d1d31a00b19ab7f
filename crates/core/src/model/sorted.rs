//! A sorted map whose copies share what they have in common. So a copy costs next to nothing, and what two
//! copies differ in is found without a look at the rest.

use std::cmp::Ordering;
use std::fmt;
use std::ops::Index;
use std::slice;
use std::sync::Arc;

/// How many entries lie together. A change copies the pointers to this many entries.
const MOST: usize = 64;

/// A sorted map that is cheap to copy.
pub struct Sorted<K, V> {
    /// The entries in their order, some together. No chunk is empty.
    chunks: Vec<Arc<Vec<Entry<K, V>>>>,
}

type Entry<K, V> = Arc<(K, V)>;

/// What one key had, and what it has.
pub type Differs<'a, K, V> = (&'a K, Option<&'a V>, Option<&'a V>);

impl<K, V> Sorted<K, V> {
    /// Returns an empty map.
    pub const fn new() -> Self {
        Sorted { chunks: Vec::new() }
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.len()).sum()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Removes all entries.
    pub fn clear(&mut self) {
        self.chunks.clear();
    }

    fn entries(&self) -> impl Iterator<Item = &Entry<K, V>> {
        self.chunks.iter().flat_map(|chunk| chunk.iter())
    }

    /// All entries.
    pub fn iter(&self) -> Entries<'_, K, V> {
        Entries { head: [].iter(), tail: self.chunks.iter() }
    }

    /// The last entry.
    pub fn last(&self) -> Option<(&K, &V)> {
        let last = self.chunks.last()?.last()?;
        Some((&last.0, &last.1))
    }

    /// All keys.
    pub fn keys(&self) -> Keys<'_, K, V> {
        Keys(self.iter())
    }

    /// All values, in the order of their keys.
    pub fn values(&self) -> Values<'_, K, V> {
        Values(self.iter())
    }

    /// The entries from the first one that is not `Less`. `order` tells how a key compares with those that are
    /// meant, and must follow the order of the keys.
    pub fn from<F: Fn(&K) -> Ordering>(&self, order: F) -> Entries<'_, K, V> {
        let is_before = |entry: &Entry<K, V>| order(&entry.0).is_lt();
        let first = self.chunks.partition_point(|chunk| chunk.last().is_some_and(is_before));
        let at = self.chunks.get(first).map_or(0, |chunk| chunk.partition_point(is_before));
        let (head, tail) = match self.chunks.get(first) {
            Some(chunk) => (&chunk[at..], &self.chunks[first + 1..]),
            None => (&[][..], &[][..]),
        };
        Entries { head: head.iter(), tail: tail.iter() }
    }
}

impl<K: Ord, V> Sorted<K, V> {
    /// Where a key is, or would be.
    fn find(&self, key: &K) -> (usize, Result<usize, usize>) {
        let is_before = |chunk: &Arc<Vec<Entry<K, V>>>| chunk.last().is_some_and(|last| last.0 < *key);
        let at = self.chunks.partition_point(is_before).min(self.chunks.len().saturating_sub(1));
        let chunk = self.chunks.get(at);
        (at, chunk.map_or(Err(0), |chunk| chunk.binary_search_by(|entry| entry.0.cmp(key))))
    }

    /// The value of a key.
    pub fn get(&self, key: &K) -> Option<&V> {
        let (chunk, Ok(at)) = self.find(key) else { return None };
        Some(&self.chunks[chunk][at].1)
    }

    /// Whether a key has a value.
    pub fn contains_key(&self, key: &K) -> bool {
        self.find(key).1.is_ok()
    }

    /// Gives a key a value, in place of another one.
    pub fn insert(&mut self, key: K, value: V) {
        let (chunk, at) = self.find(&key);
        let entry = Arc::new((key, value));
        let Some(there) = self.chunks.get_mut(chunk) else {
            self.chunks.push(Arc::new(vec![entry]));
            return;
        };
        let there = Arc::make_mut(there);
        match at {
            Ok(at) => there[at] = entry,
            Err(at) => there.insert(at, entry),
        }
        if there.len() > MOST {
            let rest = there.split_off(MOST / 2);
            self.chunks.insert(chunk + 1, Arc::new(rest));
        }
    }

    /// Removes a key.
    pub fn remove(&mut self, key: &K) {
        let (chunk, Ok(at)) = self.find(key) else { return };
        let there = Arc::make_mut(&mut self.chunks[chunk]);
        there.remove(at);
        let length = there.len();
        let next = self.chunks.get(chunk + 1).map_or(MOST, |next| next.len());
        if length == 0 {
            self.chunks.remove(chunk);
        } else if length + next <= MOST / 2 {
            let next = self.chunks.remove(chunk + 1);
            Arc::make_mut(&mut self.chunks[chunk]).extend(next.iter().cloned());
        }
    }

    /// Keeps the entries for which `is_kept` holds.
    pub fn retain(&mut self, is_kept: impl Fn(&K, &V) -> bool) {
        for chunk in &mut self.chunks {
            if chunk.iter().any(|entry| !is_kept(&entry.0, &entry.1)) {
                Arc::make_mut(chunk).retain(|entry| is_kept(&entry.0, &entry.1));
            }
        }
        self.chunks.retain(|chunk| !chunk.is_empty());
    }

    /// The keys whose values are not those that `before` has, with both. A value that was put anew counts,
    /// even if it is the same. What the two have in common is passed over.
    pub fn differs_from<'a>(&'a self, before: &'a Self) -> Vec<Differs<'a, K, V>> {
        let mut all = Vec::new();
        let (mut had, mut has) = (Cursor::of(before), Cursor::of(self));
        loop {
            if let (Some(one), Some(other)) = (had.whole(), has.whole())
                && Arc::ptr_eq(one, other)
            {
                (had, has) = (had.past_chunk(), has.past_chunk());
                continue;
            }
            let order = match (had.entry(), has.entry()) {
                (None, None) => return all,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(one), Some(other)) => one.0.cmp(&other.0),
            };
            let (one, other) = (had.entry(), has.entry());
            match (order, one, other) {
                (Ordering::Equal, Some(one), Some(other)) if !Arc::ptr_eq(one, other) => {
                    all.push((&other.0, Some(&one.1), Some(&other.1)));
                }
                (Ordering::Less, Some(one), _) => all.push((&one.0, Some(&one.1), None)),
                (Ordering::Greater, _, Some(other)) => all.push((&other.0, None, Some(&other.1))),
                _ => {}
            }
            had = if order.is_le() { had.past_entry() } else { had };
            has = if order.is_ge() { has.past_entry() } else { has };
        }
    }
}

impl<K: Ord + Clone, V: Clone> Sorted<K, V> {
    /// The value of a key, to be changed.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let (chunk, Ok(at)) = self.find(key) else { return None };
        let there = Arc::make_mut(&mut self.chunks[chunk]);
        Some(&mut Arc::make_mut(&mut there[at]).1)
    }
}

impl<'a, K, V> IntoIterator for &'a Sorted<K, V> {
    type Item = (&'a K, &'a V);
    type IntoIter = Entries<'a, K, V>;

    fn into_iter(self) -> Entries<'a, K, V> {
        self.iter()
    }
}

/// Entries of a map, in their order.
pub struct Entries<'a, K, V> {
    head: slice::Iter<'a, Entry<K, V>>,
    tail: slice::Iter<'a, Arc<Vec<Entry<K, V>>>>,
}

impl<K, V> Clone for Entries<'_, K, V> {
    fn clone(&self) -> Self {
        Entries { head: self.head.clone(), tail: self.tail.clone() }
    }
}

impl<'a, K, V> Iterator for Entries<'a, K, V> {
    type Item = (&'a K, &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entry) = self.head.next() {
                return Some((&entry.0, &entry.1));
            }
            self.head = self.tail.next()?.iter();
        }
    }
}

/// Keys of a map, in their order.
pub struct Keys<'a, K, V>(Entries<'a, K, V>);

impl<K, V> Clone for Keys<'_, K, V> {
    fn clone(&self) -> Self {
        Keys(self.0.clone())
    }
}

impl<'a, K, V> Iterator for Keys<'a, K, V> {
    type Item = &'a K;

    fn next(&mut self) -> Option<&'a K> {
        self.0.next().map(|(key, _)| key)
    }
}

/// Values of a map, in the order of their keys.
pub struct Values<'a, K, V>(Entries<'a, K, V>);

impl<K, V> Clone for Values<'_, K, V> {
    fn clone(&self) -> Self {
        Values(self.0.clone())
    }
}

impl<'a, K, V> Iterator for Values<'a, K, V> {
    type Item = &'a V;

    fn next(&mut self) -> Option<&'a V> {
        self.0.next().map(|(_, value)| value)
    }
}

/// A place in a map.
struct Cursor<'a, K, V> {
    chunks: &'a [Arc<Vec<Entry<K, V>>>],
    at: usize,
}

impl<'a, K, V> Cursor<'a, K, V> {
    fn of(map: &'a Sorted<K, V>) -> Self {
        Cursor { chunks: &map.chunks, at: 0 }
    }

    /// The chunk that begins here.
    fn whole(&self) -> Option<&'a Arc<Vec<Entry<K, V>>>> {
        self.chunks.first().filter(|_| self.at == 0)
    }

    fn entry(&self) -> Option<&'a Entry<K, V>> {
        self.chunks.first().map(|chunk| &chunk[self.at])
    }

    fn past_chunk(self) -> Self {
        Cursor { chunks: &self.chunks[1..], at: 0 }
    }

    fn past_entry(self) -> Self {
        let is_last = self.chunks.first().is_some_and(|chunk| self.at + 1 == chunk.len());
        if is_last { self.past_chunk() } else { Cursor { at: self.at + 1, ..self } }
    }
}

impl<K, V> Clone for Sorted<K, V> {
    fn clone(&self) -> Self {
        Sorted { chunks: self.chunks.clone() }
    }
}

impl<K, V> Default for Sorted<K, V> {
    fn default() -> Self {
        Sorted::new()
    }
}

impl<K: PartialEq, V: PartialEq> PartialEq for Sorted<K, V> {
    fn eq(&self, other: &Self) -> bool {
        let is_same = |(one, other): (&Entry<K, V>, &Entry<K, V>)| Arc::ptr_eq(one, other) || one == other;
        self.len() == other.len() && self.entries().zip(other.entries()).all(is_same)
    }
}

impl<K: Eq, V: Eq> Eq for Sorted<K, V> {}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for Sorted<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<K: Ord, V> Index<&K> for Sorted<K, V> {
    type Output = V;

    fn index(&self, key: &K) -> &V {
        self.get(key).expect("the key is there")
    }
}

impl<K: Ord, V> FromIterator<(K, V)> for Sorted<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut map = Sorted::new();
        entries.into_iter().for_each(|(key, value)| map.insert(key, value));
        map
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn map_of(entries: &BTreeMap<u16, u8>) -> Sorted<u16, u8> {
        entries.iter().map(|(key, value)| (*key, *value)).collect()
    }

    proptest! {
        #[test]
        fn it_is_a_map_and_tells_what_copies_differ_in(
            first in proptest::collection::btree_map(0_u16..500, any::<u8>(), 0..400),
            changes in proptest::collection::vec((0_u16..500, proptest::option::of(any::<u8>())), 0..300),
            bound in 0_u16..500,
        ) {
            let before = map_of(&first);
            prop_assert!(before.iter().eq(first.iter()));
            let (mut map, mut model) = (before.clone(), first.clone());
            for (key, value) in changes {
                if let Some(value) = value {
                    map.insert(key, value);
                    model.insert(key, value);
                } else {
                    map.remove(&key);
                    model.remove(&key);
                }
            }
            prop_assert!(map.iter().eq(model.iter()));
            prop_assert_eq!((map.len(), map.is_empty()), (model.len(), model.is_empty()));
            prop_assert!((0..500).all(|key| map.get(&key) == model.get(&key)));
            prop_assert!(map.from(|key| key.cmp(&bound)).eq(model.range(bound..)));
            prop_assert_eq!(map.last(), model.last_key_value());
            prop_assert!(before.iter().eq(first.iter()), "a copy stays as it is");
            prop_assert_eq!(map == before, model == first);

            let mut told = map.differs_from(&before);
            prop_assert!(told.iter().all(|(key, had, has)| *had == first.get(key) && *has == model.get(key)));
            told.retain(|(_, had, has)| had != has);
            let is_other = |key: &u16| first.get(key) != model.get(key);
            prop_assert!(told.iter().map(|(key, ..)| **key).eq((0..500).filter(is_other)));

            map.retain(|key, _| key % 3 == 0);
            model.retain(|key, _| key % 3 == 0);
            prop_assert!(map.iter().eq(model.iter()));
            for value in [1, 2] {
                if let Some(there) = map.get_mut(&bound) {
                    *there = value;
                }
            }
            prop_assert_eq!(map.get(&bound), model.get(&bound).map(|_| &2));
        }
    }

    #[test]
    fn of_many_entries_only_those_near_a_change_are_looked_at() {
        let before: Sorted<u32, u32> = (0..4000).map(|n| (n, n)).collect();
        let mut after = before.clone();
        after.insert(2000, 7);
        let shared =
            |one: &&Arc<Vec<Entry<u32, u32>>>| before.chunks.iter().any(|there| Arc::ptr_eq(there, one));
        assert_eq!(after.chunks.iter().filter(|one| !shared(one)).count(), 1);
        assert_eq!(after.differs_from(&before), [(&2000, Some(&2000), Some(&7))]);
    }
}
